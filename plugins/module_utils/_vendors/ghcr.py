# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""GitHub's registry: its API deletes versions, which are images with all their tags. So a tag is first put on a version of its own."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    Api,
    WithApi,
    quote,
)

_PAGE = 100  # versions, the most that the API gives at once
_PATIENCE = (0, 1, 2, 4, 8)  # seconds before each look for a version that was just made


class Ghcr(WithApi):
    """GitHub's registry. A tombstone that is the only image of a version takes the tag along, and no image."""

    api_url = "https://api.github.com"
    host = "ghcr.io"
    deletes_tags = False

    def __init__(self, client: Client, registry: Registry) -> None:
        super().__init__(client, registry)
        self._owner_lock = threading.Lock()
        self._owners: dict[str, str] = {}

    def authorize(self, api: Api, login: Login | None, renew: bool) -> str | None:
        """The Authorization header: a classic personal access token, or the token of a workflow."""
        token = self._registry.access.api_token or (login.password if login else "")
        return f"Bearer {token}" if token else None

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""

        def look() -> None:
            api = self.api(repository)
            if api.authorization() is None:
                raise RegistryError(
                    "GitHub removes tags by its own API: give an api_token or a password, a token with read:packages and delete:packages, for it"
                )
            what = f"GET versions of {repository.name}"
            response = api.request("GET", f"{self._package(repository)}/versions", what, 200, params={"per_page": 1, "page": 1, "state": "active"})
            scopes = response.headers.get("X-OAuth-Scopes")
            # Only classic tokens tell.
            if scopes is not None and "delete:packages" not in [scope.strip() for scope in scopes.split(",")]:
                raise RegistryError(f"the token for {self._name} lacks the scope delete:packages (it has {scopes or 'none'})")

        return self._refusal_of(look)

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a hundred images with each request; their times are those of the images."""
        if self.api(repository).authorization() is None:
            return super().tags(repository)
        return [
            Tag(tag, version["name"], parse_time(version.get("updated_at")) or parse_time(version.get("created_at")))
            for version in self._versions(repository)
            for tag in _tags_of(version)
        ]

    def _versions(self, repository: Reference) -> t.Iterator[dict[str, t.Any]]:
        api = self.api(repository)
        what = f"GET versions of {repository.name}"
        package = self._package(repository, missing=True)
        page = 1
        while package:
            response = api.request("GET", f"{package}/versions", what, 200, params={"per_page": _PAGE, "page": page, "state": "active"})
            versions = api.json(response, what, list)
            yield from (version for version in versions if isinstance(version, dict) and isinstance(version.get("name"), str))
            if len(versions) < _PAGE:
                return
            page += 1

    def _package(self, repository: Reference, missing: bool = False) -> str:
        """The path of a package, whose owner is an organization or a user.

        :param missing: return nothing if there is no such package, instead of raising.
        """
        owner, dummy, name = repository.repository.partition("/")
        with self._owner_lock:
            for kind in [self._owners[owner]] if owner in self._owners else ["orgs", "users"]:
                path = f"/{kind}/{quote(owner)}/packages/container/{quote(name)}"
                response = self.api(repository).request("GET", path, f"GET package {repository.name}", 200, 404)
                if response.status_code == 200:
                    self._owners[owner] = kind
                    return path
        if missing:
            return ""
        raise self.api(repository).error(response, f"GET package {repository.name}")

    def _delete_stone(self, image: Reference, tags: t.Collection[str]) -> tuple[int, RegistryError]:
        api = self.api(image)
        what = f"DELETE {image} by the API of GitHub"
        version = self._find(image, tags)
        if version is None:
            raise RegistryError(f"{what}: GitHub does not list the image that was just put there")
        response = api.request("DELETE", f"{self._package(image)}/versions/{quote(str(version['id']))}", what, 204, 400, 403, 404)
        return response.status_code, api.error(response, what)

    def _find(self, image: Reference, tags: t.Collection[str]) -> dict[str, t.Any] | None:
        """The version of an image, once it has these tags and no others."""
        for pause in _PATIENCE:
            if pause:
                time.sleep(pause)
            for version in self._versions(image):
                if version["name"] == image.digest and set(_tags_of(version)) == set(tags):
                    return version
        return None


def _tags_of(version: dict[str, t.Any]) -> list[str]:
    try:
        return [tag for tag in version["metadata"]["container"]["tags"] if isinstance(tag, str)]
    except (KeyError, TypeError):
        return []
