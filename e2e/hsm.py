"""A SoftHSM token, the program that serves its keys, and clients of its two interfaces."""

import base64
import datetime
import http.client
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import ROOT, clean_environment, wait_for

HSM = pathlib.Path(os.environ.get("SAGEKEEP_HSM_BIN") or ROOT / "dist" / "sagekeep-hsm")
MODULES = [
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
]
PIN = "pin-of-the-token-42"
ACCESS_KEY = "ABCDEFGHIJKLMNOPQRST"
SECRET = "c2VjcmV0IG9mIHRoZSBwcm94eSwgMzIgYnl0ZXMgbG9uZyE="


def need_engine():
    """The PKCS#11 library; in CI its absence is a failure, elsewhere the tests are skipped."""
    module = next((m for m in [os.environ.get("SOFTHSM2_MODULE", ""), *MODULES] if m and os.path.exists(m)), None)
    missing = [t for t in ("softhsm2-util", "pkcs11-tool") if not shutil.which(t)]
    if module is None:
        missing.append("libsofthsm2.so")
    if not HSM.is_file():
        missing.append(f"{HSM} (make hsm)")
    if missing:
        text = "missing for the HSM tests: " + ", ".join(missing)
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return module


class Token:
    """A SoftHSM token in a folder of its own."""

    def __init__(self, folder, label="e2e"):
        self.module, self.label, self.folder = need_engine(), label, pathlib.Path(folder)
        self.store = self.folder / "tokens"
        self.store.mkdir()
        conf = self.folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {self.store}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.pin_file = self.folder / "pin"
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        self.env = {"SOFTHSM2_CONF": str(conf)}
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "so-pin-4242", "--pin", PIN],
            check=True, capture_output=True, env=clean_environment(**self.env),
        )

    def flags(self):
        return ["--module", self.module, "--token-label", self.label, "--pin-file", str(self.pin_file)]

    def run(self, command, *args, code=0, flags=None, env=None):
        """Runs `sagekeep-hsm COMMAND` to its end."""
        done = subprocess.run(
            [HSM, command, *(self.flags() if flags is None else flags), *map(str, args)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, env=clean_environment(**self.env, **(env or {})),
        )
        assert done.returncode == code, f"sagekeep-hsm {command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def keygen(self, label, *more):
        return self.run("keygen", "--key-label", label, *more).stdout.strip()

    def tool(self, *args, check=True):
        """Runs OpenSC's pkcs11-tool, which knows nothing of us."""
        done = subprocess.run(
            ["pkcs11-tool", "--module", self.module, "--token-label", self.label, "--login", "--pin", PIN, *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=clean_environment(**self.env),
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def pull(self):
        """Takes the token out of its slot."""
        self.store.rename(self.folder / "pulled")

    def plug(self):
        (self.folder / "pulled").rename(self.store)


class Service:
    """A running `sagekeep-hsm xks` or `seal`."""

    def __init__(self, token, command, *args):
        self.log = token.folder / f"{command}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [HSM, command, *token.flags(), *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                bufsize=0, env=clean_environment(**token.env),
            )
        os.set_blocking(self.process.stdout.fileno(), False)
        line = b""

        def ready():
            nonlocal line
            line += self.process.stdout.read() or b""
            assert line or self.process.poll() is None, f"{command} ended with {self.process.returncode}:\n{self.output()}"
            return line.endswith(b"\n")

        try:
            wait_for(ready, "the ready line", 30, 0.01)
            word, self.address = line.decode().split()
            assert word == "ready", line
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def output(self):
        return self.log.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM was ignored:\n{self.output()}") from None
        finally:
            self.process.stdout.close()
        assert code == 0, f"exit {code}:\n{self.output()}"


class Authority:
    """A certificate authority of the test, and certificates of it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        cert = self._sign(self.name, self.key, lambda b: b.add_extension(x509.BasicConstraints(True, None), True))
        self.file = self._write("ca.pem", cert.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, more):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=24))
        )
        return more(builder).sign(self.key, hashes.SHA256())

    def _write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def issue(self, name):
        """Certificate and key files for a common name, good for localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = self._sign(subject, key, lambda b: b.add_extension(names, False))
        return (
            self._write(f"{name}.pem", cert.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{name}.key", key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())),
        )


def b64(data):
    return base64.b64encode(data).decode()


class Client:
    """Calls of a KMS to an external key store proxy, signed by botocore."""

    def __init__(self, port, ca, prefix="/prod", access_key=ACCESS_KEY, secret=SECRET, cert=None):
        self.port, self.prefix = port, prefix
        self.credentials = botocore.credentials.Credentials(access_key, secret)
        self.tls = ssl.create_default_context(cafile=str(ca))
        if cert:
            self.tls.load_cert_chain(*map(str, cert))

    def sign(self, path, body, service="kms-xks-proxy"):
        request = botocore.awsrequest.AWSRequest(
            method="POST", url=f"https://localhost:{self.port}{path}", data=body, headers={"Content-Type": "application/json"})
        botocore.auth.SigV4Auth(self.credentials, service, "eu-west-1").add_auth(request)
        return dict(request.headers.items())

    def send(self, method, path, body, headers):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(data) if data else None

    def post(self, verb, body, **signing):
        path = f"{self.prefix}/kms/xks/v1/{verb}"
        text = json.dumps(body).encode()
        return self.send("POST", path, text, self.sign(path, text, **signing))

    def must(self, verb, body):
        status, answer = self.post(verb, body)
        assert status == 200, f"{verb}: {status} {answer}"
        return answer

    def refused(self, verb, body, status, name, **signing):
        got, answer = self.post(verb, body, **signing)
        assert (got, answer["errorName"]) == (status, name), f"{verb}: {got} {answer}, want {status} {name}"

    def encrypt(self, key, plaintext, aad=None, **more):
        return self.must(f"keys/{key}/encrypt", request("Encrypt", plaintext=b64(plaintext), **data(aad), **more))

    def decrypt(self, key, answer, aad=None):
        return base64.b64decode(self.must(f"keys/{key}/decrypt", opening(answer, aad))["plaintext"])


def data(aad):
    return {} if aad is None else {"additionalAuthenticatedData": b64(aad)}


def request(operation, account="111122223333", **members):
    """A body with the metadata that KMS sends."""
    if operation in ("Encrypt", "Decrypt"):
        members["encryptionAlgorithm"] = "AES_GCM"
    return {
        "requestMetadata": {
            "awsPrincipalArn": f"arn:aws:iam::{account}:user/Alice", "kmsOperation": operation, "kmsRequestId": "4112f4d6-e2e",
            "kmsKeyArn": f"arn:aws:kms:eu-west-1:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab", "kmsViaService": "s3",
        },
        **members,
    }


def opening(answer, aad=None):
    """The Decrypt request for an answer of Encrypt."""
    names = ("ciphertext", "ciphertextMetadata", "initializationVector", "authenticationTag")
    return request("Decrypt", **{n: answer[n] for n in names}, **data(aad))


class SealClient:
    """The protocol of docs/seals.md on a Unix socket."""

    def __init__(self, path):
        self.path = str(path)

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(30)
        s.connect(self.path)
        return s

    @staticmethod
    def exchange(s, message):
        s.sendall(struct.pack(">I", len(message)) + message)
        return SealClient.receive(s)

    @staticmethod
    def receive(s):
        def exactly(n):
            got = b""
            while len(got) < n:
                part = s.recv(n - len(got))
                assert part, "the side program closed the connection"
                got += part
            return got

        return json.loads(exactly(struct.unpack(">I", exactly(4))[0]))

    def ask(self, operation, **members):
        with self.connect() as s:
            return self.exchange(s, json.dumps({"version": 1, "operation": operation, **members}).encode())
