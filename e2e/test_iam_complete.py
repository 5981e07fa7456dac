"""IAM beyond users, roles and policies: groups, renaming, the account as a whole, service-linked roles."""

import concurrent.futures
import json
import re

import pytest

from harness import ACCOUNT, allow, deny, policy, refused, unique, wait_for

GROUP_ID = re.compile(r"AGPA[A-Z0-9]{17}")


@pytest.fixture(scope="module")
def iam(cloud):
    return cloud.boto("iam")


@pytest.fixture(scope="module")
def key(cloud):
    return cloud.new_key()


@pytest.fixture
def group(iam):
    return iam.create_group(GroupName=unique("group"))["Group"]["GroupName"]


def encrypts(cloud, who, key):
    """Whether the principal may use the key now."""
    kms = cloud.boto("kms", who)
    try:
        kms.encrypt(KeyId=key, Plaintext=b"x")
    except kms.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDeniedException", e
        return False
    return True


# Groups


def test_group_from_birth_to_death(iam):
    name = unique("birth")
    made = iam.create_group(GroupName=name, Path="/crops/")["Group"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/crops/{name}" and GROUP_ID.fullmatch(made["GroupId"])
    with refused("EntityAlreadyExists", name.upper(), status=409):
        iam.create_group(GroupName=name.upper())
    user = iam.create_user(UserName=unique("member"))["User"]["UserName"]
    iam.add_user_to_group(GroupName=name, UserName=user)
    assert [u["UserName"] for u in iam.get_group(GroupName=name)["Users"]] == [user]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user)["Groups"]] == [name]
    assert [g["GroupName"] for g in iam.list_groups(PathPrefix="/crops/")["Groups"]].count(name) == 1
    with refused("DeleteConflict", "remove users from group", status=409):
        iam.delete_group(GroupName=name)
    with refused("DeleteConflict", "remove users from group", status=409):
        iam.delete_user(UserName=user)
    iam.update_group(GroupName=name, NewGroupName=name + "-2", NewPath="/")
    assert iam.get_group(GroupName=name + "-2")["Group"]["GroupId"] == made["GroupId"]
    iam.remove_user_from_group(GroupName=name + "-2", UserName=user)
    iam.delete_user(UserName=user)
    iam.delete_group(GroupName=name + "-2")
    with refused("NoSuchEntity", status=404):
        iam.get_group(GroupName=name)


def test_group_policies_count_at_once(cloud, iam, key, group):
    user = cloud.new_user()
    iam.put_group_policy(GroupName=group, PolicyName="use", PolicyDocument=policy(allow("kms:Encrypt", key)))
    assert not encrypts(cloud, user, key)
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    assert encrypts(cloud, user, key)
    iam.put_group_policy(GroupName=group, PolicyName="no", PolicyDocument=policy(deny("kms:Encrypt", key)))
    with refused("AccessDeniedException", "with an explicit deny in an identity-based policy"):
        cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")
    iam.delete_group_policy(GroupName=group, PolicyName="no")
    assert encrypts(cloud, user, key)
    iam.remove_user_from_group(GroupName=group, UserName=user.name)
    assert not encrypts(cloud, user, key)


def test_managed_policy_of_a_group(cloud, iam, key, group):
    user, name = cloud.new_user(), unique("managed")
    arn = iam.create_policy(PolicyName=name, PolicyDocument=policy(allow("kms:Encrypt", key)))["Policy"]["Arn"]
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    assert encrypts(cloud, user, key)
    assert iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"] == [{"PolicyName": name, "PolicyArn": arn}]
    used = iam.list_entities_for_policy(PolicyArn=arn)
    assert [g["GroupName"] for g in used["PolicyGroups"]] == [group] and used["PolicyUsers"] == used["PolicyRoles"] == []
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    with refused("DeleteConflict"):
        iam.delete_policy(PolicyArn=arn)
    iam.detach_group_policy(GroupName=group, PolicyArn=arn)
    assert not encrypts(cloud, user, key)


def test_group_documents_come_back_whole(iam, group):
    document = policy(allow("s3:Get*", "arn:aws:s3:::a b%c+é/*"))
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document)
    assert iam.get_group_policy(GroupName=group, PolicyName="p")["PolicyDocument"] == json.loads(document)
    assert iam.list_group_policies(GroupName=group)["PolicyNames"] == ["p"]
    with refused("LimitExceeded", "5120"):
        iam.put_group_policy(GroupName=group, PolicyName="q", PolicyDocument=policy(allow("s3:Get*", "arn:aws:s3:::" + "b" * 5200)))


