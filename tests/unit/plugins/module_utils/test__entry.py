# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module, or the action of its name, runs an operation."""

from __future__ import annotations

import inspect
import io
import json
import sys
import typing as t

import ansible_collections.gating.containers.plugins.module_utils._entry as entry_module
import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    count,
    execute,
    open_client,
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference

SECRET = "s3cr3t-Pa55w0rd"
PARAMS = {"parallel": 8, "timeout": 60, "retries": 5}
HIDDEN = "********"


@pytest.mark.parametrize(("number", "text"), [(0, "0 tags"), (1, "1 tag"), (2, "2 tags")])
def test_count(number: int, text: str) -> None:
    assert count(number, "tag") == text


def test_the_arguments_of_the_contract() -> None:
    result = ArgumentSpecValidator(client_arguments()).validate({})
    assert result.error_messages == []
    assert result.validated_parameters == {**PARAMS, "credentials": {}}
    assert client_arguments()["credentials"]["no_log"] is True
    # Callers put them into specs of their own.
    assert client_arguments()["credentials"] is not client_arguments()["credentials"]


@pytest.mark.parametrize(("name", "value", "least"), [("parallel", 0, 1), ("parallel", -1, 1), ("timeout", 0, 1), ("retries", -1, 0)])
def test_numbers_out_of_range(name: str, value: int, least: int) -> None:
    with pytest.raises(InputError, match=f"^{name} is to be at least {least}, not {value}$"), open_client({**PARAMS, name: value}, Credentials(), ("pull",)):
        pass


def test_the_least_numbers() -> None:
    with open_client({**PARAMS, "parallel": 1, "timeout": 1, "retries": 0}, Credentials(), ("pull",)) as client:
        assert client.requests == 0


def test_an_error_inside_gets_the_number_of_requests(http_server: t.Any, certificate: t.Any) -> None:
    server = http_server()
    server.on("GET", "/v2/", 200)
    server.on("HEAD", "/v2/a/manifests/b", 403)
    image = Reference(server.name, "a", "b")
    credentials = Credentials({server.name: {"scheme": "http", "ca_cert": certificate.cert}})
    with pytest.raises(RegistryError) as caught, open_client(PARAMS, credentials, ("pull",)) as client:
        registry = client.registry(image)
        directory = registry._transport._tls._directory.name
        registry.resolve(image)
    assert caught.value.result == {"requests": 2}
    import pathlib

    assert not pathlib.Path(directory).exists()


def test_what_an_error_tells_is_kept() -> None:
    with pytest.raises(ContainersError) as caught, open_client(PARAMS, Credentials(), ("pull",)):
        raise ContainersError("no", {"changed": True})
    assert caught.value.result == {"changed": True, "requests": 0}


def entry(run: t.Callable[[t.Mapping[str, t.Any], bool], dict[str, t.Any]]) -> Entry:
    return Entry({"credentials": {"type": "dict", "default": {}, "no_log": True}, "text": {"type": "str"}}, run)


def fail(error: Exception) -> t.Callable[..., dict[str, t.Any]]:
    def run(*dummy: object) -> dict[str, t.Any]:
        raise error

    return run


@pytest.mark.parametrize("check_mode", [True, False])
def test_execute(check_mode: bool) -> None:
    result = execute(entry(lambda params, check: {"changed": check, "msg": params["text"]}), {"text": "hello"}, check_mode)
    assert result == {"changed": check_mode, "msg": "hello"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("bad"), {"changed": False, "failed": True, "msg": "bad"}),
        (RegistryError("bad", 404, "X"), {"changed": False, "failed": True, "msg": "bad"}),
        (ContainersError("bad", {"changed": True, "images": [1]}), {"changed": True, "images": [1], "failed": True, "msg": "bad"}),
        (ContainersError("bad", {"msg": "other", "failed": False}), {"changed": False, "failed": True, "msg": "bad"}),
    ],
)
def test_execute_fails_by_its_result(error: ContainersError, expected: dict[str, t.Any]) -> None:
    assert execute(entry(fail(error)), {}, False) == expected


