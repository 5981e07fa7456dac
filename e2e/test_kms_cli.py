"""AWS KMS by the AWS CLI: one test for each family of commands, from a user's request to what the command prints."""

import base64
import datetime
import json

import pytest

from harness import ACCOUNT, REGION, allow, policy, refused, unique

PLAIN = b"plot 7: rapeseed, 2.4 t/ha"


@pytest.fixture
def aws(cloud):
    """Runs `aws kms …`."""
    return lambda *args, **more: cloud.cli("kms", *args, **more)


@pytest.fixture
def key(aws):
    """The ARN of a key of the test's own."""
    return aws("create-key", "--description", "by the command line")["KeyMetadata"]["Arn"]


@pytest.fixture
def blob(tmp_path):
    """Writes bytes to a file and returns the argument that names it."""

    def write(content, name="blob"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else base64.b64decode(content))
        return f"fileb://{path}"

    return write


def state(aws, key):
    return aws("describe-key", "--key-id", key)["KeyMetadata"]["KeyState"]


def decrypted(aws, sealed, blob, *more):
    answer = aws("decrypt", "--ciphertext-blob", blob(sealed), *more)
    return base64.b64decode(answer["Plaintext"]), answer["KeyId"]


def seconds(text):
    """A timestamp as either version of the CLI prints it."""
    return text if isinstance(text, (int, float)) else datetime.datetime.fromisoformat(text).timestamp()


def test_re_encrypt(aws, key, blob):
    other = aws("create-key")["KeyMetadata"]["Arn"]
    sealed = aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN), "--encryption-context", "plot=7")["CiphertextBlob"]
    moved = aws(
        "re-encrypt", "--ciphertext-blob", blob(sealed), "--source-encryption-context", "plot=7",
        "--destination-key-id", other, "--destination-encryption-context", "plot=8",
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key, other)
    assert moved["SourceEncryptionAlgorithm"] == moved["DestinationEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    assert decrypted(aws, moved["CiphertextBlob"], blob, "--encryption-context", "plot=8") == (PLAIN, other)
    with refused("InvalidCiphertextException"):
        decrypted(aws, moved["CiphertextBlob"], blob, "--encryption-context", "plot=7")


def test_data_keys_and_random_bytes(aws, key, blob):
    made = aws("generate-data-key", "--key-id", key, "--key-spec", "AES_256")
    assert decrypted(aws, made["CiphertextBlob"], blob) == (base64.b64decode(made["Plaintext"]), key)
    sealed = aws("generate-data-key-without-plaintext", "--key-id", key, "--number-of-bytes", "48")
    assert "Plaintext" not in sealed and sealed["KeyId"] == key
    plain, by = decrypted(aws, sealed["CiphertextBlob"], blob)
    assert (len(plain), by) == (48, key)
    one, two = (base64.b64decode(aws("generate-random", "--number-of-bytes", "24")["Plaintext"]) for _ in range(2))
    assert len(one) == len(two) == 24 and one != two


def test_macs(aws, blob):
    key = aws("create-key", "--key-spec", "HMAC_256", "--key-usage", "GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
    common = ("--key-id", key, "--mac-algorithm", "HMAC_SHA_256")
    mac = aws("generate-mac", *common, "--message", blob(PLAIN, "message"))["Mac"]
    good = aws("verify-mac", *common, "--message", blob(PLAIN, "message"), "--mac", blob(mac, "mac"))
    assert good == {"KeyId": key, "MacValid": True, "MacAlgorithm": "HMAC_SHA_256"}
    with refused("KMSInvalidMacException"):
        aws("verify-mac", *common, "--message", blob(PLAIN + b"!", "message"), "--mac", blob(mac, "mac"))


def test_grants(aws, cloud, key, blob):
    grantee, retirer = cloud.new_user(), cloud.new_user()
    sealed = aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN), "--encryption-context", "plot=7")["CiphertextBlob"]

    def read():
        answer = aws("decrypt", "--ciphertext-blob", blob(sealed), "--encryption-context", "plot=7", credentials=grantee)
        return base64.b64decode(answer["Plaintext"])

    def grant(name):
        return aws(
            "create-grant", "--key-id", key, "--grantee-principal", grantee.arn, "--retiring-principal", retirer.arn,
            "--operations", "Decrypt", "--name", name, "--constraints", "EncryptionContextSubset={plot=7}",
        )

    with refused("AccessDeniedException"):
        read()
    made = grant("first")
    assert len(made["GrantId"]) == 64 and made["GrantToken"]
    assert read() == PLAIN
    (listed,) = aws("list-grants", "--key-id", key)["Grants"]
    assert listed.pop("CreationDate")
    assert listed == {
        "KeyId": key, "GrantId": made["GrantId"], "Name": "first", "GranteePrincipal": grantee.arn, "RetiringPrincipal": retirer.arn,
        "IssuingAccount": cloud.root_arn, "Operations": ["Decrypt"], "Constraints": {"EncryptionContextSubset": {"plot": "7"}},
    }
    retirable = aws("list-retirable-grants", "--retiring-principal", retirer.arn)["Grants"]
    assert [g["GrantId"] for g in retirable] == [made["GrantId"]]
    assert aws("retire-grant", "--grant-token", made["GrantToken"], credentials=retirer) is None
    with refused("AccessDeniedException"):
        read()
    again = grant("second")
    assert read() == PLAIN
    assert aws("revoke-grant", "--key-id", key, "--grant-id", again["GrantId"]) is None
    with refused("AccessDeniedException"):
        read()
    assert aws("list-grants", "--key-id", key)["Grants"] == []
    with refused("NotFoundException"):
        aws("revoke-grant", "--key-id", key, "--grant-id", again["GrantId"])


