"""AWS KMS through boto3 and the AWS CLI: keys, symmetric operations, aliases, tags, states, accounts.

Expected texts are those that AWS KMS answers.
"""

import base64
import re
import uuid

import pytest

from harness import ACCOUNT, REGION, allow, policy, refused, unique

CONTEXT = {"project": "fields", "plot": "7"}
KEY_ARN = re.compile(rf"arn:aws:kms:{REGION}:{ACCOUNT}:key/[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture(scope="module")
def key(cloud):
    return cloud.new_key(Description="the module's key")


# Keys


def test_create_key_shape(kms):
    answer = kms.create_key(Description="field reports", Tags=[{"TagKey": "team", "TagValue": "crops"}])
    m = answer["KeyMetadata"]
    assert KEY_ARN.fullmatch(m["Arn"]), m["Arn"]
    assert m["Arn"].endswith("/" + m["KeyId"])
    assert re.fullmatch(r"[0-9a-f]{64}", m["CurrentKeyMaterialId"])
    want = {
        "AWSAccountId": ACCOUNT, "Enabled": True, "Description": "field reports", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled",
        "Origin": "AWS_KMS", "KeyManager": "CUSTOMER", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": False,
    }
    assert {k: m.get(k) for k in want} == want
    assert set(m) == set(want) | {"Arn", "KeyId", "CreationDate", "CurrentKeyMaterialId"}
    assert kms.describe_key(KeyId=m["KeyId"])["KeyMetadata"] == m
    assert kms.list_resource_tags(KeyId=m["KeyId"])["Tags"] == [{"TagKey": "team", "TagValue": "crops"}]


def test_cli_makes_and_uses_a_key(cloud, tmp_path):
    made = cloud.cli("kms", "create-key", "--description", "from the shell")
    arn = made["KeyMetadata"]["Arn"]
    (tmp_path / "plain").write_bytes(b"plot 7: rapeseed")
    sealed = cloud.cli("kms", "encrypt", "--key-id", arn, "--plaintext", f"fileb://{tmp_path / 'plain'}", "--encryption-context", "plot=7")
    assert sealed["KeyId"] == arn and sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    (tmp_path / "sealed").write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = cloud.cli("kms", "decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}", "--encryption-context", "plot=7")
    assert base64.b64decode(opened["Plaintext"]) == b"plot 7: rapeseed"
    with refused("InvalidCiphertextException"):
        cloud.cli("kms", "decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}", "--encryption-context", "plot=8")


UNKNOWN = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize("id, text", [
    (UNKNOWN, f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/{UNKNOWN}' does not exist"),
    (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{UNKNOWN}", f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/{UNKNOWN}' does not exist"),
    ("nonsense", "Invalid keyId 'nonsense'"),
    ("alias/nobody", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/nobody is not found."),
    (f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/nobody", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/nobody is not found."),
    (f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{UNKNOWN}", "Invalid arn eu-central-1"),
])
def test_unknown_keys(kms, id, text):
    for call in (lambda: kms.describe_key(KeyId=id), lambda: kms.encrypt(KeyId=id, Plaintext=b"x")):
        with refused("NotFoundException", text, status=400) as got:
            call()
        assert got.message == text


def test_another_region_has_its_own_keys(cloud, key):
    there = cloud.boto("kms", region="eu-central-1")
    with refused("NotFoundException"):
        there.describe_key(KeyId=key.rsplit("/", 1)[1])
    with refused("NotFoundException", f"Invalid arn {REGION}"):
        there.describe_key(KeyId=key)
    made = there.create_key()["KeyMetadata"]["Arn"]
    assert made.startswith("arn:aws:kms:eu-central-1:")
    assert [k["KeyArn"] for k in there.list_keys()["Keys"]].count(made) == 1


def test_description(kms, cloud):
    arn = cloud.new_key(Description="old")
    kms.update_key_description(KeyId=arn, Description="new")
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["Description"] == "new"


def test_list_keys_in_pages(cloud):
    there = cloud.boto("kms", region="ap-south-1")  # nobody else's
    made = {there.create_key()["KeyMetadata"]["Arn"] for _ in range(7)}
    pages = list(there.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(p["Keys"]) for p in pages] == [3, 3, 1]
    assert [p["Truncated"] for p in pages] == [True, True, False]
    listed = [k["KeyArn"] for p in pages for k in p["Keys"]]
    assert len(listed) == len(set(listed)) and set(listed) == made
    marker = pages[0]["NextMarker"]
    with refused(("InvalidMarkerException", "ValidationException")):
        there.list_keys(Limit=3, Marker=marker[:-4] + "AAAA")
    with refused(("InvalidMarkerException", "ValidationException")):
        cloud.boto("kms").list_keys(Limit=3, Marker=marker)


@pytest.mark.parametrize("limit", [0, 1001])
def test_limits_of_pages(cloud, limit):
    with refused("ValidationException", "1 validation error detected", "limit"):
        cloud.boto("kms", parameter_validation=False).list_keys(Limit=limit)


@pytest.mark.parametrize("spec, usage, algorithms", [
    ("RSA_2048", "SIGN_VERIFY", "SigningAlgorithms"),
    ("RSA_2048", "ENCRYPT_DECRYPT", "EncryptionAlgorithms"),
    ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms"),
    ("HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms"),
])
def test_asymmetric_and_hmac_keys(kms, spec, usage, algorithms):
    m = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    assert (m["KeySpec"], m["CustomerMasterKeySpec"], m["KeyUsage"]) == (spec, spec, usage)
    assert m[algorithms], m
    assert kms.describe_key(KeyId=m["KeyId"])["KeyMetadata"] == m
    with refused("InvalidKeyUsageException" if usage != "ENCRYPT_DECRYPT" else ("InvalidKeyUsageException", "ValidationException", "UnsupportedOperationException")):
        kms.generate_data_key(KeyId=m["KeyId"], KeySpec="AES_256")
    with refused(("UnsupportedOperationException", "InvalidKeyUsageException")):
        kms.enable_key_rotation(KeyId=m["KeyId"])


def test_public_key(kms):
    m = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    public = kms.get_public_key(KeyId=m["KeyId"])
    assert public["KeyId"] == m["Arn"] and public["KeySpec"] == "ECC_NIST_P256"
    assert public["SigningAlgorithms"] == ["ECDSA_SHA_256"]
    assert public["PublicKey"][:1] == b"\x30" and len(public["PublicKey"]) == 91  # a DER SubjectPublicKeyInfo


def test_spec_and_usage_must_fit(kms):
    with refused("ValidationException"):
        kms.create_key(KeySpec="HMAC_256", KeyUsage="SIGN_VERIFY")
    with refused("ValidationException", "1 validation error detected: Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set"):
        kms.create_key(KeySpec="AES_512")


# Symmetric operations


@pytest.mark.parametrize("size", [1, 31, 4096])
def test_encrypt_and_decrypt(kms, key, size):
    plain = bytes(i * 7 % 256 for i in range(size))
    sealed = kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=CONTEXT)
    blob = sealed["CiphertextBlob"]
    assert sealed["KeyId"] == key
    assert size < len(blob) <= 6144
    assert size < 16 or plain not in blob
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(reversed(CONTEXT.items())))
    assert (opened["Plaintext"], opened["KeyId"], opened["EncryptionAlgorithm"]) == (plain, key, "SYMMETRIC_DEFAULT")
    assert re.fullmatch(r"[0-9a-f]{64}", opened["KeyMaterialId"])
    assert kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=CONTEXT)["CiphertextBlob"] != blob


@pytest.mark.parametrize("size", [0, 4097])
def test_plaintext_sizes(cloud, kms, key, size):
    with refused("ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length"):
        cloud.boto("kms", parameter_validation=False).encrypt(KeyId=key, Plaintext=b"s" * size)


def test_wrong_context_says_nothing(kms, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    for wrong in ({}, {"project": "fields"}, CONTEXT | {"more": "1"}, {"project": "Fields", "plot": "7"}, {"Project": "fields", "plot": "7"}):
        with refused("InvalidCiphertextException", status=400) as got:
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=wrong)
        assert got.message == "", got.message
        assert got.response["ResponseMetadata"]["HTTPHeaders"].get("x-amzn-requestid")


@pytest.mark.parametrize("at", [0, 10, 30, 50, -1])
def test_changed_ciphertext(kms, key, at):
    blob = bytearray(kms.encrypt(KeyId=key, Plaintext=b"some plain text", EncryptionContext=CONTEXT)["CiphertextBlob"])
    blob[at] ^= 1
    # A blob that no longer names a key of the caller must not tell which keys exist.
    with refused(("InvalidCiphertextException", "AccessDeniedException", "IncorrectKeyException")):
        kms.decrypt(CiphertextBlob=bytes(blob), EncryptionContext=CONTEXT)
    with refused(("InvalidCiphertextException", "AccessDeniedException", "IncorrectKeyException")):
        kms.decrypt(CiphertextBlob=bytes(blob), EncryptionContext=CONTEXT, KeyId=key)


def test_garbage_is_no_ciphertext(kms, key):
    for blob in (b"\0", b"not a ciphertext", b"\x01" * 6144):
        with refused(("InvalidCiphertextException", "AccessDeniedException")):
            kms.decrypt(CiphertextBlob=blob)


def test_wrong_key(kms, cloud, key):
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    stranger = cloud.new_key()
    with refused("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."):
        kms.decrypt(CiphertextBlob=blob, KeyId=stranger)
    with refused("IncorrectKeyException"):
        kms.re_encrypt(CiphertextBlob=blob, SourceKeyId=stranger, DestinationKeyId=key)
    assert kms.decrypt(CiphertextBlob=blob, KeyId=key)["Plaintext"] == b"x"


@pytest.mark.parametrize("arguments, size", [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1}, 1), ({"NumberOfBytes": 1024}, 1024)])
def test_data_keys(kms, key, arguments, size):
    made = kms.generate_data_key(KeyId=key, EncryptionContext=CONTEXT, **arguments)
    assert len(made["Plaintext"]) == size and made["KeyId"] == key
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)["Plaintext"] == made["Plaintext"]
    sealed = kms.generate_data_key_without_plaintext(KeyId=key, EncryptionContext=CONTEXT, **arguments)
    assert "Plaintext" not in sealed
    assert len(kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=CONTEXT)["Plaintext"]) == size


