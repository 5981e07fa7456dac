"""Keys in a token: made with sagekeep-hsm, served to a KMS, and as the seal of a data directory. The token is SoftHSM's."""

import base64
import concurrent.futures
import datetime
import hashlib
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import time

import botocore.auth
import pytest

from harness import Server, clean_environment, sagekeep, wait_for
from hsm import (
    ACCESS_KEY, HSM, PIN, SECRET, Authority, Client, SealClient, Service, Token, b64, need_engine, opening, request,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sagekeep-hsm needs Unix")

OTHER_KEY = "BCDEFGHIJKLMNOPQRSTU"
OTHER_SECRET = "YW5vdGhlciBzZWNyZXQsIHdoaWNoIGlzIGxvbmcgdG9vLg=="
ROOT_KEY = bytes(range(32))
CONTEXT = {"sagekeep:data-dir": "5f0c" * 8, "purpose": "root-key"}


@pytest.fixture
def token(tmp_path):
    return Token(tmp_path)


@pytest.fixture
def services():
    """Starts services that are stopped at the end, and end cleanly."""
    running = []

    def start(*args):
        running.append(Service(*args))
        return running[-1]

    yield start
    for s in running:
        if s.process.poll() is None:
            s.stop()


class Proxy:
    """A proxy for the keys of a token, behind TLS."""

    def __init__(self, token, start, *flags):
        self.token = token
        self.authority = Authority(token.folder)
        cert, key = self.authority.issue("proxy")
        self.secret_file = secret(token, "secret", SECRET)
        self.service = start(
            token, "xks", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
            "--access-key-id", ACCESS_KEY, "--secret-file", self.secret_file, "--uri-path-prefix", "/prod", *flags,
        )
        self.port = int(re.fullmatch(r"https://127\.0\.0\.1:(\d+)", self.service.address)[1])

    def client(self, **more):
        return Client(self.port, self.authority.file, **more)


def secret(token, name, text):
    path = token.folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def proxy(token, services):
    token.keygen("key-1")
    return Proxy(token, services)


# Keys


def test_keys_never_leave_the_token(token):
    assert token.keygen("key-1") == "key-1/0000000000000001"
    assert token.keygen("key-1", "--rotate") == "key-1/0000000000000002"
    shown = token.tool("--list-objects", "--type", "secrkey").stdout
    assert shown.count("Secret Key Object; AES length 32") == 2, shown
    access = re.findall(r"Access:\s+(.*)", shown)
    assert len(access) == 2 and all("sensitive" in a and "never extractable" in a and "local" in a for a in access), shown
    assert all(set(u.split(", ")) == {"encrypt", "decrypt"} for u in re.findall(r"Usage:\s+(.*)", shown)), shown
    read = token.tool("--read-object", "--type", "secrkey", "--id", "0000000000000001", check=False)
    assert read.returncode != 0 or "sensitive" in (read.stdout + read.stderr).lower(), read

    keys = json.loads(token.run("keys", "--json").stdout)
    assert [(k["label"], k["version"], k["current"]) for k in keys] == [
        ("key-1", "0000000000000001", False), ("key-1", "0000000000000002", True)]
    assert {k: keys[1][k] for k in ("keySpec", "keyUsage", "keyStatus", "sensitive", "extractable", "local")} == {
        "keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED", "sensitive": True, "extractable": False,
        "local": True,
    }
    assert "key-1" in token.run("keys").stdout


def test_refusals_of_commands(token):
    def fails(*args, code=1, **more):
        done = token.run(*args, code=code, **more)
        lines = [line for line in done.stderr.splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("sagekeep-hsm: "), done.stderr
        assert PIN not in done.stderr + done.stdout
        return lines[0]

    token.keygen("key-1")
    assert "has a key with this label" in fails("keygen", "--key-label", "key-1")
    assert "no such key" in fails("keygen", "--key-label", "key-2", "--rotate")
    assert "is not a key label" in fails("keygen", "--key-label", "a/b", code=2)
    assert "no such key" in fails("disable", "--key-label", "key-2")
    assert "no such key" in fails("seal", "--key-label", "key-2", "--socket", token.folder / "socket")

    module, label = token.flags()[:2], ["--token-label", token.label]
    pin = ["--pin-file", str(token.pin_file)]
    assert "--module is missing" in fails("keys", flags=label + pin, code=2)
    assert "want one of --pin-file and --pin-env" in fails("keys", flags=module + label, code=2)
    assert "load the PKCS#11 library" in fails("keys", flags=["--module", "/nonexistent.so", *label, *pin])
    assert 'label "other"' in fails("keys", flags=[*module, "--token-label", "other", *pin])

    wrong = secret(token, "wrong", "not the PIN")
    assert "refuses the PIN" in fails("keys", flags=[*module, *label, "--pin-file", str(wrong)])
    token.pin_file.chmod(0o644)
    assert "others could read it" in fails("keys")
    token.pin_file.chmod(0o600)
    assert "HSM_PIN is not set" in fails("keys", flags=[*module, *label, "--pin-env", "HSM_PIN"])
    token.run("keys", flags=[*module, *label, "--pin-env", "HSM_PIN"], env={"HSM_PIN": PIN})


@pytest.mark.parametrize("command", ["xks", "seal", "keygen", "keys", "enable", "disable", "version"])
def test_help(token, command):
    text = token.run(command, "--help", flags=[]).stdout
    assert "Usage: sagekeep-hsm " + command in text and "Examples:" in text
    assert "pin=" not in text and not re.search(r"-pin( |$)", text, re.M)  # there is no flag for the PIN itself


# External key store proxy


def test_health_and_metadata(proxy):
    client = proxy.client()
    health = client.must("health", {"requestMetadata": {"kmsOperation": "CreateCustomKeyStore", "kmsRequestId": "r"}})
    assert health["xksProxyFleetSize"] == 1 and health["xksProxyVendor"] == "Sagekeep"
    assert health["ekmVendor"] == "SoftHSM project"
    assert [e["healthStatus"] for e in health["ekmFleetDetails"]] == ["ACTIVE"]
    assert client.must("keys/key-1/metadata", request("DescribeKey")) == {
        "keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED"}
    client.refused("keys/none/metadata", request("DescribeKey"), 404, "KeyNotFoundException")
    client.refused("health", {}, 400, "ValidationException")
    status, _ = client.send("GET", "/prod/kms/xks/v1/health", None, {})
    assert status == 405
    client.prefix = "/other"
    client.refused("health", {"requestMetadata": {"kmsOperation": "o", "kmsRequestId": "r"}}, 404, "InvalidUriPathException")


@pytest.mark.parametrize("aad", [None, b"project=nile", b"a" * 8192], ids=["none", "short", "long"])
@pytest.mark.parametrize("size", [1, 32, 4300])
def test_round_trip(proxy, aad, size):
    client, plaintext = proxy.client(), os.urandom(size)
    answer = client.encrypt("key-1", plaintext, aad, ciphertextDataIntegrityValueAlgorithm="SHA_256")
    raw = {k: base64.b64decode(v) for k, v in answer.items()}
    assert len(raw["ciphertext"]) == size and raw["ciphertext"] != plaintext
    assert len(raw["initializationVector"]) == 12 and len(raw["authenticationTag"]) == 16 and len(raw["ciphertextMetadata"]) <= 20
    hashed = (aad or b"") + b"".join(
        raw[n] for n in ("ciphertextMetadata", "initializationVector", "ciphertext", "authenticationTag"))
    assert raw["ciphertextDataIntegrityValue"] == hashlib.sha256(hashed).digest()
    assert client.decrypt("key-1", answer, aad) == plaintext


def test_vectors_do_not_repeat(proxy):
    client = proxy.client()
    seen = {client.encrypt("key-1", b"x")["initializationVector"] for _ in range(50)}
    assert len(seen) == 50


def test_tampering(proxy):
    proxy.token.keygen("key-2")
    client, aad = proxy.client(), b"project=nile"
    answer = client.encrypt("key-1", b"Hello World!", aad)
    for name in ("ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"):
        raw = bytearray(base64.b64decode(answer[name]))
        for i in (0, len(raw) - 1):
            changed = bytearray(raw)
            changed[i] ^= 0x40
            client.refused(
                "keys/key-1/decrypt", opening({**answer, name: b64(changed)}, aad), 400, "InvalidCiphertextException")
    for other in (None, b"", b"project=nilf", aad + b"\0"):
        client.refused("keys/key-1/decrypt", opening(answer, other), 400, "InvalidCiphertextException")
    client.refused("keys/key-2/decrypt", opening(answer, aad), 400, "InvalidCiphertextException")
    client.refused("keys/none/decrypt", opening(answer, aad), 404, "KeyNotFoundException")
    client.refused("keys/none/encrypt", request("Encrypt", plaintext=b64(b"x")), 404, "KeyNotFoundException")
    assert client.decrypt("key-1", answer, aad) == b"Hello World!"


def test_metadata_cannot_pass_as_additional_data(proxy):
    client = proxy.client()
    answer = client.encrypt("key-1", b"Hello World!")
    forged = opening(answer, base64.b64decode(answer["ciphertextMetadata"]))
    del forged["ciphertextMetadata"]
    client.refused("keys/key-1/decrypt", forged, 400, "InvalidCiphertextException")


def test_signatures(proxy, monkeypatch):
    body = request("Encrypt", plaintext=b64(b"x"))
    text = json.dumps(body).encode()
    path = "/prod/kms/xks/v1/keys/key-1/encrypt"
    denied = (401, "AuthenticationFailedException")
    client = proxy.client()
    client.refused("keys/key-1/encrypt", body, *denied, service="kms")
    proxy.client(access_key=OTHER_KEY).refused("keys/key-1/encrypt", body, *denied)
    proxy.client(secret=SECRET[:-2] + "A=").refused("keys/key-1/encrypt", body, *denied)

    def sent(body, headers, path=path):
        status, answer = client.send("POST", path, body, headers)
        return status, answer.get("errorName")

    headers = client.sign(path, text)
    assert sent(text, headers)[0] == 200
    assert sent(text.replace(b"Alice", b"Mally"), headers) == denied
    assert sent(text, headers, path.replace("key-1", "key-2")) == denied
    assert sent(text, {"Content-Type": "application/json"}) == denied
    assert sent(text, {**headers, "X-Amz-Security-Token": "token"}) == denied
    stale = botocore_date(monkeypatch, client, path, text, -datetime.timedelta(minutes=5, seconds=5))
    assert sent(text, stale) == denied
    early = botocore_date(monkeypatch, client, path, text, datetime.timedelta(minutes=5, seconds=5))
    assert sent(text, early) == denied
    assert "AuthenticationFailedException" in proxy.service.output()


def botocore_date(monkeypatch, client, path, text, delta):
    """Headers that botocore signs as if it were another time."""
    moment = datetime.datetime.now(datetime.timezone.utc) + delta
    with monkeypatch.context() as m:
        m.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment)
        headers = client.sign(path, text)
    assert headers["X-Amz-Date"] == moment.strftime("%Y%m%dT%H%M%SZ")
    return headers


def test_two_credentials_and_their_renewal(token, services):
    token.keygen("key-1")
    other = secret(token, "other", OTHER_SECRET)
    proxy = Proxy(token, services, "--access-key-id", OTHER_KEY, "--secret-file", other)
    first, second = proxy.client(), proxy.client(access_key=OTHER_KEY, secret=OTHER_SECRET)
    answer = first.encrypt("key-1", b"Hello World!")
    assert second.decrypt("key-1", answer) == b"Hello World!"
    renewed = "bmV3" + SECRET[4:]
    secret(token, "secret", renewed)
    proxy.service.signal(signal.SIGHUP)
    third = proxy.client(secret=renewed)
    wait_for(lambda: third.post("keys/key-1/decrypt", opening(answer))[0] == 200, "the new secret", 10)
    first.refused("keys/key-1/decrypt", opening(answer), 401, "AuthenticationFailedException")
    # A file that cannot be used changes nothing.
    secret(token, "secret", "short")
    proxy.service.signal(signal.SIGHUP)
    wait_for(lambda: "kept the former secrets" in proxy.service.output(), "the complaint", 10)
    assert third.decrypt("key-1", answer) == b"Hello World!"


def test_rotation(proxy):
    client = proxy.client()
    old = client.encrypt("key-1", b"old")
    proxy.token.keygen("key-1", "--rotate")
    young = wait_for(
        lambda: (a := client.encrypt("key-1", b"young"))["ciphertextMetadata"] != old["ciphertextMetadata"] and a, "the new version", 5)
    assert client.decrypt("key-1", old) == b"old" and client.decrypt("key-1", young) == b"young"
    client.refused(
        "keys/key-1/decrypt", opening({**old, "ciphertextMetadata": young["ciphertextMetadata"]}), 400, "InvalidCiphertextException")


def test_a_disabled_key_is_refused_within_a_second(proxy):
    client = proxy.client()
    answer = client.encrypt("key-1", b"Hello World!")
    proxy.token.run("disable", "--key-label", "key-1")
    time.sleep(1.1)
    client.refused("keys/key-1/decrypt", opening(answer), 400, "InvalidStateException")
    client.refused("keys/key-1/encrypt", request("Encrypt", plaintext=b64(b"x")), 400, "InvalidStateException")
    assert client.must("keys/key-1/metadata", request("DescribeKey"))["keyStatus"] == "DISABLED"
    # It is the token that refuses: another program cannot use the key either.
    assert "none" in re.findall(r"Usage:\s+(.*)", proxy.token.tool("--list-objects", "--type", "secrkey").stdout)
    proxy.token.run("enable", "--key-label", "key-1")
    time.sleep(1.1)
    assert client.decrypt("key-1", answer) == b"Hello World!"


def test_keys_of_another_tool(proxy):
    """A key made with pkcs11-tool serves as well; one that is too short does not."""
    make = ("--keygen", "--sensitive", "--usage-decrypt")
    proxy.token.tool(*make, "--key-type", "AES:32", "--label", "foreign", "--id", "0a")
    proxy.token.tool(*make, "--key-type", "AES:16", "--label", "short", "--id", "0b")
    client = proxy.client()
    assert client.decrypt("foreign", client.encrypt("foreign", b"x")) == b"x"
    assert client.must("keys/short/metadata", request("CreateKey"))["keySpec"] == "AES_128"
    client.refused("keys/short/encrypt", request("Encrypt", plaintext=b64(b"x")), 400, "InvalidKeyUsageException")
    assert proxy.token.keygen("foreign", "--rotate") == "foreign/0b"
    # Two keys of one label and id: none of them is taken by chance.
    for _ in range(2):
        proxy.token.tool(*make, "--key-type", "AES:32", "--label", "twins", "--id", "01")
    client.refused("keys/twins/encrypt", request("Encrypt", plaintext=b64(b"x")), 500, "InternalException")


def test_limits_of_keys_and_accounts(token, services):
    for label in ("key-1", "key-2"):
        token.keygen(label)
    client = Proxy(token, services, "--key-label", "key-1", "--kms-account", "111122223333").client()
    client.encrypt("key-1", b"x")
    client.refused("keys/key-2/encrypt", request("Encrypt", plaintext=b64(b"x")), 403, "AccessDeniedException")
    client.refused(
        "keys/key-1/encrypt", request("Encrypt", account="444455556666", plaintext=b64(b"x")), 403, "AccessDeniedException")


def test_client_certificates(token, services):
    token.keygen("key-1")
    flags = ("--client-ca", token.folder / "ca.pem", "--client-name", "cks.kms.eu-west-1.amazonaws.com")
    proxy = Proxy(token, services, *flags)
    good, bad = (proxy.authority.issue(n) for n in ("cks.kms.eu-west-1.amazonaws.com", "cks.kms.us-east-1.amazonaws.com"))
    proxy.client(cert=good).encrypt("key-1", b"x")
    for cert in (None, bad):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            proxy.client(cert=cert).encrypt("key-1", b"x")


def test_many_at_once(proxy):
    client = proxy.client()

    def work(i):
        plaintext = b"%d" % i
        return client.decrypt("key-1", client.encrypt("key-1", plaintext, plaintext), plaintext) == plaintext

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(200)))