def test_tags(aws, key):
    assert aws("tag-resource", "--key-id", key, "--tags", "TagKey=crop,TagValue=rapeseed", "TagKey=plot,TagValue=7") is None
    tags = aws("list-resource-tags", "--key-id", key)
    assert {t["TagKey"]: t["TagValue"] for t in tags["Tags"]} == {"crop": "rapeseed", "plot": "7"}
    assert aws("untag-resource", "--key-id", key, "--tag-keys", "crop") is None
    assert aws("list-resource-tags", "--key-id", key)["Tags"] == [{"TagKey": "plot", "TagValue": "7"}]
    with refused("TagException"):
        aws("tag-resource", "--key-id", key, "--tags", "TagKey=aws:plot,TagValue=7")


def test_key_policies(aws, cloud, key, blob, tmp_path):
    user = cloud.new_user()
    assert aws("list-key-policies", "--key-id", key)["PolicyNames"] == ["default"]
    first = json.loads(aws("get-key-policy", "--key-id", key, "--policy-name", "default")["Policy"])
    assert first["Statement"][0]["Principal"] == {"AWS": cloud.root_arn}
    wanted = policy(
        allow("kms:*", "*", Sid="Account", Principal={"AWS": cloud.root_arn}), allow("kms:Encrypt", "*", Principal={"AWS": user.arn}),
    )
    file = tmp_path / "policy.json"
    file.write_text(wanted, encoding="utf-8")
    with refused("AccessDeniedException"):
        aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN), credentials=user)
    assert aws("put-key-policy", "--key-id", key, "--policy-name", "default", "--policy", f"file://{file}") is None
    assert json.loads(aws("get-key-policy", "--key-id", key)["Policy"]) == json.loads(wanted)
    assert aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN), credentials=user)["KeyId"] == key
    with refused("MalformedPolicyDocumentException"):
        aws("put-key-policy", "--key-id", key, "--policy", policy(allow("kms:Describe*", "*", Principal={"AWS": cloud.root_arn})))


