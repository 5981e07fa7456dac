"""CloudTrail: every call leaves a record at once, found by every attribute, with no secret in it."""

import base64
import datetime
import json
import re

import pytest

from harness import ACCOUNT, REGION, Credentials, allow, deny, policy, refused, unique

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


def only(records, name):
    """The one record of this event."""
    found = [r for r in records if r["eventName"] == name]
    assert len(found) == 1, f"{len(found)} records of {name}, want 1; there are {[r['eventName'] for r in records]}"
    return found[0]


def by_key(cloud, key):
    return cloud.records("ResourceName", key)


def test_record_of_encrypt(cloud, kms):
    user = cloud.new_user(allow("kms:*"))
    key = cloud.new_key()
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    answer = cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"plot": "7"})
    r = only(by_key(cloud, key), "Encrypt")
    assert UUID.fullmatch(r.pop("eventID"))
    assert r.pop("requestID") == answer["ResponseMetadata"]["RequestId"]
    when = datetime.datetime.strptime(r.pop("eventTime"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    assert before <= when <= datetime.datetime.now(datetime.timezone.utc)
    assert r.pop("userAgent").startswith("Boto3/")
    assert re.fullmatch(r"[0-9a-f]{64}", r.pop("additionalEventData")["keyMaterialId"])
    r.pop("tlsDetails", None)
    assert r == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser", "principalId": user.id, "arn": user.arn, "accountId": ACCOUNT,
            "accessKeyId": user.credentials.access_key_id, "userName": user.name,
        },
        "eventSource": "kms.amazonaws.com", "eventName": "Encrypt", "awsRegion": REGION, "sourceIPAddress": "127.0.0.1",
        "requestParameters": {"keyId": key, "encryptionContext": {"plot": "7"}, "encryptionAlgorithm": "SYMMETRIC_DEFAULT"},
        "responseElements": None, "readOnly": True,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key}],
        "eventType": "AwsApiCall", "managementEvent": True, "recipientAccountId": ACCOUNT, "eventCategory": "Management",
    }