def test_data_keys_need_one_size(kms, key):
    with refused("ValidationException"):
        kms.generate_data_key(KeyId=key)
    with refused("ValidationException"):
        kms.generate_data_key(KeyId=key, KeySpec="AES_256", NumberOfBytes=32)
    with refused("ValidationException", "numberOfBytes"):
        kms.generate_data_key(KeyId=key, NumberOfBytes=1025)


def test_generate_random(kms):
    a, b = (kms.generate_random(NumberOfBytes=32)["Plaintext"] for _ in range(2))
    assert len(a) == len(b) == 32 and a != b
    with refused("ValidationException"):
        kms.generate_random(NumberOfBytes=1025)


def test_re_encrypt(kms, cloud, key):
    to = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"moves", EncryptionContext=CONTEXT)["CiphertextBlob"]
    moved = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=to, DestinationEncryptionContext={"new": "1"})
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key, to)
    assert moved["SourceEncryptionAlgorithm"] == moved["DestinationEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"new": "1"}, KeyId=to)["Plaintext"] == b"moves"
    with refused("InvalidCiphertextException"):
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=to)


def test_dry_run(kms, cloud, key):
    text = "The request would have succeeded, but the DryRun option is set."
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for call in (
        lambda: kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True),
        lambda: kms.decrypt(CiphertextBlob=blob, DryRun=True),
        lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256", DryRun=True),
        lambda: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key, DryRun=True),
        lambda: kms.create_grant(KeyId=key, GranteePrincipal=cloud.root_arn, Operations=["Decrypt"], DryRun=True),
    ):
        with refused("DryRunOperationException", text, status=400):
            call()
    assert kms.list_grants(KeyId=key)["Grants"] == []
    stranger = cloud.boto("kms", cloud.new_user())
    with refused("AccessDeniedException"):
        stranger.encrypt(KeyId=key, Plaintext=b"x", DryRun=True)


