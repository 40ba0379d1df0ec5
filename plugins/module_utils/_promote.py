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
from ansible_collections.gating.containers.plugins.module_utils._copy import (
    Copy,
    copy_all,
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
from ansible_collections.gating.containers.plugins.module_utils._zuul_builds import (
    BuildsApi,
    Gate,
    check_recorded,
    query_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    ZuulRegistry,
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
    gate: Gate | None = None,
) -> Promotion:
    """Move every final tag to what its temporary tag names, then remove the temporary tags and old leaked ones.

    Where a temporary tag is gone the final one counts as promoted if its image carries the label of the change, so that
    a promotion can be run again.

    :param prefix: of the temporary tags.
    :param change: the change that is promoted, empty if there is none.
    :param cleanup: whether temporary tags are removed.
    :param cleanup_age: seconds after which a temporary tag of whatever change is a leaked one.
    :param gate: if it is known what the gate made: nothing else is promoted, and nothing over what came later.
    :raises InputError: temporary tags are to be removed from a registry where that is not possible.
    :raises RegistryError: a tag could not be moved, and none was; or a temporary tag of this change could not be removed.
    """
    vendors = Vendors(client)
    try:
        refuse(vendors, [image.repository for image in images if cleanup])
    except RegistryError as exc:
        raise InputError(f"{exc} - nothing was promoted: see to that, or set promote_container_image_cleanup to false") from None
    names = _names(images)
    recorded = gate.recorded(names, {name: name.with_tag(f"{prefix}{name.tag}") for name in names}) if gate else {}
    expected = {name: image.digest or None for name, image in recorded.items()}
    moves = [Move(name, f"{prefix}{name.tag}", (t.cast(str, name.tag),), expected.get(name)) for name in names]
    moves = [dataclasses.replace(move, repository=dataclasses.replace(move.repository, tag=None)) for move in moves]
    found = plan(client, moves)
    digests = {target.image: target.digest for target in found.targets}
    later = _later_ones(client, gate, found.targets)
    published, passed = _check_missing(client, found.missing, change, gate)
    found.targets = _kept(found.targets, later)
    targets = published + (found.targets if check_mode else apply(client, found))
    targets.sort(key=lambda target: names.index(target.image))
    notes = _notes({**later, **passed})
    if not cleanup:
        return Promotion(targets, [], notes)

    staged = [Selection(image.repository, tuple(prefix + tag for tag in image.tags)) for image in images]
    repositories = dict.fromkeys(image.repository for image in images)
    leaked = [Selection(repository, (), Rule(_CHANGE_TAG, cleanup_age)) for repository in repositories]
    protected = {(target.image.name, target.image.tag) for target in targets}
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
    return Promotion(targets, removals, notes + warnings)


def promote_copies(client: Client, images: t.Sequence[Image], gate: Gate, check_mode: bool = False) -> Promotion:
    """Copy what the gate put elsewhere to the images' own registries, then let every final tag name its image.

    Nothing is copied before everything was found. The copies have no names at first; the tags are moved all or none, as in ``promote``.

    :raises ContainersError: an image is not there or another than the gate recorded, or a tag could not be moved. No tag was moved then.
    """
    names = _names(images)
    recorded = gate.recorded(names)
    for image in images:
        # All at once, as one token is asked for. New tags are removed again if not all can be moved.
        client.registry(image.repository).grant(image.repository, ("pull",) if check_mode else ("pull", "push", "delete"))
    sources = check_recorded(client, recorded)
    before = dict(zip(names, client.map(lambda name: client.registry(name).resolve(name), names)))
    targets = [Target(name, t.cast(str, sources[name].digest), now.digest if (now := before[name]) else None) for name in names]
    later = _later_ones(client, gate, targets)
    targets = _kept(targets, later)
    moving = [target for target in targets if target.moves]
    if moving and not check_mode:
        wanted: dict[Reference, dict[Reference, None]] = {}
        for target in moving:
            wanted.setdefault(sources[target.image].with_digest(target.digest), {})[target.image.with_digest(target.digest)] = None
        try:
            copy_all(client, [Copy(source, tuple(places)) for source, places in wanted.items()], False)
        except ContainersError as exc:
            raise ContainersError(f"{exc} - no tag was moved: run this again", {"changed": exc.result.get("changed", False)}) from None
        moves = [Move(dataclasses.replace(target.image, tag=None), target.digest, (t.cast(str, target.image.tag),)) for target in moving]
        found = plan(client, moves)
        if found.missing:
            raise missing_source(found.missing, "it was just copied there: run this again")
        moved = {target.image: target for target in apply(client, found)}
        targets = [moved.get(target.image, target) for target in targets]
    return Promotion(targets, [], _notes(later))


def _names(images: t.Sequence[Image]) -> list[Reference]:
    """The final names of all images, in their order."""
    return [name for image in images for name in image.names()]


def _later_ones(client: Client, gate: Gate | None, targets: t.Sequence[Target]) -> dict[Reference, tuple[str, str]]:
    """The final names whose present images are of changes that merged later, with these images' digests and changes."""
    moving = [(target.image, target.previous) for target in targets if gate and target.moves and target.previous]
    images = list(dict.fromkeys(name.with_digest(digest) for name, digest in moving))
    changes = dict(zip(images, client.map(lambda image: _change_in(client, image), images)))
    found = [(name, digest, changes[name.with_digest(digest)]) for name, digest in moving]
    return {name: (digest, change) for name, digest, change in found if change and gate and gate.is_later(change, name, digest)}


def _change_in(client: Client, image: Reference) -> str:
    """The change that an image says that it is of, empty if it does not say."""
    registry = client.registry(image)
    manifest = registry.manifest(image)
    found = changes_of(registry, image, manifest) if manifest and not manifest.is_tombstone else set()
    return found.pop() if len(found) == 1 else ""


def _kept(targets: t.Sequence[Target], later: t.Container[Reference]) -> list[Target]:
    """The targets, of which some go on naming what they name."""
    return [dataclasses.replace(target, digest=t.cast(str, target.previous)) if target.image in later else target for target in targets]


def _notes(later: t.Mapping[Reference, tuple[str, str]]) -> list[str]:
    return [f"{name} stays {digest}, which is of change {change}: it went through the gate after this one" for name, (digest, change) in later.items()]


def _unclean(exc: ContainersError, targets: t.Sequence[Target]) -> RegistryError:
    """The error for tags that were moved, and temporary ones that are still there."""
    error = RegistryError(f"{exc} - all final tags were promoted; run this again, or set promote_container_image_cleanup to false")
    error.result = {
        "promoted_container_images": [target.to_dict(target.moves) for target in targets],
        "changed": any(target.moves for target in targets) or bool(exc.result.get("changed")),
    }
    return error


def _check_missing(client: Client, missing: t.Sequence[Move], change: str, gate: Gate | None) -> tuple[list[Target], dict[Reference, tuple[str, str]]]:
    """The final tags of temporary tags that are gone, if they were promoted before.

    :returns: and those that name an image of a later change, see ``_later_ones``.
    :raises RegistryError: one was not; the message names the temporary tag.
    """
    if missing and not change and not all(move.digest for move in missing):
        raise missing_source(missing, "upload it first; without a change there is no telling whether it was promoted before")

    def look(move: Move) -> Target:
        image = move.repository.with_tag(move.tags[0])
        registry = client.registry(image)
        manifest = registry.manifest(image)
        digest = manifest.digest if manifest else None
        right = move.digest or (digest if manifest and changes_of(registry, image, manifest) == {change} else "")
        return Target(image, right or "", digest, "promoted before")

    targets = client.map(look, missing)
    later = _later_ones(client, gate, targets)
    targets = _kept(targets, later)
    lost = [move for move, target in zip(missing, targets) if target.moves]
    if lost:
        wanted = "what the gate recorded" if lost[0].digest else f"an image of change {change}"
        raise missing_source(lost, f"upload it first; {lost[0].tags[0]!r} is not {wanted}, so it was not promoted before either")
    return targets, later


def changes_of(registry: Registry, repository: Reference, manifest: Manifest) -> set[str]:
    """The changes that an image, or the images of an index, say that they are of; an empty text for one that does not say.

    :raises RegistryError: a part of the image could not be read.
    """
    if not manifest.is_index:
        settings = image_config(registry, repository, manifest).get("config")
        labels = settings.get("Labels") if isinstance(settings, dict) else None
        return {str(labels.get(CHANGE_LABEL, "")) if isinstance(labels, dict) else ""}
    found: set[str] = set()
    for child in manifest.images:
        image = registry.manifest(repository.with_digest(child.digest))
        found |= changes_of(registry, repository, image) if image else {""}
    return found


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    by_tag = params["method"] == "tag"
    prefix = check_prefix(params["prefix"]) if by_tag else ""
    images = parse_images(params["images"], prefix)
    credentials = Credentials(params["credentials"])
    for image in images:
        credentials.check_target(image.repository)
    if params["cleanup_age"] < 0:
        raise InputError(f"promote_container_image_cleanup_age is to be a number of seconds, not {params['cleanup_age']}")
    url, query = params["api"], params["query"]
    if not url and not by_tag:
        raise InputError("promote_container_image_method intermediate-registry finds the images by Zuul's API: set promote_container_image_api")
    if url and not query:
        query = query_of(params["zuul"], params["pipeline"], params["job"])
    actions: tuple[str, ...] = ("pull",) if check_mode else ("pull", "push", "delete")
    if not by_tag:
        # Of what is copied from; the images' own repositories are asked for more.
        actions = ("pull",)
        if params["intermediate_registry"]:
            credentials = credentials.joined(ZuulRegistry.parse("intermediate_registry", params["intermediate_registry"]).credentials)
    with open_client(params, credentials, actions) as client:
        gate = Gate(BuildsApi(client, url, credentials), query) if url else None
        if by_tag:
            promotion = promote(client, images, prefix, change_of(params["zuul"]), params["cleanup"], params["cleanup_age"], check_mode, gate)
        else:
            promotion = promote_copies(client, images, t.cast(Gate, gate), check_mode)
        moved = sum(target.moves for target in promotion.targets)
        gone = sum(removal.action in ("remove", "removed") for removal in promotion.removals)
        removals = untag_diff(promotion.removals)
        verbs = ("would promote", "would remove") if check_mode else ("promoted", "removed")
        tags = f"{verbs[0]} {moved} of {count(len(promotion.targets), 'tag')}"
        tags += f", {verbs[1]} {count(gone, 'temporary tag')}" if by_tag else ""
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
        "api": {"type": "str", "default": ""},
        "pipeline": {"type": "str", "default": ""},
        "job": {"type": "str", "default": ""},
        "query": {"type": "str", "default": ""},
        "intermediate_registry": {"type": "dict", "default": {}, "no_log": True},
        "cleanup": {"type": "bool", "default": True},
        "cleanup_age": {"type": "int", "default": 86400},
        **client_arguments(),
    },
    run=_run,
)
