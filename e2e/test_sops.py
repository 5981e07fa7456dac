"""SOPS, unmodified, with AWS KMS keys: it finds the server by AWS_ENDPOINT_URL."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from harness import ROOT, allow, clean_environment, policy

SOPS = pathlib.Path(os.environ.get("SAGEKEEP_SOPS") or ROOT / "dist" / ("sops.exe" if os.name == "nt" else "sops"))
SECRETS = {
    "database": {"user": "fields", "password": "rapeseed-2.4-t"}, "ports": [5432, 6543], "ratio": 0.25, "on": True,
    "note": "several\nlines, ünïcode", "plain_unencrypted": "for everyone",
}
DENIED = "AccessDeniedException"
DISABLED = "DisabledException"


class Folder:
    """A folder with secrets.yaml, and the credentials with which sops runs in it."""

    def __init__(self, cloud, path):
        self.cloud, self.path, self.file = cloud, path, path / "secrets.yaml"
        self.file.write_text(yaml.safe_dump(SECRETS, allow_unicode=True), encoding="utf-8")

    def try_sops(self, *args, by=None):
        assert SOPS.is_file(), f"{SOPS} is missing: make e2e builds it"
        credentials = getattr(by, "credentials", by) or self.cloud.root
        return subprocess.run(
            [SOPS, *args], cwd=self.path, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60,
            env=clean_environment(AWS_ENDPOINT_URL=self.cloud.url, HOME=str(self.path), **credentials.environment()),
        )

    def sops(self, *args, by=None):
        done = self.try_sops(*args, by=by)
        assert done.returncode == 0, f"sops {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, text, *args, by=None):
        """sops must fail, say so, and print no secret."""
        before = self.file.read_bytes()
        done = self.try_sops(*args, by=by)
        assert done.returncode != 0, f"sops {' '.join(args)} succeeded; want {text}"
        assert re.search(text, done.stderr), done.stderr
        assert SECRETS["database"]["password"] not in done.stdout + done.stderr
        assert self.file.read_bytes() == before

    def encrypt(self, *keys, context=None, by=None):
        context = ["--encryption-context", ",".join(f"{k}:{v}" for k, v in context.items())] if context else []
        self.sops("encrypt", "--in-place", "--kms", ",".join(keys), *context, "secrets.yaml", by=by)

    def decrypt(self, by=None):
        return yaml.safe_load(self.sops("decrypt", "secrets.yaml", by=by))

    def metadata(self):
        return yaml.safe_load(self.file.read_text(encoding="utf-8"))["sops"]


@pytest.fixture
def folder(cloud, tmp_path):
    return Folder(cloud, tmp_path)


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


def test_encrypt_and_decrypt(cloud, folder):
    key, context = cloud.new_key(), {"project": "fields", "plot": "7"}
    folder.encrypt(key, context=context)
    text = folder.file.read_text(encoding="utf-8")
    assert SECRETS["database"]["password"] not in text and "for everyone" in text
    entry = folder.metadata()["kms"][0]
    assert (entry["arn"], entry["context"]) == (key, context)
    assert folder.decrypt() == SECRETS
    assert folder.sops("decrypt", "--extract", '["database"]["password"]', "secrets.yaml") == SECRETS["database"]["password"]
    assert json.loads(folder.sops("decrypt", "--output-type", "json", "secrets.yaml")) == SECRETS
    mine = [r for r in cloud.records("EventName", "Decrypt", pages=1) if (r.get("resources") or [{}])[0].get("ARN") == key]
    assert mine and all(r["requestParameters"]["encryptionContext"] == context for r in mine)


def test_set_and_unset(cloud, folder):
    folder.encrypt(cloud.new_key())
    folder.sops("set", "secrets.yaml", '["database"]["password"]', '"barley-3.1-t"')
    folder.sops("unset", "secrets.yaml", '["note"]')
    got = folder.decrypt()
    assert got["database"]["password"] == "barley-3.1-t" and "note" not in got


def test_rotate_to_another_key(cloud, kms, folder):
    """A new data key, wrapped by another KMS key alone; the old KMS key opens the file no more."""
    old, new = cloud.new_key(), cloud.new_key()
    folder.encrypt(old)
    before = folder.file.read_text(encoding="utf-8")
    folder.sops("rotate", "--in-place", "--add-kms", new, "--rm-kms", old, "secrets.yaml")
    assert [k["arn"] for k in folder.metadata()["kms"]] == [new]
    values = re.compile(r"data:([^,]+),")
    assert not set(values.findall(before)) & set(values.findall(folder.file.read_text(encoding="utf-8")))
    kms.disable_key(KeyId=old)
    assert folder.decrypt() == SECRETS
    kms.disable_key(KeyId=new)
    folder.refused(DISABLED, "decrypt", "secrets.yaml")
    kms.enable_key(KeyId=new)
    assert folder.decrypt() == SECRETS


def test_rotated_key_material(cloud, kms, folder):
    key = cloud.new_key()
    folder.encrypt(key)
    kms.rotate_key_on_demand(KeyId=key)
    assert folder.decrypt() == SECRETS
    folder.sops("rotate", "--in-place", "secrets.yaml")
    assert folder.decrypt() == SECRETS


def test_either_of_two_keys(cloud, kms, folder):
    one, two = cloud.new_key(), cloud.new_key()
    folder.encrypt(one, two)
    for off, on in ((one, two), (two, one)):
        kms.enable_key(KeyId=on)
        kms.disable_key(KeyId=off)
        assert folder.decrypt() == SECRETS
    kms.disable_key(KeyId=one)
    folder.refused(DISABLED, "decrypt", "secrets.yaml")


def test_update_keys_by_a_rule(cloud, folder):
    one, two = cloud.new_key(), cloud.new_key()
    rules = folder.path / ".sops.yaml"
    rules.write_text(yaml.safe_dump({"creation_rules": [{"path_regex": "secrets", "kms": one}]}))
    folder.sops("encrypt", "--in-place", "secrets.yaml")
    assert [k["arn"] for k in folder.metadata()["kms"]] == [one]
    rules.write_text(yaml.safe_dump({"creation_rules": [{"path_regex": "secrets", "kms": f"{one},{two}"}]}))
    folder.sops("updatekeys", "--yes", "secrets.yaml")
    assert sorted(k["arn"] for k in folder.metadata()["kms"]) == sorted([one, two])
    assert folder.decrypt() == SECRETS


def test_grants(cloud, kms, folder):
    """A user lives on a grant for one encryption context; revoked, the file is closed to the user with the answer."""
    key, user, context = cloud.new_key(), cloud.new_user(), {"project": "fields"}
    folder.encrypt(key, context=context)
    folder.refused(DENIED, "decrypt", "secrets.yaml", by=user)
    grant = kms.create_grant(
        KeyId=key, GranteePrincipal=user.arn, Operations=["Encrypt", "Decrypt"], Constraints={"EncryptionContextSubset": context},
    )
    assert folder.decrypt(by=user) == SECRETS
    folder.sops("rotate", "--in-place", "secrets.yaml", by=user)
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    folder.refused(DENIED, "decrypt", "secrets.yaml", by=user)
    folder.refused(DENIED, "rotate", "--in-place", "secrets.yaml", by=user)
    assert folder.decrypt() == SECRETS


def test_a_role_in_the_key_name(cloud, folder):
    """ARN+ROLE: sops assumes the role through AWS STS, at the same endpoint, and is that role's session to KMS."""
    key, user = cloud.new_key(), cloud.assumer()
    role = cloud.new_role(allow(["kms:Encrypt", "kms:Decrypt"], key))
    folder.encrypt(f"{key}+{role.arn}", by=user)
    assert folder.metadata()["kms"][0]["role"] == role.arn
    assert folder.decrypt(by=user) == SECRETS
    cloud.boto("iam").put_role_policy(RoleName=role.name, PolicyName="inline", PolicyDocument=policy(allow("kms:Encrypt", key)))
    folder.refused(DENIED, "decrypt", "secrets.yaml", by=user)


