"""S3 with SSE-S3, SSE-KMS, DSSE-KMS and Bucket Keys: who may read is decided by the key."""

import base64
import hashlib
import json
import re
import uuid

import pytest

from harness import ACCOUNT, REGION, allow, deny, policy, refused


@pytest.fixture(scope="module")
def s3(cloud):
    return cloud.boto("s3")


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture
def bucket(cloud):
    return cloud.new_bucket()


@pytest.fixture
def key(cloud):
    return cloud.new_key()


def set_default(s3, bucket, key, algorithm="aws:kms", bucket_key=None):
    by = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": by} | ({} if bucket_key is None else {"BucketKeyEnabled": bucket_key})
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def rule_of(s3, bucket):
    return s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]


def uses(cloud, key):
    """The key's data key calls, oldest first: (event, encryption context, error)."""
    return [
        (r["eventName"], (r["requestParameters"] or {}).get("encryptionContext"), r.get("errorCode"))
        for r in reversed(cloud.records("ResourceName", key)) if r["eventName"] in ("GenerateDataKey", "Decrypt")
    ]


def test_every_bucket_has_a_default(s3, bucket, key):
    assert rule_of(s3, bucket) == {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    set_default(s3, bucket, key.rsplit("/", 1)[1], bucket_key=True)
    assert rule_of(s3, bucket) == {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key.rsplit("/", 1)[1]}, "BucketKeyEnabled": True,
    }
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.delete_bucket_encryption(Bucket=bucket)
    assert rule_of(s3, bucket)["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_bad_defaults(s3, bucket, key):
    with refused("InvalidArgument", "a KMSMasterKeyID is not applicable"):
        set_default(s3, bucket, key, "AES256")
    with refused("MalformedXML"):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": []})


@pytest.mark.parametrize("form", ["arn", "id", "alias", "alias arn"])
def test_key_by_header(cloud, s3, kms, bucket, key, form):
    alias = f"alias/s3-{uuid.uuid4().hex}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    id = {"arn": key, "id": key.rsplit("/", 1)[1], "alias": alias, "alias arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"}[form]
    data = b"field report"
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ServerSideEncryption="aws:kms", SSEKMSKeyId=id)
    for answer in (put, s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"]) == ("aws:kms", key)
        assert "BucketKeyEnabled" not in answer
        assert re.fullmatch(r'"[0-9a-f]{32}"', answer["ETag"]) and hashlib.md5(data).hexdigest() not in answer["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    kms.update_alias(AliasName=alias, TargetKeyId=cloud.new_key())
    assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == key
    context = {"aws:s3:arn": f"arn:aws:s3:::{bucket}/k"}
    assert uses(cloud, key)[0] == ("GenerateDataKey", context, None)
    assert ("Decrypt", context, None) in uses(cloud, key)[1:]


def test_bucket_default_key(cloud, s3, bucket, key):
    set_default(s3, bucket, key)
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x")["SSEKMSKeyId"] == key
    # The client may still ask for something else.
    assert s3.put_object(Bucket=bucket, Key="plain", Body=b"x", ServerSideEncryption="AES256")["ServerSideEncryption"] == "AES256"
    other = cloud.new_key()
    assert s3.put_object(Bucket=bucket, Key="other", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=other)["SSEKMSKeyId"] == other
    # A copy takes the destination's default, not the source's encryption.
    plain = cloud.new_bucket()
    assert s3.copy_object(Bucket=plain, Key="k", CopySource=f"{bucket}/k")["ServerSideEncryption"] == "AES256"
    assert s3.copy_object(Bucket=bucket, Key="back", CopySource=f"{plain}/k")["SSEKMSKeyId"] == key
    assert s3.get_object(Bucket=bucket, Key="back")["Body"].read() == b"x"


def test_client_context(cloud, s3, bucket, key):
    context = base64.b64encode(json.dumps({"plot": "7"}).encode()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key, SSEKMSEncryptionContext=context)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert {json.dumps(c, sort_keys=True) for _, c, _ in uses(cloud, key)} == {json.dumps({"aws:s3:arn": f"arn:aws:s3:::{bucket}/k", "plot": "7"}, sort_keys=True)}


def test_managed_key(cloud, s3, kms, bucket):
    arn = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")["SSEKMSKeyId"]
    m = kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]
    assert (m["Arn"], m["KeyManager"]) == (arn, "AWS")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with refused(("AccessDeniedException", "NotAuthorizedException", "UnsupportedOperationException")):
        kms.schedule_key_deletion(KeyId=arn)


def test_bucket_keys_save_calls(cloud, s3, bucket, key):
    set_default(s3, bucket, key, bucket_key=True)
    n = 30
    for i in range(n):
        put = s3.put_object(Bucket=bucket, Key=f"k{i}", Body=b"%d" % i)
        assert put["BucketKeyEnabled"] is True and put["SSEKMSKeyId"] == key
    for i in range(n):
        got = s3.get_object(Bucket=bucket, Key=f"k{i}")
        assert got["Body"].read() == b"%d" % i and got["BucketKeyEnabled"] is True
    seen = uses(cloud, key)
    assert 1 <= len(seen) <= 4, f"{len(seen)} uses of the key for {2 * n} requests"
    assert {json.dumps(c) for _, c, _ in seen} == {json.dumps({"aws:s3:arn": f"arn:aws:s3:::{bucket}"})}


def test_bucket_key_per_requester(cloud, s3, bucket, key):
    """Each principal's access to the key is asked and shows."""
    set_default(s3, bucket, key, bucket_key=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    permitted = cloud.new_user(allow(["s3:GetObject"]), allow("kms:Decrypt", key))
    bare = cloud.new_user(allow("s3:GetObject"))
    assert cloud.boto("s3", permitted).get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with refused("AccessDenied", "kms:Decrypt", key, bare.arn, status=403):
        cloud.boto("s3", bare).get_object(Bucket=bucket, Key="k")


def test_dsse(cloud, s3, bucket, key):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"twice", ServerSideEncryption="aws:kms:dsse", SSEKMSKeyId=key)
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms:dsse", key)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["ServerSideEncryption"]) == (b"twice", "aws:kms:dsse")


def test_rights_on_objects_are_no_rights_on_the_key(cloud, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    user = cloud.new_user(allow("s3:*"))
    theirs = cloud.boto("s3", user)
    with refused("AccessDenied", f"User: {user.arn} is not authorized to perform: kms:Decrypt on resource: {key}", status=403):
        theirs.get_object(Bucket=bucket, Key="k")
    with refused("AccessDenied", f"User: {user.arn} is not authorized to perform: kms:GenerateDataKey on resource: {key}", status=403):
        theirs.put_object(Bucket=bucket, Key="mine", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert theirs.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == key  # needs no key
    with refused(("403", "AccessDenied"), status=403):
        theirs.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="mine")
    assert ("Decrypt", {"aws:s3:arn": f"arn:aws:s3:::{bucket}/k"}, "AccessDenied") in uses(cloud, key)


def test_via_service_condition(cloud, s3, bucket):
    """A key that opens through S3 alone, as the caller."""
    user = cloud.new_user(allow("s3:*"))
    key = cloud.new_key(allow(
        ["kms:GenerateDataKey", "kms:Decrypt"], Principal={"AWS": user.arn},
        Condition={"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com", "kms:CallerAccount": ACCOUNT},
                   "StringLike": {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}/reports/*"}},
    ))
    theirs = cloud.boto("s3", user)
    theirs.put_object(Bucket=bucket, Key="reports/7", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert theirs.get_object(Bucket=bucket, Key="reports/7")["Body"].read() == b"x"
    with refused("AccessDenied", "kms:GenerateDataKey"):
        theirs.put_object(Bucket=bucket, Key="elsewhere/7", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    with refused("AccessDeniedException"):
        cloud.boto("kms", user).generate_data_key(KeyId=key, KeySpec="AES_256")


def test_record_of_a_use_by_s3(cloud, bucket, key):
    user = cloud.new_user(allow("s3:*"), allow("kms:*"))
    cloud.boto("s3", user).put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    r = [r for r in cloud.records("ResourceName", key) if r["eventName"] == "GenerateDataKey"][0]
    assert r["userIdentity"]["arn"] == user.arn and r["userIdentity"]["invokedBy"].endswith("amazonaws.com")
    assert r["requestParameters"] == {"keyId": key, "keySpec": "AES_256", "encryptionContext": {"aws:s3:arn": f"arn:aws:s3:::{bucket}/k"}}


@pytest.mark.parametrize("id, text", [
    ("nonsense", "Invalid keyId 'nonsense'"),
    ("1234abcd-12ab-34cd-56ef-1234567890ab", f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab' does not exist"),
    (f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab", "Invalid arn eu-central-1"),
])
def test_bad_keys(s3, bucket, id, text):
    for call in (
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=id),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption="aws:kms", SSEKMSKeyId=id),
    ):
        with refused("KMS.NotFoundException", text, status=400):
            call()


@pytest.mark.parametrize("bucket_key", [False, True])
def test_disabled_and_pending_key(s3, kms, bucket, key, bucket_key):
    sse = dict(ServerSideEncryption="aws:kms", SSEKMSKeyId=key, BucketKeyEnabled=bucket_key)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **sse)
    s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    kms.disable_key(KeyId=key)
    with refused("KMS.DisabledException", f"{key} is disabled.", status=400):
        s3.get_object(Bucket=bucket, Key="k")
    with refused("KMS.DisabledException", status=400):
        s3.put_object(Bucket=bucket, Key="new", Body=b"x", **sse)
    kms.enable_key(KeyId=key)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    with refused("KMS.KMSInvalidStateException", f"{key} is pending deletion.", status=400):
        s3.get_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")  # needs no key


@pytest.mark.parametrize("bucket_key", [False, True])
def test_revocation_counts_at_once(cloud, s3, kms, bucket, key, bucket_key):
    user = cloud.new_user(allow("s3:*"))
    theirs = cloud.boto("s3", user)
    grant = kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt", "GenerateDataKey"])["GrantId"]
    theirs.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key, BucketKeyEnabled=bucket_key)
    assert theirs.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    kms.revoke_grant(KeyId=key, GrantId=grant)
    with refused("AccessDenied", "kms:Decrypt"):
        theirs.get_object(Bucket=bucket, Key="k")


def test_asymmetric_key(kms, s3, bucket):
    rsa = kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    with refused(("KMS.InvalidKeyUsageException", "KMS.UnsupportedOperationException", "InvalidArgument", "KMS.ValidationException")):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=rsa)


def test_customer_provided_keys_are_refused(s3, bucket):
    with refused(("NotImplemented", "AccessDenied", "InvalidRequest", "InvalidArgument")):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=b"k" * 32)


def test_bucket_policy_forces_a_key(cloud, s3, bucket, key):
    other = cloud.new_key()
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(deny(
        "s3:PutObject", f"arn:aws:s3:::{bucket}/*", Principal="*",
        Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key}},
    )))
    user = cloud.boto("s3", cloud.new_user(allow(["s3:*", "kms:*"])))
    user.put_object(Bucket=bucket, Key="right", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    text = "with an explicit deny in a resource-based policy"
    with refused("AccessDenied", "s3:PutObject", text, status=403):
        user.put_object(Bucket=bucket, Key="wrong", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=other)
    # The default does not fill in the header, so a bare PUT is refused as well.
    set_default(s3, bucket, key)
    with refused("AccessDenied", text):
        user.put_object(Bucket=bucket, Key="bare", Body=b"x")
    # A Deny counts before the header's value is judged.
    with refused("AccessDenied", text, status=403):
        user.put_object(Bucket=bucket, Key="odd", Body=b"x", ServerSideEncryption="AES192")
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["right"]


def test_bucket_policy_forces_encryption_header(cloud, s3, bucket):
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(deny(
        "s3:PutObject", f"arn:aws:s3:::{bucket}/*", Principal="*", Condition={"Null": {"s3:x-amz-server-side-encryption": "true"}},
    )))
    with refused("AccessDenied"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")


def test_reads_take_no_encryption_headers(cloud, bucket, s3):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    signed = cloud.boto("s3", signature_version="s3v4")

    def add(request, **_):
        request.headers["x-amz-server-side-encryption"] = "aws:kms"

    signed.meta.events.register("before-sign.s3.GetObject", add)
    try:
        with refused(("InvalidArgument", "InvalidRequest"), status=400):
            signed.get_object(Bucket=bucket, Key="k")
    finally:
        signed.meta.events.unregister("before-sign.s3.GetObject", add)


def test_key_of_another_account(cloud, other, s3, bucket):
    key = other.new_key(allow(["kms:GenerateDataKey", "kms:Decrypt"], Principal={"AWS": cloud.root_arn}))
    user = cloud.boto("s3", cloud.new_user(allow("s3:*"), allow("kms:*", key)))
    user.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    other.boto("kms").disable_key(KeyId=key)
    with refused("KMS.DisabledException"):
        user.get_object(Bucket=bucket, Key="k")
