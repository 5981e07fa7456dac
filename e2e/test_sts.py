"""AWS STS in full: sessions of users, federated users, messages about denials, presigned identities."""

import datetime
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from harness import ACCOUNT, REGION, Credentials, allow, deny, policy, refused, unique

CLOSED = "InvalidClientTokenId"
INVALID = "The security token included in the request is invalid"


@pytest.fixture(scope="module")
def key(cloud):
    return cloud.new_key()


@pytest.fixture(scope="module")
def admin(cloud):
    return cloud.new_user(allow("*"), prefix="admin")


def encrypts(cloud, who, key):
    """Whether the principal may use the key now."""
    try:
        cloud.boto("kms", who).encrypt(KeyId=key, Plaintext=b"x")
    except cloud.boto("kms", who).exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDeniedException", e
        return False
    return True


def lasts(credentials):
    """Seconds until credentials of an answer end."""
    return (credentials["Expiration"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def own(cloud, who=None, **more):
    return Credentials.of(cloud.boto("sts", who).get_session_token(**more)["Credentials"])


def federated(cloud, who=None, name="sue", **more):
    return Credentials.of(cloud.boto("sts", who).get_federation_token(Name=name, **more)["Credentials"])


# GetSessionToken


def test_session_of_a_user(cloud, key):
    user = cloud.new_user(allow("kms:Encrypt"))
    answer = cloud.boto("sts", user).get_session_token()["Credentials"]
    assert re.fullmatch(r"ASIA[A-Z0-9]{16}", answer["AccessKeyId"]) and 43190 < lasts(answer) <= 43200
    session = Credentials.of(answer)
    me = cloud.boto("sts", session).get_caller_identity()
    assert (me["Arn"], me["UserId"], me["Account"]) == (user.arn, user.id, ACCOUNT)
    assert encrypts(cloud, session, key)
    cloud.boto("iam").delete_user_policy(UserName=user.name, PolicyName="inline")
    assert not encrypts(cloud, session, key)  # the user's policies, as they are now


def test_session_of_the_root_user(cloud):
    answer = cloud.boto("sts").get_session_token(DurationSeconds=129600)["Credentials"]
    assert 3590 < lasts(answer) <= 3600  # cut to an hour
    session = Credentials.of(answer)
    assert cloud.boto("sts", session).get_caller_identity()["Arn"] == cloud.root_arn
    cloud.boto("kms", session).list_keys()
    with refused(CLOSED, INVALID, status=403):
        cloud.boto("iam", session).list_users()


def test_session_through_the_cli(cloud, admin):
    made = cloud.cli("sts", "get-session-token", "--duration-seconds", "900", credentials=admin)["Credentials"]
    session = Credentials.of(made)
    assert cloud.cli("sts", "get-caller-identity", credentials=session)["Arn"] == admin.arn
    assert "Keys" in cloud.cli("kms", "list-keys", credentials=session)
    with refused(CLOSED, INVALID):
        cloud.cli("iam", "list-users", credentials=session)


@pytest.mark.parametrize("seconds", [899, 129601])
def test_bounds_of_sessions(cloud, admin, seconds):
    sts = cloud.boto("sts", admin, parameter_validation=False)
    with refused("ValidationError", status=400):
        sts.get_session_token(DurationSeconds=seconds)
    with refused("ValidationError", status=400):
        sts.get_federation_token(Name="sue", DurationSeconds=seconds)


def test_get_session_token_needs_no_permission(cloud):
    user = cloud.new_user(deny("*"))
    assert own(cloud, user).token
    with refused("AccessDenied", "MFA"):
        own(cloud, user, SerialNumber=f"arn:aws:iam::{ACCOUNT}:mfa/{user.name}", TokenCode="123456")


def test_sessions_make_no_sessions(cloud, admin):
    role = cloud.new_role(allow("*"))
    for session in (own(cloud, admin), federated(cloud, admin, Policy=policy(allow("*"))), cloud.assume(role, admin)):
        with refused("AccessDenied", "Cannot call GetSessionToken with session credentials", status=403):
            own(cloud, session)
        with refused("AccessDenied", "Cannot call GetFederationToken with session credentials", status=403):
            federated(cloud, session)


def test_what_is_closed_to_sessions(cloud, admin):
    role = cloud.new_role()
    session, sue = own(cloud, admin), federated(cloud, admin, Policy=policy(allow("*")))
    for who in (session, sue):
        with refused(CLOSED, INVALID, status=403):
            cloud.boto("iam", who).get_user(UserName=admin.name)
        with refused(CLOSED, INVALID, status=403):
            cloud.boto("sts", who).get_access_key_info(AccessKeyId=admin.credentials.access_key_id)
        assert cloud.boto("sts", who).get_caller_identity()["Account"] == ACCOUNT
    assert cloud.assume(role, session, DurationSeconds=3600).token
    with refused(CLOSED, INVALID):
        cloud.assume(role, sue)


def test_deleted_user_ends_sessions(cloud, key):
    iam, user = cloud.boto("iam"), cloud.new_user(allow("*"))
    sessions = own(cloud, user), federated(cloud, user, Policy=policy(allow("*")))
    assert all(encrypts(cloud, s, key) for s in sessions)
    iam.update_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id, Status="Inactive")
    with refused(CLOSED):
        own(cloud, user)
    assert all(encrypts(cloud, s, key) for s in sessions)  # they outlive the access key
    iam.delete_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id)
    iam.delete_user_policy(UserName=user.name, PolicyName="inline")
    iam.delete_user(UserName=user.name)
    for session in sessions:
        with refused("UnrecognizedClientException"):
            cloud.boto("kms", session).encrypt(KeyId=key, Plaintext=b"x")
        with refused(CLOSED):
            cloud.boto("sts", session).get_caller_identity()
    iam.create_user(UserName=user.name)
    for session in sessions:
        with refused(CLOSED):
            cloud.boto("sts", session).get_caller_identity()


