"""AWS KMS through boto3 and the AWS CLI: multi-Region keys."""

import json
import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import ACCOUNT, REGION, allow, policy, refused, wait_for
from test_kms_import import empty_key, put, versions

THERE, THIRD = "eu-central-1", "ap-southeast-2"
MESSAGE = b"plot 7: rapeseed, 2.4 t/ha"
CONTEXT = {"field": "7"}


@pytest.fixture(scope="module")
def kms(cloud):
    """A client for each Region."""
    return {r: cloud.boto("kms", region=r) for r in (REGION, THERE, THIRD)}


def arn(key, region):
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key}"


def primary(kms, **more):
    m = kms[REGION].create_key(MultiRegion=True, **more)["KeyMetadata"]
    assert m["KeyId"].startswith("mrk-") and m["MultiRegion"]
    assert m["MultiRegionConfiguration"] == {
        "MultiRegionKeyType": "PRIMARY", "PrimaryKey": {"Arn": m["Arn"], "Region": REGION}, "ReplicaKeys": [],
    }
    return m["KeyId"]


def settle(kms, key, region, want="Enabled"):
    wait_for(lambda: kms[region].describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == want, f"{want} in {region}")


def replicate(kms, key, region, want="Enabled", **more):
    answer = kms[REGION].replicate_key(KeyId=key, ReplicaRegion=region, **more)
    m = answer["ReplicaKeyMetadata"]
    assert (m["KeyId"], m["Arn"], m["KeyState"], m["Enabled"]) == (key, arn(key, region), "Creating", False)
    assert m["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    settle(kms, key, region, want)
    return answer


def layout(kms, key, region):
    c = kms[region].describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]
    assert c["PrimaryKey"]["Arn"] == arn(key, c["PrimaryKey"]["Region"])
    return c["MultiRegionKeyType"], c["PrimaryKey"]["Region"], sorted(r["Region"] for r in c["ReplicaKeys"])