def test_rotation(aws, key, blob):
    sealed = aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN))["CiphertextBlob"]
    assert aws("get-key-rotation-status", "--key-id", key)["KeyRotationEnabled"] is False
    assert aws("enable-key-rotation", "--key-id", key, "--rotation-period-in-days", "90") is None
    status = aws("get-key-rotation-status", "--key-id", key)
    assert (status["KeyId"], status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (key, True, 90)
    created = aws("describe-key", "--key-id", key)["KeyMetadata"]["CreationDate"]
    assert 0 <= seconds(status["NextRotationDate"]) - seconds(created) - 90 * 86400 < 600
    assert aws("rotate-key-on-demand", "--key-id", key) == {"KeyId": key}
    (rotation,) = aws("list-key-rotations", "--key-id", key)["Rotations"]
    assert (rotation["KeyId"], rotation["RotationType"], rotation["KeyMaterialState"]) == (key, "ON_DEMAND", "CURRENT")
    assert decrypted(aws, sealed, blob) == (PLAIN, key)
    every = aws("list-key-rotations", "--key-id", key, "--include-key-material", "ALL_KEY_MATERIAL")["Rotations"]
    assert [r["KeyMaterialState"] for r in every] == ["NON_CURRENT", "CURRENT"]
    assert aws("disable-key-rotation", "--key-id", key) is None
    status = aws("get-key-rotation-status", "--key-id", key)
    assert status["KeyRotationEnabled"] is False and "NextRotationDate" not in status


def test_deletion(aws, key, blob):
    aws("enable-key-rotation", "--key-id", key)
    waits = aws("schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7")
    assert (waits["KeyId"], waits["KeyState"], waits["PendingWindowInDays"]) == (key, "PendingDeletion", 7) and waits["DeletionDate"]
    assert aws("get-key-rotation-status", "--key-id", key)["KeyRotationEnabled"] is False
    with refused("KMSInvalidStateException", f"{key} is pending deletion."):
        aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN))
    assert aws("cancel-key-deletion", "--key-id", key) == {"KeyId": key}
    assert state(aws, key) == "Disabled"
    assert aws("get-key-rotation-status", "--key-id", key)["KeyRotationEnabled"] is True
    with refused("KMSInvalidStateException", f"{key} is not pending deletion."):
        aws("cancel-key-deletion", "--key-id", key)


def test_disable_and_enable(aws, key, blob):
    sealed = aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN))["CiphertextBlob"]
    assert aws("disable-key", "--key-id", key) is None
    assert state(aws, key) == "Disabled"
    with refused("DisabledException", f"{key} is disabled."):
        decrypted(aws, sealed, blob)
    assert aws("enable-key", "--key-id", key) is None
    assert state(aws, key) == "Enabled"
    assert decrypted(aws, sealed, blob) == (PLAIN, key)


def test_last_usage(aws, key, blob):
    unused = aws("get-key-last-usage", "--key-id", key)
    assert not unused.get("KeyLastUsage") and key.endswith(f"/{unused['KeyId']}")
    aws("encrypt", "--key-id", key, "--plaintext", blob(PLAIN))
    used = aws("get-key-last-usage", "--key-id", key)
    last = used["KeyLastUsage"]
    assert last["Operation"] == "Encrypt" and last["CloudTrailEventId"] and last["KmsRequestId"]
    # The use is told in whole seconds.
    assert int(seconds(used["KeyCreationDate"])) <= seconds(last["Timestamp"])


def test_aliases(aws, key, blob):
    name, other = f"alias/{unique('cli')}", aws("create-key")["KeyMetadata"]["Arn"]
    assert aws("create-alias", "--alias-name", name, "--target-key-id", key) is None
    with refused("AlreadyExistsException"):
        aws("create-alias", "--alias-name", name, "--target-key-id", key)
    (listed,) = aws("list-aliases", "--key-id", key)["Aliases"]
    assert listed["AliasName"] == name and listed["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"
    assert listed["TargetKeyId"] == key.rsplit("/", 1)[1]
    assert aws("encrypt", "--key-id", name, "--plaintext", blob(PLAIN))["KeyId"] == key
    assert aws("update-alias", "--alias-name", name, "--target-key-id", other) is None
    assert aws("encrypt", "--key-id", name, "--plaintext", blob(PLAIN))["KeyId"] == other
    assert aws("delete-alias", "--alias-name", name) is None
    with refused("NotFoundException", name):
        aws("encrypt", "--key-id", name, "--plaintext", blob(PLAIN))