def test_members_in_pages(iam, group):
    made = {iam.create_user(UserName=unique("page"))["User"]["UserName"] for _ in range(5)}
    for user in made:
        iam.add_user_to_group(GroupName=group, UserName=user)
    pages = list(iam.get_paginator("get_group").paginate(GroupName=group, PaginationConfig={"PageSize": 2}))
    assert [len(p["Users"]) for p in pages] == [2, 2, 1]
    assert {u["UserName"] for p in pages for u in p["Users"]} == made


def test_ten_groups_a_user(iam):
    user = iam.create_user(UserName=unique("many"))["User"]["UserName"]
    for i in range(11):
        name = iam.create_group(GroupName=unique("many"))["Group"]["GroupName"]
        if i < 10:
            iam.add_user_to_group(GroupName=name, UserName=user)
    with refused("LimitExceeded", "GroupsPerUser", status=409):
        iam.add_user_to_group(GroupName=name, UserName=user)


def test_one_of_many_creates(iam):
    name = unique("race")

    def create(_):
        try:
            iam.create_group(GroupName=name)
        except iam.exceptions.EntityAlreadyExistsException:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_groups_with_the_cli(cloud):
    name, user = unique("shell"), unique("shell")
    made = cloud.cli("iam", "create-group", "--group-name", name)
    assert made["Group"]["Arn"].endswith(f":group/{name}")
    cloud.cli("iam", "create-user", "--user-name", user)
    cloud.cli("iam", "add-user-to-group", "--group-name", name, "--user-name", user)
    cloud.cli("iam", "put-group-policy", "--group-name", name, "--policy-name", "p", "--policy-document", policy(allow("kms:Encrypt")))
    assert cloud.cli("iam", "get-group-policy", "--group-name", name, "--policy-name", "p")["PolicyDocument"]["Statement"][0]["Action"] == "kms:Encrypt"
    assert cloud.cli("iam", "list-groups-for-user", "--user-name", user, "--query", "Groups[].GroupName") == [name]
    with refused("NoSuchEntity", "none"):
        cloud.cli("iam", "get-group", "--group-name", "none")


# Names


def test_renamed_user_stays_who_it_is(cloud, iam, key):
    user, new = cloud.new_user(allow("kms:Encrypt", key)), unique("renamed")
    trusting = cloud.new_role(trust=allow("sts:AssumeRole", None, Principal={"AWS": user.arn}))
    iam.update_user(UserName=user.name, NewUserName=new, NewPath="/x/")
    got = iam.get_user(UserName=new)["User"]
    assert got["UserId"] == user.id and got["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/x/{new}"
    assert cloud.boto("sts", user).get_caller_identity()["Arn"] == got["Arn"]
    assert encrypts(cloud, user, key)
    # Trust in the user is trust in who was named, whatever the name.
    cloud.assume(trusting, user)
    document = iam.get_role(RoleName=trusting.name)["Role"]["AssumeRolePolicyDocument"]
    assert document["Statement"][0]["Principal"] == {"AWS": got["Arn"]}
    iam.create_user(UserName=user.name)
    impostor = iam.create_access_key(UserName=user.name)["AccessKey"]
    assert impostor["UserName"] == user.name
    with refused("NoSuchEntity"):
        iam.get_user_policy(UserName=user.name, PolicyName="inline")
    with refused("EntityAlreadyExists", status=409):
        iam.update_user(UserName=user.name, NewUserName=new)


def test_role_description(iam, cloud):
    role = cloud.new_role()
    assert iam.update_role_description(RoleName=role.name, Description="what for")["Role"]["Description"] == "what for"
    assert iam.get_role(RoleName=role.name)["Role"]["Description"] == "what for"


# Policies


def test_policy_tags(cloud, iam):
    arn = iam.create_policy(PolicyName=unique("tags"), PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "team", "Value": "crops"}, {"Key": "x", "Value": ""}])
    iam.untag_policy(PolicyArn=arn, TagKeys=["x"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "team", "Value": "crops"}]
    tagger = cloud.new_user(allow("iam:DeletePolicy", Condition={"StringEquals": {"aws:ResourceTag/team": "cattle"}}))
    with refused("AccessDenied"):
        cloud.boto("iam", tagger).delete_policy(PolicyArn=arn)
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "Team", "Value": "cattle"}])
    cloud.boto("iam", tagger).delete_policy(PolicyArn=arn)


