"""What every test needs: the built binary, a server of its own, unmodified clients.

Nothing here knows how the server works inside: it is started, asked and killed
as a user would, and spoken to with boto3 and the AWS CLI alone.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid

import boto3
import botocore.config
import botocore.session
from botocore.exceptions import ClientError

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(
    os.environ.get("SAGEKEEP_BINARY")
    or os.environ.get("SAGEKEEP_BIN")
    or ROOT / "dist" / ("sagekeep.exe" if os.name == "nt" else "sagekeep")
)
AWS = os.path.join(os.path.dirname(sys.executable), "aws")
REGION = "us-west-2"
ACCOUNT = "111122223333"  # the account that a first start makes


def unique(prefix):
    """A name nobody has used, in letters that every AWS name allows."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def clean_environment(**more):
    """The environment without the machine's AWS settings, and with no network look-ups."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEKEEP_"))}
    env.update(
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true", AWS_PAGER="", AWS_MAX_ATTEMPTS="1", NO_PROXY="*",
    )
    env.update(more)
    return env


def sagekeep(*args, timeout=60, env=None, check=False):
    """Runs the binary once and returns the finished process, with text output."""
    done = subprocess.run(
        [BINARY, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, env=env or clean_environment(),
    )
    if check:
        assert done.returncode == 0, f"sagekeep {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def wait_for(look, what, timeout=30.0, pause=0.05):
    """Calls look until it returns something true, which is returned."""
    end = time.monotonic() + timeout
    while True:
        got = look()
        if got:
            return got
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain for {what}; last: {got!r}"
        time.sleep(pause)


class Refusal(Exception):
    """An error answer that the AWS CLI printed."""

    def __init__(self, code, operation, message, text):
        super().__init__(text)
        self.code, self.operation, self.message = code, operation, message


class Caught:
    """An error answer, filled in when the block of `refused` ends."""

    code = message = ""
    status = 0
    response = None


@contextlib.contextmanager
def refused(code, *texts, status=None):
    """The block must end in an AWS error with this code, whose message holds the texts.

    `code` may be a tuple of codes; the yielded value carries what was answered.
    """
    codes = (code,) if isinstance(code, str) else tuple(code)
    caught = Caught()
    try:
        yield caught
    except ClientError as e:
        caught.response = e.response
        caught.code, caught.message = e.response["Error"].get("Code", ""), e.response["Error"].get("Message", "")
        caught.status = e.response["ResponseMetadata"]["HTTPStatusCode"]
        operation = e.operation_name
    except Refusal as e:
        caught.code, caught.message, operation = e.code, e.message, e.operation
    else:
        raise AssertionError(f"succeeded; want an error {' or '.join(codes)}")
    assert caught.code in codes, f"{operation}: got {caught.code}: {caught.message!r}, want {' or '.join(codes)}"
    for text in texts:
        assert text in caught.message, f"{operation}: {caught.code} says {caught.message!r}, want {text!r} in it"
    if status is not None and caught.status:
        assert caught.status == status, f"{operation}: {caught.code} has status {caught.status}, want {status}"


class Credentials:
    """An access key, with the session token of temporary ones."""

    def __init__(self, access_key_id, secret, token=None):
        self.access_key_id, self.secret, self.token = access_key_id, secret, token

    @classmethod
    def of(cls, answer):
        """Reads an AccessKey of IAM or the Credentials of AWS STS."""
        return cls(answer["AccessKeyId"], answer["SecretAccessKey"], answer.get("SessionToken"))

    def environment(self):
        env = {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret}
        if self.token:
            env["AWS_SESSION_TOKEN"] = self.token
        return env


class Principal:
    """A user or a role, and the credentials to act as it (none for a role)."""

    def __init__(self, name, arn, unique_id, credentials=None):
        self.name, self.arn, self.id, self.credentials = name, arn, unique_id, credentials


class Server:
    """One `sagekeep serve` on a data directory; it can be stopped, killed and started again."""

    def __init__(self, folder, *flags, listen="127.0.0.1:0", env=None):
        self.data = pathlib.Path(folder) / "data"
        self.log = pathlib.Path(folder) / "server.log"
        self.flags, self.listen, self.env = flags, listen, env or {}
        self.process = None
        self.url = ""
        self.ready_line = ""

    def start(self, timeout=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data-dir", self.data, "--listen", self.listen, *self.flags],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, bufsize=0, env=clean_environment(**self.env),
            )
        os.set_blocking(self.process.stdout.fileno(), False)
        line = b""

        def ready():
            nonlocal line
            line += self.process.stdout.read() or b""
            if not line and self.process.poll() is not None:
                code, self.process = self.process.returncode, None
                raise AssertionError(f"serve ended with {code}:\n{self.output()}")
            return line.endswith(b"\n")

        try:
            wait_for(ready, "the ready line", timeout, 0.01)
        except BaseException:
            if self.process is not None:
                self.kill()
            raise
        self.ready_line = line.decode()
        found = re.fullmatch(r"ready (https?://(?:127\.0\.0\.1|\[::1\]):\d+)\n", self.ready_line)
        assert found, f"the ready line is {line!r}"
        self.url = found[1]
        return self

    def output(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def stop(self):
        """SIGTERM, and a clean end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server ignored SIGTERM:\n{self.output()}") from None
        process.stdout.close()
        assert code == 0, f"the server ended with {code} after SIGTERM:\n{self.output()}"

    def kill(self):
        """kill -9: nothing is flushed or drained."""
        process, self.process = self.process, None
        process.kill()
        process.wait(timeout=60)
        process.stdout.close()

    def command(self, *args, **options):
        """Runs `sagekeep ARGS --data-dir DIR` beside the server."""
        return sagekeep(*args, "--data-dir", self.data, **options)

    def environment(self, account=None):
        more = ("--account", account) if account else ()
        return json.loads(self.command("env", "--format", "json", *more, check=True).stdout)

    def cloud(self, account=None, **options):
        return Cloud(self, account, **options)


