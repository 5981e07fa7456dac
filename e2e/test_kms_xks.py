"""Keys in an external key store: Sagekeep's KMS in front of a token, through the proxy that serves it."""

import concurrent.futures
import json
import os
import re

import pytest

from harness import REGION, allow, refused, unique, wait_for
from hsm import ACCESS_KEY, SECRET, Authority, Service, Token

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sagekeep-hsm needs Unix")

PREFIX = "/prod"
PATH = PREFIX + "/kms/xks/v1"
NOT_CONNECTED = "not connected to its external key store proxy"


class Custody:
    """A token, its proxy, and a server that trusts the proxy's authority."""

    def __init__(self, folder, start_server):
        self.folder = folder
        self.token = Token(folder)
        self.authority = Authority(folder)
        self.certificate = self.authority.issue("proxy")
        self.secret_file = folder / "secret"
        self.secret_file.write_text(SECRET + "\n")
        self.secret_file.chmod(0o600)
        self.proxy = None
        self.start_proxy()
        self.port = int(re.fullmatch(r"https://127\.0\.0\.1:(\d+)", self.proxy.address)[1])
        self.server = start_server(
            "--xks-connect", f"localhost=127.0.0.1:{self.port}", "--xks-timeout", "10s",
            env={"SSL_CERT_FILE": str(self.authority.file)},
        )
        self.cloud = self.server.cloud()
        self.kms = self.cloud.boto("kms")

    def start_proxy(self, *flags, port=0):
        self.proxy = Service(
            self.token, "xks", "--listen", f"127.0.0.1:{port}", "--tls-cert", self.certificate[0], "--tls-key", self.certificate[1],
            "--access-key-id", ACCESS_KEY, "--secret-file", self.secret_file, "--uri-path-prefix", PREFIX, *flags,
        )

    def stop_proxy(self):
        if self.proxy is not None and self.proxy.process.poll() is None:
            self.proxy.stop()

    def create(self, **changes):
        request = {
            "CustomKeyStoreName": unique("store"), "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
            "XksProxyConnectivity": "PUBLIC_ENDPOINT", "XksProxyUriEndpoint": "https://localhost", "XksProxyUriPath": PATH,
            "XksProxyAuthenticationCredential": {"AccessKeyId": ACCESS_KEY, "RawSecretAccessKey": SECRET},
        }
        return self.kms.create_custom_key_store(**request | changes)["CustomKeyStoreId"]

    def describe(self, store):
        (entry,) = self.kms.describe_custom_key_stores(CustomKeyStoreId=store)["CustomKeyStores"]
        return entry

    def connect(self, store, state="CONNECTED"):
        self.kms.connect_custom_key_store(CustomKeyStoreId=store)

        def settled():
            entry = self.describe(store)
            return entry if entry["ConnectionState"] != "CONNECTING" else None

        entry = wait_for(settled, "the end of the connection")
        assert entry["ConnectionState"] == state, entry
        return entry

    def key(self, store, external):
        return self.kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId=external)["KeyMetadata"]


@pytest.fixture
def custody(tmp_path, own_server):
    c = Custody(tmp_path, own_server)
    yield c
    c.stop_proxy()


