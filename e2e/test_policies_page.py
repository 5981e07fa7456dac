"""Runs the examples of docs/policies.md as they stand there, and holds what they print to what the page shows."""

import json
import os
import re
import sys

import boto3
import botocore
import botocore.config
import pytest

from harness import ACCOUNT, REGION, refused
from test_readme import example, folder, shell  # noqa: F401 (folder is a fixture)
from test_web_identity import Issuer

PAGE = "docs/policies.md"
ENVIRONMENT = 'eval "$(./sagekeep env --data-dir ./data)"\n'

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the examples are for a shell")


def output(name):
    """The block that the page shows as an example's output."""
    return example(name, "text", PAGE, mark="output")


def settled(text):
    """The text without what differs from run to run: ids and instants."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT", text)


@pytest.fixture
def issuer(tmp_path):
    made = Issuer(tmp_path)
    yield made
    made.close()


def test_denied_and_simulated(folder):  # noqa: F811
    out = shell(ENVIRONMENT + "".join(example(name, "sh", PAGE) for name in ("denied", "simulator", "lint")), folder)
    assert settled(out).endswith(
        "refused: Ana may use the key through S3 alone\n" + settled(output("denied")) + output("simulator")
    ), out


def test_hint(folder):  # noqa: F811
    code = example("hint", "python", PAGE)
    (folder / "example.py").write_text(code, encoding="utf-8")
    out = shell(f'{ENVIRONMENT}"{sys.executable}" example.py', folder)
    told = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    assert len(told) == 2 and out.splitlines() == told


def test_simulate(folder):  # noqa: F811
    assert shell(example("simulate", "sh", PAGE), folder) == output("simulate")


def test_web_identity_and_revocation(folder, issuer):  # noqa: F811
    (folder / "token").write_text(issuer.token(), encoding="ascii")
    variables = f"{ENVIRONMENT}HOME=$PWD ISSUER={issuer.name} THUMBPRINT={issuer.thumbprint}\n"
    out = shell(variables + example("web-identity", "sh", PAGE), folder)
    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/trainer/" in out.splitlines()[-1]

    url = json.loads(shell("./sagekeep env --data-dir ./data --format json", folder))["AWS_ENDPOINT_URL"]
    unsigned = botocore.config.Config(signature_version=botocore.UNSIGNED)
    sts = boto3.Session(region_name=REGION).client("sts", endpoint_url=url, config=unsigned)

    def session():
        made = sts.assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/trainer", RoleSessionName="page", WebIdentityToken=issuer.token(),
        )["Credentials"]
        return boto3.Session(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], REGION).client("s3", endpoint_url=url)

    older = session()
    older.list_buckets()
    shell(f'sleep 1.1\n{ENVIRONMENT}{example("revoke", "sh", PAGE)}', folder)
    with refused("AccessDenied", "with an explicit deny in an identity-based policy"):
        older.list_buckets()
    session().list_buckets()
