# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What a registry tells of a tag, and what became of one."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)


@dataclasses.dataclass(frozen=True)
class Tag:
    """A tag, with what the list of its registry says of it; what the list does not say is ``None``.

    :param digest: what the tag names.
    :param pushed: Unix time at which it came to name that; at some registries, that at which the image came there.
    :param size: bytes.
    :param children: the digests of the manifests that an index lists; none of them for an image.
    """

    name: str
    digest: str | None = None
    pushed: float | None = None
    size: int | None = None
    media_type: str | None = None
    children: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Removal:
    """What became, or is to become, of one tag.

    :param action: ``remove`` (selected), ``removed``, ``absent``, ``kept`` or ``failed``.
    :param digest: what the tag named.
    :param reason: why, or by which method, in words.
    """

    image: Reference
    action: str
    digest: str | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, t.Any]:
        """The form in which a module returns it."""
        return {
            "repository": self.image.name,
            "tag": self.image.tag,
            "action": self.action,
            "digest": self.digest,
            "reason": self.reason,
            "changed": self.action in ("remove", "removed"),
        }
