"""Earth Observation jobs: what of the key and the role is needed, and what happens when it is taken away."""

import re

import pytest

from fields import ACTIONS, SERVICE, TRUST
from harness import ACCOUNT, REGION, allow, deny, policy, refused, unique, wait_for

# What must be there before a job is made


@pytest.mark.parametrize("missing", ACTIONS)
def test_each_permission_is_needed(fields, missing):
    role = fields.new_role()
    key = fields.new_key(role, [a for a in ACTIONS if a != missing])
    with refused("AccessDeniedException", missing, role.arn, key, status=403) as got:
        fields.start(key, role=role)
    for present in set(ACTIONS) - {missing}:
        assert not re.search(rf"{present}\b(?!W)", got.message), f"{present} is there: {got.message}"
    assert fields.grants(key) == [], "a refused start left a grant"


def test_permissions_may_come_from_iam(fields):
    """A key policy that names the account alone: the role's own policy decides, as the page says."""
    role, key = fields.new_role(), fields.cloud.new_key()
    with refused("AccessDeniedException", "kms:CreateGrant"):
        fields.start(key, role=role)
    fields.cloud.boto("iam").put_role_policy(RoleName=role.name, PolicyName="key", PolicyDocument=policy(allow(ACTIONS, key)))
    assert fields.wait(fields.start(key, role=role))["Status"] == "COMPLETED"


@pytest.mark.parametrize("form", ["id", "alias", "alias arn"])
def test_key_in_every_form(fields, form):
    key = fields.new_key()
    alias = "alias/" + unique("eoj")
    fields.kms.create_alias(AliasName=alias, TargetKeyId=key)
    id = {"id": key.rsplit("/", 1)[1], "alias": alias, "alias arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"}[form]
    assert fields.wait(fields.start(id))["Status"] == "COMPLETED"
    assert len(fields.grants(key)) == 1


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_customer_key(fields, key):
    job = fields.start(key)
    assert fields.wait(job)["Status"] == "COMPLETED"
    assert fields.export(job, prefix="plain/")["ExportStatus"] == "SUCCEEDED"
    name = fields.objects(f"plain/{job.rsplit('/', 1)[1]}/")[0]
    assert fields.s3.head_object(Bucket=fields.bucket, Key=name)["ServerSideEncryption"] == "AES256"


def test_asymmetric_key(fields):
    document = policy(allow("kms:*", Principal={"AWS": fields.cloud.root_arn}), allow(ACTIONS, Principal={"AWS": fields.role.arn}))
    key = fields.kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT", Policy=document)["KeyMetadata"]["Arn"]
    with refused("ValidationException", "symmetric", status=400):
        fields.start(key)
    assert fields.grants(key) == []


def test_unusable_keys(fields):
    key = fields.new_key()
    fields.kms.disable_key(KeyId=key)
    with refused("ValidationException", key):
        fields.start(key)
    fields.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    with refused("ValidationException", key):
        fields.start(key)
    with refused("ValidationException"):
        fields.start("1234abcd-12ab-34cd-56ef-1234567890ab")


def test_grant_is_for_a_resource(fields):
    """A key whose policy lets only services create grants suffices."""
    role = fields.new_role()
    key = fields.cloud.new_key(
        allow("kms:CreateGrant", Principal={"AWS": role.arn}, Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        allow(ACTIONS[1:], Principal={"AWS": role.arn}),
    )
    assert fields.wait(fields.start(key, role=role))["Status"] == "COMPLETED"


def test_passing_the_role(fields):
    start = allow("sagemaker-geospatial:*")
    bare = fields.cloud.new_user(start)
    with refused("AccessDeniedException", "iam:PassRole", fields.role.arn, bare.arn, status=403):
        fields.start(by=bare)
    wrong = fields.cloud.new_user(start, allow("iam:PassRole", fields.role.arn, Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}))
    with refused("AccessDeniedException", "iam:PassRole"):
        fields.start(by=wrong)
    right = fields.cloud.new_user(start, allow("iam:PassRole", fields.role.arn, Condition={"StringEquals": {"iam:PassedToService": "sagemaker-geospatial.amazonaws.com"}}))
    fields.start(by=right)
    with refused("AccessDeniedException", "sagemaker-geospatial:StartEarthObservationJob"):
        fields.start(by=fields.cloud.new_user(allow("iam:PassRole")))


