"""Amazon S3: buckets, objects, listings, conditions, checksums, presigned URLs, bucket policies."""

import base64
import concurrent.futures
import datetime
import hashlib
import time
import urllib.error
import urllib.request
import zlib

import pytest
from botocore.handlers import validate_bucket_name

from harness import ACCOUNT, REGION, allow, deny, policy, refused, unique


@pytest.fixture(scope="module")
def s3(cloud):
    return cloud.boto("s3")


@pytest.fixture(scope="module")
def bucket(cloud):
    return cloud.new_bucket()


def body(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


# Buckets


def test_bucket_from_birth_to_death(cloud, s3):
    name = unique("birth")
    made = s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    assert name in made["Location"]
    head = s3.head_bucket(Bucket=name)
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == REGION
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == REGION
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    with refused("BucketAlreadyOwnedByYou", status=409):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    with refused("BucketNotEmpty", status=409):
        s3.delete_bucket(Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    with refused("404", status=404):
        s3.head_bucket(Bucket=name)
    with refused("NoSuchBucket", "The specified bucket does not exist", status=404):
        s3.list_objects_v2(Bucket=name)


def test_bucket_names_are_shared_by_all_accounts(cloud, other, bucket):
    theirs = other.boto("s3")
    with refused("BucketAlreadyExists", status=409):
        theirs.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with refused("AccessDenied", status=403):
        theirs.list_objects_v2(Bucket=bucket)
    with refused("403", status=403):
        theirs.head_bucket(Bucket=bucket)
    assert bucket not in [b["Name"] for b in theirs.list_buckets()["Buckets"]]


@pytest.mark.parametrize("name", ["ab", "Upper-Case", "under_score", "-dash", "192.168.5.4", "xn--bucket", "healthz", "axis-earth-observation-job-1"])
def test_bucket_names(cloud, name):
    with refused(("InvalidBucketName", "BucketAlreadyExists", "AccessDenied")):
        client = cloud.boto("s3", parameter_validation=False)
        client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


def test_expected_owner(cloud, other, s3, bucket):
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=ACCOUNT)
    with refused("AccessDenied", status=403):
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=other.account)


def test_cli_high_level(cloud, tmp_path):
    name = unique("shell")
    cloud.cli("s3", "mb", f"s3://{name}", text=True)
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a.txt").write_text("a")
    (tmp_path / "tree" / "sub" / "b.txt").write_text("b")
    cloud.cli("s3", "sync", tmp_path / "tree", f"s3://{name}/tree", text=True)
    assert "tree/sub/b.txt" in cloud.cli("s3", "ls", "--recursive", f"s3://{name}", text=True)
    cloud.cli("s3", "cp", f"s3://{name}/tree/a.txt", tmp_path / "back.txt", text=True)
    assert (tmp_path / "back.txt").read_text() == "a"
    cloud.cli("s3", "rb", "--force", f"s3://{name}", text=True)
    with refused("NoSuchBucket"):
        cloud.boto("s3").list_objects_v2(Bucket=name)


# Objects