@functools.cache
def _session():
    return botocore.session.Session()


class Cloud:
    """One account of a server, seen through unmodified clients. Its root user acts by default."""

    def __init__(self, server, account=None, verify=None):
        env = server.environment(account)
        self.server, self.account, self.verify = server, account or ACCOUNT, verify
        self.url = env["AWS_ENDPOINT_URL"]
        self.root = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        self._clients = {}

    def boto(self, service, credentials=None, region=REGION, **config):
        """A boto3 client that tries once; clients are kept per credentials and region."""
        credentials = getattr(credentials, "credentials", credentials) or self.root
        key = (service, credentials.access_key_id, credentials.secret, credentials.token, region, repr(sorted(config.items())))
        if key not in self._clients:
            session = boto3.Session(
                aws_access_key_id=credentials.access_key_id, aws_secret_access_key=credentials.secret,
                aws_session_token=credentials.token, region_name=region,
            )
            self._clients[key] = session.client(
                service, endpoint_url=self.url, verify=self.verify,
                config=botocore.config.Config(
                    retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=20, **config
                ),
            )
        return self._clients[key]

    def cli(self, *args, credentials=None, region=REGION, text=False, env=None, timeout=120):
        """Runs the AWS CLI: parsed JSON, or text; an error answer is raised as Refusal."""
        credentials = getattr(credentials, "credentials", credentials) or self.root
        done = subprocess.run(
            [sys.executable, AWS, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
            env=clean_environment(
                AWS_ENDPOINT_URL=self.url, AWS_DEFAULT_REGION=region, AWS_DEFAULT_OUTPUT="json",
                **credentials.environment(), **(env or {}),
            ),
        )
        if done.returncode != 0:
            found = re.search(r"An error occurred \(([^)]+)\) when calling the (\w+) operation[^:]*: ?(.*)", done.stderr, re.S)
            assert found, f"aws {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise Refusal(found[1], found[2], found[3].strip(), done.stderr)
        if text:
            return done.stdout
        return json.loads(done.stdout) if done.stdout.strip() else None

    # Shorthands for what many tests need.

    @property
    def root_arn(self):
        return f"arn:aws:iam::{self.account}:root"

    def new_user(self, *statements, prefix="user"):
        """A user with an access key and an inline policy of these statements."""
        iam, name = self.boto("iam"), unique(prefix)
        user = iam.create_user(UserName=name)["User"]
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Principal(name, user["Arn"], user["UserId"], Credentials.of(key))

    def new_role(self, *statements, trust=None, prefix="role", **more):
        """A role that the account may assume, unless trust says otherwise."""
        iam, name = self.boto("iam"), unique(prefix)
        trust = trust or allow("sts:AssumeRole", None, Principal={"AWS": self.root_arn})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust), **more)["Role"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        return Principal(name, role["Arn"], role["RoleId"])

    def assume(self, role, by, session="session", **more):
        """Credentials of a session of the role."""
        answer = self.boto("sts", by).assume_role(RoleArn=role.arn, RoleSessionName=session, **more)
        return Credentials.of(answer["Credentials"])

    def assumer(self):
        """A user who may assume every role that trusts the account."""
        return self.new_user(allow("sts:AssumeRole"), prefix="assumer")

    def new_key(self, *statements, **more):
        """The ARN of a symmetric key; statements are added to the account's own one."""
        if statements:
            more["Policy"] = policy(allow("kms:*", "*", Sid="Account", Principal={"AWS": self.root_arn}), *statements)
        return self.boto("kms").create_key(**more)["KeyMetadata"]["Arn"]

    def new_bucket(self, prefix="bucket"):
        name = unique(prefix)
        self.boto("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def records(self, attribute=None, value=None, region=REGION, pages=None, **more):
        """CloudTrail records, newest first, through LookupEvents."""
        if attribute:
            more["LookupAttributes"] = [{"AttributeKey": attribute, "AttributeValue": value}]
        config = {"PageSize": 50} | ({"MaxItems": 50 * pages} if pages else {})
        found = self.boto("cloudtrail", region=region).get_paginator("lookup_events").paginate(PaginationConfig=config, **more)
        return [json.loads(e["CloudTrailEvent"]) for e in found.search("Events") if e]


def statement(effect, action, resource, **more):
    s = {"Effect": effect, "Action": action, **more}
    if resource is not None:
        s["Resource"] = resource
    return s


def allow(action, resource="*", **more):
    return statement("Allow", action, resource, **more)


def deny(action, resource="*", **more):
    return statement("Deny", action, resource, **more)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def memory_kib(pid, field="VmRSS"):
    """A figure of the process's memory, in KiB; None where the system does not tell."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1])
