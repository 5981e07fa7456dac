"""AWS KMS and bad input, by the wire: AWS's error, the same for all that must not be told apart, and nothing changed.

The tests have a server of their own, whose whole state is compared before and after each of them.
"""

import base64
import http.client
import itertools
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from conftest import OTHER
from harness import ACCOUNT, REGION, Server, allow, policy, refused

CONTEXT = {"project": "fields", "plot": "7"}
PLAIN = b"plot 7: rapeseed, 2.4 t/ha"
UNREADABLE = ("InvalidCiphertextException", "")
HIDDEN = (
    "AccessDeniedException",
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.",
)
WRONG_KEY = ("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")


class Scene:
    """Two accounts, a few keys, and what can be done wrong with them."""

    def __init__(self, server):
        server.command("account", "create", "--id", OTHER, check=True)
        self.mine, self.theirs = server.cloud(), server.cloud(OTHER)
        kms = self.kms = self.mine.boto("kms")
        self.user, self.thief = self.mine.new_user(prefix="grantee"), self.mine.new_user(prefix="thief")
        self.key, self.second = (self.mine.new_key(Tags=[{"TagKey": "team", "TagValue": "crops"}]) for _ in range(2))
        self.foreign = self.theirs.new_key()
        kms.create_alias(AliasName="alias/scene", TargetKeyId=self.key)
        kms.rotate_key_on_demand(KeyId=self.key)
        self.grant = kms.create_grant(
            KeyId=self.key, GranteePrincipal=self.user.arn, RetiringPrincipal=self.user.arn, Operations=["Decrypt"],
            Constraints={"EncryptionContextSubset": {"project": "fields"}},
        )
        self.blob, self.twin = (self.seal(kms, self.key) for _ in range(2))
        self.of_second, self.of_foreign = self.seal(kms, self.second), self.seal(self.theirs.boto("kms"), self.foreign)
        there = self.mine.boto("kms", region="eu-central-1")
        self.of_elsewhere = self.seal(there, there.create_key()["KeyMetadata"]["Arn"])

    @staticmethod
    def seal(kms, key, context=None):
        return kms.encrypt(KeyId=key, Plaintext=PLAIN, EncryptionContext=context or CONTEXT)["CiphertextBlob"]

    def state(self):
        """Everything that the accounts' keys, grants and aliases tell of themselves."""
        found = []
        for cloud, region in itertools.product((self.mine, self.theirs), (REGION, "eu-central-1")):
            kms = cloud.boto("kms", region=region)
            aliases = [(a["AliasName"], a.get("TargetKeyId"), a.get("LastUpdatedDate")) for p in kms.get_paginator("list_aliases").paginate() for a in p["Aliases"]]
            found.append((cloud.account, region, sorted(aliases, key=repr)))
            for key in sorted(k["KeyId"] for p in kms.get_paginator("list_keys").paginate() for k in p["Keys"]):
                found.append((
                    kms.describe_key(KeyId=key)["KeyMetadata"],
                    kms.get_key_policy(KeyId=key)["Policy"],
                    sorted((g for p in kms.get_paginator("list_grants").paginate(KeyId=key) for g in p["Grants"]), key=lambda g: g["GrantId"]),
                    kms.list_resource_tags(KeyId=key)["Tags"],
                    kms.get_key_rotation_status(KeyId=key).get("KeyRotationEnabled"),
                    kms.list_key_rotations(KeyId=key)["Rotations"],
                ))
        return found

    def send(self, operation, body, by=None, **headers):
        """Posts bytes, signed as they are: the status, the headers that are not of this one answer, and the body."""
        credentials = getattr(by, "credentials", by) or self.mine.root
        request = botocore.awsrequest.AWSRequest("POST", self.mine.url + "/", data=body, headers={
            "X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1", **headers,
        })
        signer = botocore.credentials.Credentials(credentials.access_key_id, credentials.secret, credentials.token)
        botocore.auth.SigV4Auth(signer, "kms", REGION).add_auth(request)
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.mine.url).netloc, timeout=30)
        try:
            connection.request("POST", "/", body, dict(request.headers))
            answer = connection.getresponse()
            kept = sorted((k.lower(), v) for k, v in answer.getheaders() if k.lower() not in ("date", "x-amzn-requestid"))
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def decrypt(self, blob, by=None, context=CONTEXT, **more):
        """What Decrypt answers: the whole of it by the wire."""
        body = {"CiphertextBlob": base64.b64encode(blob).decode(), "EncryptionContext": context, **more}
        return self.send("Decrypt", json.dumps(body).encode(), by)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("bad-input"))
    try:
        yield Scene(server.start())
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def unchanged(scene):
    before = scene.state()
    yield
    assert scene.state() == before
    assert scene.kms.decrypt(CiphertextBlob=scene.blob, EncryptionContext=CONTEXT)["Plaintext"] == PLAIN


