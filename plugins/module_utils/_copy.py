# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Copying images between registries, byte for byte."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._blobs import (
    Blobs,
    Stored,
    may_pass,
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
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Descriptor,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)

_KEYS = ("source", "destinations", "platforms")


@dataclasses.dataclass(frozen=True)
class Copy:
    """An image, and where it is to be.

    :param source: a tag, or a digest.
    :param targets: each with a tag, or with the digest alone.
    :param platforms: of an index, those to copy; all if there are none.
    """

    source: Reference
    targets: tuple[Reference, ...]
    platforms: tuple[str, ...] = ()


@dataclasses.dataclass
class Outcome:
    """What became of one target.

    :param previous: the digest that it named before.
    """

    target: Reference
    previous: str | None = None
    digest: str | None = None
    error: ContainersError | None = None

    def to_dict(self) -> dict[str, t.Any]:
        """The form in which a module returns it."""
        found = {
            "image": str(self.target),
            "digest": self.digest,
            "previous_digest": self.previous,
            "changed": self.error is None and self.digest != self.previous,
        }
        return found if self.error is None else {**found, "error": str(self.error)}


@dataclasses.dataclass
class Copied:
    """What became of one image.

    :param digest: what the targets are to name; ``None`` if that was not found out.
    :param stored: how many blobs were sent, mounted, and there; of how many repositories ever.
    :param size: bytes that were sent.
    """

    copy: Copy
    outcomes: list[Outcome]
    digest: str | None = None
    stored: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(("sent", "mounted", "there"), 0))
    size: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything names another image now."""
        return any(outcome.error is None and outcome.digest != outcome.previous for outcome in self.outcomes)

    def to_dict(self) -> dict[str, t.Any]:
        """The form in which a module returns it."""
        return {
            "source": str(self.copy.source),
            "digest": self.digest,
            "destinations": [outcome.to_dict() for outcome in self.outcomes],
            "changed": self.changed,
            "bytes": self.size,
            "blobs": dict(self.stored),
        }


class Copier:
    """Copies images; all of one run share what is known of the registries.

    :param parallel: simultaneous requests to one registry, and blobs under way.
    """

    def __init__(self, client: Client, parallel: int, check_mode: bool = False) -> None:
        self._client = client
        self._parallel = parallel
        self._check_mode = check_mode
        self._blobs = Blobs(client, parallel)

    def copy_all(self, copies: t.Sequence[Copy]) -> list[Copied]:
        """Copy images, several at a time. It does not raise: each has its errors."""
        for copy in copies:
            for target in copy.targets:
                near = [copy.source] if copy.source.registry == target.registry else []
                self._client.registry(target).grant(target, ("pull",) if self._check_mode else ("pull", "push"), near)
        with concurrent.futures.ThreadPoolExecutor(2 * self._parallel) as pool:
            return list(pool.map(self.copy, copies))

    def copy(self, copy: Copy) -> Copied:
        """Copy one image."""
        done = Copied(copy, [Outcome(target) for target in copy.targets])
        try:
            self._copy(copy, done)
        except ContainersError as exc:
            for outcome in done.outcomes:
                outcome.error = outcome.error or exc
        return done

    def _copy(self, copy: Copy, done: Copied) -> None:
        self._look(done.outcomes)
        going = [outcome for outcome in done.outcomes if outcome.error is None]
        if not going:
            return
        root = self._root(copy, any(outcome.previous for outcome in going))
        done.digest = root.digest
        for outcome in going:
            outcome.digest = root.digest
        going = [outcome for outcome in going if outcome.previous != root.digest]
        if not going or self._check_mode:
            return
        if not isinstance(root, Manifest):
            root = self._manifest(copy.source.with_digest(root.digest))
        repositories: dict[Reference, list[Outcome]] = collections.defaultdict(list)
        for outcome in going:
            repositories[dataclasses.replace(outcome.target, tag=None, digest=None)].append(outcome)
        # Where the tag named something before, it may well have parts in common with what it is to name.
        updated = [repository for repository, outcomes in repositories.items() if any(outcome.previous for outcome in outcomes)]
        manifests, there = self._descend(copy.source, root, updated)
        slow = self._store(copy.source, manifests, there, list(repositories), done)
        ready = [repository for repository in repositories if repository not in slow]
        self._publish(manifests, there, {repository: repositories[repository] for repository in ready})
        # Those that failed, or were too slow for the others, by themselves.
        for repository, error in slow.items():
            outcomes = repositories[repository]
            if not may_pass(error):
                failed: dict[Reference, ContainersError] = {repository: error}
            else:
                failed = self._store(copy.source, manifests, there, [repository], done)
            if failed:
                for outcome in outcomes:
                    outcome.error = failed[repository]
            else:
                self._publish(manifests, there, {repository: outcomes})

    def _look(self, outcomes: t.Sequence[Outcome]) -> None:
        """Find out what the targets name."""
        found = self._client.try_map(lambda outcome: self._client.registry(outcome.target).resolve(outcome.target), outcomes)
        for outcome, descriptor in zip(outcomes, found):
            if isinstance(descriptor, ContainersError):
                outcome.error = descriptor
            elif descriptor is not None:
                outcome.previous = descriptor.digest

    def _root(self, copy: Copy, there: bool) -> Descriptor | Manifest:
        """What the targets are to name.

        :param there: whether one of them names something: then a HEAD may do, which some registries do not count as a pull.
        """
        if there and not copy.platforms:
            descriptor = self._client.registry(copy.source).resolve(copy.source)
            if descriptor is None:
                raise _missing(copy.source)
            return descriptor
        return _filtered(self._manifest(copy.source), copy)

    def _manifest(self, image: Reference) -> Manifest:
        manifest = self._client.registry(image).manifest(image)
        if manifest is None:
            raise _missing(image)
        return manifest

    def _descend(self, source: Reference, root: Manifest, updated: t.Sequence[Reference]) -> tuple[list[Manifest], dict[Reference, set[str]]]:
        """All manifests of an image, each before what it lists; and the digests of those that repositories have already.

        What a repository has is whole there, so only what no repository lacks is not read at all.
        """
        manifests, there = [root], {repository: set() for repository in updated}
        level = root.children
        while level:
            digests = list(dict.fromkeys(child.digest for child in level))
            children = {child.digest: child for child in level}
            pairs = [(repository, digest) for repository in updated for digest in digests]
            found = self._client.try_map(lambda pair: self._client.registry(pair[0]).resolve(pair[0].with_digest(pair[1])), pairs)
            for (repository, digest), descriptor in zip(pairs, found):
                if isinstance(descriptor, Descriptor):
                    there[repository].add(digest)
            read = self._client.map(lambda digest: self._manifest(source.with_digest(digest)), digests)
            level = []
            for manifest in read:
                # An index says which media type its child has; a registry may not.
                manifests.append(dataclasses.replace(manifest, media_type=children[manifest.digest].media_type or manifest.media_type))
                level += manifest.children
        return manifests, there

    def _store(
        self, source: Reference, manifests: t.Sequence[Manifest], there: t.Mapping[Reference, set[str]], repositories: t.Sequence[Reference], done: Copied
    ) -> dict[Reference, ContainersError]:
        """Let repositories have all blobs, and return those that do not have them with their first errors."""
        wanted: dict[str, tuple[Descriptor, list[Reference]]] = {}
        for manifest in manifests:
            lacking = [repository for repository in repositories if manifest.digest not in there.get(repository, ())]
            for blob in manifest.blobs:
                have = wanted.setdefault(blob.digest, (blob, []))[1]
                have += [repository for repository in lacking if repository not in have]
        work = sorted((item for item in wanted.values() if item[1]), key=lambda item: -item[0].size)
        failed: dict[Reference, ContainersError] = {}
        patient = len(repositories) == 1

        def note(outcomes: t.Mapping[Reference, Stored | ContainersError]) -> None:
            for repository, outcome in outcomes.items():
                if isinstance(outcome, ContainersError):
                    failed.setdefault(repository, outcome)
                else:
                    done.stored[outcome.how] += 1
                    done.size += outcome.size

        def store(item: tuple[Descriptor, list[Reference]], wait: bool) -> dict[Reference, Stored | ContainersError] | None:
            return self._blobs.store(source, item[0], [repository for repository in item[1] if repository not in failed], wait, patient)

        self._learn(source, work, repositories, note, patient)
        later = []
        for item, outcomes in zip(work, self._client.map(lambda item: store(item, False), work)):
            if outcomes is None:
                later.append(item)
            else:
                note(outcomes)
        # What another image has under way at the moment.
        for outcomes in self._client.map(lambda item: store(item, True), later):
            note(outcomes or {})
        return failed

    def _learn(
        self,
        source: Reference,
        work: t.Sequence[tuple[Descriptor, list[Reference]]],
        repositories: t.Sequence[Reference],
        note: t.Callable[[t.Mapping[Reference, Stored | ContainersError]], None],
        patient: bool,
    ) -> None:
        """Store the smallest blob at registries that are new to this run, which tells how they say that they have a blob."""
        new = {repository.registry for repository in repositories if not self._blobs.is_known(repository) and repository.registry != source.registry}
        if not new or not work:
            return
        with contextlib.ExitStack() as held:
            for registry in sorted(new):
                held.enter_context(self._blobs.learning(registry))
            blob, lacking = work[-1]
            mine = {repository.registry: repository for repository in lacking if repository.registry in new and not self._blobs.is_known(repository)}
            if mine:
                note(self._blobs.store(source, blob, list(mine.values()), True, patient) or {})
                for repository in mine.values():
                    lacking.remove(repository)

    def _publish(self, manifests: t.Sequence[Manifest], there: t.Mapping[Reference, set[str]], repositories: t.Mapping[Reference, t.Sequence[Outcome]]) -> None:
        """Store the manifests, children before what lists them, the tags last; and look whether the tags name what they should."""

        def publish(repository: Reference) -> None:
            registry = self._client.registry(repository)
            for manifest in reversed(manifests[1:]):
                if manifest.digest not in there.get(repository, ()):
                    registry.put_manifest(repository.with_digest(manifest.digest), manifest)

        def name(outcome: Outcome) -> None:
            registry = self._client.registry(outcome.target)
            registry.put_manifest(outcome.target, manifests[0])
            now = registry.resolve(outcome.target)
            if now is None or now.digest != manifests[0].digest:
                raise ContainersError(
                    f"PUT manifest of {outcome.target}: {registry.name} accepted {manifests[0].digest} but the tag names {now.digest if now else 'nothing'}"
                )

        outcomes = []
        for repository, error in zip(repositories, self._client.try_map(publish, repositories)):
            for outcome in repositories[repository]:
                outcome.error = error
                outcomes += [outcome] if error is None else []
        for outcome, error in zip(outcomes, self._client.try_map(name, outcomes)):
            outcome.error = error


def _filtered(root: Manifest, copy: Copy) -> Manifest:
    """An index of the wanted platforms only; the same one if they are all that it has.

    :raises ContainersError: it has not all of them.
    """
    if not copy.platforms:
        return root
    if not root.is_index:
        raise ContainersError(f"{copy.source} is an image of one platform, so platforms cannot be chosen: leave them out")
    kept = [item for item, child in zip(_items(root), root.children) if child.platform and any(_covers(wanted, child.platform) for wanted in copy.platforms)]
    names = [child.platform for child in root.children if child.platform]
    missing = [wanted for wanted in copy.platforms if not any(_covers(wanted, name) for name in names)]
    if missing:
        raise ContainersError(f"{copy.source} has no image for {', '.join(missing)}: it has {', '.join(names) or 'none'}")
    if len(kept) == len(root.children):
        return root
    content = json.dumps({**root.json, "manifests": kept}, separators=(",", ":"), ensure_ascii=False).encode()
    return Manifest(root.media_type, content, digest_of(content))


def _items(root: Manifest) -> list[dict[str, t.Any]]:
    return [item for item in root.json.get("manifests") or [] if isinstance(item, dict)]


def _covers(wanted: str, platform: str) -> bool:
    """Whether a platform is the wanted one; a variant counts if it is asked for."""
    return platform == wanted or platform.startswith(f"{wanted}/")


def _missing(image: Reference) -> ContainersError:
    return ContainersError(f"{image} is not there: check its name, and the login for {image.registry}")


def parse_copies(items: t.Any) -> list[Copy]:
    """The copies that a user asked for.

    :raises InputError: one is malformed, or two images are to be copied to one name. The message names it.
    """
    if not isinstance(items, (list, tuple)):
        raise InputError("images is to be a list of source and destinations")
    copies, seen = [], set()
    for number, item in enumerate(items):
        where = f"images[{number}]"
        if not isinstance(item, t.Mapping):
            raise InputError(f"{where} is to be a dictionary of source and destinations, not a {type(item).__name__}")
        for key in item:
            if key not in _KEYS:
                raise InputError(f"{where} has an unknown key {key!r}: it may have {', '.join(_KEYS)}")
        source = Reference.parse(item.get("source"))
        if not source.tag and not source.digest:
            source = source.with_tag("latest")
        where = f"{where} ({source})"
        given = item.get("destinations")
        if not isinstance(given, (list, tuple)) or not given:
            raise InputError(f"{where}: destinations is to be a list of names that is not empty")
        targets = []
        for text in given:
            target = Reference.parse(text)
            if target.digest:
                raise InputError(f"{where}: the destination {text!r} has a digest: it gets that of the source")
            if not target.tag:
                target = target.with_tag(source.tag) if source.tag else target.with_digest(source.digest or "")
            if target in seen:
                raise InputError(f"{where}: {target} is a destination twice: name it once")
            seen.add(target)
            targets.append(target)
        platforms = item.get("platforms") or []
        if not isinstance(platforms, (list, tuple)) or not all(isinstance(platform, str) for platform in platforms):
            raise InputError(f"{where}: platforms is to be a list such as [linux/amd64, linux/arm64]")
        if platforms and any(target.digest for target in targets):
            raise InputError(f"{where}: with platforms the digest is another one: name a tag for each destination")
        copies.append(Copy(source, tuple(targets), tuple(platforms)))
    return copies


def size_of(number: float) -> str:
    """A number of bytes as a person reads it."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    copies = parse_copies(params["images"])
    credentials = Credentials(params["credentials"])
    for copy in copies:
        for target in copy.targets:
            credentials.check_target(target)
    with open_client(params, credentials, ("pull",)) as client:
        results = Copier(client, params["parallel"], check_mode).copy_all(copies)
        outcomes = [outcome for result in results for outcome in result.outcomes]
        failed = [outcome for outcome in outcomes if outcome.error]
        moving = [outcome for outcome in outcomes if not outcome.error and outcome.digest != outcome.previous]
        answer: dict[str, t.Any] = {
            "changed": bool(moving),
            "images": [result.to_dict() for result in results],
            "requests": client.requests,
            "diff": {
                "before": {str(outcome.target): outcome.previous for outcome in moving},
                "after": {str(outcome.target): outcome.digest for outcome in moving},
            },
        }
        if failed:
            more = f" - and {count(len(failed) - 1, 'more destination')} failed" if len(failed) > 1 else ""
            raise ContainersError(f"copy of {_source_of(results, failed[0])} to {failed[0].target}: {failed[0].error}{more}", answer)
        verb = "would copy" if check_mode else "copied"
        sent = size_of(sum(result.size for result in results))
        answer["msg"] = f"{verb} {count(len(moving), 'tag')} of {len(outcomes)}, {sent} sent, {count(client.requests, 'request')}"
        return answer


def _source_of(results: t.Sequence[Copied], outcome: Outcome) -> Reference:
    return next(result.copy.source for result in results if outcome in result.outcomes)


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        **client_arguments(),
    },
    run=_run,
)