def test_every_kms_operation_leaves_a_record(cloud, kms):
    key = cloud.new_key()
    id = key.rsplit("/", 1)[1]
    name = "alias/" + unique("trail")
    kms.describe_key(KeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.decrypt(CiphertextBlob=blob)
    to = cloud.new_key()
    kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=to)
    kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=16)
    grant = kms.create_grant(KeyId=key, GranteePrincipal=cloud.root_arn, Operations=["Decrypt"])
    kms.list_grants(KeyId=key)
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    kms.create_alias(AliasName=name, TargetKeyId=id)
    kms.update_alias(AliasName=name, TargetKeyId=id)
    kms.delete_alias(AliasName=name)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    kms.list_resource_tags(KeyId=key)
    kms.untag_resource(KeyId=key, TagKeys=["a"])
    kms.get_key_policy(KeyId=key, PolicyName="default")
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(allow("kms:*", Principal={"AWS": cloud.root_arn})))
    kms.list_key_policies(KeyId=key)
    kms.update_key_description(KeyId=key, Description="d")
    kms.enable_key_rotation(KeyId=key)
    kms.get_key_rotation_status(KeyId=key)
    kms.rotate_key_on_demand(KeyId=key)
    kms.list_key_rotations(KeyId=key)
    kms.disable_key_rotation(KeyId=key)
    kms.disable_key(KeyId=key)
    kms.enable_key(KeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    kms.cancel_key_deletion(KeyId=key)
    records = {r["eventName"]: r for r in by_key(cloud, key)}
    read_only = {
        "DescribeKey", "Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ListGrants",
        "ListResourceTags", "GetKeyPolicy", "ListKeyPolicies", "GetKeyRotationStatus", "ListKeyRotations",
    }
    changing = {
        "CreateKey", "CreateGrant", "RevokeGrant", "CreateAlias", "UpdateAlias", "DeleteAlias", "TagResource", "UntagResource",
        "PutKeyPolicy", "UpdateKeyDescription", "EnableKeyRotation", "RotateKeyOnDemand", "DisableKeyRotation", "DisableKey",
        "EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion",
    }
    missing = (read_only | changing) - set(records)
    assert not missing, f"no record of {sorted(missing)}"
    assert {n for n, r in records.items() if r["readOnly"]} == read_only
    assert [n for n, r in records.items() if "errorCode" in r] == []
    assert [n for n in read_only if records[n]["responseElements"] is not None] == []
    # AWS KMS tells the key's ARN for every change, whatever the API answers.
    bare = [n for n in changing - {"CreateKey"} if (records[n]["responseElements"] or {}).get("keyId") != key]
    assert bare == [], f"no keyId in the responseElements of {sorted(bare)}"
    assert records["CreateGrant"]["responseElements"] == {"grantId": grant["GrantId"], "keyId": key}
    assert records["CreateKey"]["responseElements"]["keyMetadata"]["aWSAccountId"] == ACCOUNT
    assert records["GenerateDataKey"]["requestParameters"] == {"keyId": key, "keySpec": "AES_256"}
    assert records["GenerateDataKeyWithoutPlaintext"]["requestParameters"] == {"keyId": key, "numberOfBytes": 16}
    assert records["Decrypt"]["requestParameters"] == {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    assert [x["ARN"] for x in records["ReEncrypt"]["resources"]] == [key, to]
    assert {x["ARN"] for x in records["CreateAlias"]["resources"]} == {key, f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"}


def test_calls_without_a_key(cloud):
    there = cloud.boto("kms", region="eu-west-3")
    there.list_keys()
    there.list_aliases()
    there.generate_random(NumberOfBytes=8)
    records = cloud.records("EventSource", "kms.amazonaws.com", region="eu-west-3")
    for name in ("ListKeys", "ListAliases", "GenerateRandom"):
        r = only(records, name)
        assert not r.get("resources") and r["awsRegion"] == "eu-west-3"


def test_denied_calls(cloud, kms):
    key, user = cloud.new_key(), cloud.new_user()
    with refused("AccessDeniedException") as got:
        cloud.boto("kms", user).decrypt(CiphertextBlob=kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"])
    r = only(by_key(cloud, key), "Decrypt")
    assert (r["errorCode"], r["errorMessage"]) == ("AccessDenied", got.message)
    assert r["responseElements"] is None and r["userIdentity"]["userName"] == user.name


def test_failed_calls(cloud, kms):
    key = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext={"wrong": "1"})
    assert only(by_key(cloud, key), "Decrypt")["errorCode"] == "InvalidCiphertextException"
    kms.disable_key(KeyId=key)
    with refused("DisabledException") as got:
        kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    r = only(by_key(cloud, key), "GenerateDataKey")
    assert (r["errorCode"], r["errorMessage"]) == ("DisabledException", got.message)
    with refused("DryRunOperationException"):
        kms.enable_key(KeyId=key)
        kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256", DryRun=True)
    assert only(by_key(cloud, key), "GenerateDataKeyWithoutPlaintext")["errorCode"] == "DryRunOperationException"


def test_iam_and_sts_records(cloud):
    user = cloud.new_user(allow("sts:AssumeRole"))
    role = cloud.new_role()
    session = cloud.assume(role, user, session="trail")
    found = [r for r in cloud.records("EventName", "AssumeRole", pages=2) if r["userIdentity"].get("userName") == user.name]
    assert len(found) == 1
    r = found[0]
    assert r["eventSource"] == "sts.amazonaws.com" and r["requestParameters"]["roleArn"] == role.arn
    assert r["responseElements"]["assumedRoleUser"]["arn"].endswith(f":assumed-role/{role.name}/trail")
    assert r["responseElements"]["credentials"]["accessKeyId"] == session.access_key_id
    made = [r for r in cloud.records("EventName", "CreateUser", pages=2) if (r.get("requestParameters") or {}).get("userName") == user.name]
    assert len(made) == 1 and made[0]["eventSource"] == "iam.amazonaws.com"
    assert made[0]["userIdentity"]["type"] == "Root" and made[0]["userIdentity"]["arn"] == cloud.root_arn
    assert made[0]["responseElements"]["user"]["userName"] == user.name


def test_session_identity(cloud, kms):
    role = cloud.new_role(allow("kms:Encrypt"))
    session = cloud.assume(role, cloud.assumer(), session="trail")
    key = cloud.new_key()
    cloud.boto("kms", session).encrypt(KeyId=key, Plaintext=b"x")
    who = only(by_key(cloud, key), "Encrypt")["userIdentity"]
    created = who["sessionContext"]["attributes"].pop("creationDate")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
    who["sessionContext"].pop("webIdFederationData", None)
    assert who == {
        "type": "AssumedRole", "principalId": f"{role.id}:trail", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/trail",
        "accountId": ACCOUNT, "accessKeyId": session.access_key_id,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "principalId": role.id, "arn": role.arn, "accountId": ACCOUNT, "userName": role.name},
            "attributes": {"mfaAuthenticated": "false"},
        },
    }


def test_lookup_by_each_attribute(cloud, kms):
    user = cloud.new_user(allow("kms:*"))
    key = cloud.new_key()
    cloud.boto("kms", user).update_key_description(KeyId=key, Description="x")
    want = only(by_key(cloud, key), "UpdateKeyDescription")
    trail = cloud.boto("cloudtrail")
    for attribute, value in (
        ("EventId", want["eventID"]), ("EventName", "UpdateKeyDescription"), ("EventSource", "kms.amazonaws.com"), ("ReadOnly", "false"),
        ("ResourceName", key), ("ResourceType", "AWS::KMS::Key"), ("Username", user.name), ("AccessKeyId", user.credentials.access_key_id),
    ):
        events = trail.lookup_events(LookupAttributes=[{"AttributeKey": attribute, "AttributeValue": value}])["Events"]
        found = [e for e in events if e["EventId"] == want["eventID"]]
        assert len(found) == 1, f"{attribute} = {value} finds {[e['EventName'] for e in events]}"
        e = found[0]
        assert json.loads(e.pop("CloudTrailEvent")) == want
        assert e.pop("EventTime").strftime("%Y-%m-%dT%H:%M:%SZ") == want["eventTime"]
        assert e == {
            "EventId": want["eventID"], "EventName": "UpdateKeyDescription", "ReadOnly": "false", "AccessKeyId": user.credentials.access_key_id,
            "EventSource": "kms.amazonaws.com", "Username": user.name, "Resources": [{"ResourceType": "AWS::KMS::Key", "ResourceName": key}],
        }
        if attribute in ("EventName", "EventSource", "ReadOnly", "Username", "AccessKeyId"):
            assert {e.get(attribute, value) for e in events} == {value}, f"{attribute} = {value} finds others too"


def test_lookup_in_pages_newest_first(cloud):
    there = cloud.boto("kms", region="sa-east-1")
    for i in range(7):
        there.generate_random(NumberOfBytes=i + 1)
    trail = cloud.boto("cloudtrail", region="sa-east-1")
    pages = list(trail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateRandom"}], PaginationConfig={"PageSize": 3},
    ))
    assert [len(p["Events"]) for p in pages] == [3, 3, 1]
    times = [e["EventTime"] for p in pages for e in p["Events"]]
    assert times == sorted(times, reverse=True)
    assert len({e["EventId"] for p in pages for e in p["Events"]}) == 7
    with refused(("InvalidNextTokenException", "InvalidTokenException", "ValidationException")):
        trail.lookup_events(NextToken="garbage")
    with refused(("InvalidMaxResultsException", "ValidationException")):
        cloud.boto("cloudtrail", parameter_validation=False).lookup_events(MaxResults=51)