def test_a_token_that_goes_and_comes_back(proxy):
    client = proxy.client()
    healthy = {"requestMetadata": {"kmsOperation": "KmsHealthCheck", "kmsRequestId": "r"}}
    answer = client.encrypt("key-1", b"Hello World!")
    time.sleep(1.1)
    proxy.token.pull()
    for _ in range(3):
        client.refused("keys/key-1/decrypt", opening(answer), 500, "InternalException")
    client.refused("health", healthy, 500, "InternalException")
    proxy.token.plug()
    wait_for(lambda: client.post("keys/key-1/decrypt", opening(answer))[0] == 200, "the token", 15, 0.2)
    wait_for(lambda: client.post("health", healthy)[0] == 200, "the health status", 15, 0.2)
    assert client.decrypt("key-1", answer) == b"Hello World!"


def test_nothing_secret_is_logged(proxy):
    client = proxy.client()
    answer = client.encrypt("key-1", b"the plaintext", b"the data")
    client.decrypt("key-1", answer, b"the data")
    client.refused("keys/key-1/decrypt", opening(answer), 400, "InvalidCiphertextException")
    log = proxy.service.output()
    for want in ("operation=Encrypt", "operation=Decrypt", "request_id=4112f4d6-e2e", "user/Alice", "InvalidCiphertextException"):
        assert want in log
    for leak in ("the plaintext", b64(b"the plaintext"), answer["ciphertext"], b64(b"the data"), SECRET, PIN):
        assert leak not in log, leak
    command_line = open(f"/proc/{proxy.service.process.pid}/cmdline").read() if sys.platform == "linux" else ""
    assert PIN not in command_line and SECRET not in command_line


