"""The AWS Encryption SDK in two languages, behind one small interface.

Python runs in this process and is given boto3 clients; JavaScript (js/encryption.mjs)
runs in Node.js and finds endpoint, region and credentials in its environment.
"""

import base64
import json
import pathlib
import shutil
import subprocess

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsDiscoveryKeyringInput, CreateAwsKmsMrkMultiKeyringInput, CreateAwsKmsMultiKeyringInput, DiscoveryFilter,
)
from aws_cryptographic_material_providers.mpl.references import IClientSupplier
from aws_encryption_sdk.identifiers import AlgorithmSuite

from harness import REGION, ROOT, clean_environment

DRIVER = pathlib.Path(__file__).parent / "js" / "encryption.mjs"
PACKAGES = ROOT / "dist" / "js"
SUITES = {"signed": 0x0578, "unsigned": 0x0478}  # AES-256-GCM, HKDF, key commitment; with and without ECDSA P-384


class Failed(Exception):
    """What the SDK says when it cannot encrypt or decrypt."""


class _Supplier(IClientSupplier):
    def __init__(self, cloud, credentials):
        self.cloud, self.credentials = cloud, credentials

    def get_client(self, param):
        return self.cloud.boto("kms", self.credentials, region=param.region)


class Python:
    """A keyring is named by its generator and further keys, or by neither: discovery, in one account when one is named.

    A multi-Region keyring opens with any replica what one of them has encrypted.
    """

    def __init__(self, cloud, credentials=None):
        self.kms, self.supplier = cloud.boto("kms", credentials), _Supplier(cloud, credentials)
        self.client = aws_encryption_sdk.EncryptionSDKClient()
        self.providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())

    def keyring(self, generator=None, keys=(), account=None, tokens=(), multi_region=False):
        tokens = {"grant_tokens": list(tokens)} if tokens else {}
        if generator or keys:
            strict = dict(generator=generator, kms_key_ids=list(keys) or None, client_supplier=self.supplier, **tokens)
            if multi_region:
                return self.providers.create_aws_kms_mrk_multi_keyring(CreateAwsKmsMrkMultiKeyringInput(**strict))
            return self.providers.create_aws_kms_multi_keyring(CreateAwsKmsMultiKeyringInput(**strict))
        accounts = DiscoveryFilter(account_ids=[account], partition="aws") if account else None
        return self.providers.create_aws_kms_discovery_keyring(
            CreateAwsKmsDiscoveryKeyringInput(kms_client=self.kms, discovery_filter=accounts, **tokens),
        )

    def encrypt(self, data, context=None, suite="signed", frame=4096, keyring=None, **keys):
        try:
            message, _ = self.client.encrypt(
                source=data, keyring=keyring or self.keyring(**keys), encryption_context=context or {}, frame_length=frame,
                algorithm=AlgorithmSuite.get_by_id(SUITES[suite]),
            )
        except Exception as e:  # the SDK's errors have no common class
            raise Failed(self._told(e)) from e
        return message

    def decrypt(self, message, keyring=None, **keys):
        """The data, and the encryption context that the message carries."""
        try:
            data, header = self.client.decrypt(source=message, keyring=keyring or self.keyring(**keys))
        except Exception as e:
            raise Failed(self._told(e)) from e
        return data, header.encryption_context

    @staticmethod
    def _told(error):
        return "\n".join(map(repr, [error, *getattr(error, "list", [])]))

    def close(self):
        pass


class JavaScript:
    """The same in Node.js, which runs until close."""

    def __init__(self, cloud, credentials=None):
        node = shutil.which("node")
        assert node, "Node.js is missing: apt-get install nodejs npm"
        assert (PACKAGES / "node_modules").is_dir(), f"{PACKAGES}/node_modules is missing: make e2e installs it"
        credentials = getattr(credentials, "credentials", credentials) or cloud.root
        self.process = subprocess.Popen(
            [node, DRIVER, PACKAGES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
            env=clean_environment(AWS_ENDPOINT_URL=cloud.url, AWS_REGION=REGION, **credentials.environment()),
        )

    def _ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"Node.js ended with {self.process.wait(timeout=30)}"
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return base64.b64decode(answer["data"]), answer["context"]

    @staticmethod
    def _keyring(generator=None, keys=(), account=None, tokens=(), multi_region=False):
        keyring = {"multiRegion": multi_region} | ({"grantTokens": list(tokens)} if tokens else {})
        if generator or keys:
            return keyring | ({"generatorKeyId": generator} if generator else {}) | {"keyIds": list(keys)}
        return keyring | {"discovery": True} | ({"discoveryFilter": {"accountIDs": [account], "partition": "aws"}} if account else {})

    def encrypt(self, data, context=None, suite="signed", frame=4096, **keys):
        data = base64.b64encode(data).decode()
        return self._ask(operation="encrypt", data=data, context=context or {}, suite=suite, frame=frame, keyring=self._keyring(**keys))[0]

    def decrypt(self, message, **keys):
        return self._ask(operation="decrypt", data=base64.b64encode(message).decode(), keyring=self._keyring(**keys))

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def data_keys(message):
    """The encrypted data keys in the header of a message of version 2, each as (key ARN, ciphertext).

    Source: AWS Encryption SDK developer guide, message format reference.
    """
    assert message[0] == 2, message[0]
    at = 1 + 2 + 32

    def field():
        nonlocal at
        size = int.from_bytes(message[at:at + 2])
        at += 2 + size
        return message[at - size:at]

    field()  # the encryption context
    count, found = int.from_bytes(message[at:at + 2]), []
    at += 2
    for _ in range(count):
        provider, key, ciphertext = field(), field(), field()
        assert provider == b"aws-kms", provider
        found.append((key.decode(), ciphertext))
    return found
