# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Authorization at a registry: challenges, Basic, and bearer tokens.

The token flow is that of the distribution project ("Token Authentication Specification"), with what the registries
really do.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import json
import re
import socket
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
    mask,
    registry_message,
)

_CLIENT_ID = "gating.containers"
_DEFAULT_LIFETIME = 60.0  # seconds, where the server does not say ("Token Authentication Specification": expires_in)
_MARGIN = 10.0  # seconds before its end at which a token is renewed

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*(?=,|$))")
_PARAMETER = re.compile(rf"[\s,]*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))\s*(?=,|$)")


@dataclasses.dataclass(frozen=True)
class Challenge:
    """One challenge of a ``WWW-Authenticate`` header: its scheme in lower case, and its parameters."""

    scheme: str
    parameters: t.Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a ``WWW-Authenticate`` header (RFC 9110, 11.6.1); what cannot be read is left out."""
    found = []
    at = 0
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if not scheme:
            break
        at = scheme.end()
        parameters = {}
        while True:
            parameter = _PARAMETER.match(header, at)
            if not parameter:
                break
            quoted, plain = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def actions_in_scope(scope: str, repository: str) -> tuple[str, ...]:
    """The actions that a challenge's scope asks for on a repository, none if it speaks of anything else.

    The scope of some registries is no scope at all (zuul-registry: ``read``).
    """
    found: list[str] = []
    for part in scope.split():
        kind, dummy, rest = part.partition(":")
        name, dummy, actions = rest.rpartition(":")
        if kind == "repository" and name == repository:
            found.extend(action for action in actions.split(",") if action)
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class _Token:
    value: str = dataclasses.field(repr=False)
    renew_at: float


class Authenticator:
    """Gives the Authorization header for requests to one registry.

    :param registry: its name, for errors and for what is special about it.
    :param base_url: ``scheme://host[:port]`` of the registry.
    :param find_login: gives the login for a repository, or ``None``; second is one that was refused, where another may be had by now.
    :param request: makes one HTTP request: ``Transport.request``.
    :param actions: what is to be done on every repository: ``pull``, ``push``, ``delete``. One token for each
        repository is asked for with all of them.
    :param clock: seconds that only go forward.
    :param grants: repositories on which something else is to be done, as ``Registry.grant`` says; may grow later.
    """

    def __init__(
        self,
        registry: str,
        base_url: str,
        find_login: t.Callable[[str, Login | None], Login | None],
        request: t.Callable[..., t.Any],
        actions: t.Sequence[str],
        clock: t.Callable[[], float] = time.monotonic,
        grants: t.Mapping[str, tuple[t.Sequence[str], t.Sequence[str]]] | None = None,
    ) -> None:
        self._registry = registry
        self._base_url = base_url
        self._find_login = find_login
        self._request = request
        self._actions = list(actions)
        self._grants = {} if grants is None else grants
        self._clock = clock
        self._challenge: Challenge | None = None
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._tokens: dict[str, _Token] = {}
        self._extra: dict[str, list[str]] = {}
        self._logins: dict[str, Login | None] = {}
        self._secrets: set[str] = set()

    def clean(self, text: str) -> str:
        """Take everything that was sent as an authorization out of a text, such as a registry's own words."""
        return mask(text, self._secrets)

    def learn(self, header: str) -> bool:
        """Remember how the registry wants to be asked, from a ``WWW-Authenticate`` header; false if it says nothing usable."""
        challenges = {
            challenge.scheme: challenge for challenge in parse_challenges(header) if challenge.scheme != "bearer" or challenge.parameters.get("realm")
        }
        challenge = challenges.get("bearer") or challenges.get("basic")
        if challenge is None:
            return False
        self._challenge = challenge
        return True

    def authorization(self, repository: str, source: str = "") -> str | None:
        """The header's value for a request on a repository, ``None`` to send none.

        :param source: another repository, from which the request mounts a blob.
        :raises RegistryError: the token server refused, or cannot be trusted with the login.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            login = self._login(repository)
            return "Basic " + self._basic(login) if login and login.password else None
        actions, granted = self._grants.get(repository, (self._actions, ()))
        sources = [*granted, *([source] if source and source not in granted else [])]
        # What is to be done there may have grown since the last token.
        key = " ".join((repository, ",".join(actions), *sources[len(granted) :]))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            token = self._tokens.get(key)
            if token is None or self._clock() >= token.renew_at:
                token = self._tokens[key] = self._fetch(challenge, repository, sources)
        return "Bearer " + token.value

    def rejected(self, header: str, repository: str, used: str | None) -> bool:
        """Learn from a 401 and say whether the request is worth another try.

        :param header: its ``WWW-Authenticate``.
        :param used: the Authorization that it rejected.
        """
        before = self._challenge
        learned = self.learn(header)
        if used is None and self._challenge is not None:
            return bool(self._challenge.scheme == "bearer" or self._login(repository))
        if self._challenge is None or self._challenge.scheme != "bearer":
            return (self._challenge != before and learned) or self.renewed(repository, used)
        wanted = actions_in_scope(self._challenge.parameters.get("scope", ""), repository)
        with self._lock:
            extra = self._extra.setdefault(repository, [])
            extra.extend(action for action in wanted if action not in extra)
            for key in [key for key, token in self._tokens.items() if used == "Bearer " + token.value]:
                del self._tokens[key]
        return True

    def renewed(self, repository: str, used: str | None) -> bool:
        """Whether there is another login now than the one that a registry refused: that of a credential helper may have expired.

        :param used: the Authorization that it refused.
        """
        if not used or not used.startswith("Basic "):
            return False
        login = self._login(repository)
        return login is not None and ("Basic " + self._basic(login) != used or self._renew(repository, login))

    def _renew(self, repository: str, refused: Login) -> bool:
        """Look up a login anew, and say whether it is another one."""
        with self._lock:
            if self._logins.get(repository) == refused:
                self._logins[repository] = self._find_login(repository, refused)
            return self._logins[repository] not in (None, refused)

    def _login(self, repository: str) -> Login | None:
        with self._lock:
            # Looked up once: a credential helper is a process of its own.
            login = self._logins.get(repository)
            if repository not in self._logins or (login is not None and self._clock() >= login.renew_at):
                login = self._logins[repository] = self._find_login(repository, None)
        if login:
            self._secrets.update(text for text in (login.password, login.identity_token, login.registry_token) if text)
        return login

    def _basic(self, login: Login) -> str:
        text = base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")
        self._secrets.add(text)
        return text

    def _fetch(self, challenge: Challenge, repository: str, sources: t.Sequence[str]) -> _Token:
        login = self._login(repository)
        if login and login.registry_token:
            return _Token(login.registry_token, float("inf"))
        realm = challenge.parameters["realm"]
        self._check_realm(realm)
        response = self._ask_for(realm, challenge, repository, sources, login)
        if response.status_code in (401, 403) and login and self._renew(repository, login):
            login = self._login(repository)
            response = self._ask_for(realm, challenge, repository, sources, login)
        if response.status_code != 200:
            raise self._refused(response, repository, login)
        try:
            content = response.json()
            value = content.get("token") or content.get("access_token")
            lifetime = float(content.get("expires_in") or _DEFAULT_LIFETIME)
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            value = None
        if not isinstance(value, str) or not value:
            raise RegistryError(f"{self._registry}/{repository}: the token server {_netloc(realm)} answered 200 without a token: it may not be a token server")
        self._secrets.add(value)
        return _Token(value, self._clock() + max(lifetime - _MARGIN, lifetime / 2))

    def _ask_for(self, realm: str, challenge: Challenge, repository: str, sources: t.Sequence[str], login: Login | None) -> t.Any:
        response = None
        # What is to be mounted from elsewhere must be readable there with the same token.
        others = [f"repository:{other}:pull" for other in sources]
        for actions in self._action_sets(repository):
            response = self._ask(realm, challenge.parameters.get("service", ""), [f"repository:{repository}:{','.join(actions)}", *others], login)
            # Quay answers 400 to a scope with any action but push, pull and "*".
            if response.status_code != 400:
                break
        return response

    def _action_sets(self, repository: str) -> t.Iterator[list[str]]:
        """The actions to ask for, then what to ask for when the server does not know one of them."""
        usual = list(self._grants[repository][0]) if repository in self._grants else self._actions
        actions = usual + [action for action in self._extra.get(repository, []) if action not in usual]
        plain = [action for action in actions if action in ("pull", "push")]
        if self._registry != "quay.io":
            yield actions
        if self._registry == "quay.io" or plain != actions:
            yield plain
        if "push" in actions:
            yield ["*"]

    def _ask(self, realm: str, service: str, scopes: list[str], login: Login | None) -> t.Any:
        what = f"{self._registry}: GET token from {_netloc(realm)}"
        if login and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": " ".join(scopes),
                "client_id": _CLIENT_ID,
                "refresh_token": login.identity_token,
            }
            response = self._request("POST", realm, what=what, data=form)
            if response.status_code not in (401, 404, 405) or not login.password:
                return response
        parameters = [("scope", scope) for scope in scopes]
        if service:
            parameters.insert(0, ("service", service))
        authorization = "Basic " + self._basic(login) if login and login.password else None
        return self._request("GET", realm, what=what, params=parameters, authorization=authorization)

    def _check_realm(self, realm: str) -> None:
        """The login goes to the realm, and a registry may name any: never to plain HTTP from HTTPS, never into this machine from outside."""
        secure = self._base_url.startswith("https://")
        try:
            host = _host(realm)
        except ValueError:
            raise RegistryError(f"{self._registry}: it names the token server {realm!r}, which is no URL") from None
        if not (realm.startswith("https://") or (realm.startswith("http://") and not secure)):
            raise RegistryError(f"{self._registry}: it names the token server {realm!r}, to which no login is sent because it is not https")
        if _is_inside(host) and not _is_inside(_host(self._base_url)):
            raise RegistryError(f"{self._registry}: it names the token server {realm!r}, an address of this machine, to which no login is sent")

    def _refused(self, response: t.Any, repository: str, login: Login | None) -> RegistryError:
        status = response.status_code
        code, message = registry_message(response, self.clean)
        said = f"{status}" + (f" {code}" if code else "") + (f" {json.dumps(message, ensure_ascii=False)}" if message else "")
        who = f"the login {login.username!r}" if login and login.username else "the login" if login else "an anonymous request"
        if status in (401, 403):
            advice = "check username and password" if login else "give a login"
        elif status == 429:
            advice = "it limits the rate of requests, try later"
        else:
            advice = "try later, or look at the registry's log"
        return RegistryError(
            f"{self._registry}/{repository}: its token server answered {said} to {who}: {advice} for {self._registry} in container_registry_credentials",
            status,
            code or "UNAUTHORIZED",
        )


def _netloc(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url.replace("\\", "/")).hostname or ""


def _is_inside(host: str) -> bool:
    """Whether a host is this machine or its link, in any of the spellings that a resolver takes ("127.1", "0x7f.1", "localhost.")."""
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified
