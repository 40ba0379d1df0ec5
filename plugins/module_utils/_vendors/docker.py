# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Docker Hub: its API lists tags with their times, and removes them; what the registry API deletes it goes on listing."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    parse_time,
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
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    Api,
    ApiVendor,
    quote,
)

_PAGE = 100  # tags, the most that the API gives at once


class DockerHub(ApiVendor):
    """Docker Hub."""

    api_url = "https://hub.docker.com"
    host = "docker.io"

    def authorize(self, api: Api, login: Login | None, renew: bool) -> str | None:
        """The Authorization header: a token that lives for minutes, for the user's password or access token."""
        if login is None or not login.password:
            return None
        what = f"POST {self.api_url}/v2/auth/token for {login.username!r}"
        response = self._registry.transport.request(
            "POST",
            f"{api.base_url}/v2/auth/token",
            what=what,
            headers={"Content-Type": "application/json"},
            data=json.dumps({"identifier": login.username, "secret": login.password}).encode(),
        )
        if response.status_code != 200:
            raise api.error(response, what)
        token = api.json(response, what).get("access_token")
        if not isinstance(token, str) or not token:
            raise RegistryError(f"{what}: it answered 200 without a token")
        return f"Bearer {token}"

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        login = self._registry.login(repository)
        if login is None or not login.password:
            return "Docker Hub removes tags by its own API: give username and password (an access token with the right to delete) for it"
        return self._refusal_of(lambda: self.api(repository).authorization())

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a hundred with each request."""
        api = self.api(repository)
        namespace, name = repository.repository.split("/", 1)
        what = f"GET tags of {repository.name}"
        path = f"/v2/namespaces/{quote(namespace)}/repositories/{quote(name)}/tags"
        found: list[Tag] = []
        page = 1
        while True:
            response = api.request("GET", path, what, 200, 401, 403, 404, params={"page": page, "page_size": _PAGE})
            if response.status_code != 200:
                if page == 1 and api.authorization() is None:
                    # Nobody in particular may not ask for it, or it is not there: the registry tells.
                    return super().tags(repository)
                if page == 1 and response.status_code == 404:
                    return []
                raise api.error(response, what)
            content = api.json(response, what)
            found += [_tag(item) for item in content.get("results") or [] if isinstance(item, dict) and isinstance(item.get("name"), str)]
            if not content.get("next"):
                return found
            page += 1

    def _ask(self, image: Reference, digest: str) -> None:
        namespace, name = image.repository.split("/", 1)
        path = f"/v2/repositories/{quote(namespace)}/{quote(name)}/tags/{quote(image.tag or '')}/"
        self.api(image).request("DELETE", path, f"DELETE {image} by the API of Docker Hub", 200, 202, 204, 404)


def _tag(item: dict[str, t.Any]) -> Tag:
    images = item.get("images")
    found = [image.get("digest") if isinstance(image, dict) else None for image in images] if isinstance(images, list) else []
    # If one has no digest, what the index lists is to be read.
    children = tuple(child for child in found if isinstance(child, str))
    digest = item.get("digest")
    return Tag(
        item["name"],
        digest if isinstance(digest, str) else None,
        parse_time(item.get("tag_last_pushed")) or parse_time(item.get("last_updated")),
        item.get("full_size"),
        item.get("media_type"),
        tuple(child for child in children if child != digest) if children and len(children) == len(found) else None,
    )
