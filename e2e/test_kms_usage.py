"""When a key was last used, what depends on it, and how fast an account may call: through unmodified clients and our command line."""

import datetime
import json
import re

import boto3
import botocore.config
import pytest

from harness import REGION, allow, deny, refused, sagekeep, unique, wait_for


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


def last_use(kms, key):
    return kms.get_key_last_usage(KeyId=key)["KeyLastUsage"]


def event(cloud, key, name, region=REGION):
    """The newest record of an operation with the key."""
    records = cloud.records("ResourceName", key, region=region)
    return next(r for r in records if r["eventName"] == name and "errorCode" not in r)


# GetKeyLastUsage


def test_an_unused_key(kms, cloud):
    key = cloud.new_key()
    got = kms.get_key_last_usage(KeyId=key)
    assert got["KeyLastUsage"] == {} and got["KeyId"] == key.rsplit("/", 1)[1]
    created = kms.describe_key(KeyId=key)["KeyMetadata"]["CreationDate"]
    assert got["KeyCreationDate"] == got["TrackingStartDate"] == created


def test_a_use_names_its_record(kms, cloud):
    key = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    answer = kms.decrypt(CiphertextBlob=blob)
    used, record = last_use(kms, key), event(cloud, key, "Decrypt")
    assert used["Operation"] == "Decrypt"
    assert used["CloudTrailEventId"] == record["eventID"]
    assert used["KmsRequestId"] == record["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert used["Timestamp"].astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == record["eventTime"]
    assert used["Timestamp"].microsecond == 0


def test_only_successful_cryptographic_operations_count(kms, cloud):
    key, nobody = cloud.new_key(), cloud.boto("kms", cloud.new_user())
    kms.describe_key(KeyId=key)
    kms.get_key_policy(KeyId=key)
    with refused("AccessDeniedException"):
        nobody.encrypt(KeyId=key, Plaintext=b"x")
    with refused("DryRunOperationException"):
        kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True)
    with refused("ValidationException"):
        kms.generate_data_key(KeyId=key)
    assert last_use(kms, key) == {}
    sign = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.get_public_key(KeyId=sign)
    assert last_use(kms, sign) == {}
    kms.sign(KeyId=sign, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")
    with refused("KMSInvalidSignatureException"):
        kms.verify(KeyId=sign, Message=b"m", Signature=b"no signature", SigningAlgorithm="ECDSA_SHA_256")
    assert last_use(kms, sign)["Operation"] == "Sign"


def test_reencrypt_uses_both_keys_each_account_with_its_own_record(kms, cloud, other):
    theirs = other.new_key(allow("kms:*", "*", Principal={"AWS": cloud.root_arn}))
    mine = cloud.new_key()
    blob = kms.encrypt(KeyId=mine, Plaintext=b"x")["CiphertextBlob"]
    kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=theirs)
    ours, their = last_use(kms, mine), last_use(other.boto("kms"), theirs)
    assert ours["Operation"] == their["Operation"] == "ReEncrypt" and ours["KmsRequestId"] == their["KmsRequestId"]
    assert ours["CloudTrailEventId"] == event(cloud, mine, "ReEncrypt")["eventID"]
    assert their["CloudTrailEventId"] == event(other, theirs, "ReEncrypt")["eventID"]
    assert ours["CloudTrailEventId"] != their["CloudTrailEventId"]


