"""Why a request was denied: the record, `sagekeep policy explain`, the hint of the answer, and DecodeAuthorizationMessage."""

import json

import pytest

from harness import allow, deny, policy, refused


def asking(client):
    """The client, asking with every request why it is denied."""
    client.meta.events.register("before-sign.*", lambda request, **_: request.headers.add_header("X-Sagekeep-Explain", "1"))
    return client


@pytest.fixture(scope="module")
def key(cloud):
    return cloud.new_key()


def denied_event(cloud, who, name):
    [record, *_] = [r for r in cloud.records("EventName", name) if r["userIdentity"].get("arn") == who.arn and r.get("errorCode")]
    return record


def explain(cloud, event):
    done = cloud.server.command("policy", "explain", "--event", event, "--json", check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def apply(cloud, who, change):
    """Does what the explanation says, to the user's inline policy of that name."""
    assert change["layer"] == "identity" and "add" in change, change
    document = json.dumps({"Version": "2012-10-17", "Statement": [change["add"]]})
    cloud.boto("iam").put_user_policy(UserName=who.name, PolicyName="explained", PolicyDocument=document)


def test_record_and_command_say_what_was_missing(cloud, key):
    via = {"StringEquals": {"kms:ViaService": "s3.us-west-2.amazonaws.com"}}
    bob = cloud.new_user(allow("kms:Encrypt", key, Sid="ThroughS3", Condition=via))
    with refused("AccessDeniedException", "because no identity-based policy allows the kms:Encrypt action"):
        cloud.boto("kms", bob).encrypt(KeyId=key, Plaintext=b"x")
    record = denied_event(cloud, bob, "Encrypt")
    why = record["additionalEventData"]["authorization"]
    assert (why["decision"], why["layer"], why["action"], why["resource"]) == ("ImplicitlyDenied", "identity", "kms:Encrypt", key)
    [unmet] = [f for f in why["unmet"] if f["element"] == "Condition"]
    assert unmet["statement"] == "ThroughS3" and unmet["key"] == "kms:ViaService" and "found" not in unmet
    assert unmet["wanted"] == ["s3.us-west-2.amazonaws.com"]

    [told] = explain(cloud, record["eventID"])
    assert told["authorization"] == why and told["caller"] == bob.arn
    assert explain(cloud, record["requestID"]) == [told], "the request id finds the event too"
    text = cloud.server.command("policy", "explain", "--event", record["eventID"], check=True).stdout
    assert "kms:ViaService" in text and "add to an identity policy of the caller" in text

    [change] = why["changes"]
    apply(cloud, bob, change)
    cloud.boto("kms", bob).encrypt(KeyId=key, Plaintext=b"x")


def test_explicit_deny_is_named(cloud, key):
    bob = cloud.new_user(allow("kms:*"), deny("kms:Decrypt", Sid="NeverDecrypt"))
    blob = cloud.boto("kms", bob).encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException", "with an explicit deny in an identity-based policy"):
        cloud.boto("kms", bob).decrypt(CiphertextBlob=blob)
    why = denied_event(cloud, bob, "Decrypt")["additionalEventData"]["authorization"]
    assert why["decision"] == "ExplicitlyDenied" and why["statement"] == "NeverDecrypt" and why["policy"] == "inline"
    assert [(c["layer"], c["statement"]) for c in why["changes"]] == [("identity", "NeverDecrypt")]


def test_what_was_not_denied_says_so(cloud):
    cloud.boto("kms").list_keys()
    event = cloud.records("EventName", "ListKeys")[0]["eventID"]
    assert "it was not denied" in cloud.server.command("policy", "explain", "--event", event, check=True).stdout
    unknown = cloud.server.command("policy", "explain", "--event", "no-such-event")
    assert unknown.returncode == 1 and "no record has the event id" in unknown.stderr
    assert cloud.server.command("policy", "explain").returncode == 2


def test_hint_and_encoded_message(cloud, other, key):
    bob = cloud.new_user(deny("kms:Sign", Sid="Secret"))
    with refused("AccessDeniedException") as plain:
        cloud.boto("kms", bob).describe_key(KeyId=key)
    assert not [h for h in plain.response["ResponseMetadata"]["HTTPHeaders"] if h.startswith("x-sagekeep")], "nobody asked"

    with refused("AccessDeniedException") as caught:
        asking(cloud.boto("kms", bob, user_agent_extra="hint")).describe_key(KeyId=key)
    headers = caught.response["ResponseMetadata"]["HTTPHeaders"]
    [step] = json.loads(headers["x-sagekeep-hint"])
    assert step == {"layer": "identity", "add": {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": key}}
    message = headers["x-sagekeep-authorization-message"]
    assert "Secret" not in headers["x-sagekeep-hint"] and len(message) <= 10240

    decoded = json.loads(cloud.boto("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    assert decoded["allowed"] is False and decoded["explicitDeny"] is False
    assert decoded["context"]["action"] == "kms:DescribeKey" and decoded["context"]["resource"] == key
    assert decoded["context"]["principal"]["arn"] == bob.arn
    with refused("AccessDenied", "sts:DecodeAuthorizationMessage"):
        cloud.boto("sts", bob).decode_authorization_message(EncodedMessage=message)
    with refused("InvalidAuthorizationMessageException"):
        other.boto("sts").decode_authorization_message(EncodedMessage=message)
    with refused("InvalidAuthorizationMessageException"):
        cloud.boto("sts").decode_authorization_message(EncodedMessage=message[:-4] + "AAAA")


def test_other_account_reads_its_own_side_only(cloud, other):
    """A KMS refusal across accounts is the caller's record alone, which quotes no policy of the owner's."""
    mallory = other.new_user(allow("kms:*", Sid="MineAlone"))
    guarded = cloud.new_key(deny("kms:DescribeKey", Sid="KeepOut", Principal={"AWS": "*"}, Condition={
        "StringEquals": {"kms:CallerAccount": other.account}}))
    with refused("AccessDeniedException"):
        other.boto("kms", mallory).describe_key(KeyId=guarded)
    theirs = denied_event(other, mallory, "DescribeKey")["additionalEventData"]["authorization"]
    assert theirs["layer"] == "resource" and "KeepOut" not in json.dumps(theirs)
    assert [r["eventName"] for r in cloud.records("ResourceName", guarded)] == ["CreateKey"]