def test_put_head_get(s3, bucket):
    data = b"plot 7: rapeseed"
    put = s3.put_object(
        Bucket=bucket, Key="reports/7.txt", Body=data, ContentType="text/plain", CacheControl="no-store", ContentDisposition="inline",
        ContentEncoding="identity", ContentLanguage="de", Metadata={"Crop": "rapeseed", "note": "two words"}, Tagging="team=crops&year=2026",
    )
    etag = '"' + hashlib.md5(data).hexdigest() + '"'
    assert put["ETag"] == etag and put["ServerSideEncryption"] == "AES256"
    for answer in (s3.head_object(Bucket=bucket, Key="reports/7.txt"), s3.get_object(Bucket=bucket, Key="reports/7.txt")):
        assert answer["ETag"] == etag and answer["ContentLength"] == len(data) and answer["ContentType"] == "text/plain"
        assert answer["Metadata"] == {"crop": "rapeseed", "note": "two words"}
        assert (answer["CacheControl"], answer["ContentDisposition"], answer["ContentEncoding"], answer["ContentLanguage"]) == ("no-store", "inline", "identity", "de")
        assert answer["AcceptRanges"] == "bytes" and answer["ServerSideEncryption"] == "AES256"
        age = datetime.datetime.now(datetime.timezone.utc) - answer["LastModified"]
        assert -2 <= age.total_seconds() < 60
    assert body(s3, bucket, "reports/7.txt") == data


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65536, 65537, 1_000_000])
def test_sizes(s3, bucket, size):
    data = bytes(i * 31 % 251 for i in range(256)) * (size // 256 + 1)
    data = data[:size]
    s3.put_object(Bucket=bucket, Key=f"size/{size}", Body=data)
    assert body(s3, bucket, f"size/{size}") == data
    if size:
        for first, last in ((0, 0), (size // 2, size // 2 + 9), (size - 1, size - 1)):
            got = s3.get_object(Bucket=bucket, Key=f"size/{size}", Range=f"bytes={first}-{last}")
            assert got["Body"].read() == data[first : last + 1]
            assert got["ContentRange"] == f"bytes {first}-{min(last, size - 1)}/{size}"
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert body(s3, bucket, f"size/{size}", Range="bytes=-5") == data[-5:]
        assert body(s3, bucket, f"size/{size}", Range=f"bytes={size // 3}-") == data[size // 3 :]
    with refused("InvalidRange", status=416):
        s3.get_object(Bucket=bucket, Key=f"size/{size}", Range=f"bytes={size}-{size + 5}")


def test_missing_objects(cloud, s3, bucket):
    with refused("NoSuchKey", "The specified key does not exist.", status=404):
        s3.get_object(Bucket=bucket, Key="nothing")
    with refused("404", status=404):
        s3.head_object(Bucket=bucket, Key="nothing")
    s3.delete_object(Bucket=bucket, Key="nothing")  # no error
    # Who may not list does not learn what is missing.
    user = cloud.boto("s3", cloud.new_user(allow("s3:GetObject")))
    with refused("AccessDenied", status=403):
        user.get_object(Bucket=bucket, Key="nothing")


def test_overwrite_and_delete(s3, bucket):
    for data in (b"first", b"second and longer"):
        s3.put_object(Bucket=bucket, Key="twice", Body=data)
        assert body(s3, bucket, "twice") == data
    s3.delete_object(Bucket=bucket, Key="twice")
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="twice")


def test_delete_many(s3, bucket):
    for i in range(5):
        s3.put_object(Bucket=bucket, Key=f"many/{i}", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"many/{i}"} for i in range(6)]})
    assert {d["Key"] for d in answer["Deleted"]} == {f"many/{i}" for i in range(6)} and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket, Prefix="many/")["KeyCount"] == 0


def test_copy(cloud, s3, bucket):
    to = cloud.new_bucket()
    s3.put_object(Bucket=bucket, Key="copy me/ü +%.txt", Body=b"data", ContentType="text/plain", Metadata={"a": "1"})
    answer = s3.copy_object(Bucket=to, Key="copied", CopySource={"Bucket": bucket, "Key": "copy me/ü +%.txt"})
    assert answer["CopyObjectResult"]["ETag"] == '"' + hashlib.md5(b"data").hexdigest() + '"'
    got = s3.get_object(Bucket=to, Key="copied")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"data", "text/plain", {"a": "1"})
    s3.copy_object(Bucket=to, Key="copied", CopySource=f"{to}/copied", MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket=to, Key="copied")["Metadata"] == {"b": "2"}
    with refused("InvalidRequest"):
        s3.copy_object(Bucket=to, Key="copied", CopySource=f"{to}/copied")
    with refused("NoSuchKey"):
        s3.copy_object(Bucket=to, Key="x", CopySource=f"{bucket}/nothing")
    reader = cloud.boto("s3", cloud.new_user(allow("s3:PutObject")))
    with refused("AccessDenied", "s3:GetObject"):
        reader.copy_object(Bucket=to, Key="stolen", CopySource=f"{to}/copied")


