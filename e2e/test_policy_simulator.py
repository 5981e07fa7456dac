"""The policy simulator: what policies would allow, seen with unmodified clients and held against real requests."""

import json

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, REGION, allow, deny, policy, refused, unique

OTHER_ACCOUNT = "444455556666"


@pytest.fixture(scope="module")
def iam(cloud):
    return cloud.boto("iam")


def decision(answer, action=None):
    """The decision for the one action, or for the named one."""
    results = [r for r in answer["EvaluationResults"] if action in (None, r["EvalActionName"])]
    assert len(results) == 1, answer
    return results[0]["EvalDecision"]


# Policies of the request


def test_custom_policy(iam):
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy(allow("s3:GetObject", "arn:aws:s3:::data/*")), policy(deny("s3:*", "arn:aws:s3:::data/secret/*"))],
        ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::data/x"],
    )
    result, = answer["EvaluationResults"]
    assert (result["EvalActionName"], result["EvalResourceName"], result["EvalDecision"]) == ("s3:GetObject", "arn:aws:s3:::data/x", "allowed")
    matched, = result["MatchedStatements"]
    assert matched["SourcePolicyId"] == "PolicyInputList.1"
    # The document is one line; the statement begins at its first brace within the list.
    text = policy(allow("s3:GetObject", "arn:aws:s3:::data/*"))
    assert matched["StartPosition"] == {"Line": 1, "Column": text.index("[{") + 2}
    assert matched["EndPosition"] == {"Line": 1, "Column": text.index("}]") + 2}
    assert result["MissingContextValues"] == [] and result["EvalDecisionDetails"] == {}
    single, = result["ResourceSpecificResults"]
    assert (single["EvalResourceName"], single["EvalResourceDecision"]) == ("arn:aws:s3:::data/x", "allowed")
    assert answer["IsTruncated"] is False


def test_decisions(iam):
    policies = [policy(allow("s3:*", "*"), deny("s3:DeleteObject", "*"))]
    answer = iam.simulate_custom_policy(PolicyInputList=policies, ActionNames=["s3:GetObject", "s3:DeleteObject", "kms:Decrypt"])
    assert {r["EvalActionName"]: r["EvalDecision"] for r in answer["EvaluationResults"]} == {
        "s3:GetObject": "allowed", "s3:DeleteObject": "explicitDeny", "kms:Decrypt": "implicitDeny",
    }
    assert [r["EvalResourceName"] for r in answer["EvaluationResults"]] == ["*"] * 3
    assert all("EvalDecisionDetails" not in r for r in answer["EvaluationResults"])


