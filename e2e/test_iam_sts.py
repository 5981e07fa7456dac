"""IAM and AWS STS: principals, policies that count at once, sessions, identities."""

import datetime
import json
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness import ACCOUNT, REGION, Credentials, allow, deny, policy, refused, unique

USER_ID, ROLE_ID = re.compile(r"AIDA[A-Z0-9]{17}"), re.compile(r"AROA[A-Z0-9]{17}")


@pytest.fixture(scope="module")
def iam(cloud):
    return cloud.boto("iam")


@pytest.fixture(scope="module")
def key(cloud):
    return cloud.new_key()


def encrypts(cloud, who, key):
    """Whether the principal may use the key now."""
    try:
        cloud.boto("kms", who).encrypt(KeyId=key, Plaintext=b"x")
    except cloud.boto("kms", who).exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDeniedException", e
        return False
    return True


# Users and access keys


def test_user_from_birth_to_death(iam):
    name = unique("birth")
    made = iam.create_user(UserName=name, Path="/crops/", Tags=[{"Key": "team", "Value": "crops"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/crops/{name}" and USER_ID.fullmatch(made["UserId"])
    assert iam.get_user(UserName=name)["User"]["Tags"] == [{"Key": "team", "Value": "crops"}]
    with refused("EntityAlreadyExists", name, status=409):
        iam.create_user(UserName=name)
    assert [u["UserName"] for u in iam.list_users(PathPrefix="/crops/")["Users"]].count(name) == 1
    iam.tag_user(UserName=name, Tags=[{"Key": "team", "Value": "cattle"}])
    assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "team", "Value": "cattle"}]
    iam.create_access_key(UserName=name)
    with refused("DeleteConflict", status=409):
        iam.delete_user(UserName=name)
    for k in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=k["AccessKeyId"])
    iam.delete_user(UserName=name)
    with refused("NoSuchEntity", name, status=404):
        iam.get_user(UserName=name)


def test_cli_shapes(cloud):
    name = unique("shell")
    made = cloud.cli("iam", "create-user", "--user-name", name)
    assert made["User"]["Arn"].endswith(f":user/{name}")
    listed = cloud.cli("iam", "list-users", "--query", f"Users[?UserName=='{name}'].Arn")
    assert listed == [made["User"]["Arn"]]
    with refused("NoSuchEntity", "none"):
        cloud.cli("iam", "get-user-policy", "--user-name", name, "--policy-name", "none")


def test_list_users_in_pages(iam):
    path = f"/{unique('pages')}/"
    made = {iam.create_user(UserName=unique("page"), Path=path)["User"]["UserName"] for _ in range(5)}
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2}))
    assert [len(p["Users"]) for p in pages] == [2, 2, 1]
    assert {u["UserName"] for p in pages for u in p["Users"]} == made


def test_access_keys(cloud, iam, key):
    user = cloud.new_user(allow("kms:*"))
    assert re.fullmatch(r"AKIA[A-Z0-9]{16}", user.credentials.access_key_id) and len(user.credentials.secret) == 40
    second = iam.create_access_key(UserName=user.name)["AccessKey"]
    with refused("LimitExceeded", status=409):
        iam.create_access_key(UserName=user.name)
    listed = iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]
    assert {k["AccessKeyId"] for k in listed} == {user.credentials.access_key_id, second["AccessKeyId"]}
    assert all("SecretAccessKey" not in k for k in listed)
    both = (user.credentials, Credentials.of(second))
    assert all(encrypts(cloud, c, key) for c in both)
    iam.update_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id, Status="Inactive")
    with refused(("UnrecognizedClientException", "InvalidClientTokenId")):
        cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    with refused("InvalidClientTokenId", status=403):
        cloud.boto("sts", user).get_caller_identity()
    assert encrypts(cloud, both[1], key)
    iam.update_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id, Status="Active")
    assert encrypts(cloud, user, key)
    iam.delete_access_key(UserName=user.name, AccessKeyId=second["AccessKeyId"])
    with refused(("UnrecognizedClientException", "InvalidClientTokenId")):
        cloud.boto("kms", both[1]).encrypt(KeyId=key, Plaintext=b"x")


def test_wrong_secret_and_unknown_key(cloud):
    wrong = Credentials(cloud.root.access_key_id, "w" * 40)
    with refused("SignatureDoesNotMatch", status=403):
        cloud.boto("sts", wrong).get_caller_identity()
    with refused("InvalidSignatureException"):
        cloud.boto("kms", wrong).list_keys()
    unknown = Credentials("AKIAABCDEFGHIJKLMNOP", "w" * 40)
    with refused("InvalidClientTokenId", status=403):
        cloud.boto("iam", unknown).list_users()
    with refused("UnrecognizedClientException"):
        cloud.boto("kms", unknown).list_keys()