def fault(answer):
    """Code and text of an error answer. KMS answers all of these with 400."""
    status, headers, body = answer
    told = json.loads(body)
    assert status == 400, (status, body)
    assert dict(headers).get("content-type") == "application/x-amz-json-1.1"
    assert set(told) <= {"__type", "message", "Message"}, told
    return told["__type"].rsplit("#")[-1], told.get("message", told.get("Message", ""))


# Ciphertexts


def bad_ciphertexts(scene):
    """By name: a ciphertext and an encryption context that do not belong together under scene.key."""
    blob, twin, size = scene.blob, scene.twin, len(scene.blob)
    yield "no context", blob, {}
    yield "part of the context", blob, {"project": "fields"}
    yield "more context", blob, CONTEXT | {"more": ""}
    yield "another value", blob, CONTEXT | {"plot": "8"}
    yield "another case", blob, {"Project": "fields", "plot": "7"}
    yield "keys and values swapped", blob, {v: k for k, v in CONTEXT.items()}
    yield "borders moved", blob, {"project": "fieldsplot", "": "7"}
    yield "last byte", blob[:-1] + bytes([blob[-1] ^ 1]), CONTEXT
    yield "first byte of the end", blob[:-16] + bytes([blob[-16] ^ 0x80]) + blob[-15:], CONTEXT
    yield "one byte more", blob + b"\0", CONTEXT
    yield "one byte less", blob[:-1], CONTEXT
    yield "16 bytes less", blob[:-16], CONTEXT
    yield "doubled", blob + blob, CONTEXT
    yield "the largest", blob + bytes(6144 - size), CONTEXT
    yield "zeros", bytes(size), CONTEXT
    yield "noise", bytes((i * 89 + 7) % 256 for i in range(size)), CONTEXT
    yield "one byte", b"\1", CONTEXT
    yield "text", b"not a ciphertext", CONTEXT
    yield "its base64", base64.b64encode(blob), CONTEXT
    yield "begun like AWS's own", b"\x01\x02\x02\x00x" + bytes(180), CONTEXT
    for cut in range(size - 48, size, 8):
        yield f"spliced at {cut}", blob[:cut] + twin[cut:], CONTEXT
    yield "another's context", scene.seal(scene.kms, scene.key, {"project": "cattle"}), CONTEXT


def test_bad_ciphertexts_are_all_the_same(scene):
    """Byte for byte: who holds a ciphertext learns nothing of why it does not open."""
    answers = {}
    for name, blob, context in bad_ciphertexts(scene):
        answers[name] = scene.decrypt(blob, context=context)
        assert fault(answers[name]) == UNREADABLE, name
        moved = scene.send("ReEncrypt", json.dumps({
            "CiphertextBlob": base64.b64encode(blob).decode(), "SourceEncryptionContext": context, "DestinationKeyId": scene.second,
        }).encode())
        assert moved == answers[name], name
        assert scene.decrypt(blob, context=context, KeyId=scene.key) == answers[name], name
        assert scene.decrypt(blob, context=context, DryRun=True) == answers[name], name
        granted = fault(scene.decrypt(blob, scene.user, context=context))
        assert granted == UNREADABLE or granted[0] == "AccessDeniedException" and context.get("project") != "fields", name
    assert len(set(map(repr, answers.values()))) == 1


def test_who_has_no_right_learns_nothing_of_the_ciphertext(scene):
    changed = scene.blob[:-1] + bytes([scene.blob[-1] ^ 1])
    answers = [scene.decrypt(blob, scene.thief, context=context) for blob in (scene.blob, changed) for context in (CONTEXT, {}, {"plot": "8"})]
    assert fault(answers[0])[0] == "AccessDeniedException"
    assert len(set(map(repr, answers))) == 1


