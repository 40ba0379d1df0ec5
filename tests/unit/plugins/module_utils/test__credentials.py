# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The credentials that users give."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    TYPES,
    Access,
    Credentials,
    Login,
    secrets_of,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s3cr3t-Pa55w0rd"


def parse(text: str) -> Reference:
    return Reference.parse_repository(text)


def test_an_entry_with_everything() -> None:
    access = Credentials(
        {
            "localhost:5000": {
                "username": "me",
                "password": SECRET,
                "repository": "^localhost:5000/a/",
                "api_token": "token",
                "type": "quay",
                "api_url": "https://api.example",
                "scheme": "http",
                "tls_verify": False,
                "ca_cert": "/ca.pem",
                "client_cert": "/cert.pem",
                "client_key": "/key.pem",
            }
        }
    ).access("localhost:5000")
    assert access == Access(
        registry="localhost:5000",
        login=Login("me", SECRET),
        permitted=re.compile("^localhost:5000/a/"),
        scheme="http",
        tls_verify=False,
        ca_cert="/ca.pem",
        client_cert="/cert.pem",
        client_key="/key.pem",
        type="quay",
        api_url="https://api.example",
        api_token="token",
    )


@pytest.mark.parametrize("entry", [{}, {"username": None, "password": None, "scheme": None, "ca_cert": ""}])
def test_an_entry_with_nothing(entry: dict[str, t.Any]) -> None:
    access = Credentials({"quay.io": entry}).access("quay.io")
    assert access == Access("quay.io")
    assert (access.login, access.permitted, access.scheme, access.tls_verify) == (None, None, None, True)


@pytest.mark.parametrize("entries", [None, {}, {"ghcr.io": {"username": "me", "password": SECRET}}])
def test_a_registry_without_an_entry(entries: t.Any) -> None:
    assert Credentials(entries).access("Quay.io") == Access("quay.io")


@pytest.mark.parametrize("given_as", ["docker.io", "index.docker.io", "registry-1.docker.io", "DOCKER.io"])
@pytest.mark.parametrize("asked_as", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_one_entry_under_all_its_names(given_as: str, asked_as: str) -> None:
    access = Credentials({given_as: {"username": "me", "password": SECRET}}).access(asked_as)
    assert (access.registry, access.login) == ("docker.io", Login("me", SECRET))


@pytest.mark.parametrize("name", ["docker.io.example", "mydocker.io", "quay.io:443", "quay.iox"])
def test_a_registry_is_never_known_by_a_part_of_its_name(name: str) -> None:
    entry = {"username": "me", "password": SECRET}
    assert Credentials({"docker.io": entry, "quay.io": entry}).access(name).login is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("me:" + SECRET, ["dictionary"]),
        ([SECRET], ["dictionary"]),
        (None, ["dictionary"]),
        ({"user": "me", "password": SECRET}, ["'user'", "'username'"]),
        ({"pasword": SECRET}, ["'pasword'", "'password'"]),
        ({"zzz": SECRET}, ["'zzz'", "tls_verify"]),
        ({5: SECRET}, ["unknown key 5"]),
        ({"username": "me"}, ["only one of username and password"]),
        ({"password": SECRET}, ["only one of username and password"]),
        ({"username": "me", "password": ""}, ["only one of username and password"]),
        ({"client_cert": "x"}, ["only one of client_cert and client_key"]),
        ({"client_key": SECRET}, ["only one of client_cert and client_key"]),
        ({"username": "me", "password": 12345678}, ["password is to be a text", "quotes"]),
        ({"username": 5, "password": SECRET}, ["username is to be a text"]),
        ({"username": "me", "password": [SECRET]}, ["password is to be a text"]),
        ({"scheme": "ftp"}, ["scheme", "http or https"]),
        ({"scheme": "HTTPS"}, ["scheme", "http or https"]),
        ({"type": "dockerhub"}, ["type", "artifactory"]),
        ({"tls_verify": "no"}, ["tls_verify", "true or false"]),
        ({"tls_verify": 0}, ["tls_verify", "true or false"]),
        ({"tls_verify": None}, ["tls_verify", "true or false"]),
        ({"repository": "("}, ["repository", "regular expression"]),
        ({"repository": ["a"]}, ["repository", "text"]),
    ],
)
def test_refuses_an_entry(entry: t.Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Credentials({"quay.io": entry})
    message = str(caught.value)
    assert message.startswith("container_registry_credentials[quay.io]")
    assert [word for word in words if word not in message] == []
    assert SECRET not in message
    assert "12345678" not in message


@pytest.mark.parametrize("registry", ["quay.io/example", "https://quay.io", "", "a b", "quay.io:0", "user@quay.io"])
def test_refuses_the_name_of_a_registry(registry: str) -> None:
    with pytest.raises(InputError, match="not the name of a registry"):
        Credentials({registry: {"username": "me", "password": SECRET}})


def test_a_template_as_a_key_is_explained() -> None:
    with pytest.raises(InputError, match="renders no templates in keys"):
        Credentials({"{{ registry }}": {}})


def test_a_key_that_is_no_text() -> None:
    with pytest.raises(InputError, match="5000"):
        Credentials({5000: {}})  # type: ignore[dict-item]


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 5000])
def test_a_pattern_that_re_cannot_take(pattern: str) -> None:
    with pytest.raises(InputError, match="repository is no regular expression"):
        Credentials({"quay.io": {"repository": pattern}})


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_the_contract_is_known(kind: str) -> None:
    assert Credentials({"quay.io": {"type": kind}}).access("quay.io").type == kind


