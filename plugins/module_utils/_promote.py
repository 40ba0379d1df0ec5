# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Publishing what the gate tested: the final tags are moved to what the temporary ones name, which then go."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    image_config,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    count,
    open_client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    check_method,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)
from ansible_collections.gating.containers.plugins.module_utils._retag import (
    Move,
    Target,
    apply,
    diff_of,
    missing_source,
    plan,
)
from ansible_collections.gating.containers.plugins.module_utils._selection import (
    Rule,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Removal,
)
from ansible_collections.gating.containers.plugins.module_utils._untag import (
    Selection,
    check_removed,
    refuse,
    remove,
    select,
)
from ansible_collections.gating.containers.plugins.module_utils._untag import (
    diff_of as untag_diff,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import (
    Vendors,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    CHANGE_LABEL,
    change_of,
)

# Of whatever change, but no other prefix: "release_" or "v" are the beginnings of published tags too.
_CHANGE_TAG = re.compile(r"^change_[0-9]+_")


@dataclasses.dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    :param targets: the final tags.
    :param removals: the temporary tags, those of this change first.
    :param warnings: temporary tags that stay although the promotion succeeded, and why.
    """

    targets: list[Target]
    removals: list[Removal]
    warnings: list[str]


def promote(
    client: Client,
    images: t.Sequence[Image],
    prefix: str,
    change: str = "",
    cleanup: bool = True,
    cleanup_age: float = 86400,
    check_mode: bool = False,
) -> Promotion:
    """Move every final tag to what its temporary tag names, then remove the temporary tags and old leaked ones.

    Where a temporary tag is gone the final one counts as promoted if its image carries the label of the change, so that
    a promotion can be run again.

    :param prefix: of the temporary tags.
    :param change: the change that is promoted, empty if there is none.
    :param cleanup: whether temporary tags are removed.
    :param cleanup_age: seconds after which a temporary tag of whatever change is a leaked one.
    :raises InputError: temporary tags are to be removed from a registry where that is not possible.
    :raises RegistryError: a tag could not be moved, and none was; or a temporary tag of this change could not be removed.
    """
    vendors = Vendors(client)
    try:
        refuse(vendors, [image.repository for image in images if cleanup])
    except RegistryError as exc:
        raise InputError(f"{exc} - nothing was promoted: see to that, or set promote_container_image_cleanup to false") from None
    moves = [Move(image.repository, prefix + tag, (tag,)) for image in images for tag in image.tags]
    found = plan(client, moves)
    published = _check_missing(client, found.missing, change)
    targets = published + (found.targets if check_mode else apply(client, found))
    order = {name: number for number, name in enumerate(name for image in images for name in image.names())}
    targets.sort(key=lambda target: order[target.image])
    if not cleanup:
        return Promotion(targets, [], [])

    staged = [Selection(image.repository, tuple(prefix + tag for tag in image.tags)) for image in images]
    repositories = dict.fromkeys(image.repository for image in images)
    leaked = [Selection(repository, (), Rule(_CHANGE_TAG, cleanup_age)) for repository in repositories]
    protected = {(target.image.name, target.image.tag) for target in targets}
    digests = {target.image: target.digest for target in found.targets}
    promoted = {move.image: digests[final] for move in moves if (final := move.repository.with_tag(move.tags[0])) in digests}

    def settle(removal: Removal) -> Removal:
        # A tombstone, which counts as missing, goes whatever it names.
        if removal.action == "remove" and promoted.get(removal.image, removal.digest) != removal.digest:
            return dataclasses.replace(removal, action="kept", reason="another image was pushed after this one was promoted")
        return removal

    removals = [removal for removal in select(vendors, staged + leaked, protected, settle) if removal.action != "absent"]
    if not check_mode:
        removals = remove(vendors, removals)
    own = {name for image in images for name in image.names(prefix)}
    try:
        check_removed([removal for removal in removals if removal.image in own])
    except RegistryError as exc:
        if check_mode:
            raise
        raise _unclean(exc, targets) from None
    warnings = [f"forgotten temporary tags of {removal.image.name} stay: {removal.reason}" for removal in removals if removal.action == "failed"]
    warnings += [f"{removal.image} stays: {removal.reason}" for removal in removals if removal.action == "kept" and removal.image in own]
    return Promotion(targets, removals, warnings)


def _unclean(exc: ContainersError, targets: t.Sequence[Target]) -> RegistryError:
    """The error for tags that were moved, and temporary ones that are still there."""
    error = RegistryError(f"{exc} - all final tags were promoted; run this again, or set promote_container_image_cleanup to false")
    error.result = {
        "promoted_container_images": [target.to_dict(target.moves) for target in targets],
        "changed": any(target.moves for target in targets) or bool(exc.result.get("changed")),
    }
    return error


def _check_missing(client: Client, missing: t.Sequence[Move], change: str) -> list[Target]:
    """The final tags of temporary tags that are gone, if they were promoted before.

    :raises RegistryError: one was not; the message names the temporary tag.
    """

    def look(move: Move) -> Target | None:
        image = move.repository.with_tag(move.tags[0])
        registry = client.registry(image)
        manifest = registry.manifest(image)
        if manifest is None or not has_change(registry, image, manifest, change):
            return None
        return Target(image, manifest.digest, manifest.digest, "promoted before")

    if missing and not change:
        raise missing_source(missing, "upload it first; without a change there is no telling whether it was promoted before")
    targets = client.map(look, missing)
    lost = [move for move, target in zip(missing, targets) if target is None]
    if lost:
        raise missing_source(lost, f"upload it first; {lost[0].tags[0]!r} is not an image of change {change}, so it was not promoted before either")
    return t.cast("list[Target]", targets)


def has_change(registry: Registry, repository: Reference, manifest: Manifest, change: str) -> bool:
    """Whether an image, or each image of an index, carries the label of a change.

    :raises RegistryError: a part of the image could not be read.
    """
    if not manifest.is_index:
        settings = image_config(registry, repository, manifest).get("config")
        labels = settings.get("Labels") if isinstance(settings, dict) else None
        return isinstance(labels, dict) and labels.get(CHANGE_LABEL) == change
    for child in manifest.images:
        image = registry.manifest(repository.with_digest(child.digest))
        if image is None or not has_change(registry, repository, image, change):
            return False
    return bool(manifest.images)


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    prefix = check_prefix(params["prefix"])
    images = parse_images(params["images"], prefix)
    check_method(params["method"])
    credentials = Credentials(params["credentials"])
    for image in images:
        credentials.check_target(image.repository)
    if params["cleanup_age"] < 0:
        raise InputError(f"promote_container_image_cleanup_age is to be a number of seconds, not {params['cleanup_age']}")
    with open_client(params, credentials, ("pull",) if check_mode else ("pull", "push", "delete")) as client:
        change = change_of(params["zuul"])
        promotion = promote(client, images, prefix, change, params["cleanup"], params["cleanup_age"], check_mode)
        moved = sum(target.moves for target in promotion.targets)
        gone = sum(removal.action in ("remove", "removed") for removal in promotion.removals)
        removals = untag_diff(promotion.removals)
        verbs = ("would promote", "would remove") if check_mode else ("promoted", "removed")
        tags = f"{verbs[0]} {moved} of {count(len(promotion.targets), 'tag')}, {verbs[1]} {count(gone, 'temporary tag')}"
        return {
            "changed": bool(moved or gone),
            "msg": f"{tags}, {count(client.requests, 'request')}",
            "promoted_container_images": [target.to_dict(target.moves) for target in promotion.targets],
            "removed": [removal.to_dict() for removal in promotion.removals],
            "requests": client.requests,
            "diff": {**removals, **{key: {**moves, **removals[key]} for key, moves in diff_of(promotion.targets).items()}},
            "warnings": promotion.warnings,
        }


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        "prefix": {"type": "str", "required": True},
        "method": {"type": "str", "default": "tag", "choices": ["tag", "intermediate-registry"]},
        "zuul": {"type": "dict", "default": {}},
        "cleanup": {"type": "bool", "default": True},
        "cleanup_age": {"type": "int", "default": 86400},
        **client_arguments(),
    },
    run=_run,
)
