"""AWS KMS through boto3 and the AWS CLI: imported key material.

The material is made and wrapped here, with `cryptography` and openssl, as a
customer does it; what KMS then computes with it is checked against the same
material outside.
"""

import base64
import datetime
import hashlib
import hmac
import os
import shutil
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from harness import REGION, allow, refused, wait_for

MESSAGE = b"plot 7: rapeseed, 2.4 t/ha"
SHA = {"SHA_1": hashes.SHA1(), "SHA_256": hashes.SHA256()}
FOR_GOOD = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pkcs8(key):
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def wrap(public, algorithm, material):
    """Wraps material for the wrapping key, as the KMS Developer Guide says."""
    sha = SHA["SHA_" + algorithm.rsplit("_", 1)[1]]
    oaep = padding.OAEP(padding.MGF1(sha), sha, None)
    public = serialization.load_der_public_key(public)
    if algorithm.startswith("RSAES_OAEP"):
        return public.encrypt(material, oaep)
    kek = os.urandom(32)
    return public.encrypt(kek, oaep) + aes_key_wrap_with_padding(kek, material)


def empty_key(kms, spec="SYMMETRIC_DEFAULT", usage="ENCRYPT_DECRYPT", **more):
    m = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage=usage, **more)["KeyMetadata"]
    assert (m["KeyState"], m["Enabled"], m["Origin"]) == ("PendingImport", False, "EXTERNAL")
    assert "ExpirationModel" not in m and "CurrentKeyMaterialId" not in m
    return m["Arn"]


def import_request(kms, key, material, algorithm="RSAES_OAEP_SHA_256", by="RSA_2048", **more):
    p = kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec=by)
    assert p["KeyId"] == key
    day = p["ParametersValidTo"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(hours=23, minutes=59) < day <= datetime.timedelta(hours=24)
    return {"KeyId": key, "ImportToken": p["ImportToken"], "EncryptedKeyMaterial": wrap(p["PublicKey"], algorithm, material)} | (more or FOR_GOOD)


def put(kms, key, material, *args, **more):
    return kms.import_key_material(**import_request(kms, key, material, *args, **more))


def versions(kms, key):
    return [(r["KeyMaterialState"], r["ImportState"]) for r in kms.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]]


def state(kms, key):
    return kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]


def test_symmetric(kms):
    key, material = empty_key(kms), os.urandom(32)
    with refused("KMSInvalidStateException", f"{key} is pending import.", status=400):
        kms.encrypt(KeyId=key, Plaintext=MESSAGE)
    request = import_request(kms, key, material)
    answer = kms.import_key_material(**request)
    assert answer["KeyId"] == key and len(answer["KeyMaterialId"]) == 64
    m = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (m["KeyState"], m["ExpirationModel"], m["CurrentKeyMaterialId"]) == ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE", answer["KeyMaterialId"])
    with refused("InvalidImportTokenException", status=400):
        kms.import_key_material(**request)
    sealed = kms.encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]

    gone = kms.delete_imported_key_material(KeyId=key)
    assert (gone["KeyId"], gone["KeyMaterialId"]) == (key, answer["KeyMaterialId"])
    with refused("KMSInvalidStateException", f"{key} is pending import."):
        kms.decrypt(CiphertextBlob=sealed)
    with refused("IncorrectKeyMaterialException", status=400):
        put(kms, key, os.urandom(32))
    assert state(kms, key) == "PendingImport"
    assert put(kms, key, material, "RSAES_OAEP_SHA_1", "RSA_3072")["KeyMaterialId"] == answer["KeyMaterialId"]
    opened = kms.decrypt(CiphertextBlob=sealed)
    assert (opened["Plaintext"], opened["KeyMaterialId"]) == (MESSAGE, answer["KeyMaterialId"])
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)


@pytest.mark.parametrize("size, sha", [(224, hashlib.sha224), (256, hashlib.sha256), (384, hashlib.sha384), (512, hashlib.sha512)])
def test_hmac(kms, size, sha):
    key, material = empty_key(kms, f"HMAC_{size}", "GENERATE_VERIFY_MAC"), os.urandom(size // 8)
    assert "KeyMaterialId" not in put(kms, key, material)
    mac = hmac.new(material, MESSAGE, sha).digest()
    assert kms.generate_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=f"HMAC_SHA_{size}")["Mac"] == mac
    assert kms.verify_mac(KeyId=key, Message=MESSAGE, MacAlgorithm=f"HMAC_SHA_{size}", Mac=mac)["MacValid"]