def test_every_flipped_bit(scene):
    """A change anywhere, in each bit: it does not open, and what is told is that, or that there is no such key."""
    told = {}
    for at in range(len(scene.blob)):
        blob = bytearray(scene.blob)
        blob[at] ^= 1 << at % 8
        told[at] = fault(scene.decrypt(bytes(blob)))
        assert told[at] in (UNREADABLE, HIDDEN), at
        assert fault(scene.decrypt(bytes(blob), KeyId=scene.key)) == (UNREADABLE if told[at] == UNREADABLE else WRONG_KEY), at
    assert UNREADABLE in told.values()
    hidden = [at for at, t in told.items() if t == HIDDEN]
    assert len(hidden) <= 17 and hidden == list(range(hidden[0], hidden[0] + len(hidden))), hidden  # where the key is named


def test_every_truncation(scene):
    assert {fault(scene.decrypt(scene.blob[:n])) for n in range(1, len(scene.blob))} == {UNREADABLE}


def test_ciphertexts_from_elsewhere_are_of_no_key(scene):
    """Another account's key, another Region's and none at all cannot be told apart."""
    nobody = bytearray(scene.of_foreign)
    nobody[10] ^= 0x55
    answers = [scene.decrypt(blob) for blob in (scene.of_foreign, scene.of_elsewhere, bytes(nobody))]
    assert {fault(a) for a in answers} == {HIDDEN}
    assert len(set(map(repr, answers))) == 1
    as_stranger = scene.decrypt(scene.blob, scene.theirs.root)
    assert as_stranger == answers[0]
    assert scene.decrypt(scene.blob, scene.theirs.root, context={}) == answers[0]


def test_wrong_keys(scene):
    for blob, key, want in (
        (scene.blob, scene.second, WRONG_KEY), (scene.of_second, scene.key, WRONG_KEY), (scene.of_foreign, scene.key, WRONG_KEY),
        (scene.of_elsewhere, "alias/scene", WRONG_KEY),
    ):
        assert fault(scene.decrypt(blob, KeyId=key)) == want
    for key in (scene.foreign, scene.foreign.replace(OTHER, ACCOUNT), scene.key.replace(REGION, "eu-central-1"), "", "x" * 2049, "alias/", "\0"):
        code, _ = fault(scene.decrypt(scene.blob, KeyId=key))
        assert code in ("AccessDeniedException", "NotFoundException", "ValidationException"), key
    # A foreign key that is there and one that is not.
    there = fault(scene.decrypt(scene.blob, KeyId=scene.foreign))
    absent = scene.foreign.rsplit("/", 1)[0] + "/1234abcd-12ab-34cd-56ef-1234567890ab"
    gone = fault(scene.decrypt(scene.blob, KeyId=absent))
    assert there[0] == gone[0] == "AccessDeniedException"
    assert there[1].replace(scene.foreign, "KEY") == gone[1].replace(absent, "KEY")