def test_services_use_keys_too(kms, cloud):
    key, bucket = cloud.new_key(), cloud.new_bucket()
    cloud.boto("s3").put_object(Bucket=bucket, Key="o", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert last_use(kms, key)["Operation"] == "GenerateDataKey"
    assert event(cloud, key, "GenerateDataKey")["userIdentity"]["invokedBy"] == "s3.amazonaws.com"


def test_who_may_ask(kms, cloud, other):
    key, alias = cloud.new_key(allow("kms:*", "*", Principal={"AWS": other.root_arn})), "alias/" + unique("usage")
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    with refused("NotFoundException", alias):
        kms.get_key_last_usage(KeyId=alias)
    with refused("AccessDeniedException"):
        other.boto("kms").get_key_last_usage(KeyId=key)
    with refused("AccessDeniedException", "kms:GetKeyLastUsage"):
        cloud.boto("kms", cloud.new_user()).get_key_last_usage(KeyId=key)
    cloud.boto("kms", cloud.new_user(allow("kms:GetKeyLastUsage"))).get_key_last_usage(KeyId=key)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_uses_survive_a_restart(own_server, end):
    server = own_server()
    cloud = server.cloud()
    used, unused = cloud.new_key(), cloud.new_key()
    for _ in range(20):
        cloud.boto("kms").generate_data_key(KeyId=used, KeySpec="AES_256")
    before = last_use(cloud.boto("kms"), used)
    getattr(server, end)()
    kms = server.start().cloud().boto("kms")
    assert last_use(kms, used) == before
    assert last_use(kms, unused) == {}


def test_recently_used_keys_are_kept(kms, cloud):
    keep = deny(
        ["kms:DisableKey", "kms:ScheduleKeyDeletion"], "*", Principal="*",
        Condition={"NumericLessThanEquals": {"kms:TrailingDaysWithoutKeyUsage": "30"}},
    )
    key = cloud.new_key(keep)
    with refused("AccessDeniedException", "explicit deny"):
        kms.disable_key(KeyId=key)
    kms.encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException", "explicit deny"):
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    allowed = cloud.new_key(deny("kms:DisableKey", "*", Principal="*", Condition={"NumericGreaterThan": {"kms:TrailingDaysWithoutKeyUsage": "0"}}))
    kms.disable_key(KeyId=allowed)


# sagekeep key


def impact(server, key, *more):
    return json.loads(server.command("key", "impact", key, "--json", *more, check=True).stdout)


def test_impact_finds_what_depends_on_a_key(server, cloud, kms):
    key, alias, bucket = cloud.new_key(), "alias/" + unique("impact"), cloud.new_bucket()
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    s3 = cloud.boto("s3")
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": alias}}]},
    )
    for i in range(3):
        s3.put_object(Bucket=bucket, Key=f"o{i}", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"12345", ServerSideEncryption="AES256")
    user = cloud.new_user(allow("kms:Decrypt", key))
    grant = kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Encrypt"])["GrantId"]
    cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException"):
        cloud.boto("kms", user).generate_data_key(KeyId=key, KeySpec="AES_256")
    got = impact(server, alias)
    assert got["key"]["arn"] == key and got["key"]["aliases"] == [alias]
    assert got["key"]["lastUsage"]["operation"] == "Encrypt"
    (found,) = got["resources"]
    assert (found["arn"], found["default"], found["objects"], found["bytes"]) == (f"arn:aws:s3:::{bucket}", True, 3, 15)
    assert [g["grantId"] for g in got["grants"]] == [grant]
    assert {"type": "identity policy", "policy": "inline", "holders": [user.arn]} in got["policies"]
    users = {(u["principal"], u.get("via")): u for u in got["usedBy"]}
    assert users[cloud.root_arn, "s3.amazonaws.com"]["operations"] == {"GenerateDataKey": 3}
    mine = users[user.arn, None]
    assert (mine["count"], mine["failed"], mine["operations"]) == (1, 1, {"Encrypt": 1})
    text = server.command("key", "impact", key, check=True).stdout
    assert f"s3 bucket {bucket}: 3 objects" in text and user.arn in text and grant in text


def test_impact_of_an_earth_observation_job(fields, server):
    key = fields.new_key()
    job = fields.start(key)
    assert fields.wait(job)["Status"] == "COMPLETED"
    (grant,) = fields.grants(key)
    got = impact(server, key)
    (found,) = got["resources"]
    assert found["arn"] == job and found["status"] == "COMPLETED" and found["grantId"] == grant["GrantId"] and found["bytes"] > 0
    assert got["grants"][0]["service"] and got["grants"][0]["grantee"].startswith("sagemaker-geospatial.")
    principals = {u["principal"] for u in got["usedBy"]}
    assert fields.role.arn in principals, "the execution role, not its session"


