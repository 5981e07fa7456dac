"""Runs the examples of docs/keys.md as they stand there, and holds its tables to what the server does."""

import concurrent.futures
import datetime
import os
import re
import sys
import uuid

import pytest

from harness import ACCOUNT, REGION, Server, refused, wait_for
from test_kms_import import FOR_GOOD, empty_key, put
from test_readme import ROOT, example, shell

PAGE = "docs/keys.md"
SETUP = 'eval "$(./sagekeep env --data-dir ./data)"\necho "plot 7: rapeseed" > note.txt\n'
THERE = "eu-central-1"

# Examples that share a shell: the later ones use what the earlier ones made.
TOGETHER = [
    ("import", "reimport", "import-ec", "rotation-imported"), ("rotation",), ("multi-region",), ("ecdh",), ("grant",), ("deletion",),
]
PYTHON = ["ml-kem", "disabled"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the examples are for a shell")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A fresh server for the page, with a folder for it."""
    folder = tmp_path_factory.mktemp("keys")
    server = Server(folder).start()
    yield folder, server
    server.stop()


@pytest.fixture(scope="module")
def printed(place):
    """What the examples print, by their names. They run side by side, each group in a directory of its own."""
    folder, server = place

    def run(names):
        here = folder / "-".join(names)
        here.mkdir()
        (here / "data").symlink_to(server.data)
        (here / "sagekeep").symlink_to(os.environ.get("SAGEKEEP_BIN", ROOT / "dist" / "sagekeep"))
        if names[0] in PYTHON:
            (here / "example.py").write_text(example(names[0], "python", PAGE), encoding="utf-8")
            return shell(f'{SETUP}"{sys.executable}" example.py', here)
        return shell(SETUP + "".join(f"\necho '== {name}'\n" + example(name, "sh", PAGE) for name in names), here)

    groups = [*TOGETHER, *((name,) for name in PYTHON)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        outputs = dict(zip(groups, pool.map(run, groups)))
    texts = {}
    for names, out in outputs.items():
        if names[0] in PYTHON:
            texts[names[0]] = out
        for name in names:
            if f"== {name}\n" in out:
                texts[name] = out.partition(f"== {name}\n")[2].partition("== ")[0]
    return texts


def settled(text):
    """The text without what differs from run to run; ids that were equal stay equal."""
    seen = {}

    def name(found):
        return seen.setdefault(found[0], f"ID{len(seen)}")

    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT", text)
    text = re.sub(r"\(\d+ (object|record)s? looked at\)", r"(N \1s looked at)", text)
    return re.sub(r"[0-9a-f]{64}|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name, text)


@pytest.mark.parametrize("name", ["reimport", "rotation", "rotation-imported", "multi-region", "deletion"])
def test_what_the_page_shows(printed, name):
    assert settled(printed[name]) == settled(example(name, "text", PAGE, mark="output"))


def test_every_example_runs():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- example: (.*) -->", text)) == {n for names in TOGETHER for n in names} | set(PYTHON)


@pytest.mark.parametrize("name", PYTHON)
def test_what_print_calls_promise(printed, name):
    want = re.findall(r"^print\(.*\)  # (.*)$", example(name, "python", PAGE), re.M)
    assert want and printed[name].splitlines() == want


def test_private_key(printed):
    assert printed["import-ec"].splitlines()[1:] == ["Verified OK"]


def test_shared_secret_and_grant(printed):
    assert printed["ecdh"] == "the same secret\n"
    lines = printed["grant"].splitlines()
    assert lines[0].startswith("arn:") and lines[1:] == [
        "refused: another project", "refused: not in the grant", "refused: the grant is retired",
    ]


# The tables


def spans(cell):
    """The names in a cell; one that begins with _ has the start of the name before it."""
    names = []
    for span in re.findall(r"`(\w+)`", cell):
        names.append(names[-1].rsplit("_", 1)[0] + span if span.startswith("_") else span)
    return names


def kinds():
    """Spec, usage, algorithms, import and FIPS of every kind of key in the page's table."""
    text = (ROOT / PAGE).read_text(encoding="utf-8").partition("## Kinds of keys\n")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (`.*) \|$", text, re.M):
        specs, usage, _, algorithms, imported, fips = row.split(" | ")
        for i, spec in enumerate(spans(specs)):
            names = spans(algorithms)
            yield spec, usage.strip("`"), names[i:i + 1] if "one each" in algorithms else names, imported, fips


def test_kinds(place):
    kms = place[1].cloud().boto("kms")
    specs = set()
    for spec, usage, algorithms, imported, _ in kinds():
        specs.add(spec)
        made = kms.create_key(KeySpec=spec, KeyUsage=usage, MultiRegion=True)["KeyMetadata"]
        assert [v for k, v in made.items() if k.endswith("Algorithms")] == [algorithms], spec
        if spec != "SYMMETRIC_DEFAULT":
            with refused("UnsupportedOperationException", spec):
                kms.rotate_key_on_demand(KeyId=made["KeyId"])
        if imported == "yes":
            kms.create_key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL")
            continue
        assert imported == "no"
        with refused("UnsupportedOperationException", spec):
            kms.create_key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL")
    assert set(kms.meta.service_model.shape_for("KeySpec").enum) - specs == {"SM2"}


def test_kinds_in_fips_mode(own_server):
    kms = own_server(env={"GODEBUG": "fips140=only"}).cloud().boto("kms")
    for spec, usage, algorithms, _, fips in kinds():
        if fips == "no":
            with refused("UnsupportedOperationException", "FIPS 140"):
                kms.create_key(KeySpec=spec, KeyUsage=usage)
        elif spec not in ("RSA_3072", "RSA_4096"):  # take long, and differ from RSA_2048 in nothing
            key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
            if fips == "yes":
                continue
            assert fips == "not SHA-1" and algorithms == ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
            kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256")
            with refused("UnsupportedOperationException", "FIPS 140"):
                kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_1")


def test_imported_material(place):
    """What the table says of it, and the sentence below."""
    kms = place[1].cloud().boto("kms")
    one, two, material = empty_key(kms), empty_key(kms), os.urandom(32)
    put(kms, one, material)
    put(kms, two, material)
    sealed = kms.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    with refused("IncorrectKeyException"):
        kms.decrypt(KeyId=two, CiphertextBlob=sealed)
    # What expires is as good as deleted. A new import of it brings the key back, and enabled.
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
    put(kms, two, material, ValidTo=end)
    wait_for(lambda: kms.describe_key(KeyId=two)["KeyMetadata"]["KeyState"] == "PendingImport", "the expiry")
    assert datetime.datetime.now(datetime.timezone.utc) >= end
    put(kms, two, material)
    kms.encrypt(KeyId=two, Plaintext=b"x")
    kms.disable_key(KeyId=one)
    kms.delete_imported_key_material(KeyId=one)
    assert kms.describe_key(KeyId=one)["KeyMetadata"]["KeyState"] == "PendingImport"
    put(kms, one, material)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    # Material that waits for its rotation goes without harm; an old version does not.
    put(kms, one, os.urandom(32), ImportType="NEW_KEY_MATERIAL", **FOR_GOOD)
    waiting = kms.list_key_rotations(KeyId=one, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"][1]["KeyMaterialId"]
    kms.delete_imported_key_material(KeyId=one, KeyMaterialId=waiting)
    kms.decrypt(CiphertextBlob=sealed)
    put(kms, one, os.urandom(32), ImportType="NEW_KEY_MATERIAL", **FOR_GOOD)
    kms.rotate_key_on_demand(KeyId=one)
    fresh = kms.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    kms.delete_imported_key_material(KeyId=one, KeyMaterialId=kms.decrypt(CiphertextBlob=sealed)["KeyMaterialId"])
    with refused("KMSInvalidStateException", "is pending import"):
        kms.decrypt(CiphertextBlob=fresh)


def test_a_rotation_on_demand_moves_no_date(place):
    kms = place[1].cloud().boto("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key)
    before = kms.get_key_rotation_status(KeyId=key)
    assert before["RotationPeriodInDays"] == 365
    kms.rotate_key_on_demand(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["NextRotationDate"] == before["NextRotationDate"]


def test_states(place):
    """What the last table says, as far as a client can bring the states about."""
    cloud = place[1].cloud()
    kms, s3, there = cloud.boto("kms"), cloud.boto("s3"), cloud.boto("kms", region=THERE)
    s3.create_bucket(Bucket="states", CreateBucketConfiguration={"LocationConstraint": REGION})
    own, material, many = empty_key(kms), os.urandom(32), kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    put(kms, own, material)

    def store(key, name):
        s3.put_object(Bucket="states", Key=name, Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        return kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    def closed(sealed, name, text):
        with refused("KMSInvalidStateException", text, status=400):
            kms.decrypt(CiphertextBlob=sealed)
        with refused("KMS.KMSInvalidStateException", text, status=400):
            s3.get_object(Bucket="states", Key=name)

    sealed = store(own, "own")
    kms.delete_imported_key_material(KeyId=own)
    closed(sealed, "own", "is pending import")
    s3.delete_object(Bucket="states", Key="own")
    sealed = store(many, "many")
    kms.replicate_key(KeyId=many, ReplicaRegion=THERE)
    wait_for(lambda: there.describe_key(KeyId=many)["KeyMetadata"]["KeyState"] == "Enabled", "the replica")
    assert kms.schedule_key_deletion(KeyId=many)["KeyState"] == "PendingReplicaDeletion"
    closed(sealed, "many", "is pending replica deletion")
    assert there.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"

    # Of a key that is gone nothing is left; so it is with one that never was. The id stands in bytes 2 to 17 of a ciphertext.
    never = uuid.uuid4()
    with refused("NotFoundException"):
        kms.encrypt(KeyId=str(never), Plaintext=b"x")
    with refused("AccessDeniedException", "does not exist"):
        kms.decrypt(CiphertextBlob=sealed[:1] + b"\0" + never.bytes + sealed[18:])
    with refused("KMS.NotFoundException"):
        s3.put_object(Bucket="states", Key="never", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=str(never))