@pytest.mark.parametrize("algorithm, by", [("RSA_AES_KEY_WRAP_SHA_256", "RSA_4096"), ("RSA_AES_KEY_WRAP_SHA_1", "RSA_2048")])
def test_rsa(kms, rsa_key, algorithm, by):
    key = empty_key(kms, "RSA_2048", "SIGN_VERIFY")
    put(kms, key, pkcs8(rsa_key), algorithm, by)
    public = rsa_key.public_key()
    assert kms.get_public_key(KeyId=key)["PublicKey"] == public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signature = kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="RSASSA_PSS_SHA_256")["Signature"]
    public.verify(signature, MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    with refused("UnsupportedOperationException", "is not valid for key material of key spec RSA_2048"):
        kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_4096")


def test_rsa_decrypts_what_was_encrypted_outside(kms, rsa_key):
    key = empty_key(kms, "RSA_2048", "ENCRYPT_DECRYPT")
    put(kms, key, pkcs8(rsa_key), "RSA_AES_KEY_WRAP_SHA_256")
    sha = hashes.SHA256()
    sealed = rsa_key.public_key().encrypt(MESSAGE, padding.OAEP(padding.MGF1(sha), sha, None))
    assert kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionAlgorithm="RSAES_OAEP_SHA_256")["Plaintext"] == MESSAGE


CURVES = [
    ("ECC_NIST_P256", ec.SECP256R1(), hashes.SHA256(), "RSAES_OAEP_SHA_1", "RSA_2048"),
    ("ECC_NIST_P384", ec.SECP384R1(), hashes.SHA384(), "RSAES_OAEP_SHA_1", "RSA_2048"),
    ("ECC_NIST_P521", ec.SECP521R1(), hashes.SHA512(), "RSAES_OAEP_SHA_256", "RSA_4096"),
    ("ECC_SECG_P256K1", ec.SECP256K1(), hashes.SHA256(), "RSAES_OAEP_SHA_1", "RSA_2048"),
    ("ECC_SECG_P256K1", ec.SECP256K1(), hashes.SHA256(), "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048"),
]


@pytest.mark.parametrize("spec, curve, sha, algorithm, by", CURVES, ids=[f"{c[0]}-{c[3]}" for c in CURVES])
def test_ecc(kms, spec, curve, sha, algorithm, by):
    mine, key = ec.generate_private_key(curve), empty_key(kms, spec, "SIGN_VERIFY")
    put(kms, key, pkcs8(mine), algorithm, by)
    signature = kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm=f"ECDSA_SHA_{sha.digest_size * 8}")["Signature"]
    mine.public_key().verify(signature, MESSAGE, ec.ECDSA(sha))
    ours = mine.sign(MESSAGE, ec.ECDSA(sha))
    assert kms.verify(KeyId=key, Message=MESSAGE, Signature=ours, SigningAlgorithm=f"ECDSA_SHA_{sha.digest_size * 8}")["SignatureValid"]
    kms.delete_imported_key_material(KeyId=key)
    with refused("IncorrectKeyMaterialException"):
        put(kms, key, pkcs8(ec.generate_private_key(curve)), algorithm, by)
    put(kms, key, pkcs8(mine), algorithm, by)
    assert state(kms, key) == "Enabled"


def test_ed25519(kms):
    mine, key = ed25519.Ed25519PrivateKey.generate(), empty_key(kms, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    put(kms, key, pkcs8(mine))
    mine.public_key().verify(kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="ED25519_SHA_512")["Signature"], MESSAGE)