def test_several_resources(iam):
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy(allow("s3:GetObject", "arn:aws:s3:::data/*"))], ActionNames=["s3:GetObject"],
        ResourceArns=["arn:aws:s3:::data/x", "arn:aws:s3:::other/x"],
    )
    result, = answer["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny" and "${BucketName}" in result["EvalResourceName"]
    assert {r["EvalResourceName"]: r["EvalResourceDecision"] for r in result["ResourceSpecificResults"]} == {
        "arn:aws:s3:::data/x": "allowed", "arn:aws:s3:::other/x": "implicitDeny",
    }


def test_context(iam):
    document = policy(allow("kms:Decrypt", "*", Condition={
        "StringEquals": {"kms:ViaService": f"sagemaker.{REGION}.amazonaws.com"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
    }))

    def ask(*entries):
        return iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=["kms:Decrypt"], ContextEntries=[
            {"ContextKeyName": n, "ContextKeyValues": v, "ContextKeyType": t} for n, t, v in entries
        ])["EvaluationResults"][0]

    assert ask()["MissingContextValues"] == ["aws:TagKeys", "kms:ViaService"] and ask()["EvalDecision"] == "implicitDeny"
    via = ("kms:ViaService", "string", [f"sagemaker.{REGION}.amazonaws.com"])
    got = ask(via)
    assert (got["EvalDecision"], got["MissingContextValues"]) == ("allowed", ["aws:TagKeys"])
    assert ask(via, ("aws:TagKeys", "stringList", ["team"]))["EvalDecision"] == "allowed"
    assert ask(via, ("aws:TagKeys", "stringList", ["team", "stage"]))["EvalDecision"] == "implicitDeny"


@pytest.mark.parametrize(("operator", "key", "wanted", "kind", "value"), [
    ("NumericLessThanEquals", "s3:max-keys", "10", "numeric", "10"),
    ("Bool", "aws:SecureTransport", "true", "boolean", "true"),
    ("IpAddress", "aws:SourceIp", "203.0.113.0/24", "ip", "203.0.113.9"),
    ("DateLessThan", "aws:CurrentTime", "2030-01-01T00:00:00Z", "date", "2026-11-21T10:00:00Z"),
    ("BinaryEquals", "x:digest", "QmluYXJ5", "binary", "QmluYXJ5"),
])
def test_context_types(iam, operator, key, wanted, kind, value):
    def ask(v, t=kind):
        return decision(iam.simulate_custom_policy(
            PolicyInputList=[policy(allow("s3:ListBucket", "*", Condition={operator: {key: wanted}}))], ActionNames=["s3:ListBucket"],
            ContextEntries=[{"ContextKeyName": key, "ContextKeyValues": [v], "ContextKeyType": t}],
        ))

    assert ask(value) == "allowed"
    with refused("InvalidInput", key, kind, status=400):
        ask("?")


def test_boundary_and_control_policies(iam):
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy(allow("*"))], PermissionsBoundaryPolicyInputList=[policy(allow("kms:*"))],
        OrderedOrganizationPolicyInputList=[{"ServiceControlPolicyInputList": [policy(allow("*"))]}, {"ServiceControlPolicyInputList": [policy(allow("*"), deny("kms:ScheduleKeyDeletion"))]}],
        ActionNames=["kms:Decrypt", "s3:GetObject", "kms:ScheduleKeyDeletion"],
    )
    decrypt, read, erase = answer["EvaluationResults"]
    assert (decrypt["EvalDecision"], read["EvalDecision"], erase["EvalDecision"]) == ("allowed", "implicitDeny", "explicitDeny")
    assert read["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    assert decrypt["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": True}
    assert erase["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": False} and erase["MatchedStatements"] == []
    assert decrypt["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": True}


def test_cross_account(cloud, iam):
    bob = f"arn:aws:iam::{ACCOUNT}:user/bob"
    bucket = policy(allow("s3:GetObject", "arn:aws:s3:::theirs/*", Principal={"AWS": bob}))

    def ask(*policies, **more):
        return iam.simulate_custom_policy(
            PolicyInputList=list(policies), ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::theirs/x"], CallerArn=bob,
            ResourceOwner=f"arn:aws:iam::{OTHER_ACCOUNT}:root", **more,
        )["EvaluationResults"][0]

    both = ask(policy(allow("s3:*")), ResourcePolicy=bucket)
    assert both["EvalDecision"] == "allowed"
    assert both["EvalDecisionDetails"] == {"IAM Policy": "allowed", "Resource Policy": "allowed"}
    assert [m["SourcePolicyId"] for m in both["MatchedStatements"]] == ["PolicyInputList.1", "ResourcePolicy"]
    alone = ask(policy(allow("kms:*")), ResourcePolicy=bucket)
    assert alone["EvalDecision"] == "implicitDeny"
    assert alone["EvalDecisionDetails"] == {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}


def test_pages(iam):
    actions = [f"s3:Get{i}" for i in range(7)]
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[policy(allow("s3:*"))], ActionNames=actions, PaginationConfig={"PageSize": 3},
    ))
    assert [[r["EvalActionName"] for r in p["EvaluationResults"]] for p in pages] == [actions[:3], actions[3:6], actions[6:]]