def test_users_see_what_they_may(cloud):
    user = cloud.new_user()
    with refused("AccessDenied", f"User: {user.arn} is not authorized to perform: iam:ListUsers on resource: ",
                 "because no identity-based policy allows the iam:ListUsers action", status=403):
        cloud.boto("iam", user).list_users()


# Policies


def test_inline_policy_counts_at_once(cloud, iam, key):
    user = cloud.new_user()
    assert not encrypts(cloud, user, key)
    document = policy(allow("kms:Encrypt", key))
    iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document)
    assert encrypts(cloud, user, key)
    assert iam.get_user_policy(UserName=user.name, PolicyName="use")["PolicyDocument"] == json.loads(document)
    assert iam.list_user_policies(UserName=user.name)["PolicyNames"] == ["use"]
    iam.delete_user_policy(UserName=user.name, PolicyName="use")
    assert not encrypts(cloud, user, key)


def test_managed_policy_attached_and_detached(cloud, iam, key):
    user, name = cloud.new_user(), unique("managed")
    made = iam.create_policy(PolicyName=name, PolicyDocument=policy(allow("kms:Encrypt")), Description="use keys")["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/{name}" and made["DefaultVersionId"] == "v1" and made["AttachmentCount"] == 0
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    assert encrypts(cloud, user, key)
    assert iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"] == [{"PolicyName": name, "PolicyArn": arn}]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    with refused("DeleteConflict"):
        iam.delete_policy(PolicyArn=arn)
    # A new default version counts at once, and so does going back.
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("kms:Decrypt")), SetAsDefault=True)
    assert not encrypts(cloud, user, key)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert encrypts(cloud, user, key)
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"] if v["IsDefaultVersion"]] == ["v1"]
    with refused("DeleteConflict"):
        iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.detach_user_policy(UserName=user.name, PolicyArn=arn)
    assert not encrypts(cloud, user, key)
    with refused("NoSuchEntity"):
        iam.detach_user_policy(UserName=user.name, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    with refused("NoSuchEntity"):
        iam.get_policy(PolicyArn=arn)


def test_five_versions(iam):
    arn = iam.create_policy(PolicyName=unique("versions"), PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("kms:Decrypt")))
    with refused("LimitExceeded"):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("kms:Decrypt")))


@pytest.mark.parametrize("document", [
    "not json", "{}",
    policy({"Effect": "Allow", "Action": "kms:*"}),
    policy(allow("kms:*", Principal="*")),
    policy(allow("encrypt")),
    policy(allow("kms:*", NotAction="s3:*")),
    policy(allow("kms:*", Sid="same"), allow("s3:*", Sid="same")),
    policy(allow("kms:*", Colour="blue")),
])
def test_malformed_identity_policies(cloud, iam, document):
    user = cloud.new_user()
    with refused("MalformedPolicyDocument", status=400):
        iam.put_user_policy(UserName=user.name, PolicyName="bad", PolicyDocument=document)
    assert iam.list_user_policies(UserName=user.name)["PolicyNames"] == []


def test_conditions(cloud, key):
    now = datetime.datetime.now(datetime.timezone.utc)

    def at(days):
        return (now + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")

    for condition, want in (
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": at(-1)}, "DateLessThan": {"aws:CurrentTime": at(1)}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": at(1)}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": REGION}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, True),
        ({"Null": {"aws:MultiFactorAuthPresent": "false"}}, False),
        ({"StringLike": {"aws:username": "${aws:username}"}}, True),
    ):
        user = cloud.new_user(allow("kms:Encrypt", key, Condition=condition))
        assert encrypts(cloud, user, key) is want, condition


# Roles and sessions


