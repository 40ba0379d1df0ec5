# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Amazon ECR."""

from __future__ import annotations

import base64
import concurrent.futures
import datetime
import json
import logging
import pathlib
import sys
import time
import typing as t
import urllib.parse

import botocore.auth
import botocore.config
import botocore.session
import pytest
import sigv4
from ansible_collections.gating.containers.plugins.module_utils._aws import (
    Ecr,
    Endpoint,
    endpoint,
    signed_headers,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    Transport,
)
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

# The access key of AWS' own examples.
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION = "s3ss10n-t0ken"
HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture(autouse=True)
def no_foreign_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """No AWS credentials of the machine that runs the tests get into them."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_PROFILE", "DEFAULT_REGION", "REGION", "ROLE_ARN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


# -- signatures ----------------------------------------------------------------------------------------------------------------

# From AWS: the example of "Signature Version 4 signing process", and get-vanilla, post-vanilla, post-x-www-form-urlencoded and
# get-vanilla-query-order-key-case of its test suite.
VECTORS = [
    (
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        "iam",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    ),
    ("GET", "https://example.amazonaws.com/", "service", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "https://example.amazonaws.com/", "service", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "POST",
        "https://example.amazonaws.com/",
        "service",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "GET",
        "https://example.amazonaws.com/?Param2=value2&Param1=value1",
        "service",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
]


@pytest.mark.parametrize(("method", "url", "service", "headers", "body", "signature"), VECTORS)
def test_the_vectors_of_aws(monkeypatch: pytest.MonkeyPatch, method: str, url: str, service: str, headers: dict[str, str], body: bytes, signature: str) -> None:
    moment = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *dummy: moment.replace(tzinfo=None))
    signed = signed_headers(method, url, service, "us-east-1", body, Credentials(KEY, SECRET), headers)
    assert signed["X-Amz-Date"] == "20150830T123600Z"
    assert signed["Authorization"].endswith(f", Signature={signature}")
    assert signed["Authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/{service}/aws4_request, SignedHeaders=")
    assert {name: signed[name] for name in headers} == headers


@pytest.mark.parametrize(("method", "url", "service", "headers", "body", "signature"), VECTORS)
def test_what_checks_signatures_in_tests_knows_the_vectors(method: str, url: str, service: str, headers: dict[str, str], body: bytes, signature: str) -> None:
    parts = urllib.parse.urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    sent = {"host": parts.netloc, "x-amz-date": "20150830T123600Z", **{name.lower(): value for name, value in headers.items()}}
    assert sigv4.signature(method, target, sent, sorted(sent), body, SECRET, ("20150830", "us-east-1", service)) == signature


_WORDS = st.text("abcXYZ019-_. ~", max_size=8)


@given(
    st.sampled_from(["GET", "POST"]),
    st.dictionaries(_WORDS.filter(bool), _WORDS, max_size=3),
    st.dictionaries(st.from_regex(r"X-Amz-[A-Z][a-z]{1,6}", fullmatch=True).filter(lambda name: name != "X-Amz-Date"), _WORDS.map(str.strip), max_size=3),
    st.binary(max_size=50),
    st.sampled_from(["", SESSION]),
)
def test_a_signature_is_what_aws_works_out(method: str, query: dict[str, str], headers: dict[str, str], body: bytes, session: str) -> None:
    encoded = urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    url = "https://api.ecr.eu-central-1.amazonaws.com/" + (f"?{encoded}" if encoded else "")
    credentials = Credentials(KEY, SECRET, session or None)
    signed = {name.lower(): value for name, value in signed_headers(method, url, "ecr", "eu-central-1", body, credentials, headers).items()}
    sent = {"host": "api.ecr.eu-central-1.amazonaws.com", **signed}
    target = "/" + (f"?{encoded}" if encoded else "")
    assert sigv4.verify(method, target, sent, body, {KEY: SECRET}, "eu-central-1", "ecr") == ""
    assert sent.get("x-amz-security-token", "") == session
    assert sigv4.verify(method, target, sent, body + b"x", {KEY: SECRET}, "eu-central-1", "ecr") == "InvalidSignatureException"
    assert sigv4.verify(method, target, sent, body, {KEY: SECRET + "x"}, "eu-central-1", "ecr") == "InvalidSignatureException"


# -- where the API is ----------------------------------------------------------------------------------------------------------


session = botocore.session.Session()


def regions() -> list[str]:
    return [region for partition in session.get_available_partitions() for region in session.get_available_regions("ecr", partition)]


@pytest.mark.parametrize("region", regions())
def test_the_endpoint_is_that_of_botocore(region: str) -> None:
    client = session.create_client("ecr", region_name=region, aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    suffix = client.meta.endpoint_url.partition(f"{region}.")[2]
    assert endpoint(Access(f"123456789012.dkr.ecr.{region}.{suffix}")) == Endpoint(client.meta.endpoint_url, "ecr", region)


@pytest.mark.parametrize(
    ("registry", "options"),
    [
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", {"use_fips_endpoint": True}),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", {"use_fips_endpoint": True}),
        ("123456789012.dkr-ecr.eu-west-3.on.aws", {"use_dualstack_endpoint": True}),
        ("123456789012.dkr-ecr-fips.us-gov-west-1.on.aws", {"use_dualstack_endpoint": True, "use_fips_endpoint": True}),
        ("public.ecr.aws", {}),
    ],
)
def test_the_endpoint_of_other_names_is_that_of_botocore(registry: str, options: dict[str, t.Any]) -> None:
    found = endpoint(Access(registry))
    assert found is not None
    config = botocore.config.Config(**options)
    client = session.create_client(found.service, region_name=found.region, aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config)
    assert (found.url, found.service) == (client.meta.endpoint_url, client.meta.service_model.signing_name)


@pytest.mark.parametrize(
    "registry",
    [
        "quay.io",
        "dkr.ecr.eu-central-1.amazonaws.com",
        "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
        "x123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com.example",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.example",
        "123456789012xdkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr.ecr.eu.central.amazonaws.com",
        f"{HOST}:5000",
        "mypublic.ecr.aws",
        "public.ecr.aws.example",
        "public.ecr.aws:5000",
        "127.0.0.1:5000",
        "[::1]:5000",
    ],
)
def test_names_that_are_not_ecr(registry: str) -> None:
    assert endpoint(Access(registry)) is None
    with pytest.raises(InputError, match="is no registry of Amazon ECR"):
        Ecr(Access(registry), t.cast(Transport, None))


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access(f"{HOST}:443"), Endpoint("https://api.ecr.eu-central-1.amazonaws.com", "ecr", "eu-central-1")),
        (Access(HOST, type="ecr"), Endpoint("https://api.ecr.eu-central-1.amazonaws.com", "ecr", "eu-central-1")),
        (Access(HOST, type="docker"), None),
        (Access(HOST, api_url="https://vpce-1.example"), Endpoint("https://vpce-1.example", "ecr", "eu-central-1")),
        (Access("own.example", type="ecr"), Endpoint("", "ecr", "")),
        (Access("own.example", type="ecr", api_url="https://other.example"), Endpoint("https://other.example", "ecr", "")),
        (
            Access("own.example", type="ecr", api_url="https://vpce-1.api.ecr.us-west-2.vpce.amazonaws.com"),
            Endpoint("https://vpce-1.api.ecr.us-west-2.vpce.amazonaws.com", "ecr", "us-west-2"),
        ),
        (
            Access("own.example", type="ecr", api_url="https://api.ecr-public.us-east-1.amazonaws.com"),
            Endpoint("https://api.ecr-public.us-east-1.amazonaws.com", "ecr-public", "us-east-1"),
        ),
    ],
)
def test_type_and_api_url(access: Access, expected: Endpoint | None) -> None:
    assert endpoint(access) == expected


# -- calls -----------------------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """ECR's API of a registry, at a server with scripted answers."""

    def __init__(self, server: t.Any, **options: t.Any) -> None:
        options = {"registry": HOST, "api_url": server.url, "login": Login(KEY, SECRET), **options}
        self.server = server
        self.clock = Clock()
        self.transport = Transport(Access(HOST), parallel=4, timeout=5, retries=2, counter=Counter())
        self.it = Ecr(Access(**options), self.transport, self.clock)

    def signed_by(self, number: int, secret: str, region: str = "eu-central-1", service: str = "ecr") -> str:
        request = self.server.requests[number]
        headers = {name.lower(): value for name, value in request.headers.items()}
        return sigv4.verify(request.method, request.target, headers, request.body, {KEY: secret}, region, service)


