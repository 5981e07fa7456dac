"""AWS KMS through boto3 and the AWS CLI: asymmetric and HMAC keys.

What KMS signs, encrypts and derives is checked with `cryptography` and openssl,
which know the public keys alone. The AWS CLI of requirements.txt does not know
Encapsulate and Decapsulate yet: boto3 alone calls them.
"""

import base64
import hashlib
import json
import shutil
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa, utils

from harness import ACCOUNT, REGION, allow, policy, refused, unique

MESSAGE = b"plot 7: rapeseed, 2.4 t/ha"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
DRY = "The request would have succeeded, but the DryRun option is set."


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture(scope="module")
def keys(kms):
    """ARNs of keys by spec and usage, each made once."""
    made = {}

    def key(spec, usage):
        if (spec, usage) not in made:
            made[spec, usage] = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
        return made[spec, usage]

    return key


def public_key(kms, key):
    return serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])


# Keys

RSA_SIGNING = [f"RSASSA_{p}_SHA_{h}" for p in ("PKCS1_V1_5", "PSS") for h in HASHES]
SPECS = [
    ("RSA_2048", "SIGN_VERIFY", "SigningAlgorithms", RSA_SIGNING, rsa.RSAPublicKey),
    ("RSA_3072", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"], rsa.RSAPublicKey),
    ("RSA_4096", "SIGN_VERIFY", "SigningAlgorithms", RSA_SIGNING, rsa.RSAPublicKey),
    ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"], ec.EllipticCurvePublicKey),
    ("ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_384"], ec.EllipticCurvePublicKey),
    ("ECC_NIST_P521", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_512"], ec.EllipticCurvePublicKey),
    ("ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", ["ECDH"], ec.EllipticCurvePublicKey),
    ("ECC_SECG_P256K1", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"], ec.EllipticCurvePublicKey),
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", ["ED25519_SHA_512", "ED25519_PH_SHA_512"], ed25519.Ed25519PublicKey),
    ("HMAC_384", "GENERATE_VERIFY_MAC", "MacAlgorithms", ["HMAC_SHA_384"], None),
    ("ML_DSA_44", "SIGN_VERIFY", "SigningAlgorithms", ["ML_DSA_SHAKE_256"], mldsa.MLDSA44PublicKey),
    ("ML_DSA_65", "SIGN_VERIFY", "SigningAlgorithms", ["ML_DSA_SHAKE_256"], mldsa.MLDSA65PublicKey),
    ("ML_DSA_87", "SIGN_VERIFY", "SigningAlgorithms", ["ML_DSA_SHAKE_256"], mldsa.MLDSA87PublicKey),
    ("ML_KEM_512", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", ["ML_KEM"], None),  # not known to cryptography
    ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", ["ML_KEM"], mlkem.MLKEM768PublicKey),
    ("ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", ["ML_KEM"], mlkem.MLKEM1024PublicKey),
]


@pytest.mark.parametrize("spec, usage, member, algorithms, kind", SPECS, ids=[f"{s[0]}-{s[1]}" for s in SPECS])
def test_specs(kms, keys, spec, usage, member, algorithms, kind):
    m = kms.describe_key(KeyId=keys(spec, usage))["KeyMetadata"]
    assert (m["KeySpec"], m["CustomerMasterKeySpec"], m["KeyUsage"]) == (spec, spec, usage)
    assert sorted(m[member]) == sorted(algorithms)
    assert [k for k in m if k.endswith("Algorithms")] == [member] and "CurrentKeyMaterialId" not in m
    if usage == "GENERATE_VERIFY_MAC":
        with refused("UnsupportedOperationException", f"key spec is {spec} which is not valid for GetPublicKey."):
            kms.get_public_key(KeyId=m["KeyId"])
        return
    public = kms.get_public_key(KeyId=m["KeyId"])
    assert (public["KeyId"], public["KeySpec"], public["KeyUsage"]) == (m["Arn"], spec, usage)
    assert sorted(public[member]) == sorted(algorithms)
    if kind:
        assert isinstance(serialization.load_der_public_key(public["PublicKey"]), kind)


@pytest.mark.parametrize("arguments, code, text", [
    ({"KeySpec": "RSA_2048"}, "ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."),
    ({"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException", "SM2"),
    ({"KeySpec": "ECC_SECG_P256K1", "KeyUsage": "KEY_AGREEMENT"}, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1"),
])
def test_specs_that_cannot_be(kms, arguments, code, text):
    with refused(code, text, status=400):
        kms.create_key(**arguments)


# Signatures


def verifier(public, algorithm):
    """Verifies a signature over a message outside of KMS."""
    size = algorithm[-3:]
    if algorithm.startswith("RSASSA_PSS"):
        return lambda sig, m: public.verify(sig, m, padding.PSS(padding.MGF1(HASHES[size]), HASHES[size].digest_size), HASHES[size])
    if algorithm.startswith("RSASSA"):
        return lambda sig, m: public.verify(sig, m, padding.PKCS1v15(), HASHES[size])
    if algorithm.startswith("ECDSA"):
        return lambda sig, m: public.verify(sig, m, ec.ECDSA(HASHES[size]))
    return public.verify


SIGNING = [
    *(("RSA_2048", a) for a in RSA_SIGNING), ("RSA_4096", "RSASSA_PSS_SHA_512"), ("ECC_NIST_P256", "ECDSA_SHA_256"), ("ECC_NIST_P384", "ECDSA_SHA_384"),
    ("ECC_NIST_P521", "ECDSA_SHA_512"), ("ECC_SECG_P256K1", "ECDSA_SHA_256"), ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
    *((f"ML_DSA_{n}", "ML_DSA_SHAKE_256") for n in (44, 65, 87)),
]


@pytest.mark.parametrize("spec, algorithm", SIGNING)
def test_signatures_verify_outside(kms, keys, spec, algorithm):
    key = keys(spec, "SIGN_VERIFY")
    verify = verifier(public_key(kms, key), algorithm)
    forms = [("RAW", MESSAGE)]
    if "SHA_" in algorithm and not algorithm.startswith("ED25519"):
        forms.append(("DIGEST", hashlib.new("sha" + algorithm[-3:], MESSAGE).digest()))
    if algorithm == "ML_DSA_SHAKE_256":
        hasher = mldsa.MLDSAMuHasher(public_key(kms, key))
        hasher.update(MESSAGE)
        forms.append(("EXTERNAL_MU", hasher.finalize()))
    for kind, message in forms:
        signed = kms.sign(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=algorithm)
        assert (signed["KeyId"], signed["SigningAlgorithm"]) == (key, algorithm)
        verify(signed["Signature"], MESSAGE)
        with pytest.raises(InvalidSignature):
            verify(signed["Signature"], MESSAGE + b"!")
        answer = kms.verify(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=algorithm, Signature=signed["Signature"])
        assert answer["SignatureValid"] is True and answer["KeyId"] == key
        bad = bytes([signed["Signature"][0]]) + signed["Signature"][1:-1] + bytes([signed["Signature"][-1] ^ 1])
        with refused("KMSInvalidSignatureException", status=400) as got:
            kms.verify(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=algorithm, Signature=bad)
        assert got.message == ""


def test_prehashed_edwards(kms, keys):
    key, digest = keys("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"), hashlib.sha512(MESSAGE).digest()
    signed = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ED25519_PH_SHA_512")["Signature"]
    assert kms.verify(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ED25519_PH_SHA_512", Signature=signed)["SignatureValid"]
    with refused("KMSInvalidSignatureException"):  # the pure form of the same bytes is another signature
        kms.verify(KeyId=key, Message=digest, SigningAlgorithm="ED25519_SHA_512", Signature=signed)
    with refused("ValidationException", "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."):
        kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="ED25519_PH_SHA_512")


@pytest.mark.parametrize("spec, arguments, code, text", [
    ("ECC_NIST_P256", {"SigningAlgorithm": "ECDSA_SHA_384"}, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256."),
    ("RSA_2048", {"SigningAlgorithm": "RSASSA_PSS_SHA_256", "MessageType": "DIGEST"}, "ValidationException", "Digest is invalid length for algorithm RSASSA_PSS_SHA_256."),
    ("RSA_2048", {"SigningAlgorithm": "RSASSA_PSS_SHA_256", "Message": b"x" * 4097}, "ValidationException", "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"),
    ("ML_DSA_65", {"SigningAlgorithm": "ML_DSA_SHAKE_256", "MessageType": "DIGEST"}, "ValidationException", "Message type DIGEST is incompatible with key spec ML_DSA_65."),
    ("RSA_2048", {"SigningAlgorithm": "RSASSA_PSS_SHA_256", "DryRun": True}, "DryRunOperationException", DRY),
])
def test_what_cannot_be_signed(cloud, keys, spec, arguments, code, text):
    kms = cloud.boto("kms", parameter_validation=False)
    with refused(code, text, status=400):
        kms.sign(**{"KeyId": keys(spec, "SIGN_VERIFY"), "Message": MESSAGE} | arguments)


def test_cli_signs(cloud, kms, keys, tmp_path):
    key, file = keys("ECC_NIST_P256", "SIGN_VERIFY"), tmp_path / "message"
    file.write_bytes(MESSAGE)
    signed = cloud.cli("kms", "sign", "--key-id", key, "--message", f"fileb://{file}", "--signing-algorithm", "ECDSA_SHA_256")
    signature = base64.b64decode(signed["Signature"])
    public_key(kms, key).verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))
    (tmp_path / "signature").write_bytes(signature)
    arguments = ("--key-id", key, "--signing-algorithm", "ECDSA_SHA_256", "--signature", f"fileb://{tmp_path / 'signature'}", "--message", f"fileb://{file}")
    assert cloud.cli("kms", "verify", *arguments)["SignatureValid"] is True
    file.write_bytes(MESSAGE + b"!")
    with refused("KMSInvalidSignatureException"):
        cloud.cli("kms", "verify", *arguments)


# Encryption with RSA


@pytest.mark.parametrize("spec, algorithm, most", [("RSA_2048", "RSAES_OAEP_SHA_1", 214), ("RSA_2048", "RSAES_OAEP_SHA_256", 190), ("RSA_3072", "RSAES_OAEP_SHA_256", 318)])
def test_rsa_encryption(kms, keys, spec, algorithm, most):
    key = keys(spec, "ENCRYPT_DECRYPT")
    hash = hashes.SHA1() if algorithm.endswith("_1") else hashes.SHA256()
    plaintext = b"p" * most
    theirs = public_key(kms, key).encrypt(plaintext, padding.OAEP(padding.MGF1(hash), hash, None))
    mine = kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionAlgorithm=algorithm)
    assert (mine["KeyId"], mine["EncryptionAlgorithm"]) == (key, algorithm)
    for ciphertext in (theirs, mine["CiphertextBlob"]):
        opened = kms.decrypt(KeyId=key, CiphertextBlob=ciphertext, EncryptionAlgorithm=algorithm)
        assert (opened["Plaintext"], opened["KeyId"], opened["EncryptionAlgorithm"]) == (plaintext, key, algorithm)
        assert "KeyMaterialId" not in opened
    with refused("ValidationException", f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes."):
        kms.encrypt(KeyId=key, Plaintext=plaintext + b"p", EncryptionAlgorithm=algorithm)
    with refused("InvalidCiphertextException") as got:
        kms.decrypt(KeyId=key, CiphertextBlob=theirs[:-1] + bytes([theirs[-1] ^ 1]), EncryptionAlgorithm=algorithm)
    assert got.message == ""
    with refused("ValidationException", "EncryptionContext is not supported"):
        kms.encrypt(KeyId=key, Plaintext=b"p", EncryptionAlgorithm=algorithm, EncryptionContext={"a": "1"})
    with refused("ValidationException", "keyId"):
        kms.decrypt(CiphertextBlob=theirs, EncryptionAlgorithm=algorithm)


def test_re_encrypt_to_rsa_and_back(cloud, kms, keys):
    key, plain = keys("RSA_2048", "ENCRYPT_DECRYPT"), cloud.new_key()
    blob = kms.encrypt(KeyId=plain, Plaintext=b"moves", EncryptionContext={"a": "1"})["CiphertextBlob"]
    there = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext={"a": "1"}, DestinationKeyId=key, DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256")
    assert (there["SourceKeyId"], there["KeyId"]) == (plain, key) and len(there["CiphertextBlob"]) == 256
    back = kms.re_encrypt(CiphertextBlob=there["CiphertextBlob"], SourceKeyId=key, SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256", DestinationKeyId=plain)
    assert kms.decrypt(CiphertextBlob=back["CiphertextBlob"])["Plaintext"] == b"moves"


def test_cli_decrypts_what_openssl_encrypted(cloud, keys, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine")
    key = keys("RSA_2048", "ENCRYPT_DECRYPT")
    public = cloud.cli("kms", "get-public-key", "--key-id", key)["PublicKey"]
    (tmp_path / "public").write_bytes(base64.b64decode(public))
    (tmp_path / "plain").write_bytes(MESSAGE)
    openssl(
        "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", tmp_path / "public", "-in", tmp_path / "plain", "-out", tmp_path / "sealed",
        "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256",
    )
    opened = cloud.cli("kms", "decrypt", "--key-id", key, "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}", "--encryption-algorithm", "RSAES_OAEP_SHA_256")
    assert base64.b64decode(opened["Plaintext"]) == MESSAGE


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


# MACs


@pytest.mark.parametrize("bits, size", [(224, 28), (256, 32), (384, 48), (512, 64)])
def test_macs(kms, keys, bits, size):
    key, algorithm = keys(f"HMAC_{bits}", "GENERATE_VERIFY_MAC"), f"HMAC_SHA_{bits}"
    made = kms.generate_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=algorithm)
    assert len(made["Mac"]) == size and (made["KeyId"], made["MacAlgorithm"]) == (key, algorithm)
    assert kms.generate_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=algorithm)["Mac"] == made["Mac"]
    answer = kms.verify_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=algorithm, Mac=made["Mac"])
    assert answer["MacValid"] is True and answer["KeyId"] == key
    with refused("KMSInvalidMacException", status=400) as got:
        kms.verify_mac(KeyId=key, Message=MESSAGE + b"!", MacAlgorithm=algorithm, Mac=made["Mac"])
    assert got.message == ""
    other = "HMAC_SHA_256" if bits != 256 else "HMAC_SHA_512"
    with refused("InvalidKeyUsageException", f"Algorithm {other} is incompatible with key spec HMAC_{bits}."):
        kms.generate_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=other)


def test_cli_makes_macs(cloud, kms, keys, tmp_path):
    key, file = keys("HMAC_256", "GENERATE_VERIFY_MAC"), tmp_path / "message"
    file.write_bytes(MESSAGE)
    made = cloud.cli("kms", "generate-mac", "--key-id", key, "--message", f"fileb://{file}", "--mac-algorithm", "HMAC_SHA_256")
    assert base64.b64decode(made["Mac"]) == kms.generate_mac(KeyId=key, Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")["Mac"]


# Shared secrets


@pytest.mark.parametrize("spec, curve", [("ECC_NIST_P256", ec.SECP256R1()), ("ECC_NIST_P384", ec.SECP384R1()), ("ECC_NIST_P521", ec.SECP521R1())])
def test_derive_shared_secret(kms, keys, spec, curve):
    key, mine = keys(spec, "KEY_AGREEMENT"), ec.generate_private_key(curve)
    public = mine.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    answer = kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=public)
    assert answer["SharedSecret"] == mine.exchange(ec.ECDH(), public_key(kms, key))
    assert (answer["KeyId"], answer["KeyOrigin"], answer["KeyAgreementAlgorithm"]) == (key, "AWS_KMS", "ECDH")
    for bad in (public[:-1], b"key", ec.generate_private_key(ec.SECP256K1()).public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)):
        with refused("ValidationException"):
            kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=bad)


