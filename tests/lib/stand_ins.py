# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for registries that cannot run here, each written from the documentation of its API.

A request that is not documented is answered with 418 and makes ``check`` fail: a method, a path, a parameter of the query, a
content type, an authorization of the wrong kind.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import email.utils
import hashlib
import http.server
import json
import re
import threading
import time
import typing as t
import urllib.parse

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"architecture":"amd64","os":"linux","config":{}}'

USERNAME, PASSWORD, TOKEN = "publisher", "correct-horse-battery", "token-of-the-application"
BASIC = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()

DAY = 86400


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def iso(moment: float | None, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str | None:
    return None if moment is None else datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime(form)


@dataclasses.dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: t.Any
    body: bytes

    @property
    def authorization(self) -> str | None:
        return t.cast("str | None", self.headers.get("Authorization"))

    @property
    def json(self) -> t.Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"?{urllib.parse.urlencode(self.query)}" if self.query else "")


@dataclasses.dataclass
class Answer(Exception):
    status: int
    body: t.Any = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class Undocumented(Exception):
    """A request that the documentation does not know."""


@dataclasses.dataclass
class Tagged:
    digest: str
    pushed: float | None


@dataclasses.dataclass
class Repository:
    tags: dict[str, Tagged] = dataclasses.field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict)

    def by_digest(self) -> dict[str, list[str]]:
        """The tags of each manifest."""
        found: dict[str, list[str]] = {digest: [] for digest in self.manifests}
        for tag, tagged in self.tags.items():
            found[tagged.digest].append(tag)
        return found

    def children(self, digest: str) -> list[str]:
        media_type, content = self.manifests[digest]
        return [child["digest"] for child in json.loads(content)["manifests"]] if media_type == OCI_INDEX else []


_Handler = t.Callable[..., Answer]


def documented(method: str, path: str, *query: str) -> t.Callable[[_Handler], _Handler]:
    """Marks what answers requests of a method and path; it gets the groups of the path as they came, without decoding.

    :param query: the names that may be in the query.
    """

    def mark(function: _Handler) -> _Handler:
        function.__dict__.setdefault("routes", []).append((method, re.compile(path), query))
        return function

    return mark