@pytest.mark.parametrize("kind", ["own", "federated", "role"])
def test_revoked_older_sessions(cloud, key, kind):
    """The policy that the console's "Revoke active sessions" attaches."""
    iam, user, role = cloud.boto("iam"), cloud.new_user(allow("*")), cloud.new_role(allow("*"))

    def session():
        if kind == "role":
            return cloud.assume(role, user)
        return own(cloud, user) if kind == "own" else federated(cloud, user, Policy=policy(allow("*")))

    old = session()
    assert encrypts(cloud, old, key)
    time.sleep(1.1)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = policy(deny(["*"], ["*"], Condition={"DateLessThan": {"aws:TokenIssueTime": now}}))
    if kind == "role":
        iam.put_role_policy(RoleName=role.name, PolicyName="AWSRevokeOlderSessions", PolicyDocument=document)
    else:
        iam.put_user_policy(UserName=user.name, PolicyName="AWSRevokeOlderSessions", PolicyDocument=document)
    assert not encrypts(cloud, old, key)
    assert encrypts(cloud, session(), key)


# GetFederationToken


def test_federated_user(cloud, key, admin):
    name = unique("sue")
    answer = cloud.boto("sts", admin).get_federation_token(
        Name=name, DurationSeconds=900, Policy=policy(allow("kms:Encrypt", key)), Tags=[{"Key": "team", "Value": "crops"}],
        PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AmazonS3FullAccess"}],
    )
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"
    assert answer["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:{name}", "Arn": arn}
    assert 0 < answer["PackedPolicySize"] <= 100 and 890 < lasts(answer["Credentials"]) <= 900
    sue = Credentials.of(answer["Credentials"])
    me = cloud.boto("sts", sue).get_caller_identity()
    assert (me["Arn"], me["UserId"], me["Account"]) == (arn, f"{ACCOUNT}:{name}", ACCOUNT)
    assert encrypts(cloud, sue, key)
    cloud.boto("s3", sue).list_buckets()
    with refused("AccessDeniedException", "because no session policy allows the kms:ListKeys action"):
        cloud.boto("kms", sue).list_keys()


