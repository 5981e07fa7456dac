"""AssumeRoleWithWebIdentity: an OpenID Connect issuer of our own, and the clients' own ways to present its tokens."""

import base64
import datetime
import hmac
import http.server
import ipaddress
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore
import botocore.config
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from harness import ACCOUNT, AWS, REGION, Credentials, allow, clean_environment, deny, policy, refused, unique

AUDIENCE = "sts.amazonaws.com"
SUBJECT = "system:serviceaccount:fields:training"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, size):
    return b64(n.to_bytes(size, "big"))


class Issuer:
    """An issuer with a certificate of its own making, its keys and its tokens."""

    def __init__(self, folder):
        self.keys = {}
        self.asked = 0
        server_key = ec.generate_private_key(ec.SECP256R1())
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]), datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(server_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .sign(server_key, hashes.SHA256())
        )
        self.thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
        pem = folder / "issuer.pem"
        pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                documents = {"/realms/ml/.well-known/openid-configuration": issuer.discovery, "/realms/ml/keys": issuer.key_set}
                make = documents.get(self.path)
                body = json.dumps(make() if make else {}).encode()
                self.send_response(200 if make else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.name = f"127.0.0.1:{self.server.server_address[1]}/realms/ml"
        self.url = f"https://{self.name}"
        self.add_rsa("first")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def add_rsa(self, kid):
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def add_ec(self, kid):
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def discovery(self):
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "id_token_signing_alg_values_supported": ["RS256", "ES256"]}

    def key_set(self):
        self.asked += 1
        keys = []
        for kid, key in self.keys.items():
            n = key.public_key().public_numbers()
            if isinstance(key, rsa.RSAPrivateKey):
                keys.append({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": number(n.n, 256), "e": number(n.e, 3)})
            else:
                keys.append({"kty": "EC", "use": "sig", "crv": "P-256", "kid": kid, "x": number(n.x, 32), "y": number(n.y, 32)})
        return {"keys": keys}

    def token(self, kid="first", header=None, key=None, **claims):
        key, now = key or self.keys[kid], int(time.time())
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        claims = {"iss": self.url, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 600} | claims
        signed = ".".join(b64(json.dumps(part).encode()) for part in (header or {"alg": algorithm, "kid": kid, "typ": "JWT"}, claims))
        if algorithm == "RS256":
            signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{b64(signature)}"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    made = Issuer(tmp_path_factory.mktemp("issuer"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def provider(cloud, issuer):
    return cloud.boto("iam").create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=[AUDIENCE], ThumbprintList=[issuer.thumbprint],
    )["OpenIDConnectProviderArn"]


@pytest.fixture(scope="module")
def sts(cloud):
    """A client without credentials."""
    config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
    return boto3.Session(region_name=REGION).client("sts", endpoint_url=cloud.url, verify=cloud.verify, config=config)


def trust(provider, issuer, *actions, **conditions):
    conditions = conditions or {"StringEquals": {f"{issuer.name}:aud": AUDIENCE, f"{issuer.name}:sub": SUBJECT}}
    return allow(
        ["sts:AssumeRoleWithWebIdentity", *actions], None, Principal={"Federated": provider}, Condition=conditions,
    )


@pytest.fixture(scope="module")
def role(cloud, provider, issuer):
    return cloud.new_role(allow("kms:*"), trust=trust(provider, issuer), prefix="trainer")


def present(sts, role, token, session="training", **more):
    return sts.assume_role_with_web_identity(
        RoleArn=getattr(role, "arn", role), RoleSessionName=session, WebIdentityToken=token, **more,
    )


def test_unsigned_boto3(cloud, sts, issuer, provider, role):
    assert provider == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.name}"
    session, token = unique("session"), issuer.token()
    made = present(sts, role, token, session, DurationSeconds=900)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/{session}"
    assert made["SubjectFromWebIdentityToken"] == SUBJECT and made["Audience"] == AUDIENCE and made["Provider"] == provider
    assert made["AssumedRoleUser"] == {"AssumedRoleId": f"{role.id}:{session}", "Arn": arn}
    left = made["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(seconds=840) < left <= datetime.timedelta(seconds=900)
    credentials = Credentials.of(made["Credentials"])
    assert cloud.boto("sts", credentials).get_caller_identity()["Arn"] == arn
    key = cloud.new_key()
    cloud.boto("kms", credentials).encrypt(KeyId=key, Plaintext=b"x")

    record = next(r for r in cloud.records("EventName", "AssumeRoleWithWebIdentity") if session in json.dumps(r))
    assert record["userIdentity"] == {
        "type": "WebIdentityUser", "principalId": f"{provider}:{AUDIENCE}:{SUBJECT}", "userName": SUBJECT, "identityProvider": provider,
    }
    assert record["requestParameters"] == {"roleArn": role.arn, "roleSessionName": session, "durationSeconds": 900}
    answer = record["responseElements"]
    assert answer["subjectFromWebIdentityToken"] == SUBJECT and answer["provider"] == provider and answer["audience"] == AUDIENCE
    assert answer["credentials"]["accessKeyId"] == credentials.access_key_id and "sessionToken" not in answer["credentials"]
    assert record["additionalEventData"]["identityProviderConnectionVerificationMethod"] == "Thumbprint"
    assert record["resources"] == [{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": role.arn}]
    assert record["recipientAccountId"] == ACCOUNT and token not in json.dumps(record)
    used = next(r for r in cloud.records("EventName", "Encrypt") if session in json.dumps(r))
    assert used["userIdentity"]["sessionContext"]["webIdFederationData"] == {"federatedProvider": provider, "attributes": {}}


# The clients' own provider: a token in a file, as Kubernetes puts it there.


@pytest.fixture
def token_environment(cloud, issuer, role, tmp_path):
    file = tmp_path / "token"
    file.write_text(issuer.token())
    return clean_environment(
        AWS_ENDPOINT_URL=cloud.url, AWS_DEFAULT_REGION=REGION, AWS_DEFAULT_OUTPUT="json",
        AWS_WEB_IDENTITY_TOKEN_FILE=str(file), AWS_ROLE_ARN=role.arn, AWS_ROLE_SESSION_NAME="from-a-file",
    )


def test_token_file_with_boto3(role, token_environment):
    script = "import boto3; c = boto3.Session(); print(c.get_credentials().method, c.client('sts').get_caller_identity()['Arn'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=token_environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["assume-role-with-web-identity", f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/from-a-file"]


def test_token_file_with_cli(role, token_environment):
    done = subprocess.run(
        [sys.executable, AWS, "sts", "get-caller-identity"], capture_output=True, text=True, timeout=60, env=token_environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/from-a-file"


def test_cli_command(cloud, issuer, role):
    made = cloud.cli(
        "sts", "assume-role-with-web-identity", "--role-arn", role.arn, "--role-session-name", "cli",
        "--web-identity-token", issuer.token(),
    )
    assert made["AssumedRoleUser"]["Arn"].endswith(f"/{role.name}/cli")


# What a role trusts


def test_refused_alike(cloud, sts, issuer, provider, role):
    """A role that trusts others, another subject's role and a missing role answer alike."""
    others = cloud.new_role()
    denying = cloud.new_role(trust=trust(provider, issuer))
    cloud.boto("iam").update_assume_role_policy(
        RoleName=denying.name, PolicyDocument=policy(trust(provider, issuer), deny("sts:*", None, Principal="*")),
    )
    answers = []
    for arn, claims in (
        (others.arn, {}), (denying.arn, {}), (role.arn, {"sub": "system:serviceaccount:web:shop"}),
        (f"arn:aws:iam::{ACCOUNT}:role/{unique('missing')}", {}),
    ):
        with refused("AccessDenied", status=403) as e:
            present(sts, arn, issuer.token(**claims))
        answers.append((e.message, {k for k in e.response["ResponseMetadata"]["HTTPHeaders"] if k != "date"}))
    assert answers == [answers[0]] * 4 and answers[0][0] == "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    failed = cloud.records("EventName", "AssumeRoleWithWebIdentity")[0]
    assert failed["errorCode"] == "AccessDenied" and failed["userIdentity"]["type"] == "WebIdentityUser"


def test_explanation_is_not_for_strangers(cloud, issuer, role):
    """Whoever asks to have a refusal explained learns nothing of the account's policies."""
    form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role.arn, "RoleSessionName": "x1",
            "WebIdentityToken": issuer.token(sub="somebody")}
    request = urllib.request.Request(
        cloud.url, urllib.parse.urlencode(form).encode(),
        {"Content-Type": "application/x-www-form-urlencoded", "X-Sagekeep-Explain": "1"},
    )
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(request)
    assert e.value.code == 403 and not [h for h in e.value.headers if h.lower().startswith("x-sagekeep")]


def test_tags_and_source_identity(cloud, sts, issuer, provider):
    asks = {
        "https://aws.amazon.com/tags": {"principal_tags": {"project": ["fields"]}, "transitive_tag_keys": ["project"]},
        "https://aws.amazon.com/source_identity": "ann",
    }
    plain = cloud.new_role(trust=trust(provider, issuer))
    with refused("AccessDenied", "sts:TagSession"):
        present(sts, plain, issuer.token(**asks))
    mine = {"StringEquals": {"aws:PrincipalTag/project": "fields", "aws:SourceIdentity": "ann"}, "ArnEquals": {"aws:FederatedProvider": provider}}
    role = cloud.new_role(allow("kms:CreateKey", Condition=mine), trust=trust(provider, issuer, "sts:TagSession", "sts:SetSourceIdentity"))
    made = present(sts, role, issuer.token(**asks))
    assert made["SourceIdentity"] == "ann" and 1 <= made["PackedPolicySize"] <= 100
    cloud.boto("kms", Credentials.of(made["Credentials"])).create_key()
    with refused("AccessDeniedException"):
        cloud.boto("kms", Credentials.of(present(sts, role, issuer.token())["Credentials"])).create_key()


def test_session_policy(cloud, sts, issuer, role):
    made = present(sts, role, issuer.token(), Policy=policy(allow("kms:ListKeys")))
    kms = cloud.boto("kms", Credentials.of(made["Credentials"]))
    kms.list_keys()
    with refused("AccessDeniedException", "session policy"):
        kms.create_key()


def test_roles_claim(cloud, sts, issuer, provider):
    only = {"Bool": {"sts:RoleAuthorizedByIdp": "true"}}
    role = cloud.new_role(trust=trust(provider, issuer, **only))
    present(sts, role, issuer.token(**{"https://aws.amazon.com/roles": [role.arn]}))
    with refused("AccessDenied"):
        present(sts, role, issuer.token())
    with refused("InvalidIdentityToken", "roles claim"):
        present(sts, role, issuer.token(**{"https://aws.amazon.com/roles": [role.arn + "x"]}))


# Tokens


def test_bad_tokens(cloud, sts, issuer, role, other):
    good, now = issuer.token(), int(time.time())
    head, body, signature = good.split(".")
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = issuer.keys["first"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    none = b64(b'{"alg":"none"}')
    confused = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'first'}).encode())}.{body}"
    confused += "." + b64(hmac.digest(public, confused.encode(), "sha256"))
    for token, code, text in (
        (issuer.token(exp=now - 1), "ExpiredTokenException", "expired"),
        (issuer.token(aud="another"), "InvalidIdentityToken", "Incorrect token audience"),
        (issuer.token(azp="another"), "InvalidIdentityToken", "Incorrect token audience"),
        (issuer.token(iss="https://127.0.0.1:1/x"), "InvalidIdentityToken", "No OpenIDConnect provider found"),
        (issuer.token(key=stranger), "InvalidIdentityToken", ""),
        (issuer.token(nbf=now + 3600), "InvalidIdentityToken", ""),
        (f"{head}.{b64(json.dumps({'iss': issuer.url, 'sub': SUBJECT, 'aud': AUDIENCE, 'iat': now, 'exp': now + 9999}).encode())}.{signature}", "InvalidIdentityToken", ""),
        (f"{none}.{body}.", "InvalidIdentityToken", ""),
        (confused, "InvalidIdentityToken", "must be signed with"),
        (good[:-8], "InvalidIdentityToken", ""),
        ("opaque-access-token", "InvalidIdentityToken", "not a valid JWT"),
    ):
        with refused(code, text, status=400):
            present(sts, role, token)
        assert cloud.records("EventName", "AssumeRoleWithWebIdentity")[0]["errorCode"] == code
    with refused("InvalidIdentityToken", "No OpenIDConnect provider found"):
        present(sts, role.arn.replace(ACCOUNT, other.account), good)
    with refused("InvalidIdentityToken"):
        present(sts, role, good, ProviderId="www.amazon.com")
    present(sts, role, good)