def test_the_types_are_those_of_the_contract() -> None:
    assert set(TYPES) == {"docker", "quay", "harbor", "gitlab", "ghcr", "ecr", "acr", "gar", "artifactory", "nexus", "oci"}


@pytest.mark.parametrize(
    ("pattern", "name", "permitted"),
    [
        ("^quay.io/example/", "quay.io/example/a", True),
        ("^quay.io/example/", "quay.io/other/a", False),
        ("example", "quay.io/my-example-x", True),  # searched, not matched
        ("^example/", "quay.io/example/a", False),  # the registry's name is part of it
        ("image$", "quay.io/a/image", True),
        ("image$", "quay.io/a/image2", False),
        (None, "quay.io/anything", True),
    ],
)
def test_the_repositories_that_credentials_permit(pattern: str | None, name: str, permitted: bool) -> None:
    credentials = Credentials({"quay.io": {"username": "me", "password": SECRET, "repository": pattern}})
    if permitted:
        credentials.check_target(parse(name))
        return
    with pytest.raises(InputError) as caught:
        credentials.check_target(parse(name))
    assert str(caught.value).startswith(f"{name}: ")
    assert repr(pattern) in str(caught.value)


def test_a_target_without_an_entry_is_refused_when_there_are_credentials() -> None:
    with pytest.raises(InputError, match=re.escape("quay.io/a: container_registry_credentials has no entry for quay.io (it has docker.io, ghcr.io)")):
        Credentials({"ghcr.io": {}, "index.docker.io": {}}).check_target(parse("quay.io/a"))


@pytest.mark.parametrize("entries", [None, {}])
def test_any_target_will_do_without_credentials(entries: t.Any) -> None:
    Credentials(entries).check_target(parse("quay.io/a"))


@pytest.mark.parametrize(
    ("entries", "secrets"),
    [
        ({"a": {"password": "p", "api_token": "t", "client_key": "k", "username": "u", "ca_cert": "c"}}, {"p", "t", "k"}),
        ({"a": {"password": "p"}, 5: {"password": "q"}, "b": None, "c": "text"}, {"p", "q", "text"}),
        # What is misspelt may be the password.
        ({"a": {"username": "u", "passwd": "p", "scheme": "http", "tokens": ["t", {"x": "y"}], "yes": True}}, {"p", "t", "y"}),
        ({"a": {"password": 123, "api_token": None, "client_key": ""}}, {"123"}),
        (None, set()),
        ([], set()),
        ("text", {"text"}),
        ({}, set()),
    ],
)
def test_secrets_of(entries: t.Any, secrets: set[str]) -> None:
    assert secrets_of(entries) == secrets


def test_no_secret_is_in_a_repr() -> None:
    shown = repr(Credentials({"a.b": {"username": "me", "password": SECRET, "api_token": SECRET, "client_cert": "c", "client_key": SECRET}}).access("a.b"))
    assert "'me'" in shown
    assert SECRET not in shown
    assert SECRET not in repr(Login("me", SECRET, SECRET, SECRET))


