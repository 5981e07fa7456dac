"""The AWS Encryption SDK for Python and for JavaScript: each reads what the other wrote, while the keys allow it."""

import itertools
import re

import pytest
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsEcdhKeyringInput, CreateAwsKmsRsaKeyringInput, KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey,
    KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery, KmsPrivateKeyToStaticPublicKeyInput, KmsPublicKeyDiscoveryInput,
)
from cryptography.hazmat.primitives import serialization

from encryption_sdk import SUITES, Failed, JavaScript, Python, data_keys
from harness import REGION, allow, unique, wait_for

CONTEXT = {"project": "fields", "plot": "7", "crop": "rapeseed ünïcode"}
DATA = bytes(i * 31 % 251 for i in range(20_000))  # several frames
DISABLED = "DisabledException|is disabled"  # Python's SDK passes on the text alone, JavaScript's the name, too
PENDING = "KMSInvalidStateException|is pending deletion"
UNREADABLE = r"InvalidCiphertextException|ComAmazonawsKms\(''\)"  # KMS says nothing more
DENIED = "AccessDeniedException|not authorized|not allowed"
LANGUAGES = {"python": Python, "javascript": JavaScript}
BOTH = list(itertools.product(LANGUAGES, LANGUAGES))


@pytest.fixture(scope="module")
def sdks(cloud):
    """The SDKs by language; for other credentials than the root user's they are made on demand."""
    made = {}

    def sdk(language, credentials=None):
        key = language, credentials
        if key not in made:
            made[key] = LANGUAGES[language](cloud, credentials)
        return made[key]

    yield sdk
    for sdk in made.values():
        sdk.close()


@pytest.fixture(scope="module")
def kms(cloud):
    return cloud.boto("kms")


@pytest.fixture(scope="module")
def keys(cloud):
    """Two keys whose state no test changes."""
    return cloud.new_key(), cloud.new_key()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("writer, reader", BOTH)
def test_one_reads_what_the_other_wrote(sdks, keys, writer, reader, suite):
    first, second = keys
    message = sdks(writer).encrypt(DATA, CONTEXT, suite, generator=first, keys=[second])
    assert int.from_bytes(message[1:3]) == SUITES[suite]
    assert sorted(arn for arn, _ in data_keys(message)) == sorted(keys)  # Python writes them in any order
    assert DATA[:64] not in message
    by = sdks(reader)
    for keyring in ({"generator": first}, {"generator": second}, {"keys": [second]}, {}, {"account": first.split(":")[4]}):
        data, context = by.decrypt(message, **keyring)
        assert data == DATA and CONTEXT.items() <= context.items(), keyring
        assert ("aws-crypto-public-key" in context) == (suite == "signed")


@pytest.mark.parametrize("writer, reader", BOTH)
@pytest.mark.parametrize("size", [0, 1, 4096])
def test_sizes(sdks, keys, writer, reader, size):
    message = sdks(writer).encrypt(DATA[:size], generator=keys[0])
    assert sdks(reader).decrypt(message, generator=keys[0])[0] == DATA[:size]


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alias_encrypts(sdks, cloud, kms, keys, language):
    name = "alias/" + unique("encryption-sdk")
    kms.create_alias(AliasName=name, TargetKeyId=keys[0])
    arn = f"{keys[0].rsplit(':', 1)[0]}:{name}"
    message = sdks(language).encrypt(DATA, CONTEXT, generator=arn)
    assert [arn for arn, _ in data_keys(message)] == [keys[0]]
    assert sdks(language).decrypt(message)[0] == DATA


@pytest.mark.parametrize("writer, reader", BOTH)
def test_other_keys_do_not_open(sdks, cloud, keys, writer, reader):
    message = sdks(writer).encrypt(DATA, CONTEXT, generator=keys[0])
    for keyring in ({"generator": cloud.new_key()}, {"keys": [keys[1]]}, {"account": "999988887777"}):
        with pytest.raises(Failed):
            sdks(reader).decrypt(message, **keyring)


@pytest.mark.parametrize("reader", LANGUAGES)
def test_another_account_does_not_open(cloud, other, keys, reader):
    message = Python(cloud).encrypt(DATA, CONTEXT, generator=keys[0])
    there = LANGUAGES[reader](other)
    try:
        for keyring in ({"generator": keys[0]}, {}):
            with pytest.raises(Failed, match=DENIED):
                there.decrypt(message, **keyring)
    finally:
        there.close()


@pytest.mark.parametrize("reader", LANGUAGES)
@pytest.mark.parametrize("suite", SUITES)
def test_the_context_is_bound_by_the_key(sdks, cloud, keys, reader, suite):
    """A changed context in the message's header is refused by KMS, before the SDK sees a data key."""
    key = cloud.new_key()
    message = sdks("python").encrypt(DATA, CONTEXT, suite, generator=key)
    changed = message.replace(b"fields", b"cattle", 1)
    assert changed != message
    with pytest.raises(Failed, match=UNREADABLE):
        sdks(reader).decrypt(changed, generator=key)
    last = next(r for r in cloud.records("EventName", "Decrypt", pages=1) if (r.get("resources") or [{}])[0].get("ARN") == key)
    assert last["errorCode"] == "InvalidCiphertextException"
    assert last["requestParameters"]["encryptionContext"]["project"] == "cattle"


