# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Google's Artifact Registry: tags are removed the OCI way; its list of tags tells times, sizes and media types of all at once."""

from __future__ import annotations

import typing as t

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


class Gar(Vendor):
    """Artifact Registry, and gcr.io."""

    # A manifest with a tag cannot be deleted: the tag would stay on the tombstone.
    buries = False

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, with one request."""
        what = f"GET tags of {repository.name}"
        url: str | None = f"{repository.repository}/tags/list"
        found: dict[str, Tag] = {}
        seen: set[str] = set()
        while url:
            seen.add(url)
            response = self._registry.ask("GET", repository, url, what, 200, 404)
            if response.status_code == 404:
                return []
            try:
                content = response.json()
                for name in content.get("tags") or []:
                    found.setdefault(str(name), Tag(str(name)))
                for digest, manifest in (content.get("manifest") or {}).items():
                    for name in manifest.get("tag") or []:
                        found[name] = Tag(name, digest, _moment(manifest), _number(manifest.get("imageSizeBytes")), manifest.get("mediaType"))
            except (ValueError, AttributeError, TypeError, RecursionError):
                raise RegistryError(f"{what}: {self._name} answered 200 with something that is no list of tags") from None
            url = self._registry.next_page(response, what)
            if url in seen:
                raise RegistryError(f"{what}: the registry's pages go in a circle")
        return list(found.values())


def _number(value: t.Any) -> int | None:
    """They come as texts."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _moment(manifest: dict[str, t.Any]) -> float | None:
    milliseconds = _number(manifest.get("timeUploadedMs"))
    return milliseconds / 1000 if milliseconds and milliseconds > 0 else None