def test_other_failures_are_wordless(scene):
    """RSA ciphertexts, signatures and MACs: one answer each, whatever is wrong."""
    there = scene.mine.boto("kms", region="ap-south-1")
    rsa = there.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    ec = there.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    mac = there.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    blob = there.encrypt(KeyId=rsa, Plaintext=PLAIN, EncryptionAlgorithm="RSAES_OAEP_SHA_256")["CiphertextBlob"]
    for bad in (bytes(256), b"\xff" * 256, blob[:-1], blob + b"\0", blob[::-1], b"\1", bytes([blob[0] ^ 1]) + blob[1:]):
        with refused("InvalidCiphertextException", status=400) as got:
            there.decrypt(KeyId=rsa, CiphertextBlob=bad, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
        assert got.message == ""
    with refused("InvalidCiphertextException") as got:  # the other padding
        there.decrypt(KeyId=rsa, CiphertextBlob=blob, EncryptionAlgorithm="RSAES_OAEP_SHA_1")
    assert got.message == ""
    signature = there.sign(KeyId=ec, Message=PLAIN, SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    for bad, message in ((signature, b"x"), (signature[:-1], PLAIN), (bytes(72), PLAIN), (b"\x30\x06\x02\x01\x00\x02\x01\x00", PLAIN), (signature + b"\0", PLAIN)):
        with refused("KMSInvalidSignatureException", status=400) as got:
            there.verify(KeyId=ec, Message=message, Signature=bad, SigningAlgorithm="ECDSA_SHA_256")
        assert got.message == ""
    good = there.generate_mac(KeyId=mac, Message=PLAIN, MacAlgorithm="HMAC_SHA_256")["Mac"]
    for bad, message in ((good, b"x"), (good[:-1], PLAIN), (bytes(32), PLAIN), (good + b"\0", PLAIN)):
        with refused("KMSInvalidMacException", status=400) as got:
            there.verify_mac(KeyId=mac, Message=message, Mac=bad, MacAlgorithm="HMAC_SHA_256")
        assert got.message == ""


# Sizes


@pytest.mark.parametrize("operation, body, code, text", [
    ("Encrypt", {"Plaintext": "A" * 5464}, "ValidationException", "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"),
    ("Encrypt", {"Plaintext": ""}, "ValidationException", "Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"),
    ("Decrypt", {"CiphertextBlob": "A" * 8196}, "ValidationException", "'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144"),
    ("Decrypt", {"CiphertextBlob": ""}, "ValidationException", "'ciphertextBlob' failed to satisfy constraint"),
    ("GenerateDataKey", {"NumberOfBytes": 1025}, "ValidationException", "numberOfBytes"),
    ("GenerateDataKey", {"NumberOfBytes": 0}, "ValidationException", "numberOfBytes"),
    ("GenerateDataKey", {"NumberOfBytes": -1}, "ValidationException", "numberOfBytes"),
    ("Encrypt", {"Plaintext": "AAAA", "GrantTokens": ["x"] * 11}, "ValidationException", "grantTokens"),
    ("Encrypt", {"Plaintext": "AAAA", "GrantTokens": ["x" * 8193]}, "ValidationException", "grantTokens"),
    ("UpdateKeyDescription", {"Description": "x" * 8193}, "ValidationException", "description"),
    ("TagResource", {"Tags": [{"TagKey": "k" * 129, "TagValue": ""}]}, ("ValidationException", "TagException"), ""),
    ("TagResource", {"Tags": [{"TagKey": f"k{i}", "TagValue": ""} for i in range(51)]}, ("TagException", "LimitExceededException"), ""),
    ("CreateAlias", {"AliasName": "alias/" + "x" * 251, "TargetKeyId": "KEY"}, "ValidationException", "aliasName"),
    ("ScheduleKeyDeletion", {"PendingWindowInDays": 31}, "ValidationException", ""),
    ("PutKeyPolicy", {"Policy": policy(allow("kms:*", Sid="S" * 40_000, Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))}, ("LimitExceededException", "MalformedPolicyDocumentException"), ""),
    ("PutKeyPolicy", {"Policy": " " * 131_073}, "ValidationException", "policy"),
    ("CreateKey", {"KeyId": None, "Policy": policy(allow("kms:*", Sid="S" * 40_000, Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))}, ("LimitExceededException", "MalformedPolicyDocumentException"), ""),
    ("CreateGrant", {"Operations": ["Decrypt"] * 50, "GranteePrincipal": "USER", "Name": "x" * 257}, "ValidationException", "name"),
    ("CreateGrant", {"Operations": ["Decrypt"], "GranteePrincipal": "USER", "Constraints": {"EncryptionContextEquals": {"k": "v" * 385}}}, "ValidationException", ""),
    ("RevokeGrant", {"GrantId": "0" * 129}, "ValidationException", "grantId"),
    ("RevokeGrant", {"GrantId": "0" * 64}, "NotFoundException", ""),
], ids=lambda v: v if isinstance(v, str) and v.isalpha() else "")
def test_sizes(scene, operation, body, code, text):
    body = {"KeyId": scene.key} | body
    if operation in ("Decrypt", "CreateKey", "CreateAlias"):
        del body["KeyId"]
    sent = json.dumps(body).replace('"KEY"', json.dumps(scene.key)).replace('"USER"', json.dumps(scene.user.arn))
    got, message = fault(scene.send(operation, sent.encode()))
    assert got in ((code,) if isinstance(code, str) else code), (got, message)
    assert text in message, message


# Bytes that are no request


def encrypt_body(scene, **more):
    return {"KeyId": scene.key, "Plaintext": base64.b64encode(PLAIN).decode(), **more}


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b'"text"', b"7", b"{", b"{}x", b'{"KeyId":"KEY"', b'{"KeyId":"KEY",}', b"{'KeyId':'KEY'}", b"\xef\xbb\xbf{}",
    b'{"KeyId":"KEY","Description":"\xff\xfe"}', b'{"KeyId":"KEY","Description":"\xc0\xaf"}', b'{"KeyId":"KEY","Description":"\xed\xa0\x80"}',
    b'{"KeyId":"KEY","Description":"\\ud800"}', b'{"KeyId":"KEY","Description":"\\x"}', b'{"KeyId":"KEY","Description":"a\nb"}',
    b'{"KeyId":"KEY","Description":"one","Description":"two"}', b'{"KeyId":"KEY","KeyId":"KEY","Description":"two"}',
    b'{"KeyId":"KEY","Description":"one","\\u0044escription":"two"}',
    b'{"KeyId":"KEY","Description":7}', b'{"KeyId":"KEY","Description":["x"]}', b'{"KeyId":{"S":"KEY"},"Description":"x"}', b'{"KeyId":["KEY"],"Description":"x"}',
    b'{"KeyId":"KEY"}', b'{"Description":"x"}', b'{"keyid":"KEY","description":"x"}',
    b"[" * 100_000, b'{"a":' * 100_000,
    b"\0" * 100, b"KeyId=KEY&Description=x", b"<UpdateKeyDescription/>",
], ids=lambda b: repr(b[:40]))
def test_malformed_requests(scene, body):
    """All of them ask for UpdateKeyDescription."""
    code, _ = fault(scene.send("UpdateKeyDescription", body.replace(b"KEY", scene.key.encode())))
    assert code in ("SerializationException", "ValidationException"), code


