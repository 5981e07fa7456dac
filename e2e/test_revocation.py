"""Revocation bites: no request that starts after the answer succeeds, however many are under way."""

import threading
import time

import pytest

from harness import allow, deny, policy


class Hammer:
    """Threads that repeat one call; each remembers when its last success began."""

    def __init__(self, call, threads=6):
        self.call, self.end = call, threading.Event()
        self.last_success, self.refusals, self.successes, self.lock = 0.0, [], 0, threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def run(self):
        while not self.end.is_set():
            began = time.monotonic()
            try:
                self.call()
            except Exception as e:
                code = getattr(e, "response", {}).get("Error", {}).get("Code", repr(e))
                with self.lock:
                    self.refusals.append(code)
                continue
            with self.lock:
                self.last_success, self.successes = max(self.last_success, began), self.successes + 1

    def strike(self, revoke, codes):
        for t in self.threads:
            t.start()
        time.sleep(0.25)
        assert self.successes > 10 and not self.refusals, f"{self.successes} successes, then {self.refusals[:1]}"
        revoke()
        answered = time.monotonic()
        time.sleep(0.25)
        self.end.set()
        for t in self.threads:
            t.join(timeout=30)
        assert self.refusals, "nothing was refused"
        assert set(self.refusals) <= set(codes), set(self.refusals)
        assert self.last_success <= answered, f"a request that began {(self.last_success - answered) * 1000:.1f} ms after the answer succeeded"


@pytest.fixture
def actors(cloud):
    """A key, an object under it with a Bucket Key, and a user whom a grant lets in."""

    class Actors:
        key, bucket = cloud.new_key(), cloud.new_bucket()
        user = cloud.new_user(allow("s3:GetObject"))
        kms, iam = cloud.boto("kms"), cloud.boto("iam")

    a = Actors()
    a.grant = a.kms.create_grant(KeyId=a.key, GranteePrincipal=a.user.arn, Operations=["Decrypt"])["GrantId"]
    blob = a.kms.encrypt(KeyId=a.key, Plaintext=b"x")["CiphertextBlob"]
    cloud.boto("s3").put_object(Bucket=a.bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=a.key, BucketKeyEnabled=True)
    a.decrypt = lambda: cloud.boto("kms", a.user).decrypt(CiphertextBlob=blob)
    a.get = lambda: cloud.boto("s3", a.user).get_object(Bucket=a.bucket, Key="k")["Body"].read()
    return a


WAYS = {
    "RevokeGrant": (lambda a, c: a.kms.revoke_grant(KeyId=a.key, GrantId=a.grant), ("AccessDeniedException", "AccessDenied")),
    "DisableKey": (lambda a, c: a.kms.disable_key(KeyId=a.key), ("DisabledException", "KMS.DisabledException")),
    "ScheduleKeyDeletion": (lambda a, c: a.kms.schedule_key_deletion(KeyId=a.key), ("KMSInvalidStateException", "KMS.KMSInvalidStateException")),
    "PutKeyPolicy": (
        lambda a, c: a.kms.put_key_policy(KeyId=a.key, PolicyName="default", Policy=policy(
            allow("kms:*", Principal={"AWS": c.root_arn}), deny("kms:Decrypt", Principal={"AWS": a.user.arn}))),
        ("AccessDeniedException", "AccessDenied"),
    ),
    "PutUserPolicy": (
        lambda a, c: a.iam.put_user_policy(UserName=a.user.name, PolicyName="no", PolicyDocument=policy(deny("*"))),
        ("AccessDeniedException", "AccessDenied"),
    ),
    "UpdateAccessKey": (
        lambda a, c: a.iam.update_access_key(UserName=a.user.name, AccessKeyId=a.user.credentials.access_key_id, Status="Inactive"),
        ("UnrecognizedClientException", "InvalidAccessKeyId"),
    ),
}


@pytest.mark.parametrize("through", ["kms", "s3"])
@pytest.mark.parametrize("way", WAYS)
def test_no_request_after_the_answer(cloud, actors, way, through):
    revoke, codes = WAYS[way]
    hammer = Hammer(actors.decrypt if through == "kms" else actors.get)
    hammer.call()
    hammer.strike(lambda: revoke(actors, cloud), codes)


@pytest.mark.parametrize("way", ["DeleteRolePolicy", "DeleteRole", "trust is not asked again"])
def test_sessions(cloud, way):
    key, role = cloud.new_key(), cloud.new_role(allow("kms:Encrypt"))
    session = cloud.assume(role, cloud.assumer())
    iam, kms = cloud.boto("iam"), cloud.boto("kms", session)
    hammer = Hammer(lambda: kms.encrypt(KeyId=key, Plaintext=b"x"))
    hammer.call()
    if way.startswith("trust"):
        # A changed trust policy closes the door to new sessions; those inside stay, as in AWS.
        iam.update_assume_role_policy(RoleName=role.name, PolicyDocument=policy(deny("sts:AssumeRole", None, Principal="*")))
        hammer.call()
        return

    def revoke():
        iam.delete_role_policy(RoleName=role.name, PolicyName="inline")
        if way == "DeleteRole":
            iam.delete_role(RoleName=role.name)

    hammer.strike(revoke, ("AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException"))