class Registry:
    """The part that all registries have, and the base of the vendors."""

    type = "oci"
    entry: t.ClassVar[dict[str, t.Any]] = {"username": USERNAME, "password": PASSWORD}
    greeting: t.ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.undocumented: list[str] = []
        self.repositories: dict[str, Repository] = {}
        self.contents: dict[str, bytes] = {digest_of(CONFIG): CONFIG}
        self.once: list[tuple[str, Answer]] = []
        self.forbidden = False
        self._lock = threading.RLock()
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *dummy: object) -> None:
                pass

            def __getattr__(self, name: str) -> t.Any:
                if name.startswith("do_"):
                    return lambda: stand_in._serve(self)
                raise AttributeError(name)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.name = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.name}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def check(self) -> None:
        assert not self.undocumented, f"requests that are not documented: {self.undocumented}"

    def credentials(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        """Those that may do everything."""
        entry = {"type": self.type, "scheme": "http", **self.entry, **more}
        return {self.name: {key: value for key, value in entry.items() if value is not None}}

    # -- what is in it -----------------------------------------------------------------------------------------------

    def image(self, repository: str, *tags: str, text: str = "x", pushed: float | None = None, children: t.Sequence[str] = ()) -> str:
        """Store an image, or with children an index, under some tags, and return its digest."""
        media_type = OCI_INDEX if children else OCI_MANIFEST
        content: dict[str, t.Any] = {"schemaVersion": 2, "mediaType": media_type, "annotations": {"text": text}}
        if children:
            content["manifests"] = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 1} for child in children]
        else:
            config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(CONFIG), "size": len(CONFIG)}
            content.update(config=config, layers=[])
        return self.store(repository, media_type, json.dumps(content).encode(), *tags, pushed=pushed)

    def store(self, repository: str, media_type: str, raw: bytes, *tags: str, pushed: float | None = None) -> str:
        """Store a manifest under some tags, and return its digest."""
        repo = self.repositories.setdefault(repository, Repository())
        repo.manifests[digest_of(raw)] = (media_type, raw)
        for tag in tags:
            repo.tags[tag] = Tagged(digest_of(raw), pushed)
        return digest_of(raw)

    def state(self, repository: str) -> dict[str, str]:
        return {tag: tagged.digest for tag, tagged in self.repositories[repository].tags.items()}

    def writes(self) -> list[str]:
        return [str(request) for request in self.requests if request.method not in ("GET", "HEAD")]

    def seen(self, text: str) -> list[Request]:
        return [request for request in self.requests if text in str(request)]

    # -- HTTP --------------------------------------------------------------------------------------------------------

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path, dummy, query = handler.path.partition("?")
        request = Request(handler.command, path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), handler.headers, body)
        with self._lock:
            self.requests.append(request)
            try:
                answer = self._answer(request)
            except Answer as exc:
                answer = exc
            except Undocumented as exc:
                self.undocumented.append(f"{request}: {exc}")
                answer = Answer(418, "not documented")
            except Exception as exc:
                self.undocumented.append(f"{request}: {exc!r}")
                answer = Answer(418, "not documented")
        content = answer.body if isinstance(answer.body, bytes) else answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if request.method != "HEAD":
            handler.wfile.write(content)

    def _answer(self, request: Request) -> Answer:
        for position, (text, answer) in enumerate(self.once):
            if text in str(request):
                del self.once[position]
                return Answer(answer.status, answer.body(request), answer.headers) if callable(answer.body) else answer
        for name in dir(type(self)):
            function = getattr(type(self), name)
            for method, path, query in getattr(function, "routes", ()):
                found = path.fullmatch(request.path)
                if found and method == request.method:
                    unknown = set(request.query) - set(query)
                    if unknown:
                        raise Undocumented(f"unknown parameters {sorted(unknown)}")
                    return t.cast(Answer, function(self, request, *found.groups()))
        raise Undocumented("no such method and path")

    # -- the registry API (distribution-spec) ------------------------------------------------------------------------

    def allow(self, request: Request, write: bool = False) -> None:
        """Raise an answer if a request of the registry API may not be made."""
        if write and self.forbidden:
            raise Answer(403, {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]})

    @documented("GET", r"/v2/")
    def ping(self, request: Request) -> Answer:
        return Answer(200, {}, dict(self.greeting))

    def _named(self, name: str, reference: str) -> str:
        repo = self.repositories.get(name)
        found = repo and (repo.tags[reference].digest if reference in repo.tags else reference)
        if not repo or found not in repo.manifests:
            raise Answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]})
        return str(found)

    @documented("HEAD", r"/v2/(.+)/manifests/([^/]+)")
    @documented("GET", r"/v2/(.+)/manifests/([^/]+)")
    def get_manifest(self, request: Request, name: str, reference: str) -> Answer:
        self.allow(request)
        digest = self._named(name, reference)
        media_type, content = self.repositories[name].manifests[digest]
        return Answer(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    @documented("PUT", r"/v2/(.+)/manifests/([^/]+)")
    def put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        self.allow(request, write=True)
        digest = digest_of(request.body)
        repo = self.repositories.setdefault(name, Repository())
        repo.manifests[digest] = (request.headers["Content-Type"], request.body)
        if reference != digest:
            repo.tags[reference] = Tagged(digest, time.time())
        return Answer(201, b"", {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/manifests/{digest}"})

    @documented("DELETE", r"/v2/(.+)/manifests/([^/]+)")
    def delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        self.allow(request, write=True)
        self._named(name, reference)
        return self.delete(self.repositories[name], reference)

    def delete(self, repo: Repository, reference: str) -> Answer:
        """Delete by the registry API: a tag alone, by digest all tags."""
        if reference in repo.tags:
            del repo.tags[reference]
        else:
            del repo.manifests[reference]
            repo.tags = {tag: tagged for tag, tagged in repo.tags.items() if tagged.digest != reference}
        return Answer(202)

    @documented("GET", r"/v2/(.+)/tags/list", "n", "last")
    def list_tags(self, request: Request, name: str) -> Answer:
        self.allow(request)
        if name not in self.repositories:
            raise Answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]})
        tags = sorted(tag for tag in self.repositories[name].tags if tag > request.query.get("last", ""))
        size = int(request.query.get("n", "1000"))
        link = {"Link": f'</v2/{name}/tags/list?n={size}&last={tags[size - 1]}>; rel="next"'} if len(tags) > size else {}
        return Answer(200, {"name": name, "tags": tags[:size]}, link)

    @documented("GET", r"/v2/(.+)/referrers/([^/]+)")
    def referrers(self, request: Request, name: str, digest: str) -> Answer:
        return Answer(404, b"404 page not found")

    @documented("POST", r"/v2/(.+)/blobs/uploads/", "mount", "from")
    def begin_upload(self, request: Request, name: str) -> Answer:
        self.allow(request, write=True)
        return Answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/1"})

    @documented("PUT", r"/v2/(.+)/blobs/uploads/1", "digest")
    def end_upload(self, request: Request, name: str) -> Answer:
        self.contents[request.query["digest"]] = request.body
        return Answer(201)

    @documented("GET", r"/v2/(.+)/blobs/([^/]+)")
    def get_blob(self, request: Request, name: str, digest: str) -> Answer:
        return Answer(200, self.contents[digest]) if digest in self.contents else Answer(404)


def page_of(items: t.Sequence[t.Any], page: int, size: int) -> list[t.Any]:
    return list(items[(page - 1) * size : page * size])


