"""AWS managed policies: listed under AWS's names and ARNs, in force when attached, and not to be changed."""

import json

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, allow, policy, refused

AWS = "arn:aws:iam::aws:policy/"
POLICIES = [
    "AdministratorAccess", "AWSCloudTrail_FullAccess", "AWSCloudTrail_ReadOnlyAccess", "AWSKeyManagementServicePowerUser",
    "AWSOrganizationsFullAccess", "AWSOrganizationsReadOnlyAccess", "AmazonAthenaFullAccess", "AmazonS3FullAccess", "AmazonS3ReadOnlyAccess",
    "AmazonSageMakerCanvasDataPrepFullAccess", "AmazonSageMakerCanvasFullAccess", "AmazonSageMakerFeatureStoreAccess", "AmazonSageMakerFullAccess",
    "AmazonSageMakerGroundTruthExecution", "AmazonSageMakerReadOnly", "CloudWatchLogsFullAccess", "CloudWatchLogsReadOnlyAccess",
    "IAMFullAccess", "IAMReadOnlyAccess", "PowerUserAccess", "ReadOnlyAccess", "SecurityAudit", "job-function/ViewOnlyAccess",
    "service-role/AmazonSageMakerCanvasDirectDeployAccess", "service-role/AmazonSageMakerCanvasForecastAccess",
    "service-role/AmazonSageMakerGeospatialExecutionRole", "service-role/AmazonSageMakerGeospatialFullAccess",
]


@pytest.fixture(scope="module")
def iam(cloud):
    return cloud.boto("iam")


def may(call):
    """Whether a request is allowed; that it fails for another reason says that it is."""
    try:
        call()
    except ClientError as e:
        return e.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException")
    return True


def test_listed(cloud, iam):
    listed = {p["Arn"]: p for page in iam.get_paginator("list_policies").paginate(Scope="AWS") for p in page["Policies"]}
    for name in POLICIES:
        p = listed[AWS + name]
        assert p["Arn"] == f"{AWS[:-1]}{p['Path']}{p['PolicyName']}" and p["DefaultVersionId"] == "v1" and p["IsAttachable"]
        assert 2015 <= p["CreateDate"].year <= p["UpdateDate"].year <= 2026
    local = {p["Arn"] for page in iam.get_paginator("list_policies").paginate(Scope="Local") for p in page["Policies"]}
    assert not local & set(listed)
    shown = cloud.cli("iam", "list-policies", "--scope", "AWS", "--path-prefix", "/job-function/", "--query", "Policies[].Arn")
    assert shown == [AWS + "job-function/ViewOnlyAccess"]


@pytest.mark.parametrize("name", POLICIES)
def test_document(iam, name):
    p = iam.get_policy(PolicyArn=AWS + name)["Policy"]
    assert p["Description"] and p["PolicyId"].startswith("ANPA")
    version = iam.get_policy_version(PolicyArn=AWS + name, VersionId="v1")["PolicyVersion"]
    assert version["IsDefaultVersion"] and version["Document"]["Version"] == "2012-10-17"
    statements = version["Document"]["Statement"]
    assert len({s["Sid"] for s in statements}) == len(statements) and all(s["Effect"] == "Allow" for s in statements)
    # What AWS managed policies say can be saved as a policy of one's own.
    mine = iam.create_policy(PolicyName=f"copy-of-{p['PolicyName']}", PolicyDocument=json.dumps(version["Document"]))["Policy"]
    iam.delete_policy(PolicyArn=mine["Arn"])


def test_unchangeable(iam):
    arn = AWS + "AmazonSageMakerFullAccess"
    for change in (
        lambda: iam.delete_policy(PolicyArn=arn),
        lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("*"))),
        lambda: iam.delete_policy_version(PolicyArn=arn, VersionId="v1"),
        lambda: iam.set_default_policy_version(PolicyArn=arn, VersionId="v1"),
    ):
        with refused("AccessDenied", status=403):
            change()
    with refused("NoSuchEntity", status=404):
        iam.get_policy(PolicyArn=AWS + "AmazonSageMakerGeospatialFullAccess")  # its path is missing


def test_attachments_are_counted(cloud, iam):
    arn = AWS + "AmazonAthenaFullAccess"
    count = lambda: iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"]  # noqa: E731
    before, user, role = count(), cloud.new_user(), cloud.new_role()
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role.name, PolicyArn=arn)
    assert count() == before + 2
    assert iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"] == [{"PolicyName": "AmazonAthenaFullAccess", "PolicyArn": arn}]
    attached = {p["Arn"] for page in iam.get_paginator("list_policies").paginate(Scope="AWS", OnlyAttached=True) for p in page["Policies"]}
    assert arn in attached
    iam.detach_user_policy(UserName=user.name, PolicyArn=arn)
    iam.detach_role_policy(RoleName=role.name, PolicyArn=arn)
    assert count() == before


