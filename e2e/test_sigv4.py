"""Signatures: what was changed after signing, is too old or is signed for elsewhere is refused."""

import datetime

import botocore.auth
import pytest

from harness import REGION, allow, refused


@pytest.fixture
def bucket(cloud):
    return cloud.new_bucket()


class Change:
    """Changes every request of one operation after it was signed."""

    def __init__(self, client, operation, change):
        self.client, self.event, self.change = client, f"before-send.{client.meta.service_model.service_id.hyphenize()}.{operation}", change

    def __enter__(self):
        self.client.meta.events.register(self.event, self.apply)

    def apply(self, request, **_):
        self.change(request)

    def __exit__(self, *_):
        self.client.meta.events.unregister(self.event, self.apply)


def header(name, value):
    def change(request):
        request.headers[name] = value

    return change


def test_changed_body(cloud, bucket):
    kms, s3 = cloud.boto("kms"), cloud.boto("s3")

    def other_body(request):
        request.body = request.body.replace(b"true-text", b"fals-text") if isinstance(request.body, bytes) else b"fals-text"

    with refused("InvalidSignatureException"), Change(kms, "CreateKey", other_body):
        kms.create_key(Description="true-text")
    with refused(("XAmzContentSHA256Mismatch", "BadDigest"), status=400), Change(s3, "PutObject", other_body):
        s3.put_object(Bucket=bucket, Key="k", Body=b"true-text")
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


@pytest.mark.parametrize("name, value", [("x-amz-acl", "public-read"), ("x-amz-server-side-encryption", "aws:kms"), ("x-amz-copy-source", "/other/object"), ("x-amz-meta-a", "b")])
def test_header_added_after_signing(cloud, bucket, name, value):
    s3 = cloud.boto("s3")
    with refused(("AccessDenied", "SignatureDoesNotMatch"), status=403), Change(s3, "PutObject", header(name, value)):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


def test_changed_target(cloud):
    kms, key = cloud.boto("kms"), cloud.new_key()
    with refused("InvalidSignatureException"), Change(kms, "DescribeKey", header("X-Amz-Target", "TrentService.DisableKey")):
        kms.describe_key(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Enabled"]


def test_changed_path_and_method(cloud, bucket):
    s3 = cloud.boto("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="b", Body=b"b")

    def path(request):
        request.url = request.url.replace("/a", "/b") if request.url.endswith("/a") else request.url

    def method(request):
        request.method = "DELETE"

    for change in (path, method):
        with refused("SignatureDoesNotMatch", status=403), Change(s3, "GetObject", change):
            s3.get_object(Bucket=bucket, Key="a")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2


@pytest.mark.parametrize("minutes", [-20, 20])
def test_clock_skew(cloud, monkeypatch, minutes):
    real = botocore.auth.get_current_datetime

    def shifted(*args, **kwargs):
        return real(*args, **kwargs) + datetime.timedelta(minutes=minutes)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", shifted)
    with refused("InvalidSignatureException", "Signature"):
        cloud.boto("kms").list_keys()
    with refused("SignatureDoesNotMatch", "Signature", status=403):
        cloud.boto("iam").list_users()
    with refused("RequestTimeTooSkewed", status=403):
        cloud.boto("s3").list_buckets()


@pytest.mark.parametrize("minutes", [-4, 4])
def test_small_skew_is_accepted(cloud, monkeypatch, minutes):
    real = botocore.auth.get_current_datetime

    def shifted(*args, **kwargs):
        return real(*args, **kwargs) + datetime.timedelta(minutes=minutes)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", shifted)
    cloud.boto("kms").list_keys()
    cloud.boto("s3").list_buckets()


def test_signed_for_another_service(cloud):
    """A signature for one service opens no other."""
    kms = cloud.boto("kms", signature_version="v4")

    def as_iam(request, **_):
        request.context["signing"] = {"signing_name": "iam", "region": REGION}

    kms.meta.events.register("before-sign.kms.ListKeys", as_iam)
    signer = kms._request_signer
    name = signer._signing_name
    signer._signing_name = "iam"
    try:
        with refused(("InvalidSignatureException", "AccessDeniedException")):
            kms.list_keys()
    finally:
        signer._signing_name = name
        kms.meta.events.unregister("before-sign.kms.ListKeys", as_iam)


def test_duplicate_requests_are_no_secret(cloud):
    """The same signed request twice is two requests, each with its own id and record."""
    user = cloud.new_user(allow("kms:ListKeys"))
    kms = cloud.boto("kms", user)
    ids = {kms.list_keys()["ResponseMetadata"]["RequestId"] for _ in range(2)}
    assert len(ids) == 2
    assert {r["requestID"] for r in cloud.records("Username", user.name)} == ids