@pytest.fixture
def api(http_server: t.Any) -> t.Iterator[t.Callable[..., Api]]:
    made: list[Api] = []

    def make(**options: t.Any) -> Api:
        made.append(Api(http_server(), **options))
        return made[-1]

    yield make
    for one in made:
        one.transport.close()


def token(password: str = "p", expires: float | None = None) -> dict[str, t.Any]:
    data: dict[str, t.Any] = {"authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode()}
    if expires is not None:
        data["expiresAt"] = expires
    return {"authorizationData": [data]}


def test_a_call(api: t.Any) -> None:
    one = api(api_token=SESSION)
    one.server.on("POST", "/", 200, {"imageIds": []})
    assert one.it.call("ListImages", {"repositoryName": "example/app"}) == {"imageIds": []}
    (request,) = one.server.requests
    assert json.loads(request.body) == {"repositoryName": "example/app"}
    assert request.headers["X-Amz-Target"] == "AmazonEC2ContainerRegistry_V20150921.ListImages"
    assert request.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert request.headers["X-Amz-Security-Token"] == SESSION
    assert one.signed_by(0, SECRET) == ""


def test_a_call_of_the_public_gallery(api: t.Any) -> None:
    one = api(registry="public.ecr.aws")
    one.server.on("POST", "/", 200, {})
    one.it.call("BatchDeleteImage", {})
    assert one.server.requests[0].headers["X-Amz-Target"] == "SpencerFrontendService.BatchDeleteImage"
    assert one.signed_by(0, SECRET, "us-east-1", "ecr-public") == ""
    assert "X-Amz-Security-Token" not in one.server.requests[0].headers


@pytest.mark.parametrize("status", [400, 429])
def test_too_many_calls(api: t.Any, pauses: list[float], status: int) -> None:
    one = api()
    one.server.on("POST", "/", status, {"__type": "ThrottlingException", "message": "Rate exceeded"}, times=2)
    one.server.on("POST", "/", 200, {"done": True})
    assert one.it.call("ListImages", {}) == {"done": True}
    assert len(one.server.requests) == 3
    assert pauses


def test_too_many_calls_for_too_long(api: t.Any) -> None:
    one = api()
    one.server.on("POST", "/", 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}, times=3)
    with pytest.raises(RegistryError, match='ListImages to 127.0.0.1:[0-9]+: ECR answered 400 ThrottlingException "Rate exceeded": ECR limits the rate'):
        one.it.call("ListImages", {})


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (400, {"__type": "AccessDeniedException", "Message": "User: x is not authorized"}, ["AccessDeniedException", "need the right ecr:ListImages"]),
        (400, {"__type": "com.amazonaws.ecr#RepositoryNotFoundException", "message": "gone"}, ["400 RepositoryNotFoundException", '"gone"', "see its message"]),
        (400, {"__type": "ExpiredTokenException", "message": f"{SESSION} is expired"}, ["have expired, get new ones"]),
        (400, {"__type": "UnrecognizedClientException", "message": "invalid"}, ["check the access key ID"]),
        (403, {"__type": "InvalidSignatureException", "message": f"should have been {SECRET} {SESSION}"}, ["403 InvalidSignature", "clock of this machine"]),
        (500, b"<html>", ["answered 500", "in trouble"]),
        (200, b"no json", ["answered 200", "see its message"]),
        (404, {"__type": ["x"], "message": {"a": SESSION}}, ["answered 404"]),
    ],
)
def test_answers_that_are_errors(api: t.Any, status: int, answer: t.Any, words: list[str]) -> None:
    one = api(api_token=SESSION)
    one.server.on("POST", "/", status, answer, times=None)
    with pytest.raises(RegistryError) as caught:
        one.it.call("ListImages", {})
    message = str(caught.value)
    assert message.startswith(f"{HOST}: POST ListImages to 127.0.0.1:")
    assert [word for word in words if word not in message] == []
    assert SECRET not in message
    assert SESSION not in message
    assert len(message.splitlines()) == 1