def test_refusals(iam):
    with refused("InvalidInput", status=400):
        iam.simulate_custom_policy(PolicyInputList=["{}"], ActionNames=["s3:GetObject"])
    with refused("InvalidInput", "s3:Get*"):
        iam.simulate_custom_policy(PolicyInputList=[policy(allow("*"))], ActionNames=["s3:Get*"])
    with refused("InvalidInput", "not in a valid ARN format"):
        iam.simulate_custom_policy(PolicyInputList=[policy(allow("*"))], ActionNames=["s3:GetObject"], ResourceArns=["bucket"])
    with refused("InvalidInput", "Caller cannot be null"):
        iam.simulate_custom_policy(
            PolicyInputList=[policy(allow("*"))], ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::b/x"],
            ResourcePolicy=policy(allow("s3:*", "arn:aws:s3:::b/*", Principal="*")),
        )
    with refused("NoSuchEntity", status=404):
        iam.simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/{unique('nobody')}", ActionNames=["s3:GetObject"])


def test_cli(cloud):
    document = policy(allow("dynamodb:*", "*", Condition={"DateGreaterThan": {"aws:CurrentTime": "2018-08-16T12:00:00Z"}}))
    entry = "ContextKeyName=aws:CurrentTime,ContextKeyValues=2019-04-25T11:00:00Z,ContextKeyType=date"
    answer = cloud.cli("iam", "simulate-custom-policy", "--policy-input-list", document, "--action-names", "dynamodb:CreateBackup", "--context-entries", entry)
    assert decision(answer) == "allowed"
    answer = cloud.cli("iam", "simulate-custom-policy", "--policy-input-list", document, "--action-names", "dynamodb:CreateBackup")
    assert decision(answer) == "implicitDeny" and answer["EvaluationResults"][0]["MissingContextValues"] == ["aws:CurrentTime"]
    keys = cloud.cli("iam", "get-context-keys-for-custom-policy", "--policy-input-list", document)
    assert keys == {"ContextKeyNames": ["aws:CurrentTime"]}
    user = cloud.new_user(allow("s3:GetObject"))
    answer = cloud.cli("iam", "simulate-principal-policy", "--policy-source-arn", user.arn, "--action-names", "s3:GetObject", "s3:PutObject")
    assert [r["EvalDecision"] for r in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]


# Policies of principals, held against real requests


def may(cloud, who, operation):
    """Whether a real request is allowed."""
    try:
        operation(cloud, who)
    except ClientError as e:
        assert e.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"), e
        return False
    return True


def test_principal_as_in_reality(cloud, iam):
    key, user = cloud.new_key(), cloud.new_user(allow(["kms:Encrypt", "kms:DescribeKey"]), deny("kms:DescribeKey"))
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser")
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary="arn:aws:iam::aws:policy/PowerUserAccess")
    operations = {
        "kms:Encrypt": lambda c, u: c.boto("kms", u).encrypt(KeyId=key, Plaintext=b"x"),
        "kms:DescribeKey": lambda c, u: c.boto("kms", u).describe_key(KeyId=key),
        "kms:ListAliases": lambda c, u: c.boto("kms", u).list_aliases(),
        "kms:GenerateDataKey": lambda c, u: c.boto("kms", u).generate_data_key(KeyId=key, KeySpec="AES_256"),
        "iam:ListUsers": lambda c, u: c.boto("iam", u).list_users(),
        "iam:ListRoles": lambda c, u: c.boto("iam", u).list_roles(),
    }
    wanted = {
        "kms:Encrypt": "allowed", "kms:DescribeKey": "explicitDeny", "kms:ListAliases": "allowed",
        "kms:GenerateDataKey": "implicitDeny", "iam:ListUsers": "implicitDeny", "iam:ListRoles": "allowed",
    }
    answer = iam.simulate_principal_policy(PolicySourceArn=user.arn, ActionNames=list(operations))
    for result in answer["EvaluationResults"]:
        action = result["EvalActionName"]
        assert result["EvalDecision"] == wanted[action], result
        assert may(cloud, user, operations[action]) == (wanted[action] == "allowed"), action
    matched = {r["EvalActionName"]: [m["SourcePolicyId"] for m in r["MatchedStatements"]] for r in answer["EvaluationResults"]}
    assert matched["kms:ListAliases"] == ["AWSKeyManagementServicePowerUser"]
    assert matched["kms:Encrypt"] == [f"user_{user.name}_inline"]
    bounded = {r["EvalActionName"]: r["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"] for r in answer["EvaluationResults"]}
    assert bounded["iam:ListUsers"] is False and bounded["iam:ListRoles"] is True


