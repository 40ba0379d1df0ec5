# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module, or the action of its name, runs an operation."""

from __future__ import annotations

import concurrent.futures
import inspect
import io
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time
import typing as t

import ansible_collections.gating.containers.plugins.module_utils._entry as entry_module
import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gating.containers.plugins.module_utils._command import run as run_command
from ansible_collections.gating.containers.plugins.module_utils._command import (
    stop_all,
    succeeds,
)
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


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("s3cr3t-Pa55w0rd", True),
        ("12345678", True),
        ("1234567", False),
        # Part of a name.
        ("quay.io/example", False),
        ("quay.io/example/app", False),
        # Part of what else the image says of itself.
        ("registry.example:5000/base", False),
        ("quay.io/example/other", True),
    ],
)
def test_of_the_environment_of_a_build_what_is_in_the_list_of_images_is_not_hidden(value: str, hidden: bool) -> None:
    images = [{"repository": "quay.io/example/app", "tags": ["latest"], "build_args": ["BASE=registry.example:5000/base"]}]
    told = {"names": ["quay.io/example/app:latest"], "stderr": f"it says {value} here"}
    result = execute(Entry({}, lambda *dummy: {"msg": "done", **told}), {"env": {"NAME": value, "OTHER": SECRET}, "images": images}, False)
    assert result["stderr"] == f"it says {HIDDEN if hidden else value} here"
    assert result["names"] == ["quay.io/example/app:latest"]


def test_a_number_in_the_environment_of_a_build_is_hidden_as_text() -> None:
    result = execute(Entry({}, lambda *dummy: {"msg": "it says 1234567890"}), {"env": {"PIN": 1234567890, "LEVEL": 1}, "images": []}, False)
    assert result["msg"] == f"it says {HIDDEN}"


@pytest.mark.parametrize("name", ["credentials", "buildset_registry"])
def test_a_password_is_hidden_even_if_an_image_has_its_name(name: str) -> None:
    value: t.Any = {"host": "a.b", "password": "example1"}
    params = {name: {"quay.io": value} if name == "credentials" else value, "images": [{"repository": "quay.io/example1/app"}]}
    assert execute(Entry({}, lambda *dummy: {"msg": "used example1"}), params, False)["msg"] == f"used {HIDDEN}"


# -- signals ---------------------------------------------------------------------------------------------------------------------


PATIENCE = 5  # seconds until a test fails instead of hanging
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Tells that it runs, and then runs for longer than any test.
ENDLESS = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(20)"