def test_disable_and_schedule_deletion_show_the_impact_first(server, cloud, kms):
    key, state = cloud.new_key(), lambda: kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    asked = server.command("key", "disable", key)
    assert state() == "Enabled" and asked.returncode in (1, 2), "without --yes nothing is done unless somebody says so"
    done = server.command("key", "disable", key, "--yes", check=True)
    assert "used by" in done.stdout and f"{key} is disabled" in done.stdout and state() == "Disabled"
    with refused("DisabledException"):
        kms.decrypt(CiphertextBlob=blob)
    record = event(cloud, key, "DisableKey")
    assert record["userIdentity"]["arn"] == cloud.root_arn, "an ordinary call, with an ordinary record"
    server.command("key", "schedule-deletion", key, "--days", "7", "--yes", check=True)
    assert state() == "PendingDeletion"
    assert event(cloud, key, "ScheduleKeyDeletion")["requestParameters"]["pendingWindowInDays"] == 7


def test_a_policy_may_refuse_the_command(server, cloud, kms):
    key = cloud.new_key(deny("kms:DisableKey", "*", Principal="*"))
    done = server.command("key", "disable", key, "--yes")
    assert done.returncode == 1 and "AccessDenied" in done.stderr and "explicit deny" in done.stderr
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def test_list_and_impact_without_a_server(own_server):
    server = own_server()
    cloud = server.cloud()
    key = cloud.new_key()
    cloud.boto("kms").encrypt(KeyId=key, Plaintext=b"x")
    beside = server.command("key", "list", check=True).stdout
    server.stop()
    assert server.command("key", "list", check=True).stdout == beside
    assert impact(server, key)["key"]["lastUsage"]["operation"] == "Encrypt"
    done = server.command("key", "disable", key, "--yes")
    assert done.returncode == 1 and "no server runs" in done.stderr


def test_usage_errors(server):
    for args in (("key", "impact"), ("key", "impact", "a", "b"), ("key", "schedule-deletion", "a", "--days", "31", "--yes"), ("key", "burn")):
        assert server.command(*args).returncode == 2, args
    assert sagekeep("key", "impact", "a").returncode == 2
    assert server.command("key", "impact", "alias/" + unique("none")).returncode == 1
    helped = sagekeep("key", "impact", "--help")
    assert helped.returncode == 0 and "Examples:" in helped.stdout


# Quotas


def test_aws_request_quotas_on_request(own_server):
    server = own_server("--kms-quotas", "aws")
    kms = server.cloud().boto("kms")
    made = 0
    with refused("ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.", status=400):
        for _ in range(20):
            kms.create_key()
            made += 1
    assert made >= 5
    key = kms.list_keys()["Keys"][0]["KeyId"]
    for _ in range(20):  # a quota of its own, and a large one
        kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    wait_for(lambda: any(r.get("errorCode") == "ThrottlingException" for r in server.cloud().records("EventName", "CreateKey")), "the record")


def test_aws_request_quotas_and_a_client_that_waits(own_server):
    """Clients of AWS answer throttling by waiting: with their usual retries all keys are made."""
    server = own_server("--kms-quotas", "aws")
    cloud = server.cloud()
    kms = boto3.client(
        "kms", endpoint_url=cloud.url, region_name=REGION, aws_access_key_id=cloud.root.access_key_id, aws_secret_access_key=cloud.root.secret,
        config=botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 10}),
    )
    answers = [kms.create_key()["ResponseMetadata"] for _ in range(12)]
    assert any(a["RetryAttempts"] for a in answers)


def test_no_request_quotas_for_a_single_account(own_server):
    server = own_server()
    kms = server.cloud().boto("kms")
    for _ in range(30):
        kms.create_key()


def test_bad_quotas():
    done = sagekeep("serve", "--data-dir", "/nonexistent", "--kms-quotas", "some")
    assert done.returncode == 2 and re.search(r"kms-quotas", done.stderr)
