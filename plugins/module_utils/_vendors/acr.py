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
_VERSION = "2021-07-01"  # azure-rest-api-specs, containerregistry.json, which requires it


class Acr(ApiVendor):
    """Azure Container Registry."""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a hundred with each request."""
        what = f"GET tags of {repository.name}"
        found: list[Tag] = []
        last = ""
        while True:
            url = self._url(repository, "_tags", f"n={_PAGE}&orderby=timedesc{last}")
            response = self._registry.ask("GET", repository, url, what, 200, 404)
            if response.status_code == 404:
                return found
            try:
                page = [_tag(item) for item in response.json()["tags"] or []]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise RegistryError(f"{what}: {self._name} answered 200 with something that is no list of tags") from None
            names = {tag.name for tag in found}
            if any(tag.name in names for tag in page):
                raise RegistryError(f"{what}: the registry's pages go in a circle")
            found += page
            # The link to the next page need not have the version of the API.
            if not page or not self._registry.next_page(response, what):
                return found
            last = f"&last={quote(page[-1].name)}"

    def _ask(self, image: Reference, digest: str) -> None:
        url = self._url(image, f"_tags/{quote(image.tag or '')}")
        self._registry.ask("DELETE", image, url, f"DELETE {image} by the API of ACR", 200, 202, 404)

    def _url(self, image: Reference, path: str, query: str = "") -> str:
        return f"{self._registry.base_url}/acr/v1/{image.repository}/{path}?api-version={_VERSION}{query and f'&{query}'}"


def _tag(item: dict[str, t.Any]) -> Tag:
    return Tag(str(item["name"]), item.get("digest"), parse_time(item.get("lastUpdateTime")) or parse_time(item.get("createdTime")))
