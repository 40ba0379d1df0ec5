# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The OCI way to list and remove tags: what a registry does whose vendor has no better one. Base of the vendors' own ways."""

from __future__ import annotations

import datetime
import threading
import typing as t
import uuid

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    EMPTY_JSON,
    Manifest,
    tombstone,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Removal,
    Tag,
)

# With these a registry says that it deletes no tags (distribution-spec, "Deleting tags"; DIGEST_INVALID: distribution 2).
_NO_TAG_DELETE = ("UNSUPPORTED", "DIGEST_INVALID")


class Vendor:
    """Lists and removes the tags of one registry, by whichever way works there, which is found out once.

    First a tag is deleted as the OCI distribution-spec has it. Where the registry says that it does not do that, a
    tombstone, a manifest unlike any other, is put on the tag and deleted by its digest, and the tag goes with it. An
    untagged tombstone proves beforehand that the registry deletes by digest.

    :param client: of the run.
    :param registry: the registry.
    """

    #: Whether ``DELETE`` of a tag is tried.
    deletes_tags = True
    #: Whether a tombstone may be used.
    buries = True

    def __init__(self, client: Client, registry: Registry) -> None:
        self._client = client
        self._registry = registry
        self._name = registry.name
        self._lock = threading.Lock()
        self._deletes_tags: bool | None = None if self.deletes_tags else False
        self._proof: Reference | RegistryError | None = None

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed, as far as is to be known without writing; else an empty text."""
        return ""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, none if there is no such repository.

        :raises RegistryError: they cannot be listed.
        """
        return [Tag(name) for name in self._registry.tags(repository)]

    def remove(self, repository: Reference, tags: t.Mapping[str, str]) -> list[Removal]:
        """Remove tags of one repository, and nothing else.

        :param tags: each tag with the digest that it is known to name.
        """
        reason = self.refusal(repository)
        if reason:
            return [Removal(repository.with_tag(tag), "failed", digest, f"{repository.name}: {reason}") for tag, digest in tags.items()]
        results = self._remove(repository, tags)
        return [
            Removal(repository.with_tag(tag), "failed", digest, str(result)) if isinstance(result, ContainersError) else result
            for tag, digest in tags.items()
            for result in [results[tag]]
        ]

    def _remove(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        found = dict(zip(tags, self._client.try_map(lambda tag: self._delete(repository.with_tag(tag), tags[tag]), tags)))
        refused = {tag: tags[tag] for tag, result in found.items() if result is None}
        results = {tag: result for tag, result in found.items() if result is not None}
        if refused:
            results.update(self._otherwise(repository, refused))
        return results

    def _otherwise(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        """Remove tags of a registry that does not delete them the OCI way."""
        if self.buries:
            return self._bury(repository, tags)
        error = RegistryError(f"{repository.name}: {self._name} deletes no tags by the registry API: use its own tools")
        return dict.fromkeys(tags, error)

    def _passed(self, image: Reference, digest: str) -> Removal | None:
        """What has become of a tag that is not to be removed any more. To be asked right before it is written to: what was selected may be minutes old."""
        now = self._registry.resolve(image)
        if now is None:
            return Removal(image, "absent", digest, "it went meanwhile")
        return Removal(image, "kept", now.digest, "another image was pushed meanwhile") if now.digest != digest else None

    # -- by tag ------------------------------------------------------------------------------------------------------

    def _delete(self, image: Reference, digest: str) -> Removal | None:
        """Delete a tag the OCI way; ``None`` if this registry does not do that."""
        if self._deletes_tags is None:
            # One thread finds out, so that a registry that refuses is asked once.
            with self._lock:
                if self._deletes_tags is None:
                    return self._delete_now(image, digest)
        return self._delete_now(image, digest) if self._deletes_tags else None

    def _delete_now(self, image: Reference, digest: str) -> Removal | None:
        registry = self._registry
        passed = self._passed(image, digest)
        if passed:
            return passed
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

    # -- by a tombstone ----------------------------------------------------------------------------------------------

    def _delete_stone(self, image: Reference, tags: t.Collection[str]) -> tuple[int, RegistryError]:
        """Ask to delete a tombstone by its digest.

        :param tags: those that it is on.
        :returns: status, and the error to raise if it is not what was hoped for.
        """
        status, dummy, error = self._registry.delete_manifest(image)
        return status, error

    def _bury(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        """Remove tags by a tombstone. One serves all tags of a repository."""
        registry = self._registry
        try:
            proved_in = self._prove(repository)
            if proved_in != repository:
                registry.put_blob(repository, EMPTY_JSON, proved_in)
        except RegistryError as exc:
            return dict.fromkeys(tags, exc)
        stone = _new_tombstone()

        def put(tag: str) -> Removal | None:
            passed = self._passed(repository.with_tag(tag), tags[tag])
            if passed is None:
                registry.put_manifest(repository.with_tag(tag), stone)
            return passed

        done = dict(zip(tags, self._client.try_map(put, tags)))
        failures = {tag: result for tag, result in done.items() if isinstance(result, ContainersError)}
        passed = {tag: result for tag, result in done.items() if isinstance(result, Removal)}
        tags = {tag: digest for tag, digest in tags.items() if tag not in passed}
        if not tags:
            return {**passed}
        status: int | None = None
        try:
            status, error = self._delete_stone(repository.with_digest(stone.digest), tags)
        except RegistryError as exc:
            error = exc

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

        return {**passed, **dict(zip(tags, self._client.try_map(outcome, tags)))}

    def _put_back(self, image: Reference, digest: str, why: ContainersError) -> None:
        """Put the image that a tag named before back on it.

        :raises RegistryError: it could not be; the message tells what the tag names and what it is to name.
        """
        registry = self._registry
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
        registry = self._registry
        registry.put_blob(repository, EMPTY_JSON)
        stone = _new_tombstone()
        image = repository.with_digest(stone.digest)
        registry.put_manifest(image, stone)
        status, error = self._delete_stone(image, ())
        # 404: the answer to a first try may have been lost. The look below tells.
        if status not in (200, 202, 204, 404):
            raise RegistryError(f"{self._name} deletes neither tags nor manifests, allow it there, or remove no tags: {error}", status, error.code)
        if registry.resolve(image) is not None:
            raise RegistryError(f"{self._name} answered {status} to DELETE manifest of {image} but still has it: it cannot remove tags, use its own tools")
        return repository


def _new_tombstone() -> Manifest:
    return tombstone(uuid.uuid4().hex, datetime.datetime.now(datetime.timezone.utc))