def test_key_power_user(cloud, iam):
    user, key = cloud.new_user(), cloud.new_key()
    kms = cloud.boto("kms", user)
    assert not may(lambda: kms.list_keys())
    iam.attach_user_policy(UserName=user.name, PolicyArn=AWS + "AWSKeyManagementServicePowerUser")
    assert may(lambda: kms.list_keys()) and may(lambda: kms.describe_key(KeyId=key)) and may(lambda: kms.create_key())
    assert not may(lambda: kms.encrypt(KeyId=key, Plaintext=b"x"))
    assert not may(lambda: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7))


def test_geospatial(cloud, iam):
    user, role = cloud.new_user(), cloud.new_role(prefix="geo")
    geospatial = cloud.boto("sagemaker-geospatial", user)
    assert not may(lambda: geospatial.list_earth_observation_jobs())
    iam.attach_user_policy(UserName=user.name, PolicyArn=AWS + "service-role/AmazonSageMakerGeospatialFullAccess")
    assert may(lambda: geospatial.list_earth_observation_jobs()) and may(lambda: geospatial.list_raster_data_collections())

    def passing(to):
        return iam.simulate_principal_policy(
            PolicySourceArn=user.arn, ActionNames=["iam:PassRole"], ResourceArns=[role.arn],
            ContextEntries=[{"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string", "ContextKeyValues": [to]}],
        )["EvaluationResults"][0]["EvalDecision"]

    assert passing("sagemaker-geospatial.amazonaws.com") == "allowed"
    assert passing("sagemaker.amazonaws.com") == "implicitDeny"


def test_sagemaker_and_s3(cloud, iam):
    """S3 is open where the bucket's or object's name says SageMaker, in one of three spellings."""
    user, mine, plain = cloud.new_user(), cloud.new_bucket("my-sagemaker-data"), cloud.new_bucket("plain")
    iam.attach_user_policy(UserName=user.name, PolicyArn=AWS + "AmazonSageMakerFullAccess")
    s3 = cloud.boto("s3", user)
    assert may(lambda: s3.put_object(Bucket=mine, Key="x", Body=b"x")) and may(lambda: s3.get_object(Bucket=mine, Key="x"))
    assert may(lambda: s3.put_object(Bucket=plain, Key="SageMaker/x", Body=b"x"))
    assert not may(lambda: s3.put_object(Bucket=plain, Key="SAGEMAKER/x", Body=b"x"))
    assert not may(lambda: s3.put_object(Bucket=plain, Key="x", Body=b"x"))
    assert may(lambda: s3.list_objects_v2(Bucket=plain)) and not may(lambda: s3.delete_bucket(Bucket=plain))
    geospatial = cloud.boto("sagemaker-geospatial", user)
    assert may(lambda: geospatial.list_earth_observation_jobs())
    assert not may(lambda: cloud.boto("iam", user).list_users()) and may(lambda: cloud.boto("iam", user).list_roles())


def test_feature_store_role(cloud, iam):
    role = cloud.new_role(prefix="offline")
    iam.attach_role_policy(RoleName=role.name, PolicyArn=AWS + "AmazonSageMakerFeatureStoreAccess")
    s3 = cloud.boto("s3", cloud.assume(role, cloud.assumer()))
    offline, plain = cloud.new_bucket("sagemaker-offline"), cloud.new_bucket("offline")
    assert may(lambda: s3.put_object(Bucket=offline, Key=f"{ACCOUNT}/x", Body=b"x"))
    cloud.boto("s3").put_object(Bucket=offline, Key="a/metadata/b", Body=b"x")
    assert may(lambda: s3.get_object(Bucket=offline, Key="a/metadata/b")) and not may(lambda: s3.get_object(Bucket=offline, Key=f"{ACCOUNT}/x"))
    assert not may(lambda: s3.put_object(Bucket=plain, Key="x", Body=b"x"))


def test_auditors(cloud, iam):
    bucket = cloud.new_bucket("audited")
    cloud.boto("s3").put_object(Bucket=bucket, Key="x", Body=b"x")
    for name, reads in (("ReadOnlyAccess", True), ("SecurityAudit", False), ("job-function/ViewOnlyAccess", False)):
        user = cloud.new_user()
        iam.attach_user_policy(UserName=user.name, PolicyArn=AWS + name)
        s3 = cloud.boto("s3", user)
        assert may(lambda: s3.list_objects_v2(Bucket=bucket)), name
        assert may(lambda: s3.get_object(Bucket=bucket, Key="x")) == reads, name
        assert may(lambda: cloud.boto("cloudtrail", user).lookup_events(MaxResults=1)), name
        assert may(lambda: cloud.boto("iam", user).list_users()), name
        assert not may(lambda: cloud.boto("kms", user, region=REGION).create_key()), name
