"""Fixtures: one server for most tests, and the accounts on it."""

import os
import time
import types

import pytest

from fields import HERE, MOISTURE, SCENE, Fields, import_collection, many_scenes
from harness import BINARY, Server, wait_for

OTHER = "444455556666"


def pytest_configure(config):
    # boto3 in this process must see nothing of the machine's AWS settings.
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true", NO_PROXY="*",
    )


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The shared server. It must end with exit code 0 on SIGTERM."""
    assert BINARY.is_file(), f"{BINARY} is missing: make build"
    s = Server(tmp_path_factory.mktemp("server"))
    try:
        yield s.start()
    finally:
        s.stop()


@pytest.fixture(scope="session")
def cloud(server):
    """The first account."""
    return server.cloud()


@pytest.fixture(scope="session")
def other(server):
    """A second account on the same server, made while it runs."""
    server.command("account", "create", "--id", OTHER, check=True)
    return server.cloud(OTHER)


@pytest.fixture
def own_server(tmp_path):
    """Makes servers that belong to one test, started and cleaned up."""
    made = []

    def make(*flags, folder=None, **options):
        s = Server(folder or tmp_path, *flags, **options)
        made.append(s)
        return s.start()

    yield make
    for s in made:
        if s.process is not None:
            s.stop()


@pytest.fixture(scope="session")
def fields(server, cloud):
    return Fields(cloud, import_collection(server, SCENE))


@pytest.fixture(scope="session")
def long(server, cloud, tmp_path_factory):
    """Jobs over this collection take a while."""
    return Fields(cloud, import_collection(server, many_scenes(tmp_path_factory.mktemp("long") / "scenes", 24)))


@pytest.fixture(scope="session")
def done(fields):
    """A finished and exported job under a key, for several tests to look at."""
    d = types.SimpleNamespace()
    d.role = fields.new_role("SageMakerGeospatialCustomerRole")
    d.key = fields.new_key(d.role)
    began = time.monotonic()
    d.job = fields.start(d.key, indices=("NDVI", "MSAVI"), custom=[MOISTURE], role=d.role, query={"AreaOfInterest": HERE})
    d.id = d.job.rsplit("/", 1)[1]
    wait_for(lambda: fields.status(d.job) != "INITIALIZING", "the end of INITIALIZING", 5, 0.02)
    d.initializing = time.monotonic() - began
    d.answer = fields.wait(d.job)
    d.exported = fields.export(d.job, d.key, "exports/", d.role, ExportSourceImages=True)
    return d
