"""Who holds the root key: another Sagekeep, a plugin, a passphrase; and how that changes while the server runs."""

import json
import os
import re
import stat
import sys

import pytest

from harness import REGION, Server, allow, clean_environment, sagekeep

PASSPHRASE = "a passphrase for the tests\n"

# A plugin of the protocol in docs/seals.md: it keeps what it wraps in a file, and names the copy.
PLUGIN = """#!{python}
import base64, json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
request = json.load(sys.stdin)
answer = {{"keyId": "drawer"}}
if request["operation"] == "wrap":
    name = os.urandom(16)
    with open(os.path.join(here, name.hex()), "w") as f:
        json.dump({{"data": request["data"], "context": request["context"]}}, f)
    answer["data"] = base64.b64encode(name).decode()
elif request["operation"] == "unwrap":
    try:
        with open(os.path.join(here, base64.b64decode(request["data"]).hex())) as f:
            kept = json.load(f)
    except OSError:
        kept = {{"context": None}}
    if kept["context"] == request["context"]:
        answer["data"] = kept["data"]
    else:
        answer = {{"code": "WrongKey", "error": "nothing of that name lies in the drawer"}}
print(json.dumps(answer))
"""


def secret_file(folder, text=PASSPHRASE, name="passphrase"):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def status(server, *seal, code=0, env=None):
    flags = ("--seal", seal[0]) if seal else ()
    done = server.command("seal", "status", "--json", *flags, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def data_key(server):
    """A key of the server, and something that only it decrypts."""
    kms = server.cloud().boto("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    return kms.encrypt(KeyId=key, Plaintext=b"proof")["CiphertextBlob"]


def check(server, blob):
    assert server.cloud().boto("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"proof"


@pytest.fixture
def holder(tmp_path):
    """A Sagekeep that holds the key of another one, a key in it, and a user who may do no more than that."""
    folder = tmp_path / "holder"
    folder.mkdir()
    server = Server(folder).start()
    cloud = server.cloud()
    arn = cloud.new_key(Description="seals another Sagekeep")
    user = cloud.new_user(allow(["kms:Encrypt", "kms:Decrypt"], arn), prefix="sealed")
    yield server, arn, user
    server.stop()


def test_sealed_by_another_sagekeep(tmp_path, holder):
    keeper, arn, user = holder
    seal = f"awskms:{arn}?endpoint={keeper.url}"
    env = user.credentials.environment()
    server = Server(tmp_path, "--seal", seal, env=env).start()
    try:
        blob = data_key(server)
        assert not (server.data / "seal" / "root.key").exists()
        found = status(server)
        assert (found["seal"], found["keyId"], found["opens"]) == ("awskms", arn, None)

        server.stop()
        server.start()
        check(server, blob)

        # The other's trail shows every use of the key, with the directory that it was for.
        keeper_cloud = keeper.cloud()
        context = {"sagekeep:data-dir": found["dataDir"], "purpose": "root-key"}
        for name, count in (("Encrypt", 1), ("Decrypt", 2)):  # the first start tries what it has sealed
            records = keeper_cloud.records("EventName", name)
            assert len(records) == count, records
            assert records[0]["requestParameters"]["encryptionContext"] == context
            assert records[0]["userIdentity"]["arn"] == user.arn

        # Who holds the key can take it away: what runs goes on, and nothing starts any more.
        keeper_cloud.boto("kms").disable_key(KeyId=arn)
        check(server, blob)
        server.stop()
        done = server.command("serve", "--listen", "127.0.0.1:0", "--seal", seal, env=clean_environment(**env))
        assert done.returncode == 1 and done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "DisabledException" in done.stderr and arn in done.stderr
        told = status(server, seal, code=1, env=clean_environment(**env))
        assert told["opens"] is False and "DisabledException" in told["problem"]

        # Nobody's credentials, another's key and the default seal open nothing either.
        other = keeper_cloud.new_key()
        for flag, environment, text in (
            (seal, {}, "credentials"),
            (f"awskms:{other}?endpoint={keeper.url}", env, "wrong root key"),
            (f"file:{tmp_path}/root.key", env, "missing|held by a seal of the kind awskms"),
        ):
            done = server.command("serve", "--listen", "127.0.0.1:0", "--seal", flag, env=clean_environment(**environment))
            assert done.returncode == 1 and re.search(text, done.stderr), done.stderr
        assert not (tmp_path / "root.key").exists()

        keeper_cloud.boto("kms").enable_key(KeyId=arn)
        server.start()
        check(server, blob)
    finally:
        server.stop()


def test_rotation_of_the_other_key(tmp_path, holder):
    """The other KMS rotates its key by itself; `seal rotate` wraps a new root key under the newest version."""
    keeper, arn, user = holder
    env = user.credentials.environment()
    server = Server(tmp_path, "--seal", f"awskms:{arn}?endpoint={keeper.url}", env=env).start()
    try:
        blob = data_key(server)
        keeper.cloud().boto("kms").rotate_key_on_demand(KeyId=arn)
        server.stop()
        server.start()
        check(server, blob)
        before = status(server)
        server.command("seal", "rotate", check=True)
        after = status(server)
        assert after["generation"] == before["generation"] + 1 and after["others"] == []
        server.kill()
        server.start()
        check(server, blob)
    finally:
        server.stop()


def test_change_of_seals_beside_a_running_server(tmp_path, holder):
    keeper, arn, user = holder
    env = user.credentials.environment()
    secret = secret_file(tmp_path)
    plugin = tmp_path / "drawer" / "plugin"
    plugin.parent.mkdir(mode=0o700)
    plugin.write_text(PLUGIN.format(python=sys.executable))
    plugin.chmod(0o700)
    server = Server(tmp_path, env=env).start()
    try:
        blob = data_key(server)
        changes = (
            (f"file:{tmp_path}/keys/root.key", "file"),
            (f"passphrase-file:{secret}", "passphrase"),
            (f"awskms:{arn}?endpoint={keeper.url}", "awskms"),
            (f"exec:{plugin}", "exec"),
        )
        former = f"file:{server.data}/seal/root.key"
        for generation, (seal, kind) in enumerate(changes, start=2):
            done = json.loads(server.command("seal", "migrate", "--json", "--to", seal, check=True).stdout)
            assert (done["seal"], done["generation"]) == (kind, generation), done
            check(server, blob)
            assert status(server, seal, env=clean_environment(**env))["opens"] is True
            # The former one opens nothing any more, and a crash now changes nothing.
            server.kill()
            refused = server.command("serve", "--listen", "127.0.0.1:0", "--seal", former, env=clean_environment(**env))
            assert refused.returncode == 1 and "wrong root key" in refused.stderr, refused.stderr
            server.flags = ("--seal", seal)
            server.start()
            check(server, blob)
            former = seal
        names = [r["eventName"] for r in server.cloud().records("EventSource", "sagekeep.operator")]
        for step in ("AddSealedCopy", "VerifySealedCopy", "DestroySealedCopy", "MigrateSeal"):
            assert names.count(step) == len(changes), names
    finally:
        server.stop()

    # Without a server the command does it alone; a refused change leaves everything as it is.
    done = sagekeep("seal", "migrate", "--data-dir", server.data, "--seal", former, "--to", "passphrase-env:NOT_THERE")
    assert done.returncode == 1 and "NOT_THERE" in done.stderr
    done = sagekeep(
        "seal", "migrate", "--data-dir", server.data, "--seal", former, "--to", "passphrase-env:SEAL_PASSPHRASE",
        env=clean_environment(SEAL_PASSPHRASE="another passphrase of the tests"),
    )
    assert done.returncode == 0, done.stderr
    server.flags, server.env = ("--seal", "passphrase-env:SEAL_PASSPHRASE"), {"SEAL_PASSPHRASE": "another passphrase of the tests"}
    server.start()
    try:
        check(server, blob)
    finally:
        server.stop()


def test_no_key_of_its_own(tmp_path):
    """A server's own key cannot hold its root key: it would open the directory while the server runs, and never again."""
    server = Server(tmp_path).start()
    try:
        blob = data_key(server)
        cloud = server.cloud()
        arn = cloud.new_key(Description="not to be taken for the seal")
        # What `sagekeep env` prints for a shell, the service has in its environment as well.
        server.stop()
        server.env = cloud.root.environment()
        server.start()
        before = (server.data / "keyring").read_bytes()
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            done = server.command("seal", "migrate", "--to", f"awskms:{arn}?endpoint={url}")
            assert done.returncode == 1 and done.stdout == "", done.stdout
            assert "a key of this very server" in done.stderr and arn in done.stderr, done.stderr
        assert (server.data / "keyring").read_bytes() == before
        assert (status(server)["seal"], status(server)["others"]) == ("file", [])
        # The one that was refused is in the trail, and nothing else of it.
        names = [r["eventName"] for r in server.cloud().records("EventSource", "sagekeep.operator")]
        assert "MigrateSeal" in names and "AddSealedCopy" not in names, names
        server.kill()
        server.start()
        check(server, blob)
    finally:
        server.stop()


def test_a_new_key_file_for_the_same_seal(tmp_path):
    server = Server(tmp_path).start()
    root = server.data / "seal" / "root.key"
    try:
        blob = data_key(server)
        before, key = status(server), root.read_text()
        server.command("seal", "rotate", check=True)
        after = status(server)
        assert after["keyId"] != before["keyId"] and after["opens"] is True and "previousKeys" not in after
        assert key.split()[1] not in root.read_text()
        if os.name != "nt":
            assert stat.S_IMODE(root.stat().st_mode) == 0o600
        server.kill()
        server.start()
        check(server, blob)
        # A copy of the key file from before opens nothing of today.
        old = secret_file(tmp_path, key, "old.key")
        assert status(server, f"file:{old}", code=1)["opens"] is False
    finally:
        server.stop()


def test_a_lost_key_file_is_not_replaced(tmp_path):
    server = Server(tmp_path).start()
    server.stop()
    root = server.data / "seal" / "root.key"
    kept = root.read_bytes()
    root.unlink()
    before = (server.data / "keyring").read_bytes()
    done = server.command("serve", "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "missing and data exists" in done.stderr
    assert not root.exists() and (server.data / "keyring").read_bytes() == before
    root.write_bytes(kept)
    root.chmod(0o600)
    server.start()
    server.stop()


def test_no_core_files(tmp_path):
    server = Server(tmp_path).start()
    try:
        limits = f"/proc/{server.process.pid}/limits"
        if not os.path.exists(limits):
            pytest.skip("only Linux tells the limits of a process")
        found = re.search(r"^Max core file size +(\d+) +(\d+)", open(limits).read(), re.M)
        assert found and found.groups() == ("0", "0")
    finally:
        server.stop()


def test_seal_help():
    for name in ("status", "migrate", "rotate"):
        done = sagekeep("seal", name, "--help", check=True)
        assert "Examples:" in done.stdout and "--data-dir" in done.stdout
    assert REGION in sagekeep("seal", "migrate", "--help", check=True).stdout
