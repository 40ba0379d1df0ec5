# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""GitLab: tags are removed the OCI way; the registry lists them with their times where it has a database."""

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
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import (
    Vendor,
)

_PAGE = 1000  # tags, the most that it gives at once


class GitLab(Vendor):
    """GitLab's registry, since 16.4."""

    # An older one deletes manifests with all their tags only.
    buries = False

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, a thousand with each request; only their names if the registry has no database."""
        what = f"GET tags of {repository.name}"
        url: str | None = f"{self._registry.base_url}/gitlab/v1/repositories/{repository.repository}/tags/list/?n={_PAGE}"
        found: list[Tag] = []
        seen: set[str] = set()
        while url:
            seen.add(url)
            response = self._registry.ask("GET", repository, url, what, 200, 401, 404)
            if response.status_code != 200:
                return super().tags(repository)
            try:
                items = response.json()
            except (ValueError, RecursionError):
                items = None
            if not isinstance(items, list):
                raise RegistryError(f"{what}: {self._name} answered 200 with something that is no list of tags")
            found += [_tag(item) for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)]
            url = self._registry.next_page(response, what)
            if url in seen:
                raise RegistryError(f"{what}: the registry's pages go in a circle")
        return found


def _tag(item: dict[str, t.Any]) -> Tag:
    # The first is the later of the others; older versions have not all of them.
    times = [parse_time(item.get(key)) for key in ("published_at", "updated_at", "created_at")]
    return Tag(
        item["name"],
        item.get("digest"),
        next((moment for moment in times if moment is not None), None),
        item.get("size_bytes"),
        item.get("media_type"),
    )
