"""Runs the shell and Python examples of README.md as they stand there.

`make e2e` builds the binary, names it in SAGEKEEP_BIN and puts the pinned AWS CLI first on PATH.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("SAGEKEEP_BIN", ROOT / "dist" / ("sagekeep.exe" if os.name == "nt" else "sagekeep")))


def example(name, language, page="README.md", mark="example"):
    """The fenced block behind the comment <!-- example: NAME --> of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"<!-- {mark}: {name} -->\n+```{language}\n(.*?)^```$", text, re.S | re.M)
    assert len(found) == 1, f"{page} has {len(found)} blocks {mark}: {name}"
    return found[0]


@pytest.fixture
def folder(tmp_path):
    """A folder as the README has it: ./sagekeep, and a server that runs on ./data."""
    assert BINARY.is_file(), f"{BINARY} is missing: make build"
    (tmp_path / "sagekeep").symlink_to(BINARY)
    log = open(tmp_path / "server.log", "wb")
    server = subprocess.Popen(
        [BINARY, "serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
    )
    try:
        ready = server.stdout.readline()
        assert ready.startswith("ready http://"), (tmp_path / "server.log").read_text()
        yield tmp_path
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
        log.close()
    assert code == 0, (tmp_path / "server.log").read_text()


def clean_environment():
    """The environment without AWS settings of the machine."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env["AWS_CONFIG_FILE"] = env["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    env["AWS_EC2_METADATA_DISABLED"] = "true"
    env["AWS_PAGER"] = ""
    return env


def shell(script, folder):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=clean_environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_aws_cli(folder):
    out = shell(example("aws-cli", "sh"), folder)
    assert "plot 7: rapeseed" in out
    assert "refused" in out
    for name in ("GenerateDataKey", "Decrypt", "DisableKey"):
        assert name in out, f"no record of {name} in:\n{out}"


def test_boto3(folder):
    (folder / "example.py").write_text(example("boto3", "python"), encoding="utf-8")
    out = shell(f'eval "$(./sagekeep env --data-dir ./data)"\n"{sys.executable}" example.py', folder)
    assert out.splitlines() == ["AccessDenied", "b'[[12, 7, 40, 31]]'", "AccessDenied"]