@pytest.mark.parametrize("operation, body", [
    ("Encrypt", {"Plaintext": "no base64!"}), ("Encrypt", {"Plaintext": "QQ"}), ("Encrypt", {"Plaintext": "QQ==QQ=="}), ("Encrypt", {"Plaintext": 7}),
    ("Encrypt", {"EncryptionContext": {"a": 1}}), ("Encrypt", {"EncryptionContext": ["a", "b"]}), ("Encrypt", {"EncryptionContext": {"a": {"b": "c"}}}),
    ("Encrypt", {"GrantTokens": "x"}), ("Encrypt", {"DryRun": "perhaps"}), ("Encrypt", {"EncryptionAlgorithm": "ROT13"}),
    ("ScheduleKeyDeletion", {"PendingWindowInDays": "7 days"}), ("ScheduleKeyDeletion", {"PendingWindowInDays": [7]}), ("ScheduleKeyDeletion", {"PendingWindowInDays": 1e30}),
    ("CreateGrant", {"GranteePrincipal": "USER", "Operations": "Decrypt"}), ("CreateGrant", {"GranteePrincipal": "USER", "Operations": [None, "Sleep"]}),
    ("TagResource", {"Tags": {"TagKey": "a", "TagValue": "b"}}), ("TagResource", {"Tags": [{"TagKey": "a"}]}),
], ids=str)
def test_values_of_other_types(scene, operation, body):
    sent = json.dumps((encrypt_body(scene) if operation == "Encrypt" else {"KeyId": scene.key}) | body).replace('"USER"', json.dumps(scene.user.arn))
    code, _ = fault(scene.send(operation, sent.encode()))
    assert code in ("SerializationException", "ValidationException"), code


def test_duplicate_names_anywhere(scene):
    """Which of two values would count is never asked: the context that was authorised is the one that is used."""
    sealed = base64.b64encode(scene.blob).decode()
    for body in (
        f'{{"CiphertextBlob":"{sealed}","EncryptionContext":{{"project":"cattle","project":"fields","plot":"7"}}}}',
        f'{{"CiphertextBlob":"{sealed}","EncryptionContext":{{"project":"cattle"}},"EncryptionContext":{json.dumps(CONTEXT)}}}',
        f'{{"CiphertextBlob":"QUFB","CiphertextBlob":"{sealed}","EncryptionContext":{json.dumps(CONTEXT)}}}',
        f'{{"CiphertextBlob":"{sealed}","EncryptionContext":{{"project":"fields","\\u0070roject":"fields","plot":"7"}}}}',
    ):
        assert fault(scene.send("Decrypt", body.encode()))[0] == "SerializationException", body
    assert scene.decrypt(scene.blob)[0] == 200


def test_too_large_a_request(scene):
    status, _, _ = scene.send("Encrypt", json.dumps(encrypt_body(scene, Padding="x" * (5 << 20))).encode())
    assert status == 413


