"""SageMaker geospatial under a customer managed key, from import to deletion.

The steps and the policies are those of AWS's page "Use AWS KMS Permissions for
Amazon SageMaker geospatial capabilities"; the pixels are real.
"""

import datetime
import json
import re

import pytest

import tiff
from fields import ELSEWHERE, HERE, OUTPUT, REFERENCE, SCENE, SERVICE, TESTDATA, WINTER, Fields, day, import_collection, many_scenes
from harness import ACCOUNT, REGION, refused, unique, wait_for

# Collections


def test_import_without_a_server(own_server):
    server = own_server()
    server.stop()
    arn = import_collection(server, SCENE)
    server.start()
    found = server.cloud().boto("sagemaker-geospatial").list_raster_data_collections()["RasterDataCollectionSummaries"]
    assert [c["Arn"] for c in found] == [arn]


def test_bad_imports(server, tmp_path):
    for text in ("{", "{}", json.dumps(json.loads((SCENE / "item.json").read_text()))):  # the last one's files are missing
        (tmp_path / "item.json").write_text(text)
        done = server.command("collection", "import", "--name", "bad", tmp_path)
        assert done.returncode == 1 and done.stdout == ""
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    outside = json.loads((SCENE / "item.json").read_text())
    outside["assets"]["red"]["href"] = "../../../../etc/passwd"
    (tmp_path / "item.json").write_text(json.dumps(outside))
    assert server.command("collection", "import", "--name", "bad", tmp_path).returncode == 1


def test_collections(fields, other):
    found = fields.geo.get_raster_data_collection(Arn=fields.collection)
    assert (found["Arn"], found["Type"]) == (fields.collection, "USER")
    arns = [c["Arn"] for p in fields.geo.get_paginator("list_raster_data_collections").paginate(PaginationConfig={"PageSize": 1}) for c in p["RasterDataCollectionSummaries"]]
    assert arns.count(fields.collection) == 1
    theirs = other.boto("sagemaker-geospatial")
    assert theirs.list_raster_data_collections()["RasterDataCollectionSummaries"] == []
    with refused(("AccessDeniedException", "ResourceNotFoundException")):
        theirs.get_raster_data_collection(Arn=fields.collection)


def search(fields, **query):
    query = {"TimeRangeFilter": WINTER} | query
    return fields.geo.search_raster_data_collection(Arn=fields.collection, RasterDataCollectionQuery=query)["Items"]


def test_search(fields):
    item = search(fields, AreaOfInterest=HERE)[0]
    assert item["Id"] == "S2A_33UUU_20170216_0_L1C" and item["DateTime"] == datetime.datetime(2017, 2, 16, 10, 21, 1, tzinfo=datetime.timezone.utc)
    assert set(item["Assets"]) == {"red", "green", "nir", "swir16"} and item["Geometry"]["Type"] == "Polygon"
    assert search(fields, AreaOfInterest=ELSEWHERE) == []
    assert search(fields, TimeRangeFilter={"StartTime": day(2017, 3, 1), "EndTime": day(2017, 4, 1)}) == []
    filters = {"Properties": [{"Property": {"Platform": {"Value": "sentinel-2a", "ComparisonOperator": "EQUALS"}}}], "LogicalOperator": "AND"}
    assert len(search(fields, PropertyFilters=filters)) == 1
    filters["Properties"][0]["Property"]["Platform"]["Value"] = "landsat-8"
    assert search(fields, PropertyFilters=filters) == []


def test_search_in_pages(long):
    items, token = [], {}
    while True:
        answer = long.geo.search_raster_data_collection(Arn=long.collection, RasterDataCollectionQuery={"TimeRangeFilter": WINTER}, **token)
        items += [i["Id"] for i in answer["Items"]]
        if not answer.get("NextToken"):
            break
        token = {"NextToken": answer["NextToken"]}
    assert len(items) == len(set(items)) == 24


# A job under a customer managed key