def test_cli_derives_what_openssl_derives(cloud, keys, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine")
    key = keys("ECC_NIST_P256", "KEY_AGREEMENT")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "mine.pem")
    openssl("pkey", "-in", tmp_path / "mine.pem", "-pubout", "-outform", "DER", "-out", tmp_path / "mine.der")
    (tmp_path / "theirs.der").write_bytes(base64.b64decode(cloud.cli("kms", "get-public-key", "--key-id", key)["PublicKey"]))
    want = openssl("pkeyutl", "-derive", "-inkey", tmp_path / "mine.pem", "-peerkey", tmp_path / "theirs.der", "-peerform", "DER")
    got = cloud.cli("kms", "derive-shared-secret", "--key-id", key, "--key-agreement-algorithm", "ECDH", "--public-key", f"fileb://{tmp_path / 'mine.der'}")
    assert base64.b64decode(got["SharedSecret"]) == want and len(want) == 32


@pytest.mark.parametrize("spec, size", [("ML_KEM_512", 768), ("ML_KEM_768", 1088), ("ML_KEM_1024", 1568)])
def test_encapsulate(kms, keys, spec, size):
    key = keys(spec, "ENCAPSULATE_DECAPSULATE")
    made = kms.encapsulate(KeyId=key, EncapsulationAlgorithm="ML_KEM")
    assert (made["KeyId"], made["EncapsulationAlgorithm"]) == (key, "ML_KEM")
    assert len(made["SharedSecret"]) == 32 and len(made["SharedSecretCiphertextBlob"]) == size
    pairs = [(made["SharedSecret"], made["SharedSecretCiphertextBlob"])]
    if spec != "ML_KEM_512":
        pairs.append(public_key(kms, key).encapsulate())
    for shared, ciphertext in pairs:
        answer = kms.decapsulate(KeyId=key, EncapsulationAlgorithm="ML_KEM", SharedSecretCiphertextBlob=ciphertext)
        assert answer["SharedSecret"] == shared and answer["KeyId"] == key
        changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        assert kms.decapsulate(KeyId=key, EncapsulationAlgorithm="ML_KEM", SharedSecretCiphertextBlob=changed)["SharedSecret"] != shared
    with refused("InvalidCiphertextException"):
        kms.decapsulate(KeyId=key, EncapsulationAlgorithm="ML_KEM", SharedSecretCiphertextBlob=b"x")


