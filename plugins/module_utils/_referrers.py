# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What refers to an image: signatures, SBOMs, attestations (distribution-spec, "Listing Referrers"; cosign's tags)."""

from __future__ import annotations

import json
import re
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    OCI_INDEX,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_digest,
)

# cosign's specification of signatures, attestations and SBOMs: the tag of the digest with an ending.
_COSIGN = (".sig", ".att", ".sbom")
_TAG = re.compile(r"([a-z0-9]+-[a-zA-Z0-9]{32,64})(\.[a-z]+)?")

#: A referrer's descriptor, with all that the source says of it.
Item = dict[str, t.Any]


def fallback_tag(digest: str) -> str:
    """The tag under which a registry without the referrers API keeps what refers to a digest (distribution-spec, "Referrers Tag Schema")."""
    algorithm, dummy, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


class Referrers:
    """What refers to images, at all registries of one run."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._locks: dict[Reference, threading.Lock] = {}
        self._tags: dict[Reference, dict[str, list[str]] | None] = {}

    def items(self, image: Reference) -> list[Item]:
        """The descriptors of the manifests that refer to an image.

        :param image: with a digest.
        :raises ContainersError: they cannot be listed.
        """
        found = self._client.store(image).referrers(image) or []
        # Who pushed to a registry without the API, or before it had one, kept them under a tag.
        tag = fallback_tag(image.digest or "")
        tags = self._tags_of(image)
        if tags is None or tag in tags.get(tag, ()):
            index = self._client.store(image).manifest(image.with_tag(tag))
            found = [*found, *(_items(index) if index else [])]
        unique = {item["digest"]: item for item in reversed(found) if is_digest(str(item.get("digest")))}
        return [unique[digest] for digest in sorted(unique)]

    def cosign_tags(self, image: Reference) -> list[str]:
        """The tags of cosign's for an image: its signature, attestation, SBOM.

        :param image: with a digest.
        """
        start = fallback_tag(image.digest or "")
        tags = self._tags_of(image)
        if tags is None:
            return [tag for tag in (start + ending for ending in _COSIGN) if self._client.store(image).resolve(image.with_tag(tag))]
        return [tag for tag in tags.get(start, ()) if tag != start]

    def _lock_of(self, repository: Reference) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(repository, threading.Lock())

    def _tags_of(self, image: Reference) -> dict[str, list[str]] | None:
        """The tags of a repository that belong to digests, by the tag of the digest; ``None`` if they cannot be listed. Listed once."""
        repository = Reference(image.registry, image.repository)
        with self._lock_of(repository):
            if repository not in self._tags:
                try:
                    tags = self._client.store(repository).tags(repository)
                except ContainersError:
                    # Some may be pulled from, but not listed.
                    self._tags[repository] = None
                else:
                    found: dict[str, list[str]] = {}
                    for tag, match in ((tag, _TAG.fullmatch(tag)) for tag in tags):
                        if match:
                            found.setdefault(match[1], []).append(tag)
                    self._tags[repository] = found
            return self._tags[repository]

    def register(self, image: Reference, items: t.Sequence[Item], check_mode: bool = False) -> bool:
        """See to it that a registry lists manifests, which it has, as referrers of an image: by itself, or else under a tag.

        :param image: with a digest.
        :returns: whether the tag had to be written.
        :raises ContainersError: it does not.
        """
        registry = self._client.store(image)
        if not items or registry.referrers(image) is not None:
            return False
        # One at a time: what another thread adds meanwhile would be lost.
        with self._lock_of(Reference(image.registry, image.repository)):
            name = image.with_tag(fallback_tag(image.digest or ""))
            before = registry.manifest(name)
            known = _items(before) if before else []
            listed = {item.get("digest") for item in known}
            added = [item for item in items if item["digest"] not in listed]
            if check_mode or not added:
                return bool(added)
            content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*known, *added]}, separators=(",", ":")).encode()
            index = Manifest(OCI_INDEX, content, digest_of(content))
            registry.name_manifest(name, index)
            return True


def _items(index: Manifest) -> list[Item]:
    found = index.json.get("manifests") if index.is_index else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