# Aliases


def test_aliases(kms, cloud):
    a, b, name = cloud.new_key(), cloud.new_key(), "alias/" + unique("reports/2026")
    kms.create_alias(AliasName=name, TargetKeyId=a)
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"
    for id in (name, arn):
        assert kms.describe_key(KeyId=id)["KeyMetadata"]["Arn"] == a
    blob = kms.encrypt(KeyId=name, Plaintext=b"x")["CiphertextBlob"]
    with refused("AlreadyExistsException", name):
        kms.create_alias(AliasName=name, TargetKeyId=b)
    kms.update_alias(AliasName=name, TargetKeyId=b)
    assert kms.encrypt(KeyId=arn, Plaintext=b"x")["KeyId"] == b
    assert kms.decrypt(CiphertextBlob=blob)["KeyId"] == a
    with refused("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=blob, KeyId=name)
    listed = kms.list_aliases(KeyId=b)["Aliases"]
    assert [(x["AliasName"], x["AliasArn"], x["TargetKeyId"]) for x in listed] == [(name, arn, b.rsplit("/", 1)[1])]
    kms.delete_alias(AliasName=name)
    with refused("NotFoundException", f"Alias {arn} is not found."):
        kms.describe_key(KeyId=name)
    with refused("NotFoundException"):
        kms.delete_alias(AliasName=name)


@pytest.mark.parametrize("name, code", [
    ("alias/aws/mine", "NotAuthorizedException"),
    ("no-prefix", "ValidationException"),
    ("alias/with:colon", "ValidationException"),
    ("alias/with space", "ValidationException"),
])
def test_alias_names(kms, key, name, code):
    with refused(code):
        kms.create_alias(AliasName=name, TargetKeyId=key)


def test_predefined_alias_gets_its_key(cloud):
    viewer = cloud.boto("kms", cloud.new_user(allow("kms:DescribeKey")), region="sa-east-1")
    with refused("AccessDeniedException", "kms:DescribeKey", "alias/aws/s3"):
        cloud.boto("kms", cloud.new_user(), region="sa-east-1").describe_key(KeyId="alias/aws/s3")
    m = viewer.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]
    assert (m["KeyManager"], m["KeyState"]) == ("AWS", "Enabled")
    assert viewer.describe_key(KeyId="alias/aws/s3")["KeyMetadata"] == m
    with refused("NotFoundException"):
        viewer.describe_key(KeyId="alias/aws/unheard-of")