class DockerHub(Registry):
    """docs.docker.com, "Docker Hub API"; the deletion of a tag is what its own pages use."""

    type = "docker"
    expired = False

    def credentials(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        return super().credentials(**{"api_url": self.url, **more})

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0

    def delete(self, repo: Repository, reference: str) -> Answer:
        raise Undocumented("a tag, or what has one, must not be deleted by the registry API")

    @documented("POST", r"/v2/auth/token")
    def login(self, request: Request) -> Answer:
        if request.headers["Content-Type"] != "application/json" or set(request.json) != {"identifier", "secret"}:
            raise Undocumented("not the form of a login")
        if request.json != {"identifier": USERNAME, "secret": PASSWORD}:
            return Answer(401, {"detail": "Incorrect authentication credentials"})
        self.tokens += 1
        return Answer(200, {"access_token": f"jwt-{self.tokens}"})

    def _bearer(self, request: Request, needed: bool) -> None:
        if request.authorization is None and not needed:
            return
        if not (request.authorization or "").startswith("Bearer jwt-"):
            raise Undocumented(f"authorization {request.authorization!r}")
        if self.expired and request.authorization == "Bearer jwt-1":
            raise Answer(401, {"message": "token is expired"})

    @documented("GET", r"/v2/namespaces/([^/]+)/repositories/([^/]+)/tags", "page", "page_size")
    def api_tags(self, request: Request, namespace: str, name: str) -> Answer:
        self._bearer(request, needed=False)
        page, size = int(request.query.get("page", "1")), int(request.query.get("page_size", "10"))
        if size > 100:
            raise Undocumented("page_size is at most 100")
        repo = self.repositories.get(f"{namespace}/{name}")
        if repo is None:
            return Answer(404, {"message": "object not found", "errinfo": {}})
        rows = [
            {
                "name": tag,
                "digest": tagged.digest,
                "media_type": repo.manifests[tagged.digest][0],
                "tag_last_pushed": iso(tagged.pushed),
                "last_updated": iso(tagged.pushed),
                "full_size": 7,
                "images": [{"digest": child, "architecture": "amd64"} for child in repo.children(tagged.digest) or [tagged.digest]],
            }
            for tag, tagged in repo.tags.items()
        ]
        more = page * size < len(rows)
        following = f"https://hub.docker.com{request.path}?page={page + 1}&page_size={size}" if more else None
        return Answer(200, {"count": len(rows), "next": following, "previous": None, "results": page_of(rows, page, size)})

    @documented("DELETE", r"/v2/repositories/([^/]+)/([^/]+)/tags/([^/]+)/")
    def api_delete(self, request: Request, namespace: str, name: str, tag: str) -> Answer:
        self._bearer(request, needed=True)
        if self.forbidden:
            return Answer(403, {"detail": "You do not have permission to perform this action."})
        repo = self.repositories[f"{namespace}/{name}"]
        if tag not in repo.tags:
            return Answer(404, {"message": "tag not found"})
        del repo.tags[tag]
        return Answer(204)


class Quay(Registry):
    """docs.quay.io, "API"; github.com/quay/quay, endpoints/api/tag.py."""

    type = "quay"
    entry: t.ClassVar[dict[str, t.Any]] = {"username": USERNAME, "password": PASSWORD, "api_token": TOKEN}
    deletes_tags = True

    def __init__(self) -> None:
        super().__init__()
        #: Rows of the history beside those of the tags that live.
        self.history: list[dict[str, t.Any]] = []

    def delete(self, repo: Repository, reference: str) -> Answer:
        if reference not in repo.tags:
            raise Undocumented("a digest must not be deleted, all its tags would go")
        return super().delete(repo, reference) if self.deletes_tags else Answer(405, {"errors": [{"code": "UNSUPPORTED", "message": "unsupported"}]})

    @documented("GET", r"/api/v1/repository/([^/]+)/([^/]+)/tag/", "page", "limit", "onlyActiveTags", "filter_tag_name", "specificTag")
    def api_tags(self, request: Request, namespace: str, name: str) -> Answer:
        if request.authorization not in (None, f"Bearer {TOKEN}"):
            raise Undocumented(f"authorization {request.authorization!r}: neither robots nor passwords")
        if request.authorization is None:
            return Answer(401, {"message": "Requires authentication"})
        page, size = int(request.query.get("page", "1")), int(request.query.get("limit", "50"))
        if size > 100:
            raise Undocumented("limit is at most 100")
        repo = self.repositories.get(f"{namespace}/{name}")
        if repo is None:
            return Answer(404, {"error_type": "not_found", "detail": "Not Found"})
        rows = [
            {
                "name": tag,
                "manifest_digest": tagged.digest,
                "start_ts": tagged.pushed and int(tagged.pushed),
                "last_modified": email.utils.formatdate(tagged.pushed or 0),
                "is_manifest_list": bool(repo.children(tagged.digest)),
                "size": 7,
            }
            for tag, tagged in repo.tags.items()
        ]
        if request.query.get("onlyActiveTags") != "true":
            rows += self.history
        return Answer(200, {"tags": page_of(rows, page, size), "page": page, "has_additional": page * size < len(rows)})

    @documented("DELETE", r"/api/v1/repository/([^/]+)/([^/]+)/tag/([^/]+)")
    def api_delete(self, request: Request, namespace: str, name: str, tag: str) -> Answer:
        if request.authorization != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Requires authentication"})
        if self.forbidden:
            return Answer(403, {"error_type": "insufficient_scope", "detail": "Unauthorized"})
        del self.repositories[f"{namespace}/{name}"].tags[tag]
        return Answer(204)


class Ghcr(Registry):
    """docs.github.com, "REST API endpoints for packages"."""

    type = "ghcr"
    entry: t.ClassVar[dict[str, t.Any]] = {"username": USERNAME, "password": PASSWORD, "api_token": TOKEN}
    scopes: str | None = "read:packages, delete:packages, write:packages"
    #: How often the versions are listed before a new one is among them.
    late = 0

    def credentials(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        return super().credentials(**{"api_url": self.url, **more})

    def __init__(self) -> None:
        super().__init__()
        self.owners = {"example": "orgs"}
        self.identifiers: dict[str, int] = {}

    def delete(self, repo: Repository, reference: str) -> Answer:
        return Answer(405, {"errors": [{"code": "UNSUPPORTED", "message": "The operation is unsupported."}]})

    def _package(self, request: Request, kind: str, owner: str, name: str) -> Repository:
        if request.authorization not in (f"Bearer {TOKEN}", f"Bearer {PASSWORD}"):
            raise Answer(401, {"message": "Requires authentication"})
        repo = self.repositories.get(f"{owner}/{urllib.parse.unquote(name)}")
        if self.owners.get(owner) != kind or repo is None:
            raise Answer(404, {"message": "Package not found."})
        return repo

    @documented("GET", r"/(orgs|users)/([^/]+)/packages/container/([^/]+)")
    def api_package(self, request: Request, kind: str, owner: str, name: str) -> Answer:
        self._package(request, kind, owner, name)
        return Answer(200, {"name": urllib.parse.unquote(name), "package_type": "container"})

    def _identifier(self, digest: str) -> int:
        return self.identifiers.setdefault(digest, 1000 + len(self.identifiers))

    @documented("GET", r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions", "per_page", "page", "state")
    def api_versions(self, request: Request, kind: str, owner: str, name: str) -> Answer:
        repo = self._package(request, kind, owner, name)
        page, size = int(request.query.get("page", "1")), int(request.query.get("per_page", "30"))
        if size > 100:
            raise Undocumented("per_page is at most 100")
        rows = []
        for digest, tags in repo.by_digest().items():
            moment = max((repo.tags[tag].pushed or 0 for tag in tags), default=0)
            version = {"id": self._identifier(digest), "name": digest, "created_at": iso(moment), "updated_at": iso(moment)}
            rows.append({**version, "metadata": {"package_type": "container", "container": {"tags": tags}}})
        if self.late and size == 100:
            self.late -= 1
            rows = [row for row in rows if b"tombstone" not in repo.manifests[row["name"]][1]]
        headers = {} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}
        return Answer(200, page_of(rows, page, size), headers)

    @documented("DELETE", r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions/([0-9]+)")
    def api_delete(self, request: Request, kind: str, owner: str, name: str, identifier: str) -> Answer:
        repo = self._package(request, kind, owner, name)
        if self.forbidden:
            return Answer(403, {"message": "You need at least admin permission to delete this package."})
        digest = next(digest for digest in repo.manifests if self._identifier(digest) == int(identifier))
        left = [tag for tag, tagged in repo.tags.items() if tagged.digest != digest]
        if len(left) != len(repo.tags) and not left:
            return Answer(400, {"message": "You cannot delete the last tagged version of a package. You must delete the package instead."})
        repo.tags = {tag: repo.tags[tag] for tag in left}
        del repo.manifests[digest]
        return Answer(204)


class GitLab(Registry):
    """gitlab.com/gitlab-org/container-registry, docs/spec/gitlab/api.md."""

    type = "gitlab"
    database = True
    deletes_tags = True

    def delete(self, repo: Repository, reference: str) -> Answer:
        if reference not in repo.tags:
            raise Undocumented("a digest must not be deleted, all its tags would go")
        return super().delete(repo, reference) if self.deletes_tags else Answer(405, {"errors": [{"code": "UNSUPPORTED", "message": "unsupported"}]})

    @documented("GET", r"/gitlab/v1/repositories/(.+)/tags/list/", "n", "last", "before", "name", "name_exact", "sort", "referrers", "referrer_type")
    def api_tags(self, request: Request, name: str) -> Answer:
        if not self.database:
            return Answer(404, b"404 page not found")
        repo = self.repositories.get(name)
        if repo is None:
            return Answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]})
        size = int(request.query.get("n", "100"))
        if not 0 < size <= 1000:
            raise Undocumented("n is from 1 to 1000")
        names = sorted(tag for tag in repo.tags if tag > request.query.get("last", ""))
        rows = []
        for tag in names[:size]:
            tagged = repo.tags[tag]
            row = {"name": tag, "digest": tagged.digest, "media_type": repo.manifests[tagged.digest][0], "size_bytes": 7}
            rows.append({**row, "created_at": iso(tagged.pushed, "%Y-%m-%dT%H:%M:%S.123Z"), "published_at": iso(tagged.pushed)})
        link = {"Link": f'<{self.url}{request.path}?n={size}&last={names[size - 1]}>; rel="next"'} if len(names) > size else {}
        return Answer(200, rows, link)


