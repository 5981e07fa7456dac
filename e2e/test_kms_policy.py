"""Key policies, and what IAM adds to them. Every change counts from its answer on."""

import json

import pytest

from harness import ACCOUNT, REGION, Credentials, allow, deny, policy, refused


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


def put(kms, key, *statements, **more):
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(*statements), **more)


def account(cloud, action="kms:*", **more):
    return allow(action, "*", Sid="Account", Principal={"AWS": cloud.root_arn}, **more)


def test_default_policy_delegates_to_iam(cloud, kms):
    key = cloud.new_key()
    document = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    assert document["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert document["Statement"][0]["Action"] == "kms:*"
    permitted, bare = cloud.new_user(allow("kms:Encrypt", key)), cloud.new_user()
    cloud.boto("kms", permitted).encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException", status=400) as got:
        cloud.boto("kms", bare).encrypt(KeyId=key, Plaintext=b"x")
    assert got.message == (
        f"User: {bare.arn} is not authorized to perform: kms:Encrypt on resource: {key}"
        " because no identity-based policy allows the kms:Encrypt action"
    )
    with refused("AccessDeniedException", "kms:Decrypt"):
        cloud.boto("kms", permitted).decrypt(CiphertextBlob=kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"])


def test_policy_alone_lets_a_user_in_and_out(cloud, kms):
    key, user = cloud.new_key(), cloud.new_user()
    as_user = cloud.boto("kms", user)
    with refused("AccessDeniedException"):
        as_user.generate_data_key(KeyId=key, KeySpec="AES_256")
    put(kms, key, account(cloud), allow("kms:GenerateDataKey", Principal={"AWS": user.arn}))
    as_user.generate_data_key(KeyId=key, KeySpec="AES_256")
    put(kms, key, account(cloud))
    with refused("AccessDeniedException"):
        as_user.generate_data_key(KeyId=key, KeySpec="AES_256")


def test_without_the_account_iam_is_worthless(cloud, kms):
    user, administrator = cloud.new_user(allow("kms:*")), cloud.new_user(allow("kms:*"))
    key = cloud.boto("kms", administrator).create_key(Policy=policy(allow("kms:*", Principal={"AWS": administrator.arn})))["KeyMetadata"]["Arn"]
    for caller in (user, cloud.root):
        with refused("AccessDeniedException", "because no resource-based policy allows the kms:Encrypt action"):
            cloud.boto("kms", caller).encrypt(KeyId=key, Plaintext=b"x")
    cloud.boto("kms", administrator).encrypt(KeyId=key, Plaintext=b"x")


def test_partial_delegation(cloud, kms):
    key = cloud.new_key()
    user = cloud.new_user(allow("kms:*"))
    put(kms, key, account(cloud, ["kms:Encrypt", "kms:PutKeyPolicy"]))
    cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException"):
        cloud.boto("kms", user).generate_data_key(KeyId=key, KeySpec="AES_256")


@pytest.mark.parametrize("place, text", [
    ("key", "with an explicit deny in a resource-based policy"),
    ("iam", "with an explicit deny in an identity-based policy"),
])
def test_deny_wins(cloud, kms, place, text):
    key = cloud.new_key()
    user = cloud.new_user(allow("kms:*"), *([deny("kms:Decrypt")] if place == "iam" else []))
    if place == "key":
        put(kms, key, account(cloud), deny("kms:Decrypt", Principal={"AWS": user.arn}))
    as_user = cloud.boto("kms", user)
    blob = as_user.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException", text, "kms:Decrypt"):
        as_user.decrypt(CiphertextBlob=blob)
    # A grant does not help against a Deny.
    kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"])
    with refused("AccessDeniedException", text):
        as_user.decrypt(CiphertextBlob=blob)


def test_lockout_is_prevented(cloud, kms):
    key, user = cloud.new_key(), cloud.new_user()
    text = "The new key policy will not allow you to update the key policy in the future."
    document = policy(allow("kms:Encrypt", Principal={"AWS": user.arn}))
    with refused("MalformedPolicyDocumentException", text):
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document)
    with refused("MalformedPolicyDocumentException", text):
        kms.create_key(Policy=document)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document, BypassPolicyLockoutSafetyCheck=True)
    with refused("AccessDeniedException"):
        kms.describe_key(KeyId=key)


