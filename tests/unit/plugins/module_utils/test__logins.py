# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins that the container tools keep."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._credentials import Login
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._logins import (
    auth_files,
    find_login,
)

SECRET = "s3cr3t-Pa55w0rd"
HUB = "https://index.docker.io/v1/"


def auth(username: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture
def file(tmp_path: pathlib.Path) -> t.Callable[[t.Any], dict[str, str]]:
    """Writes an auth file and returns the environment that names it."""

    def write(content: t.Any) -> dict[str, str]:
        path = tmp_path / "auth.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return {"REGISTRY_AUTH_FILE": str(path)}

    return write


@pytest.fixture
def helper(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Callable[[], str]]:
    """Installs docker-credential-NAME, which prints something; returns a function that tells what it was asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def install(name: str, stdout: t.Any = "", stderr: str = "", code: int = 0) -> t.Callable[[], str]:
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        asked = tmp_path / f"asked-{name}"
        path = programs / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nprintf '%s ' \"$@\" >>'{asked}'\ncat >>'{asked}'\necho >>'{asked}'\necho '{text}'\necho '{stderr}' >&2\nexit {code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return lambda: asked.read_text() if asked.exists() else ""

    return install


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h", "XDG_RUNTIME_DIR": "/run/u"}, ["/run/u/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]),
        ({"HOME": "/h"}, [f"/run/containers/{os.getuid()}/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"},
            ["/r/containers/auth.json", "/c/containers/auth.json", "/d/config.json"],
        ),
        ({"HOME": "/h", "REGISTRY_AUTH_FILE": "/x.json", "XDG_RUNTIME_DIR": "/r"}, ["/x.json"]),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": ""},
            [f"/run/containers/{os.getuid()}/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"],
        ),
    ],
)
def test_auth_files(environ: dict[str, str], expected: list[str]) -> None:
    assert [str(path) for path in auth_files(environ)] == expected


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        (auth("me"), Login("me", SECRET)),
        (auth("me", "a:b:c"), Login("me", "a:b:c")),
        (auth("mé", "pä"), Login("mé", "pä")),
        (auth("me", SECRET + "\0\0"), Login("me", SECRET)),
        ({"username": "me", "password": SECRET}, Login("me", SECRET)),
        ({"username": "other", "password": "other", **auth("me")}, Login("me", SECRET)),
        ({"identitytoken": "refresh"}, Login(identity_token="refresh")),
        ({**auth("me", ""), "identitytoken": "refresh"}, Login("me", "", "refresh")),
        ({"registrytoken": "bearer"}, Login(registry_token="bearer")),
        ({}, None),
        (None, None),
        ("text", None),
        (auth("me", ""), None),
        ({"auth": ""}, None),
        ({"auth": "%%%"}, None),
        ({"auth": "a"}, None),
        ({"auth": "é"}, None),
        ({"auth": base64.b64encode(b"\xff\xfe:x").decode()}, None),
        ({"username": "me"}, None),
    ],
)
def test_entries(file: t.Any, entry: t.Any, login: Login | None) -> None:
    assert find_login("quay.io", "example/image", file({"auths": {"quay.io": entry}})) == login


def test_an_auth_that_is_no_text(file: t.Any) -> None:
    assert find_login("quay.io", "a", file({"auths": {"quay.io": {"auth": 5}}})) is None


@pytest.mark.parametrize(
    ("key", "registry", "found"),
    [
        ("quay.io", "quay.io", True),
        ("https://quay.io", "quay.io", True),
        ("http://quay.io/", "quay.io", True),
        ("https://quay.io/v1/", "quay.io", True),
        ("https://quay.io/v2/", "quay.io", True),
        (HUB, "docker.io", True),
        ("docker.io", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("registry-1.docker.io", "docker.io", True),
        ("localhost:5000", "localhost:5000", True),
        ("[::1]:5000", "[::1]:5000", True),
        ("localhost:5000", "localhost:5001", False),
        ("localhost", "localhost:5000", False),
        ("quay.io", "notquay.io", False),
        ("quay.io", "quay.io.example", False),
        ("docker.io", "mydocker.io", False),
        ("quay.io/example", "quay.io", True),
        ("quay.io/example/image", "quay.io", True),
        ("quay.io/exam", "quay.io", False),
        ("quay.io/example/image/more", "quay.io", False),
        ("quay.io/other", "quay.io", False),
    ],
)
def test_keys(file: t.Any, key: str, registry: str, found: bool) -> None:
    assert find_login(registry, "example/image", file({"auths": {key: auth("me")}})) == (Login("me", SECRET) if found else None)


def test_the_login_of_a_repository_named_v2_is_not_that_of_its_namespace(file: t.Any) -> None:
    assert find_login("quay.io", "example/image", file({"auths": {"quay.io/example/v2": auth("me")}})) is None


def test_the_longest_name_wins(file: t.Any) -> None:
    names = ["quay.io/example", "quay.io", "quay.io/example/image", "quay.io/other"]
    environ = file({"auths": {name: auth(name) for name in names}})
    for repository, name in [("example/image", "quay.io/example/image"), ("example/b", "quay.io/example"), ("x", "quay.io"), ("other/a/b", "quay.io/other")]:
        assert find_login("quay.io", repository, environ) == Login(name, SECRET)


@pytest.mark.parametrize("content", ["", "no json", "[]", "null", "5", '{"auths": []}', '{"auths": null}', '{"auths": {}}', '{"credHelpers": []}', "\x00"])
def test_files_that_hold_no_login(file: t.Any, content: str) -> None:
    assert find_login("quay.io", "a", file(content)) is None


def test_a_file_that_is_not_there_and_one_that_is_a_directory(tmp_path: pathlib.Path) -> None:
    assert find_login("quay.io", "a", {"REGISTRY_AUTH_FILE": str(tmp_path / "none")}) is None
    assert find_login("quay.io", "a", {"REGISTRY_AUTH_FILE": str(tmp_path)}) is None


def test_the_first_file_that_has_a_login_wins(tmp_path: pathlib.Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    files = auth_files(environ)
    for path in files:
        path.parent.mkdir(parents=True)
    files[0].write_text(json.dumps({"auths": {"ghcr.io": auth("zero")}}))
    files[1].write_text(json.dumps({"auths": {"quay.io": auth("one")}}))
    files[2].write_text(json.dumps({"auths": {"quay.io": auth("two"), "docker.io": auth("two")}}))
    assert find_login("ghcr.io", "a", environ) == Login("zero", SECRET)
    assert find_login("quay.io", "a", environ) == Login("one", SECRET)
    assert find_login("docker.io", "a", environ) == Login("two", SECRET)
    assert find_login("gcr.io", "a", environ) is None


@pytest.mark.parametrize(
    ("content", "registry", "server"),
    [
        ({"credHelpers": {"quay.io": "test"}}, "quay.io", "quay.io"),
        ({"credHelpers": {"https://quay.io": "test"}}, "quay.io", "quay.io"),
        ({"credHelpers": {"localhost:5000": "test"}}, "localhost:5000", "localhost:5000"),
        ({"credHelpers": {"docker.io": "test"}}, "docker.io", HUB),
        ({"credHelpers": {HUB: "test"}}, "docker.io", HUB),
        ({"credsStore": "test"}, "quay.io", "quay.io"),
        ({"credsStore": "test", "auths": {"quay.io": {}}}, "quay.io", "quay.io"),
        ({"credsStore": "other", "credHelpers": {"quay.io": "test"}, "auths": {"quay.io": auth("file")}}, "quay.io", "quay.io"),
    ],
)
def test_a_helper_is_asked(file: t.Any, helper: t.Any, content: t.Any, registry: str, server: str) -> None:
    asked = helper("test", {"ServerURL": server, "Username": "me", "Secret": SECRET})
    other = helper("other", {"Username": "other", "Secret": "other"})
    assert find_login(registry, "a/b", file(content)) == Login("me", SECRET)
    assert asked() == f"get {server}\n"
    assert other() == ""


def test_a_login_in_the_file_goes_before_the_store(file: t.Any, helper: t.Any) -> None:
    asked = helper("test", {"Username": "store", "Secret": SECRET})
    environ = file({"credsStore": "test", "auths": {"quay.io": auth("file")}})
    assert find_login("quay.io", "a", environ) == Login("file", SECRET)
    assert asked() == ""
    assert find_login("ghcr.io", "a", environ) == Login("store", SECRET)


def test_a_helper_of_another_registry_is_not_asked(file: t.Any, helper: t.Any) -> None:
    asked = helper("test", code=1)
    assert find_login("ghcr.io", "a", file({"credHelpers": {"quay.io": "test"}})) is None
    assert asked() == ""


def test_a_helper_gives_an_identity_token(file: t.Any, helper: t.Any) -> None:
    helper("test", {"Username": "<token>", "Secret": "refresh"})
    assert find_login("quay.io", "a", file({"credHelpers": {"quay.io": "test"}})) == Login(identity_token="refresh")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_helper_that_has_no_login(file: t.Any, helper: t.Any, stream: str) -> None:
    asked = helper("test", code=1, **{stream: "credentials not found in native keychain"})
    assert find_login("quay.io", "a", file({"credHelpers": {"quay.io": "test"}})) is None
    assert asked() == "get quay.io\n"


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "words"),
    [
        (SECRET, "boom " + SECRET, 3, ["failed with exit code 3", "docker-credential-test get"]),
        ("no json " + SECRET, "", 0, ["no login"]),
        ({"Username": SECRET}, "", 0, ["no login"]),
        ([SECRET], "", 0, ["no login"]),
        ("", "", 0, ["no login"]),
    ],
)
def test_a_helper_that_fails(file: t.Any, helper: t.Any, stdout: t.Any, stderr: str, code: int, words: list[str]) -> None:
    helper("test", stdout, stderr, code)
    with pytest.raises(ContainersError) as caught:
        find_login("quay.io", "a", file({"credHelpers": {"quay.io": "test"}}))
    message = str(caught.value)
    assert [word for word in ["quay.io: ", "docker-credential-test", *words] if word not in message] == []
    assert SECRET not in message
    assert len(message.splitlines()) == 1


def test_a_helper_that_is_not_installed(file: t.Any) -> None:
    with pytest.raises(ContainersError, match="quay.io: the credential helper docker-credential-nosuch could not be asked"):
        find_login("quay.io", "a", file({"credHelpers": {"quay.io": "nosuch"}}))


def test_a_helper_that_hangs(file: t.Any, helper: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ansible_collections.gating.containers.plugins.module_utils._logins as logins

    asked = helper("test")
    program = pathlib.Path(os.environ["PATH"].split(":")[0]) / "docker-credential-test"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(logins, "_HELPER_TIMEOUT", 0.2)
    with pytest.raises(ContainersError, match="could not be asked .TimeoutExpired."):
        find_login("quay.io", "a", file({"credHelpers": {"quay.io": "test"}}))
    assert asked() == ""