# Data key pairs


def use_pair(spec, private, public):
    """The private key does with the public one what its kind is for."""
    if spec.startswith("RSA"):
        assert private.key_size == int(spec[4:])
        public.verify(private.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    elif spec == "ECC_NIST_EDWARDS25519":
        public.verify(private.sign(MESSAGE), MESSAGE)
    elif spec.startswith("ECC"):
        digest = utils.Prehashed(hashes.SHA256())
        public.verify(private.sign(hashlib.sha256(MESSAGE).digest(), ec.ECDSA(digest)), hashlib.sha256(MESSAGE).digest(), ec.ECDSA(digest))
    else:
        shared, ciphertext = public.encapsulate()
        assert private.decapsulate(ciphertext) == shared


@pytest.mark.parametrize("spec", [
    "RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519",
    "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024",
])
def test_data_key_pairs(cloud, kms, spec):
    key, context = cloud.new_key(), {"plot": "7"}
    pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec=spec, EncryptionContext=context)
    assert (pair["KeyId"], pair["KeyPairSpec"]) == (key, spec) and pair["KeyMaterialId"]
    assert kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext=context)["Plaintext"] == pair["PrivateKeyPlaintext"]
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])
    if spec == "ML_KEM_512":  # not known to cryptography; its private key has the length of the others
        assert len(pair["PrivateKeyPlaintext"]) == 86
        return
    private = serialization.load_der_private_key(pair["PrivateKeyPlaintext"], None)
    use_pair(spec, private, serialization.load_der_public_key(pair["PublicKey"]))
    if spec in ("RSA_3072", "RSA_4096"):
        return
    sealed = kms.generate_data_key_pair_without_plaintext(KeyId=key, KeyPairSpec=spec)
    assert "PrivateKeyPlaintext" not in sealed and sealed["PublicKey"] != pair["PublicKey"]
    private = serialization.load_der_private_key(kms.decrypt(CiphertextBlob=sealed["PrivateKeyCiphertextBlob"])["Plaintext"], None)
    use_pair(spec, private, serialization.load_der_public_key(sealed["PublicKey"]))