def test_execute_hides_secrets_wherever_they_are() -> None:
    credentials = {"quay.io": {"username": "me", "password": SECRET, "api_token": "other-secret", "client_key": "third-secret"}}
    told = {"stderr": f"login {SECRET} and other-secret", "list": [f"x{SECRET}y", "third-secret"], "deep": {"deeper": {"me": SECRET}}}
    for result in (
        execute(entry(lambda *dummy: {"changed": True, "msg": f"used {SECRET}", **told}), {"credentials": credentials}, False),
        execute(entry(fail(ContainersError(f"used {SECRET}", told))), {"credentials": credentials}, False),
    ):
        text = json.dumps(result)
        assert [secret for secret in (SECRET, "other-secret", "third-secret") if secret in text] == []
        assert result["msg"] == f"used {HIDDEN}"
        assert result["stderr"] == f"login {HIDDEN} and {HIDDEN}"
        # Of the credentials only the secrets are secret.
        assert "me" in result["deep"]["deeper"]


@pytest.mark.parametrize("credentials", [None, {}, "text", {"quay.io": None}])
def test_execute_with_malformed_credentials(credentials: t.Any) -> None:
    assert execute(entry(lambda *dummy: {"msg": "done"}), {"credentials": credentials}, False) == {"msg": "done"}


def test_execute_without_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_module, "REQUESTS_IMPORT_ERROR", "Traceback: no requests")
    result = execute(entry(fail(AssertionError("it was run"))), {}, False)
    assert result["failed"] is True
    assert "requests" in result["msg"]
    assert result["exception"] == "Traceback: no requests"


class Left(Exception):
    pass


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., tuple[int, dict[str, t.Any], str]]:
    """Runs an entry as a module: its exit code, its result and all that it printed."""

    def run(one: Entry, **arguments: t.Any) -> tuple[int, dict[str, t.Any], str]:
        def leave(code: int = 0) -> t.NoReturn:
            raise Left(code)

        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(sys, "exit", leave)
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(Left) as caught:
            run_module(one)
        monkeypatch.undo()
        return caught.value.args[0], json.loads(out.getvalue()), out.getvalue()

    return run


def test_a_module_that_succeeds(module: t.Any) -> None:
    code, result, dummy = module(entry(lambda params, check: {"changed": check, "msg": params["text"]}), text="hello", _ansible_check_mode=True)
    assert (code, result["changed"], result["msg"]) == (0, True, "hello")
    assert "failed" not in result


def test_a_module_that_fails(module: t.Any) -> None:
    code, result, dummy = module(entry(fail(ContainersError("no", {"requests": 5}))))
    assert (code, result["failed"], result["msg"], result["requests"], result["changed"]) == (1, True, "no", 5, False)


@pytest.mark.parametrize("failing", [True, False])
def test_a_module_prints_no_secret_and_hides_nothing_else(module: t.Any, failing: bool) -> None:
    credentials = {"quay.io": {"username": "example", "password": SECRET, "scheme": "https"}}
    text = f"https://quay.io/example and {SECRET}"
    one = entry(fail(ContainersError(text)) if failing else lambda *dummy: {"msg": text})
    code, result, printed = module(one, credentials=credentials)
    assert code == int(failing)
    assert result["msg"] == f"https://quay.io/example and {HIDDEN}"
    assert SECRET not in printed.replace(json.dumps(credentials), "")


def test_a_bug_shows_no_secret_either() -> None:
    def run(params: t.Any, check_mode: bool) -> dict[str, t.Any]:
        raise KeyError(f"of {SECRET}")

    result = execute(Entry({}, run), {"credentials": {"quay.io": {"password": SECRET}}}, False)
    assert result["failed"] is True
    assert f"has a bug, please report it: KeyError: 'of {HIDDEN}'" in result["msg"]
    assert SECRET not in result["exception"]


