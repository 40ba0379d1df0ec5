# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What Zuul's API tells of builds: which images the gate made, where they are, and which change came later."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from urllib.parse import (
    parse_qsl,
    quote,
    urlencode,
    urlsplit,
)

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    MissingError,
    RegistryError,
    registry_message,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_digest,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    ARTIFACT_TYPE,
)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """An image as a build returned it.

    :param source: where it is.
    :param digest: empty if the build did not say; the roles of zuul-jobs do not.
    """

    source: Reference
    digest: str


@dataclasses.dataclass(frozen=True)
class Build:
    """A successful build.

    :param buildset: its UUID; empty if not known.
    :param artifacts: as the API has them.
    """

    uuid: str
    project: str = ""
    buildset: str = ""
    artifacts: tuple[t.Any, ...] = ()

    @classmethod
    def parse(cls, value: t.Mapping[str, t.Any]) -> Build:
        """A build from the API's form of it."""
        # Zuul 14 has what was built in "ref", older ones have it beside it.
        ref = value["ref"] if isinstance(value.get("ref"), dict) else value
        buildset = value["buildset"].get("uuid") if isinstance(value.get("buildset"), dict) else None
        artifacts = value.get("artifacts")
        return cls(
            uuid=str(value.get("uuid") or ""),
            project=str(ref.get("project") or ""),
            buildset=str(buildset or ""),
            artifacts=tuple(artifacts) if isinstance(artifacts, list) else (),
        )

    def recorded(self, names: t.Sequence[Reference], places: t.Mapping[Reference, Reference]) -> dict[Reference, Recorded]:
        """Where the build put images.

        :param names: their final names.
        :param places: where they are meant by these names, if that is known. A job that also pushed to the intermediate registry returned
            an image twice, with digests that need not be the same.
        :raises ContainersError: one is not there, or in a form that cannot be used. The message names all that are not there.
        """
        has: dict[Reference, list[t.Mapping[str, t.Any]]] = {}
        for artifact in self.artifacts:
            name = name_of(artifact)
            if name:
                has.setdefault(name, []).append(artifact)
        missing = [str(name) for name in names if name not in has]
        if missing:
            raise ContainersError(f"the build {self.uuid} returned no {', no '.join(missing)}; it has {', '.join(map(str, has)) or 'no images'}")
        return {name: self._recorded(name, has[name], places.get(name)) for name in names}

    def _recorded(self, name: Reference, artifacts: t.Sequence[t.Mapping[str, t.Any]], place: Reference | None) -> Recorded:
        found = [recorded_of(artifact) for artifact in artifacts]
        found = [one for one in found if one.source == place] or found
        digests = {one.digest for one in found}
        if len(digests) > 1:
            raise ContainersError(f"the build {self.uuid} returned {name} twice, as {' and as '.join(sorted(digests))}: it is to return it once")
        return found[0]


def name_of(artifact: t.Any) -> Reference | None:
    """The final name of an image that a build returned; ``None`` for other artifacts, and those without a name that can be used."""
    metadata = artifact.get("metadata") if isinstance(artifact, dict) else None
    if not isinstance(metadata, dict) or metadata.get("type") != ARTIFACT_TYPE:
        return None
    repository, tag = metadata.get("repository"), metadata.get("tag")
    if not isinstance(tag, str):
        return None
    try:
        if isinstance(repository, str) and not _names_registry(repository):
            # The roles of zuul-jobs for Docker's images write it so.
            repository = f"docker.io/{repository}"
        return Reference.parse(f"{repository}:{tag}")
    except InputError:
        return None


def _names_registry(repository: str) -> bool:
    first, slash, dummy = repository.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)


def recorded_of(artifact: t.Mapping[str, t.Any]) -> Recorded:
    """Where an image is that a build returned, and its digest.

    :raises ContainersError: that is malformed.
    """
    digest = artifact["metadata"].get("digest") or ""
    if not isinstance(digest, str) or (digest and not is_digest(digest)):
        raise ContainersError(f"the artifact {artifact.get('name')!r} has a malformed digest {digest!r}")
    try:
        source = Reference.parse(artifact.get("url"))
    except InputError as exc:
        raise ContainersError(f"the artifact {artifact.get('name')!r} has a URL that is no image: {exc}") from None
    if not source.tag and not source.digest:
        source = source.with_tag("latest")
    return Recorded(source, digest or source.digest or "")


def check_recorded(client: Client, images: t.Mapping[Reference, Recorded]) -> dict[Reference, Reference]:
    """Look whether images are where builds put them, and are still those.

    :param images: by their final names.
    :returns: by the same names where they are, with their digests.
    :raises ContainersError: one is not there, or another one is.
    """

    def look(item: tuple[Reference, Recorded]) -> Reference:
        name, image = item
        now = client.registry(image.source).resolve(image.source)
        if now is None:
            raise ContainersError(f"{name}: there is no {image.source}, where its build put it: was it removed meanwhile? Build it again")
        if image.digest and now.digest != image.digest:
            raise ContainersError(f"{name}: {image.source} names {now.digest} instead of {image.digest}, which its build put there: find out who pushed it")
        return dataclasses.replace(image.source, digest=now.digest)

    return dict(zip(images, client.map(look, images.items())))