def test_key_rotation(own_server, tmp_path):
    """A key that the issuer adds is found by a token that names it; other names do not make us ask again and again."""
    cloud, issuer = own_server().cloud(), Issuer(tmp_path)
    try:
        arn = cloud.boto("iam").create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=[AUDIENCE], ThumbprintList=[issuer.thumbprint],
        )["OpenIDConnectProviderArn"]
        role = cloud.new_role(trust=trust(arn, issuer))
        config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
        sts = boto3.Session(region_name=REGION).client("sts", endpoint_url=cloud.url, config=config)
        assert issuer.asked == 0
        issuer.add_ec("second")
        present(sts, role, issuer.token())
        present(sts, role, issuer.token("second"))
        assert issuer.asked == 1
        for kid in ("third", "fourth"):
            with refused("InvalidIdentityToken", "verification key"):
                present(sts, role, issuer.token(key=issuer.keys["first"], header={"alg": "RS256", "kid": kid}))
        assert issuer.asked == 1
    finally:
        issuer.close()


def test_untrusted_certificate_and_absent_issuer(cloud, sts, tmp_path):
    iam, issuer = cloud.boto("iam"), Issuer(tmp_path)
    try:
        arn = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=[AUDIENCE])["OpenIDConnectProviderArn"]
        role = cloud.new_role(trust=trust(arn, issuer))
        with refused("InvalidIdentityToken", "thumbprint"):
            present(sts, role, issuer.token())
        iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=[issuer.thumbprint])
        present(sts, role, issuer.token())
    finally:
        issuer.close()
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["0" * 40])
    with refused("IDPCommunicationError"):
        present(sts, role, issuer.token())
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with refused("InvalidIdentityToken", "No OpenIDConnect provider found"):
        present(sts, role, issuer.token())