def test_too_long_keys_and_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k" * 1024, Body=b"x")
    with refused("KeyTooLongError", status=400):
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"x")
    with refused("MetadataTooLarge", status=400):
        s3.put_object(Bucket=bucket, Key="m", Body=b"x", Metadata={"m": "v" * 2048})


# Listings

NAMES = [
    ".hidden", "..two", "./dot", "../up", "a", "a/", "a//b", "a/b", "a/b/c", "a b", "a+b", "a%2Fb", "a%20b", "a&b=c", "a?b#c", "a'b\"c", "a<b>c",
    "a\\b", "Ä/ö", "ä", "é", "日本/東京", "😀/x", "￿", "zz/1", "zz/2", "zz/3/4", "~tilde", "//lead", "/lead", "tab\tname", "new\nline", "*", "a:b@c",
]


@pytest.fixture(scope="module")
def shelf(cloud, s3):
    """A bucket with every odd name."""
    name = cloud.new_bucket("shelf")
    for n in NAMES:
        s3.put_object(Bucket=name, Key=n, Body=n.encode())
    return name


def in_order(names):
    return sorted(names, key=lambda n: n.encode())


def test_every_name_comes_back(s3, shelf):
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=shelf)["Contents"]]
    assert listed == in_order(NAMES), "not in UTF-8 order, or names differ"
    for n in NAMES:
        assert body(s3, shelf, n) == n.encode(), n


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_pages(s3, shelf, size):
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=shelf, PaginationConfig={"PageSize": size}))
    assert [o["Key"] for p in pages for o in p["Contents"]] == in_order(NAMES)
    assert all(p["KeyCount"] == len(p["Contents"]) <= size for p in pages)
    old = list(s3.get_paginator("list_objects").paginate(Bucket=shelf, PaginationConfig={"PageSize": size}))
    assert [o["Key"] for p in old for o in p["Contents"]] == in_order(NAMES)


def expected(prefix, delimiter):
    keys, groups = [], []
    for n in in_order(NAMES):
        if n.startswith(prefix):
            rest = n[len(prefix) :]
            at = rest.find(delimiter) if delimiter else -1
            if at < 0:
                keys.append(n)
            elif (g := prefix + rest[: at + len(delimiter)]) not in groups:
                groups.append(g)
    return keys, groups


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("prefix, delimiter", [("", "/"), ("a", "/"), ("a/", "/"), ("zz/", "/"), ("日", "/"), ("/", "/"), ("", "b"), ("a", "%2"), ("none", "/")])
def test_prefix_and_delimiter(s3, shelf, prefix, delimiter, size):
    keys, groups = [], []
    for p in s3.get_paginator("list_objects_v2").paginate(Bucket=shelf, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}):
        keys += [o["Key"] for o in p.get("Contents", [])]
        groups += [g["Prefix"] for g in p.get("CommonPrefixes", [])]
        assert p["KeyCount"] <= size
    assert (keys, groups) == expected(prefix, delimiter)


def test_start_after_and_owner(s3, shelf):
    listed = s3.list_objects_v2(Bucket=shelf, StartAfter="zz/1", MaxKeys=2, FetchOwner=True)
    assert [o["Key"] for o in listed["Contents"]] == ["zz/2", "zz/3/4"] and listed["IsTruncated"]
    assert all(o["Owner"]["ID"] for o in listed["Contents"])
    assert s3.list_objects_v2(Bucket=shelf, MaxKeys=0).get("Contents", []) == []
    with refused("InvalidArgument"):
        s3.list_objects_v2(Bucket=shelf, ContinuationToken="garbage")


# Conditions and checksums


def test_conditional_writes(s3, bucket):
    first = s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with refused("PreconditionFailed", status=412):
        s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    with refused("PreconditionFailed", status=412):
        s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfMatch='"0123456789abcdef0123456789abcdef"')
    with refused("NoSuchKey", status=404):
        s3.put_object(Bucket=bucket, Key="never", Body=b"2", IfMatch=first["ETag"])
    s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfMatch=first["ETag"])
    assert body(s3, bucket, "once") == b"2"
    with refused("PreconditionFailed", status=412):
        s3.delete_object(Bucket=bucket, Key="once", IfMatch=first["ETag"])