def test_role_from_birth_to_death(cloud, iam):
    name = unique("role")
    trust = policy(allow("sts:AssumeRole", None, Principal={"AWS": cloud.root_arn}))
    made = iam.create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument=trust, MaxSessionDuration=7200, Description="d")["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/service-role/{name}" and ROLE_ID.fullmatch(made["RoleId"])
    got = iam.get_role(RoleName=name)["Role"]
    assert got["AssumeRolePolicyDocument"] == json.loads(trust) and got["MaxSessionDuration"] == 7200
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("kms:Encrypt")))
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    with refused("DeleteConflict"):
        iam.delete_role(RoleName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    with refused("NoSuchEntity"):
        iam.get_role(RoleName=name)


@pytest.mark.parametrize("trust", [
    policy(allow("sts:AssumeRole", Principal="*")),  # a Resource has no place there
    policy(allow("sts:AssumeRole", None)),
    policy(allow("kms:Encrypt", None, Principal="*")),
    policy(allow("sts:AssumeRole", None, Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody-of-this-name"})),
])
def test_malformed_trust(iam, trust):
    with refused("MalformedPolicyDocument"):
        iam.create_role(RoleName=unique("trust"), AssumeRolePolicyDocument=trust)


def test_assume_role(cloud, key):
    role = cloud.new_role(allow(["kms:Encrypt", "s3:ListAllMyBuckets"]))
    user = cloud.assumer()
    answer = cloud.boto("sts", user).assume_role(RoleArn=role.arn, RoleSessionName="field-work", DurationSeconds=900)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/field-work"
    assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role.id}:field-work", "Arn": arn}
    left = answer["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert 800 < left.total_seconds() < 1000
    session = Credentials.of(answer["Credentials"])
    assert re.fullmatch(r"ASIA[A-Z0-9]{16}", session.access_key_id)
    assert cloud.boto("sts", session).get_caller_identity() | {"ResponseMetadata": 0} == {
        "UserId": f"{role.id}:field-work", "Account": ACCOUNT, "Arn": arn, "ResponseMetadata": 0,
    }
    assert encrypts(cloud, session, key)
    cloud.boto("s3", session).list_buckets()
    with refused("AccessDenied"):
        cloud.boto("iam", session).list_users()


def test_session_token_is_part_of_the_credentials(cloud):
    role, user = cloud.new_role(), cloud.assumer()
    session = cloud.assume(role, user)
    other = cloud.assume(role, user)
    for token in (None, other.token, session.token[:-8] + "AAAAAAA="):
        with refused(("InvalidClientTokenId", "ExpiredToken", "InvalidToken", "SignatureDoesNotMatch")):
            cloud.boto("sts", Credentials(session.access_key_id, session.secret, token)).get_caller_identity()
    with refused(("InvalidClientTokenId", "SignatureDoesNotMatch")):
        cloud.boto("sts", Credentials(cloud.root.access_key_id, cloud.root.secret, session.token)).get_caller_identity()


def test_both_sides_must_agree(cloud):
    user, stranger = cloud.assumer(), cloud.new_user()
    role = cloud.new_role()
    with refused("AccessDenied", "sts:AssumeRole", stranger.arn, role.arn, status=403):
        cloud.assume(role, stranger)
    closed = cloud.new_role(trust=allow("sts:AssumeRole", None, Principal={"Service": "sagemaker.amazonaws.com"}))
    with refused("AccessDenied", "sts:AssumeRole"):
        cloud.assume(closed, user)
    named = cloud.new_role(trust=allow("sts:AssumeRole", None, Principal={"AWS": stranger.arn}))
    cloud.assume(named, stranger)  # named by the trust policy: that is enough in one account
    with refused("AccessDenied"):
        cloud.boto("sts", user).assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/never-made", RoleSessionName="session")


def test_external_id(cloud):
    user = cloud.assumer()
    role = cloud.new_role(trust=allow("sts:AssumeRole", None, Principal={"AWS": cloud.root_arn}, Condition={"StringEquals": {"sts:ExternalId": "plot-7"}}))
    for more in ({}, {"ExternalId": "plot-8"}):
        with refused("AccessDenied"):
            cloud.assume(role, user, **more)
    cloud.assume(role, user, ExternalId="plot-7")


def test_trust_change_counts_at_once(cloud, iam):
    user, role = cloud.assumer(), cloud.new_role()
    cloud.assume(role, user)
    iam.update_assume_role_policy(RoleName=role.name, PolicyDocument=policy(
        allow("sts:AssumeRole", None, Principal={"AWS": cloud.root_arn}), deny("sts:AssumeRole", None, Principal={"AWS": user.arn}),
    ))
    with refused("AccessDenied", "with an explicit deny in a resource-based policy"):
        cloud.assume(role, user)


def test_session_policy(cloud, key):
    role, user = cloud.new_role(allow("kms:*")), cloud.assumer()
    narrow = cloud.assume(role, user, Policy=policy(allow("kms:DescribeKey")))
    cloud.boto("kms", narrow).describe_key(KeyId=key)
    with refused("AccessDeniedException", "because no session policy allows the kms:Encrypt action"):
        cloud.boto("kms", narrow).encrypt(KeyId=key, Plaintext=b"x")
    wide = cloud.assume(role, user, Policy=policy(allow("*")))
    with refused("AccessDenied"):
        cloud.boto("iam", wide).list_users()  # a session policy never grants
    with refused("MalformedPolicyDocument"):
        cloud.assume(role, user, Policy="{")


@pytest.mark.parametrize("more", [{"DurationSeconds": 899}, {"DurationSeconds": 43201}, {"DurationSeconds": 3601}, {"RoleSessionName": "x"}, {"RoleSessionName": "with space"}])
def test_bounds_of_assume_role(cloud, more):
    role = cloud.new_role()
    sts = cloud.boto("sts", cloud.assumer(), parameter_validation=False)
    with refused("ValidationError", status=400):
        sts.assume_role(**{"RoleArn": role.arn, "RoleSessionName": "session"} | more)


def test_chained_roles(cloud):
    first, second = cloud.new_role(allow("sts:AssumeRole")), cloud.new_role()
    session = cloud.assume(first, cloud.assumer())
    chained = cloud.assume(second, session, session="second")
    assert cloud.boto("sts", chained).get_caller_identity()["Arn"].endswith(f":assumed-role/{second.name}/second")
    with refused("ValidationError"):
        cloud.assume(second, session, DurationSeconds=3601)


def test_role_policy_change_reaches_sessions(cloud, iam, key):
    role = cloud.new_role(allow("kms:Encrypt"))
    session = cloud.assume(role, cloud.assumer())
    assert encrypts(cloud, session, key)
    iam.put_role_policy(RoleName=role.name, PolicyName="inline", PolicyDocument=policy(deny("kms:Encrypt")))
    assert not encrypts(cloud, session, key)
    iam.delete_role_policy(RoleName=role.name, PolicyName="inline")
    assert not encrypts(cloud, session, key)
    arn = iam.create_policy(PolicyName=unique("role"), PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role.name, PolicyArn=arn)
    assert encrypts(cloud, session, key)


def test_deleted_role_ends_its_sessions(cloud, iam, key):
    role = cloud.new_role(allow("kms:Encrypt"))
    session = cloud.assume(role, cloud.assumer())
    assert encrypts(cloud, session, key)
    iam.delete_role_policy(RoleName=role.name, PolicyName="inline")
    iam.delete_role(RoleName=role.name)
    gone = ("InvalidClientTokenId", "UnrecognizedClientException", "ExpiredTokenException", "ExpiredToken", "AccessDeniedException", "AccessDenied")
    with refused(gone):
        cloud.boto("kms", session).encrypt(KeyId=key, Plaintext=b"x")
    # A role of the same name does not wake them.
    iam.create_role(RoleName=role.name, AssumeRolePolicyDocument=policy(allow("sts:AssumeRole", None, Principal={"AWS": cloud.root_arn})))
    iam.put_role_policy(RoleName=role.name, PolicyName="inline", PolicyDocument=policy(allow("kms:Encrypt")))
    with refused(gone):
        cloud.boto("kms", session).encrypt(KeyId=key, Plaintext=b"x")


def test_role_of_another_account(cloud, other):
    role = cloud.new_role(trust=allow("sts:AssumeRole", None, Principal={"AWS": other.root_arn}))
    session = other.assume(role, other.assumer())
    assert cloud.boto("sts", session).get_caller_identity()["Account"] == cloud.account
    with refused("AccessDenied"):
        other.assume(role, other.new_user())
    closed = cloud.new_role()
    with refused("AccessDenied"):
        other.assume(closed, other.assumer())


def test_accounts_are_apart(cloud, other):
    user = cloud.new_user()
    assert user.name not in [u["UserName"] for u in other.boto("iam").list_users()["Users"]]
    with refused("NoSuchEntity"):
        other.boto("iam").get_user(UserName=user.name)


# Identities


def test_caller_identity(cloud):
    user = cloud.new_user(deny("*"))
    got = cloud.boto("sts", user).get_caller_identity()  # allowed even so
    assert (got["UserId"], got["Account"], got["Arn"]) == (user.id, ACCOUNT, user.arn)
    assert cloud.cli("sts", "get-caller-identity", credentials=user)["Arn"] == user.arn


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_sts_and_iam_in_other_regions(cloud, region):
    assert cloud.boto("sts", region=region).get_caller_identity()["Account"] == ACCOUNT
    assert "Users" in cloud.boto("iam", region=region).list_users()


def fetch(url, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_presigned_caller_identity(cloud):
    """What Kubernetes and Vault use as a token of who one is."""
    user = cloud.new_user()
    for method in ("GET", "POST"):
        url = cloud.boto("sts", user).generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod=method)
        assert url.startswith(cloud.url)
        status, body = fetch(url, method)
        assert status == 200 and f"<Arn>{user.arn}</Arn>" in body, body
    status, body = fetch(url.replace("GetCallerIdentity", "GetSessionToken"), "POST")
    assert status == 403 and "SignatureDoesNotMatch" in body, body
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    query["X-Amz-Signature"] = "0" * 64
    status, body = fetch(parts._replace(query=urllib.parse.urlencode(query)).geturl(), "POST")
    assert status == 403 and "SignatureDoesNotMatch" in body, body


def test_access_key_info(cloud):
    user = cloud.new_user()
    assert cloud.boto("sts").get_access_key_info(AccessKeyId=user.credentials.access_key_id)["Account"] == ACCOUNT


def test_unknown_operation(cloud):
    with refused("NotImplementedException", "ListOrganizationsFeatures"):
        cloud.boto("iam").list_organizations_features()