def test_replicas(kms):
    key = primary(kms)
    early = kms[REGION].encrypt(KeyId=key, Plaintext=MESSAGE, EncryptionContext=CONTEXT)["CiphertextBlob"]
    with refused("AccessDeniedException", "does not exist in this region"):
        kms[THERE].decrypt(CiphertextBlob=early, EncryptionContext=CONTEXT)
    answer = replicate(kms, key, THERE, Description="the copy", Tags=[{"TagKey": "team", "TagValue": "geo"}])
    assert answer["ReplicaTags"] == [{"TagKey": "team", "TagValue": "geo"}] and json.loads(answer["ReplicaPolicy"])["Id"] == "key-default-1"
    assert layout(kms, key, REGION) == ("PRIMARY", REGION, [THERE]) and layout(kms, key, THERE) == ("REPLICA", REGION, [THERE])
    opened = kms[THERE].decrypt(CiphertextBlob=early, EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (MESSAGE, arn(key, THERE))
    with refused("InvalidCiphertextException"):
        kms[THERE].decrypt(CiphertextBlob=early)
    late = kms[THERE].generate_data_key(KeyId=key, KeySpec="AES_256")
    assert kms[REGION].decrypt(CiphertextBlob=late["CiphertextBlob"])["Plaintext"] == late["Plaintext"]
    # Policy, tags, description and state are each key's own.
    assert kms[REGION].describe_key(KeyId=key)["KeyMetadata"]["Description"] == ""
    kms[REGION].disable_key(KeyId=key)
    with refused("DisabledException"):
        kms[REGION].decrypt(CiphertextBlob=early, EncryptionContext=CONTEXT)
    kms[THERE].decrypt(CiphertextBlob=early, EncryptionContext=CONTEXT)
    with refused("DisabledException", f"{arn(key, REGION)} is disabled."):
        kms[REGION].replicate_key(KeyId=key, ReplicaRegion=THIRD)
    kms[REGION].enable_key(KeyId=key)
    with refused("AlreadyExistsException", arn(key, THERE)):
        kms[REGION].replicate_key(KeyId=key, ReplicaRegion=THERE)
    with refused("UnsupportedOperationException", f"{arn(key, THERE)} is not a multi-region primary key."):
        kms[THERE].replicate_key(KeyId=key, ReplicaRegion=THIRD)
    with refused("NotFoundException", f"Invalid arn {THERE}"):
        kms[REGION].describe_key(KeyId=arn(key, THERE))


def test_a_replica_signs_for_all(kms):
    key = primary(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    replicate(kms, key, THERE)
    public = serialization.load_der_public_key(kms[REGION].get_public_key(KeyId=key)["PublicKey"])
    signature = kms[THERE].sign(KeyId=key, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_rotation_reaches_replicas(cloud, kms):
    key = primary(kms)
    replicate(kms, key, THERE)
    old = kms[THERE].encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    kms[REGION].enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms[THERE].get_key_rotation_status(KeyId=key)
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 90
    kms[REGION].rotate_key_on_demand(KeyId=key)
    for refusing in (kms[THERE].enable_key_rotation, kms[THERE].disable_key_rotation, kms[THERE].rotate_key_on_demand):
        with refused("UnsupportedOperationException", f"{arn(key, THERE)} is not a multi-region primary key."):
            refusing(KeyId=key)
    ids = [[r["KeyMaterialId"] for r in kms[r].list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]] for r in (REGION, THERE)]
    assert ids[0] == ids[1] and len(ids[0]) == 2
    new = kms[REGION].encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    for blob in (old, new):
        for region in (REGION, THERE):
            assert kms[region].decrypt(CiphertextBlob=blob)["Plaintext"] == MESSAGE
    wait_for(lambda: "SynchronizeMultiRegionKey" in [r["eventName"] for r in cloud.records("ResourceName", arn(key, REGION))], "the record of the synchronisation")


def test_the_primary_moves(cloud, kms):
    key = primary(kms)
    replicate(kms, key, THERE)
    replicate(kms, key, THIRD)
    with refused("NotFoundException", arn(key, "eu-west-1")):
        kms[REGION].update_primary_region(KeyId=key, PrimaryRegion="eu-west-1")
    cloud.cli("kms", "update-primary-region", "--key-id", key, "--primary-region", THERE)
    for region in (REGION, THERE):
        assert kms[region].describe_key(KeyId=key)["KeyMetadata"]["KeyState"] in ("Updating", "Enabled")
        kms[region].encrypt(KeyId=key, Plaintext=MESSAGE)
        settle(kms, key, region)
    assert layout(kms, key, REGION) == ("REPLICA", THERE, [THIRD, REGION])
    assert layout(kms, key, THERE) == ("PRIMARY", THERE, [THIRD, REGION])
    assert layout(kms, key, THIRD) == ("REPLICA", THERE, [THIRD, REGION])
    for region in (REGION, THERE):
        wait_for(lambda: "UpdatePrimaryRegion" in [r["eventName"] for r in cloud.records("ResourceName", arn(key, region), region=region)], f"the record in {region}")


def test_a_primary_waits_for_its_replicas(kms):
    key = primary(kms)
    replicate(kms, key, THERE)
    answer = kms[REGION].schedule_key_deletion(KeyId=key, PendingWindowInDays=9)
    assert answer["KeyState"] == "PendingReplicaDeletion" and "DeletionDate" not in answer
    m = kms[REGION].describe_key(KeyId=key)["KeyMetadata"]
    assert m["PendingDeletionWindowInDays"] == 9 and "DeletionDate" not in m
    with refused("KMSInvalidStateException", "is pending replica deletion."):
        kms[REGION].encrypt(KeyId=key, Plaintext=MESSAGE)
    kms[THERE].encrypt(KeyId=key, Plaintext=MESSAGE)
    kms[REGION].cancel_key_deletion(KeyId=key)
    assert kms[REGION].describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def test_imported_material_goes_into_each_region(kms):
    key = primary(kms, Origin="EXTERNAL")
    first, second = os.urandom(32), os.urandom(32)
    with refused("KMSInvalidStateException", "is pending import."):
        kms[REGION].replicate_key(KeyId=key, ReplicaRegion=THERE)
    here, there = arn(key, REGION), arn(key, THERE)
    put(kms[REGION], here, first)
    replicate(kms, key, THERE, "PendingImport")
    with refused("IncorrectKeyMaterialException"):
        put(kms[THERE], there, second)
    put(kms[THERE], there, first)
    blob = kms[REGION].encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    assert kms[THERE].decrypt(CiphertextBlob=blob)["Plaintext"] == MESSAGE
    more = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE", "ImportType": "NEW_KEY_MATERIAL"}
    with refused("UnsupportedOperationException"):
        put(kms[THERE], there, second, **more)
    put(kms[REGION], here, second, **more)
    assert versions(kms[REGION], key)[1] == ("PENDING_MULTI_REGION_IMPORT_AND_ROTATION", "IMPORTED")
    with refused("KMSInvalidStateException", "No available key material pending rotation"):
        kms[REGION].rotate_key_on_demand(KeyId=key)
    put(kms[THERE], there, second, **(more | {"ImportType": "EXISTING_KEY_MATERIAL"}))
    assert versions(kms[REGION], key)[1] == ("PENDING_ROTATION", "IMPORTED")
    kms[REGION].rotate_key_on_demand(KeyId=key)
    assert versions(kms[THERE], key) == [("NON_CURRENT", "IMPORTED"), ("CURRENT", "IMPORTED")]
    new = kms[THERE].encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    assert kms[REGION].decrypt(CiphertextBlob=new)["Plaintext"] == MESSAGE


def test_who_may(cloud, kms):
    key = primary(kms)
    there = {"StringEquals": {"aws:RequestedRegion": THERE}}
    person = cloud.new_user(allow("kms:ReplicateKey", Condition={"StringEquals": {"kms:ReplicaRegion": THERE}}))
    user = cloud.boto("kms", person)
    with refused("AccessDeniedException", "kms:ReplicateKey"):
        user.replicate_key(KeyId=key, ReplicaRegion=THIRD)
    with refused("AccessDeniedException", "kms:CreateKey"):
        user.replicate_key(KeyId=key, ReplicaRegion=THERE)
    cloud.boto("iam").put_user_policy(UserName=person.name, PolicyName="more", PolicyDocument=policy(
        allow("kms:CreateKey", Condition=there | {"StringLike": {"kms:MultiRegionKeyType": "REPLICA"}}), allow("kms:UpdatePrimaryRegion", arn(key, REGION)),
    ))
    user.replicate_key(KeyId=key, ReplicaRegion=THERE)
    settle(kms, key, THERE)
    with refused("AccessDeniedException", "kms:UpdatePrimaryRegion", arn(key, THERE)):
        user.update_primary_region(KeyId=key, PrimaryRegion=THERE)


def test_the_cli_and_the_records(cloud, kms):
    key = cloud.cli("kms", "create-key", "--multi-region", "--description", "from the CLI")["KeyMetadata"]["KeyId"]
    answer = cloud.cli("kms", "replicate-key", "--key-id", key, "--replica-region", THERE, "--tags", "TagKey=team,TagValue=geo")
    assert answer["ReplicaKeyMetadata"]["KeyState"] == "Creating"
    settle(kms, key, THERE)
    wait_for(lambda: "ReplicateKey" in [r["eventName"] for r in cloud.records("ResourceName", arn(key, REGION))], "the record of the primary's Region")
    created = wait_for(lambda: [r for r in cloud.records("ResourceName", arn(key, THERE), region=THERE) if r["eventName"] == "CreateKey"], "the record of the replica's Region")
    assert created[0]["awsRegion"] == THERE and created[0]["requestParameters"]["multiRegion"] is True
    role = cloud.boto("iam").get_role(RoleName="AWSServiceRoleForKeyManagementServiceMultiRegionKeys")["Role"]
    assert role["Path"] == "/aws-service-role/mrk.kms.amazonaws.com/"


def test_it_survives_kill(own_server):
    server = own_server()
    kms = {r: server.cloud().boto("kms", region=r) for r in (REGION, THERE)}
    key = primary(kms)
    blob = kms[REGION].encrypt(KeyId=key, Plaintext=MESSAGE)["CiphertextBlob"]
    kms[REGION].replicate_key(KeyId=key, ReplicaRegion=THERE)
    server.kill()
    server.start()
    kms = {r: server.cloud().boto("kms", region=r) for r in (REGION, THERE)}
    settle(kms, key, THERE)
    assert kms[THERE].decrypt(CiphertextBlob=blob)["Plaintext"] == MESSAGE
    assert layout(kms, key, THERE) == ("REPLICA", REGION, [THERE])
