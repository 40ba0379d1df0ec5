# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""A vendor's own HTTP API, in JSON, and the vendors that remove tags by theirs."""

from __future__ import annotations

import base64
import json
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    RegistryError,
    registry_message,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Removal,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    same_origin,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import (
    Vendor,
)

_PATIENCE = (0.5, 1, 2, 4)  # seconds between the looks whether a tag is gone

_ADVICE = {
    401: "check the login or api_token for {registry} in container_registry_credentials",
    403: "the login or api_token for {registry} needs the right to do this",
    404: "check the name, and api_url for {registry} in container_registry_credentials",
    412: "the registry forbids it, see its rules for tags",
    429: "it limits the rate of requests: try later, or lower parallel",
}


class Api:
    """A vendor's API.

    :param registry: whose it is; its connections, limits and TLS settings are used.
    :param base_url: what every path is appended to.
    :param authorize: gives the Authorization header, or ``None``; with true it is to get a new one, because the last was rejected.
    """

    def __init__(self, registry: Registry, base_url: str, authorize: t.Callable[[bool], str | None]) -> None:
        self.base_url = base_url.rstrip("/")
        self._registry = registry
        self._authorize = authorize
        self._lock = threading.Lock()
        self._authorization: str | None = None
        self._asked = False
        self._secrets: set[str] = set()

    def request(
        self,
        method: str,
        path: str,
        what: str,
        *statuses: int,
        params: t.Mapping[str, t.Any] | None = None,
        body: t.Any = None,
        headers: t.Mapping[str, str] | None = None,
    ) -> t.Any:
        """Make a request, once more with a new authorization after a 401, and return the answer.

        :param path: below the base URL, or a URL of the same server.
        :param what: names the request in errors.
        :param statuses: those that are no errors.
        :param body: bytes, or something to be sent as JSON.
        :raises RegistryError: any other status, or no answer.
        """
        url = path if "://" in path else self.base_url + path
        sent = {"Accept": "application/json", **(headers or {})}
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        options = {"what": what, "params": params, "data": data, "headers": sent}
        authorization = self.authorization()
        response = self._registry.transport.request(method, url, authorization=authorization, **options)
        if response.status_code == 401 and same_origin(response.url, self.base_url):
            renewed = self.authorization(authorization)
            if renewed != authorization:
                response = self._registry.transport.request(method, url, authorization=renewed, **options)
        if response.status_code not in statuses:
            raise self.error(response, what)
        return response

    def json(self, response: t.Any, what: str, kind: type = dict) -> t.Any:
        """The content of an answer.

        :raises RegistryError: it is no JSON of that kind.
        """
        try:
            content = response.json()
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, kind):
            raise RegistryError(f"{what}: {self._registry.name}'s API answered {response.status_code} with something else than was expected: check api_url")
        return content

    def authorization(self, rejected: str | None = None) -> str | None:
        """The Authorization header that is used.

        :param rejected: one that was answered with 401.
        """
        with self._lock:
            if not self._asked or (rejected is not None and rejected == self._authorization):
                self._authorization = self._authorize(self._asked)
                self._asked = True
                if self._authorization:
                    self._secrets.update((self._authorization, self._authorization.partition(" ")[2]))
            return self._authorization

    def secret(self, *texts: str) -> None:
        """Take these out of what errors say."""
        self._secrets.update(text for text in texts if text)

    def error(self, response: t.Any, what: str) -> RegistryError:
        """An answer as an error: what was asked, what came back, what to do."""
        status = response.status_code
        code, message = registry_message(response, self._clean)
        try:
            content = response.json()
            told = next((content[key] for key in ("message", "error_message", "detail", "error", "__type") if isinstance(content.get(key), str)), "")
            message = self._clean(told)[:300] or message
        except (ValueError, AttributeError, RecursionError):
            pass
        said = f"{status}" + (f" {code}" if code else "") + (f" {json.dumps(message, ensure_ascii=False)}" if message else "")
        advice = _ADVICE.get(status, "the service is in trouble, try later" if status >= 500 else "see the registry's documentation")
        host = urllib.parse.urlsplit(self.base_url).netloc.rpartition("@")[2]
        return RegistryError(f"{what}: {host} answered {said}: {advice.format(registry=self._registry.name)}", status, code)

    def _clean(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "********")
        return text


def basic(login: Login | None) -> str | None:
    """The Authorization header of a login with a password."""
    if login is None or not login.password:
        return None
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")


def quote(text: str) -> str:
    """A text as one part of a URL's path."""
    return urllib.parse.quote(text, safe="")


class WithApi(Vendor):
    """A vendor that has an API beside the registry's, with one authorization for each login."""

    #: Its base URL where the credentials have no ``api_url``; below the registry's own if it begins with a slash.
    api_url = ""
    #: The only registry that this base URL is for; empty if it is below the registry's own.
    host = ""

    def __init__(self, client: Client, registry: Registry) -> None:
        super().__init__(client, registry)
        self._api_lock = threading.Lock()
        self._apis: dict[Login | None, Api] = {}

    def api(self, repository: Reference) -> Api:
        """The API, with the login for a repository.

        :raises RegistryError: it is not known where it is.
        """
        given = self._registry.access.api_url
        if not given and self.host not in ("", self._name.partition(":")[0]):
            # What is elsewhere must not get this registry's login, and has other images under the same names.
            raise RegistryError(f"{self._name}: {self.api_url} is the API of {self.host}: give the API of {self._name} as api_url, or another type")
        given = given or self.api_url
        login = self._registry.login(repository)
        with self._api_lock:
            if login not in self._apis:
                api = Api(self._registry, self._registry.base_url + given if given.startswith("/") else given, lambda renew: self.authorize(api, login, renew))
                api.secret(self._registry.access.api_token, *([login.password, login.identity_token] if login else []))
                self._apis[login] = api
            return self._apis[login]

    def authorize(self, api: Api, login: Login | None, renew: bool) -> str | None:
        """The Authorization header for the API: the ``api_token``, else the login.

        :param renew: whether the last one was rejected.
        """
        token = self._registry.access.api_token
        return f"Bearer {token}" if token else basic(login)

    def _refusal_of(self, ask: t.Callable[[], t.Any]) -> str:
        """Why something cannot be asked of the API, empty if it can."""
        try:
            ask()
        except RegistryError as exc:
            return str(exc)
        return ""


class ApiVendor(WithApi):
    """A vendor whose API removes tags; the registry tells whether they are gone."""

    def _remove(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        return dict(zip(tags, self._client.try_map(lambda tag: self._remove_one(repository.with_tag(tag), tags[tag]), tags)))

    def _remove_one(self, image: Reference, digest: str) -> Removal:
        passed = self._passed(image, digest)
        if passed:
            return passed
        self._ask(image, digest)
        return self._look(image, digest)

    def _ask(self, image: Reference, digest: str) -> None:
        """Ask the API to remove a tag. That it is not there is no error.

        :raises ContainersError: it is not done, and why.
        """
        raise NotImplementedError

    def _look(self, image: Reference, digest: str) -> Removal:
        """What became of a tag that the API removed. The registry may serve it for a moment more."""
        for pause in (*_PATIENCE, None):
            after = self._registry.resolve(image)
            if after is None:
                return Removal(image, "removed", digest, "deleted by the vendor's API")
            if after.digest != digest:
                return Removal(image, "kept", after.digest, "another image was pushed while it was removed")
            if pause is not None:
                time.sleep(pause)
        raise RegistryError(f"{image}: {image.registry}'s API said that the tag was removed but the registry still has it: look at it by hand")
