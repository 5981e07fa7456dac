"""Grants: created, narrowed, listed, retired and revoked, used by users and by a role's session."""

import re

import pytest

from harness import allow, policy, refused, unique


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture(scope="module")
def role(cloud):
    """A role without any permission of its own."""
    return cloud.new_role()


@pytest.fixture(scope="module")
def session(cloud, role):
    return cloud.boto("kms", cloud.assume(role, cloud.assumer()))


def test_grant_to_a_role_opens_the_key_to_its_sessions(cloud, kms, role, session):
    key = cloud.new_key()
    context = {"project": "fields", "plot": "7"}
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    with refused("AccessDeniedException", "kms:Decrypt", f":assumed-role/{role.name}/session"):
        session.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    made = kms.create_grant(
        KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt", "DescribeKey"],
        Constraints={"EncryptionContextSubset": {"project": "fields"}}, Name="reader",
    )
    assert re.fullmatch(r"[0-9a-f]{64}", made["GrantId"]) and made["GrantToken"]
    assert session.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    session.describe_key(KeyId=key)  # constraints do not count here
    other = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"project": "cattle"})["CiphertextBlob"]
    with refused("AccessDeniedException"):
        session.decrypt(CiphertextBlob=other, EncryptionContext={"project": "cattle"})
    with refused("AccessDeniedException", "kms:Encrypt"):
        session.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)
    kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    with refused("AccessDeniedException"):
        session.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    with refused("AccessDeniedException"):
        session.decrypt(CiphertextBlob=blob, EncryptionContext=context, GrantTokens=[made["GrantToken"]])
    assert kms.list_grants(KeyId=key)["Grants"] == []


def test_context_equals(cloud, kms, role, session):
    key = cloud.new_key()
    kms.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["GenerateDataKey"], Constraints={"EncryptionContextEquals": {"a": "1", "b": "2"}})
    session.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"b": "2", "a": "1"})
    for context in ({}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "3"}, {"A": "1", "b": "2"}):
        with refused("AccessDeniedException"):
            session.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)


def test_listing(cloud, kms, role):
    key, user = cloud.new_key(), cloud.new_user()
    made = kms.create_grant(
        KeyId=key, GranteePrincipal=role.arn, RetiringPrincipal=user.arn, Operations=["Decrypt", "Encrypt"], Name="both",
        Constraints={"EncryptionContextSubset": {"a": "1"}},
    )
    kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["DescribeKey"])
    found = kms.list_grants(KeyId=key, GrantId=made["GrantId"])["Grants"]
    assert len(found) == 1
    g = found[0]
    want = {
        "KeyId": key, "GrantId": made["GrantId"], "Name": "both", "GranteePrincipal": role.arn, "RetiringPrincipal": user.arn,
        "IssuingAccount": cloud.root_arn, "Constraints": {"EncryptionContextSubset": {"a": "1"}},
    }
    assert {k: g.get(k) for k in want} == want
    assert sorted(g["Operations"]) == ["Decrypt", "Encrypt"] and g["CreationDate"]
    assert "GrantToken" not in g
    assert [x["GranteePrincipal"] for x in kms.list_grants(KeyId=key, GranteePrincipal=user.arn)["Grants"]] == [user.arn]
    retirable = kms.list_retirable_grants(RetiringPrincipal=user.arn)["Grants"]
    assert [x["GrantId"] for x in retirable] == [made["GrantId"]]