def test_life_of_a_store_and_its_key(custody):
    kms = custody.kms
    custody.token.keygen("key-1")
    store = custody.create()
    entry = custody.describe(store)
    assert entry["ConnectionState"] == "DISCONNECTED" and entry["CustomKeyStoreType"] == "EXTERNAL_KEY_STORE"
    assert entry["XksProxyConfiguration"] == {
        "Connectivity": "PUBLIC_ENDPOINT", "AccessKeyId": ACCESS_KEY, "UriEndpoint": "https://localhost", "UriPath": PATH}
    with refused("CustomKeyStoreInvalidStateException", NOT_CONNECTED):
        custody.key(store, "key-1")
    custody.connect(store)
    key = custody.key(store, "key-1")
    assert key["Origin"] == "EXTERNAL_KEY_STORE" and key["CustomKeyStoreId"] == store
    assert key["XksKeyConfiguration"] == {"Id": "key-1"} and key["KeyState"] == "Enabled"
    with refused("XksKeyAlreadyInUseException"):
        custody.key(store, "key-1")
    with refused("XksKeyNotFoundException"):
        custody.key(store, "key-2")

    context = {"project": "nile"}
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"p" * 4096, EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext=context)["Plaintext"] == b"p" * 4096
    with refused("KMSInvalidStateException", "ciphertext or encryption context is corrupted"):
        kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"project": "danube"})
    data = kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"], KeyId=key["Arn"])["Plaintext"] == data["Plaintext"]
    plain = custody.cloud.new_key()
    there = kms.re_encrypt(CiphertextBlob=sealed, SourceEncryptionContext=context, DestinationKeyId=plain)["CiphertextBlob"]
    back = kms.re_encrypt(CiphertextBlob=there, DestinationKeyId=key["Arn"])["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=back)["Plaintext"] == b"p" * 4096

    # The token's key rotates; what it has sealed goes on opening.
    custody.token.keygen("key-1", "--rotate")
    custody.proxy.signal(1)  # SIGHUP: the proxy reads its keys anew
    wait_for(lambda: kms.decrypt(CiphertextBlob=back)["Plaintext"] == b"p" * 4096, "the older version")
    for operation in (kms.enable_key_rotation, kms.rotate_key_on_demand):
        with refused("UnsupportedOperationException"):
            operation(KeyId=key["KeyId"])

    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Unavailable"
    with refused("KMSInvalidStateException", NOT_CONNECTED):
        kms.decrypt(CiphertextBlob=back)
    with refused("CustomKeyStoreHasCMKsException"):
        kms.delete_custom_key_store(CustomKeyStoreId=store)
    custody.connect(store)
    assert kms.decrypt(CiphertextBlob=back)["Plaintext"] == b"p" * 4096

    record = next(r for r in custody.cloud.records("EventName", "GenerateDataKey"))
    assert record["additionalEventData"]["customKeyStoreId"] == store and record["additionalEventData"]["xksKeyId"] == "key-1"
    shown = json.dumps(custody.cloud.records())
    assert SECRET not in shown and ACCESS_KEY not in shown
    # The proxy's log names the request of the record.
    assert record["requestID"] in custody.proxy.output()
    assert SECRET not in custody.server.output() + custody.proxy.output()


def test_a_proxy_that_is_away(custody):
    kms = custody.kms
    custody.token.keygen("key-1")
    store = custody.create()
    custody.connect(store)
    key = custody.key(store, "key-1")
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"p")["CiphertextBlob"]
    custody.stop_proxy()
    with refused("KMSInvalidStateException", "cannot communicate with the external key store proxy"):
        kms.decrypt(CiphertextBlob=sealed)
    assert custody.describe(store)["ConnectionState"] == "CONNECTED", "only a call to disconnect changes the state"
    with refused("XksProxyUriUnreachableException"):
        custody.create(XksProxyUriPath="/other/kms/xks/v1")
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert custody.connect(store, "FAILED")["ConnectionErrorCode"] == "XKS_PROXY_NOT_REACHABLE"
    with refused("CustomKeyStoreInvalidStateException"):
        kms.connect_custom_key_store(CustomKeyStoreId=store)
    custody.start_proxy(port=custody.port)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    custody.connect(store)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"p"


def test_refused_stores(custody):
    with refused("XksProxyIncorrectAuthenticationCredentialException", "could not authenticate"):
        custody.create(XksProxyAuthenticationCredential={"AccessKeyId": ACCESS_KEY, "RawSecretAccessKey": "x" * 43})
    with refused("XksProxyInvalidConfigurationException", "invalid URI path"):
        custody.create(XksProxyUriPath="/nobody/kms/xks/v1")
    with refused("XksProxyUriUnreachableException"):
        custody.create(XksProxyUriEndpoint="https://169.254.169.254")
    with refused("XksProxyVpcEndpointServiceNotFoundException"):
        custody.create(
            XksProxyConnectivity="VPC_ENDPOINT_SERVICE",
            XksProxyVpcEndpointServiceName="com.amazonaws.vpce.us-west-2.vpce-svc-0e0a1b2c3d4e5f607")
    with refused("CloudHsmClusterNotFoundException"):
        custody.kms.create_custom_key_store(
            CustomKeyStoreName="hsm", CloudHsmClusterId="cluster-2a23b4cdefg", KeyStorePassword="password", TrustAnchorCertificate="PEM")
    assert custody.kms.describe_custom_key_stores()["CustomKeyStores"] == []
    name = unique("store")
    custody.create(CustomKeyStoreName=name)
    with refused("CustomKeyStoreNameInUseException"):
        custody.create(CustomKeyStoreName=name)
    with refused("XksProxyUriInUseException"):
        custody.create()


