"""kill -9 again and again while clients write.

What was answered is there after the next start, decrypts, and is recorded; what
was not answered is there whole or not at all.
"""

import base64
import hashlib
import os
import random
import subprocess
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import ACCOUNT, BINARY, Server, allow, clean_environment, policy, refused

ROUNDS = 8
CONTEXT = {"round": "any"}


class Writer(threading.Thread):
    """One client that writes until the server is gone, and remembers what it was told.

    State that an unanswered call may have left is kept apart, in `open`.
    """

    def __init__(self, cloud, bucket, seed):
        super().__init__(daemon=True)
        self.bucket, self.random, self.seed = bucket, random.Random(seed), seed
        self.keys = {}  # ARN -> (ciphertext, plaintext) pairs, once there are any
        self.aliases = {}  # name -> ARN
        self.grants = {}  # (ARN, grant id) -> live
        self.objects = {}  # key -> body, None after a deletion
        self.users = {}  # name -> policy document, None without
        self.open = {}  # what the last call of the last round was about
        self.answers = 0
        self.use(cloud)

    def use(self, cloud):
        self.kms, self.s3, self.iam, self.root = cloud.boto("kms"), cloud.boto("s3"), cloud.boto("iam"), cloud.root_arn

    def again(self, cloud):
        """The same memory, on the server's next life."""
        w = Writer(cloud, self.bucket, self.seed + 1000)
        for name in ("keys", "aliases", "grants", "objects", "users", "answers"):
            setattr(w, name, getattr(self, name))
        w.open = {}
        return w

    def run(self):
        steps = [self.new_key, self.encrypt, self.put, self.put, self.put_large, self.delete, self.grant, self.revoke, self.alias, self.user]
        try:
            while True:
                self.random.choice(steps)()
                self.open = {}
                self.answers += 1
        except (BotoCoreError, ClientError) as e:
            if isinstance(e, ClientError):
                self.failure = e  # a refusal: nothing here may be refused

    failure = None

    def some_key(self):
        return self.random.choice(list(self.keys)) if self.keys else None

    def new_key(self):
        self.open = {"key": True}
        self.keys[self.kms.create_key()["KeyMetadata"]["Arn"]] = []

    def encrypt(self):
        if key := self.some_key():
            plain = self.random.randbytes(64)
            self.keys[key].append((self.kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=CONTEXT)["CiphertextBlob"], plain))

    def put(self, size=None):
        name = f"{self.seed % 1000}/{self.random.randrange(12)}"
        body = self.random.randbytes(size or self.random.randrange(1, 40_000))
        key = self.some_key()
        sse = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key and self.random.random() < 0.5 else {}
        self.open = {"object": (name, body)}
        self.s3.put_object(Bucket=self.bucket, Key=name, Body=body, Metadata={"sha256": hashlib.sha256(body).hexdigest()}, **sse)
        self.objects[name] = body

    def put_large(self):
        self.put(self.random.randrange(300_000, 900_000))

    def delete(self):
        names = [n for n, b in self.objects.items() if b is not None]
        if names:
            name = self.random.choice(names)
            self.open = {"object": (name, None)}
            self.s3.delete_object(Bucket=self.bucket, Key=name)
            self.objects[name] = None

    def grant(self):
        if key := self.some_key():
            made = self.kms.create_grant(KeyId=key, GranteePrincipal=self.root, Operations=["Decrypt"])
            self.grants[key, made["GrantId"]] = True

    def revoke(self):
        live = [g for g, on in self.grants.items() if on]
        if live:
            g = self.random.choice(live)
            self.open = {"grant": g}
            self.kms.revoke_grant(KeyId=g[0], GrantId=g[1])
            self.grants[g] = False

    def alias(self):
        if key := self.some_key():
            name = f"alias/w{self.seed}-{len(self.aliases)}-{self.random.randrange(1 << 30)}"
            self.kms.create_alias(AliasName=name, TargetKeyId=key)
            self.aliases[name] = key

    def user(self):
        name = f"w{self.seed}-{len(self.users)}-{self.random.randrange(1 << 30)}"
        self.iam.create_user(UserName=name)
        self.users[name] = None
        document = policy(allow("kms:Encrypt", f"arn:aws:kms:*:*:key/{self.random.randrange(1 << 30)}"))
        self.open = {"user": (name, document)}
        self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        self.users[name] = document

    # After the kill

    def judge(self, recent):
        """Compares memory and server; recent names the keys of this round."""
        for arn in recent:
            assert self.kms.describe_key(KeyId=arn)["KeyMetadata"]["Enabled"], arn
        for arn, pairs in self.keys.items():
            for blob, plain in pairs[-2:]:
                assert self.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == plain, f"a ciphertext of {arn} is lost"
        for name, arn in self.aliases.items():
            if arn in recent:
                assert self.kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == arn, name
        live = {}
        for (arn, id), on in self.grants.items():
            if arn not in live:
                live[arn] = {g["GrantId"] for p in self.kms.get_paginator("list_grants").paginate(KeyId=arn) for g in p["Grants"]}
            if self.open.get("grant") == (arn, id):
                self.grants[arn, id] = id in live[arn]
                continue
            assert (id in live[arn]) == on, f"grant {id} of {arn}: revoked {not on}, listed {id in live[arn]}"
        self.judge_objects()
        for name, document in list(self.users.items())[-3:]:
            policies = self.iam.list_user_policies(UserName=name)["PolicyNames"]
            if self.open.get("user", ("",))[0] == name:
                self.users[name] = self.open["user"][1] if policies else None
                continue
            assert policies == (["p"] if document else []), name

    def judge_objects(self):
        maybe_name, maybe_body = self.open.get("object", (None, None))
        for name in {*self.objects, *([maybe_name] if maybe_name else [])}:
            allowed = [self.objects.get(name)] + ([maybe_body] if name == maybe_name else [])
            try:
                got = self.s3.get_object(Bucket=self.bucket, Key=name)
                body = got["Body"].read()
                assert got["Metadata"]["sha256"] == hashlib.sha256(body).hexdigest(), f"{name} is half of one and half of another"
            except self.s3.exceptions.NoSuchKey:
                body = None
            assert body in allowed, f"{name}: {describe(body)} is there, want {' or '.join(map(describe, allowed))}"
            self.objects[name] = body