def test_lockout_check_knows_the_parameters_of_the_next_change(cloud, kms):
    key = cloud.new_key()
    rest = account(cloud, ["kms:Describe*", "kms:Get*"])
    changes = {"Principal": {"AWS": cloud.root_arn}}
    with refused("MalformedPolicyDocumentException", "will not allow you to update the key policy in the future"):
        put(kms, key, rest, allow("kms:PutKeyPolicy", **changes, Condition={"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}))
    for _ in range(2):
        put(kms, key, rest, allow("kms:PutKeyPolicy", **changes, Condition={"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}))


@pytest.mark.parametrize("condition, what", [("kms:EncryptionContext:a", "encryption context"), ("aws:RequestTag/a", "tag")])
def test_overly_permissive_condition(cloud, kms, condition, what):
    statement = allow("kms:*", Principal={"AWS": cloud.root_arn}, Condition={"ForAllValues:StringEquals": {condition: "b"}})
    text = (
        "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified"
        f" {what} or with an unspecified {what}. To fix, remove ForAllValues."
    )
    with refused("MalformedPolicyDocumentException", text):
        put(kms, cloud.new_key(), account(cloud), statement)
    with refused("MalformedPolicyDocumentException", text):
        kms.create_key(Policy=policy(account(cloud), statement))


def test_limits_bind_defaults(cloud, kms):
    key = cloud.new_key()
    user = cloud.boto("kms", cloud.new_user(
        allow("kms:*"),
        deny("kms:EnableKeyRotation", Condition={"NumericGreaterThan": {"kms:RotationPeriodInDays": "180"}}),
        deny("kms:ScheduleKeyDeletion", Condition={"NumericGreaterThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": "14"}}),
    ))
    with refused("AccessDeniedException", "explicit deny"):
        user.enable_key_rotation(KeyId=key)
    user.enable_key_rotation(KeyId=key, RotationPeriodInDays=180)
    with refused("AccessDeniedException", "explicit deny"):
        user.schedule_key_deletion(KeyId=key)
    kms.enable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 365
    user.schedule_key_deletion(KeyId=key, PendingWindowInDays=14)


@pytest.mark.parametrize("document", [
    "not json", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}',
    '{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps","Principal":"*","Action":"kms:*","Resource":"*"}]}',
    '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}',
    policy(allow("kms:*", Principal="*", Condition={"StringGuess": {"aws:PrincipalArn": "x"}})),
    policy(allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody-of-this-name"})),
])
def test_malformed_policies(cloud, kms, document):
    key = cloud.new_key()
    before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document, BypassPolicyLockoutSafetyCheck=True)
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == before


def test_invalid_principal_text(cloud, kms):
    with refused("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."):
        put(kms, cloud.new_key(), account(cloud), allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/never-made"}))


def test_policy_size(cloud, kms):
    with refused(("LimitExceededException", "MalformedPolicyDocumentException", "ValidationException")):
        put(kms, cloud.new_key(), account(cloud), allow("kms:Encrypt", Sid="S" * 33000, Principal={"AWS": cloud.root_arn}))


def test_encryption_context_conditions(cloud, kms):
    user = cloud.new_user()
    key = cloud.new_key(allow(
        ["kms:Encrypt", "kms:Decrypt"], Principal={"AWS": user.arn},
        Condition={"StringEquals": {"kms:EncryptionContext:project": "fields"}, "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["project", "plot"]}},
    ))
    as_user = cloud.boto("kms", user)
    blob = as_user.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"project": "fields", "plot": "7"})["CiphertextBlob"]
    as_user.decrypt(CiphertextBlob=blob, EncryptionContext={"project": "fields", "plot": "7"})
    for context in ({}, {"project": "cattle"}, {"project": "fields", "owner": "x"}):
        with refused("AccessDeniedException", "kms:Encrypt"):
            as_user.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)


def test_via_service_is_absent_on_direct_calls(cloud, kms):
    user = cloud.new_user()
    key = cloud.new_key(allow("kms:*", Principal={"AWS": user.arn}, Condition={"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}))
    with refused("AccessDeniedException"):
        cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")


def test_caller_account_and_request_alias(cloud, kms):
    user = cloud.new_user()
    key = cloud.new_key(
        allow("kms:Encrypt", Principal={"AWS": "*"}, Condition={"StringEquals": {"kms:CallerAccount": ACCOUNT}}),
        allow("kms:DescribeKey", Principal={"AWS": user.arn}, Condition={"StringEquals": {"kms:RequestAlias": "alias/by-name-only"}}),
    )
    kms.create_alias(AliasName="alias/by-name-only", TargetKeyId=key)
    as_user = cloud.boto("kms", user)
    as_user.encrypt(KeyId=key, Plaintext=b"x")
    as_user.describe_key(KeyId="alias/by-name-only")
    with refused("AccessDeniedException"):
        as_user.describe_key(KeyId=key)


def test_alias_needs_both_sides(cloud, kms):
    key = cloud.new_key()
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/both-*"
    both = cloud.new_user(allow(["kms:CreateAlias", "kms:DeleteAlias"], [key, alias]))
    key_only, alias_only = cloud.new_user(allow("kms:CreateAlias", key)), cloud.new_user(allow("kms:CreateAlias", alias))
    for user in (key_only, alias_only):
        with refused("AccessDeniedException", "kms:CreateAlias"):
            cloud.boto("kms", user).create_alias(AliasName="alias/both-a", TargetKeyId=key)
    cloud.boto("kms", both).create_alias(AliasName="alias/both-a", TargetKeyId=key)
    cloud.boto("kms", both).delete_alias(AliasName="alias/both-a")


def test_re_encrypt_asks_for_from_and_to(cloud, kms):
    a, b = cloud.new_key(), cloud.new_key()
    blob = kms.encrypt(KeyId=a, Plaintext=b"x")["CiphertextBlob"]
    whole = cloud.new_user(allow("kms:ReEncryptFrom", a), allow("kms:ReEncryptTo", b))
    cloud.boto("kms", whole).re_encrypt(CiphertextBlob=blob, DestinationKeyId=b)
    half = cloud.new_user(allow("kms:ReEncrypt*", a))
    with refused("AccessDeniedException", "kms:ReEncryptTo", b):
        cloud.boto("kms", half).re_encrypt(CiphertextBlob=blob, DestinationKeyId=b)


def test_permissions_boundary_limits(cloud, kms):
    iam = cloud.boto("iam")
    boundary = iam.create_policy(PolicyName="only-encrypt-boundary", PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    key, user = cloud.new_key(), cloud.new_user(allow("kms:*"))
    as_user = cloud.boto("kms", user)
    as_user.describe_key(KeyId=key)
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=boundary)
    as_user.encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException", "because no permissions boundary allows the kms:DescribeKey action"):
        as_user.describe_key(KeyId=key)
    iam.delete_user_permissions_boundary(UserName=user.name)
    as_user.describe_key(KeyId=key)


def test_deleted_principal_never_comes_back(cloud, kms):
    """A user of the same name is another principal: the policy means the old one's unique id."""
    iam, user = cloud.boto("iam"), cloud.new_user()
    key = cloud.new_key(allow("kms:Encrypt", Principal={"AWS": user.arn}))
    cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    iam.delete_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id)
    iam.delete_user(UserName=user.name)
    iam.create_user(UserName=user.name)
    fresh = Credentials.of(iam.create_access_key(UserName=user.name)["AccessKey"])
    with refused("AccessDeniedException"):
        cloud.boto("kms", fresh).encrypt(KeyId=key, Plaintext=b"x")