def test_lookup_by_time(cloud):
    there, trail = cloud.boto("kms", region="ca-central-1"), cloud.boto("cloudtrail", region="ca-central-1")
    there.generate_random(NumberOfBytes=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)

    def count(**span):
        return len([e for e in trail.lookup_events(**span)["Events"] if e["EventName"] == "GenerateRandom"])

    assert count(StartTime=now - hour, EndTime=now + hour) == 1
    assert count(StartTime=now - 2 * hour, EndTime=now - hour) == 0
    assert count(StartTime=now - hour) == 1
    with refused("InvalidTimeRangeException"):
        trail.lookup_events(StartTime=now, EndTime=now - hour)


def test_lookups_stay_in_the_account(cloud, other, kms):
    key = cloud.new_key()
    assert other.records("ResourceName", key) == []
    with refused(("AccessDeniedException", "AccessDenied"), "cloudtrail:LookupEvents"):
        cloud.boto("cloudtrail", cloud.new_user()).lookup_events()


def test_use_from_another_account_is_seen_by_both(cloud, other, kms):
    """AWS gives a record to the key's owner and one to the caller, tied by sharedEventID."""
    key = cloud.new_key(allow("kms:Encrypt", Principal={"AWS": other.root_arn}))
    user = other.new_user(allow("kms:Encrypt", key))
    other.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    owner = only(by_key(cloud, key), "Encrypt")
    assert owner["recipientAccountId"] == cloud.account and owner["userIdentity"]["accountId"] == other.account
    caller = only(by_key(other, key), "Encrypt")
    assert caller["recipientAccountId"] == other.account
    assert caller["sharedEventID"] == owner["sharedEventID"] and caller["eventID"] != owner["eventID"]