def test_revocation(cloud, sts, tmp_path):
    """What an administrator takes away is gone for the next request."""
    iam, issuer = cloud.boto("iam"), Issuer(tmp_path)
    try:
        arn = iam.create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=[AUDIENCE], ThumbprintList=[issuer.thumbprint],
        )["OpenIDConnectProviderArn"]
        role, token = cloud.new_role(trust=trust(arn, issuer)), issuer.token()
        present(sts, role, token)
        iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=AUDIENCE)
        with refused("InvalidIdentityToken", "Incorrect token audience"):
            present(sts, role, token)
        iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=AUDIENCE)
        present(sts, role, token)
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        with refused("InvalidIdentityToken", "No OpenIDConnect provider found"):
            present(sts, role, token)
        iam.get_role(RoleName=role.name)  # trust policies that name it stay
    finally:
        issuer.close()


def test_provider_crud(cloud):
    iam, url = cloud.boto("iam"), f"https://{unique('issuer')}.example.com/realms/a"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=["a"], ThumbprintList=["AB" * 20], Tags=[{"Key": "team", "Value": "ml"}])
    arn = arn["OpenIDConnectProviderArn"]
    with refused("EntityAlreadyExists", url, status=409):
        iam.create_open_id_connect_provider(Url=url)
    got = cloud.cli("iam", "get-open-id-connect-provider", "--open-id-connect-provider-arn", arn)
    assert got["Url"] == url.removeprefix("https://") and got["ClientIDList"] == ["a"] and got["ThumbprintList"] == ["ab" * 20]
    assert got["Tags"] == [{"Key": "team", "Value": "ml"}]
    assert {"Arn": arn} in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "b", "Value": "c"}])
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["team"])
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == [{"Key": "b", "Value": "c"}]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with refused("NoSuchEntity", arn, status=404):
        iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with refused("ValidationError"):
        iam.create_open_id_connect_provider(Url="http://issuer.example.com")


def test_unsigned_reaches_nothing_else(cloud, sts):
    with refused("MissingAuthenticationToken", status=403):
        sts.get_caller_identity()
    with refused("MissingAuthenticationToken", status=403):
        sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x", RoleSessionName="xx")
