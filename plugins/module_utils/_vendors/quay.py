# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Quay: tags are removed the OCI way, which robots may; its API lists them with their times."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Removal,
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    Api,
    WithApi,
    quote,
)

_PAGE = 100  # tags, the most that the API gives at once


class Quay(WithApi):
    """Quay, and quay.io."""

    api_url = "/"
    # One that does not delete tags is from before August 2024; what it does with a manifest's other tags was not looked into.
    buries = False

    def authorize(self, api: Api, login: Login | None, renew: bool) -> str | None:
        """The Authorization header: the API takes no robots and no passwords, only tokens of OAuth applications."""
        token = self._registry.access.api_token
        return f"Bearer {token}" if token else None

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a hundred with each request; by the registry API where this one needs a token that was not given."""
        api = self.api(repository)
        what = f"GET tags of {repository.name}"
        # By default it lists the history too, in which a tag that lives has its former lives.
        parameters = {"limit": _PAGE, "onlyActiveTags": "true"}
        found: dict[str, Tag] = {}
        page = 1
        while True:
            response = api.request("GET", f"{self._path(repository)}/tag/", what, 200, 401, 403, 404, params={"page": page, **parameters})
            if response.status_code != 200:
                if api.authorization() is None:
                    return super().tags(repository)
                if response.status_code == 404:
                    return []
                raise api.error(response, what)
            content = api.json(response, what)
            for item in content.get("tags") or []:
                if isinstance(item, dict) and isinstance(item.get("name"), str) and _lives(item):
                    tag = _tag(item)
                    before = found.get(tag.name)
                    if before is None or (before.pushed or 0) <= (tag.pushed or 0):
                        found[tag.name] = tag
            if not content.get("has_additional"):
                return list(found.values())
            page += 1

    def _path(self, repository: Reference) -> str:
        namespace, dummy, name = repository.repository.partition("/")
        return f"/api/v1/repository/{quote(namespace)}/{quote(name)}" if name else f"/api/v1/repository/{quote(namespace)}"

    def _otherwise(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        api = self.api(repository)
        if api.authorization() is None:
            error = RegistryError(
                f"{repository.name}: this Quay deletes no tags by the registry API: give an api_token (of an OAuth application, with"
                f" the scope repo:write) for {self._name} in container_registry_credentials"
            )
            return dict.fromkeys(tags, error)

        def delete(tag: str) -> Removal:
            image = repository.with_tag(tag)
            api.request("DELETE", f"{self._path(repository)}/tag/{quote(tag)}", f"DELETE {image} by the API of Quay", 200, 204, 404)
            after = self._registry.resolve(image)
            if after is None:
                return Removal(image, "removed", tags[tag], "deleted by the vendor's API")
            if after.digest == tags[tag]:
                raise RegistryError(f"{image}: {self._name}'s API said that the tag was removed but the registry still has it: look at it by hand")
            return Removal(image, "kept", after.digest, "another image was pushed while it was removed")

        return dict(zip(tags, self._client.try_map(delete, tags)))


def _lives(item: dict[str, t.Any]) -> bool:
    """Whether a row of the list is of a tag that is there: an end in the future is its expiration."""
    end = item.get("end_ts")
    return not isinstance(end, (int, float)) or end > time.time()


def _tag(item: dict[str, t.Any]) -> Tag:
    start, size, digest = item.get("start_ts"), item.get("size"), item.get("manifest_digest")
    return Tag(
        item["name"],
        digest if isinstance(digest, str) else None,
        float(start) if isinstance(start, (int, float)) and start > 0 else None,
        size if isinstance(size, int) else None,
        None,
        () if item.get("is_manifest_list") is False else None,
    )
