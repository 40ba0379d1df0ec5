# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who to be at a registry."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import pathlib
import time
import typing as t
import urllib.parse

import pytest
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._exchange import Exchange
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    Transport,
)

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
ACR = "myregistry.azurecr.io"
KEYS = Login("AKIDEXAMPLE", "s3cr3t-key")
ENTRA = "s3cr3t-entra"
NULL = "00000000-0000-0000-0000-000000000000"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Made:
    """An exchange whose vendor is a server."""

    def __init__(self, server: t.Any, access: Access) -> None:
        self.server = server
        self.clock = Clock()
        self.transport = Transport(access, parallel=4, timeout=5, retries=0, counter=Counter())
        self.it = Exchange(access, self.transport, self.clock)

    def login(self, repository: str = "a/b", refused: Login | None = None) -> Login | None:
        return self.it.login(repository, self.server.url, refused)

    def ecr_answers(self, password: str, seconds: float = 12 * 3600) -> None:
        data = {"authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(), "expiresAt": time.time() + seconds}
        self.server.on("POST", "/", 200, {"authorizationData": [data]})


@pytest.fixture(autouse=True)
def no_foreign_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_PROFILE", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def make(http_server: t.Any) -> t.Iterator[t.Callable[..., Made]]:
    made: list[Made] = []

    def exchange(registry: str, **options: t.Any) -> Made:
        server = http_server()
        if "amazonaws" in registry or "ecr" in registry:
            options["api_url"] = server.url
        made.append(Made(server, Access(registry, **options)))
        return made[-1]

    yield exchange
    for one in made:
        one.transport.close()


@pytest.fixture
def file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Writes an auth file of the container tools."""

    def write(registry: str) -> None:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {registry: {"username": "file", "password": "of-file"}}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))

    return write


# -- where nothing is exchanged ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "options"),
    [
        ("quay.io", {"login": Login("me", "p"), "api_token": "t"}),
        ("quay.io", {"login": Login("$oauthtoken", "p")}),
        (ECR, {"login": Login("AWS", "ready")}),
        (ECR, {"login": Login("me", "p"), "type": "docker"}),
        ("public.ecr.aws", {"login": Login("AWS", "ready")}),
        (ACR, {"login": Login("me", "p"), "api_token": ENTRA}),
        (ACR, {"login": Login(NULL, "refresh")}),
    ],
)
def test_the_users_own_login(make: t.Any, registry: str, options: dict[str, t.Any]) -> None:
    one = make(registry, **options)
    assert one.login() == options["login"]
    assert one.it.exchanged("a/b", one.server.url) is None


@pytest.mark.parametrize(
    ("registry", "options"),
    [
        ("quay.io", {}),
        ("quay.io", {"api_token": ENTRA}),
        (ECR, {}),
        (ECR, {"given": True}),
        ("public.ecr.aws", {"given": True}),
        ("public.ecr.aws", {}),
        (ACR, {}),
    ],
)
def test_the_login_of_a_file(make: t.Any, file: t.Any, registry: str, options: dict[str, t.Any]) -> None:
    file(registry)
    one = make(registry, **options)
    assert one.login() == Login("file", "of-file")
    # A container tool finds it by itself.
    assert one.it.exchanged("a/b", one.server.url) is None


@pytest.mark.parametrize("registry", ["quay.io", "public.ecr.aws", ACR, "myregistry.azurecr.io.example"])
def test_anonymous(make: t.Any, registry: str) -> None:
    assert make(registry).login() is None


@pytest.mark.parametrize("registry", ["quay.io", "azurecr.io", "xazurecr.io", f"{ACR}.example", f"{ACR}:5000", "127.0.0.1:5000"])
def test_a_token_is_exchanged_at_no_other_registry(make: t.Any, registry: str) -> None:
    assert make(registry, api_token=ENTRA, given=True).login() is None


def test_a_token_is_not_exchanged_where_the_type_is_another(make: t.Any) -> None:
    assert make(ACR, api_token=ENTRA, given=True, type="oci").login() is None


# -- Amazon ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", [ECR, "public.ecr.aws"])
def test_keys_are_exchanged_once_for_all_repositories(make: t.Any, registry: str) -> None:
    one = make(registry, login=KEYS, given=True)
    one.ecr_answers("one")
    assert {one.login(name) for name in ("a", "b", "a", "c")} == {Login("AWS", "one")}
    assert one.it.exchanged("d", one.server.url) == Login("AWS", "one")


def test_many_threads_exchange_once(make: t.Any) -> None:
    one = make(ECR, login=KEYS)
    one.ecr_answers("one")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one.login, "abcdefgh")) == {Login("AWS", "one")}


@pytest.mark.parametrize("given", [True, False])
def test_the_credentials_of_the_machine(make: t.Any, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.username)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.password)
    one = make(ECR, given=given)
    one.ecr_answers("one")
    assert one.login() == Login("AWS", "one")
    assert f"Credential={KEYS.username}/" in one.server.requests[0].authorization


def test_the_public_gallery_with_the_credentials_of_the_machine(make: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.username)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.password)
    assert make("public.ecr.aws").login() is None
    one = make("public.ecr.aws", given=True)
    one.ecr_answers("one")
    assert one.login() == Login("AWS", "one")


def test_no_credentials_at_all(make: t.Any) -> None:
    with pytest.raises(ContainersError, match="no AWS credentials were found"):
        make(ECR).login()


def test_a_login_of_amazon_is_renewed_before_it_expires(make: t.Any) -> None:
    one = make(ECR, login=KEYS)
    one.ecr_answers("one")
    one.ecr_answers("two")
    assert one.login() == Login("AWS", "one")
    one.clock.now += 12 * 3600 - 900 - 60
    assert one.login() == Login("AWS", "one")
    one.clock.now += 120
    assert one.login() == one.login("c") == Login("AWS", "two")


def test_a_login_of_amazon_that_was_refused(make: t.Any) -> None:
    one = make(ECR, login=KEYS)
    one.ecr_answers("one")
    one.ecr_answers("two")
    first = one.login()
    assert one.login("a", first) == Login("AWS", "two")
    # Another thread, which was refused with the first one as well.
    assert one.login("b", first) == Login("AWS", "two")


def test_an_exchange_that_failed_is_tried_again(make: t.Any) -> None:
    one = make(ECR, login=KEYS)
    one.server.on("POST", "/", 500)
    with pytest.raises(RegistryError, match="ECR is in trouble"):
        one.login()
    one.ecr_answers("one")
    assert one.login() == Login("AWS", "one")


# -- Azure -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("registry", "kind"), [(ACR, ""), (ACR, "acr"), (f"{ACR}:443", ""), ("my.westeurope.geo.azurecr.io", ""), ("own.example", "acr")])
def test_a_token_of_entra_is_exchanged(make: t.Any, registry: str, kind: str) -> None:
    one = make(registry, api_token=ENTRA, type=kind)
    one.server.on("POST", "/oauth2/exchange", 200, {"refresh_token": "refresh"})
    # With the refresh token as password, for container tools.
    assert one.login() == one.login("c") == one.it.exchanged("d", one.server.url) == Login(NULL, "refresh", "refresh")
    (request,) = one.server.requests
    assert dict(urllib.parse.parse_qsl(request.body.decode())) == {
        "grant_type": "access_token",
        "service": registry.partition(":")[0],
        "access_token": ENTRA,
    }
    assert (request.headers["Content-Type"], request.authorization) == ("application/x-www-form-urlencoded", None)
    assert "refresh" not in repr(one.login())


def test_a_refresh_token_that_was_refused(make: t.Any) -> None:
    one = make(ACR, api_token=ENTRA)
    for value in ("one", "two"):
        one.server.on("POST", "/oauth2/exchange", 200, {"refresh_token": value})
    first = one.login()
    assert one.login("a", first) == one.login("b", first) == Login(NULL, "two", "two")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["answered 401 UNAUTHORIZED", "access token of Microsoft Entra ID that is not older than an hour"]),
        (403, ["answered 403 UNAUTHORIZED", "of who may use this registry"]),
        (404, ["answered 404", "try later, or give a username and password"]),
        (500, ["answered 500", "try later"]),
    ],
)
def test_an_exchange_that_is_refused(make: t.Any, status: int, words: list[str]) -> None:
    one = make(ACR, api_token=ENTRA)
    one.server.on("POST", "/oauth2/exchange", status, {"errors": [{"code": "UNAUTHORIZED", "message": f"{ENTRA} has expired"}]})
    with pytest.raises(RegistryError) as caught:
        one.login()
    message = str(caught.value)
    assert message.startswith(f"{ACR}: POST /oauth2/exchange: it answered ")
    assert [word for word in words if word not in message] == []
    assert '"******** has expired"' in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("answer", [{}, [], b"<html>", {"refresh_token": ""}, {"refresh_token": 5}, {"access_token": "x"}])
def test_an_answer_without_a_refresh_token(make: t.Any, answer: t.Any) -> None:
    one = make(ACR, api_token=ENTRA)
    one.server.on("POST", "/oauth2/exchange", 200, answer)
    with pytest.raises(RegistryError, match="answered 200 without a refresh token"):
        one.login()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_token_of_entra_goes_nowhere_else(make: t.Any, http_server: t.Any, status: int) -> None:
    one, other = make(ACR, api_token=ENTRA), http_server()
    one.server.on("POST", "/oauth2/exchange", status, b"", {"Location": f"{other.url}/oauth2/exchange"})
    with pytest.raises(RegistryError, match=f"answered {status}"):
        one.login()
    assert other.requests == []