def test_another_account(cloud, other, folder):
    folder.encrypt(cloud.new_key())
    folder.refused(DENIED, "decrypt", "secrets.yaml", by=other.root)


@pytest.mark.parametrize("change, code", [
    (lambda m: m["kms"][0]["context"].update(project="cattle"), "InvalidCiphertextException"),
    (lambda m: m["kms"][0].pop("context"), "InvalidCiphertextException"),
    (lambda m: m["kms"][0].update(enc=m["kms"][0]["enc"][:-20] + "AAAAAAAA" + m["kms"][0]["enc"][-12:]), "InvalidCiphertextException"),
    (lambda m: m["kms"][0].update(enc=m["kms"][0]["enc"][:-8]), "InvalidCiphertextException"),
    (lambda m: m.update(mac=m["mac"].replace("ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA")), "MAC|message authentication failed|mac"),
], ids=["other context", "no context", "changed wrapped key", "shorter wrapped key", "changed MAC"])
def test_changed_files(cloud, folder, change, code):
    folder.encrypt(cloud.new_key(), context={"project": "fields"})
    content = yaml.safe_load(folder.file.read_text(encoding="utf-8"))
    change(content["sops"])
    folder.file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    folder.refused(code, "decrypt", "secrets.yaml")


def test_another_key_in_the_file(cloud, folder):
    """sops sends the key's name: a ciphertext of another key is not opened for it."""
    folder.encrypt(cloud.new_key())
    content = yaml.safe_load(folder.file.read_text(encoding="utf-8"))
    content["sops"]["kms"][0]["arn"] = cloud.new_key()
    folder.file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    folder.refused("IncorrectKeyException", "decrypt", "secrets.yaml")