_KEYS = st.sampled_from(["username", "password", "repository", "api_token", "type", "scheme", "tls_verify", "ca_cert", "client_cert", "client_key", "passwort"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["https", "quay", "(", "[a", "*", SECRET]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
_NAMES = st.text(max_size=9) | st.sampled_from(["quay.io", "localhost:5000", "[::1]:5000", "docker.io", "{{ x }}", "a b"])


@given(st.dictionaries(_NAMES, _VALUES | st.dictionaries(_KEYS | st.text(max_size=4) | st.integers() | st.none(), _VALUES, max_size=5), max_size=3))
def test_any_credentials_are_taken_or_an_input_error_without_secrets(entries: dict[str, t.Any]) -> None:
    try:
        credentials = Credentials(entries)
        credentials.check_target(Reference("quay.io", "a"))
    except InputError as exc:
        assert SECRET not in str(exc)
        return
    access = credentials.access("quay.io")
    assert access.registry == "quay.io"
    assert SECRET not in repr(access.login)


@given(st.sampled_from(["password", "api_token", "client_key"]), _VALUES, st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_no_error_ever_shows_a_secret(key: str, value: t.Any, rest: dict[str, t.Any]) -> None:
    # Not where the same text stands in another key, that is no secret of ours.
    rest = {name: other for name, other in rest.items() if SECRET not in repr(other)}
    for secret in (SECRET, [SECRET], {"x": SECRET}, {SECRET: value}):
        entry = {**rest, key: secret}
        try:
            Credentials({"quay.io": entry}).check_target(Reference("docker.io", "library/a"))
        except InputError as exc:
            assert SECRET not in str(exc)
        if isinstance(secret, str):
            assert SECRET in secrets_of({"quay.io": entry})


def test_two_entries_for_one_registry() -> None:
    with pytest.raises(InputError, match="two entries for docker.io"):
        Credentials({"docker.io": {}, "index.docker.io": {}})


KEY_FILE = {"type": "service_account", "project_id": "my-project", "private_key_id": "5f2d8e0c", "private_key": "-----BEGIN PRIVATE KEY-----", "client_id": "1"}


def test_a_key_file_of_google_is_sent_as_json() -> None:
    """Ansible before 2.19 makes a dictionary of a text that looks like one."""
    text = json.dumps(KEY_FILE, indent=2)
    for password in (text, KEY_FILE):
        entries = {"europe-docker.pkg.dev": {"username": "_json_key", "password": password}}
        login = Credentials(entries).access("europe-docker.pkg.dev").login
        assert login is not None
        assert json.loads(login.password) == KEY_FILE
        assert login.password in secrets_of(entries)
    assert secrets_of({"x.example": {"username": "_json_key", "password": KEY_FILE}}) == {json.dumps(KEY_FILE), "5f2d8e0c", "-----BEGIN PRIVATE KEY-----"}


@pytest.mark.parametrize(("username", "password"), [("me", KEY_FILE), ("_json_key", {"project_id": "my-project"}), ("_json_key_base64", KEY_FILE)])
def test_any_other_dictionary_is_no_password(username: str, password: t.Any) -> None:
    entries = {"europe-docker.pkg.dev": {"username": username, "password": password}}
    with pytest.raises(InputError, match="password is to be a text"):
        Credentials(entries)
    assert "my-project" in secrets_of(entries)


def test_whether_there_is_an_entry() -> None:
    credentials = Credentials({"public.ecr.aws": {}})
    assert credentials.access("public.ecr.aws").given is True
    assert credentials.access("quay.io").given is False


@pytest.mark.parametrize("url", ["quay.io", "ftp://quay.io", "https://user:secret@quay.io", "https://quay.io/?a=secret", "https://", "https://a b"])
def test_an_api_url_that_is_none(url: str) -> None:
    for entries, urls in (({"quay.io": {"api_url": url}}, {}), ({}, {"quay.io": url})):
        with pytest.raises(InputError, match="quay.io.*: api_url is to be a URL") as caught:
            Credentials(entries, urls)
        assert "secret" not in str(caught.value)


def test_an_api_url_that_is_given_beside_goes_first() -> None:
    credentials = Credentials({"quay.io": {"api_url": "https://one.example", "api_token": "t"}}, {"quay.io": "https://two.example"})
    assert (credentials.access("quay.io").api_url, credentials.access("quay.io").api_token) == ("https://two.example", "t")
    assert Credentials({}, {"quay.io": "https://two.example"}).access("quay.io").api_url == "https://two.example"
    assert Credentials({"quay.io": {"api_url": "https://one.example"}}).access("quay.io").api_url == "https://one.example"


def test_entries_joined_with_others() -> None:
    one = Credentials({"quay.io": {"username": "one", "password": "x"}})
    other = Credentials({"quay.io": {"username": "other", "password": "y"}, "a.b": {"username": "other", "password": "y"}})
    both = one.joined(other)
    assert both.access("quay.io") == one.access("quay.io")
    assert both.access("a.b") == other.access("a.b")
    assert one.access("a.b").login is None
