# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Azure's registry: its own API beside the registry's, with the same tokens."""

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
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    ApiVendor,
    quote,
)

_PAGE = 100  # tags, what the API gives by default


class Acr(ApiVendor):
    """Azure Container Registry."""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a hundred with each request."""
        what = f"GET tags of {repository.name}"
        url: str | None = f"{self._registry.base_url}/acr/v1/{repository.repository}/_tags?n={_PAGE}&orderby=timedesc"
        found: list[Tag] = []
        seen: set[str] = set()
        while url:
            seen.add(url)
            response = self._registry.ask("GET", repository, url, what, 200, 404)
            if response.status_code == 404:
                return found
            try:
                items = response.json()["tags"] or []
                found += [_tag(item) for item in items]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise RegistryError(f"{what}: {self._name} answered 200 with something that is no list of tags") from None
            url = self._registry.next_page(response, what)
            if url in seen:
                raise RegistryError(f"{what}: the registry's pages go in a circle")
        return found

    def _ask(self, image: Reference, digest: str) -> None:
        url = f"{self._registry.base_url}/acr/v1/{image.repository}/_tags/{quote(image.tag or '')}"
        self._registry.ask("DELETE", image, url, f"DELETE {image} by the API of ACR", 200, 202, 404)


def _tag(item: dict[str, t.Any]) -> Tag:
    return Tag(str(item["name"]), item.get("digest"), parse_time(item.get("lastUpdateTime")) or parse_time(item.get("createdTime")))