@pytest.mark.parametrize("reader", LANGUAGES)
def test_spliced_data_keys(sdks, keys, reader):
    """The data key of one message, put into another, opens in KMS alone when the contexts are the same, and then not in the SDK."""
    one, two = (sdks("python").encrypt(DATA, CONTEXT, "unsigned", generator=keys[0]) for _ in range(2))
    other = sdks("python").encrypt(DATA, CONTEXT | {"plot": "8"}, "unsigned", generator=keys[0])
    (_, mine), (_, twin), (_, foreign) = data_keys(one)[0], data_keys(two)[0], data_keys(other)[0]
    with pytest.raises(Failed, match=UNREADABLE):
        sdks(reader).decrypt(one.replace(mine, foreign), generator=keys[0])
    with pytest.raises(Failed) as committed:
        sdks(reader).decrypt(one.replace(mine, twin), generator=keys[0])
    assert not re.search(UNREADABLE, str(committed.value))


@pytest.mark.parametrize("writer, reader", BOTH)
def test_a_disabled_key_bites(sdks, cloud, kms, keys, writer, reader):
    key = cloud.new_key()
    message = sdks(writer).encrypt(DATA, CONTEXT, generator=key, keys=[keys[1]])
    alone = sdks(writer).encrypt(DATA, CONTEXT, generator=key)
    kms.disable_key(KeyId=key)
    for refused in (lambda: sdks(reader).decrypt(message, generator=key), lambda: sdks(reader).decrypt(alone), lambda: sdks(writer).encrypt(DATA, generator=key)):
        with pytest.raises(Failed, match=DISABLED):
            refused()
    assert sdks(reader).decrypt(message)[0] == DATA  # discovery finds the other key
    assert sdks(reader).decrypt(message, keys=[keys[1]])[0] == DATA
    kms.enable_key(KeyId=key)
    assert sdks(reader).decrypt(alone, generator=key)[0] == DATA
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    with pytest.raises(Failed, match=PENDING):
        sdks(reader).decrypt(alone, generator=key)


@pytest.mark.parametrize("language", LANGUAGES)
def test_rotated_keys_still_open(sdks, cloud, kms, language):
    key = cloud.new_key()
    before = sdks(language).encrypt(DATA, CONTEXT, generator=key)
    kms.rotate_key_on_demand(KeyId=key)
    after = sdks(language).encrypt(DATA, CONTEXT, generator=key)
    for message in (before, after):
        assert sdks(language).decrypt(message, generator=key)[0] == DATA


@pytest.fixture(scope="module")
def replicas(cloud, kms):
    """A multi-Region key and its replica, both ready."""
    primary = kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
    kms.replicate_key(KeyId=primary, ReplicaRegion="eu-central-1")
    there, replica = cloud.boto("kms", region="eu-central-1"), primary.replace(REGION, "eu-central-1")
    wait_for(lambda: there.describe_key(KeyId=replica)["KeyMetadata"]["KeyState"] == "Enabled", "the replica")
    return primary, replica


@pytest.mark.parametrize("writer, reader", BOTH)
def test_a_replica_opens(sdks, cloud, replicas, writer, reader):
    for here, there in (replicas, reversed(replicas)):
        message = sdks(writer).encrypt(DATA, CONTEXT, generator=here, multi_region=True)
        assert [arn for arn, _ in data_keys(message)] == [here]
        assert sdks(reader).decrypt(message, generator=there, multi_region=True)[0] == DATA
        with pytest.raises(Failed):  # without knowledge of multi-Region keys it is another key
            sdks(reader).decrypt(message, generator=there)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_disabled_replica_bites(sdks, cloud, replicas, language):
    primary, replica = replicas
    message = sdks(language).encrypt(DATA, CONTEXT, generator=primary, multi_region=True)
    there = cloud.boto("kms", region="eu-central-1")
    there.disable_key(KeyId=replica)
    try:
        with pytest.raises(Failed, match=DISABLED):
            sdks(language).decrypt(message, generator=replica, multi_region=True)
        assert sdks(language).decrypt(message, generator=primary, multi_region=True)[0] == DATA
    finally:
        there.enable_key(KeyId=replica)