def test_flags_of_the_proxy(token):
    token.keygen("key-1")
    good = {"--listen": "127.0.0.1:0", "--access-key-id": ACCESS_KEY, "--secret-file": str(secret(token, "secret", SECRET))}
    short = str(secret(token, "short", SECRET[:42]))
    for change, code, text in (
        ({"--listen": "0.0.0.0:0"}, 2, "not a loopback address"),
        ({"--access-key-id": "ABC"}, 2, "20 to 30 characters"),
        ({"--access-key-id": "0" * 20}, 2, "20 to 30 characters"),
        ({"--secret-file": short}, 1, "43 to 64 characters"),
        ({"--secret-file": "/nonexistent"}, 1, "no such file"),
        ({"--uri-path-prefix": "prod/"}, 2, "URI path prefix"),
        ({"--kms-account": "1"}, 2, "12 digits"),
        ({"--client-ca": "ca.pem"}, 2, "--client-ca needs --tls-cert"),
        ({"--tls-cert": "/nonexistent", "--tls-key": "/nonexistent"}, 1, "read the certificate"),
    ):
        done = token.run("xks", *(x for pair in (good | change).items() for x in pair), code=code)
        assert text in done.stderr and SECRET not in done.stderr, done.stderr


# Seal


@pytest.fixture
def seal(token, services):
    token.keygen("root")
    folder = token.folder / "run"
    folder.mkdir(mode=0o700)
    path = folder / "hsm.sock"
    service = services(token, "seal", "--key-label", "root", "--socket", path)
    assert service.address == f"unix:{path}"
    client = SealClient(path)
    client.token, client.service = token, service
    return client