def test_pages(cloud, kms, role):
    key = cloud.new_key()
    made = {kms.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt"])["GrantId"] for _ in range(7)}
    pages = list(kms.get_paginator("list_grants").paginate(KeyId=key, PaginationConfig={"PageSize": 3}))
    assert [len(p["Grants"]) for p in pages] == [3, 3, 1]
    assert {g["GrantId"] for p in pages for g in p["Grants"]} == made


def test_name_is_an_idempotency_key(cloud, kms, role):
    a, b, name = cloud.new_key(), cloud.new_key(), unique("once")
    request = dict(GranteePrincipal=role.arn, Operations=["Decrypt"], Name=name)
    first = kms.create_grant(KeyId=a, **request)
    again = kms.create_grant(KeyId=a, **request)
    assert again["GrantId"] == first["GrantId"] and again["GrantToken"] != first["GrantToken"]
    assert len(kms.list_grants(KeyId=a)["Grants"]) == 1
    assert kms.create_grant(KeyId=b, **request)["GrantId"] != first["GrantId"]


def test_retiring(cloud, kms, role):
    key, user, stranger = cloud.new_key(), cloud.new_user(), cloud.new_user()
    grant = dict(KeyId=key, GranteePrincipal=role.arn, RetiringPrincipal=user.arn, Operations=["Decrypt"])
    by_token, by_id = kms.create_grant(**grant), kms.create_grant(**grant)
    with refused("AccessDeniedException"):
        cloud.boto("kms", stranger).retire_grant(GrantToken=by_token["GrantToken"])
    as_user = cloud.boto("kms", user)
    as_user.retire_grant(GrantToken=by_token["GrantToken"])
    as_user.retire_grant(KeyId=key, GrantId=by_id["GrantId"])
    assert kms.list_grants(KeyId=key)["Grants"] == []
    with refused(("NotFoundException", "InvalidGrantIdException", "AccessDeniedException", "InvalidGrantTokenException")):
        as_user.retire_grant(KeyId=key, GrantId=by_id["GrantId"])


def test_revoking_needs_the_right(cloud, kms, role):
    key, user = cloud.new_key(), cloud.new_user()
    made = kms.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt"])
    with refused("AccessDeniedException", "kms:RevokeGrant"):
        cloud.boto("kms", user).revoke_grant(KeyId=key, GrantId=made["GrantId"])
    with refused(("NotFoundException", "InvalidGrantIdException")):
        kms.revoke_grant(KeyId=key, GrantId="0" * 64)


def test_garbage_tokens(cloud, kms):
    key = cloud.new_key()
    with refused("InvalidGrantTokenException"):
        kms.encrypt(KeyId=key, Plaintext=b"x", GrantTokens=["garbage"])
    with refused("InvalidGrantTokenException"):
        kms.retire_grant(GrantToken="garbage")


def test_child_grant_may_only_narrow(cloud, kms, role, session):
    """A right to create grants that comes from a grant passes on no more than the parent holds."""
    key, user = cloud.new_key(), cloud.new_user()
    kms.create_grant(
        KeyId=key, GranteePrincipal=role.arn, Operations=["CreateGrant", "Decrypt", "GenerateDataKey"],
        Constraints={"EncryptionContextSubset": {"project": "fields"}},
    )
    for operations, constraints in (
        (["Encrypt"], {"EncryptionContextSubset": {"project": "fields"}}),
        (["Decrypt"], None),
        (["Decrypt"], {"EncryptionContextSubset": {"project": "cattle"}}),
    ):
        with refused("AccessDeniedException"):
            session.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=operations, **({"Constraints": constraints} if constraints else {}))
    session.create_grant(
        KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"], Constraints={"EncryptionContextSubset": {"project": "fields", "plot": "7"}},
    )
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"project": "fields", "plot": "7"})["CiphertextBlob"]
    assert cloud.boto("kms", user).decrypt(CiphertextBlob=blob, EncryptionContext={"project": "fields", "plot": "7"})["Plaintext"] == b"x"