def test_entities_for_policy(cloud, iam, group):
    arn = iam.create_policy(PolicyName=unique("used"), PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    user, role = cloud.new_user(), cloud.new_role()
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=arn)
    iam.attach_role_policy(RoleName=role.name, PolicyArn=arn)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)

    def entities(**more):
        found = {}
        for p in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, PaginationConfig={"PageSize": 1}, **more):
            for kind in ("User", "Role", "Group"):
                found.update({x[f"{kind}Name"]: x[f"{kind}Id"] for x in p[f"Policy{kind}s"]})
        return found

    assert entities().keys() == {user.name, role.name, group} and entities()[role.name] == role.id
    assert entities(EntityFilter="Group").keys() == {group}
    assert entities(PolicyUsageFilter="PermissionsBoundary").keys() == {user.name}
    assert entities(PathPrefix="/none/") == {}
    local = iam.get_paginator("list_policies").paginate(Scope="Local", PolicyUsageFilter="PermissionsBoundary")
    assert [p["Arn"] for page in local for p in page["Policies"]].count(arn) == 1
    assert cloud.cli("iam", "list-entities-for-policy", "--policy-arn", arn, "--entity-filter", "Role")["PolicyRoles"] == [
        {"RoleName": role.name, "RoleId": role.id}
    ]


# The account


def test_account_alias(cloud, other, iam):
    first, second = unique("alias"), unique("alias")
    iam.create_account_alias(AccountAlias=first)
    with refused("EntityAlreadyExists", first, status=409):
        other.boto("iam").create_account_alias(AccountAlias=first)
    iam.create_account_alias(AccountAlias=second)
    assert iam.list_account_aliases()["AccountAliases"] == [second]
    with refused("NoSuchEntity", first):
        iam.delete_account_alias(AccountAlias=first)
    with refused("ValidationError"):
        iam.create_account_alias(AccountAlias="Upper-Case")
    cloud.cli("iam", "delete-account-alias", "--account-alias", second)
    assert cloud.cli("iam", "list-account-aliases")["AccountAliases"] == []


def test_account_summary(cloud, iam):
    before = iam.get_account_summary()["SummaryMap"]
    iam.create_group(GroupName=unique("counted"))
    iam.create_user(UserName=unique("counted"))
    after = iam.get_account_summary()["SummaryMap"]
    assert (after["Groups"], after["Users"], after["Roles"]) == (before["Groups"] + 1, before["Users"] + 1, before["Roles"])
    assert after["GroupsQuota"] == 300 and after["UsersQuota"] == 5000
    assert cloud.cli("iam", "get-account-summary")["SummaryMap"]["GroupsPerUserQuota"] == 10


