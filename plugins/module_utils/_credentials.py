# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The credentials that users give: one entry for each registry, checked and made into values."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
    check_keys,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    normal_registry,
    split_registry,
)

#: The registry software that an entry's ``type`` may name.
TYPES = ("docker", "quay", "harbor", "gitlab", "ghcr", "ecr", "acr", "gar", "artifactory", "nexus", "oci")

#: Keys of an entry that are secret.
SECRET_KEYS = ("password", "api_token", "client_key")


@dataclasses.dataclass(frozen=True)
class Login:
    """Who to be at a registry. No secret is in its ``repr``.

    :param identity_token: an OAuth2 refresh token, to be exchanged for tokens instead of a password.
    :param registry_token: a bearer token to be sent as it is.
    :param renew_at: when it is to be replaced, in seconds of ``time.monotonic``.
    """

    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    identity_token: str = dataclasses.field(default="", repr=False)
    registry_token: str = dataclasses.field(default="", repr=False)
    renew_at: float = dataclasses.field(default=float("inf"), compare=False)


@dataclasses.dataclass(frozen=True)
class Access:
    """How to reach one registry, and as whom.

    :param login: ``None`` when the entry has none: then the auth files of the container tools are asked.
    :param scheme: ``https``, ``http``, or ``None`` where the name alone decides.
    :param permitted: what a repository's full name must match (searched) for this entry to be used.
    :param ca_cert: PEM text or a path, as are ``client_cert`` and ``client_key``.
    :param given: whether the user gave an entry at all, which may be empty.
    """

    registry: str
    login: Login | None = None
    permitted: re.Pattern[str] | None = None
    scheme: str | None = None
    tls_verify: bool = True
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = dataclasses.field(default="", repr=False)
    type: str = ""
    api_url: str = ""
    api_token: str = dataclasses.field(default="", repr=False)
    given: bool = dataclasses.field(default=False, compare=False)


_KEYS = (
    "username", "password", "repository", "api_token", "type", "api_url",
    "scheme", "tls_verify", "ca_cert", "client_cert", "client_key",
)  # fmt: skip


class Credentials:
    """All the entries of ``container_registry_credentials``.

    :param entries: what the user gave: registry name to a dict of the keys that the contract lists.
    :param api_urls: of registries' own APIs, in place of what their entries say.
    :raises InputError: an entry is malformed; the message names registry and key, never a value.
    """

    def __init__(self, entries: t.Mapping[str, t.Any] | None = None, api_urls: t.Mapping[str, str] | None = None) -> None:
        self._api_urls = {registry: _check_url(url, f"{registry}: api_url") for registry, url in (api_urls or {}).items()}
        self._entries = {}
        for registry, entry in (entries or {}).items():
            if not isinstance(registry, str):
                raise InputError(f"container_registry_credentials: {registry!r} is not the name of a registry: put it in quotes")
            if "{{" in registry:
                raise InputError(
                    f"container_registry_credentials[{registry}]: Ansible renders no templates in keys: write the whole dictionary as one template"
                )
            split_registry(registry)
            if normal_registry(registry) in self._entries:
                raise InputError(f"container_registry_credentials has two entries for {normal_registry(registry)}: keep one")
            self._entries[normal_registry(registry)] = _parse_entry(registry, entry)

    def joined(self, other: Credentials) -> Credentials:
        """These entries, and those of others for further registries."""
        both = Credentials()
        both._entries = {**other._entries, **self._entries}
        return both

    def access(self, registry: str) -> Access:
        """The entry of a registry, or one that holds nothing but its name."""
        name = normal_registry(registry)
        access = self._entries.get(name) or Access(name)
        return dataclasses.replace(access, api_url=self._api_urls.get(name) or access.api_url)

    def check_target(self, repository: Reference) -> None:
        """Refuse a repository that must not be written to.

        :raises InputError: credentials were given but none for its registry, or their ``repository`` does not match.
        """
        if not self._entries:
            return
        access = self._entries.get(normal_registry(repository.registry))
        if access is None:
            raise InputError(
                f"{repository.name}: container_registry_credentials has no entry for {repository.registry} (it has {', '.join(sorted(self._entries))}): add one"
            )
        if access.permitted is not None and not access.permitted.search(repository.name):
            raise InputError(
                f"{repository.name}: the credentials for {repository.registry} permit only repositories that match"
                f" {access.permitted.pattern!r}: change the name or the credentials' 'repository'"
            )


