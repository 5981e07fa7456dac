"""Large objects: multipart uploads, streams, memory, and TLS with trailing checksums."""

import base64
import hashlib
import http.client
import io
import json
import os
import re
import urllib.parse
import zlib

import pytest
from boto3.s3.transfer import TransferConfig

from harness import Server, allow, memory_kib, refused, unique

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(cloud):
    return cloud.boto("s3")


@pytest.fixture(scope="module")
def bucket(cloud):
    return cloud.new_bucket()


def noise(size, seed=b"noise"):
    """Bytes that neither repeat nor compress, the same each time."""
    return hashlib.shake_128(seed).digest(size)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """A file of 20 MiB and a little."""
    path = tmp_path_factory.mktemp("files") / "twenty.bin"
    path.write_bytes(noise(20 * MIB + 12345))
    return path


def parts(s3, bucket, key, bodies, **more):
    """A multipart upload by hand; its answer to CompleteMultipartUpload."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    done = []
    for i, b in enumerate(bodies, 1):
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=i, Body=b)
        done.append({"PartNumber": i, "ETag": answer["ETag"]} | {k: answer[k] for k in answer if k.startswith("Checksum")})
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


def test_cli_cp_of_a_large_file(cloud, s3, bucket, twenty, tmp_path):
    key = cloud.new_key()
    cloud.cli("s3", "cp", twenty, f"s3://{bucket}/cli/twenty", "--sse", "aws:kms", "--sse-kms-key-id", key, "--no-progress", text=True)
    head = s3.head_object(Bucket=bucket, Key="cli/twenty")
    assert head["ContentLength"] == twenty.stat().st_size and head["SSEKMSKeyId"] == key
    assert re.fullmatch(r'"[0-9a-f]{32}-3"', head["ETag"]), head["ETag"]
    cloud.cli("s3", "cp", f"s3://{bucket}/cli/twenty", tmp_path / "back", "--no-progress", text=True)
    assert (tmp_path / "back").read_bytes() == twenty.read_bytes()


def test_boto3_transfer(s3, bucket, twenty, tmp_path):
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(twenty), bucket, "boto/twenty", Config=config, ExtraArgs={"Metadata": {"crop": "rapeseed"}})
    head = s3.head_object(Bucket=bucket, Key="boto/twenty")
    assert head["ETag"].endswith('-5"') and head["Metadata"] == {"crop": "rapeseed"}
    s3.download_file(bucket, "boto/twenty", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == twenty.read_bytes()


def test_multipart_by_hand(s3, bucket):
    a, b = noise(5 * MIB, b"a"), noise(1234, b"b")
    answer = parts(s3, bucket, "hand", [a, b])
    md5s = hashlib.md5(a).digest() + hashlib.md5(b).digest()
    assert answer["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
    assert s3.get_object(Bucket=bucket, Key="hand")["Body"].read() == a + b
    across = s3.get_object(Bucket=bucket, Key="hand", Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert across["Body"].read() == (a + b)[5 * MIB - 3 : 5 * MIB + 3]
    second = s3.get_object(Bucket=bucket, Key="hand", PartNumber=2)
    assert second["Body"].read() == b and second["PartsCount"] == 2


def test_order_and_replacement_of_parts(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="order")["UploadId"]
    a, b = noise(5 * MIB, b"a"), b"last"
    etags = {}
    for number, data in ((7, b), (3, b"x" * 5 * MIB), (3, a)):
        etags[number] = s3.upload_part(Bucket=bucket, Key="order", UploadId=upload, PartNumber=number, Body=data)["ETag"]
    listed = s3.list_parts(Bucket=bucket, Key="order", UploadId=upload)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [(3, 5 * MIB, etags[3]), (7, 4, etags[7])]
    assert upload in [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    def complete(*numbers, **change):
        wanted = [{"PartNumber": n, "ETag": change.get("etag", etags.get(n, etags[3]))} for n in numbers]
        return s3.complete_multipart_upload(Bucket=bucket, Key="order", UploadId=upload, MultipartUpload={"Parts": wanted})

    with refused("InvalidPartOrder", status=400):
        complete(7, 3)
    with refused("InvalidPart", status=400):
        complete(3, 5)
    with refused("InvalidPart", status=400):
        complete(3, 7, etag='"00000000000000000000000000000000"')
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="order")
    complete(3, 7)
    assert s3.get_object(Bucket=bucket, Key="order")["Body"].read() == a + b
    with refused("NoSuchUpload", status=404):
        s3.upload_part(Bucket=bucket, Key="order", UploadId=upload, PartNumber=1, Body=b"x")


def test_small_parts_and_abort(s3, bucket):
    with refused("EntityTooSmall", status=400):
        parts(s3, bucket, "small", [b"x" * 1000, b"y"])
    for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="small")["Uploads"]:
        s3.abort_multipart_upload(Bucket=bucket, Key="small", UploadId=u["UploadId"])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket, Prefix="small")


def test_multipart_under_a_key_needs_both_rights(cloud, s3, bucket):
    key = cloud.new_key()
    sse = dict(ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    writer = cloud.boto("s3", cloud.new_user(allow("s3:*"), allow("kms:GenerateDataKey", key)))
    writer.put_object(Bucket=bucket, Key="small under key", Body=b"x", **sse)
    with refused("AccessDenied", "kms:Decrypt", key):
        parts(writer, bucket, "large under key", [b"x"], **sse)
    both = cloud.boto("s3", cloud.new_user(allow("s3:*"), allow(["kms:GenerateDataKey", "kms:Decrypt"], key)))
    answer = parts(both, bucket, "large under key", [noise(5 * MIB), b"end"], **sse)
    assert answer["SSEKMSKeyId"] == key
    assert both.get_object(Bucket=bucket, Key="large under key")["Body"].read() == noise(5 * MIB) + b"end"


def test_part_copy(cloud, s3, bucket):
    data, key = noise(6 * MIB), cloud.new_key()
    s3.put_object(Bucket=bucket, Key="source", Body=data, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="from parts")["UploadId"]

    def copy(number, client=s3, **more):
        return client.upload_part_copy(Bucket=bucket, Key="from parts", UploadId=upload, PartNumber=number, **{"CopySource": f"{bucket}/source"} | more)

    answer = copy(1, CopySourceRange=f"bytes=0-{5 * MIB - 1}")["CopyPartResult"]
    assert answer["ETag"] == f'"{hashlib.md5(data[:5 * MIB]).hexdigest()}"' and answer["LastModified"]
    rest = copy(2, CopySourceRange=f"bytes={5 * MIB}-{6 * MIB - 1}")["CopyPartResult"]
    whole = copy(3, CopySourceIfMatch=s3.head_object(Bucket=bucket, Key="source")["ETag"])["CopyPartResult"]
    for wrong in (f"bytes=0-{6 * MIB}", "bytes=5-", "bytes=-5", "bytes=0-1,2-3"):
        with refused("InvalidArgument", status=400):
            copy(4, CopySourceRange=wrong)
    with refused("PreconditionFailed", status=412):
        copy(4, CopySourceIfMatch='"x"')
    with refused("NoSuchKey", status=404):
        copy(4, CopySource=f"{bucket}/nothing")
    with refused("AccessDenied", "s3:GetObject", status=403):
        copy(4, cloud.boto("s3", cloud.new_user(allow("s3:PutObject"), allow("kms:*", key))))
    with refused("AccessDenied", "kms:Decrypt", key, status=403):
        copy(4, cloud.boto("s3", cloud.new_user(allow("s3:*"))))
    cloud.boto("kms").disable_key(KeyId=key)
    with refused("KMS.DisabledException", status=400):
        copy(4)
    done = [{"PartNumber": i, "ETag": part["ETag"]} for i, part in enumerate((answer, rest, whole), 1)]
    with refused("EntityTooSmall"):
        s3.complete_multipart_upload(Bucket=bucket, Key="from parts", UploadId=upload, MultipartUpload={"Parts": done})
    s3.complete_multipart_upload(Bucket=bucket, Key="from parts", UploadId=upload, MultipartUpload={"Parts": [done[0], done[2]]})
    assert s3.get_object(Bucket=bucket, Key="from parts")["Body"].read() == data[: 5 * MIB] + data


def test_cp_between_buckets(cloud, s3, bucket, twenty):
    """A large object goes from bucket to bucket in copied parts, under another key."""
    to, here, there = cloud.new_bucket(), cloud.new_key(), cloud.new_key()
    s3.upload_file(str(twenty), bucket, "big one", ExtraArgs={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": here})
    cloud.cli("s3", "cp", f"s3://{bucket}/big one", f"s3://{to}/cli", "--sse", "aws:kms", "--sse-kms-key-id", there, "--no-progress", text=True)
    sse = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": there}
    s3.copy({"Bucket": bucket, "Key": "big one"}, to, "boto", ExtraArgs=sse | {"ChecksumAlgorithm": "SHA256"}, Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=6 * MIB))
    cloud.boto("kms").disable_key(KeyId=here)
    for key, count in (("cli", 3), ("boto", 4)):
        got = s3.get_object(Bucket=to, Key=key)
        assert got["SSEKMSKeyId"] == there and got["ETag"].endswith(f'-{count}"')
        assert got["Body"].read() == twenty.read_bytes()


def test_tags_are_read_back(cloud, s3, bucket):
    """The AWS CLI reads the tags of a large source and gives them to the upload of its copy."""
    tags = [{"Key": "season", "Value": "2026"}, {"Key": "field", "Value": "a b"}]
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="season=2026&field=a%20b")
    parts(s3, bucket, "tagged parts", [b"x"], Tagging="season=2026&field=a%20b")
    for key, want in (("plain", []), ("tagged", tags), ("tagged parts", tags)):
        assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == want
    with refused("NoSuchKey", status=404):
        s3.get_object_tagging(Bucket=bucket, Key="nothing")
    with refused("AccessDenied", "s3:GetObjectTagging", status=403):
        cloud.boto("s3", cloud.new_user(allow("s3:GetObject"))).get_object_tagging(Bucket=bucket, Key="tagged")


def test_multipart_checksums(s3, bucket):
    a, b = noise(5 * MIB, b"a"), b"end"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="sums", ChecksumAlgorithm="SHA256")["UploadId"]
    done = []
    for i, data in enumerate((a, b), 1):
        answer = s3.upload_part(Bucket=bucket, Key="sums", UploadId=upload, PartNumber=i, Body=data, ChecksumAlgorithm="SHA256")
        assert answer["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
        done.append({"PartNumber": i, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="sums", UploadId=upload, MultipartUpload={"Parts": done})
    composite = hashlib.sha256(hashlib.sha256(a).digest() + hashlib.sha256(b).digest()).digest()
    head = s3.head_object(Bucket=bucket, Key="sums", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == base64.b64encode(composite).decode() + "-2" and head["ChecksumType"] == "COMPOSITE"


class Stream(io.RawIOBase):
    """A body of any size that is never in memory as a whole."""

    block = noise(MIB, b"block")

    def __init__(self, size):
        super().__init__()
        self.size, self.at = size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=os.SEEK_SET):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def read(self, n=-1):
        n = self.size - self.at if n is None or n < 0 else min(n, self.size - self.at)
        first = self.at % MIB
        data = self.block[first : first + n]
        while len(data) < n:
            data += self.block[: n - len(data)]
        self.at += n
        return data

    def __len__(self):
        return self.size


def test_memory_stays_small(own_server):
    """One object of 300 MiB, in and out, under a key: the server streams it."""
    server = own_server()
    cloud = server.cloud()
    # The digest of the body would be taken beforehand otherwise; plain HTTP needs UNSIGNED-PAYLOAD to stream.
    s3 = cloud.boto("s3", request_checksum_calculation="when_required", s3={"payload_signing_enabled": False})
    bucket, key = cloud.new_bucket(), cloud.new_key()
    s3.put_object(Bucket=bucket, Key="warm", Body=Stream(8 * MIB), ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    before = memory_kib(server.process.pid)
    if before is None:
        pytest.skip("the system does not tell a process's memory")
    size = 300 * MIB + 4321
    s3.put_object(Bucket=bucket, Key="big", Body=Stream(size), ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    got, total, crc, want = s3.get_object(Bucket=bucket, Key="big"), 0, 0, Stream(size)
    for chunk in got["Body"].iter_chunks(MIB):
        total += len(chunk)
        crc = zlib.crc32(chunk, crc)
    expected = 0
    while data := want.read(MIB):
        expected = zlib.crc32(data, expected)
    assert (total, crc) == (size, expected)
    tail = s3.get_object(Bucket=bucket, Key="big", Range="bytes=-4321")["Body"].read()
    assert tail == Stream.block[:4321]
    grown = (memory_kib(server.process.pid, "VmHWM") - before) / 1024
    assert grown <= 64, f"the server grew by {grown:.0f} MiB"


def test_a_cut_upload_leaves_nothing(own_server):
    """A client that goes away in the middle of a PUT: no object, and its space comes back."""
    server = own_server()
    cloud = server.cloud()
    s3, bucket = cloud.boto("s3", signature_version="s3v4"), cloud.new_bucket()
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "cut"}, ExpiresIn=60))
    c = http.client.HTTPConnection(url.netloc, timeout=20)
    c.putrequest("PUT", f"{url.path}?{url.query}")
    c.putheader("Content-Length", str(10 * MIB))
    c.endheaders(noise(3 * MIB))
    c.close()
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="cut")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


# TLS: boto3 sends the checksum as a trailer of an unsigned, chunked body.


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    server = Server(folder, "--tls-self-signed").start()
    try:
        ca = folder / "ca.pem"
        ca.write_text(json.loads((server.data / "server.json").read_text())["ca"])
        assert server.url.startswith("https://")
        yield server.cloud(verify=str(ca)), ca
    finally:
        server.stop()


def test_tls_cli(tls):
    cloud, ca = tls
    assert cloud.cli("sts", "get-caller-identity", env={"AWS_CA_BUNDLE": str(ca)})["Arn"] == cloud.root_arn


def test_own_commands_trust_the_certificate(tls):
    cloud, _ = tls
    cloud.server.command("doctor", check=True)
    cloud.server.command("account", "create", "--id", "555566667777", check=True)


@pytest.mark.parametrize("size", [0, 1, 65536, 1_000_003])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_trailers(tls, size, algorithm):
    cloud, _ = tls
    s3, bucket = cloud.boto("s3"), cloud.new_bucket()
    seen = {}
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: seen.update(request.headers))
    data = noise(size)
    s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(data), ChecksumAlgorithm=algorithm, ContentEncoding="gzip")
    assert seen["X-Amz-Content-SHA256"] in (b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), "boto3 sent no trailer"
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == data, "the framing was stored"
    assert got["ContentEncoding"] == "gzip" and got["ContentLength"] == size
    want = {"CRC32": lambda: zlib.crc32(data).to_bytes(4, "big"), "SHA1": lambda: hashlib.sha1(data).digest(), "SHA256": lambda: hashlib.sha256(data).digest()}
    assert got[f"Checksum{algorithm}"] == base64.b64encode(want[algorithm]()).decode()


def test_wrong_trailer(tls):
    cloud, _ = tls
    s3, bucket = cloud.boto("s3"), cloud.new_bucket()

    def damage(request, **_):
        body = request.body
        read = body.read

        def changed(n=-1):
            return re.sub(rb"(x-amz-checksum-crc32:)....", rb"\1AAAA", read(n))

        body.read = changed

    s3.meta.events.register("before-send.s3.PutObject", damage)
    try:
        with refused(("BadDigest", "InvalidRequest", "XAmzContentChecksumMismatch"), status=400):
            s3.put_object(Bucket=bucket, Key="bad", Body=io.BytesIO(b"data"))
    finally:
        s3.meta.events.unregister("before-send.s3.PutObject", damage)
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="bad")


def test_multipart_over_tls(tls, twenty, tmp_path):
    cloud, ca = tls
    bucket = unique("tls")
    env = {"AWS_CA_BUNDLE": str(ca)}
    cloud.cli("s3", "mb", f"s3://{bucket}", env=env, text=True)
    cloud.cli("s3", "cp", twenty, f"s3://{bucket}/twenty", "--no-progress", env=env, text=True)
    cloud.boto("s3").download_file(bucket, "twenty", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == twenty.read_bytes()


def test_secure_transport_is_true_over_tls(tls):
    cloud, _ = tls
    user = cloud.new_user(allow("s3:ListAllMyBuckets", Condition={"Bool": {"aws:SecureTransport": "true"}}))
    cloud.boto("s3", user).list_buckets()


def test_records_tell_tls(tls):
    cloud, _ = tls
    key = cloud.new_key()
    r = cloud.records("ResourceName", key)[0]
    assert r["tlsDetails"]["tlsVersion"] == "TLSv1.3" and r["tlsDetails"]["cipherSuite"].startswith("TLS_")