def test_federation_is_checked(cloud):
    user = cloud.new_user(allow("sts:GetFederationToken", f"arn:aws:sts::{ACCOUNT}:federated-user/sue"))
    federated(cloud, user)
    with refused("AccessDenied", "sts:GetFederationToken", "federated-user/tom", status=403):
        federated(cloud, user, name="tom")
    with refused("AccessDenied", "sts:TagSession", "federated-user/sue", status=403):
        federated(cloud, user, Tags=[{"Key": "a", "Value": "1"}])
    with refused("MalformedPolicyDocument"):
        federated(cloud, user, Policy="{")
    with refused("ValidationError"):
        federated(cloud, user, PolicyArns=[{"arn": f"arn:aws:iam::{ACCOUNT}:policy/never-made"}])
    for name in ("x", "with space", "n" * 33):
        with refused("ValidationError", status=400):
            cloud.boto("sts", user, parameter_validation=False).get_federation_token(Name=name)


def test_federated_user_in_resource_policies(cloud, admin):
    name = unique("sue")
    sue = federated(cloud, admin, name=name)  # without a session policy
    named = cloud.new_key(allow("kms:Encrypt", "*", Principal={"AWS": f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"}))
    assert encrypts(cloud, sue, named)
    assert not encrypts(cloud, sue, cloud.new_key())
    bucket = cloud.new_bucket()
    with refused("AccessDenied"):
        cloud.boto("s3", sue).put_object(Bucket=bucket, Key="k", Body=b"x")
    cloud.boto("s3").put_bucket_policy(Bucket=bucket, Policy=policy(
        allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"}),
    ))
    cloud.boto("s3", sue).put_object(Bucket=bucket, Key="k", Body=b"x")


def test_federated_user_through_the_cli(cloud, admin):
    made = cloud.cli(
        "sts", "get-federation-token", "--name", "sue", "--policy", policy(allow("kms:*")), "--tags", "Key=team,Value=crops",
        credentials=admin,
    )
    sue = Credentials.of(made["Credentials"])
    assert cloud.cli("sts", "get-caller-identity", credentials=sue)["UserId"] == f"{ACCOUNT}:sue"
    assert "Keys" in cloud.cli("kms", "list-keys", credentials=sue)


# Records


def test_records_of_sessions(cloud):
    user = cloud.new_user(allow("*"))
    session, sue = own(cloud, user), federated(cloud, user, Policy=policy(allow("kms:ListKeys")))
    for who in (session, sue):
        cloud.boto("kms", who).list_keys()
    made = {r["eventName"]: r for r in cloud.records("AccessKeyId", user.credentials.access_key_id)}
    assert set(made["GetSessionToken"]["responseElements"]["credentials"]) == {"accessKeyId", "expiration"}
    assert made["GetFederationToken"]["responseElements"]["federatedUser"] == {
        "federatedUserId": f"{ACCOUNT}:sue", "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/sue",
    }
    assert made["GetFederationToken"]["requestParameters"]["name"] == "sue"
    [used] = [r for r in cloud.records("AccessKeyId", session.access_key_id) if r["eventName"] == "ListKeys"]
    who = used["userIdentity"]
    assert (who["type"], who["arn"], who["userName"]) == ("IAMUser", user.arn, user.name)
    assert who["sessionContext"]["attributes"]["mfaAuthenticated"] == "false" and "sessionIssuer" not in who["sessionContext"]
    [used] = [r for r in cloud.records("AccessKeyId", sue.access_key_id) if r["eventName"] == "ListKeys"]
    who = used["userIdentity"]
    assert (who["type"], who["principalId"]) == ("FederatedUser", f"{ACCOUNT}:sue")
    assert who["sessionContext"]["sessionIssuer"] == {
        "type": "IAMUser", "principalId": user.id, "arn": user.arn, "accountId": ACCOUNT, "userName": user.name,
    }
    text = json.dumps([*made.values(), used])
    assert all(secret not in text for c in (session, sue) for secret in (c.secret, c.token))


def test_tags_and_source_identity_along_a_chain(cloud, key):
    session_actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    trust = allow(session_actions, None, Principal={"AWS": cloud.root_arn})
    user = cloud.new_user(allow("sts:*"))
    first = cloud.new_role(allow("sts:*"), trust=trust)
    second = cloud.new_role(allow("kms:Encrypt", Condition={"StringEquals": {
        "aws:PrincipalTag/team": "crops", "aws:SourceIdentity": user.name,
    }, "Null": {"aws:PrincipalTag/stage": "true"}}), trust=trust)
    one = cloud.assume(
        first, user, SourceIdentity=user.name, TransitiveTagKeys=["team"],
        Tags=[{"Key": "team", "Value": "crops"}, {"Key": "stage", "Value": "test"}],
    )
    answer = cloud.boto("sts", one).assume_role(RoleArn=second.arn, RoleSessionName="two")
    assert answer["SourceIdentity"] == user.name
    two = Credentials.of(answer["Credentials"])
    assert encrypts(cloud, two, key)
    with refused("AccessDenied"):
        cloud.assume(second, one, SourceIdentity="somebody")
    with refused("ValidationError"):
        cloud.assume(second, one, Tags=[{"Key": "Team", "Value": "cattle"}])
    [chained] = [r for r in cloud.records("AccessKeyId", one.access_key_id) if r["eventName"] == "AssumeRole" and "errorCode" not in r]
    assert chained["requestParameters"]["incomingTransitiveTags"] == {"team": "crops"}
    assert chained["userIdentity"]["sessionContext"]["sourceIdentity"] == user.name


@pytest.mark.parametrize("tags", [
    [{"Key": f"k{i}", "Value": "v"} for i in range(51)], [{"Key": "k" * 129, "Value": "v"}], [{"Key": "k", "Value": "v" * 257}],
    [{"Key": "", "Value": "v"}], [{"Key": "k!", "Value": "v"}], [{"Key": "aws:k", "Value": "v"}], [{"Key": "k", "Value": "v"}, {"Key": "K", "Value": "v"}],
], ids=["51", "long key", "long value", "no key", "character", "reserved", "twice"])
def test_bounds_of_session_tags(cloud, admin, tags):
    role = cloud.new_role(trust=allow(["sts:AssumeRole", "sts:TagSession"], None, Principal={"AWS": cloud.root_arn}))
    sts = cloud.boto("sts", admin, parameter_validation=False)
    with refused("ValidationError", status=400):
        sts.assume_role(RoleArn=role.arn, RoleSessionName="session", Tags=tags)
    with refused("ValidationError", status=400):
        sts.get_federation_token(Name="sue", Tags=tags)


def test_fifty_tags_fit(cloud, admin):
    tags = [{"Key": f"key-{i}", "Value": f"value {i}"} for i in range(50)]
    answer = cloud.boto("sts", admin).get_federation_token(Name="sue", Tags=tags)
    assert 0 < answer["PackedPolicySize"] < 100


# DecodeAuthorizationMessage


def denied_message(cloud, who, key):
    """What the server gives a denied caller who asks for an explanation."""
    kms = cloud.boto("kms", who)

    def ask(request, **_):
        request.headers["X-Sagekeep-Explain"] = "1"

    kms.meta.events.register("before-sign.kms.Encrypt", ask, unique_id="explain")
    try:
        with refused("AccessDeniedException") as caught:
            kms.encrypt(KeyId=key, Plaintext=b"x")
    finally:
        kms.meta.events.unregister("before-sign.kms.Encrypt", unique_id="explain")
    found = caught.response["ResponseMetadata"]["HTTPHeaders"]
    return found["x-sagekeep-authorization-message"]


def test_authorization_message(cloud, other, key):
    user = cloud.new_user()
    message = denied_message(cloud, user, key)
    assert len(message) <= 10240
    decoded = json.loads(cloud.boto("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    assert decoded["allowed"] is False and decoded["explicitDeny"] is False
    assert decoded["context"]["principal"] == {"id": user.id, "arn": user.arn}
    assert (decoded["context"]["action"], decoded["context"]["resource"]) == ("kms:Encrypt", key)
    conditions = {c["key"]: [v["value"] for v in c["values"]["items"]] for c in decoded["context"]["conditions"]["items"]}
    assert conditions["aws:requestedregion"] == [REGION] and conditions["aws:username"] == [user.name]
    cli = cloud.cli("sts", "decode-authorization-message", "--encoded-message", message)
    assert json.loads(cli["DecodedMessage"]) == decoded
    with refused("AccessDenied", "sts:DecodeAuthorizationMessage", status=403):
        cloud.boto("sts", user).decode_authorization_message(EncodedMessage=message)
    for wrong in (message[:-1], "x" + message[1:], "not a message"):
        with refused("InvalidAuthorizationMessageException", status=400):
            cloud.boto("sts").decode_authorization_message(EncodedMessage=wrong)
    with refused("InvalidAuthorizationMessageException", status=400):
        other.boto("sts").decode_authorization_message(EncodedMessage=message)


def test_message_names_the_deny(cloud, key):
    user = cloud.new_user(deny("kms:*", Sid="NoKeys"))
    message = denied_message(cloud, user, key)
    decoded = json.loads(cloud.boto("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    assert decoded["explicitDeny"] is True
    [deny_statement] = decoded["matchedStatements"]["items"]
    assert (deny_statement["statementId"], deny_statement["effect"]) == ("NoKeys", "DENY")


# Identities


def presigned(cloud, credentials, expires=60, **headers):
    """A presigned GetCallerIdentity with more signed headers, as Kubernetes clients make it."""
    request = botocore.awsrequest.AWSRequest(
        method="GET", url=f"{cloud.url}/?Action=GetCallerIdentity&Version=2011-06-15", headers=headers,
    )
    keys = botocore.credentials.Credentials(credentials.access_key_id, credentials.secret, credentials.token)
    botocore.auth.SigV4QueryAuth(keys, "sts", REGION, expires=expires).add_auth(request)
    return request.url


def fetch(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


@pytest.mark.parametrize("kind", ["user", "root", "session", "federated", "role"])
def test_kubernetes_token(cloud, kind):
    user = cloud.new_user(deny("*") if kind == "user" else allow("*"))
    role = cloud.new_role(deny("*"))
    who, arn = {
        "user": lambda: (user.credentials, user.arn),
        "root": lambda: (cloud.root, cloud.root_arn),
        "session": lambda: (own(cloud, user), user.arn),
        "federated": lambda: (federated(cloud, user), f"arn:aws:sts::{ACCOUNT}:federated-user/sue"),
        "role": lambda: (cloud.assume(role, user), f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/session"),
    }[kind]()
    url = presigned(cloud, who, **{"x-k8s-aws-id": "cluster-7"})
    assert "x-k8s-aws-id" in urllib.parse.unquote(url)
    status, body = fetch(url, **{"x-k8s-aws-id": "cluster-7"})
    assert status == 200 and f"<Arn>{arn}</Arn>" in body, body
    for headers in ({}, {"x-k8s-aws-id": "cluster-8"}):  # bound to its cluster
        status, body = fetch(url, **headers)
        assert status == 403 and "SignatureDoesNotMatch" in body, body


def test_access_key_info_of_a_session(cloud, other, admin):
    session = own(cloud, admin)
    assert other.boto("sts").get_access_key_info(AccessKeyId=session.access_key_id)["Account"] == ACCOUNT


@pytest.mark.parametrize("operation", ["AssumeRoot", "GetDelegatedAccessToken", "GetWebIdentityToken", "AssumeRoleWithSAML"])
def test_operations_that_are_not_there(cloud, operation):
    form = urllib.parse.urlencode({"Action": operation, "Version": "2011-06-15"}).encode()
    request = botocore.awsrequest.AWSRequest(
        method="POST", url=cloud.url + "/", data=form, headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    keys = botocore.credentials.Credentials(cloud.root.access_key_id, cloud.root.secret)
    botocore.auth.SigV4Auth(keys, "sts", REGION).add_auth(request)
    sent = urllib.request.Request(request.url, data=form, headers=dict(request.headers), method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(sent, timeout=10)
    body = caught.value.read().decode()
    assert caught.value.code == 501 and "NotImplemented" in body and operation in body, body