def test_job_completes(done, fields):
    assert done.initializing < 1.5, f"INITIALIZING lasted {done.initializing:.1f} s; AWS's notebooks take any other state for the end"
    a = done.answer
    assert a["Status"] == "COMPLETED" and a["KmsKeyId"] == done.key and a["ExecutionRoleArn"] == done.role.arn
    assert re.fullmatch(rf"arn:aws:sagemaker-geospatial:{REGION}:{ACCOUNT}:earth-observation-job/[a-z0-9]{{12}}", done.job)
    assert [(b["BandName"].lower(), b["OutputDataType"]) for b in a["OutputBands"]] == [("ndvi", "FLOAT32"), ("msavi", "FLOAT32"), ("moisture", "FLOAT32")]
    assert "ExportStatus" not in a and "ErrorDetails" not in a
    assert a["InputConfig"]["RasterDataCollectionQuery"]["TimeRangeFilter"]["StartTime"] == WINTER["StartTime"]
    assert done.exported["ExportStatus"] == "SUCCEEDED", done.exported.get("ExportErrorDetails")
    listed = [j["Arn"] for p in fields.geo.get_paginator("list_earth_observation_jobs").paginate(StatusEquals="COMPLETED") for j in p["EarthObservationJobSummaries"]]
    assert listed.count(done.job) == 1


def test_exported_objects(done, fields):
    names = fields.objects(f"exports/{done.id}/")
    results = [n for n in names if "/output/" in n]
    assert results == sorted(f"exports/{done.id}/{OUTPUT}{index}.tif" for index in ("moisture", "msavi", "ndvi"))
    assert len(names) == len(results) + 3, "ExportSourceImages gives the three bands that were used"
    for n in names:
        head = fields.s3.head_object(Bucket=fields.bucket, Key=n)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", done.key), n


@pytest.mark.parametrize("index", ["ndvi", "msavi", "moisture"])
def test_pixels(done, fields, index):
    pictures = tiff.images(fields.read(f"exports/{done.id}/{OUTPUT}{index}.tif"))
    full = pictures[0]
    assert (full.width, full.height, full.epsg) == (1536, 768, 32633)
    assert full.tags[tiff.SCALE][:2] == (10.0, 10.0) and full.tags[tiff.TIEPOINT][3:5] == (330000.0, 5822040.0)
    assert full.one(tiff.TILE_WIDTH) and full.one(tiff.COMPRESSION) == 8
    assert [(p.width, p.height) for p in pictures[1:3]] == [(768, 384), (384, 192)], "no overviews"
    got, want = tiff.statistics(full.rows()), REFERENCE[index]
    assert got["count"] == want["count"]
    assert abs(got["mean"] - want["mean"]) <= 1e-6, f"mean {got['mean']}, want {want['mean']}"
    for f in ("min", "max"):
        assert abs(got[f] - want[f]) <= 1e-5, f"{f} {got[f]}, want {want[f]}"


def test_the_grant(done, fields):
    grants = fields.grants(done.key)
    assert len(grants) == 1
    g = grants[0]
    assert (g["GranteePrincipal"], g["RetiringPrincipal"], g["KeyId"]) == (SERVICE, SERVICE, done.key)
    assert g["Operations"] == ["Decrypt", "GenerateDataKey"] and g["IssuingAccount"] == fields.cloud.root_arn


def records_of(done, fields):
    return list(reversed(fields.cloud.records("ResourceName", done.key)))


# What may differ from the page's records, and why.
ALLOWED = {
    "eventVersion": "AWS writes 1.11 today",
    "eventTime": "", "requestID": "", "eventID": "", "sourceIPAddress": "", "userAgent": "",
    "userIdentity.principalId": "", "userIdentity.accessKeyId": "", "userIdentity.sessionContext.attributes.creationDate": "",
    "userIdentity.sessionContext.sessionIssuer.principalId": "the page shows an access key's id where AWS has the role's",
    "requestParameters.operations": "the grant lists what the service uses",
    "responseElements.grantId": "",
}