@pytest.mark.parametrize("language", LANGUAGES)
def test_writers_and_readers_apart(sdks, cloud, kms, language):
    """One user may only encrypt, another only decrypts of one project; both rights end with the answer that takes them."""
    writer, reader = cloud.new_user(prefix="writer"), cloud.new_user(prefix="reader")
    key = cloud.new_key(
        allow("kms:GenerateDataKey", Principal={"AWS": writer.arn}),
        allow("kms:Decrypt", Principal={"AWS": reader.arn}, Condition={"StringEquals": {"kms:EncryptionContext:project": "fields"}}),
    )
    as_writer, as_reader = sdks(language, writer), sdks(language, reader)
    mine = as_writer.encrypt(DATA, CONTEXT, generator=key)
    other = as_writer.encrypt(DATA, CONTEXT | {"project": "cattle"}, generator=key)
    assert as_reader.decrypt(mine)[0] == DATA
    for refused in (
        lambda: as_reader.decrypt(other), lambda: as_writer.decrypt(mine), lambda: as_reader.encrypt(DATA, CONTEXT, generator=key),
    ):
        with pytest.raises(Failed, match=DENIED):
            refused()
    grant = kms.create_grant(KeyId=key, GranteePrincipal=writer.arn, Operations=["Decrypt"])
    assert as_writer.decrypt(mine, generator=key, tokens=[grant["GrantToken"]])[0] == DATA
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    with pytest.raises(Failed, match=DENIED):
        as_writer.decrypt(mine, generator=key, tokens=[grant["GrantToken"]])


@pytest.mark.parametrize("language", LANGUAGES)
def test_calls_are_on_record(sdks, cloud, keys, language):
    first, second = cloud.new_key(), cloud.new_key()
    sdks(language).decrypt(sdks(language).encrypt(DATA, CONTEXT, generator=first, keys=[second]))
    mine = [r for r in reversed(cloud.records("EventSource", "kms.amazonaws.com", pages=1)) if (r.get("resources") or [{}])[0].get("ARN") in (first, second)]
    used = [(r["eventName"], r["resources"][0]["ARN"]) for r in mine if r["eventName"] != "CreateKey"]
    assert used[:2] == [("GenerateDataKey", first), ("Encrypt", second)]
    assert used[2:] in ([("Decrypt", first)], [("Decrypt", second)])
    for r in mine[-3:]:
        context = r["requestParameters"]["encryptionContext"]
        assert CONTEXT.items() <= context.items() and "aws-crypto-public-key" in context
    assert len({r["userAgent"] for r in mine[-3:]}) == 1


# Keyrings that Python has alone


def test_rsa_keyring(sdks, kms):
    """Encrypts with the public key, without a call; decrypts in KMS."""
    sdk = sdks("python")
    key = kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    # The SDK takes public keys as PEM.
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"]).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    for algorithm in ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"):
        offline = sdk.providers.create_aws_kms_rsa_keyring(CreateAwsKmsRsaKeyringInput(
            kms_key_id=key, encryption_algorithm=algorithm, public_key=public,
        ))
        online = sdk.providers.create_aws_kms_rsa_keyring(CreateAwsKmsRsaKeyringInput(
            kms_key_id=key, encryption_algorithm=algorithm, kms_client=sdk.kms,
        ))
        message = sdk.encrypt(DATA, CONTEXT, "unsigned", keyring=offline)
        assert sdk.decrypt(message, keyring=online)[0] == DATA
        with pytest.raises(Failed):
            sdk.decrypt(message.replace(b"fields", b"cattle", 1), keyring=online)
    kms.disable_key(KeyId=key)
    with pytest.raises(Failed, match=DISABLED):
        sdk.decrypt(message, keyring=online)


@pytest.mark.parametrize("curve", ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"])
def test_ecdh_keyring(sdks, cloud, kms, curve):
    """Sender and recipient each derive the wrapping key with a private key that never leaves KMS."""
    sdk = sdks("python")
    sender, recipient = (kms.create_key(KeySpec=curve, KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["Arn"] for _ in range(2))
    publics = {key: kms.get_public_key(KeyId=key)["PublicKey"] for key in (sender, recipient)}

    def keyring(scheme, client=sdk.kms):
        return sdk.providers.create_aws_kms_ecdh_keyring(CreateAwsKmsEcdhKeyringInput(
            curve_spec=curve, key_agreement_scheme=scheme, kms_client=client,
        ))

    sending = keyring(KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey(KmsPrivateKeyToStaticPublicKeyInput(
        sender_kms_identifier=sender, sender_public_key=publics[sender], recipient_public_key=publics[recipient],
    )))
    at_recipient = KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery(KmsPublicKeyDiscoveryInput(recipient_kms_identifier=recipient))
    receiving = keyring(at_recipient)
    message = sdk.encrypt(DATA, CONTEXT, keyring=sending)
    for way in (sending, receiving):
        assert sdk.decrypt(message, keyring=way)[0] == DATA
    public_alone = cloud.new_user(allow("kms:GetPublicKey"))
    with pytest.raises(Failed, match=DENIED):
        sdk.decrypt(message, keyring=keyring(at_recipient, cloud.boto("kms", public_alone)))
    kms.disable_key(KeyId=recipient)
    with pytest.raises(Failed, match=DISABLED):
        sdk.decrypt(message, keyring=receiving)
