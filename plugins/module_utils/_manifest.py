# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Manifests: raw bytes with their media type and digest, and what can be read in them."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    DamagedError,
)

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

MEDIA_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

#: The Accept header of every manifest request. Without q-values: zuul-registry does not know them.
ACCEPT = ", ".join(MEDIA_TYPES)

#: Annotation with a date (image-spec, "Pre-Defined Annotation Keys").
CREATED = "org.opencontainers.image.created"

#: The empty descriptor's content, media type and digest (image-spec, "Guidance for an Empty Descriptor").
EMPTY_JSON = b"{}"
EMPTY_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"

_TOMBSTONE = "io.github.gating.containers.tombstone"


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of some bytes (image-spec, "Digests").

    :raises ContainersError: the algorithm is none of those that image-spec registers.
    """
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise ContainersError(f"the digest algorithm {algorithm!r} is not known here: use sha256")
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def verified(parts: t.Iterable[bytes], digest: str, size: int, what: str) -> t.Iterator[bytes]:
    """The parts of a blob. The last one comes only when all of them have the digest, so what is made of them is never whole if they are wrong.

    :param size: bytes, as its descriptor says.
    :param what: names it in errors.
    :raises DamagedError: they have another one, or another size.
    """
    algorithm = digest.split(":", 1)[0]
    digest_of(b"", algorithm)
    found = hashlib.new(algorithm)
    done, held = 0, b""
    for part in filter(None, parts):
        done += len(part)
        if done > size:
            raise DamagedError(f"{what}: it is more than the {size} bytes of its descriptor: the image is damaged")
        found.update(part)
        if held:
            yield held
        held = part
    if done != size or f"{algorithm}:{found.hexdigest()}" != digest:
        raise DamagedError(f"{what}: its content is damaged or was changed on the way")
    yield held


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """What a registry says of a manifest without sending it, or an index of its children (image-spec, "Descriptor").

    :param size: bytes, -1 if it is not known.
    """

    media_type: str
    digest: str
    size: int = -1
    platform: str | None = None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A manifest or an index, byte for byte as it is at the registry."""

    media_type: str
    content: bytes = dataclasses.field(repr=False)
    digest: str

    @functools.cached_property
    def json(self) -> dict[str, t.Any]:
        """The parsed content, an empty dict if it is no JSON object."""
        try:
            content = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests."""
        return self.media_type in (OCI_INDEX, DOCKER_LIST)

    @property
    def children(self) -> list[Descriptor]:
        """The manifests that an index lists."""
        items = self.json.get("manifests") if self.is_index else None
        return [_descriptor(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    @property
    def images(self) -> list[Descriptor]:
        """The images of an index: its children without the attestations of BuildKit, which are of an unknown platform."""
        return [child for child in self.children if child.platform != "unknown/unknown"]

    @property
    def config(self) -> Descriptor | None:
        """The config blob of an image."""
        config = self.json.get("config")
        return _descriptor(config) if isinstance(config, dict) and config.get("digest") else None

    @property
    def blobs(self) -> list[Descriptor]:
        """The blobs of an image: its config and layers, but those that are only to be had from URLs (image-spec, "Non-Distributable Layers")."""
        layers = self.json.get("layers")
        items = [item for item in layers if isinstance(item, dict) and not item.get("urls")] if isinstance(layers, list) else []
        return ([self.config] if self.config else []) + [_descriptor(item) for item in items]

    @property
    def annotations(self) -> dict[str, t.Any]:
        """The annotations of the manifest itself."""
        annotations = self.json.get("annotations")
        return annotations if isinstance(annotations, dict) else {}

    @property
    def is_tombstone(self) -> bool:
        """Whether it only stands where a tag is being removed, see ``tombstone``."""
        return _TOMBSTONE in self.annotations


def _descriptor(item: t.Mapping[str, t.Any]) -> Descriptor:
    platform = item.get("platform")
    name = None
    if isinstance(platform, dict):
        name = "/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key))
    size = item.get("size")
    return Descriptor(str(item.get("mediaType", "")), str(item.get("digest", "")), size if isinstance(size, int) else -1, name)


def tombstone(nonce: str, now: datetime.datetime) -> Manifest:
    """A manifest that is unlike any other, to be put on a tag and deleted by its digest, so that the tag goes with it.

    Its only blob is the empty JSON object.

    :param nonce: makes it unlike any other.
    :param now: when it is made, with its time zone; a tombstone that a killed run left is known to be old by it.
    """
    digest = digest_of(EMPTY_JSON)
    empty = {"mediaType": EMPTY_MEDIA_TYPE, "digest": digest, "size": len(EMPTY_JSON)}
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": empty,
            "layers": [empty],
            "annotations": {CREATED: now.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), _TOMBSTONE: nonce},
        },
        indent=1,
    ).encode()
    return Manifest(OCI_MANIFEST, content, digest_of(content))