def describe(body):
    return "nothing" if body is None else f"{len(body)} bytes {body[:4].hex()}…"


def test_kill_while_writing(own_server):
    seed = int(os.environ.get("SEED") or time.time())
    print("SEED", seed)
    chance = random.Random(seed)
    server = own_server()
    cloud = server.cloud()
    bucket = cloud.new_bucket()
    writers = [Writer(cloud, bucket, i) for i in range(6)]
    total = 0
    for turn in range(ROUNDS):
        known = [set(w.keys) for w in writers]
        before = sum(w.answers for w in writers)
        for w in writers:
            w.start()
        time.sleep(chance.uniform(0.3, 1.0))
        server.kill()
        for w in writers:
            w.join(timeout=60)
            assert not w.is_alive(), "a client hangs on a dead server"
            assert w.failure is None, f"round {turn}: {w.failure}"
        answers = sum(w.answers for w in writers) - before
        assert answers > 20, f"round {turn}: only {answers} answers before the kill"
        total += answers
        server.start()
        cloud = server.cloud()
        recent = [set(w.keys) - k for w, k in zip(writers, known, strict=True)]
        for w, new in zip(writers, recent, strict=True):
            w.use(cloud)
            w.judge(new)
        # Every key that was answered has its record; every key that is there is whole.
        arns = set().union(*recent)
        for arn in sorted(arns)[:5]:
            assert [r["eventName"] for r in cloud.records("ResourceName", arn)].count("CreateKey") == 1, f"{arn} has no record of its birth"
        listed = {k["KeyArn"] for p in cloud.boto("kms").get_paginator("list_keys").paginate() for k in p["Keys"]}
        acknowledged = set().union(*(w.keys for w in writers))
        assert acknowledged <= listed, f"lost keys: {acknowledged - listed}"
        for arn in listed - acknowledged:
            cloud.boto("kms").encrypt(KeyId=arn, Plaintext=b"x")
        names = {o["Key"]: o["Size"] for p in cloud.boto("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in p.get("Contents", [])}
        want = {n: len(b) for w in writers for n, b in w.objects.items() if b is not None}
        assert names == want, f"the listing differs from the objects: {set(names.items()) ^ set(want.items())}"
        writers = [w.again(cloud) for w in writers]
    print(total, "answers survived", ROUNDS, "kills")


def test_kill_in_the_first_start(tmp_path):
    """A first start that was cut anywhere is finished by the next one."""
    chance = random.Random(7)
    for i in range(25):
        data = tmp_path / str(i) / "data"
        data.parent.mkdir()
        first = subprocess.Popen(
            [BINARY, "serve", "--data-dir", data, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment(),
        )
        time.sleep(0.004 + i * 0.002 + chance.uniform(0, 0.002))
        first.kill()
        first.wait(timeout=30)
        server = Server(tmp_path / str(i))
        server.start()
        assert server.cloud().boto("sts").get_caller_identity()["Account"] == ACCOUNT, f"after a kill at step {i}"
        server.kill()


def test_revocation_survives_a_kill(own_server):
    """What was taken away stays away: nothing of it waits in memory."""
    server = own_server()
    for taken in ("grant", "disabled", "policy", "access key"):
        cloud = server.cloud()
        key, user = cloud.new_key(), cloud.new_user()
        kms, iam = cloud.boto("kms"), cloud.boto("iam")
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        grant = kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"])["GrantId"]
        assert cloud.boto("kms", user).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
        if taken == "grant":
            kms.revoke_grant(KeyId=key, GrantId=grant)
        elif taken == "disabled":
            kms.disable_key(KeyId=key)
        elif taken == "policy":
            iam.put_user_policy(UserName=user.name, PolicyName="no", PolicyDocument=policy({"Effect": "Deny", "Action": "kms:*", "Resource": "*"}))
        else:
            iam.update_access_key(UserName=user.name, AccessKeyId=user.credentials.access_key_id, Status="Inactive")
        server.kill()
        server.start()
        with refused(("AccessDeniedException", "DisabledException", "UnrecognizedClientException")):
            server.cloud().boto("kms", user).decrypt(CiphertextBlob=blob)


def test_sessions_and_tokens_survive_a_restart(own_server):
    server = own_server()
    cloud = server.cloud()
    role = cloud.new_role(allow("kms:ListKeys"))
    session = cloud.assume(role, cloud.assumer())
    for _ in range(5):
        cloud.new_key()
    marker = cloud.boto("kms").list_keys(Limit=2)["NextMarker"]
    server.kill()
    server.start()
    cloud = server.cloud()
    cloud.boto("kms", session).list_keys()
    assert len(cloud.boto("kms").list_keys(Limit=10, Marker=marker)["Keys"]) >= 3


def test_nothing_readable_on_the_disk(own_server):
    """No byte that a customer sent is found in the data directory, running or stopped."""
    server = own_server()
    cloud = server.cloud()
    words = {name: f"{name.replace(' ', '-')}-9d1c7f42a6".encode() for name in (
        "object body", "object name", "metadata value", "tag value", "alias", "key description", "user name", "policy sid", "context value", "plaintext",
    )}
    text = {k: v.decode() for k, v in words.items()}
    kms, s3, iam = cloud.boto("kms"), cloud.boto("s3"), cloud.boto("iam")
    bucket = cloud.new_bucket()
    key = kms.create_key(Description=text["key description"], Tags=[{"TagKey": "t", "TagValue": text["tag value"]}])["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/" + text["alias"], TargetKeyId=key)
    kms.encrypt(KeyId=key, Plaintext=words["plaintext"], EncryptionContext={"c": text["context value"]})
    for size in (1, 5000):  # in the row, and in a segment
        s3.put_object(Bucket=bucket, Key=f"{text['object name']}/{size}", Body=words["object body"] * size, Metadata={"m": text["metadata value"]})
    iam.create_user(UserName=text["user name"])
    iam.put_user_policy(UserName=text["user name"], PolicyName="p", PolicyDocument=policy(allow("kms:Encrypt", Sid="policysid9d1c7f42a6")))
    words["policy sid"] = b"policysid9d1c7f42a6"

    def search(when):
        looked = 0
        for path in server.data.rglob("*"):
            if not path.is_file():
                continue
            data = path.read_bytes()
            looked += len(data)
            for name, word in words.items():
                for form in (word, word.decode().encode("utf-16-le"), base64.b64encode(word)[:-4], word.hex().encode()):
                    assert form not in data, f"{when}: {path.name} holds the {name}"
        assert looked > 10_000, "nothing was searched"

    search("running")
    server.stop()
    search("stopped")


@pytest.mark.parametrize("file", ["rows", "objects"])
def test_changed_bytes_are_noticed(own_server, file):
    """A flipped bit ends in an error, never in other data."""
    server = own_server()
    cloud = server.cloud()
    s3, bucket = cloud.boto("s3"), cloud.new_bucket()
    body = random.Random(1).randbytes(200_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    server.stop()
    victims = [p for p in (server.data / file).rglob("*") if p.is_file() and p.stat().st_size > 1000]
    assert victims, f"no files below {file}"
    for path in victims:
        data = bytearray(path.read_bytes())
        for at in range(500, len(data), max(1, len(data) // 5)):
            data[at] ^= 1
        path.write_bytes(data)
    try:
        server.start()
    except AssertionError:
        return  # refused to start: noticed
    try:
        got = server.cloud().boto("s3").get_object(Bucket=bucket, Key="k")["Body"].read()
    except (ClientError, BotoCoreError):
        return
    except Exception as e:  # a body cut short
        assert "ncomplete" in type(e).__name__ or "ncomplete" in str(e) or "Connection" in str(e), e
        return
    assert got == body, "other data came back"
    if file == "objects":
        raise AssertionError("the change was not noticed")
