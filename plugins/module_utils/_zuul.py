# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What Zuul tells of the change at hand. Everything in it may be missing, outside of Zuul all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)

CHANGE_LABEL = "org.zuul-ci.change"
CHANGE_URL_LABEL = "org.zuul-ci.change_url"

#: What the ``type`` of an image's artifact is (zuul-ci.org, "Returning artifact URLs").
ARTIFACT_TYPE = "container_image"


def change_of(zuul: t.Any) -> str:
    """The change, as a text; empty if there is none."""
    value = zuul.get("change") if isinstance(zuul, t.Mapping) else None
    return "" if value is None else str(value)


def staging_prefix(zuul: t.Any) -> str:
    """The prefix of temporary tags: ``change_<change>_``, without a change ``<pipeline>_``, outside of Zuul ``staged_``."""
    change = change_of(zuul)
    if change:
        return f"change_{change}_"
    pipeline = zuul.get("pipeline") if isinstance(zuul, t.Mapping) else None
    return f"{pipeline}_" if pipeline else "staged_"


def labels(zuul: t.Any) -> dict[str, str]:
    """The labels that tell where an image comes from; those that are known.

    Zuul's two, and of image-spec's "Pre-Defined Annotation Keys" the source and the revision.
    """
    if not isinstance(zuul, t.Mapping):
        return {}
    project = zuul.get("project")
    name = project.get("canonical_name") if isinstance(project, t.Mapping) else None
    known = {
        CHANGE_LABEL: change_of(zuul),
        CHANGE_URL_LABEL: zuul.get("change_url"),
        "org.opencontainers.image.source": f"https://{name}" if name else None,
        "org.opencontainers.image.revision": zuul.get("commit_id") or zuul.get("newrev"),
    }
    return {label: str(value) for label, value in known.items() if value}


def artifact(name: Reference, where: Reference, digest: str | None, platforms: t.Sequence[str]) -> dict[str, t.Any]:
    """An image in the form of Zuul's artifacts.

    :param name: its final name.
    :param where: it is now.
    """
    return {
        "name": str(name),
        "url": f"docker://{where}",
        "metadata": {"type": ARTIFACT_TYPE, "repository": name.name, "tag": name.tag, "digest": digest, "platforms": list(platforms)},
    }