def test_data_key_pairs_that_cannot_be(cloud, kms, keys):
    with refused("UnsupportedOperationException", "SM2"):
        kms.generate_data_key_pair(KeyId=cloud.new_key(), KeyPairSpec="SM2")
    key = keys("RSA_2048", "ENCRYPT_DECRYPT")
    with refused("InvalidKeyUsageException", f"{key} key spec is RSA_2048 which is not valid for GenerateDataKeyPair."):
        kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256")
    with refused("ValidationException", "attestation document"):
        kms.generate_data_key_pair(KeyId=cloud.new_key(), KeyPairSpec="ECC_NIST_P256", Recipient={"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b"doc"})


def test_cli_makes_a_pair(cloud, kms):
    key = cloud.new_key()
    pair = cloud.cli("kms", "generate-data-key-pair", "--key-id", key, "--key-pair-spec", "ECC_NIST_P384")
    private = serialization.load_der_private_key(base64.b64decode(pair["PrivateKeyPlaintext"]), None)
    use_pair("ECC_NIST_P384", private, serialization.load_der_public_key(base64.b64decode(pair["PublicKey"])))


# Who may, states, records


def test_usage_decides(cloud, kms, keys):
    sign, mac, plain = keys("ECC_NIST_P256", "SIGN_VERIFY"), keys("HMAC_256", "GENERATE_VERIFY_MAC"), cloud.new_key()
    for key, usage, call in (
        (plain, "ENCRYPT_DECRYPT", lambda: kms.sign(KeyId=plain, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")),
        (mac, "GENERATE_VERIFY_MAC", lambda: kms.sign(KeyId=mac, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")),
    ):
        with refused("InvalidKeyUsageException", f"{key} key usage is {usage} which is not valid for Sign."):
            call()
    with refused("InvalidKeyUsageException", f"{sign} key usage is SIGN_VERIFY which is not valid for GenerateMac."):
        kms.generate_mac(KeyId=sign, Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")
    with refused("InvalidKeyUsageException", "DeriveSharedSecret"):
        kms.derive_shared_secret(KeyId=sign, KeyAgreementAlgorithm="ECDH", PublicKey=b"x")
    with refused("InvalidKeyUsageException", "Encapsulate"):
        kms.encapsulate(KeyId=sign, EncapsulationAlgorithm="ML_KEM")


def test_a_disabled_key_signs_no_more(kms):
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    arguments = {"KeyId": key, "Message": MESSAGE, "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = kms.sign(**arguments)["Signature"]
    kms.disable_key(KeyId=key)
    for call in (lambda: kms.sign(**arguments), lambda: kms.verify(Signature=signature, **arguments), lambda: kms.get_public_key(KeyId=key)):
        with refused("DisabledException", f"{key} is disabled."):
            call()
    kms.enable_key(KeyId=key)
    kms.sign(**arguments)
    kms.schedule_key_deletion(KeyId=key)
    with refused("KMSInvalidStateException", f"{key} is pending deletion."):
        kms.sign(**arguments)


def test_conditions_grants_and_accounts(cloud, other, kms):
    key = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    name = "alias/" + unique("signer")
    kms.create_alias(AliasName=name, TargetKeyId=key)
    pss = cloud.new_user(allow("kms:Sign", key, Condition={"StringEquals": {"kms:SigningAlgorithm": "RSASSA_PSS_SHA_256", "kms:MessageType": "RAW"}}))
    as_pss = cloud.boto("kms", pss)
    as_pss.sign(KeyId=name, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256")
    for arguments in ({"SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}, {"SigningAlgorithm": "RSASSA_PSS_SHA_256", "MessageType": "DIGEST"}):
        with refused("AccessDeniedException", "kms:Sign"):
            as_pss.sign(KeyId=key, Message=b"x" * 32, **arguments)

    grantee = cloud.new_user()
    grant = kms.create_grant(KeyId=key, GranteePrincipal=grantee.arn, Operations=["Sign", "GetPublicKey"])
    as_grantee = cloud.boto("kms", grantee)
    as_grantee.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256", GrantTokens=[grant["GrantToken"]])
    with refused("AccessDeniedException", "kms:Verify"):
        as_grantee.verify(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256", Signature=b"x")
    with refused("ValidationException"):
        kms.create_grant(KeyId=key, GranteePrincipal=grantee.arn, Operations=["Encrypt"])
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    with refused("AccessDeniedException"):
        as_grantee.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256")

    stranger = other.new_user(allow("kms:*"))
    with refused("AccessDeniedException"):
        other.boto("kms", stranger).sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256")
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(
        allow("kms:*", "*", Principal={"AWS": cloud.root_arn}), allow(["kms:Sign", "kms:GetPublicKey"], "*", Principal={"AWS": other.root_arn}),
    ))
    signed = other.boto("kms", stranger).sign(KeyId=f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}", Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256")
    assert kms.verify(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256", Signature=signed["Signature"])["SignatureValid"]


def test_records(cloud, kms):
    key = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
    text = unique("a message that no record holds").encode()
    mac = kms.generate_mac(KeyId=key, Message=text, MacAlgorithm="HMAC_SHA_256")["Mac"]
    with refused("KMSInvalidMacException"):
        kms.verify_mac(KeyId=key, Message=text, MacAlgorithm="HMAC_SHA_256", Mac=b"x")
    records = cloud.records("ResourceName", key)
    assert [(r["eventName"], r.get("errorCode"), r["readOnly"]) for r in records] == [
        ("VerifyMac", "KMSInvalidMacException", True), ("GenerateMac", None, True), ("CreateKey", None, False),
    ]
    assert records[1]["requestParameters"] == {"keyId": key, "macAlgorithm": "HMAC_SHA_256"} and records[1]["responseElements"] is None
    everything = json.dumps(records).encode()
    for secret in (text, mac):
        assert secret not in everything and base64.b64encode(secret) not in everything