def test_aliases_name_keys(cloud, kms, key):
    name = "alias/" + unique("target")
    kms.create_alias(AliasName=name, TargetKeyId=key)
    for call in (kms.create_alias, kms.update_alias):
        with refused("ValidationException", "Aliases must refer to keys. Not aliases"):
            call(AliasName=name, TargetKeyId=name)
    for call in (kms.delete_alias, lambda **more: kms.update_alias(TargetKeyId=key, **more)):
        with refused("NotAuthorizedException"):
            call(AliasName="alias/aws/s3")


def test_long_encryption_context(kms, key):
    with refused("ValidationException", "The encryption context has"):
        kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "x" * 3_000_000})


def test_management_operations_take_no_alias(kms, cloud):
    name = "alias/" + unique("managed")
    kms.create_alias(AliasName=name, TargetKeyId=cloud.new_key())
    for call in (kms.disable_key, kms.get_key_policy, kms.list_grants, kms.schedule_key_deletion):
        with refused("NotFoundException", "Invalid keyId"):
            call(KeyId=name)


def test_aliases_in_pages(cloud):
    there = cloud.boto("kms", region="ap-northeast-1")
    target = there.create_key()["KeyMetadata"]["KeyId"]
    made = {f"alias/page-{i}" for i in range(5)}
    for name in made:
        there.create_alias(AliasName=name, TargetKeyId=target)
    pages = list(there.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 2}))
    listed = [a["AliasName"] for p in pages for a in p["Aliases"] if not a["AliasName"].startswith("alias/aws/")]
    assert sorted(listed) == sorted(made) and all(len(p["Aliases"]) <= 2 for p in pages)


# Tags


def test_tags(kms, cloud):
    key = cloud.new_key()
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": f"k{i:02}", "TagValue": str(i)} for i in range(50)])
    with refused(("LimitExceededException", "TagException")):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "one more", "TagValue": ""}])
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "k00", "TagValue": "changed"}])
    pages = list(kms.get_paginator("list_resource_tags").paginate(KeyId=key, PaginationConfig={"PageSize": 20}))
    tags = {t["TagKey"]: t["TagValue"] for p in pages for t in p["Tags"]}
    assert [len(p["Tags"]) for p in pages] == [20, 20, 10] and len(tags) == 50 and tags["k00"] == "changed"
    kms.untag_resource(KeyId=key, TagKeys=sorted(tags)[1:])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "k00", "TagValue": "changed"}]
    with refused(("TagException", "ValidationException")):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "aws:mine", "TagValue": ""}])


def test_tags_decide(cloud):
    user = cloud.new_user(allow("kms:*", Condition={"StringEquals": {"aws:ResourceTag/team": "crops"}}))
    mine = cloud.new_key(Tags=[{"TagKey": "team", "TagValue": "crops"}])
    theirs = cloud.new_key(Tags=[{"TagKey": "team", "TagValue": "cattle"}])
    as_user = cloud.boto("kms", user)
    as_user.encrypt(KeyId=mine, Plaintext=b"x")
    with refused("AccessDeniedException", "kms:Encrypt", theirs):
        as_user.encrypt(KeyId=theirs, Plaintext=b"x")


# States