@pytest.mark.parametrize("target", ["TrentService.Nothing", "TrentService.", "Nothing", "TrentService.encrypt", "DynamoDB_20120810.ListTables"])
def test_unknown_operations(scene, target):
    status, _, body = scene.send("", json.dumps(encrypt_body(scene)).encode(), **{"X-Amz-Target": target})
    assert status in (400, 404) and json.loads(body)["__type"].rsplit("#")[-1] in ("UnknownOperationException", "UnknownService"), body


# Grant tokens


def changed_tokens(token):
    middle = len(token) // 2
    yield "forged", "forged"
    yield "empty", ""
    yield "blank", " "
    yield "shorter", token[:-1]
    yield "half", token[:middle]
    yield "longer", token + "A"
    yield "one character", token[:middle] + ("B" if token[middle] == "A" else "A") + token[middle + 1:]
    yield "reversed", token[::-1]
    yield "not ASCII", token[:-1] + "ü"
    yield "large", "A" * 8192


def test_forged_tokens(scene):
    for name, token in changed_tokens(scene.grant["GrantToken"]):
        for call in ("GenerateDataKey", "Decrypt", "RetireGrant"):
            body = {
                "GenerateDataKey": {"KeyId": scene.key, "KeySpec": "AES_256", "GrantTokens": [token]},
                "Decrypt": {"CiphertextBlob": base64.b64encode(scene.blob).decode(), "EncryptionContext": CONTEXT, "GrantTokens": [scene.grant["GrantToken"], token]},
                "RetireGrant": {"GrantToken": token},
            }[call]
            code, message = fault(scene.send(call, json.dumps(body).encode(), scene.user))
            assert code in ("InvalidGrantTokenException", "ValidationException"), (name, call, code)
            assert scene.grant["GrantToken"] not in message


def test_stolen_tokens(scene):
    """A token gives nothing to whom the grant does not name: neither the key nor the right to retire."""
    token = scene.grant["GrantToken"]
    for by in (scene.thief, scene.theirs.root):
        assert fault(scene.decrypt(scene.blob, by, GrantTokens=[token]))[0] == "AccessDeniedException"
        code, _ = fault(scene.send("RetireGrant", json.dumps({"GrantToken": token}).encode(), by))
        assert code in ("AccessDeniedException", "InvalidGrantTokenException", "NotFoundException"), code
        code, _ = fault(scene.send("RetireGrant", json.dumps({"KeyId": scene.key, "GrantId": scene.grant["GrantId"]}).encode(), by))
        assert code in ("AccessDeniedException", "NotFoundException"), code
    # The grantee has no more than the grant says, with the token or without.
    for context in ({}, {"project": "cattle", "plot": "7"}):
        assert fault(scene.decrypt(scene.blob, scene.user, context=context, GrantTokens=[token]))[0] == "AccessDeniedException"
    code, _ = fault(scene.send("Encrypt", json.dumps(encrypt_body(scene, GrantTokens=[token], EncryptionContext=CONTEXT)).encode(), scene.user))
    assert code == "AccessDeniedException"
    assert fault(scene.decrypt(scene.of_second, scene.user, GrantTokens=[token]))[0] == "AccessDeniedException"


def test_replayed_tokens(scene):
    """The token of a grant that is gone opens nothing, retires nothing and does not bring it back."""
    made = [scene.kms.create_grant(KeyId=scene.second, GranteePrincipal=scene.user.arn, RetiringPrincipal=scene.user.arn, Operations=["Decrypt"]) for _ in range(2)]
    assert scene.decrypt(scene.of_second, scene.user, GrantTokens=[made[0]["GrantToken"]])[0] == 200
    scene.kms.revoke_grant(KeyId=scene.second, GrantId=made[0]["GrantId"])
    scene.mine.boto("kms", scene.user).retire_grant(GrantToken=made[1]["GrantToken"])
    for g in made:
        assert fault(scene.decrypt(scene.of_second, scene.user, GrantTokens=[g["GrantToken"]]))[0] in ("AccessDeniedException", "InvalidGrantTokenException")
        code, _ = fault(scene.send("RetireGrant", json.dumps({"GrantToken": g["GrantToken"]}).encode(), scene.user))
        assert code in ("NotFoundException", "InvalidGrantTokenException", "InvalidGrantIdException", "AccessDeniedException"), code
        code, _ = fault(scene.send("RevokeGrant", json.dumps({"KeyId": scene.second, "GrantId": g["GrantId"]}).encode()))
        assert code in ("NotFoundException", "InvalidGrantIdException"), code