def test_the_header_that_names_an_error(api: t.Any) -> None:
    one = api()
    one.server.on("POST", "/", 400, {}, {"x-amzn-ErrorType": "AccessDeniedException:http://internal"})
    with pytest.raises(RegistryError) as caught:
        one.it.call("ListImages", {})
    assert caught.value.code == "AccessDeniedException"


def test_a_signature_that_is_echoed(api: t.Any) -> None:
    one = api()

    def echo() -> None:
        answer.body = json.dumps({"__type": "SignatureDoesNotMatch", "message": f"not {one.server.requests[-1].authorization}"}).encode()

    one.server.on("POST", "/", 403, hook=echo)
    answer = one.server._script["POST", "/"][0]
    with pytest.raises(RegistryError) as caught:
        one.it.call("ListImages", {})
    assert 'SignatureDoesNotMatch "not ********": check the access key' in str(caught.value)


# -- logins ------------------------------------------------------------------------------------------------------------------------


def test_a_login(api: t.Any) -> None:
    one = api()
    one.server.on("POST", "/", 200, token("a:b", time.time() + 12 * 3600))
    login = one.it.login()
    assert login == Login("AWS", "a:b")
    # A quarter of an hour before its end.
    assert login.renew_at == pytest.approx(1000 + 12 * 3600 - 900, abs=5)
    (request,) = one.server.requests
    assert (request.headers["X-Amz-Target"], request.body) == ("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", b"{}")
    assert "a:b" not in repr(login)