def test_disabled_key(kms, cloud):
    key = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    m = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (m["KeyState"], m["Enabled"]) == ("Disabled", False)
    text = f"{key} is disabled."
    for call in (
        lambda: kms.encrypt(KeyId=key, Plaintext=b"x"),
        lambda: kms.decrypt(CiphertextBlob=blob),
        lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
        lambda: kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256"),
        lambda: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key),
        lambda: kms.create_grant(KeyId=key, GranteePrincipal=cloud.root_arn, Operations=["Decrypt"]),
        lambda: kms.enable_key_rotation(KeyId=key),
    ):
        with refused("DisabledException", status=400) as got:
            call()
        assert got.message == text
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_scheduled_deletion(kms, cloud):
    key = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for days in (6, 31):
        with refused("ValidationException"):
            kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (answer["KeyId"], answer["KeyState"], answer["PendingWindowInDays"]) == (key, "PendingDeletion", 7)
    m = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert m["KeyState"] == "PendingDeletion" and m["DeletionDate"] == answer["DeletionDate"]
    text = f"{key} is pending deletion."
    for call in (
        lambda: kms.encrypt(KeyId=key, Plaintext=b"x"),
        lambda: kms.decrypt(CiphertextBlob=blob),
        lambda: kms.enable_key(KeyId=key),
        lambda: kms.disable_key(KeyId=key),
        lambda: kms.update_key_description(KeyId=key, Description="x"),
        lambda: kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]),
        lambda: kms.create_alias(AliasName="alias/late", TargetKeyId=key),
        lambda: kms.schedule_key_deletion(KeyId=key),
    ):
        with refused("KMSInvalidStateException", status=400) as got:
            call()
        assert got.message == text
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == key
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    with refused("KMSInvalidStateException", f"{key} is not pending deletion."):
        kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_default_window_is_thirty_days(kms, cloud):
    assert kms.schedule_key_deletion(KeyId=cloud.new_key())["PendingWindowInDays"] == 30


# Rotation


def test_rotation(kms, cloud):
    key = cloud.new_key()
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    for days in (89, 2561):
        with refused("ValidationException"):
            cloud.boto("kms", parameter_validation=False).enable_key_rotation(KeyId=key, RotationPeriodInDays=days)
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key)
    assert status["KeyRotationEnabled"] is True and status["RotationPeriodInDays"] == 90 and status["NextRotationDate"]
    old = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    first = kms.decrypt(CiphertextBlob=old)["KeyMaterialId"]
    kms.rotate_key_on_demand(KeyId=key)
    new = kms.encrypt(KeyId=key, Plaintext=b"y")["CiphertextBlob"]
    second = kms.decrypt(CiphertextBlob=new)["KeyMaterialId"]
    assert first != second and kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"] == second
    assert kms.decrypt(CiphertextBlob=old)["Plaintext"] == b"x"
    rotations = kms.list_key_rotations(KeyId=key)["Rotations"]
    assert [r["RotationType"] for r in rotations] == ["ON_DEMAND"]
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False


# Accounts


def test_accounts_are_apart(cloud, other, kms, key):
    theirs = other.boto("kms")
    assert key not in [k["KeyArn"] for k in theirs.list_keys()["Keys"]]
    id = key.rsplit("/", 1)[1]
    with refused("NotFoundException", f"arn:aws:kms:{REGION}:{other.account}:key/{id}"):
        theirs.describe_key(KeyId=id)
    with refused("AccessDeniedException", "kms:DescribeKey", key):
        theirs.describe_key(KeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException"):
        theirs.decrypt(CiphertextBlob=blob)
    absent = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{uuid.uuid4()}"
    with refused("AccessDeniedException"):
        theirs.describe_key(KeyId=absent)  # not NotFound: no way to try which keys exist


def test_a_key_for_another_account(cloud, other, kms):
    """The key's policy names the account, the account's IAM names the key: both are needed."""
    key = cloud.new_key(allow(["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], Principal={"AWS": other.root_arn}))
    with_right, without = other.new_user(allow("kms:*", key)), other.new_user()
    user = other.boto("kms", with_right)
    blob = user.encrypt(KeyId=key, Plaintext=b"shared")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"shared"
    assert user.decrypt(CiphertextBlob=blob)["Plaintext"] == b"shared"
    with refused("AccessDeniedException", "kms:Encrypt", key, without.arn):
        other.boto("kms", without).encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException", "kms:GenerateDataKey", key):
        user.generate_data_key(KeyId=key, KeySpec="AES_256")
    with refused(("AccessDeniedException", "NotFoundException", "UnsupportedOperationException")):
        user.disable_key(KeyId=key)  # not for other accounts, whatever a policy says


def test_policy_is_text_as_given(kms, cloud):
    document = policy(allow("kms:*", Sid="Ünï", Principal={"AWS": cloud.root_arn}))
    key = cloud.boto("kms").create_key(Policy=document)["KeyMetadata"]["Arn"]
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == document
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