class BuildsApi:
    """The builds of a tenant.

    :param url: of the tenant's API, such as ``https://zuul.example.org/api/tenant/example``.
    :param credentials: may tell which certificate its server has; a login there is not used.
    :raises InputError: it is no URL.
    """

    def __init__(self, client: Client, url: str, credentials: Credentials) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"promote_container_image_api is to be a URL such as https://zuul.example.org/api/tenant/example, not {url!r}")
        if parts.username or parts.password:
            raise InputError("promote_container_image_api has a login in it: Zuul's API tells of builds without one")
        self._url = url.rstrip("/")
        self._transport = client.transport(credentials.access(parts.netloc))

    def newest(self, query: str) -> Build:
        """The newest successful one of the builds that a query finds.

        :raises MissingError: there is none. The message has the query, and what it found.
        :raises ContainersError: the API failed.
        """
        url = f"{self._url}/builds?{query}"
        found = self._get(url)
        if not isinstance(found, list) or not all(isinstance(build, dict) for build in found):
            raise ContainersError(f"GET {url}: the answer is no list of builds: check promote_container_image_api, which ends in /api/tenant/<tenant>")
        # The newest comes first; a build that took longer may still have ended later.
        successful = [build for build in found if build.get("result") == "SUCCESS"]
        if not successful:
            results = ", ".join(f"{build.get('uuid')} {build.get('result') or 'running'}" for build in found) or "no build at all"
            raise MissingError(f"GET {url}: found no successful build, but {results}: check promote_container_image_query, or have the gate run again")
        return Build.parse(max(successful, key=lambda build: str(build.get("end_time") or "")))

    def number(self, buildset: str) -> int | None:
        """The number of a buildset, which grows from one to the next; ``None`` if it is not known.

        :raises ContainersError: the API failed.
        """
        try:
            found = self._get(f"{self._url}/buildset/{quote(buildset, safe='')}") if buildset else None
        except RegistryError as exc:
            if exc.status == 404:
                return None
            raise
        number = found.get("_id") if isinstance(found, dict) else None
        return number if isinstance(number, int) else None

    def _get(self, url: str) -> t.Any:
        response = self._transport.request("GET", url, what=f"GET {url}", headers={"Accept": "application/json"})
        if response.status_code != 200:
            message = registry_message(response, str)[1]
            words = f"GET {url}: answered {response.status_code}{f', {message}' if message else ''}: check promote_container_image_api"
            raise RegistryError(words, response.status_code)
        try:
            return response.json()
        except ValueError:
            return None


def query_of(zuul: t.Mapping[str, t.Any], pipeline: str, job: str) -> str:
    """The query for the builds of the change at hand.

    :raises InputError: something that it needs is not known.
    """
    given = {"change": zuul.get("change"), "patchset": zuul.get("patchset"), "pipeline": pipeline, "job_name": job}
    names = {"change": "zuul.change", "patchset": "zuul.patchset", "pipeline": "promote_container_image_pipeline", "job_name": "promote_container_image_job"}
    missing = [names[key] for key, value in given.items() if value in (None, "")]
    if missing:
        raise InputError(f"promote_container_image_api is to be asked, but {' and '.join(missing)} is not known: set it, or promote_container_image_query")
    return urlencode(given)


class Gate:
    """What the gate made of the change that is promoted, and what it made of others.

    :param query: finds the builds of the change.
    :raises ContainersError: there is no successful one.
    """

    def __init__(self, api: BuildsApi, query: str) -> None:
        self._api = api
        self._query = query
        self._others: dict[str, Build | None] = {}
        self.build = api.newest(query)

    def recorded(self, names: t.Sequence[Reference], places: t.Mapping[Reference, Reference] | None = None) -> dict[Reference, Recorded]:
        """Where the gate put images.

        :param places: see ``Build.recorded``.
        :raises ContainersError: see there; the message has the query too.
        """
        try:
            return self.build.recorded(names, places or {})
        except ContainersError as exc:
            raise ContainersError(f"{exc}, found by {self._query}: nothing was promoted, check promote_container_image_query") from None

    def is_later(self, change: str, name: Reference, digest: str) -> bool:
        """Whether an image was made by the gate for a change that merged after the one that is promoted.

        :param change: which the image says it is of.
        :param name: its final name.
        :returns: also false where that cannot be known.
        :raises ContainersError: the API failed. To go on as if it did not know would put an older image in place of a newer one.
        """
        if change not in self._others:
            try:
                self._others[change] = self._later_build_of(change)
            except ContainersError as exc:
                raise ContainersError(f"{exc} - {name} is of change {change}, which may be the later one: nothing was promoted, run this again") from None
        other = self._others[change]
        return other is not None and any(name_of(artifact) == name and artifact["metadata"].get("digest") == digest for artifact in other.artifacts)

    def _later_build_of(self, change: str) -> Build | None:
        """The newest successful build of another change, if that came after the one that is promoted.

        The changes in a gate's queue get their buildsets in the order in which they merge, and new ones when anything before them changes, be it
        that a change failed or that an operator moved one up.
        """
        pairs = parse_qsl(self._query, keep_blank_values=True)
        # A label may say anything, but Zuul's database has an integer of four bytes, and its API fails for others.
        if dict(pairs).get("change", change) == change or not re.fullmatch("[0-9]{1,9}", change):
            return None
        changed = [(key, change if key == "change" else value) for key, value in pairs if key not in ("patchset", "project")]
        # Numbers of changes are those of a project on some servers.
        changed += [("project", self.build.project)] if self.build.project else []
        try:
            other = self._api.newest(urlencode(changed))
        except MissingError:
            return None
        mine, its = self._api.number(self.build.buildset), self._api.number(other.buildset)
        return other if mine is not None and its is not None and its > mine else None
