# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Harbor: it deletes tags by its own API only; by the registry API images, with all their tags."""

from __future__ import annotations

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
    basic,
    quote,
)

_PAGE = 100  # artifacts, the most that the API gives at once


class Harbor(ApiVendor):
    """Harbor 2."""

    api_url = "/api/v2.0"

    def authorize(self, api: Api, login: Login | None, renew: bool) -> str | None:
        """The Authorization header: that of the login, which may be a robot's."""
        return basic(login)

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        if "/" not in repository.repository:
            return "Harbor has no repository outside of a project"
        if self.api(repository).authorization() is None:
            return "Harbor removes tags by its own API: give username and password, of a robot with the right to delete tags for example"
        return ""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, those of a hundred images with each request."""
        if "/" not in repository.repository:
            return []
        api = self.api(repository)
        what = f"GET tags of {repository.name}"
        found: list[Tag] = []
        page = 1
        while True:
            parameters = {"with_tag": "true", "page": page, "page_size": _PAGE}
            response = api.request("GET", f"{_path(repository)}/artifacts", what, 200, 404, params=parameters)
            if response.status_code == 404:
                return []
            artifacts = api.json(response, what, list)
            for artifact in artifacts:
                if not isinstance(artifact, dict) or not isinstance(artifact.get("digest"), str):
                    raise RegistryError(f"{what}: the API answered with an image that has no digest")
                found += _tags(artifact)
            if "next" not in response.links:
                return found
            page += 1

    def _ask(self, image: Reference, digest: str) -> None:
        # With the digest it is done only if the tag is on it.
        path = f"{_path(image)}/artifacts/{quote(digest)}/tags/{quote(image.tag or '')}"
        self.api(image).request("DELETE", path, f"DELETE {image} by the API of Harbor", 200, 404)


def _path(repository: Reference) -> str:
    project, dummy, name = repository.repository.partition("/")
    # Twice, as Harbor's documentation says: its proxy decodes once.
    return f"/projects/{quote(project)}/repositories/{quote(quote(name))}"


def _tags(artifact: dict[str, t.Any]) -> t.Iterator[Tag]:
    references = artifact.get("references") or []
    children = tuple(str(item["child_digest"]) for item in references if isinstance(item, dict) and item.get("child_digest"))
    for tag in artifact.get("tags") or []:
        if isinstance(tag, dict) and isinstance(tag.get("name"), str):
            pushed = parse_time(tag.get("push_time")) or parse_time(artifact.get("push_time"))
            yield Tag(tag["name"], artifact["digest"], pushed, artifact.get("size"), artifact.get("manifest_media_type"), children)