@pytest.mark.parametrize(("expires", "lifetime"), [(None, 12 * 3600 - 900), (1200.0, 600), (100.0, 50), (-100.0, -50)])
def test_how_long_a_login_lives(api: t.Any, expires: float | None, lifetime: float) -> None:
    one = api()
    one.server.on("POST", "/", 200, token("p", expires and time.time() + expires))
    assert one.it.login().renew_at == pytest.approx(1000 + lifetime, abs=5)


def test_a_login_for_the_public_gallery(api: t.Any) -> None:
    one = api(registry="public.ecr.aws")
    one.server.on("POST", "/", 200, {"authorizationData": token()["authorizationData"][0]})
    assert one.it.login() == Login("AWS", "p")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"authorizationData": []},
        {"authorizationData": None},
        {"authorizationData": "x"},
        {"authorizationData": [{}]},
        {"authorizationData": [{"authorizationToken": "%%"}]},
        {"authorizationData": [{"authorizationToken": 5}]},
        {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS").decode()}]},
        {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:").decode()}]},
        {"authorizationData": [{"authorizationToken": base64.b64encode(b"\xff:x").decode()}]},
        {"authorizationData": [{**token()["authorizationData"][0], "expiresAt": "soon"}]},
    ],
)
def test_an_answer_that_is_no_login(api: t.Any, answer: t.Any) -> None:
    one = api()
    one.server.on("POST", "/", 200, answer)
    with pytest.raises(RegistryError, match="GetAuthorizationToken of ECR answered 200 without a login"):
        one.it.login()


# -- credentials ---------------------------------------------------------------------------------------------------------------------