def test_one_of_many_writers_wins(s3, bucket):
    def put(i):
        try:
            s3.put_object(Bucket=bucket, Key="race", Body=b"%d" % i, IfNoneMatch="*")
        except s3.exceptions.ClientError as e:
            assert e.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), e
            return None
        return b"%d" % i

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        won = [r for r in pool.map(put, range(16)) if r is not None]
    assert len(won) == 1 and body(s3, bucket, "race") == won[0]


def test_conditional_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="read", Body=b"x")["ETag"]
    assert body(s3, bucket, "read", IfMatch=etag) == b"x"
    with refused("PreconditionFailed", status=412):
        s3.get_object(Bucket=bucket, Key="read", IfMatch='"00"')
    with refused("304", status=304):
        s3.get_object(Bucket=bucket, Key="read", IfNoneMatch=etag)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    with refused("304", status=304):
        s3.head_object(Bucket=bucket, Key="read", IfModifiedSince=later)
    with refused(("PreconditionFailed", "412"), status=412):
        s3.head_object(Bucket=bucket, Key="read", IfUnmodifiedSince=later - datetime.timedelta(days=1))


def test_checksums(s3, bucket):
    data = b"checked " * 9000
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    sha = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert s3.put_object(Bucket=bucket, Key="crc", Body=data)["ChecksumCRC32"] == crc  # boto3's default
    got = s3.get_object(Bucket=bucket, Key="crc", ChecksumMode="ENABLED")
    assert got["ChecksumCRC32"] == crc and got["ChecksumType"] == "FULL_OBJECT" and got["Body"].read() == data
    assert s3.put_object(Bucket=bucket, Key="sha", Body=data, ChecksumAlgorithm="SHA256")["ChecksumSHA256"] == sha
    assert s3.head_object(Bucket=bucket, Key="sha", ChecksumMode="ENABLED")["ChecksumSHA256"] == sha
    s3.put_object(Bucket=bucket, Key="given", Body=data, ChecksumSHA256=sha)
    with refused(("BadDigest", "InvalidRequest"), status=400):
        s3.put_object(Bucket=bucket, Key="bad", Body=data, ChecksumSHA256=base64.b64encode(b"\0" * 32).decode())
    with refused(("BadDigest", "InvalidDigest"), status=400):
        s3.put_object(Bucket=bucket, Key="bad", Body=data, ContentMD5=base64.b64encode(b"\0" * 16).decode())
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="bad")


# Presigned URLs


def fetch(url, method="GET", data=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


@pytest.mark.parametrize("name", ["plain", "with space/ü+%2F", "//lead"])
def test_presigned(cloud, s3, bucket, name):
    user = cloud.boto("s3", cloud.new_user(allow("s3:*Object", f"arn:aws:s3:::{bucket}/*")), signature_version="s3v4")
    put = user.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": f"signed/{name}"}, ExpiresIn=60)
    status, text = fetch(put, "PUT", b"by url")
    assert status == 200, text
    get = user.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": f"signed/{name}", "ResponseContentType": "text/x-plot"}, ExpiresIn=60)
    with urllib.request.urlopen(get, timeout=20) as answer:
        assert answer.read() == b"by url" and answer.headers["Content-Type"] == "text/x-plot"
    status, text = fetch(get, "DELETE")
    assert status == 403 and b"SignatureDoesNotMatch" in text
    status, text = fetch(get.replace("text%2Fx-plot", "text%2Fhtml"))
    assert status == 403 and b"SignatureDoesNotMatch" in text
    assert body(s3, bucket, f"signed/{name}") == b"by url"


def test_presigned_headers_are_enforced(cloud, bucket):
    s3 = cloud.boto("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "sse", "ServerSideEncryption": "aws:kms"}, ExpiresIn=60)
    status, text = fetch(url, "PUT", b"x")
    assert status == 403, text
    status, text = fetch(url, "PUT", b"x", {"x-amz-server-side-encryption": "aws:kms"})
    assert status == 200, text


def test_presigned_expires(cloud, bucket):
    s3 = cloud.boto("s3", signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="soon", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "soon"}, ExpiresIn=1)
    time.sleep(2.1)
    status, text = fetch(url)
    assert status == 403 and b"<Code>AccessDenied</Code>" in text and b"expired" in text, text
    week = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "soon"}, ExpiresIn=604801)
    status, text = fetch(week)
    assert status in (400, 403), text


