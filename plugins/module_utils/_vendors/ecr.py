# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Amazon ECR: its API lists a thousand images with each request, and removes a hundred tags."""

from __future__ import annotations

import re
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._aws import (
    Ecr as Actions,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    RegistryError,
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
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import (
    Vendor,
)

_PAGE = 1000  # images
_BATCH = 100  # tags
_ACCOUNT = re.compile(r"([0-9]{12})\.dkr[.-]")  # in the name of a private registry

#: Calls an action of ECR's API with its parameters, and returns its answer.
Call = t.Callable[[str, t.Mapping[str, t.Any]], "dict[str, t.Any]"]


class Ecr(Vendor):
    """A private registry, or the public gallery.

    :param call: calls an action of the API; without, it is done with the AWS credentials that the registry's entry has, or this machine.
    :param public: whether it is the gallery, if ``call`` is given.
    """

    def __init__(self, client: Client, registry: Registry, call: Call | None = None, public: bool = False) -> None:
        super().__init__(client, registry)
        if call is None:
            actions = Actions(registry.access, registry.transport)
            call, public = actions.call, actions.public
        self._call, self._public = call, public
        self._accounts_lock = threading.Lock()
        self._accounts: dict[str, str] | None = None

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        try:
            if self._public and not self._account(repository):
                return f"it is in none of the registries of these AWS credentials ({', '.join(sorted(self._accounts or ())) or 'they have none'})"
            self._describe(repository, 1)
        except RegistryError as exc:
            # That it may not be listed does not mean that it may not be written to. Of the gallery one must know whose it is.
            return str(exc) if self._public and self._accounts is None else ""
        except ContainersError as exc:
            # Nothing was asked: there is no botocore, no credentials, no region.
            return str(exc)
        return ""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, those of a thousand images with each request; at a private registry their times are those of the images."""
        if self._public and not (self._registry.access.given and self._account(repository)):
            # Its owner alone may ask the API, everybody the registry.
            return super().tags(repository)
        found: list[Tag] = []
        last = ""
        while True:
            try:
                details, token = self._describe(repository, _PAGE, last)
            except RegistryError as exc:
                if exc.code == "RepositoryNotFoundException":
                    return []
                raise
            for detail in details:
                found += _public_tag(detail) if self._public else _tags(detail)
            if not token:
                return found
            if token == last:
                raise RegistryError(f"GET tags of {repository.name}: ECR's pages go in a circle")
            last = token

    def _describe(self, repository: Reference, size: int, token: str = "") -> tuple[list[dict[str, t.Any]], str]:
        """One page of what is in a repository, and the token of the next."""
        action, key = ("DescribeImageTags", "imageTagDetails") if self._public else ("DescribeImages", "imageDetails")
        parameters: dict[str, t.Any] = {**self._place(repository), "maxResults": size}
        if not self._public:
            parameters["filter"] = {"tagStatus": "TAGGED"}
        answer = self._call(action, {**parameters, **({"nextToken": token} if token else {})})
        return [detail for detail in answer.get(key) or [] if isinstance(detail, dict)], str(answer.get("nextToken") or "")

    def _remove(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        # The API deletes whatever the tag names.
        looks = dict(zip(tags, self._client.try_map(lambda tag: self._passed(repository.with_tag(tag), tags[tag]), tags)))
        results: dict[str, Removal | ContainersError] = {tag: look for tag, look in looks.items() if look is not None}
        names = [tag for tag in tags if tag not in results]
        batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
        for batch, found in zip(batches, self._client.try_map(lambda batch: self._remove_batch(repository, {tag: tags[tag] for tag in batch}), batches)):
            results.update(dict.fromkeys(batch, found) if isinstance(found, ContainersError) else found)
        return results

    def _remove_batch(self, repository: Reference, tags: t.Mapping[str, str]) -> dict[str, Removal | ContainersError]:
        # By the tag alone: what is deleted by its digest goes with all its tags, and what happens by both is not documented.
        identifiers = [{"imageTag": tag} for tag in tags]
        what = f"BatchDeleteImage of {repository.name}"
        answer = self._call("BatchDeleteImage", {**self._place(repository), "imageIds": identifiers})
        # It answers 200 whatever it did not do.
        failures: dict[str, RegistryError] = {}
        for failure in answer.get("failures") or []:
            identifier = failure.get("imageId") or {}
            code, reason = str(failure.get("failureCode") or "unknown"), str(failure.get("failureReason") or "")
            tag = identifier.get("imageTag") or next((tag for tag, digest in tags.items() if digest == identifier.get("imageDigest")), "")
            failures[tag] = RegistryError(f"{what}: {self._name} did not remove {tag}: {code} {reason[:300]}".rstrip(), None, code)
        done = {str(item.get("imageTag")) for item in answer.get("imageIds") or [] if isinstance(item, dict)}

        def outcome(tag: str) -> Removal:
            image = repository.with_tag(tag)
            if tag not in done:
                failure = failures.get(tag) or RegistryError(f"{what}: {self._name} neither removed {tag} nor said why")
                after = self._registry.resolve(image)
                if after is None:
                    return Removal(image, "removed" if failure.code == "ImageNotFound" else "absent", tags[tag], "it is not there any more")
                if after.digest != tags[tag]:
                    return Removal(image, "kept", after.digest, "another image was pushed while it was removed")
                raise failure
            return Removal(image, "removed", tags[tag], "deleted by the vendor's API")

        return dict(zip(tags, self._client.try_map(outcome, tags)))

    def _place(self, repository: Reference) -> dict[str, str]:
        """The parameters that say which repository is meant. Without its account AWS takes that of whoever asks, which may have one of that name too."""
        # In the gallery the first part is the registry's alias.
        name = repository.repository.partition("/")[2] if self._public else repository.repository
        account = self._account(repository)
        return {"repositoryName": name, **({"registryId": account} if account else {})}

    def _account(self, repository: Reference) -> str:
        """The account whose registry it is in; empty if the name of a registry of one's own does not tell, or it is another's in the gallery."""
        if not self._public:
            found = _ACCOUNT.match(self._name)
            return found[1] if found else ""
        with self._accounts_lock:
            if self._accounts is None:
                self._accounts = self._aliases()
            return self._accounts.get(repository.repository.partition("/")[0], "")

    def _aliases(self) -> dict[str, str]:
        """The aliases of the caller's registries in the gallery, with their accounts."""
        found: dict[str, str] = {}
        token = ""
        while True:
            answer = self._call("DescribeRegistries", {"nextToken": token} if token else {})
            for registry in answer.get("registries") or []:
                found.update({str(alias.get("name")): str(registry.get("registryId")) for alias in registry.get("aliases") or []})
            if not answer.get("nextToken") or answer["nextToken"] == token:
                return found
            token = str(answer["nextToken"])


def _time(value: t.Any) -> float | None:
    """Unix time as AWS's JSON has it: a number, in newer answers a date."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if value > 0 else None
    return parse_time(value)


def _tags(detail: dict[str, t.Any]) -> list[Tag]:
    return [
        Tag(str(name), detail.get("imageDigest"), _time(detail.get("imagePushedAt")), detail.get("imageSizeInBytes"), detail.get("imageManifestMediaType"))
        for name in detail.get("imageTags") or []
    ]


def _public_tag(detail: dict[str, t.Any]) -> list[Tag]:
    image = detail.get("imageDetail") or {}
    name = detail.get("imageTag")
    return [Tag(str(name), image.get("imageDigest"), _time(detail.get("createdAt")), None, image.get("imageManifestMediaType"))] if name else []