class Harbor(Registry):
    """goharbor/harbor, api/v2.0/swagger.yaml."""

    type = "harbor"

    def __init__(self) -> None:
        super().__init__()
        self.immutable: set[str] = set()

    def delete(self, repo: Repository, reference: str) -> Answer:
        if reference not in repo.tags:
            raise Undocumented("a digest must not be deleted, all its tags would go")
        return Answer(400, {"errors": [{"code": "UNSUPPORTED", "message": "the operation isn't supported"}]})

    def _repo(self, request: Request, project: str, encoded: str) -> Repository | None:
        if request.headers.get("Cookie") or request.authorization not in (None, BASIC):
            raise Undocumented("authorization")
        name = urllib.parse.unquote(urllib.parse.unquote(encoded))
        if "/" in urllib.parse.unquote(encoded):
            raise Undocumented("slashes of a repository are to be encoded twice")
        return self.repositories.get(f"{project}/{name}")

    @documented("GET", r"/api/v2\.0/projects/([^/]+)/repositories/([^/]+)/artifacts", "with_tag", "page", "page_size", "q", "sort")
    def api_artifacts(self, request: Request, project: str, encoded: str) -> Answer:
        repo = self._repo(request, project, encoded)
        page, size = int(request.query.get("page", "1")), int(request.query.get("page_size", "10"))
        if size > 100:
            raise Undocumented("page_size is at most 100")
        if repo is None:
            return Answer(404, {"errors": [{"code": "NOT_FOUND", "message": "repository not found"}]})
        rows = []
        for digest, names in repo.by_digest().items():
            media_type = repo.manifests[digest][0]
            tags = [{"name": tag, "push_time": iso(repo.tags[tag].pushed, "%Y-%m-%dT%H:%M:%S.123Z"), "immutable": tag in self.immutable} for tag in names]
            references = [{"child_digest": child} for child in repo.children(digest)] or None
            rows.append({"digest": digest, "manifest_media_type": media_type, "size": 7, "push_time": None, "tags": tags or None, "references": references})
        headers = {"X-Total-Count": str(len(rows))}
        if page * size < len(rows):
            headers["Link"] = f'<{request.path}?page={page + 1}&page_size={size}&with_tag=true>; rel="next"'
        return Answer(200, page_of(rows, page, size), headers)

    @documented("DELETE", r"/api/v2\.0/projects/([^/]+)/repositories/([^/]+)/artifacts/([^/]+)/tags/([^/]+)")
    def api_delete(self, request: Request, project: str, encoded: str, reference: str, tag: str) -> Answer:
        repo = self._repo(request, project, encoded)
        if request.authorization is None or self.forbidden:
            return Answer(403, {"errors": [{"code": "FORBIDDEN", "message": "forbidden"}]})
        digest = urllib.parse.unquote(reference)
        if repo is None or tag not in repo.tags or digest not in (tag, repo.tags[tag].digest):
            return Answer(404, {"errors": [{"code": "NOT_FOUND", "message": "not found"}]})
        if tag in self.immutable:
            return Answer(412, {"errors": [{"code": "PRECONDITION", "message": "matched with immutable rules"}]})
        del repo.tags[tag]
        return Answer(200)