# Bucket policies


def test_bucket_policy(cloud, other, s3):
    bucket = cloud.new_bucket()
    with refused("NoSuchBucketPolicy", status=404):
        s3.get_bucket_policy(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="shared/a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="own/b", Body=b"b")
    user = other.new_user(allow("s3:*"))
    theirs = other.boto("s3", user)
    with refused("AccessDenied"):
        theirs.get_object(Bucket=bucket, Key="shared/a")
    document = policy(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/shared/*", Principal={"AWS": other.root_arn}))
    s3.put_bucket_policy(Bucket=bucket, Policy=document)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == document
    assert body(theirs, bucket, "shared/a") == b"a"
    with refused("AccessDenied", "s3:GetObject"):
        theirs.get_object(Bucket=bucket, Key="own/b")
    s3.delete_bucket_policy(Bucket=bucket)
    with refused("AccessDenied"):
        theirs.get_object(Bucket=bucket, Key="shared/a")


def test_anonymous_reads_through_a_policy(cloud, s3):
    bucket = cloud.new_bucket()
    s3.put_object(Bucket=bucket, Key="public/map.txt", Body=b"map")
    url = f"{cloud.url}/{bucket}/public/map.txt"
    assert fetch(url)[0] == 403
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/public/*", Principal="*")))
    assert fetch(url) == (200, b"map")
    assert fetch(url, "PUT", b"x")[0] == 403


@pytest.mark.parametrize("bucket_key", [False, True])
def test_nobody_is_no_user_of_a_key(cloud, s3, bucket_key):
    """Key and bucket are open to everybody; whoever does not sign is served nothing under the key all the same."""
    bucket = cloud.new_bucket()
    key = cloud.new_key(allow("kms:*", "*", Principal="*"))
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/*", Principal="*")))
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "BucketKeyEnabled": bucket_key}
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"map", **sealed)
    s3.put_object(Bucket=bucket, Key="open", Body=b"map")
    url = f"{cloud.url}/{bucket}"
    assert fetch(f"{url}/open") == (200, b"map")
    assert fetch(f"{url}/new", "PUT", b"x")[0] == 200
    status, answer = fetch(f"{url}/sealed")
    assert status == 400 and b"<Code>InvalidArgument</Code>" in answer and b"require AWS Signature Version 4" in answer
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}, "BucketKeyEnabled": bucket_key}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert fetch(f"{url}/new", "PUT", b"y")[0] == 400
    assert body(s3, bucket, "new") == b"x" and body(s3, bucket, "sealed") == b"map"


def test_list_condition_on_prefix(cloud, s3, shelf):
    user = cloud.new_user(allow("s3:ListBucket", f"arn:aws:s3:::{shelf}", Condition={"StringLike": {"s3:prefix": "zz/*"}}))
    theirs = cloud.boto("s3", user)
    assert theirs.list_objects_v2(Bucket=shelf, Prefix="zz/")["KeyCount"] == 3
    for prefix in ("", "a/"):
        with refused("AccessDenied", "s3:ListBucket"):
            theirs.list_objects_v2(Bucket=shelf, Prefix=prefix)


@pytest.mark.parametrize("document", ["{", policy(deny("s3:*", "arn:aws:s3:::some-other-bucket/*", Principal="*")), policy(allow("s3:*", "*"))])
def test_malformed_bucket_policies(s3, bucket, document):
    with refused("MalformedPolicy", status=400):
        s3.put_bucket_policy(Bucket=bucket, Policy=document)