def test_seal_protocol(seal):
    info = seal.ask("info")
    assert info == {"keyId": "root/0000000000000001", "algorithm": "CKM_AES_GCM, AES-256"}
    wrapped = seal.ask("wrap", keyId="", data=b64(ROOT_KEY), context=CONTEXT)
    assert wrapped["keyId"] == info["keyId"] and ROOT_KEY not in base64.b64decode(wrapped["data"])
    good = {"keyId": wrapped["keyId"], "data": wrapped["data"], "context": CONTEXT}
    assert base64.b64decode(seal.ask("unwrap", **good)["data"]) == ROOT_KEY

    raw = base64.b64decode(wrapped["data"])
    for change in (
        {"data": b64(raw[:-1] + bytes([raw[-1] ^ 1]))}, {"data": b64(raw[:-1])}, {"keyId": "root/02"}, {"keyId": "other/01"},
        {"context": {**CONTEXT, "purpose": "other"}}, {"context": {}},
    ):
        assert seal.ask("unwrap", **{**good, **change})["code"] == "WrongKey", change
    assert seal.ask("wrap", keyId="", data=b64(b"short"), context=CONTEXT)["code"] == "BadRequest"
    assert seal.ask("wrap", keyId="", data=b64(ROOT_KEY), context=CONTEXT, version=2)["code"] == "BadRequest"

    with seal.connect() as s:  # several requests on one connection
        for _ in range(3):
            assert seal.exchange(s, b'{"version":1,"operation":"info"}')["keyId"] == info["keyId"]
        s.sendall(b"\0\0\0\0")
        assert s.recv(1) == b""
    assert b64(ROOT_KEY) not in seal.service.output()

    # The key is replaced: the former version still unwraps.
    seal.token.keygen("root", "--rotate")
    wait_for(lambda: seal.ask("info")["keyId"] == "root/0000000000000002", "the new version", 5)
    assert base64.b64decode(seal.ask("unwrap", **good)["data"]) == ROOT_KEY
    # The holder takes the key away, and gives it back.
    seal.token.run("disable", "--key-label", "root")
    wait_for(lambda: seal.ask("unwrap", **good).get("code") == "Denied", "the refusal", 5)
    assert seal.ask("info")["code"] == "Denied"
    seal.token.run("enable", "--key-label", "root")
    wait_for(lambda: "data" in seal.ask("unwrap", **good), "the key", 5)
    time.sleep(1.1)
    seal.token.pull()
    assert seal.ask("unwrap", **good)["code"] == "Unavailable"
    seal.token.plug()
    wait_for(lambda: "data" in seal.ask("unwrap", **good), "the token", 15, 0.2)