def secrets_of(entries: t.Any) -> set[str]:
    """The secret values in what a user gave as credentials, however malformed the rest is: all that are not known to be none."""
    found: set[str] = set()
    for entry in entries.values() if isinstance(entries, t.Mapping) else [entries]:
        if isinstance(entry, t.Mapping):
            for key, value in entry.items():
                if key == "password" and _is_key_file(entry):
                    # Of the rest nothing is secret: the project is a part of the names of images.
                    value = [_password(entry), *(value.get(name) for name in ("private_key", "private_key_id"))]
                if key not in _KEYS or key in SECRET_KEYS:
                    found.update(_texts(value))
        else:
            found.update(_texts(entry))
    return found


def _is_key_file(entry: t.Mapping[str, t.Any]) -> bool:
    """Whether the password is a service account's key of Google: JSON, of which Ansible before 2.19 makes a dictionary."""
    password = entry.get("password")
    return entry.get("username") == "_json_key" and isinstance(password, t.Mapping) and "private_key" in password


def _password(entry: t.Mapping[str, t.Any]) -> t.Any:
    return json.dumps(entry["password"]) if _is_key_file(entry) else entry.get("password")


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, t.Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool) and str(value):
        yield str(value)


def _parse_entry(registry: str, entry: t.Any) -> Access:
    where = f"container_registry_credentials[{registry}]"
    if not isinstance(entry, t.Mapping):
        raise InputError(f"{where} is to be a dictionary with username and password")
    check_keys(where, entry, _KEYS)
    text = {key: _text(where, key, _password(entry) if key == "password" else entry.get(key)) for key in _KEYS if key != "tls_verify"}
    if bool(text["username"]) != bool(text["password"]):
        raise InputError(f"{where} has only one of username and password: give both or none")
    if bool(text["client_cert"]) != bool(text["client_key"]):
        raise InputError(f"{where} has only one of client_cert and client_key: give both or none")
    if text["scheme"] not in ("", "http", "https"):
        raise InputError(f"{where}: scheme is to be http or https")
    if text["type"] and text["type"] not in TYPES:
        raise InputError(f"{where}: type is to be one of {', '.join(TYPES)}")
    _check_url(text["api_url"], f"{where}: api_url")
    tls_verify = entry.get("tls_verify", True)
    if not isinstance(tls_verify, bool):
        raise InputError(f"{where}: tls_verify is to be true or false")
    try:
        permitted = re.compile(text["repository"]) if text["repository"] else None
    except (re.error, OverflowError, RecursionError) as exc:
        raise InputError(f"{where}: repository is no regular expression: {exc}") from None
    return Access(
        registry=normal_registry(registry),
        login=Login(text["username"], text["password"]) if text["username"] else None,
        permitted=permitted,
        scheme=text["scheme"] or None,
        tls_verify=tls_verify,
        given=True,
        **{key: text[key] for key in ("ca_cert", "client_cert", "client_key", "type", "api_url", "api_token")},
    )


def _check_url(url: str, what: str) -> str:
    """Return what is empty or an HTTP URL without a login in it.

    :raises InputError: it is something else.
    """
    if url and not re.fullmatch(r"https?://[^\s@?#]+", url):
        raise InputError(f"{what} is to be a URL such as https://quay.example.com, without a login")
    return url


def _text(where: str, key: str, value: t.Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is to be a text: put it in quotes")
    return str(value)