def test_rotation(kms):
    key, first, second = empty_key(kms), os.urandom(32), os.urandom(32)
    one = put(kms, key, first, ImportType="NEW_KEY_MATERIAL", KeyMaterialDescription="spring", **FOR_GOOD)["KeyMaterialId"]
    with refused("KMSInvalidStateException", f"No available key material pending rotation for the key: {key}."):
        kms.rotate_key_on_demand(KeyId=key)
    sealed = kms.encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    two = put(kms, key, second, ImportType="NEW_KEY_MATERIAL", **FOR_GOOD)["KeyMaterialId"]
    assert versions(kms, key) == [("CURRENT", "IMPORTED"), ("PENDING_ROTATION", "IMPORTED")]
    with refused("KMSInvalidStateException", "cannot be imported into KMS key", f"(id: {two}) is pending rotation."):
        put(kms, key, os.urandom(32), ImportType="NEW_KEY_MATERIAL", **FOR_GOOD)
    kms.rotate_key_on_demand(KeyId=key)
    assert versions(kms, key) == [("NON_CURRENT", "IMPORTED"), ("CURRENT", "IMPORTED")]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"] == two
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == MESSAGE
    kms.delete_imported_key_material(KeyId=key, KeyMaterialId=one)
    assert versions(kms, key) == [("NON_CURRENT", "PENDING_IMPORT"), ("CURRENT", "IMPORTED")] and state(kms, key) == "PendingImport"
    put(kms, key, first, KeyMaterialId=one, **FOR_GOOD)
    assert state(kms, key) == "Enabled"
    entry = kms.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"][0]
    assert entry["KeyMaterialDescription"] == "spring" and "RotationDate" not in entry
    with refused("UnsupportedOperationException", "origin is EXTERNAL which is not valid for this operation."):
        kms.enable_key_rotation(KeyId=key)