def flat(record, path=""):
    """The record's leaves by their path."""
    if isinstance(record, dict) and record:
        return {k: v for name, value in record.items() for k, v in flat(value, f"{path}.{name}" if path else name).items()}
    return {path: record}


@pytest.mark.parametrize("event", ["CreateGrant", "GenerateDataKey", "Decrypt", "GenerateDataKeyWithoutPlaintext"])
def test_golden_records(done, fields, event):
    """The records equal those of AWS's page, field by field."""
    want = json.loads((TESTDATA / "cloudtrail_earth_observation_job.json").read_text())[event]
    found = [r for r in records_of(done, fields) if r["eventName"] == event]
    if event in ("GenerateDataKey", "Decrypt"):
        found = [r for r in found if r["userIdentity"]["type"] == "AWSService" and r["requestParameters"]["encryptionContext"]["aws:s3:arn"].endswith("_msavi.tif")]
    else:
        assert len(found) == 1, f"{len(found)} records of {event}"
    got = found[0]
    assert "tlsDetails" not in want and got.pop("tlsDetails", {}) is not None
    got.pop("additionalEventData", None)
    text = json.dumps(got)
    for ours, theirs in (
        (done.key, want["resources"][0]["ARN"]), (done.role.name, "SageMakerGeospatialCustomerRole"), (done.id, "napy9eintp64"),
        ("33UUU/2017-02-16T10:21:01Z/S2A_33UUU_20170216_0_L1C", "32PPR/2022-01-04T09:58:03Z/S2B_32PPR_20220104_0_L2A"),
    ):
        text = text.replace(ours, theirs)
    got, want = flat(json.loads(text)), flat(want)
    assert set(got) == set(want), "other fields than on the page"
    service = want["userIdentity.type"] == "AWSService"
    for path in want:
        if path in ("sourceIPAddress", "userAgent") and service:
            assert got[path] == want[path] == "sagemaker-geospatial.amazonaws.com"
        elif path not in ALLOWED:
            assert got[path] == want[path], f"{path} is {got[path]!r}, on the page {want[path]!r}"
    assert got["eventVersion"] == "1.11"
    if not service:
        assert got["userIdentity.principalId"] == f"{done.role.id}:SageMaker-Geospatial-StartEOJ-KMSAccess"
        assert got["sourceIPAddress"] == "127.0.0.1" and got["userAgent"].startswith("Boto3/")
        assert got["userIdentity.sessionContext.sessionIssuer.principalId"] == done.role.id
    if event == "CreateGrant":
        assert got["requestParameters.operations"] == ["Decrypt", "GenerateDataKey"]
        assert got["responseElements.grantId"] == fields.grants(done.key)[0]["GrantId"]


def test_every_use_of_the_key_is_the_role_s_or_the_service_s(done, fields):
    for r in records_of(done, fields):
        who = r["userIdentity"]
        if who["type"] == "Root":
            continue  # this test's own looks at key and objects
        assert "errorCode" not in r, r
        assert who["type"] in ("AssumedRole", "AWSService"), r
        if r["eventName"] in ("GenerateDataKey", "Decrypt") and who["type"] == "AWSService":
            arn = r["requestParameters"]["encryptionContext"]["aws:s3:arn"]
            assert arn.startswith(f"arn:aws:s3:::axis-earth-observation-job-378778860802/{ACCOUNT}/{done.id}/output/consolidated/33UUU/"), arn
    made = [r["requestParameters"]["encryptionContext"]["aws:s3:arn"] for r in records_of(done, fields)
            if r["eventName"] == "GenerateDataKey" and r["userIdentity"]["type"] == "AWSService"]
    assert len(made) == len(set(made)) == 3, "one data key for each output, recorded once"