def test_seal_socket(seal, token):
    assert stat.S_IMODE(os.stat(seal.path).st_mode) == 0o600
    assert "another process serves" in token.run("seal", "--key-label", "root", "--socket", seal.path, code=1).stderr
    open_folder = token.folder / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    done = token.run("seal", "--key-label", "root", "--socket", open_folder / "s", code=1)
    assert "everybody may write" in done.stderr
    seal.service.stop()
    assert not os.path.exists(seal.path)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to act as two users of a Linux system")
def test_seal_turns_other_users_away(seal):
    # The doors before the check of the peer are opened on purpose.
    for folder in (p for p in (seal.token.folder / "run").parents if not os.stat(p).st_mode & 0o001):
        folder.chmod(0o755)
    (seal.token.folder / "run").chmod(0o755)
    os.chmod(seal.path, 0o666)
    ask = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "m = b'{\"version\":1,\"operation\":\"info\"}'; s.sendall(len(m).to_bytes(4, 'big') + m); sys.exit(len(s.recv(1)))"
    )
    done = subprocess.run([sys.executable, "-c", ask, seal.path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 or "ConnectionResetError" in done.stderr or "BrokenPipeError" in done.stderr, done
    wait_for(lambda: "of user 65534" in seal.service.output(), "the complaint", 5)
    assert "keyId" in seal.ask("info")


def test_server_sealed_by_the_token(seal, tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder, "--seal", f"pkcs11:{seal.path}").start()
    try:
        kms = server.cloud().boto("kms")
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        blob = kms.encrypt(KeyId=key, Plaintext=b"proof")["CiphertextBlob"]
        assert not (server.data / "seal" / "root.key").exists()
        shown = json.loads(server.command("seal", "status", "--json", "--seal", f"pkcs11:{seal.path}", check=True).stdout)
        assert (shown["seal"], shown["keyId"], shown["opens"]) == ("pkcs11", "root/0000000000000001", True)
        assert "CKM_AES_GCM" in shown["algorithm"]

        # The new version of the key takes over; then the former may go.
        seal.token.keygen("root", "--rotate")
        wait_for(lambda: seal.ask("info")["keyId"] == "root/0000000000000002", "the new version", 5)
        server.command("seal", "rotate", check=True)
        seal.token.tool("--delete-object", "--type", "secrkey", "--id", "0000000000000001")
        server.stop()
        server.start()
        assert server.cloud().boto("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"proof"

        # Without the key nothing opens.
        server.stop()
        seal.token.run("disable", "--key-label", "root")
        time.sleep(1.1)
        done = sagekeep("serve", "--data-dir", server.data, "--listen", "127.0.0.1:0", "--seal", f"pkcs11:{seal.path}")
        assert done.returncode == 1 and "Denied" in done.stderr and "disabled" in done.stderr, done.stderr
        seal.token.run("enable", "--key-label", "root")
        time.sleep(1.1)
        server.start()
        assert server.cloud().boto("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"proof"
    finally:
        server.stop()


def test_no_core_files(seal):
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("read from /proc, which shows a protected process to root alone")
    limits = open(f"/proc/{seal.service.process.pid}/limits").read()
    assert re.search(r"Max core file size\s+0\s+0", limits), limits


def test_version():
    need_engine()
    done = subprocess.run([HSM, "version"], capture_output=True, text=True, timeout=30, env=clean_environment())
    assert done.returncode == 0 and done.stdout.startswith("sagekeep-hsm ")
