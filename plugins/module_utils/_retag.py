# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Moving tags within their repositories: all of them or none."""

from __future__ import annotations

import dataclasses
import time
import typing as t

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
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Descriptor,
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
    is_digest,
    is_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._untag import (
    remove_all,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import (
    Vendors,
)

# Seconds between looks at a tag that a registry accepted but does not serve yet.
_PATIENCE = (0.2, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Move:
    """Tags to be moved to one image of their repository.

    :param source: a tag or digest.
    :param digest: what the source must name; ``None`` if anything will do.
    """

    repository: Reference
    source: str
    tags: tuple[str, ...]
    digest: str | None = None

    @property
    def image(self) -> Reference:
        """The source."""
        if is_digest(self.source):
            return self.repository.with_digest(self.source)
        return self.repository.with_tag(self.source)


@dataclasses.dataclass(frozen=True)
class Target:
    """A tag, what it is to name and what it named before.

    :param state: in words, what became of it.
    """

    image: Reference
    digest: str
    previous: str | None
    state: str = ""

    @property
    def moves(self) -> bool:
        """Whether there is anything to do."""
        return self.digest != self.previous

    def to_dict(self, changed: bool) -> dict[str, t.Any]:
        """The form in which a module returns it."""
        return {
            "repository": self.image.name,
            "tag": self.image.tag,
            "digest": self.digest,
            "previous_digest": self.previous,
            "changed": changed,
        }


@dataclasses.dataclass
class Plan:
    """What ``plan`` found out.

    :param targets: one for each tag whose source is there.
    :param missing: the moves whose source is not there.
    :param manifests: by the sources' repositories and digests.
    """

    targets: list[Target] = dataclasses.field(default_factory=list)
    missing: list[Move] = dataclasses.field(default_factory=list)
    manifests: dict[Reference, Manifest] = dataclasses.field(default_factory=dict)


def check_moves(moves: t.Sequence[Move]) -> None:
    """Refuse a tag that two images claim.

    :raises InputError: the message names the tag.
    """
    seen: set[Reference] = set()
    for move in moves:
        for tag in move.tags:
            image = move.repository.with_tag(tag)
            if image in seen:
                raise InputError(f"{image}: two images claim this tag: name it once")
            seen.add(image)


def plan(client: Client, moves: t.Sequence[Move]) -> Plan:
    """Find out what every source and every target names. Nothing is written.

    Of the sources of a repository the first is read, the others are only asked for their digest, which is mostly the same.

    :param moves: no tag is in two of them, see ``check_moves``.
    :raises RegistryError: a registry could not tell, or a source names another digest than expected.
    """
    found = Plan()
    first: dict[Reference, Reference] = {}
    for move in moves:
        first.setdefault(move.repository, move.image)

    def ask(question: tuple[str, Reference]) -> Descriptor | Manifest | None:
        kind, image = question
        registry = client.registry(image)
        return registry.manifest(image) if kind == "read" else registry.resolve(image)

    questions: dict[Reference, str] = {}
    for move in moves:
        questions[move.image] = "read" if first[move.repository] == move.image else "resolve"
    for move in moves:
        for tag in move.tags:
            questions.setdefault(move.repository.with_tag(tag), "resolve")
    work = [(kind, image) for image, kind in questions.items()]
    answers = dict(zip(questions, client.map(ask, work)))

    manifests = found.manifests
    manifests.update((move.repository.with_digest(answer.digest), answer) for move in moves if isinstance(answer := answers[move.image], Manifest))
    unread = {
        move.repository.with_digest(source.digest): None
        for move in moves
        if (source := answers[move.image]) and any(_digest(answers[move.repository.with_tag(tag)]) != source.digest for tag in move.tags)
    }
    manifests.update(client.map(lambda image: (image, _read(client, image)), [image for image in unread if image not in manifests]))

    for move in moves:
        source = answers[move.image]
        manifest = manifests.get(move.repository.with_digest(source.digest)) if source else None
        if source is None or (manifest is not None and manifest.is_tombstone):
            found.missing.append(move)
            continue
        if move.digest and source.digest != move.digest:
            raise RegistryError(f"{move.image} names {source.digest} instead of the expected {move.digest}: nothing was moved, find out who pushed it")
        for tag in move.tags:
            image = move.repository.with_tag(tag)
            found.targets.append(Target(image, source.digest, _digest(answers[image])))
    return found


def _digest(answer: Descriptor | Manifest | None) -> str | None:
    return answer.digest if answer else None


def _read(client: Client, image: Reference) -> Manifest:
    manifest = client.registry(image).manifest(image)
    if manifest is None:
        raise RegistryError(f"GET manifest of {image}: {image.registry} answered 404 although a tag names it: try again")
    return manifest


def apply(client: Client, found: Plan) -> list[Target]:
    """Move the tags. If one cannot be moved, all are put back.

    :raises RegistryError: one could not be moved; ``result["images"]`` tells the state of each.
    """
    moving = [target for target in found.targets if target.moves]

    def put(target: Target) -> None:
        manifest = found.manifests[dataclasses.replace(target.image, tag=None, digest=target.digest)]
        client.registry(target.image).put_manifest(target.image, manifest)

    # First all writes, then all looks: docker-registry answers 500 to a look at a digest that is just being tagged.
    outcomes = client.try_map(put, moving)
    accepted = {target.image for target, outcome in zip(moving, outcomes) if outcome is None}
    if len(accepted) == len(moving):
        outcomes = client.try_map(lambda target: _wait_for(client, target.image, target.digest), moving)
    failures = [outcome for outcome in outcomes if isinstance(outcome, ContainersError)]
    if not failures:
        return [dataclasses.replace(target, state="moved" if target.moves else "unchanged") for target in found.targets]
    states = _roll_back(client, moving, accepted)
    targets = [dataclasses.replace(target, state=states.get(target.image, "unchanged")) for target in found.targets]
    bad = [f"{target.image} {target.state}" for target in targets if target.state not in _SAFE]
    aftermath = "; ".join(bad) if bad else "no tag was moved, every one names what it named before"
    error = RegistryError(f"{failures[0]} - {aftermath}")
    error.result = {
        "images": [dict(target.to_dict(target.state not in _SAFE), state=target.state) for target in targets],
        "changed": bool(bad),
    }
    raise error


def _wait_for(client: Client, image: Reference, digest: str) -> None:
    """Look whether a tag names a digest; that a registry accepted the manifest does not prove it.

    :raises RegistryError: it does not.
    """
    registry = client.registry(image)
    now = registry.resolve(image)
    for pause in _PATIENCE:
        if now is not None and now.digest == digest:
            return
        time.sleep(pause)
        now = registry.resolve(image)
    if now is None or now.digest != digest:
        raise RegistryError(f"PUT manifest of {image}: {image.registry} accepted {digest} but the tag names {now.digest if now else 'nothing'}")


_SAFE = ("unchanged", "put back", "removed again")


def _roll_back(client: Client, targets: t.Sequence[Target], accepted: t.Container[Reference]) -> dict[Reference, str]:
    """Put every tag back to what it named, and say of each what state it is in.

    :param accepted: the tags whose registry said that it moved them.
    """

    def back(target: Target) -> str | None:
        """The state, ``None`` for a new tag that is to be removed."""
        registry = client.registry(target.image)
        now = _digest(registry.resolve(target.image))
        # A registry may serve a while what it served before; who said that the tag was moved is told to move it back.
        if now == target.previous and (target.image not in accepted or target.previous is None):
            return "unchanged"
        if now not in (target.digest, target.previous):
            return f"names {now or 'nothing'}, which somebody else did"
        if target.previous is None:
            return None
        old = registry.manifest(dataclasses.replace(target.image, tag=None, digest=target.previous))
        if old is None:
            return f"names {target.digest}, and its old image {target.previous} is gone"
        registry.put_manifest(target.image, old)
        _wait_for(client, target.image, target.previous)
        return "put back" if now == target.digest else "unchanged"

    states: dict[Reference, str] = {}
    new: dict[Reference, dict[str, str]] = {}
    for target, outcome in zip(targets, client.try_map(back, targets)):
        if isinstance(outcome, ContainersError):
            states[target.image] = f"is to name {target.previous or 'nothing'} but may name {target.digest}: {outcome}"
        elif outcome is None:
            new.setdefault(dataclasses.replace(target.image, tag=None), {})[t.cast(str, target.image.tag)] = target.digest
        else:
            states[target.image] = outcome
    for removal in remove_all(Vendors(client), new):
        gone = removal.action in ("removed", "absent")
        states[removal.image] = "removed again" if gone else f"is new, names {removal.digest} and could not be removed: {removal.reason}"
    return states


def retag(client: Client, moves: t.Sequence[Move], check_mode: bool = False) -> list[Target]:
    """Move tags to the images that other tags or digests of their repositories name.

    :raises RegistryError: a source is missing or not the expected one, or a tag could not be moved.
    """
    found = plan(client, moves)
    if found.missing:
        raise missing_source(found.missing)
    return found.targets if check_mode else apply(client, found)


def missing_source(moves: t.Sequence[Move], hint: str = "check its name, and that it was uploaded") -> RegistryError:
    """The error for sources that are not there."""
    more = f" (and {len(moves) - 1} more)" if len(moves) > 1 else ""
    return RegistryError(
        f"{moves[0].image}{more}: there is no such image at {moves[0].repository.registry}, nothing was moved: {hint}", 404, "MANIFEST_UNKNOWN"
    )


def parse_moves(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Move]:
    """Moves from what a user gave as ``images``.

    :raises InputError: a name, tag or digest is malformed.
    """
    found = []
    for number, item in enumerate(items):
        repository = Reference.parse_repository(item["repository"])
        where = f"images[{number}] ({repository.name})"
        source = item["source"]
        if not (is_digest(source) or is_tag(source)):
            raise InputError(f"{where}: source {source!r} is neither a tag nor a digest")
        if not item["tags"]:
            raise InputError(f"{where}: tags is empty")
        digest = item.get("digest")
        if digest and not is_digest(digest):
            raise InputError(f"{where}: digest {digest!r} is malformed")
        found.append(Move(repository, source, tuple(check_tag(tag, f"{where}: tag") for tag in item["tags"]), digest or None))
    check_moves(found)
    return found


def diff_of(targets: t.Iterable[Target]) -> dict[str, t.Any]:
    """What the tags name before and after, as Ansible's diff."""
    moving = [target for target in targets if target.moves]
    return {
        "before": {str(target.image): target.previous for target in moving},
        "after": {str(target.image): target.digest for target in moving},
    }


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    moves = parse_moves(params["images"])
    credentials = Credentials(params["credentials"])
    for move in moves:
        credentials.check_target(move.repository)
    with open_client(params, credentials, ("pull",) if check_mode else ("pull", "push")) as client:
        targets = retag(client, moves, check_mode)
        moving = sum(target.moves for target in targets)
        return {
            "changed": bool(moving),
            "msg": f"{'would move' if check_mode else 'moved'} {moving} of {count(len(targets), 'tag')}, {count(client.requests, 'request')}",
            "images": [target.to_dict(target.moves) for target in targets],
            "requests": client.requests,
            "diff": diff_of(targets),
        }


ENTRY = Entry(
    arguments={
        "images": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "repository": {"type": "str", "required": True},
                "source": {"type": "str", "required": True},
                "tags": {"type": "list", "elements": "str", "required": True},
                "digest": {"type": "str"},
            },
        },
        **client_arguments(),
    },
    run=_run,
)
