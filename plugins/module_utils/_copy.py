# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Copying images between registries, byte for byte."""

from __future__ import annotations

import collections
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
    MissingError,
    check_keys,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    OCI_INDEX,
    Descriptor,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._progress import (
    Progress,
    size_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._referrers import (
    Referrers,
)

_KEYS = ("source", "destinations", "platforms", "referrers")
# Says which index one of some platforms was made of, so that the next run need not read that. Docker's lists have no annotations.
_SOURCE = "io.github.gating.containers.source"


@dataclasses.dataclass(frozen=True)
class Copy:
    """An image, and where it is to be.

    :param source: a tag, or a digest.
    :param targets: each with a tag, or with the digest alone.
    :param platforms: of an index, those to copy; all if there are none.
    :param referrers: whether what refers to it goes along.
    :param error: why it cannot be copied, if that is known before.
    """

    source: Reference
    targets: tuple[Reference, ...]
    platforms: tuple[str, ...] = ()
    referrers: bool = False
    error: ContainersError | None = None


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
    :param referrers: how many manifests that refer to it were copied.
    :param listed: whether something is listed as referring to it that was not.
    """

    copy: Copy
    outcomes: list[Outcome]
    digest: str | None = None
    stored: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(("sent", "mounted", "there"), 0))
    size: int = 0
    referrers: int = 0
    listed: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything names another image now."""
        return bool(self.referrers) or self.listed or any(outcome.error is None and outcome.digest != outcome.previous for outcome in self.outcomes)

    @property
    def line(self) -> str:
        """What a person is told of it."""
        failed = [outcome for outcome in self.outcomes if outcome.error]
        state = f"failed, {failed[0].error}" if failed else "copied" if self.changed else "unchanged"
        sent = f", {size_of(self.size)} sent" if self.size else ""
        return f"{self.copy.source} to {', '.join(str(target) for target in self.copy.targets)}: {state}{sent}"

    def to_dict(self) -> dict[str, t.Any]:
        """The form in which a module returns it."""
        return {
            "source": str(self.copy.source),
            "digest": self.digest,
            "destinations": [outcome.to_dict() for outcome in self.outcomes],
            "changed": self.changed,
            "bytes": self.size,
            "blobs": dict(self.stored),
            "referrers": self.referrers,
        }


class Copier:
    """Copies images; all of one run share what is known of the registries.

    :param images: how many there will be, for what is told while they are copied.
    """

    def __init__(self, client: Client, check_mode: bool = False, images: int = 0) -> None:
        self._client = client
        self._check_mode = check_mode
        self._progress = Progress(images)
        self._blobs = Blobs(client, client.parallel, self._progress)
        self._referrers = Referrers(client)

    def copy_all(self, copies: t.Sequence[Copy]) -> list[Copied]:
        """Copy images, several at a time. It does not raise: each has its errors."""
        for copy in copies:
            for target in copy.targets:
                near = [copy.source] if copy.source.registry == target.registry else []
                self._client.store(target).grant(target, ("pull",) if self._check_mode else ("pull", "push"), near)

        # All at the same time. What cannot be reached is an error of the image that needs it.
        stores = dict.fromkeys(self._client.store(image) for copy in copies for image in (copy.source, *copy.targets))
        self._client.try_map(lambda store: store.connect(), stores)

        def copy_one(copy: Copy) -> Copied:
            done = self.copy(copy)
            self._progress.finish(done.line)
            return done

        with self._progress:
            results = t.cast("list[Copied]", self._client.try_map(copy_one, copies, 2 * self._client.parallel))
            for name in dict.fromkeys(target.registry for copy in copies for target in copy.targets if target.is_layout):
                try:
                    self._client.finish(name)
                except ContainersError as exc:
                    for result in results:
                        outcomes = [outcome for outcome in result.outcomes if outcome.target.registry == name]
                        referred = result.referrers or result.listed
                        self._fail([outcome for outcome in outcomes if referred or outcome.digest != outcome.previous], exc)
        return results

    def copy(self, copy: Copy) -> Copied:
        """Copy one image."""
        done = Copied(copy, [Outcome(target) for target in copy.targets])
        try:
            if copy.error:
                raise copy.error
            self._copy(copy, done)
        except ContainersError as exc:
            for outcome in done.outcomes:
                # What is right already is not wrong because of others.
                if outcome.digest is None or outcome.digest != outcome.previous:
                    outcome.error = outcome.error or exc
        return done

    def _copy(self, copy: Copy, done: Copied) -> None:
        self._look(done.outcomes)
        going = [outcome for outcome in done.outcomes if outcome.error is None]
        if not going:
            return
        root, whole = self._root(copy, going)
        done.digest = root.digest
        for outcome in going:
            outcome.digest = root.digest
        same = _by_repository(outcome for outcome in going if outcome.previous == root.digest)
        moving = _by_repository(outcome for outcome in going if outcome.previous != root.digest)
        if same and copy.referrers and whole:
            # Something may refer to it since it was copied. What refers to its parts came with them.
            try:
                self._refer(copy.source, [root.digest], same, done)
            except ContainersError as exc:
                self._fail([outcome for outcomes in same.values() for outcome in outcomes], exc)
        if moving and not self._check_mode:
            manifest = root if isinstance(root, Manifest) else self._manifest(copy.source.with_digest(root.digest))
            self._move(copy, manifest, whole, moving, done)

    def _move(self, copy: Copy, root: Manifest, whole: bool, repositories: t.Mapping[Reference, list[Outcome]], done: Copied) -> None:
        """Let tags name an image that they do not name."""
        # Where the tag named something before, it may well have parts in common with what it is to name.
        updated = [repository for repository, outcomes in repositories.items() if any(outcome.previous for outcome in outcomes)]
        manifests, there = self._descend(copy.source, root, updated)
        # To an index that was made here of some platforms nothing refers.
        subjects = [manifest.digest for manifest in manifests if whole or manifest is not root] if copy.referrers else []

        def publish(ready: t.Mapping[Reference, list[Outcome]]) -> None:
            self._put_children(manifests, there, ready)
            # Before the tags: who verifies signatures shall not find an image without them.
            self._refer(copy.source, subjects, ready, done)
            self._name(root, [outcome for outcomes in ready.values() for outcome in outcomes if outcome.error is None])

        slow = self._store(copy.source, manifests, there, list(repositories), done)
        publish({repository: outcomes for repository, outcomes in repositories.items() if repository not in slow})
        # Those that failed, or were too slow for the others, by themselves.
        for repository, error in slow.items():
            failed = self._store(copy.source, manifests, there, [repository], done) if may_pass(error) else {repository: error}
            if failed:
                for outcome in repositories[repository]:
                    outcome.error = failed[repository]
            else:
                publish({repository: repositories[repository]})

    def _look(self, outcomes: t.Sequence[Outcome]) -> None:
        """Find out what the targets name."""
        found = self._client.try_map(lambda outcome: self._client.store(outcome.target).resolve(outcome.target), outcomes)
        for outcome, descriptor in zip(outcomes, found):
            if isinstance(descriptor, ContainersError):
                outcome.error = descriptor
            elif descriptor is not None:
                outcome.previous = descriptor.digest

    def _root(self, copy: Copy, outcomes: t.Sequence[Outcome]) -> tuple[Descriptor | Manifest, bool]:
        """What the targets are to name, and whether that is what the source names.

        If a target names something, a HEAD may do at the source, which some registries do not count as a pull.
        """
        named = {outcome.previous for outcome in outcomes}
        if named != {None} and not copy.platforms:
            return self._described(copy.source), True
        if copy.platforms and len(named) == 1 and None not in named:
            kept = self._kept(copy, outcomes[0])
            if kept:
                return kept
        manifest = self._manifest(copy.source)
        root = _filtered(manifest, copy)
        return root, root is manifest

    def _kept(self, copy: Copy, outcome: Outcome) -> tuple[Manifest, bool] | None:
        """The same, if a target names the wanted platforms of what the source names now."""
        digest = self._described(copy.source).digest
        try:
            manifest = self._manifest(outcome.target.with_digest(outcome.previous or ""))
            same = digest in (manifest.digest, manifest.annotations.get(_SOURCE)) and _filtered(manifest, copy) is manifest
        except ContainersError:
            return None
        return (manifest, manifest.digest == digest) if same else None

    def _described(self, image: Reference) -> Descriptor:
        descriptor = self._client.store(image).resolve(image)
        if descriptor is None:
            raise _missing(image)
        return descriptor

    def _manifest(self, image: Reference) -> Manifest:
        manifest = self._client.store(image).manifest(image)
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
            found = self._client.try_map(lambda pair: self._client.store(pair[0]).resolve(pair[0].with_digest(pair[1])), pairs)
            for (repository, digest), descriptor in zip(pairs, found):
                if isinstance(descriptor, Descriptor):
                    there[repository].add(digest)
            read = self._client.map(lambda digest: self._manifest(source.with_digest(digest)), digests)
            level = []
            for manifest in read:
                # An index says which media type its child has; a registry may not.
                manifests.append(dataclasses.replace(manifest, media_type=children[manifest.digest].media_type or manifest.media_type))
                level += manifests[-1].children
        return manifests, there

    def _store(
        self, source: Reference, manifests: t.Sequence[Manifest], there: t.Mapping[Reference, set[str]], repositories: t.Sequence[Reference], done: Copied
    ) -> dict[Reference, ContainersError]:
        """Let repositories have all blobs, and return those that do not have them with their first errors."""
        wanted: dict[str, tuple[Descriptor, list[Reference]]] = {}
        for manifest in manifests:
            if any(blob.size < 0 for blob in manifest.blobs):
                raise ContainersError(f"{source}: a blob of its manifest {manifest.digest} has no size: the image is damaged")
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

    def _put_children(
        self, manifests: t.Sequence[Manifest], there: t.Mapping[Reference, set[str]], repositories: t.Mapping[Reference, t.Sequence[Outcome]]
    ) -> None:
        """Store all manifests but the first, children before what lists them."""

        def put(repository: Reference) -> None:
            registry = self._client.store(repository)
            lacking = [manifest for manifest in reversed(manifests[1:]) if manifest.digest not in there.get(repository, ())]
            images = [manifest for manifest in lacking if not manifest.is_index]
            self._client.map(lambda manifest: registry.put_manifest(repository.with_digest(manifest.digest), manifest), images)
            for index in [manifest for manifest in lacking if manifest.is_index]:
                registry.put_manifest(repository.with_digest(index.digest), index)

        for repository, error in zip(repositories, self._client.try_map(put, repositories)):
            for outcome in repositories[repository]:
                outcome.error = error

    def _name(self, root: Manifest, outcomes: t.Sequence[Outcome]) -> None:
        """Let targets name a manifest, and look whether they do."""

        def name(outcome: Outcome) -> None:
            self._client.store(outcome.target).name_manifest(outcome.target, root)

        for outcome, error in zip(outcomes, self._client.try_map(name, outcomes)):
            outcome.error = error

    def _refer(self, source: Reference, digests: t.Sequence[str], repositories: t.Mapping[Reference, t.Sequence[Outcome]], done: Copied) -> None:
        """Copy what refers to manifests, and what refers to that."""
        seen: set[str] = set()
        todo = list(dict.fromkeys(digests))
        while todo and repositories:
            seen.update(todo)
            subjects = [source.with_digest(digest) for digest in todo]
            listed = dict(zip(todo, self._client.map(self._referrers.items, subjects)))
            tags = [tag for tags in self._client.map(self._referrers.cosign_tags, subjects) for tag in tags]
            names = [source.with_digest(item["digest"]) for items in listed.values() for item in items] + [source.with_tag(tag) for tag in tags]
            copies = [
                Copy(name, tuple(dataclasses.replace(repository, tag=name.tag, digest=name.digest) for repository in repositories))
                for name in dict.fromkeys(names)
            ]
            copied = [self.copy(copy) for copy in copies]
            gone: set[str] = set()
            for one in copied:
                done.referrers += one.changed
                done.size += one.size
                for how, number in one.stored.items():
                    done.stored[how] += number
                for outcome in one.outcomes:
                    # A list may name what was deleted.
                    if isinstance(outcome.error, MissingError):
                        gone.add(one.copy.source.digest or "")
                    elif outcome.error:
                        self._fail(repositories[_repository(outcome)], outcome.error)
            for repository, outcomes in repositories.items():
                try:
                    for digest, items in listed.items():
                        wanted = [item for item in items if item["digest"] not in gone]
                        done.listed |= self._referrers.register(repository.with_digest(digest), wanted, self._check_mode)
                except ContainersError as exc:
                    self._fail(outcomes, exc)
            todo = [digest for digest in dict.fromkeys(one.digest for one in copied if one.digest) if digest not in seen]

    @staticmethod
    def _fail(outcomes: t.Sequence[Outcome], error: ContainersError) -> None:
        for outcome in outcomes:
            outcome.error = outcome.error or error


def _repository(outcome: Outcome) -> Reference:
    return dataclasses.replace(outcome.target, tag=None, digest=None)


def _by_repository(outcomes: t.Iterable[Outcome]) -> dict[Reference, list[Outcome]]:
    found: dict[Reference, list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes:
        found[_repository(outcome)].append(outcome)
    return dict(found)


def _filtered(root: Manifest, copy: Copy) -> Manifest:
    """An index of the wanted platforms and their attestations only; the same one if they are all that it has.

    :raises ContainersError: it has not all of them.
    """
    if not copy.platforms:
        return root
    if not root.is_index:
        raise ContainersError(f"{copy.source} is an image of one platform, so platforms cannot be chosen: leave them out")
    covered = [child.digest for child in root.children if child.platform and any(_covers(wanted, child.platform) for wanted in copy.platforms)]
    kept = [item for item, child in zip(_items(root), root.children) if child.digest in covered or _attested(item) in covered]
    names = [child.platform for child in root.children if child.platform]
    missing = [wanted for wanted in copy.platforms if not any(_covers(wanted, name) for name in names)]
    if missing:
        raise ContainersError(f"{copy.source} has no image for {', '.join(missing)}: it has {', '.join(names) or 'none'}")
    if len(kept) == len(root.children):
        return root
    made = {**root.json, "manifests": kept}
    if root.media_type == OCI_INDEX:
        made["annotations"] = {**root.annotations, _SOURCE: root.digest}
    content = json.dumps(made, separators=(",", ":")).encode()
    return Manifest(root.media_type, content, digest_of(content))


def _items(root: Manifest) -> list[dict[str, t.Any]]:
    items = root.json.get("manifests")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _attested(item: t.Mapping[str, t.Any]) -> str | None:
    """The digest of the image in the same index that an attestation is of (BuildKit, docs/attestations/attestation-storage.md)."""
    annotations = item.get("annotations")
    return annotations.get("vnd.docker.reference.digest") if isinstance(annotations, dict) else None


def _covers(wanted: str, platform: str) -> bool:
    """Whether a platform is the wanted one; a variant counts if it is asked for."""
    return platform == wanted or platform.startswith(f"{wanted}/")


def _missing(image: Reference) -> MissingError:
    where = "the path and the tag" if image.is_layout else f"its name, and the login for {image.registry}"
    return MissingError(f"{image} is not there: check {where}")


def parse_copies(items: t.Any) -> list[Copy]:
    """The copies that a user asked for.

    :raises InputError: one is malformed, or see ``check_copies``. The message names it.
    """
    if not isinstance(items, (list, tuple)):
        raise InputError("images is to be a list of source and destinations")
    copies = []
    for number, item in enumerate(items):
        where = f"images[{number}]"
        if not isinstance(item, t.Mapping):
            raise InputError(f"{where} is to be a dictionary of source and destinations, not a {type(item).__name__}")
        check_keys(where, item, _KEYS)
        source = Reference.parse_place(item.get("source"))
        if not source.tag and not source.digest and not source.is_layout:
            source = source.with_tag("latest")
        where = f"{where} ({source})"
        given = item.get("destinations")
        if not isinstance(given, (list, tuple)) or not given:
            raise InputError(f"{where}: destinations is to be a list of names that is not empty")
        targets = []
        for text in given:
            target = Reference.parse_place(text)
            if target.digest:
                raise InputError(f"{where}: the destination {text!r} has a digest: it gets that of the source")
            if not target.tag and not source.tag and not source.digest:
                raise InputError(f"{where}: neither it nor the destination {text!r} has a tag: add one to the destination")
            if not target.tag:
                target = target.with_tag(source.tag) if source.tag else target.with_digest(source.digest or "")
            targets.append(target)
        platforms = item.get("platforms") or []
        if not isinstance(platforms, (list, tuple)) or not all(isinstance(platform, str) for platform in platforms):
            raise InputError(f"{where}: platforms is to be a list such as [linux/amd64, linux/arm64]")
        if platforms and any(target.digest for target in targets):
            raise InputError(f"{where}: with platforms the digest is another one: name a tag for each destination")
        referrers = item.get("referrers", False)
        if not isinstance(referrers, bool):
            raise InputError(f"{where}: referrers is to be true or false")
        copies.append(Copy(source, tuple(targets), tuple(platforms), referrers))
    check_copies(copies)
    return copies


def check_copies(copies: t.Sequence[Copy]) -> None:
    """Refuse a name to which two images are to be copied, or from which another one is: copies run together, in no order.

    :raises InputError: the message has it.
    """
    seen: dict[Reference, Copy] = {}
    for copy in copies:
        for target in copy.targets:
            if target in seen:
                raise InputError(f"{target} is a destination twice: name it once")
            seen[target] = copy
    for copy in copies:
        if seen.get(copy.source, copy) is not copy:
            where = f"{copy.source} is a source, and a destination of {seen[copy.source].source}"
            raise InputError(f"{where}: copy {', '.join(map(str, copy.targets))} from there too, or in a task of its own")


def copy_all(client: Client, copies: t.Sequence[Copy], check_mode: bool) -> dict[str, t.Any]:
    """Copy images, and return what a module does.

    :raises ContainersError: a destination failed. ``result`` says what became of all.
    """
    results = Copier(client, check_mode, len(copies)).copy_all(copies)
    outcomes = [(result, outcome) for result in results for outcome in result.outcomes]
    failed = [(result, outcome) for result, outcome in outcomes if outcome.error]
    moving = [outcome for dummy, outcome in outcomes if not outcome.error and outcome.digest != outcome.previous]
    answer: dict[str, t.Any] = {
        "changed": any(result.changed for result in results),
        "images": [result.to_dict() for result in results],
        "requests": client.requests,
        "diff": {
            "before": {str(outcome.target): outcome.previous for outcome in moving},
            "after": {str(outcome.target): outcome.digest for outcome in moving},
        },
    }
    if failed:
        more = f" - and {count(len(failed) - 1, 'more destination')} failed" if len(failed) > 1 else ""
        result, outcome = failed[0]
        raise ContainersError(f"copy of {result.copy.source} to {outcome.target}: {outcome.error}{more}", answer)
    verb = "would copy" if check_mode else "copied"
    sent = size_of(sum(result.size for result in results))
    answer["msg"] = f"{verb} {count(len(moving), 'tag')} of {len(outcomes)}, {sent} sent, {count(client.requests, 'request')}"
    return answer


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    copies = parse_copies(params["images"])
    credentials = Credentials(params["credentials"])
    for copy in copies:
        for target in copy.targets:
            if not target.is_layout:
                credentials.check_target(target)
    with open_client(params, credentials, ("pull",)) as client:
        return copy_all(client, copies, check_mode)


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        **client_arguments(),
    },
    run=_run,
)