def test_key_policy_as_in_reality(cloud, iam):
    """A role that only the key policy names may use the key; the simulator says so when it is told the policy."""
    role = cloud.new_role()
    named = cloud.new_key(allow("kms:Encrypt", Sid="Role", Principal={"AWS": role.arn}))
    other = cloud.new_key()
    session = cloud.assume(role, cloud.assumer())
    for key, wanted in ((named, "allowed"), (other, "implicitDeny")):
        document = cloud.boto("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        answer = iam.simulate_principal_policy(PolicySourceArn=role.arn, ActionNames=["kms:Encrypt"], ResourceArns=[key], ResourcePolicy=document)
        assert decision(answer) == wanted
        assert may(cloud, session, lambda c, u, k=key: c.boto("kms", u).encrypt(KeyId=k, Plaintext=b"x")) == (wanted == "allowed")


def test_group(cloud, iam):
    group, user = unique("group"), cloud.new_user()
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="reads", PolicyDocument=policy(allow("s3:GetObject", "arn:aws:s3:::${aws:PrincipalTag/team}/*")))
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    for source in (f"arn:aws:iam::{ACCOUNT}:group/{group}", user.arn):
        result, = iam.simulate_principal_policy(
            PolicySourceArn=source, ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::crops/x"],
            ContextEntries=[{"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyValues": ["crops"], "ContextKeyType": "string"}],
        )["EvaluationResults"]
        assert result["EvalDecision"] == "allowed"
        assert [m["SourcePolicyId"] for m in result["MatchedStatements"]] == [f"group_{group}_reads"]
        assert iam.get_context_keys_for_principal_policy(PolicySourceArn=source)["ContextKeyNames"] == ["aws:PrincipalTag/team"]
    left_out = iam.simulate_principal_policy(
        PolicySourceArn=user.arn, ActionNames=["s3:GetObject"],
        PolicyExclusionList=[{"InlinePolicyIdentifier": {"PolicyName": "reads", "AttachmentType": "group", "AttachmentName": group}}],
    )
    assert decision(left_out) == "implicitDeny" and left_out["EvaluationResults"][0]["MissingContextValues"] == []


def test_who_may_simulate(cloud, iam):
    looked_at = cloud.new_user(allow("s3:*"))
    auditor = cloud.new_user(allow("iam:SimulatePrincipalPolicy", looked_at.arn))
    own = cloud.boto("iam", auditor)
    assert decision(own.simulate_principal_policy(PolicySourceArn=looked_at.arn, ActionNames=["s3:GetObject"])) == "allowed"
    with refused("AccessDenied", "iam:SimulatePrincipalPolicy", auditor.arn, status=403):
        own.simulate_principal_policy(PolicySourceArn=auditor.arn, ActionNames=["s3:GetObject"])
    with refused("AccessDenied", "iam:SimulateCustomPolicy", status=403):
        own.simulate_custom_policy(PolicyInputList=[policy(allow("*"))], ActionNames=["s3:GetObject"])
    with refused("AccessDenied", "iam:GetContextKeysForPrincipalPolicy", status=403):
        own.get_context_keys_for_principal_policy(PolicySourceArn=looked_at.arn)


def test_other_account(cloud, other):
    user = cloud.new_user(allow("s3:*"))
    with refused(("AccessDenied", "NoSuchEntity")):
        other.boto("iam").simulate_principal_policy(PolicySourceArn=user.arn, ActionNames=["s3:GetObject"])


def test_record(cloud, iam):
    """A simulation leaves a record, and changes nothing."""
    user = cloud.new_user(allow("iam:DeleteUser"))
    assert decision(iam.simulate_principal_policy(PolicySourceArn=user.arn, ActionNames=["iam:DeleteUser"])) == "allowed"
    records = cloud.records("EventName", "SimulatePrincipalPolicy")
    assert any(r["requestParameters"].get("policySourceArn") == user.arn and r["readOnly"] for r in records), json.dumps(records)[:2000]
    iam.get_user(UserName=user.name)
