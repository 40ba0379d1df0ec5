# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""How old an image is, from what the registry stores of it. An age that is not known for sure is no age."""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    CREATED,
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)

# RFC 3339, 5.6, with Go's nine digits of a second; the fraction may be missing.
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)

# Reproducible builds write a fixed date: the epoch, or 1980 because of zip. No container image is older than containers.
_FIRST_CONTAINERS = datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc).timestamp()


def parse_time(text: t.Any) -> float | None:
    """Unix time of an RFC 3339 date, ``None`` if it is none or a date before there were containers."""
    found = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        return None
    zone = found[7].upper().replace("Z", "+00:00")
    if ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    try:
        date = datetime.datetime.fromisoformat(f"{found[1]}-{found[2]}-{found[3]}T{found[4]}:{found[5]}:{found[6]}{zone}")
        moment = date.timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if moment >= _FIRST_CONTAINERS else None


def is_older(created: float | None, seconds: float, now: float) -> bool:
    """Whether something is known to be older than that many seconds. A date in the future tells nothing."""
    return created is not None and created <= now and now - created > seconds


def created(registry: Registry, repository: Reference, manifest: Manifest) -> float | None:
    """Unix time at which an image was built; for an index its annotation, else the newest of its children.

    :returns: ``None`` if it, or any child's, is not known.
    :raises RegistryError: a part of the image could not be read.
    """
    annotated = parse_time(manifest.annotations.get(CREATED))
    if not manifest.is_index:
        config = image_config(registry, repository, manifest)
        return parse_time(config.get("created")) or annotated
    if annotated is not None:
        return annotated
    newest = None
    for child in manifest.images:
        image = registry.manifest(repository.with_digest(child.digest))
        moment = image and created(registry, repository, image)
        if not moment:
            return None
        newest = max(newest or moment, moment)
    return newest


def image_config(registry: Registry, repository: Reference, manifest: Manifest) -> dict[str, t.Any]:
    """The config of an image (image-spec, "Image Configuration"), empty if it has none.

    :raises RegistryError: it could not be read.
    """
    config = manifest.config
    # Of an artifact the config is anything, and maybe large.
    if config is None or not config.media_type.endswith(("config.v1+json", "container.image.v1+json")):
        return {}
    try:
        content = json.loads(registry.blob(repository, config.digest))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
