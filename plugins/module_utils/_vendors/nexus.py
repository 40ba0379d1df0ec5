# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Sonatype Nexus 3: a tag is a component, and goes by its id. What the registry API deletes leaves the tag, on nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    ApiVendor,
    quote,
)


class Nexus(ApiVendor):
    """Nexus Repository 3."""

    api_url = "/"

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        api = self.api(repository)
        if api.authorization() is None:
            return "Nexus removes tags by its own API: give username and password for it"
        what = "GET status of Nexus"
        reason = self._refusal_of(lambda: api.request("GET", "/service/rest/v1/status", what, 200))
        return f"{reason}: Nexus removes tags by its own API, give its URL as api_url if it is on another port than the registry" if reason else ""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, as many with each request as Nexus gives; by the registry API where this one cannot be asked."""
        try:
            items = self._search(repository)
        except RegistryError as exc:
            if exc.status in (401, 403, 404):
                return super().tags(repository)
            raise
        if len({item.get("repository") for item in items}) != 1:
            # Of which of Nexus' repositories they are only the registry can tell.
            return super().tags(repository)
        return [_tag(item) for item in items if is_tag(str(item.get("version")))]

    def _search(self, repository: Reference, tag: str = "") -> list[dict[str, t.Any]]:
        """The components of an image; with its whole name, else without the first part, which is Nexus' repository where that is a part of the path."""
        key, dummy, rest = repository.repository.partition("/")
        for extra in ({"name": repository.repository}, {"repository": key, "name": rest}):
            found: list[dict[str, t.Any]] = []
            parameters: dict[str, t.Any] = {"format": "docker", **extra, **({"version": tag} if tag else {})}
            while extra["name"]:
                what = f"GET components of {repository.name}"
                api = self.api(repository)
                content = api.json(api.request("GET", "/service/rest/v1/search", what, 200, params=parameters), what)
                # The search knows wildcards.
                items = [item for item in content.get("items") or [] if isinstance(item, dict)]
                found += [item for item in items if item.get("name") == extra["name"] and (not tag or item.get("version") == tag)]
                token = content.get("continuationToken")
                if not token:
                    break
                if token == parameters.get("continuationToken"):
                    raise RegistryError(f"{what}: the pages of Nexus go in a circle")
                parameters["continuationToken"] = token
            if found:
                return found
        return []

    def _ask(self, image: Reference, digest: str) -> None:
        items = [item for item in self._search(image, image.tag or "") if _tag(item).digest == digest]
        if not items:
            raise RegistryError(f"{image}: Nexus finds no component of that name, tag and digest, so nothing was removed: look at it by hand")
        if len(items) > 1:
            names = ", ".join(sorted(str(item.get("repository")) for item in items))
            raise RegistryError(f"{image}: it is in several repositories of Nexus ({names}), of which one cannot be told from the other: look at it by hand")
        what = f"DELETE {image} by the API of Nexus"
        self.api(image).request("DELETE", f"/service/rest/v1/components/{quote(str(items[0].get('id')))}", what, 204, 404)


def _tag(item: dict[str, t.Any]) -> Tag:
    assets = [asset for asset in item.get("assets") or [] if isinstance(asset, dict) and f"/manifests/{item.get('version')}" in str(asset.get("path"))]
    times = [moment for asset in assets for key in ("lastModified", "blobCreated") for moment in [parse_time(asset.get(key))] if moment]
    sums = {str((asset.get("checksum") or {}).get("sha256")) for asset in assets}
    digest = f"sha256:{sums.pop()}" if len(sums) == 1 else None
    return Tag(str(item.get("version")), digest, max(times, default=None))