def test_role_that_does_not_trust_the_service(fields):
    with refused("ValidationException", "trust"):
        fields.start(role=fields.cloud.new_role())


# What the key's owner can take away


def test_revoked_grant_ends_reading(fields):
    key = fields.new_key()
    job = fields.start(key)
    assert fields.wait(job)["Status"] == "COMPLETED"
    fields.kms.revoke_grant(KeyId=key, GrantId=fields.grants(key)[0]["GrantId"])
    before = fields.objects()
    try:
        answer = fields.export(job, prefix="revoked/")
    except fields.geo.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] in ("AccessDeniedException", "ValidationException"), e
    else:
        assert answer["ExportStatus"] == "FAILED", "the export read what the grant no longer opens"
        error = answer["ExportErrorDetails"]["ExportResults"]
        assert error["Type"] == "CLIENT_ERROR" and "kms:Decrypt" in error["Message"] and key in error["Message"], error
        refused_ = [r for r in fields.cloud.records("ResourceName", key) if r["eventName"] == "Decrypt" and r.get("errorCode")]
        assert refused_ and refused_[0]["errorCode"] == "AccessDenied"
    assert fields.objects() == before, "a refused export left objects"


@pytest.mark.parametrize("action", ["disable", "schedule", "policy"])
def test_key_taken_away_ends_reading(fields, action):
    key = fields.new_key()
    job = fields.start(key)
    assert fields.wait(job)["Status"] == "COMPLETED"
    if action == "disable":
        fields.kms.disable_key(KeyId=key)
    elif action == "schedule":
        fields.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    else:
        fields.kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(
            allow("kms:*", Principal={"AWS": fields.cloud.root_arn}), deny("kms:Decrypt", Principal={"Service": "sagemaker-geospatial.amazonaws.com"}),
            deny("kms:Decrypt", Principal={"Service": SERVICE}),
        ))
    answer = fields.export(job, prefix="taken/")
    assert answer["ExportStatus"] == "FAILED" and key in answer["ExportErrorDetails"]["ExportResults"]["Message"]


def test_another_job_s_grant_does_not_help(fields):
    """Two jobs under one key: taking one's grant does not touch the other, nor does the other's open it."""
    key = fields.new_key()
    first = fields.start(key)
    grant = fields.grants(key)[0]["GrantId"]
    second = fields.start(key)
    assert [fields.wait(j)["Status"] for j in (first, second)] == ["COMPLETED"] * 2
    fields.kms.revoke_grant(KeyId=key, GrantId=grant)
    assert fields.export(first, prefix="two/")["ExportStatus"] == "FAILED"
    assert fields.export(second, prefix="two/")["ExportStatus"] == "SUCCEEDED"


def test_export_needs_the_role_s_rights(fields):
    job = fields.start()
    fields.wait(job)
    poor = fields.cloud.new_role(trust=TRUST)
    answer = fields.export(job, role=poor)
    assert answer["ExportStatus"] == "FAILED" and "s3:PutObject" in answer["ExportErrorDetails"]["ExportResults"]["Message"]
    closed = fields.cloud.new_key()
    answer = fields.export(job, key=closed)
    assert answer["ExportStatus"] == "FAILED" and "kms:GenerateDataKey" in answer["ExportErrorDetails"]["ExportResults"]["Message"]


def test_running_job_ends_when_its_grant_goes(long):
    key = long.new_key()
    job = long.start(key, indices=("NDVI", "MSAVI"))
    uses = lambda: [r for r in long.cloud.records("ResourceName", key, pages=1) if r["eventName"] == "GenerateDataKey"]  # noqa: E731
    wait_for(uses, "the first use of the key")
    long.kms.revoke_grant(KeyId=key, GrantId=long.grants(key)[0]["GrantId"])
    got = long.wait(job)
    assert got["Status"] == "FAILED", got["Status"]
    assert got["ErrorDetails"]["Type"] == "CLIENT_ERROR" and key in got["ErrorDetails"]["Message"] and "grant" in got["ErrorDetails"]["Message"]
    with refused("ConflictException"):
        long.export(job)
