"""AWS Organizations: accounts under guard rails, with boto3 and the AWS CLI, and the examples of its page."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness import ACCOUNT, REGION, ROOT, Credentials, Server, allow, clean_environment, deny, policy, refused, unique, wait_for

MEMBER, OUTSIDE = "222233334444", "333344445555"
SCP, RCP = "SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY"


class Organization:
    """A server of its own: the first account manages, MEMBER has joined, OUTSIDE has not."""

    def __init__(self, server):
        self.server = server
        self.manager = server.cloud()
        for account in (MEMBER, OUTSIDE):
            server.command("account", "create", "--id", account, check=True)
        self.member, self.outside = server.cloud(MEMBER), server.cloud(OUTSIDE)
        self.api = self.manager.boto("organizations")
        self.id = self.api.create_organization()["Organization"]["Id"]
        self.root = self.api.list_roots()["Roots"][0]["Id"]
        for kind in (SCP, RCP):
            self.api.enable_policy_type(RootId=self.root, PolicyType=kind)
        handshake = self.api.invite_account_to_organization(Target={"Id": MEMBER, "Type": "ACCOUNT"})["Handshake"]["Id"]
        self.member.boto("organizations").accept_handshake(HandshakeId=handshake)

    def attach(self, kind, target, *statements):
        made = self.api.create_policy(Name=unique("p"), Description="", Type=kind, Content=policy(*statements))
        self.api.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=target)
        return made["Policy"]["PolicySummary"]["Id"]

    def create_account(self, **more):
        began = self.api.create_account(Email=unique("a") + "@example.com", AccountName="Made", **more)["CreateAccountStatus"]
        assert began["State"] == "IN_PROGRESS" and began["Id"].startswith("car-")

        def done():
            status = self.api.describe_create_account_status(CreateAccountRequestId=began["Id"])["CreateAccountStatus"]
            return status if status["State"] != "IN_PROGRESS" else None

        status = wait_for(done, "the account", 30)
        assert status["State"] == "SUCCEEDED", status
        return status["AccountId"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("organizations")).start()
    try:
        yield Organization(server)
    finally:
        server.stop()


@pytest.fixture
def org(shared):
    """The organization without any policies of a test before."""
    yield shared
    for kind in (SCP, RCP):
        for target in (shared.root, MEMBER):
            for p in shared.api.list_policies_for_target(TargetId=target, Filter=kind)["Policies"]:
                if not p["AwsManaged"]:
                    shared.api.detach_policy(PolicyId=p["Id"], TargetId=target)


def test_identifiers(org):
    o = org.member.boto("organizations").describe_organization()["Organization"]
    assert re.fullmatch(r"o-[a-z0-9]{10,32}", o["Id"]) and o["MasterAccountId"] == ACCOUNT and o["FeatureSet"] == "ALL"
    assert o["Arn"] == f"arn:aws:organizations::{ACCOUNT}:organization/{org.id}"
    assert re.fullmatch(r"r-[0-9a-z]{4,32}", org.root)
    account = org.api.describe_account(AccountId=MEMBER)["Account"]
    assert account["Arn"] == f"arn:aws:organizations::{ACCOUNT}:account/{org.id}/{MEMBER}" and account["JoinedMethod"] == "INVITED"
    assert {a["Id"] for a in org.api.list_accounts()["Accounts"]} >= {ACCOUNT, MEMBER}


def test_members_look_and_do_not_touch(org):
    member, outside = org.member.boto("organizations"), org.outside.boto("organizations")
    with refused("AccessDeniedException", "You don't have permissions to access this resource", status=400):
        member.list_accounts()
    with refused("AccessDeniedException"):
        member.create_policy(Name="p", Description="", Type=SCP, Content=policy(deny("s3:*")))
    with refused("AWSOrganizationsNotInUseException"):
        outside.describe_organization()
    with refused("AccessDeniedException", "is not authorized to perform: organizations:ListRoots"):
        org.manager.boto("organizations", org.manager.new_user()).list_roots()


def test_service_control_policy_binds_all_but_the_manager(org):
    user = org.member.new_user(allow("*"))
    p = org.attach(SCP, org.root, deny("kms:CreateKey", Sid="NoKeys"))
    for credentials in (None, user):
        with refused("AccessDeniedException", "with an explicit deny in a service control policy", status=400):
            org.member.boto("kms", credentials).create_key()
    org.manager.new_key()
    org.outside.new_key()
    org.api.detach_policy(PolicyId=p, TargetId=org.root)
    org.member.new_key()


def test_every_level_must_allow(org):
    p = org.attach(SCP, MEMBER, allow("s3:*"))
    org.api.detach_policy(PolicyId="p-FullAWSAccess", TargetId=MEMBER)
    try:
        with refused("AccessDeniedException", "no service control policy allows the kms:CreateKey action"):
            org.member.boto("kms").create_key()
        org.member.boto("s3").list_buckets()
        with refused("ConstraintViolationException") as caught:
            org.api.detach_policy(PolicyId=p, TargetId=MEMBER)
        assert caught.response["Reason"] == "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED"
    finally:
        org.api.attach_policy(PolicyId="p-FullAWSAccess", TargetId=MEMBER)
    org.member.new_key()


def test_denial_is_recorded_with_its_policy(org):
    p = org.attach(SCP, MEMBER, deny("kms:CreateKey", Sid="NoKeys"))
    with refused("AccessDeniedException"):
        org.member.boto("kms").create_key()
    record = org.member.records("EventName", "CreateKey")[0]
    why = record["additionalEventData"]["authorization"]
    assert record["errorCode"] == "AccessDenied" and why["layer"] == "scp" and why["statement"] == "NoKeys"
    assert why["policy"] == f"arn:aws:organizations::{ACCOUNT}:policy/{org.id}/service_control_policy/{p}"


def test_resource_control_policy_is_a_perimeter(org):
    outsider, insider = org.outside.new_user(allow("*")), org.manager.new_user(allow("*"))
    bucket = org.member.new_bucket()
    org.member.boto("s3").put_object(Bucket=bucket, Key="k", Body=b"x")
    everybody = {"AWS": [OUTSIDE, ACCOUNT]}
    org.member.boto("s3").put_bucket_policy(Bucket=bucket, Policy=policy(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal=everybody)))
    key = org.member.new_key(allow("kms:Encrypt", "*", Principal=everybody))

    def reach(cloud, user):
        cloud.boto("s3", user).get_object(Bucket=bucket, Key="k")
        cloud.boto("kms", user).encrypt(KeyId=key, Plaintext=b"x")

    reach(org.outside, outsider)
    condition = {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": org.id}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}
    org.attach(RCP, org.root, deny(["s3:*", "kms:*"], Principal="*", Condition=condition))
    with refused("AccessDenied", "resource control policy", status=403):
        org.outside.boto("s3", outsider).get_object(Bucket=bucket, Key="k")
    with refused("AccessDeniedException", "resource control policy"):
        org.outside.boto("kms", outsider).encrypt(KeyId=key, Plaintext=b"x")
    reach(org.manager, insider)
    reach(org.member, None)


def test_key_policy_names_the_organization(org):
    statement = allow("kms:Encrypt", "*", Principal={"AWS": "*"}, Condition={"StringEquals": {"aws:PrincipalOrgID": org.id}})
    key = org.manager.new_key(statement)
    member, outsider = org.member.new_user(allow("kms:Encrypt")), org.outside.new_user(allow("kms:Encrypt"))
    org.member.boto("kms", member).encrypt(KeyId=key, Plaintext=b"x")
    with refused("AccessDeniedException"):
        org.outside.boto("kms", outsider).encrypt(KeyId=key, Plaintext=b"x")


def test_created_account(org):
    account = org.create_account(Tags=[{"Key": "team", "Value": "red"}])
    admin = org.manager.new_user(allow("sts:AssumeRole"))
    role = f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"
    inside = Credentials.of(org.manager.boto("sts", admin).assume_role(RoleArn=role, RoleSessionName="session")["Credentials"])
    assert org.manager.boto("sts", inside).get_caller_identity()["Account"] == account
    org.manager.boto("kms", inside).create_key()
    assert org.manager.boto("iam", inside).get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"] == 0
    assert org.api.list_tags_for_resource(ResourceId=account)["Tags"] == [{"Key": "team", "Value": "red"}]
    results = org.manager.records("EventName", "CreateAccountResult", region="us-east-1")
    assert account in [r["serviceEventDetails"]["createAccountStatus"].get("accountId") for r in results]
    session = org.manager.boto("cloudtrail", inside, region="us-east-1")
    events = session.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateRole"}])["Events"]
    made = json.loads(events[0]["CloudTrailEvent"])
    assert made["userIdentity"]["invokedBy"] == "organizations.amazonaws.com" and made["recipientAccountId"] == account
    org.api.remove_account_from_organization(AccountId=account)


def test_units_and_pages(org):
    unit = org.api.create_organizational_unit(ParentId=org.root, Name=unique("unit"))["OrganizationalUnit"]["Id"]
    names = {unique("below") for _ in range(5)}
    for name in names:
        org.api.create_organizational_unit(ParentId=unit, Name=name)
    pages = org.api.get_paginator("list_organizational_units_for_parent").paginate(ParentId=unit, PaginationConfig={"PageSize": 2})
    below = list(pages.search("OrganizationalUnits"))
    assert {u["Name"] for u in below} == names
    with refused("OrganizationalUnitNotEmptyException"):
        org.api.delete_organizational_unit(OrganizationalUnitId=unit)
    org.api.move_account(AccountId=MEMBER, SourceParentId=org.root, DestinationParentId=unit)
    assert org.api.list_parents(ChildId=MEMBER)["Parents"] == [{"Id": unit, "Type": "ORGANIZATIONAL_UNIT"}]
    org.api.move_account(AccountId=MEMBER, SourceParentId=unit, DestinationParentId=org.root)
    for u in below:
        org.api.delete_organizational_unit(OrganizationalUnitId=u["Id"])
    org.api.delete_organizational_unit(OrganizationalUnitId=unit)


def test_cli(org):
    cli = org.manager.cli
    assert cli("organizations", "describe-organization")["Organization"]["Id"] == org.id
    handshake = cli("organizations", "invite-account-to-organization", "--target", f"Id={OUTSIDE},Type=ACCOUNT", "--notes", "hello")["Handshake"]
    assert handshake["State"] == "OPEN"
    with refused("DuplicateHandshakeException"):
        cli("organizations", "invite-account-to-organization", "--target", f"Id={OUTSIDE},Type=ACCOUNT")
    assert [h["Id"] for h in org.outside.cli("organizations", "list-handshakes-for-account")["Handshakes"]] == [handshake["Id"]]
    assert org.outside.cli("organizations", "decline-handshake", "--handshake-id", handshake["Id"])["Handshake"]["State"] == "DECLINED"
    with refused("MalformedPolicyDocumentException"):
        cli("organizations", "create-policy", "--type", SCP, "--name", "bad", "--description", "", "--content", "{}")
    policies = cli("organizations", "list-policies", "--filter", RCP)["Policies"]
    assert "p-RCPFullAWSAccess" in [p["Id"] for p in policies]


def test_survives_kill(own_server):
    server = own_server()
    org = Organization(server)
    org.attach(SCP, org.root, deny("kms:CreateKey"))
    server.kill()
    server.start()
    with refused("AccessDeniedException", "service control policy"):
        server.cloud(MEMBER).boto("kms").create_key()
    assert server.cloud(MEMBER).boto("organizations").describe_organization()["Organization"]["Id"] == org.id


def example(name):
    """A shell example of docs/organizations.md."""
    text = (ROOT / "docs" / "organizations.md").read_text(encoding="utf-8")
    found = re.findall(rf"<!-- example: {name} -->\n+```sh\n(.*?)^```$", text, re.S | re.M)
    assert len(found) == 1, f"{len(found)} examples {name}"
    return found[0]


@pytest.mark.skipif(os.name == "nt", reason="the examples are for a shell")
def test_examples_of_the_page(own_server, tmp_path):
    server = own_server()
    cloud = server.cloud()
    user = cloud.new_user(allow("*"))
    script = "set -e\n" + example("region") + example("enter") + example("perimeter") + 'echo "account $ACCOUNT"\n'
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        env=clean_environment(
            AWS_ENDPOINT_URL=cloud.url, AWS_DEFAULT_REGION=REGION, AWS_REGION=REGION,
            PATH=str(pathlib.Path(sys.executable).parent) + os.pathsep + os.environ["PATH"], **user.credentials.environment(),
        ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = re.search(r"^account (\d{12})$", done.stdout, re.M)[1]
    role = f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"
    inside = Credentials.of(cloud.boto("sts", user).assume_role(RoleArn=role, RoleSessionName="session")["Credentials"])
    key = cloud.boto("kms", inside).create_key()["KeyMetadata"]["Arn"]
    with refused("AccessDeniedException", "with an explicit deny in a service control policy"):
        cloud.boto("kms", inside, region="eu-central-1").create_key()
    with refused("AccessDeniedException", "with an explicit deny in a service control policy"):
        cloud.boto("organizations", inside).leave_organization()
    server.command("account", "create", "--id", OUTSIDE, check=True)
    everybody = allow("kms:*", "*", Principal={"AWS": [account, OUTSIDE]})
    cloud.boto("kms", inside).put_key_policy(KeyId=key, PolicyName="default", Policy=policy(everybody))
    outside = server.cloud(OUTSIDE)
    with refused("AccessDeniedException", "resource control policy"):
        outside.boto("kms", outside.new_user(allow("*"))).encrypt(KeyId=key, Plaintext=b"x")