def handlers() -> list[t.Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def in_a_child(function: t.Callable[[], object], meanwhile: t.Callable[[int], object] = id) -> int:
    """How a process ends that runs a function with the usual handlers: 0, 1 if it raises; negative, the number of the signal.

    :param meanwhile: is called with its id.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            function()
            code = 0
        finally:
            os._exit(code)
    try:
        meanwhile(pid)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError("it did not end")
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def wait_for(path: pathlib.Path) -> str:
    """What is written into a file as soon as there is something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


@pytest.fixture
def private(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where temporary directories are made, and nothing else."""
    directory = tmp_path / "private"
    directory.mkdir()
    return directory


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_signal_ends_the_process_after_its_commands_and_its_files(tmp_path: pathlib.Path, private: pathlib.Path, number: int, threads: int) -> None:
    pids = [tmp_path / f"pid{one}" for one in range(threads or 1)]

    def work(path: pathlib.Path) -> None:
        with tempfile.TemporaryDirectory(dir=private) as directory:
            (pathlib.Path(directory) / "login").touch()
            run_command("it", [sys.executable, "-c", ENDLESS, str(path)])

    def run(*dummy: object) -> dict[str, t.Any]:
        if not threads:
            work(pids[0])
        with concurrent.futures.ThreadPoolExecutor(threads or 1) as pool:
            concurrent.futures.wait([pool.submit(work, path) for path in pids])
        return {}

    def interrupt(pid: int) -> None:
        for path in pids:
            wait_for(path)
        assert len(list(private.iterdir())) == len(pids)
        os.kill(pid, number)

    assert in_a_child(lambda: execute(entry(run), {}, False), interrupt) == -number
    assert list(private.iterdir()) == []
    assert [path for path in pids if is_there(int(path.read_text()))] == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_reaches_the_handler_that_was_there_before(tmp_path: pathlib.Path, private: pathlib.Path, number: int) -> None:
    def own(received: int, dummy: object) -> t.NoReturn:
        (tmp_path / "seen").write_text(f"{received} {len(list(private.iterdir()))} {[other for other in SIGNALS if signal.getsignal(other) is own]}")
        os._exit(7)

    def run(*dummy: object) -> dict[str, t.Any]:
        with tempfile.TemporaryDirectory(dir=private):
            signal.raise_signal(number)
        return {}

    def child() -> None:
        for one in SIGNALS:
            signal.signal(one, own)
        execute(entry(run), {}, False)

    assert in_a_child(child) == 7
    # Nothing was left any more, and all of them were there again.
    assert (tmp_path / "seen").read_text() == f"{int(number)} 0 {SIGNALS}"


@pytest.mark.parametrize("number", SIGNALS)
def test_after_a_signal_no_further_command_is_begun(tmp_path: pathlib.Path, number: int) -> None:
    def work() -> None:
        # As a look at what is there before a build: that it was stopped is no failure.
        succeeds([sys.executable, "-c", ENDLESS, str(tmp_path / "first")])
        try:
            run_command("it", [sys.executable, "-c", ENDLESS, str(tmp_path / "second")])
        finally:
            succeeds([sys.executable, "-c", "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(tmp_path / "cleaned")])

    def run(*dummy: object) -> dict[str, t.Any]:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            concurrent.futures.wait([pool.submit(work)])
        return {}

    def interrupt(pid: int) -> None:
        wait_for(tmp_path / "first")
        os.kill(pid, number)

    assert in_a_child(lambda: execute(entry(run), {}, False), interrupt) == -number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cleaned", "first"]


def test_a_signal_to_an_earlier_run_does_not_stop_the_commands_of_this_one() -> None:
    def child() -> None:
        stop_all()
        assert execute(entry(lambda *dummy: {"msg": run_command("it", [sys.executable, "-c", "print(5)"]).stdout}), {}, False) == {"msg": "5\n"}

    assert in_a_child(child) == 0


def test_an_interrupt_from_the_keyboard_stays_one(private: pathlib.Path) -> None:
    def run(*dummy: object) -> dict[str, t.Any]:
        with tempfile.TemporaryDirectory(dir=private):
            signal.raise_signal(signal.SIGINT)
        return {}

    def child() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            execute(entry(run), {}, False)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    assert in_a_child(child) == 0
    assert list(private.iterdir()) == []


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_does_not_disturb_the_cleaning_up(private: pathlib.Path, second: int) -> None:
    def run(*dummy: object) -> dict[str, t.Any]:
        try:
            (private / "login").touch()
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(second)
            (private / "login").unlink()
        return {}

    assert in_a_child(lambda: execute(entry(run), {}, False)) == -signal.SIGTERM
    assert list(private.iterdir()) == []


@pytest.mark.parametrize("error", [ContainersError("no"), KeyError("a bug")])
def test_a_signal_counts_more_than_an_error_of_the_cleaning_up(error: Exception) -> None:
    def run(*dummy: object) -> dict[str, t.Any]:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise error

    assert in_a_child(lambda: execute(entry(run), {}, False)) == -signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number: int) -> None:
    def run(*dummy: object) -> dict[str, t.Any]:
        signal.raise_signal(number)
        return {"msg": [signal.getsignal(other) == signal.SIG_IGN for other in SIGNALS]}

    def child() -> None:
        signal.signal(number, signal.SIG_IGN)
        assert execute(entry(run), {}, False) == {"msg": [other == number for other in SIGNALS]}
        assert handlers() == [signal.SIG_IGN if other == number else signal.SIG_DFL for other in SIGNALS]

    assert in_a_child(child) == 0


@pytest.mark.parametrize("error", [None, ContainersError("no"), KeyError("a bug"), SystemExit(3)])
def test_after_a_run_the_handlers_are_as_before(error: BaseException | None) -> None:
    seen: list[t.Any] = []

    def run(*dummy: object) -> dict[str, t.Any]:
        seen.extend(handlers())
        if error:
            raise error
        return {}

    before = handlers()
    try:
        execute(entry(run), {}, False)
    except SystemExit:
        assert isinstance(error, SystemExit)
    assert handlers() == before
    assert len(seen) == len(SIGNALS)
    assert [one for one in seen if one in before and one != signal.SIG_IGN] == []


def test_in_another_thread_no_handler_is_installed() -> None:
    before = handlers()
    seen: list[t.Any] = []
    results: list[t.Any] = []

    def run(*dummy: object) -> dict[str, t.Any]:
        seen.extend(handlers())
        return {"msg": "done"}

    thread = threading.Thread(target=lambda: results.append(execute(entry(run), {}, False)))
    thread.start()
    thread.join(PATIENCE)
    assert (results, seen, handlers()) == ([{"msg": "done"}], before, before)


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
