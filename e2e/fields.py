"""What an Earth Observation job needs: scenes, a collection, a role, a key, a bucket."""

import datetime
import json
import pathlib
import re
import shutil

from harness import ACCOUNT, REGION, ROOT, allow, unique, wait_for

SCENE = ROOT / "internal" / "sample" / "s2_t33uuu_20170216"
TESTDATA = pathlib.Path(__file__).parent / "testdata"
REFERENCE = json.loads((TESTDATA / "reference_s2_t33uuu_20170216.json").read_text())["indices"]
SERVICE = f"sagemaker-geospatial.{REGION}.amazonaws.com"
ACTIONS = ["kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
TRUST = allow("sts:AssumeRole", None, Principal={"Service": "sagemaker-geospatial.amazonaws.com"})
MOISTURE = {"Name": "moisture", "Equation": "(nir - swir16) / (nir + swir16)", "OutputType": "FLOAT32"}
OUTPUT = "output/consolidated/33UUU/2017-02-16T10:21:01Z/S2A_33UUU_20170216_0_L1C_"


def day(year, month, number):
    return datetime.datetime(year, month, number, tzinfo=datetime.timezone.utc)


WINTER = {"StartTime": day(2017, 2, 1), "EndTime": day(2017, 3, 1)}


def square(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"AreaOfInterestGeometry": {"PolygonGeometry": {"Coordinates": [ring]}}}


HERE, ELSEWHERE = square(12.55, 52.47, 12.65, 52.5), square(2.0, 48.0, 2.5, 48.5)


def import_collection(server, *paths):
    done = server.command("collection", "import", "--name", unique("fields"), *paths, check=True)
    arn = done.stdout.strip()
    assert re.fullmatch(rf"arn:aws:sagemaker-geospatial:{REGION}:{ACCOUNT}:raster-data-collection/user/[a-z0-9]{{12,}}", arn), arn
    return arn


def many_scenes(folder, count):
    """A folder with count items over the same pixels, a day apart."""
    folder.mkdir()
    for file in SCENE.glob("*.tif"):
        shutil.copy(file, folder)
    item = json.loads((SCENE / "item.json").read_text())
    for i in range(count):
        when = datetime.date(2017, 2, 1) + datetime.timedelta(days=i)
        item["id"] = f"S2A_33UUU_{when:%Y%m%d}_0_L1C"
        item["properties"]["datetime"] = f"{when}T10:21:01Z"
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    return folder


class Fields:
    """One collection with what a job needs: a role, a key with the page's policy, a bucket."""

    def __init__(self, cloud, collection):
        self.cloud, self.collection = cloud, collection
        self.geo, self.kms, self.s3 = cloud.boto("sagemaker-geospatial"), cloud.boto("kms"), cloud.boto("s3")
        self.bucket = cloud.new_bucket()
        self.role = self.new_role()

    def new_role(self, prefix="role"):
        return self.cloud.new_role(allow("s3:PutObject", f"arn:aws:s3:::{self.bucket}/*"), trust=TRUST, prefix=prefix)

    def new_key(self, role=None, actions=ACTIONS, **more):
        return self.cloud.new_key(allow(actions, Sid="Allow access to Amazon SageMaker geospatial capabilities", Principal={"AWS": (role or self.role).arn}), **more)

    def start(self, key=None, by=None, indices=("NDVI",), custom=(), role=None, query=None, **more):
        geo = self.cloud.boto("sagemaker-geospatial", by) if by else self.geo
        config = {"PredefinedIndices": list(indices)} if indices else {}
        if custom:
            config["CustomIndices"] = {"Operations": list(custom)}
        if key is not None:
            more["KmsKeyId"] = key
        return geo.start_earth_observation_job(**{
            "Name": unique("job"), "ExecutionRoleArn": (role or self.role).arn,
            "InputConfig": {"RasterDataCollectionQuery": {"RasterDataCollectionArn": self.collection, "TimeRangeFilter": WINTER} | (query or {})},
            "JobConfig": {"BandMathConfig": config},
        } | more)["Arn"]

    def get(self, job):
        return self.geo.get_earth_observation_job(Arn=job)

    def status(self, job):
        return self.get(job)["Status"]

    def wait(self, job, timeout=60):
        """As AWS's notebooks wait: what is not INITIALIZING or IN_PROGRESS has ended."""
        wait_for(lambda: self.status(job) not in ("INITIALIZING", "IN_PROGRESS"), f"the end of {job}", timeout)
        return self.get(job)

    def export(self, job, key=None, prefix="", role=None, **more):
        s3_data = {"S3Uri": f"s3://{self.bucket}/{prefix}"} | ({"KmsKeyId": key} if key else {})
        self.geo.export_earth_observation_job(Arn=job, ExecutionRoleArn=(role or self.role).arn, OutputConfig={"S3Data": s3_data}, **more)
        wait_for(lambda: self.get(job)["ExportStatus"] != "IN_PROGRESS", f"the end of the export of {job}")
        return self.get(job)

    def objects(self, prefix=""):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [o["Key"] for p in pages for o in p.get("Contents", [])]

    def read(self, key):
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def grants(self, key):
        return self.kms.list_grants(KeyId=key)["Grants"]