def test_the_environment_of_a_build_is_hidden() -> None:
    def run(params: t.Any, check_mode: bool) -> dict[str, t.Any]:
        raise ContainersError(f"it printed {SECRET} in step 1", {"stderr": f"log in with {SECRET}"})

    result = execute(Entry({}, run), {"env": {"TOKEN": SECRET, "LEVEL": "1"}}, False)
    assert (result["msg"], result["stderr"]) == (f"it printed {HIDDEN} in step 1", f"log in with {HIDDEN}")


ZUUL_REGISTRY = {
    "host": "registry.example",
    "port": 5000,
    "username": "zuul-user",
    "password": SECRET,
    "cert": "-----BEGIN CERTIFICATE-----",
    "scheme": "https",
}


@pytest.mark.parametrize("name", ["buildset_registry", "intermediate_registry"])
@pytest.mark.parametrize("failing", [True, False])
def test_of_zuuls_registries_the_password_is_hidden_and_nothing_else(name: str, failing: bool) -> None:
    text = f"zuul-user:{SECRET}@registry.example:5000 by https with -----BEGIN CERTIFICATE-----"
    told = {"images": [{"pushed": [f"registry.example:5000/{SECRET}"], "port": 5000}], "stderr": text}
    run = fail(ContainersError(text, told)) if failing else lambda *dummy: {"msg": text, **told}
    result = execute(Entry({}, run), {name: ZUUL_REGISTRY}, False)
    assert SECRET not in json.dumps(result)
    assert result["msg"] == result["stderr"] == text.replace(SECRET, HIDDEN)
    assert result["images"] == [{"pushed": [f"registry.example:5000/{HIDDEN}"], "port": 5000}]


@pytest.mark.parametrize("name", ["buildset_registry", "intermediate_registry"])
def test_of_zuuls_registries_a_bug_shows_no_password(name: str) -> None:
    result = execute(Entry({}, fail(KeyError(f"of {SECRET}"))), {name: ZUUL_REGISTRY}, False)
    assert SECRET not in json.dumps(result)


@pytest.mark.parametrize("key", ["passwd", "Password", "api_token"])
def test_of_zuuls_registries_what_is_not_known_is_hidden(key: str) -> None:
    result = execute(Entry({}, lambda *dummy: {"msg": f"used {SECRET}"}), {"buildset_registry": {"host": "a.b", key: {"deep": [SECRET]}}}, False)
    assert result["msg"] == f"used {HIDDEN}"


def test_of_zuuls_registries_a_small_value_that_is_not_known_is_not_hidden() -> None:
    result = execute(Entry({}, lambda *dummy: {"msg": "10 images"}), {"buildset_registry": {"host": "a.b", "proxy_port": 1}}, False)
    assert result["msg"] == "10 images"


@pytest.mark.parametrize("value", [None, {}])
def test_without_zuuls_registries_nothing_is_hidden(value: t.Any) -> None:
    result = execute(Entry({}, lambda *dummy: {"msg": "done"}), {"buildset_registry": value, "intermediate_registry": value}, False)
    assert result == {"msg": "done"}


def test_a_module_hides_the_password_of_zuuls_registries(module: t.Any) -> None:
    one = Entry({"buildset_registry": {"type": "dict", "default": {}, "no_log": True}}, lambda *dummy: {"msg": f"registry.example:5000 {SECRET} zuul-user"})
    code, result, printed = module(one, buildset_registry=ZUUL_REGISTRY)
    assert (code, result["msg"]) == (0, f"registry.example:5000 {HIDDEN} zuul-user")
    assert SECRET not in printed


@pytest.mark.parametrize("credentials", [{"quay.io": {"username": "u", "passwd": SECRET}}, {"quay.io": f"u:{SECRET}"}])
def test_malformed_credentials_are_in_no_invocation(module: t.Any, credentials: t.Any) -> None:
    # Newer ones tell their arguments only if they are asked to, older ones refuse to be asked.
    asked = {"_ansible_inject_invocation": True} if "_ansible_inject_invocation" in inspect.getsource(basic) else {}
    code, result, printed = module(entry(lambda *dummy: {"msg": "done"}), credentials=credentials, **asked)
    assert code == 0
    assert result["invocation"]["module_args"]["credentials"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert SECRET not in printed