def test_authorization_details(cloud, iam, group):
    user, role = cloud.new_user(allow("kms:Encrypt")), cloud.new_role(allow("kms:Decrypt"))
    arn = iam.create_policy(PolicyName=unique("detail"), PolicyDocument=policy(allow("kms:Encrypt")))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    pages = iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 7})
    whole = pages.build_full_result()
    users = {u["UserName"]: u for u in whole["UserDetailList"]}
    assert users[user.name]["GroupList"] == [group]
    assert users[user.name]["UserPolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(policy(allow("kms:Encrypt")))}]
    roles = {r["RoleName"]: r for r in whole["RoleDetailList"]}
    assert roles[role.name]["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole"
    assert roles[role.name]["AttachedManagedPolicies"][0]["PolicyName"] == "AmazonS3ReadOnlyAccess"
    groups = {g["GroupName"]: g for g in whole["GroupDetailList"]}
    assert groups[group]["AttachedManagedPolicies"][0]["PolicyArn"] == arn
    policies = {p["Arn"]: p for p in whole["Policies"]}
    assert policies[arn]["PolicyVersionList"][0]["Document"] == json.loads(policy(allow("kms:Encrypt")))
    assert "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess" in policies
    only = cloud.cli("iam", "get-account-authorization-details", "--filter", "Group")
    assert only["UserDetailList"] == only["RoleDetailList"] == only["Policies"] == [] and only["GroupDetailList"]


def test_what_no_account_has(cloud, iam):
    user = cloud.new_user()
    with refused("NoSuchEntity", f"Login Profile for User {user.name} cannot be found.", status=404):
        iam.get_login_profile(UserName=user.name)
    with refused("NoSuchEntity", f"The Password Policy with domain name {ACCOUNT} cannot be found.", status=404):
        iam.get_account_password_policy()
    assert iam.list_mfa_devices(UserName=user.name)["MFADevices"] == []
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    assert iam.list_ssh_public_keys(UserName=user.name)["SSHPublicKeys"] == []
    assert iam.list_signing_certificates(UserName=user.name)["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName=user.name)["ServiceSpecificCredentials"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert iam.list_saml_providers()["SAMLProviderList"] == []
    assert iam.list_server_certificates()["ServerCertificateMetadataList"] == []
    for call in (iam.list_mfa_devices, iam.list_ssh_public_keys, iam.list_signing_certificates, iam.get_login_profile):
        with refused("NoSuchEntity", "The user with name nobody-there cannot be found.", status=404):
            call(UserName="nobody-there")
    assert cloud.cli("iam", "list-mfa-devices", "--user-name", user.name) == {"MFADevices": []}


# Service-linked roles


def test_service_linked_role(cloud, iam):
    service, name = "sagemaker.amazonaws.com", "AWSServiceRoleForAmazonSageMakerNotebooks"
    made = iam.create_service_linked_role(AWSServiceName=service)["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{name}"
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": service}
    with refused("InvalidInput", f"Service role name {name} has been taken in this account, please try a different suffix.", status=400):
        iam.create_service_linked_role(AWSServiceName=service)
    with refused("InvalidInput", f"Custom suffix is not allowed for {service}", status=400):
        iam.create_service_linked_role(AWSServiceName=service, CustomSuffix="mine")
    with refused("InvalidInput", "Path prefix '/aws-service-role/' can only be used for AWS Service linked Roles"):
        iam.create_role(
            RoleName=unique("false"), Path=f"/aws-service-role/{service}/",
            AssumeRolePolicyDocument=policy(allow("sts:AssumeRole", None, Principal={"Service": service})),
        )
    for change in (
        lambda: iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
        lambda: iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("*"))),
        lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(allow("sts:AssumeRole", None, Principal={"AWS": ACCOUNT}))),
        lambda: iam.delete_role(RoleName=name),
    ):
        with refused("UnmodifiableEntity", f"'{name}'", status=400):
            change()
    with refused("AccessDenied"):
        cloud.boto("sts").assume_role(RoleArn=made["Arn"], RoleSessionName="nobody")
    task = cloud.cli("iam", "delete-service-linked-role", "--role-name", name)["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/{service}/{name}/")
    assert cloud.cli("iam", "get-service-linked-role-deletion-status", "--deletion-task-id", task)["Status"] == "SUCCEEDED"
    with refused("NoSuchEntity", status=404):
        iam.get_role(RoleName=name)
    with refused("NoSuchEntity", status=404):
        iam.get_service_linked_role_deletion_status(DeletionTaskId=task[:-4] + "0000")


def test_who_may_make_which_linked_role(cloud):
    user = cloud.new_user(allow("iam:CreateServiceLinkedRole", Condition={"StringLike": {"iam:AWSServiceName": "cloudtrail.amazonaws.com"}}))
    with refused("AccessDenied", "iam:CreateServiceLinkedRole", "/aws-service-role/cks.kms.amazonaws.com/AWSServiceRoleForKeyManagementServiceCustomKeyStores"):
        cloud.boto("iam", user).create_service_linked_role(AWSServiceName="cks.kms.amazonaws.com")
    cloud.boto("iam", user).create_service_linked_role(AWSServiceName="cloudtrail.amazonaws.com")
    cloud.boto("iam").delete_service_linked_role(RoleName="AWSServiceRoleForCloudTrail")


# What tools do


def test_what_a_tool_asks_before_it_deletes_a_user(cloud, iam, group):
    """The calls that tools make to take everything from a user, then the user."""
    user = cloud.new_user(allow("kms:Encrypt"))
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    for g in iam.list_groups_for_user(UserName=user.name)["Groups"]:
        iam.remove_user_from_group(GroupName=g["GroupName"], UserName=user.name)
    for k in iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user.name, AccessKeyId=k["AccessKeyId"])
    for p in iam.list_user_policies(UserName=user.name)["PolicyNames"]:
        iam.delete_user_policy(UserName=user.name, PolicyName=p)
    for p in iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=user.name, PolicyArn=p["PolicyArn"])
    for list_of in (iam.list_ssh_public_keys, iam.list_mfa_devices, iam.list_signing_certificates, iam.list_service_specific_credentials):
        list_of(UserName=user.name)
    assert not any(d.get("User", {}).get("Arn") == user.arn for d in iam.list_virtual_mfa_devices(AssignmentStatus="Any")["VirtualMFADevices"])
    iam.delete_user(UserName=user.name)


def test_records(cloud, iam):
    name = unique("recorded")
    iam.create_group(GroupName=name)
    with refused("EntityAlreadyExists"):
        iam.create_group(GroupName=name)

    def look():
        found = [r for r in cloud.records("EventName", "CreateGroup") if r["requestParameters"]["groupName"] == name]
        return found if len(found) == 2 else None

    failed, made = wait_for(look, "the records")
    assert failed["errorCode"].startswith("EntityAlreadyExists") and failed["responseElements"] is None
    assert made["responseElements"]["group"]["groupName"] == name and "errorCode" not in made