def test_stores_survive_a_restart(custody):
    custody.token.keygen("key-1")
    store = custody.create()
    custody.connect(store)
    key = custody.key(store, "key-1")
    sealed = custody.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"p")["CiphertextBlob"]
    custody.server.kill()
    for path in custody.server.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET.encode() not in content and ACCESS_KEY.encode() not in content, path
    custody.server.start()
    kms = custody.server.cloud().boto("kms")
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"p"


def test_objects_under_an_external_key(custody):
    """S3 uses the key for its caller, and the proxy sees the service."""
    custody.token.keygen("key-1")
    store = custody.create()
    custody.connect(store)
    key = custody.key(store, "key-1")
    s3, bucket = custody.cloud.boto("s3"), custody.cloud.new_bucket()
    sse = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"], "BucketKeyEnabled": True}
    s3.put_object(Bucket=bucket, Key="tile.tif", Body=b"pixels", **sse)
    assert s3.get_object(Bucket=bucket, Key="tile.tif")["Body"].read() == b"pixels"
    log = custody.proxy.output()
    assert f"s3.{REGION}.amazonaws.com" in log, log[-2000:]
    # The customer takes the key away at its own side: the next read fails.
    custody.kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    with refused("KMS.KMSInvalidStateException", status=400):
        s3.get_object(Bucket=bucket, Key="tile.tif")
    custody.connect(store)
    assert s3.get_object(Bucket=bucket, Key="tile.tif")["Body"].read() == b"pixels"
    custody.stop_proxy()
    with refused("KMS.KMSInvalidStateException", status=400):
        s3.get_object(Bucket=bucket, Key="tile.tif")


def test_policies_decide_before_the_proxy(custody):
    custody.token.keygen("key-1")
    store = custody.create()
    custody.connect(store)
    key = custody.key(store, "key-1")
    user = custody.cloud.new_user(allow("kms:Encrypt", key["Arn"]))
    kms = custody.cloud.boto("kms", user)
    sealed = kms.encrypt(KeyId=key["Arn"], Plaintext=b"p")["CiphertextBlob"]
    asked = custody.proxy.output().count("decrypt")
    with refused("AccessDeniedException"):
        kms.decrypt(CiphertextBlob=sealed)
    with refused("AccessDeniedException"):
        kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    with refused("AccessDeniedException"):
        kms.describe_custom_key_stores()
    assert custody.proxy.output().count("decrypt") == asked


def test_many_at_once(custody):
    custody.token.keygen("key-1")
    store = custody.create()
    custody.connect(store)
    key = custody.key(store, "key-1")

    def use(i):
        text = f"plaintext {i}".encode()
        sealed = custody.kms.encrypt(KeyId=key["Arn"], Plaintext=text, EncryptionContext={"i": str(i)})["CiphertextBlob"]
        return custody.kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"i": str(i)})["Plaintext"] == text

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(use, range(64)))


def test_command_line(custody):
    """The AWS CLI on the same store."""
    custody.token.keygen("key-1")
    store = custody.create()
    cli = custody.cloud.cli
    assert cli("kms", "connect-custom-key-store", "--custom-key-store-id", store) in (None, {})
    wait_for(lambda: custody.describe(store)["ConnectionState"] == "CONNECTED", "the connection")
    (entry,) = cli("kms", "describe-custom-key-stores")["CustomKeyStores"]
    assert entry["CustomKeyStoreId"] == store and "RawSecretAccessKey" not in json.dumps(entry)
    made = cli("kms", "create-key", "--origin", "EXTERNAL_KEY_STORE", "--custom-key-store-id", store, "--xks-key-id", "key-1")
    assert made["KeyMetadata"]["XksKeyConfiguration"] == {"Id": "key-1"}
    with refused("CustomKeyStoreInvalidStateException"):
        cli("kms", "delete-custom-key-store", "--custom-key-store-id", store)