class Ecr(Registry):
    """botocore, service models "ecr" and "ecr-public"."""

    type = "ecr"
    public = False
    target = "AmazonEC2ContainerRegistry_V20150921"
    actions: t.ClassVar[dict[str, set[str]]] = {
        "DescribeImages": {"registryId", "repositoryName", "imageIds", "nextToken", "maxResults", "filter"},
        "BatchDeleteImage": {"registryId", "repositoryName", "imageIds"},
    }
    alias = ""
    #: Whose it is; the name of this host does not tell.
    account = ""

    def call(self, action: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What the collection's caller of AWS does, without a signature."""
        import requests
        from ansible_collections.gating.containers.plugins.module_utils._errors import RegistryError

        headers = {"X-Amz-Target": f"{self.target}.{action}", "Content-Type": "application/x-amz-json-1.1"}
        answer = requests.post(self.url + "/", data=json.dumps(parameters), headers=headers, timeout=10)
        content = answer.json()
        if answer.status_code != 200:
            raise RegistryError(f"{action}: ECR answered {content}", answer.status_code, content["__type"])
        return dict(content)

    def delete(self, repo: Repository, reference: str) -> Answer:
        raise Undocumented("whether this works is not established")

    @documented("POST", r"/")
    def action(self, request: Request) -> Answer:
        target, dummy, action = (request.headers.get("X-Amz-Target") or "").partition(".")
        if target != self.target or request.headers["Content-Type"] != "application/x-amz-json-1.1" or action not in self.actions:
            raise Undocumented("no such action")
        if set(request.json) - self.actions[action]:
            raise Undocumented(f"parameters of {action}")
        if self.forbidden:
            return Answer(400, {"__type": "AccessDeniedException", "message": f"is not authorized to perform: ecr:{action}"})
        if action == "DescribeRegistries":
            aliases = [{"name": self.alias.rstrip("/"), "status": "ACTIVE", "primaryRegistryAlias": True, "defaultRegistryAlias": False}]
            return Answer(200, {"registries": [{"registryId": self.account, "aliases": aliases}]})
        if request.json.get("registryId", "") != self.account:
            raise Undocumented("the account is to be told where it is known")
        repo = self.repositories.get(self.alias + request.json["repositoryName"])
        if repo is None:
            return Answer(400, {"__type": "RepositoryNotFoundException", "message": "The repository does not exist"})
        if action == "BatchDeleteImage":
            return Answer(200, self._delete(repo, request.json["imageIds"]))
        if not 1 <= request.json.get("maxResults", 100) <= 1000:
            raise Undocumented("maxResults is at most 1000")
        return Answer(200, self._describe(repo, request.json))

    def _describe(self, repo: Repository, parameters: t.Any) -> dict[str, t.Any]:
        rows = []
        for digest, tags in repo.by_digest().items():
            media_type = repo.manifests[digest][0]
            moments = [pushed for tag in tags for pushed in [repo.tags[tag].pushed] if pushed is not None]
            if tags:
                row = {"imageDigest": digest, "imageTags": tags, "imageManifestMediaType": media_type, "imageSizeInBytes": 7}
                rows.append({**row, **({"imagePushedAt": min(moments)} if moments else {})})
        start = int(parameters.get("nextToken", "0"))
        end = start + parameters["maxResults"]
        return {"imageDetails": rows[start:end], **({"nextToken": str(end)} if end < len(rows) else {})}

    def _delete(self, repo: Repository, identifiers: t.Any) -> dict[str, t.Any]:
        if not 1 <= len(identifiers) <= 100:
            raise Undocumented("imageIds are at most 100")
        done, failures = [], []
        for identifier in identifiers:
            tag, digest = identifier.get("imageTag"), identifier.get("imageDigest")
            if not tag:
                raise Undocumented("without its tag an image goes with all its tags")
            tagged = repo.tags.get(tag)
            if tagged is None or digest not in (None, tagged.digest):
                failures.append({"imageId": identifier, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"})
                continue
            alone = [other for other, it in repo.tags.items() if it.digest == tagged.digest] == [tag]
            if alone and any(tagged.digest in repo.children(other.digest) for other in repo.tags.values()):
                failures.append({"imageId": identifier, "failureCode": "ImageReferencedByManifestList", "failureReason": "referenced by manifest list"})
                continue
            del repo.tags[tag]
            if alone:
                # The last tag takes the image along.
                del repo.manifests[tagged.digest]
            done.append({"imageTag": tag, "imageDigest": tagged.digest})
        return {"imageIds": done, "failures": failures}


class EcrPublic(Ecr):
    """botocore, service model "ecr-public": the names of repositories are without the registry's alias, which is ``example`` here."""

    public = True
    target = "SpencerFrontendService"
    actions: t.ClassVar[dict[str, set[str]]] = {
        "DescribeImageTags": {"registryId", "repositoryName", "nextToken", "maxResults"},
        "BatchDeleteImage": {"registryId", "repositoryName", "imageIds"},
        "DescribeRegistries": {"nextToken", "maxResults"},
    }
    alias = "example/"
    account = "123456789012"

    def _describe(self, repo: Repository, parameters: t.Any) -> dict[str, t.Any]:
        rows = []
        for tag, tagged in repo.tags.items():
            image = {"imageDigest": tagged.digest, "imageManifestMediaType": repo.manifests[tagged.digest][0], "imageSizeInBytes": 7}
            rows.append({"imageTag": tag, "imageDetail": image, **({"createdAt": tagged.pushed} if tagged.pushed is not None else {})})
        start = int(parameters.get("nextToken", "0"))
        end = start + parameters["maxResults"]
        return {"imageTagDetails": rows[start:end], **({"nextToken": str(end)} if end < len(rows) else {})}


class Acr(Registry):
    """Azure/azure-rest-api-specs, containerregistry.json."""

    type = "acr"

    def delete(self, repo: Repository, reference: str) -> Answer:
        raise Undocumented("a tag is not deleted by the registry API, a digest takes all tags along")

    @documented("GET", r"/v2/")
    def ping(self, request: Request) -> Answer:
        return Answer(401, {}, self._challenge(""))

    def _challenge(self, scope: str) -> dict[str, str]:
        more = f',scope="{scope}",error="insufficient_scope"' if scope else ""
        return {"WWW-Authenticate": f'Bearer realm="{self.url}/oauth2/token",service="{self.name}"{more}'}

    @documented("GET", r"/oauth2/token", "service", "scope")
    def token(self, request: Request) -> Answer:
        if request.authorization != BASIC:
            return Answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
        return Answer(200, {"access_token": request.query["scope"]})

    def _scope(self, request: Request, name: str, action: str) -> None:
        kind, scope_of, actions = (request.authorization or "").removeprefix("Bearer ").split(":")
        if (kind, scope_of) != ("repository", name):
            raise Undocumented(f"token for {scope_of}")
        if action not in actions.split(","):
            raise Answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "not allowed"}]}, self._challenge(f"repository:{name}:{action}"))

    def _version(self, request: Request) -> None:
        if request.query.get("api-version") != "2021-07-01":
            raise Undocumented("api-version")

    @documented("GET", r"/acr/v1/(.+)/_tags", "n", "last", "orderby", "digest", "api-version")
    def api_tags(self, request: Request, name: str) -> Answer:
        self._version(request)
        self._scope(request, name, "metadata_read")
        repo = self.repositories.get(name)
        if repo is None:
            return Answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]})
        if request.query.get("orderby") not in (None, "timedesc", "timeasc"):
            raise Undocumented("orderby")
        names = list(repo.tags)
        start = names.index(request.query["last"]) + 1 if "last" in request.query else 0
        size = int(request.query["n"])
        rows = [
            {"name": tag, "digest": repo.tags[tag].digest, "createdTime": iso(repo.tags[tag].pushed), "lastUpdateTime": iso(repo.tags[tag].pushed)}
            for tag in names[start : start + size]
        ]
        more = start + size < len(names)
        link = {"Link": f'</acr/v1/{name}/_tags?n={size}&last={names[start + size - 1]}&orderby=timedesc>; rel="next"'} if more else {}
        return Answer(200, {"registry": self.name, "imageName": name, "tags": rows}, link)

    @documented("DELETE", r"/acr/v1/(.+)/_tags/([^/]+)", "api-version")
    def api_delete(self, request: Request, name: str, tag: str) -> Answer:
        self._version(request)
        self._scope(request, name, "delete")
        if self.forbidden:
            return Answer(405, {"errors": [{"code": "UNSUPPORTED", "message": "The operation is unsupported: it is locked."}]})
        if self.repositories[name].tags.pop(tag, None) is None:
            return Answer(404, {"errors": [{"code": "TAG_UNKNOWN", "message": "the specified tag does not exist"}]})
        return Answer(202)


