"""Fixtures: one server for most tests, and the accounts on it."""

import os

import pytest

from harness import BINARY, Server

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