def test_geospatial_calls_leave_records(done, fields):
    started = [r for r in fields.cloud.records("EventName", "StartEarthObservationJob", pages=2) if (r["responseElements"] or {}).get("arn") == done.job]
    assert len(started) == 1
    assert started[0]["eventSource"] == "sagemaker-geospatial.amazonaws.com" and started[0]["userIdentity"]["type"] == "Root"


@pytest.mark.parametrize("config", [
    {"PredefinedIndices": ["NDVI", "GREENNESS"]},
    {"CustomIndices": {"Operations": [{"Name": "x", "Equation": "(nir - ) / red"}]}},
    {"CustomIndices": {"Operations": [{"Name": "x", "Equation": "open('/etc/passwd')"}]}},
    {},
])
def test_bad_configurations(fields, config):
    with refused("ValidationException", status=400):
        fields.start(JobConfig={"BandMathConfig": config})


def test_a_band_that_is_not_there(fields):
    got = fields.wait(fields.start(indices=(), custom=[{"Name": "x", "Equation": "nir - blue", "OutputType": "FLOAT32"}]))
    assert got["Status"] == "FAILED" and got["ErrorDetails"]["Type"] == "CLIENT_ERROR" and "blue" in got["ErrorDetails"]["Message"]


def test_no_scene(fields):
    got = fields.wait(fields.start(query={"AreaOfInterest": ELSEWHERE}))
    assert got["Status"] == "FAILED" and got["ErrorDetails"]["Type"] == "CLIENT_ERROR"


def test_client_token(fields):
    token = unique("token-of-at-least-thirty-six-characters")
    name = unique("once")
    first = fields.start(ClientToken=token, Name=name)
    assert fields.start(ClientToken=token, Name=name) == first
    with refused("ConflictException", status=409):
        fields.start(ClientToken=token, Name=unique("other"))


def test_tags(fields):
    job = fields.start(Tags={"team": "crops"})
    fields.geo.tag_resource(ResourceArn=job, Tags={"year": "2017"})
    assert fields.geo.list_tags_for_resource(ResourceArn=job)["Tags"] == {"team": "crops", "year": "2017"}
    fields.geo.untag_resource(ResourceArn=job, TagKeys=["team"])
    assert fields.get(job)["Tags"] == {"year": "2017"}


def test_chained_job(fields, done):
    """The results of a job are the input of another, whose reading is the first one's grant's affair."""
    with refused(("ValidationException", "ResourceNotFoundException")):
        fields.start(InputConfig={"PreviousEarthObservationJobArn": done.job.replace(done.id, "a" * 12)})
    key = fields.new_key()
    first = fields.start(key)
    fields.wait(first)
    twice = [{"Name": "twice", "Equation": "ndvi * 2", "OutputType": "FLOAT32"}]
    second = fields.start(InputConfig={"PreviousEarthObservationJobArn": first}, indices=(), custom=twice)
    assert fields.wait(second)["Status"] == "COMPLETED", fields.get(second)
    assert fields.export(second, prefix="chain/")["ExportStatus"] == "SUCCEEDED"
    name = fields.objects(f"chain/{second.rsplit('/', 1)[1]}/")[0]
    got = tiff.statistics(tiff.images(fields.read(name))[0].rows())
    assert abs(got["mean"] - 2 * REFERENCE["ndvi"]["mean"]) <= 2e-6
    fields.kms.revoke_grant(KeyId=key, GrantId=fields.grants(key)[0]["GrantId"])
    third = fields.start(InputConfig={"PreviousEarthObservationJobArn": first}, indices=(), custom=twice)
    assert fields.wait(third)["Status"] == "FAILED", "the revoked grant's data was read"


# Stop and delete