class Gar(Registry):
    """google/go-containerregistry, pkg/v1/google: the list of tags with what Google adds to it."""

    type = "gar"

    def delete(self, repo: Repository, reference: str) -> Answer:
        if reference not in repo.tags:
            raise Undocumented("GOOGLE_MANIFEST_DANGLING_TAG")
        return super().delete(repo, reference)

    @documented("GET", r"/v2/(.+)/tags/list")
    def list_tags(self, request: Request, name: str) -> Answer:
        repo = self.repositories.get(name)
        if repo is None:
            return Answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "Repository not found."}]})
        manifests = {}
        for digest, tags in repo.by_digest().items():
            media_type = repo.manifests[digest][0]
            moments = [pushed for tag in tags for pushed in [repo.tags[tag].pushed] if pushed is not None]
            times = {"timeCreatedMs": "0", "timeUploadedMs": str(int(1000 * max(moments, default=0)))}
            manifests[digest] = {"imageSizeBytes": "7", "mediaType": media_type, "tag": tags, **times}
        return Answer(200, {"name": name, "tags": list(repo.tags), "manifest": manifests, "child": []})


class Artifactory(Registry):
    """jfrog.com/help, "REST API": search by AQL, folder info, delete item."""

    type = "artifactory"

    def __init__(self) -> None:
        super().__init__()
        self.trimmed = False

    def delete(self, repo: Repository, reference: str) -> Answer:
        raise Undocumented("whether this works is not established")

    def _user(self, request: Request) -> None:
        if request.authorization not in (BASIC, f"Bearer {TOKEN}"):
            raise Answer(401, {"errors": [{"status": 401, "message": "Bad credentials"}]})

    @documented("POST", r"/artifactory/api/search/aql")
    def api_search(self, request: Request) -> Answer:
        self._user(request)
        if request.headers["Content-Type"] != "text/plain":
            raise Undocumented("AQL is text/plain")
        found = re.fullmatch(r"items\.find\((\{.*\})\)\.include\((.*)\)", request.body.decode())
        if not found:
            raise Undocumented("no AQL")
        criteria = json.loads(found[1])
        fields = json.loads(f"[{found[2]}]")
        if set(fields) - {"repo", "path", "name", "created", "modified", "sha256", "updated", "size", "type"} or not {"repo", "path", "name"} <= set(fields):
            raise Undocumented("fields")
        pattern = re.compile(re.escape(criteria["path"]["$match"]).replace(r"\*", ".*"))
        rows = []
        for name, repo in self.repositories.items():
            key, image = name.split("/", 1)
            for tag, tagged in repo.tags.items():
                path = f"{image}/{tag}"
                if key == criteria["repo"] and pattern.fullmatch(path):
                    file = "list.manifest.json" if repo.children(tagged.digest) else "manifest.json"
                    row = {"repo": key, "path": path, "name": file, "created": iso(tagged.pushed, "%Y-%m-%dT%H:%M:%S.123Z"), "sha256": tagged.digest[7:]}
                    rows.append({**row, "modified": iso(tagged.pushed, "%Y-%m-%dT%H:%M:%S.000Z")})
        span: dict[str, t.Any] = {"start_pos": 0, "end_pos": len(rows), "total": len(rows)}
        if self.trimmed:
            span.update(limit=1, notification="AQL query reached the search hard limit, results are trimmed.")
            rows = rows[:1]
        return Answer(200, {"results": rows, "range": span})

    def _folder(self, path: str) -> list[dict[str, t.Any]]:
        children: list[dict[str, t.Any]] = []
        for name, repo in self.repositories.items():
            for tag in repo.tags:
                if f"{name}/{tag}" == path:
                    children += [{"uri": "/manifest.json", "folder": False}, {"uri": "/sha256__1", "folder": False}]
                elif f"{name}/{tag}".startswith(f"{path}/"):
                    children.append({"uri": "/" + f"{name}/{tag}"[len(path) + 1 :].split("/")[0], "folder": True})
        return children

    @documented("GET", r"/artifactory/api/storage/(.+)")
    def api_folder(self, request: Request, path: str) -> Answer:
        self._user(request)
        if path.endswith("/manifest.json"):
            name, tag = path.rsplit("/", 2)[:2]
            return Answer(200, {"path": path, "checksums": {"sha256": self.repositories[name].tags[tag].digest[7:]}})
        children = self._folder(path)
        return Answer(200, {"path": path, "children": children}) if children else Answer(404, {"errors": [{"status": 404, "message": "Unable to find item"}]})

    @documented("DELETE", r"/artifactory/(.+)")
    def api_delete(self, request: Request, path: str) -> Answer:
        self._user(request)
        if self.forbidden:
            return Answer(403, {"errors": [{"status": 403, "message": "Not enough permissions to delete/overwrite artifact"}]})
        for name, repo in self.repositories.items():
            for tag in [tag for tag in repo.tags if f"{name}/{tag}" == path or f"{name}/{tag}".startswith(f"{path}/")]:
                del repo.tags[tag]
        return Answer(204)


