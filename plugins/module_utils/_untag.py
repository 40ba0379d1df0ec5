# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Removing tags, and never anything else: no image that another tag names is lost."""

from __future__ import annotations

import dataclasses
import datetime
import re
import threading
import time
import typing as t
import uuid

from ansible_collections.gating.containers.plugins.module_utils._age import (
    created,
    is_older,
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
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    EMPTY_JSON,
    Manifest,
    tombstone,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
    split_registry,
)

# With these a registry says that it deletes no tags (distribution-spec, "Deleting tags"; DIGEST_INVALID: distribution 2).
_NO_TAG_DELETE = ("UNSUPPORTED", "DIGEST_INVALID")

# Registries on which neither way works: what they answer would be taken for success, or leave a tag on a tombstone.
_NEEDS_VENDOR_API = {
    "docker.io": "Docker Hub keeps listing tags that were deleted by the registry API",
    "ghcr.io": "GitHub deletes versions, with all their tags",
}


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which tags of a repository to remove: those named, or those that match and are old.

    :param regex: searched in each tag.
    :param older_than: seconds.
    """

    repository: Reference
    tags: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    older_than: float = 0


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


def select(client: Client, selections: t.Sequence[Selection], protected: t.Container[tuple[str, str]] = ()) -> list[Removal]:
    """Find out what is to be removed. Nothing is written. Of what a registry could not tell the action is ``failed``.

    :param protected: repository names and tags that are kept whatever the selections say.
    """
    now = time.time()

    def candidates(selection: Selection) -> list[tuple[Selection, Reference]]:
        """The images that a selection names or matches."""
        if selection.regex is None:
            return [(selection, selection.repository.with_tag(tag)) for tag in selection.tags]
        tags = client.registry(selection.repository).tags(selection.repository)
        return [(selection, selection.repository.with_tag(tag)) for tag in tags if selection.regex.search(tag)]

    def judge(item: tuple[Selection, Reference]) -> Removal:
        selection, image = item
        if (image.name, image.tag) in protected:
            return Removal(image, "kept", None, "it is protected")
        registry = client.registry(image)
        if selection.regex is None:
            found = registry.resolve(image)
            return Removal(image, "remove", found.digest, "named") if found else Removal(image, "absent")
        manifest = registry.manifest(image)
        if manifest is None:
            return Removal(image, "absent")
        age = _age(client, image, manifest)
        if age is None:
            return Removal(image, "kept", manifest.digest, "its age is not known")
        if not is_older(age, selection.older_than, now):
            return Removal(image, "kept", manifest.digest, f"it is not older than {selection.older_than:g} seconds")
        return Removal(image, "remove", manifest.digest, f"older than {selection.older_than:g} seconds")

    unique: dict[Reference, tuple[Selection, Reference]] = {}
    results = []
    for selection, found in zip(selections, client.try_map(candidates, selections)):
        if isinstance(found, ContainersError):
            results.append(Removal(selection.repository, "failed", None, str(found)))
        else:
            for item in found:
                unique.setdefault(item[1], item)
    for image, judged in zip(unique, client.try_map(judge, unique.values())):
        results.append(Removal(image, "failed", None, str(judged)) if isinstance(judged, ContainersError) else judged)
    return results


def _age(client: Client, image: Reference, manifest: Manifest) -> float | None:
    try:
        return created(client.registry(image), image, manifest)
    except RegistryError as exc:
        if exc.status == 404:
            # A part of the image is missing. That is no reason to believe that it is old.
            return None
        raise


def cannot_remove(repository: Reference) -> str:
    """Why no tags can be removed from a repository, as far as its name alone tells; else an empty text."""
    host, port = split_registry(repository.registry)
    reason = _NEEDS_VENDOR_API.get(host) if port in (None, 443) else None
    return f"{reason}, and their own API is not supported yet" if reason else ""


class Remover:
    """Removes tags of one registry, by whichever way works there, which is found out once.

    First the tag is deleted as the OCI distribution-spec has it. Where the registry says that it does not do that, a
    tombstone, a manifest unlike any other, is put on the tag and deleted by its digest, and the tag goes with it. An
    untagged tombstone proves beforehand that the registry deletes by digest.
    """

    def __init__(self, client: Client, registry: str) -> None:
        self._client = client
        self._registry = registry
        self._lock = threading.Lock()
        self._deletes_tags: bool | None = None
        self._proof: Reference | RegistryError | None = None

    def remove(self, repository: Reference, tags: t.Mapping[str, str]) -> list[Removal]:
        """Remove tags of one repository.

        :param tags: each tag with the digest that it names.
        """
        reason = cannot_remove(repository)
        if reason:
            return [Removal(repository.with_tag(tag), "failed", digest, f"{reason}: remove the tag by hand") for tag, digest in tags.items()]
        results = dict(zip(tags, self._client.try_map(lambda tag: self._delete(repository.with_tag(tag), tags[tag]), tags)))
        refused = {tag: tags[tag] for tag, result in results.items() if result is None}
        if refused:
            results.update(self._bury(repository, refused))
        return [
            Removal(repository.with_tag(tag), "failed", tags[tag], str(result)) if isinstance(result, ContainersError) else t.cast(Removal, result)
            for tag, result in results.items()
        ]

    def _delete(self, image: Reference, digest: str) -> Removal | None:
        """Delete a tag the OCI way; ``None`` if this registry does not do that."""
        if self._deletes_tags is None:
            # One thread finds out, so that a registry that refuses is asked once.
            with self._lock:
                if self._deletes_tags is None:
                    return self._delete_now(image, digest)
        return self._delete_now(image, digest) if self._deletes_tags else None

    def _delete_now(self, image: Reference, digest: str) -> Removal | None:
        registry = self._client.registry(image)
        status, code, error = registry.delete_manifest(image)
        if (status in (400, 404, 405) and code in _NO_TAG_DELETE) or (status == 405 and not code):
            self._deletes_tags = False
            return None
        if status not in (200, 202, 204, 404):
            raise error
        # 404 does not prove that the tag is gone: zuul-registry knows no DELETE at all.
        after = registry.resolve(image)
        if after is not None and status == 404:
            raise RegistryError(f"DELETE manifest of {image}: {image.registry} answered 404 but has the tag: it cannot remove tags, use its own tools")
        if after is not None and after.digest == digest:
            raise RegistryError(f"DELETE manifest of {image}: {image.registry} answered {status} but still has the tag: use its own tools")
        self._deletes_tags = True
        if after is not None:
            return Removal(image, "kept", after.digest, "another image was pushed while it was removed")
        # Also after a 404: the tag was there a moment ago, and the answer to a first try may have been lost.
        return Removal(image, "removed", digest, "deleted by tag")

    def _bury(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        """Remove tags by a tombstone. One serves all tags of a repository."""
        registry = self._client.registry(repository)
        try:
            proved_in = self._prove(repository)
            if proved_in != repository:
                registry.put_blob(repository, EMPTY_JSON, proved_in)
        except RegistryError as exc:
            return dict.fromkeys(tags, exc)
        stone = _new_tombstone()
        put = self._client.try_map(lambda tag: registry.put_manifest(repository.with_tag(tag), stone), tags)
        status, dummy, error = _attempt_delete(registry, repository.with_digest(stone.digest))
        failures = {tag: result for tag, result in zip(tags, put) if isinstance(result, ContainersError)}

        def outcome(tag: str) -> Removal:
            image = repository.with_tag(tag)
            try:
                after = registry.resolve(image)
            except ContainersError as exc:
                if tag in failures:
                    raise
                # It may name the tombstone, and that must not stay so.
                self._put_back(image, tags[tag], exc)
                raise RegistryError(f"{image}: could not be removed, names its old image {tags[tag]} again: {exc}") from None
            if after is None:
                return Removal(image, "removed", tags[tag], "deleted with a tombstone")
            if after.digest == stone.digest:
                self._put_back(image, tags[tag], error)
                raise RegistryError(f"{image}: could not be removed, names its old image {tags[tag]} again: {error}", status)
            if tag in failures:
                raise failures[tag]
            if after.digest == tags[tag]:
                raise RegistryError(f"{image}: {image.registry} accepted another manifest for the tag but still serves the old one: use its own tools")
            return Removal(image, "kept", after.digest, "another image was pushed while it was removed")

        return dict(zip(tags, self._client.try_map(outcome, tags)))

    def _put_back(self, image: Reference, digest: str, why: ContainersError) -> None:
        """Put the image that a tag named before back on it.

        :raises RegistryError: it could not be; the message tells what the tag names and what it is to name.
        """
        registry = self._client.registry(image)
        try:
            manifest = registry.manifest(image.with_digest(digest))
            if manifest is None:
                raise RegistryError(f"{digest} is not there any more")
            registry.put_manifest(image, manifest)
            after = registry.resolve(image)
            if after is None or after.digest != digest:
                raise RegistryError(f"the registry accepted it but the tag names {after.digest if after else 'nothing'}")
        except ContainersError as exc:
            raise RegistryError(f"{image}: may name an empty tombstone, and is to be put back on {digest} by hand ({exc}), after {why}") from None

    def _prove(self, repository: Reference) -> Reference:
        """Prove once that the registry deletes a manifest by its digest, on one that no tag names.

        :returns: the repository in which it was proved, which has the tombstones' blob.
        :raises RegistryError: it does not.
        """
        with self._lock:
            if self._proof is None:
                try:
                    self._proof = self._try_proof(repository)
                except RegistryError as exc:
                    self._proof = exc
            if isinstance(self._proof, RegistryError):
                raise self._proof
            return self._proof

    def _try_proof(self, repository: Reference) -> Reference:
        registry = self._client.registry(repository)
        registry.put_blob(repository, EMPTY_JSON)
        stone = _new_tombstone()
        image = repository.with_digest(stone.digest)
        registry.put_manifest(image, stone)
        status, dummy, error = registry.delete_manifest(image)
        # 404: the answer to a first try may have been lost. The look below tells.
        if status not in (200, 202, 204, 404):
            raise RegistryError(f"{self._registry} deletes neither tags nor manifests, allow it there, or remove no tags: {error}", status, error.code)
        if registry.resolve(image) is not None:
            raise RegistryError(f"{self._registry} answered {status} to DELETE manifest of {image} but still has it: it cannot remove tags, use its own tools")
        return repository


def _attempt_delete(registry: t.Any, image: Reference) -> tuple[int | None, str, RegistryError]:
    try:
        return t.cast("tuple[int, str, RegistryError]", registry.delete_manifest(image))
    except RegistryError as exc:
        return None, "", exc


def _new_tombstone() -> Manifest:
    return tombstone(uuid.uuid4().hex, datetime.datetime.now(datetime.timezone.utc))


def remove(client: Client, removals: t.Sequence[Removal]) -> list[Removal]:
    """Carry out what ``select`` found: every removal is returned, those with the action ``remove`` with what became of them."""
    groups: dict[Reference, dict[str, str]] = {}
    for removal in removals:
        if removal.action == "remove":
            repository = dataclasses.replace(removal.image, tag=None)
            groups.setdefault(repository, {})[t.cast(str, removal.image.tag)] = t.cast(str, removal.digest)
    results = {result.image: result for result in remove_all(client, groups)}
    return [results.get(removal.image, removal) for removal in removals]


def remove_all(client: Client, tags: t.Mapping[Reference, t.Mapping[str, str]]) -> list[Removal]:
    """Remove tags of many repositories, those of each at once.

    :param tags: by their repositories, each tag with the digest that it names.
    """
    removers = {repository.registry: Remover(client, repository.registry) for repository in tags}
    done = client.map(lambda group: removers[group[0].registry].remove(*group), tags.items())
    return [removal for removals in done for removal in removals]


def untag(client: Client, selections: t.Sequence[Selection], check_mode: bool = False) -> list[Removal]:
    """Select tags and remove them.

    :raises RegistryError: a tag could not be removed; ``result`` has the state of each.
    """
    removals = select(client, selections)
    check_removed(removals)
    if not check_mode:
        removals = remove(client, removals)
        check_removed(removals)
    return removals


def check_removed(removals: t.Sequence[Removal]) -> None:
    """Raise if a tag could not be removed.

    :raises RegistryError: the message is of the first such tag, ``result`` has the state of each.
    """
    failed = [removal for removal in removals if removal.action == "failed"]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        reason = failed[0].reason if str(failed[0].image) in failed[0].reason else f"{failed[0].image}: {failed[0].reason}"
        error = RegistryError(f"cannot remove {reason}{more}")
        error.result = {"images": [removal.to_dict() for removal in removals], "changed": any(removal.action == "removed" for removal in removals)}
        raise error


def parse_selections(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Selection]:
    """Selections from what a user gave as ``images``.

    :raises InputError: a name, tag or expression is malformed.
    """
    found = []
    for number, item in enumerate(items):
        repository = Reference.parse_repository(item["repository"])
        regex = None
        if item.get("regex"):
            try:
                regex = re.compile(item["regex"])
            except (re.error, OverflowError, RecursionError) as exc:
                raise InputError(f"images[{number}] ({repository.name}): regex is no regular expression: {exc}") from None
        older_than = item.get("older_than") or 0
        if older_than < 0:
            raise InputError(f"images[{number}] ({repository.name}): older_than is to be a number of seconds, not {older_than}")
        tags = tuple(check_tag(tag, f"images[{number}] ({repository.name}): tag") for tag in item.get("tags") or ())
        found.append(Selection(repository, tags, regex, older_than))
    return found


def diff_of(removals: t.Iterable[Removal]) -> dict[str, t.Any]:
    """What the tags name before and after, as Ansible's diff."""
    going = [removal for removal in removals if removal.action in ("remove", "removed")]
    return {
        "before": {str(removal.image): removal.digest for removal in going},
        "after": {str(removal.image): None for removal in going},
    }


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    selections = parse_selections(params["images"])
    credentials = Credentials(params["credentials"])
    for selection in selections:
        credentials.check_target(selection.repository)
    with open_client(params, credentials, ("pull",) if check_mode else ("pull", "push", "delete")) as client:
        removals = untag(client, selections, check_mode)
        going = sum(removal.action in ("remove", "removed") for removal in removals)
        kept = sum(removal.action == "kept" for removal in removals)
        return {
            "changed": bool(going),
            "msg": f"{'would remove' if check_mode else 'removed'} {count(going, 'tag')}, kept {kept}, {count(client.requests, 'request')}",
            "images": [removal.to_dict() for removal in removals],
            "requests": client.requests,
            "diff": diff_of(removals),
        }


ENTRY = Entry(
    arguments={
        "images": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "repository": {"type": "str", "required": True},
                "tags": {"type": "list", "elements": "str"},
                "regex": {"type": "str"},
                "older_than": {"type": "int"},
            },
            "mutually_exclusive": [["tags", "regex"]],
            "required_one_of": [["tags", "regex"]],
            "required_together": [["regex", "older_than"]],
        },
        **client_arguments(),
    },
    run=_run,
)