def test_no_secret_in_any_record(cloud, kms):
    iam = cloud.boto("iam")
    key, context = cloud.new_key(), {"project": "fields"}
    plain = b"a plain text that nobody may log " + unique("x").encode()
    blob = kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=context)["CiphertextBlob"]
    kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    moved = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=key)
    random = kms.generate_random(NumberOfBytes=32)["Plaintext"]
    grant = kms.create_grant(KeyId=key, GranteePrincipal=cloud.root_arn, Operations=["Decrypt", "RetireGrant"])
    kms.encrypt(KeyId=key, Plaintext=b"x", GrantTokens=[grant["GrantToken"]])
    kms.retire_grant(GrantToken=grant["GrantToken"])
    user = cloud.assumer()
    role = cloud.new_role()
    session = cloud.assume(role, user)
    second = iam.create_access_key(UserName=user.name)["AccessKey"]
    cloud.boto("sts", session).get_caller_identity()
    secrets = {
        "plaintext": plain, "ciphertext": blob, "data key": data_key["Plaintext"], "wrapped data key": data_key["CiphertextBlob"],
        "moved ciphertext": moved["CiphertextBlob"], "random bytes": random, "grant token": grant["GrantToken"].encode(),
        "secret of a user": user.credentials.secret.encode(), "second secret": second["SecretAccessKey"].encode(),
        "secret of a session": session.secret.encode(), "session token": session.token.encode(), "root's secret": cloud.root.secret.encode(),
    }
    text = json.dumps(cloud.records(pages=6)).encode()
    assert b"RetireGrant" in text and b"CreateAccessKey" in text and b"AssumeRole" in text
    for name, secret in secrets.items():
        for form in (secret, base64.b64encode(secret), secret.hex().encode()):
            assert form not in text, f"a record holds the {name}"
            assert len(form) < 200 or form[100:140] not in text, f"a record holds a part of the {name}"


def test_bad_signatures_leave_no_success(cloud):
    """Nobody can write records in another's name."""
    user = cloud.new_user()
    with refused("InvalidSignatureException"):
        cloud.boto("kms", Credentials(user.credentials.access_key_id, "w" * 40)).list_keys()
    mine = cloud.records("AccessKeyId", user.credentials.access_key_id)
    assert [r for r in mine if "errorCode" not in r] == []


def test_policy_refusals_of_other_services(cloud):
    user = cloud.new_user(deny("iam:*"))
    with refused("AccessDenied"):
        cloud.boto("iam", user).create_user(UserName="never")
    r = only(cloud.records("Username", user.name), "CreateUser")
    assert r["errorCode"] == "AccessDenied" and "explicit deny" in r["errorMessage"]


def test_cli_lookup(cloud):
    key = cloud.new_key()
    events = cloud.cli("cloudtrail", "lookup-events", "--lookup-attributes", f"AttributeKey=ResourceName,AttributeValue={key}", "--max-results", "5")
    assert [e["EventName"] for e in events["Events"]] == ["CreateKey"]