def test_stop(long):
    key = long.new_key()
    job = long.start(key)
    with refused("ConflictException", status=409):
        long.geo.delete_earth_observation_job(Arn=job)
    with refused("ConflictException", status=409):
        long.export(job)
    wait_for(lambda: long.status(job) == "IN_PROGRESS", "IN_PROGRESS", 10, 0.02)
    long.geo.stop_earth_observation_job(Arn=job)
    assert long.status(job) in ("STOPPING", "STOPPED")
    wait_for(lambda: long.status(job) == "STOPPED", "STOPPED")
    with refused("ConflictException", status=409):
        long.geo.stop_earth_observation_job(Arn=job)
    with refused("ConflictException", status=409):
        long.export(job)
    long.geo.delete_earth_observation_job(Arn=job)
    assert long.grants(key) == []


def test_delete_retires_the_grant(fields):
    key = fields.new_key()
    job = fields.start(key)
    fields.wait(job)
    assert len(fields.grants(key)) == 1
    fields.geo.delete_earth_observation_job(Arn=job)
    assert fields.grants(key) == []

    def gone():
        try:
            assert fields.status(job) == "DELETING"
        except fields.geo.exceptions.ResourceNotFoundException:
            return True

    wait_for(gone, "the end of the deletion")
    r = [r for r in fields.cloud.records("ResourceName", key) if r["eventName"] == "RetireGrant"][0]
    assert r["userIdentity"] == {"type": "AWSService", "invokedBy": "sagemaker-geospatial.amazonaws.com"}
    assert job not in [j["Arn"] for p in fields.geo.get_paginator("list_earth_observation_jobs").paginate() for j in p["EarthObservationJobSummaries"]]


def test_jobs_belong_to_their_account(fields, done, other):
    theirs = other.boto("sagemaker-geospatial")
    for call in (theirs.get_earth_observation_job, theirs.delete_earth_observation_job, theirs.stop_earth_observation_job):
        with refused(("ResourceNotFoundException", "AccessDeniedException")):
            call(Arn=done.job)
    assert theirs.list_earth_observation_jobs()["EarthObservationJobSummaries"] == []


def test_operations_that_are_not_there(fields):
    with refused(("NotImplementedException", "UnknownOperationException")):
        fields.geo.list_vector_enrichment_jobs()


def test_cli(fields, done):
    got = fields.cloud.cli("sagemaker-geospatial", "get-earth-observation-job", "--arn", done.job)
    assert got["Status"] == "COMPLETED" and got["Arn"] == done.job
    listed = fields.cloud.cli("sagemaker-geospatial", "list-earth-observation-jobs", "--max-items", "1")
    assert len(listed["EarthObservationJobSummaries"]) == 1


def test_kill_in_the_middle_of_a_job(own_server, tmp_path):
    """kill -9, twice; after each start the job goes on, and its results are whole."""
    server = own_server()
    scenes = 28
    collection = import_collection(server, many_scenes(tmp_path / "scenes", scenes))
    f = Fields(server.cloud(), collection)
    role, bucket, key = f.role, f.bucket, f.new_key()
    job = f.start(key, indices=("NDVI", "MSAVI", "NDWI"))
    wait_for(lambda: [r for r in f.cloud.records("EventName", "GenerateDataKey", pages=1)], "the first scene", pause=0.01)
    for _ in range(2):
        server.kill()
        server.start()
        f = Fields(server.cloud(), collection)
        f.role, f.bucket = role, bucket
        assert f.status(job) == "IN_PROGRESS", "the job was too quick to be interrupted"
    assert f.wait(job)["Status"] == "COMPLETED"
    assert f.export(job)["ExportStatus"] == "SUCCEEDED"
    names = [n for n in f.objects() if n.endswith("_ndvi.tif")]
    assert len(f.objects()) == 3 * scenes and len(names) == scenes
    first, last = (tiff.statistics(tiff.images(f.read(n))[0].rows()) for n in (names[0], names[-1]))
    assert first == last and abs(first["mean"] - REFERENCE["ndvi"]["mean"]) <= 1e-6
    assert len({f.s3.head_object(Bucket=f.bucket, Key=n)["ContentLength"] for n in names}) == 1
    assert len(f.grants(key)) == 1
