# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""One registry, spoken to by the OCI distribution API."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import threading
import typing as t
import urllib.parse

try:
    import requests
    import urllib3
except ImportError:  # reported by the entry points, see _entry.py
    pass

from ansible_collections.gating.containers.plugins.module_utils._auth import (
    Authenticator,
    parse_challenges,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
    registry_message,
)
from ansible_collections.gating.containers.plugins.module_utils._exchange import (
    Exchange,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    ACCEPT,
    MEDIA_TYPES,
    OCI_INDEX,
    Descriptor,
    Manifest,
    digest_of,
    verified,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_digest,
    is_loopback,
    is_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    MaxRetryError,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Transport,
    same_origin,
)

_DOCKER_HUB = "registry-1.docker.io"
_PART = 256 * 1024  # bytes of a blob to read at once
_PAGE = 1000  # tags; ECR answers an error to more

_ADVICE = {
    400: "the registry does not take this request, see its message",
    401: "check username and password for {registry} in container_registry_credentials",
    403: "the login for {registry} needs the right to do this",
    404: "check the name, and that it was uploaded",
    405: "the registry does not allow this",
    413: "it is too large for the registry",
    429: "the registry limits the rate of requests: try later, or lower parallel",
}


class Registry:
    """One registry. Every method may be called from several threads.

    :param access: how to reach it and as whom.
    :param transport: makes the requests.
    :param actions: what tokens are asked for (``pull``, ``push``, ``delete``).
    """

    def __init__(self, access: Access, transport: Transport, actions: t.Sequence[str]) -> None:
        self.name = access.registry
        self.access = access
        self.transport = self._transport = transport
        self._exchange = Exchange(access, transport)
        self._actions = actions
        self._lock = threading.Lock()
        self._auth: Authenticator | None = None
        self._unreachable: RegistryError | None = None
        self._base_url = ""
        self._greeting: t.Mapping[str, str] = {}
        self._pages = True
        self._lists_referrers = True
        self._pulls_left: int | None = None
        self._pulls_window = 0  # seconds
        self._grants: dict[str, tuple[t.Sequence[str], t.Sequence[str]]] = {}

    def grant(self, repository: Reference, actions: t.Sequence[str], sources: t.Sequence[Reference] = ()) -> None:
        """Ask for other actions on one repository than on all others, from the next request on it.

        :param sources: repositories of this registry from which blobs are to be mounted.
        """
        self._grants[repository.repository] = (actions, [source.repository for source in sources])

    # -- what the vendors' ways need -----------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """``scheme://host[:port]`` of the registry.

        :raises RegistryError: it cannot be reached.
        """
        self.connect()
        return self._base_url

    @property
    def greeting(self) -> t.Mapping[str, str]:
        """The headers of its answer to ``GET /v2/``, by which some software is known.

        :raises RegistryError: it cannot be reached.
        """
        self.connect()
        return self._greeting

    def ask(self, method: str, repository: Reference, url: str, what: str, *statuses: int) -> t.Any:
        """A request that the distribution-spec does not know, with the authorization for a repository; any but these statuses is an error.

        :param url: absolute, or relative to ``/v2/``.
        :raises RegistryError: another status, or no answer.
        """
        response = self._request(method, repository.repository, url, what=what)
        self._expect(response, what, *statuses)
        return response

    def next_page(self, response: t.Any, what: str) -> str | None:
        """The URL of the next page of a list (RFC 8288), ``None`` if this was the last."""
        return self._next(response, what)

    def login(self, repository: Reference) -> Login | None:
        """Who to be on a repository; ``None`` for nobody."""
        if self._exchange.needs_url:
            self.connect()
        return self._login(repository.repository)

    # -- manifests ---------------------------------------------------------------------------------------------------

    def resolve(self, image: Reference) -> Descriptor | None:
        """What a tag or digest names now, by a HEAD; ``None`` if it is not there.

        :raises RegistryError: any answer but 200 and 404.
        """
        response = self._manifest_request("HEAD", image)
        if response.status_code == 404:
            return None
        self._expect(response, f"HEAD manifest of {image}", 200)
        digest = response.headers.get("Docker-Content-Digest", "")
        if not is_digest(digest):
            manifest = self.manifest(image)
            return manifest and Descriptor(manifest.media_type, manifest.digest, len(manifest.content))
        if image.digest and image.digest.split(":", 1)[0] == digest.split(":", 1)[0] and image.digest != digest:
            raise RegistryError(f"HEAD manifest of {image}: the registry answered {digest}: it is damaged")
        size = response.headers.get("Content-Length") or ""
        return Descriptor(_media_type(response), digest, int(size) if size.isdecimal() else -1)

    def manifest(self, image: Reference) -> Manifest | None:
        """The manifest that a tag or digest names, checked against its digest; ``None`` if it is not there.

        :raises RegistryError: any answer but 200 and 404, or other bytes than the digest says.
        """
        what = f"GET manifest of {image}"
        if self._pulls_left == 0:
            hours = f" (its limit is for {self._pulls_window / 3600:.0f} hours)" if self._pulls_window else ""
            raise RegistryError(f"{what}: {self.name} permits no further pull for now{hours}: try later, or give a login that may pull more", 429)
        response = self._manifest_request("GET", image)
        if response.status_code == 404:
            return None
        self._expect(response, what, 200)
        said = response.headers.get("Docker-Content-Digest", "")
        expected = image.digest or (said if is_digest(said) else digest_of(response.content))
        digest = digest_of(response.content, expected.split(":", 1)[0])
        if digest != expected:
            raise RegistryError(f"{what}: the registry answered {digest} instead of {expected}: its content is damaged or was changed on the way")
        media_type = _media_type(response)
        manifest = Manifest(media_type, response.content, digest)
        return manifest if media_type in MEDIA_TYPES else Manifest(manifest.json.get("mediaType") or media_type, response.content, digest)

    def put_manifest(self, image: Reference, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest. That the tag names it now must be looked up: 201 does not prove it.

        :raises RegistryError: it was not accepted, or the registry says that it stored something else.
        """
        what = f"PUT manifest of {image}"
        policy = self._transport.policy()
        while True:
            response = self._manifest_request("PUT", image, manifest)
            if response.status_code != 400 or self._error(response, what).code != "DIGEST_INVALID":
                break
            # The digest is right. Where somebody stores a part of the image again, distribution (2.8.2, 3.0.0) empties the file with that part's
            # digest, and answers this to who stores the whole before it is written.
            try:
                policy = policy.increment("PUT", "", response=response.raw)
            except MaxRetryError:
                break
            policy.sleep()
        self._expect(response, what, 201, 200, 202, 204)
        said = response.headers.get("Docker-Content-Digest", "")
        if is_digest(said) and said.split(":")[0] == manifest.digest.split(":")[0] and said != manifest.digest:
            raise RegistryError(f"{what}: the registry stored {said} instead of {manifest.digest}", response.status_code)

    def name_manifest(self, image: Reference, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest, and look whether it is there.

        :raises RegistryError: it is not.
        """
        self.put_manifest(image, manifest)
        now = self.resolve(image)
        if now is None or now.digest != manifest.digest:
            raise RegistryError(
                f"PUT manifest of {image}: {self.name} accepted {manifest.digest} but the tag names {now.digest if now else 'nothing'}:"
                " was it an index before, which some registries keep? Use another tag"
            )

    def delete_manifest(self, image: Reference) -> tuple[int, str, RegistryError]:
        """Ask to delete a tag, or by a digest a manifest with all its tags.

        :returns: status, the registry's error code, and the error to raise if the answer is not what the caller hoped for.
        """
        response = self._manifest_request("DELETE", image)
        error = self._error(response, f"DELETE manifest of {image}")
        return response.status_code, error.code, error

    def _manifest_request(self, method: str, image: Reference, manifest: Manifest | None = None) -> t.Any:
        if image.digest:
            _check_digest(image.digest, f"{method} manifest of {image.name}")
        headers = {}
        if method in ("GET", "HEAD"):
            headers["Accept"] = ACCEPT
        if manifest is not None:
            headers["Content-Type"] = manifest.media_type
        url = f"{image.repository}/manifests/{image.digest or image.tag}"
        response = self._request(method, image.repository, url, what=f"{method} manifest of {image}", headers=headers, data=manifest and manifest.content)
        # Docker Hub tells how many more GETs of manifests it permits; HEADs are not counted.
        limit = re.fullmatch(r"(\d+)(?:;w=(\d+))?", response.headers.get("ratelimit-remaining", ""))
        if limit:
            self._pulls_left, self._pulls_window = int(limit[1]), int(limit[2] or 0)
        return response

    def referrers(self, image: Reference) -> list[dict[str, t.Any]] | None:
        """The descriptors of what refers to an image (distribution-spec, "Listing Referrers"); ``None`` if the registry has no such list.

        :param image: with a digest.
        :raises RegistryError: it has, but it cannot be read.
        """
        what = f"GET referrers of {image}"
        _check_digest(image.digest or "", what)
        found: list[dict[str, t.Any]] = []
        seen: set[str] = set()
        url: str | None = f"{image.repository}/referrers/{image.digest}"
        while url and self._lists_referrers:
            seen.add(url)
            response = self._request("GET", image.repository, url, what=what, headers={"Accept": OCI_INDEX})
            index = Manifest(_media_type(response), response.content, "")
            # Who has the list answers 200 for every digest, also with an empty one (olareg: null). GHCR sends to a page in HTML.
            if response.status_code in (200, 303, 400, 404, 405, 501) and "manifests" not in index.json and len(seen) == 1:
                self._lists_referrers = False
                break
            self._expect(response, what, 200)
            listed = index.json.get("manifests") or []
            found += [item for item in listed if isinstance(item, dict)]
            url = self._next(response, what)
            if url in seen:
                raise RegistryError(f"{what}: the registry's pages go in a circle")
        return found if self._lists_referrers else None

    # -- tags --------------------------------------------------------------------------------------------------------

    def tags(self, repository: Reference) -> list[str]:
        """All tags of a repository, in the registry's order; none if there is no such repository.

        :raises RegistryError: it cannot be listed.
        """
        what = f"GET tags of {repository.name}"
        found: dict[str, None] = {}
        first = f"{repository.repository}/tags/list"
        seen: set[str] = set()
        url: str | None = f"{first}?n={_PAGE}" if self._pages else first
        while url:
            seen.add(url)
            response = self._request("GET", repository.repository, url, what=what)
            if response.status_code in (400, 404) and url == f"{first}?n={_PAGE}":
                # zuul-registry answers 404 to any query.
                plain = self._request("GET", repository.repository, first, what=what)
                if plain.status_code == 200:
                    self._pages = False
                response = plain
            if response.status_code == 404:
                return []
            self._expect(response, what, 200)
            for tag in self._listed(response, what):
                found[tag] = None
            url = self._next(response, what)
            if url in seen:
                raise RegistryError(f"{what}: the registry's pages go in a circle")
        return list(found)

    def _listed(self, response: t.Any, what: str) -> list[str]:
        try:
            tags = response.json().get("tags")
            if not isinstance(tags, (list, type(None))):
                raise ValueError("no list")
        except (ValueError, AttributeError, RecursionError):
            raise RegistryError(f"{what}: {self.name} answered 200 with something that is no list of tags") from None
        # Nexus lists nulls, Artifactory and zuul-registry digests.
        return [tag for tag in tags or [] if isinstance(tag, str) and is_tag(tag)]

    def _next(self, response: t.Any, what: str) -> str | None:
        link = response.links.get("next", {}).get("url") or _bare_link(response.headers.get("Link", ""))
        if not link:
            return None
        url = _absolute(response, link, what)
        if not same_origin(url, self._base_url):
            # A registry behind a proxy may name itself otherwise: its path is right, its host is not ours to follow.
            parts = urllib.parse.urlsplit(url)
            url = f"{self._base_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return url

    # -- blobs -------------------------------------------------------------------------------------------------------

    def blob(self, repository: Reference, digest: str) -> bytes:
        """A small blob, such as an image's config, checked against its digest.

        :raises RegistryError: it is not there, or damaged.
        """
        what = f"GET blob {digest} of {repository.name}"
        _check_digest(digest, what)
        response = self._request("GET", repository.repository, f"{repository.repository}/blobs/{digest}", what=what)
        self._expect(response, what, 200)
        if digest_of(response.content, digest.split(":", 1)[0]) != digest:
            raise RegistryError(f"{what}: its content is damaged or was changed on the way")
        return t.cast(bytes, response.content)

    def put_blob(self, repository: Reference, content: bytes, source: Reference | None = None) -> str:
        """Store a small blob, unless the repository has it, and return its digest.

        To mount it (distribution-spec, "Mounting a blob from another repository") asks whether it is there and begins
        the upload in one request.

        :param source: a repository of this registry that may have it; without, it is mounted from the repository itself.
        :raises RegistryError: it was not accepted.
        """
        digest = digest_of(content)
        location = self.place_blob(repository, digest, source)
        if location:
            self._expect(self._end_upload(repository, location, digest, content), f"PUT blob of {repository.name}", 201, 204)
        return digest

    def read_blob(self, repository: Reference, digest: str, size: int) -> t.Iterator[bytes]:
        """A blob of any size, in parts, as ``verified`` gives them. A download that breaks goes on where it was (RFC 9110, 14).

        :param size: bytes, as its descriptor says.
        :raises RegistryError: it is not there, or damaged.
        """
        what = f"GET blob {digest} of {repository.name}"
        _check_digest(digest, what)
        return verified(self._resumed(repository, digest, size, what), digest, size, what)

    def _resumed(self, repository: Reference, digest: str, size: int, what: str) -> t.Iterator[bytes]:
        done = 0
        policy = self._transport.policy()
        while True:
            failure = None
            try:
                for part in self._parts(repository, digest, done, what):
                    done += len(part)
                    yield part
                    policy = self._transport.policy()
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as exc:
                failure = exc
            if done >= size:
                return
            try:
                policy = policy.increment("GET", "", error=failure or urllib3.exceptions.ProtocolError("short"))
            except MaxRetryError:
                raise RegistryError(f"{what}: the connection broke after {done} of {size} bytes, again and again: check the registry and the network") from None
            policy.sleep()

    def _parts(self, repository: Reference, digest: str, offset: int, what: str) -> t.Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else None
        response = self._request("GET", repository.repository, f"{repository.repository}/blobs/{digest}", what=what, headers=headers, stream=True)
        with contextlib.closing(response):
            if response.status_code != 206:
                self._expect(response, what, 200)
            # zuul-registry ignores Range.
            skip = offset if response.status_code == 200 else 0
            while True:
                part = response.raw.read(_PART)
                if not part:
                    return
                if len(part) > skip:
                    yield part[skip:]
                skip = max(0, skip - len(part))

    def place_blob(self, repository: Reference, digest: str, source: Reference | None = None) -> str:
        """Begin to store a blob; the URL to upload it to, or nothing if the repository has it now.

        :param source: a repository of this registry that may have it, to mount it from; without, it may be in the repository itself.
        :raises RegistryError: the registry allows no upload.
        """
        _check_digest(digest, f"POST blob of {repository.name}")
        return self._begin_upload(repository, digest, (source or repository).repository)

    def has_blob(self, repository: Reference, digest: str) -> bool:
        """Whether a repository has a blob, by a HEAD.

        :raises RegistryError: any answer but 200 and 404.
        """
        what = f"HEAD blob {digest} of {repository.name}"
        _check_digest(digest, what)
        response = self._request("HEAD", repository.repository, f"{repository.repository}/blobs/{digest}", what=what)
        if response.status_code != 404:
            self._expect(response, what, 200)
        return bool(response.status_code == 200)

    def upload_blob(self, repository: Reference, location: str, digest: str, body: t.Any) -> None:
        """Store a blob at the URL that ``place_blob`` gave, in one try. A part of it may be there after a failure: begin anew.

        :param body: its bytes, or something to iterate over that has a length.
        :raises RegistryError: it was not accepted; ``status`` says whether another try may help (``is_passing``, 401, or none).
        """
        url = location or self._begin_upload(repository)
        self._expect(self._end_upload(repository, url, digest, body, retries=0), f"PUT blob {digest} of {repository.name}", 201, 204)

    def _begin_upload(self, repository: Reference, digest: str = "", source: str = "") -> str:
        """The URL to upload a blob to; empty if it was mounted instead from the repository ``source``."""
        what = f"POST blob of {repository.name}"
        uploads = f"{repository.repository}/blobs/uploads/"
        query = "?" + urllib.parse.urlencode({"mount": digest, "from": source}) if source else ""
        other = source if source != repository.repository else ""
        response = self._request("POST", repository.repository, uploads + query, what=what, source=other)
        if query and response.status_code == 201:
            return ""
        if query and response.status_code != 202:
            response = self._request("POST", repository.repository, uploads, what=what)
        self._expect(response, what, 202)
        if not response.headers.get("Location"):
            raise RegistryError(f"{what}: the registry answered 202 without the URL to upload to: see the registry's log", response.status_code)
        return _absolute(response, response.headers.get("Location", ""), what)

    def _end_upload(self, repository: Reference, location: str, digest: str, content: t.Any, retries: int | None = None) -> t.Any:
        url = location + ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        return self._request("PUT", repository.repository, url, what=f"PUT blob of {repository.name}", headers=headers, data=content, retries=retries)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        repository: str,
        url: str,
        *,
        what: str,
        headers: t.Any = None,
        data: t.Any = None,
        retries: int | None = None,
        stream: bool = False,
        source: str = "",
    ) -> t.Any:
        """One request with its authorization; ``url`` is absolute or relative to ``/v2/``, ``source`` as for ``Authenticator.authorization``."""
        auth = self.connect()
        target = url if "://" in url else f"{self._base_url}/v2/{url}"
        ours = same_origin(target, self._base_url)
        authorization = auth.authorization(repository, source) if ours else None
        tries = 3 if authorization is None else 2
        # A body that can be read only once cannot be sent again.
        once = data is not None and not isinstance(data, bytes)
        options = {"what": what, "headers": headers, "data": data, "retries": retries, "stream": stream, "slot": not once}
        while True:
            response = self._transport.request(method, target, authorization=authorization, **options)
            tries -= 1
            # Of a 401 that another server gave after a redirect nothing is learned: its token server would get the login.
            if response.status_code not in (401, 403) or not tries or not ours or not same_origin(response.url, self._base_url):
                return response
            # ECR answers 403 to a login that has expired.
            if response.status_code == 403:
                worth = auth.renewed(repository, authorization)
            else:
                worth = auth.rejected(response.headers.get("WWW-Authenticate", ""), repository, authorization)
            if not worth or once:
                return response
            if stream:
                response.close()
            authorization = auth.authorization(repository, source)

    def connect(self) -> Authenticator:
        """Find out by which scheme the registry is reached and how it wants to be asked (distribution-spec, "Determining Support").

        Asked once, by the first thread that comes; the others wait for the answer, or get the same error. All other methods do so too.

        :raises RegistryError: it cannot be reached.
        """
        with self._lock:
            if self._unreachable is not None:
                raise self._unreachable
            if self._auth is None:
                host = _DOCKER_HUB if self.name == "docker.io" else self.name
                response = None
                for scheme in self._schemes():
                    self._base_url = f"{scheme}://{host}"
                    response = self._ping(last=scheme == self._schemes()[-1])
                    if response is not None:
                        break
                self._greeting = response.headers if response is not None else {}
                self._auth = Authenticator(self.name, self._base_url, self._login, self._transport.request, self._actions, grants=self._grants)
                if response is not None and response.status_code == 401:
                    self._auth.learn(response.headers.get("WWW-Authenticate", ""))
            return self._auth

    def _schemes(self) -> tuple[str, ...]:
        if self.access.scheme:
            return (self.access.scheme,)
        return ("https", "http") if is_loopback(self.name) else ("https",)

    def _ping(self, last: bool) -> t.Any:
        what = f"GET {self._base_url}/v2/"
        try:
            return self._transport.request("GET", f"{self._base_url}/v2/", what=what, retries=None if last else 0)
        except RegistryError as exc:
            # A registry that speaks TLS but is not trusted must not be asked again without TLS.
            if last or "not trusted" in str(exc):
                self._unreachable = exc
                raise
            return None

    def _login(self, repository: str, refused: Login | None = None) -> Login | None:
        return self._exchange.login(repository, self._base_url, refused)

    def access_for(self, repository: Reference) -> Access:
        """How another program is to reach a repository and as whom, for some minutes at least.

        :raises ContainersError: the user's login cannot be exchanged for one of this registry.
        """
        if self._exchange.needs_url:
            self.connect()
        login = self._exchange.exchanged(repository.repository, self._base_url)
        return dataclasses.replace(self.access, login=login) if login else self.access

    # -- errors ------------------------------------------------------------------------------------------------------

    def _expect(self, response: t.Any, what: str, *statuses: int) -> None:
        if response.status_code not in statuses:
            raise self._error(response, what)

    def _error(self, response: t.Any, what: str) -> RegistryError:
        """The answer as an error: what was asked, what came back, what to do."""
        code, message = registry_message(response, self._auth.clean if self._auth else str)
        status = response.status_code
        said = f"{status}" + (f" {code}" if code else "") + (f" {json.dumps(message, ensure_ascii=False)}" if message else "")
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        # Nothing is wrong with the login: it may not do this (RFC 6750, 3.1).
        lacks_right = status == 401 and self.access.given and any(challenge.parameters.get("error") == "insufficient_scope" for challenge in challenges)
        advice = _ADVICE.get(403 if lacks_right else status, "the registry is in trouble, try later" if status >= 500 else "see the registry's documentation")
        return RegistryError(f"{what}: {self.name} answered {said}: {advice.format(registry=self.name)}", status, code)


def _check_digest(digest: str, what: str) -> None:
    """Refuse what an index or a manifest calls a digest but is none, before it becomes a part of a URL.

    :raises RegistryError: it is none.
    """
    if not is_digest(digest):
        raise RegistryError(f"{what}: {digest[:200]!r} is no digest: the image is damaged")


def _media_type(response: t.Any) -> str:
    return t.cast(str, response.headers.get("Content-Type", "")).split(";", 1)[0].strip().lower()


def _bare_link(header: str) -> str | None:
    """The target of a Link header without rel, as some registries send it."""
    found = re.fullmatch(r"\s*<([^>]+)>\s*", header)
    return found[1] if found else None


def _absolute(response: t.Any, link: str, what: str) -> str:
    """A URL that an answer gives, which may be relative to its own.

    :raises RegistryError: it is none.
    """
    try:
        url = urllib.parse.urljoin(response.url, link)
        same_origin(url, url)
    except ValueError:
        raise RegistryError(
            f"{what}: the registry answered {response.status_code} with a malformed URL: see the registry's log", response.status_code
        ) from None
    return url