@pytest.mark.parametrize("change", [
    {"Operations": ["ScheduleKeyDeletion"]},
    {"Operations": ["Sign"]},
    {"Operations": []},
    {"GranteePrincipal": "not a principal"},
    {"GranteePrincipal": "arn:aws:iam::111122223333:user/nobody-of-this-name"},
    {"GranteePrincipal": "sagemaker-geospatial.us-west-2.amazonaws.com"},
    {"Constraints": {"EncryptionContextSubset": {f"k{i}": "v" for i in range(9)}}},
    {"Name": "not a name!"},
])
def test_refused_grants(cloud, role, change):
    key = cloud.new_key()
    request = dict(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt"]) | change
    with refused(("ValidationException", "ValidationError", "InvalidArnException", "AccessDeniedException")):
        cloud.boto("kms", parameter_validation=False).create_grant(**request)
    assert cloud.boto("kms").list_grants(KeyId=key)["Grants"] == []


def test_grant_to_another_account(cloud, other, kms):
    """A grant that names a user of another account needs nothing from that account's IAM."""
    key, user, bare = cloud.new_key(), other.new_user(), other.new_user()
    blob = kms.encrypt(KeyId=key, Plaintext=b"shared")["CiphertextBlob"]
    kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"])
    assert other.boto("kms", user).decrypt(CiphertextBlob=blob)["Plaintext"] == b"shared"
    with refused("AccessDeniedException"):
        other.boto("kms", bare).decrypt(CiphertextBlob=blob)
    # To the account: its own IAM decides who.
    kms.create_grant(KeyId=key, GranteePrincipal=other.root_arn, Operations=["GenerateDataKey"])
    allowed = other.new_user(allow("kms:GenerateDataKey", key))
    other.boto("kms", allowed).generate_data_key(KeyId=key, KeySpec="AES_256")
    with refused("AccessDeniedException"):
        other.boto("kms", bare).generate_data_key(KeyId=key, KeySpec="AES_256")


def test_service_grantee_of_2026(cloud, kms):
    """GranteeServicePrincipal asks for a SourceArn constraint and a retiring principal."""
    shape = kms.meta.service_model.operation_model("CreateGrant").input_shape
    assert "GranteeServicePrincipal" in shape.members, "the pinned boto3 is older than May 2026"
    key = cloud.new_key()
    source = f"arn:aws:sagemaker:us-west-2:{cloud.account}:feature-group/plots"
    made = kms.create_grant(
        KeyId=key, GranteeServicePrincipal="sagemaker.amazonaws.com", RetiringServicePrincipal="sagemaker.amazonaws.com",
        Operations=["Decrypt"], Constraints={"SourceArn": source},
    )
    g = kms.list_grants(KeyId=key)["Grants"][0]
    assert (g["GrantId"], g["GranteeServicePrincipal"], g["Constraints"]["SourceArn"]) == (made["GrantId"], "sagemaker.amazonaws.com", source)
    with refused("ValidationException"):
        kms.create_grant(KeyId=key, GranteeServicePrincipal="sagemaker.amazonaws.com", Operations=["Decrypt"])


def test_grant_conditions_in_policies(cloud, kms, role):
    user = cloud.new_user()
    key = cloud.new_key(allow(
        "kms:CreateGrant", Principal={"AWS": user.arn},
        Condition={"ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt", "Encrypt"]}, "StringEquals": {"kms:GranteePrincipal": role.arn}},
    ))
    as_user = cloud.boto("kms", user)
    as_user.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt"])
    with refused("AccessDeniedException", "kms:CreateGrant"):
        as_user.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt", "GenerateDataKey"])
    with refused("AccessDeniedException", "kms:CreateGrant"):
        as_user.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"])


def test_only_services_make_grants_for_resources(cloud, kms, role):
    user = cloud.new_user()
    key = cloud.new_key(allow("kms:CreateGrant", Principal={"AWS": user.arn}, Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}}))
    with refused("AccessDeniedException"):
        cloud.boto("kms", user).create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt"])


def test_session_policy_limits_a_grant(cloud, kms, role):
    key = cloud.new_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.create_grant(KeyId=key, GranteePrincipal=role.arn, Operations=["Decrypt", "Encrypt"])
    narrow = cloud.assume(role, cloud.assumer(), Policy=policy(allow("kms:Decrypt", key)))
    as_session = cloud.boto("kms", narrow)
    assert as_session.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    with refused("AccessDeniedException", "kms:Encrypt"):
        as_session.encrypt(KeyId=key, Plaintext=b"x")