def test_expiry(cloud, kms):
    key = empty_key(kms)
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
    material = put(kms, key, os.urandom(32), ValidTo=end)["KeyMaterialId"]
    m = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert m["ExpirationModel"] == "KEY_MATERIAL_EXPIRES" and abs(m["ValidTo"] - end) < datetime.timedelta(seconds=1)
    sealed = kms.encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    time.sleep(max(0, (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds()))
    with refused("KMSInvalidStateException", f"{key} is pending import."):
        kms.decrypt(CiphertextBlob=sealed)
    records = wait_for(lambda: [r for r in cloud.records("ResourceName", key) if r["eventName"] == "DeleteExpiredKeyMaterial"], "the record of the expiry")
    assert len(records) == 1 and records[0]["serviceEventDetails"]["keyMaterialId"] == material and records[0]["eventType"] == "AwsServiceEvent"


@pytest.mark.parametrize("more, text", [
    ({"ExpirationModel": "KEY_MATERIAL_EXPIRES"}, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"),
    ({"ValidTo": datetime.datetime(2001, 1, 1)}, "The validTo date must be in the future"),
    ({"ValidTo": datetime.datetime.now() + datetime.timedelta(days=367)}, "within 365 days"),
    ({"ValidTo": datetime.datetime.now() + datetime.timedelta(days=1)} | FOR_GOOD, "cannot be set"),
    ({"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialId": "a" * 64} | FOR_GOOD, "KeyMaterialId"),
])
def test_requests_that_cannot_be(kms, more, text):
    with refused("ValidationException", text, status=400):
        put(kms, empty_key(kms), os.urandom(32), **more)


def test_what_is_not_taken(cloud, kms):
    key, other = empty_key(kms), empty_key(kms)
    with refused("IncorrectKeyMaterialException", "256 bits"):
        put(kms, key, os.urandom(16))
    request = import_request(kms, key, os.urandom(32))
    with refused("InvalidImportTokenException"):
        kms.import_key_material(**(request | {"KeyId": other}))
    with refused("InvalidCiphertextException") as got:
        kms.import_key_material(**(request | {"EncryptedKeyMaterial": os.urandom(256)}))
    assert got.message == ""
    kms.import_key_material(**request)  # a failed import leaves its token
    ordinary = cloud.new_key()
    with refused("UnsupportedOperationException", f"{ordinary} origin is AWS_KMS which is not valid for this operation."):
        kms.get_parameters_for_import(KeyId=ordinary, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    with refused("UnsupportedOperationException", "RSAES_PKCS1_V1_5"):
        kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm="RSAES_PKCS1_V1_5", WrappingKeySpec="RSA_2048")
    with refused("UnsupportedOperationException", "ML_DSA_44"):
        kms.create_key(Origin="EXTERNAL", KeySpec="ML_DSA_44", KeyUsage="SIGN_VERIFY")


def test_conditions(cloud, kms):
    key = empty_key(kms)
    user = cloud.boto("kms", cloud.new_user(
        allow("kms:GetParametersForImport", Condition={"StringEquals": {"kms:WrappingKeySpec": "RSA_4096"}}),
        allow("kms:ImportKeyMaterial", Condition={
            "StringEquals": {"kms:ExpirationModel": "KEY_MATERIAL_EXPIRES"},
            "NumericLessThanEquals": {"kms:ValidTo": f"{time.time() + 2 * 86400:.1f}"},
        }),
    ))
    with refused("AccessDeniedException", "kms:GetParametersForImport"):
        user.get_parameters_for_import(KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    request = import_request(user, key, os.urandom(32), by="RSA_4096")
    with refused("AccessDeniedException", "kms:ImportKeyMaterial"):
        user.import_key_material(**request)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    with refused("AccessDeniedException", "kms:ImportKeyMaterial"):
        user.import_key_material(**(request | {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": later + datetime.timedelta(days=2)}))
    user.import_key_material(**(request | {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": later}))


def test_openssl_and_the_cli(cloud, kms, tmp_path):
    """The steps of the Developer Guide, in its own tools."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.fail("openssl is missing")
    key = empty_key(kms, "ECC_NIST_P256", "SIGN_VERIFY")

    def run(*args):
        subprocess.run([openssl, *args], cwd=tmp_path, check=True, capture_output=True)

    def save(name, text):
        (tmp_path / name).write_bytes(base64.b64decode(text))

    run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem")
    run("pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der")
    run("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    p = cloud.cli("kms", "get-parameters-for-import", "--key-id", key, "--wrapping-algorithm", "RSAES_OAEP_SHA_256", "--wrapping-key-spec", "RSA_3072")
    save("wrapping.der", p["PublicKey"])
    save("token", p["ImportToken"])
    run("pkeyutl", "-encrypt", "-in", "key.der", "-inkey", "wrapping.der", "-keyform", "DER", "-pubin", "-pkeyopt", "rsa_padding_mode:oaep",
        "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256", "-out", "wrapped")
    answer = cloud.cli("kms", "import-key-material", "--key-id", key, "--import-token", f"fileb://{tmp_path}/token",
                       "--encrypted-key-material", f"fileb://{tmp_path}/wrapped", "--expiration-model", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert answer["KeyId"] == key
    (tmp_path / "message").write_bytes(MESSAGE)
    signed = cloud.cli("kms", "sign", "--key-id", key, "--message", f"fileb://{tmp_path}/message", "--signing-algorithm", "ECDSA_SHA_256")
    save("signature", signed["Signature"])
    run("dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "message")
    assert cloud.cli("kms", "describe-key", "--key-id", key)["KeyMetadata"]["KeyState"] == "Enabled"
    cloud.cli("kms", "delete-imported-key-material", "--key-id", key)
    assert cloud.cli("kms", "describe-key", "--key-id", key)["KeyMetadata"]["KeyState"] == "PendingImport"


def test_records(cloud, kms):
    key = empty_key(kms)
    put(kms, key, os.urandom(32))
    kms.delete_imported_key_material(KeyId=key)
    names = ("GetParametersForImport", "ImportKeyMaterial", "DeleteImportedKeyMaterial")
    found = wait_for(lambda: (r := {r["eventName"]: r for r in cloud.records("ResourceName", key)}) and all(n in r for n in names) and r, "the records")
    assert found["GetParametersForImport"]["requestParameters"] == {"keyId": key, "wrappingAlgorithm": "RSAES_OAEP_SHA_256", "wrappingKeySpec": "RSA_2048"}
    assert found["GetParametersForImport"]["responseElements"] is None
    assert found["ImportKeyMaterial"]["requestParameters"] == {"keyId": key, "expirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    for name in names[1:]:
        assert found[name]["responseElements"]["keyId"] == key and len(found[name]["responseElements"]["keyMaterialId"]) == 64
        assert found[name]["awsRegion"] == REGION


def test_it_survives_kill(own_server):
    """Imported material, an open import and a deletion survive kill -9."""
    server = own_server()
    kms = server.cloud().boto("kms")
    kept, lost, open_one = empty_key(kms), empty_key(kms), empty_key(kms)
    material = os.urandom(32)
    put(kms, kept, material)
    put(kms, lost, material)
    sealed = kms.encrypt(KeyId=kept, Plaintext=MESSAGE)["CiphertextBlob"]
    request = import_request(kms, open_one, os.urandom(32))
    kms.delete_imported_key_material(KeyId=lost)
    server.kill()
    server.start()
    kms = server.cloud().boto("kms")
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == MESSAGE
    assert state(kms, lost) == "PendingImport"
    kms.import_key_material(**request)
    assert state(kms, open_one) == "Enabled"