class Nexus(Registry):
    """help.sonatype.com, "REST and Integration API": search, components, status."""

    type = "nexus"

    def __init__(self) -> None:
        super().__init__()
        self.also: list[str] = []

    def credentials(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        return super().credentials(**{"api_url": self.url, **more})

    def delete(self, repo: Repository, reference: str) -> Answer:
        raise Undocumented("the tags of a digest that is deleted stay")

    @documented("GET", r"/service/rest/v1/status")
    def api_status(self, request: Request) -> Answer:
        return Answer(200)

    @documented("GET", r"/service/rest/v1/search", "repository", "format", "name", "version", "continuationToken", "sort", "direction")
    def api_search(self, request: Request) -> Answer:
        if request.authorization != BASIC:
            raise Answer(401)
        if request.query.get("format") != "docker":
            raise Undocumented("all formats")
        rows = []
        for place in ["hosted", *self.also]:
            for name, repo in self.repositories.items():
                for tag, tagged in repo.tags.items():
                    if name == request.query.get("name") and request.query.get("repository", place) == place and request.query.get("version", tag) == tag:
                        asset = {"path": f"v2/{name}/manifests/{tag}", "checksum": {"sha256": tagged.digest[7:]}, "lastDownloaded": None}
                        asset.update(lastModified=iso(tagged.pushed, "%Y-%m-%dT%H:%M:%S.123+00:00"), blobCreated=iso(tagged.pushed))
                        identifier = base64.b64encode(f"{place}:{name}:{tag}".encode()).decode()
                        rows.append({"id": identifier, "repository": place, "format": "docker", "name": name, "version": tag, "assets": [asset]})
        start = int(request.query.get("continuationToken", "0"))
        return Answer(200, {"items": rows[start : start + 50], "continuationToken": str(start + 50) if start + 50 < len(rows) else None})

    @documented("DELETE", r"/service/rest/v1/components/([^/]+)")
    def api_delete(self, request: Request, identifier: str) -> Answer:
        if request.authorization != BASIC or self.forbidden:
            return Answer(403)
        dummy, name, tag = base64.b64decode(urllib.parse.unquote(identifier)).decode().split(":")
        if self.repositories[name].tags.pop(tag, None) is None:
            return Answer(404)
        return Answer(204)


class Pulp(Registry):
    """docs.pulpproject.org, "Pulp Container REST API"."""

    type = "pulp"

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[tuple[str, str]] = []
        self.looks: dict[str, int] = {}

    def credentials(self, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        return super().credentials(**{"type": None, **more})

    @documented("GET", r"/v2/")
    def ping(self, request: Request) -> Answer:
        return Answer(401, {}, {"WWW-Authenticate": f'Bearer realm="{self.url}/token/",service="{self.name}"'})

    @documented("GET", r"/token/", "service", "scope")
    def token(self, request: Request) -> Answer:
        return Answer(200, {"token": "t", "expires_in": 300})

    def delete(self, repo: Repository, reference: str) -> Answer:
        if reference in repo.tags:
            return Answer(400, {"errors": [{"code": "UNSUPPORTED", "message": "A manifest can only be deleted by digest"}]})
        raise Undocumented("a digest takes all tags along")

    @documented("GET", r"/pulp/api/v3/distributions/container/container/", "base_path", "limit", "offset")
    def api_distributions(self, request: Request) -> Answer:
        if request.authorization != BASIC:
            return Answer(401, {"detail": "Authentication credentials were not provided."})
        path = request.query["base_path"]
        found = [{"base_path": path, "repository": f"/pulp/api/v3/repositories/container/container-push/{path}/"}] if path in self.repositories else []
        return Answer(200, {"count": len(found), "results": found})

    @documented("POST", r"/pulp/api/v3/repositories/container/container-push/(.+)/untag/")
    def api_untag(self, request: Request, name: str) -> Answer:
        if self.forbidden:
            return Answer(403, {"detail": "You do not have permission to perform this action."})
        if set(request.json) != {"tag"}:
            raise Undocumented("body")
        self.tasks.append((name, request.json["tag"]))
        return Answer(202, {"task": f"/pulp/api/v3/tasks/{len(self.tasks) - 1}/"})

    @documented("GET", r"/pulp/api/v3/tasks/([0-9]+)/")
    def api_task(self, request: Request, number: str) -> Answer:
        self.looks[number] = self.looks.get(number, 0) + 1
        if self.looks[number] < 2:
            return Answer(200, {"state": "running"})
        name, tag = self.tasks[int(number)]
        self.repositories[name].tags.pop(tag, None)
        return Answer(200, {"state": "completed"})


VENDORS: tuple[type[Registry], ...] = (DockerHub, Quay, Ghcr, GitLab, Harbor, Ecr, EcrPublic, Acr, Gar, Artifactory, Nexus, Pulp)