def test_credentials_of_the_environment(api: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    one = api(login=None)
    one.server.on("POST", "/", 200, token())
    one.it.login()
    assert one.signed_by(0, SECRET) == ""
    assert one.server.requests[0].headers["X-Amz-Security-Token"] == SESSION


def test_a_ready_token_is_no_key(api: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the user AWS, calls of the API are signed with the credentials of the machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    one = api(login=Login("AWS", "ready"))
    one.server.on("POST", "/", 200, {})
    one.it.call("ListImages", {})
    assert one.signed_by(0, SECRET) == ""


def test_credentials_of_a_profile(api: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "credentials").write_text(f"[ci]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_PROFILE", "ci")
    one = api(login=None)
    one.server.on("POST", "/", 200, token())
    one.it.login()
    assert one.signed_by(0, SECRET) == ""


def test_temporary_credentials_are_fetched_again(api: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Of a program that gives others each time, which are good for a minute."""
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    script = tmp_path / "give"
    answer = json.dumps({"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": "secret-%s", "SessionToken": "t", "Expiration": soon})
    script.write_text(f"#!/bin/sh\necho x >> {tmp_path}/count\nprintf '{answer}' $(grep -c x {tmp_path}/count)\n")
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
    one = api(login=None)
    one.server.on("POST", "/", 200, {}, times=2)
    counts = []
    for number in range(2):
        one.it.call("ListImages", {})
        counts.append(next(count for count in range(1, 9) if one.signed_by(number, f"secret-{count}") == ""))
    assert counts[1] > counts[0]


def test_no_credentials(api: t.Any) -> None:
    with pytest.raises(ContainersError) as caught:
        api(login=None).it.login()
    message = str(caught.value)
    assert message.startswith(f"{HOST}: no AWS credentials were found: give an access key ID")
    assert "AWS_PROFILE" in message


@pytest.mark.parametrize(
    ("profile", "config", "reason"),
    [
        ("nosuch", "", "ProfileNotFound"),
        ("ci", "[profile ci]\ncredential_process = /bin/sh -c 'echo s3cret-of-process >&2; exit 1'\n", "CredentialRetrievalError"),
        ("ci", "[profile ci]\ncredential_process = /nonexistent/program\n", "FileNotFoundError"),
        ("ci", "[profile ci]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = gone\n", "InvalidConfigError"),
    ],
)
def test_credentials_that_cannot_be_had(api: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, profile: str, config: str, reason: str) -> None:
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(ContainersError) as caught:
        api(login=None).it.login()
    message = str(caught.value)
    assert message.startswith(f"{HOST}: the AWS credentials of this machine cannot be used ({reason}): run 'aws sts get-caller-identity'")
    assert "s3cret-of-process" not in message


def test_the_region_of_a_name_of_ones_own(api: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = api(registry="own.example", type="ecr")
    with pytest.raises(InputError, match="neither its name nor api_url tells the AWS region"):
        one.it.login()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    two = api(registry="own.example", type="ecr")
    two.server.on("POST", "/", 200, token())
    two.it.login()
    assert two.signed_by(0, SECRET, "us-west-2") == ""


def test_many_threads(api: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    one = api(login=None)
    one.server.on("POST", "/", 200, {}, times=16)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda dummy: one.it.call("ListImages", {}), range(16))) == [{}] * 16
    assert [one.signed_by(number, SECRET) for number in range(16)] == [""] * 16


@pytest.mark.parametrize("login", [None, Login(KEY, SECRET)])
def test_without_botocore(api: t.Any, monkeypatch: pytest.MonkeyPatch, login: Login | None) -> None:
    for name in [name for name in sys.modules if name == "botocore" or name.startswith("botocore.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    one = api(login=login)
    with pytest.raises(ContainersError) as caught:
        one.it.login()
    message = str(caught.value)
    assert message.startswith(f"{HOST}: to log in with AWS credentials needs the Python library botocore, which is not installed: run 'pip install botocore'")
    assert SECRET not in message
    assert one.server.requests == []


def test_no_session_token_in_the_log(api: t.Any, caplog: pytest.LogCaptureFixture) -> None:
    """Ansible logs no more than INFO, but a plugin of the site may."""
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    one = api(api_token=SESSION)
    one.server.on("POST", "/", 200, token("the-password"))
    one.it.login()
    assert SESSION not in caplog.text
    assert "the-password" not in caplog.text
    assert caplog.records, "urllib3 tells of the request"
