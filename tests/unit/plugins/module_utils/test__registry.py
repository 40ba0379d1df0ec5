# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One registry, spoken to by the OCI distribution API."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import threading
import typing as t
import urllib.parse

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _registry
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    DamagedError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    ACCEPT,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._registry import Registry
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    Transport,
)

PASSWORD = "s3cr3t-Pa55w0rd"
ME = Login("me", PASSWORD)
B64 = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
BASIC = f"Basic {B64}"
RAW = b'{"schemaVersion": 2,\n "mediaType": "' + OCI_MANIFEST.encode() + b'"}'
DIGEST = digest_of(RAW)
OTHER = digest_of(b"other")
MANIFEST = Manifest(OCI_MANIFEST, RAW, DIGEST)
SERVED = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": DIGEST}
TAGS = "/v2/a/b/tags/list"
UPLOADS = "/v2/a/b/blobs/uploads/"
LATEST = "/v2/a/b/manifests/latest"


class Made:
    """A registry at a server; ``image`` and ``repository`` are of a repository on it, a/b."""

    def __init__(self, server: t.Any, transport: Transport, it: Registry, counter: Counter) -> None:
        self.server = server
        self.transport = transport
        self.it = it
        self.counter = counter
        self.name = server.name
        self.repository = Reference(server.name, "a/b")
        self.image = self.repository.with_tag("latest")


@pytest.fixture
def make(http_server: t.Any) -> t.Iterator[t.Callable[..., Made]]:
    made: list[Made] = []

    def registry(
        ping: t.Any = (200,), actions: t.Sequence[str] = ("pull", "push"), server: t.Any = None, parallel: int = 4, retries: int = 1, **access: t.Any
    ) -> Made:
        """A registry that was not asked anything yet; ``ping`` is the answer to the first request, ``None`` to script it elsewhere."""
        server = server or http_server()
        if ping:
            server.on("GET", "/v2/", *ping)
        counter = Counter()
        access = {"scheme": "http", **access}
        entry = Access(server.name, **access)
        transport = Transport(entry, parallel=parallel, timeout=5, retries=retries, counter=counter)
        made.append(Made(server, transport, Registry(entry, transport, actions), counter))
        return made[-1]

    yield registry
    for one in made:
        one.transport.close()


def bearer(server: t.Any, scope: str = "") -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"' + (f',scope="{scope}"' if scope else "")}


# -- reading manifests -----------------------------------------------------------------------------------------------------------------------


def test_resolve(make: t.Any) -> None:
    one = make()
    one.server.on("HEAD", LATEST, 200, RAW, {**SERVED, "Content-Type": OCI_INDEX.upper() + "; charset=utf-8"})
    assert one.it.resolve(one.image) == Descriptor(OCI_INDEX, DIGEST, len(RAW))
    assert one.server.requests[1].headers["Accept"] == ACCEPT
    assert one.counter.value == 2


def test_resolve_a_digest(make: t.Any) -> None:
    one = make()
    one.server.on("HEAD", f"/v2/a/b/manifests/{DIGEST}", 200, RAW, SERVED)
    assert one.it.resolve(one.repository.with_digest(DIGEST)) == Descriptor(OCI_MANIFEST, DIGEST, len(RAW))


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": ""}, {"Docker-Content-Digest": "latest"}, {"Docker-Content-Digest": "sha256:abc"}])
def test_resolve_without_a_digest_reads_the_manifest(make: t.Any, headers: dict[str, str]) -> None:
    one = make()
    for method in ("HEAD", "GET"):
        one.server.on(method, LATEST, 200, RAW, {"Content-Type": OCI_MANIFEST, **headers})
    assert one.it.resolve(one.image) == Descriptor(OCI_MANIFEST, DIGEST, len(RAW))
    assert one.server.seen(LATEST) == [f"HEAD {LATEST}", f"GET {LATEST}"]


def test_resolve_what_goes_between_head_and_get(make: t.Any) -> None:
    one = make()
    one.server.on("HEAD", LATEST, 200, RAW)
    one.server.on("GET", LATEST, 404)
    assert one.it.resolve(one.image) is None


@pytest.mark.parametrize("length", ["many", "12, 12"])
def test_resolve_with_an_odd_length(make: t.Any, length: str) -> None:
    one = make()
    one.server.on("HEAD", LATEST, 200, RAW, {**SERVED, "Content-Length": length})
    found = one.it.resolve(one.image)
    assert found is not None
    assert found.digest == DIGEST


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_is_not_there_is_none(make: t.Any, method: str) -> None:
    one = make()
    one.server.on(method, LATEST, 404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]})
    assert (one.it.resolve if method == "HEAD" else one.it.manifest)(one.image) is None


def test_a_manifest_is_read_byte_for_byte(make: t.Any) -> None:
    one = make()
    one.server.on("GET", LATEST, 200, RAW, SERVED)
    found = one.it.manifest(one.image)
    assert found == MANIFEST
    assert found.content == RAW
    assert one.server.requests[1].headers["Accept"] == ACCEPT


@pytest.mark.parametrize(
    ("content_type", "body", "media_type"),
    [
        (OCI_MANIFEST, b"{}", OCI_MANIFEST),
        (f"{DOCKER_MANIFEST}; charset=utf-8", b"{}", DOCKER_MANIFEST),
        (OCI_MANIFEST, json.dumps({"mediaType": OCI_INDEX}).encode(), OCI_MANIFEST),
        ("application/json", json.dumps({"mediaType": OCI_INDEX}).encode(), OCI_INDEX),
        ("", json.dumps({"mediaType": DOCKER_MANIFEST}).encode(), DOCKER_MANIFEST),
        ("application/vnd.oci.image", json.dumps({"mediaType": OCI_INDEX}).encode(), OCI_INDEX),
        ("text/plain", b"no json", "text/plain"),
    ],
)
def test_the_media_type(make: t.Any, content_type: str, body: bytes, media_type: str) -> None:
    one = make()
    one.server.on("GET", LATEST, 200, body, {"Content-Type": content_type})
    assert one.it.manifest(one.image).media_type == media_type


def test_a_manifest_without_the_registrys_digest(make: t.Any) -> None:
    one = make()
    one.server.on("GET", LATEST, 200, RAW, {"Content-Type": OCI_MANIFEST})
    assert one.it.manifest(one.image).digest == DIGEST


def test_a_manifest_with_a_digest_of_another_algorithm(make: t.Any) -> None:
    one = make()
    sha512 = "sha512:" + hashlib.sha512(RAW).hexdigest()
    one.server.on("GET", LATEST, 200, RAW, {**SERVED, "Docker-Content-Digest": sha512})
    one.server.on("GET", f"/v2/a/b/manifests/{sha512}", 200, RAW, SERVED)
    assert one.it.manifest(one.image).digest == sha512
    assert one.it.manifest(one.repository.with_digest(sha512)).digest == sha512


@pytest.mark.parametrize(
    ("asked", "said"),
    [("latest", OTHER), (OTHER, DIGEST), (OTHER, OTHER), (OTHER, None)],
)
def test_a_manifest_of_other_bytes_is_an_error(make: t.Any, asked: str, said: str | None) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/manifests/{asked}", 200, RAW, {"Content-Type": OCI_MANIFEST, **({"Docker-Content-Digest": said} if said else {})})
    image = one.image if asked == "latest" else one.repository.with_digest(asked)
    with pytest.raises(RegistryError) as caught:
        one.it.manifest(image)
    assert str(caught.value).startswith(f"GET manifest of {image}: the registry answered {DIGEST} instead of {OTHER}: ")


@pytest.mark.parametrize(
    "algorithm",
    ["sha257", "shake_128"],
)
def test_a_digest_of_an_unknown_algorithm(make: t.Any, algorithm: str) -> None:
    one = make()
    one.server.on("GET", LATEST, 200, RAW, {"Docker-Content-Digest": f"{algorithm}:{'a' * 64}"})
    with pytest.raises(ContainersError, match=algorithm):
        one.it.manifest(one.image)


# -- writing manifests -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_put_manifest(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("PUT", LATEST, status, b"", {"Docker-Content-Digest": DIGEST})
    one.it.put_manifest(one.image, MANIFEST)
    request = one.server.requests[1]
    assert (request.body, request.headers["Content-Type"], request.headers["Content-Length"]) == (RAW, OCI_MANIFEST, str(len(RAW)))


def test_put_manifest_by_digest(make: t.Any) -> None:
    one = make()
    one.server.on("PUT", f"/v2/a/b/manifests/{DIGEST}", 201)
    one.it.put_manifest(one.repository.with_digest(DIGEST), MANIFEST)


@pytest.mark.parametrize("said", ["", "junk", "sha512:" + "a" * 128])
def test_put_manifest_without_a_digest_to_compare(make: t.Any, said: str) -> None:
    one = make()
    one.server.on("PUT", LATEST, 201, b"", {"Docker-Content-Digest": said})
    one.it.put_manifest(one.image, MANIFEST)


def test_put_manifest_that_is_stored_as_another_is_an_error(make: t.Any) -> None:
    one = make()
    one.server.on("PUT", LATEST, 201, b"", {"Docker-Content-Digest": OTHER})
    with pytest.raises(RegistryError) as caught:
        one.it.put_manifest(one.image, MANIFEST)
    assert str(caught.value) == f"PUT manifest of {one.image}: the registry stored {OTHER} instead of {DIGEST}"


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 500])
def test_put_manifest_that_is_refused(make: t.Any, status: int) -> None:
    one = make(retries=0)
    one.server.on("PUT", LATEST, status, {"errors": [{"code": "MANIFEST_INVALID", "message": "no"}]})
    with pytest.raises(RegistryError, match=f"^PUT manifest of {one.image}: {one.name} answered {status} MANIFEST_INVALID") as caught:
        one.it.put_manifest(one.image, MANIFEST)
    assert (caught.value.status, caught.value.code) == (status, "MANIFEST_INVALID")


BUSY = (400, {"errors": [{"code": "DIGEST_INVALID", "message": "provided digest did not match uploaded content"}, {"code": "MANIFEST_BLOB_UNKNOWN"}]})


def test_put_manifest_while_another_stores_its_parts(make: t.Any) -> None:
    one = make(retries=2)
    one.server.on("PUT", LATEST, *BUSY)
    one.server.on("PUT", LATEST, *BUSY)
    one.server.on("PUT", LATEST, 201)
    one.it.put_manifest(one.image, MANIFEST)
    assert [request.body for request in one.server.of("PUT", LATEST)] == [RAW] * 3


def test_put_manifest_that_has_an_invalid_digest_for_good(make: t.Any) -> None:
    one = make(retries=2)
    one.server.on("PUT", LATEST, *BUSY)
    one.server.on("PUT", LATEST, *BUSY)
    one.server.on("PUT", LATEST, *BUSY)
    with pytest.raises(RegistryError, match=f"^PUT manifest of {one.image}: {one.name} answered 400 DIGEST_INVALID "):
        one.it.put_manifest(one.image, MANIFEST)
    assert len(one.server.of("PUT", LATEST)) == 3


def test_a_tag_is_looked_up_when_it_was_written(make: t.Any) -> None:
    one = make()
    one.server.on("PUT", LATEST, 201)
    one.server.on("HEAD", LATEST, 200, RAW, SERVED)
    one.it.name_manifest(one.image, MANIFEST)
    assert one.server.seen(LATEST) == [f"PUT {LATEST}", f"HEAD {LATEST}"]


@pytest.mark.parametrize(("answer", "said"), [((404,), "nothing"), ((200, b"other", {"Docker-Content-Digest": OTHER}), OTHER)])
def test_a_tag_that_names_something_else_after_it_was_written(make: t.Any, answer: tuple[t.Any, ...], said: str) -> None:
    one = make()
    one.server.on("PUT", LATEST, 201)
    one.server.on("HEAD", LATEST, *answer)
    with pytest.raises(RegistryError) as caught:
        one.it.name_manifest(one.image, MANIFEST)
    told = f"{one.name} accepted {DIGEST} but the tag names {said}: was it an index before, which some registries keep? Use another tag"
    assert str(caught.value) == f"PUT manifest of {one.image}: {told}"


@pytest.mark.parametrize(("status", "code"), [(202, ""), (400, "DIGEST_INVALID"), (404, "MANIFEST_UNKNOWN"), (405, "UNSUPPORTED")])
def test_delete_manifest(make: t.Any, status: int, code: str) -> None:
    one = make()
    one.server.on("DELETE", LATEST, status, {"errors": [{"code": code}]} if code else b"")
    found = one.it.delete_manifest(one.image)
    assert found[:2] == (status, code)
    assert isinstance(found[2], RegistryError)
    assert str(found[2]).startswith(f"DELETE manifest of {one.image}: {one.name} answered {status}")
    # Artifactory answers 406 to a DELETE with the media types of manifests.
    assert one.server.requests[1].headers["Accept"] == "*/*"


# -- errors ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "said", "code", "advice"),
    [
        (400, {"errors": [{"code": "NAME_INVALID", "message": "bad name"}]}, '400 NAME_INVALID "bad name"', "NAME_INVALID", "see its message"),
        (403, {"errors": [{"code": "DENIED", "message": "no", "detail": "quota\nexceeded"}]}, '403 DENIED "no: quota exceeded"', "DENIED", "needs the right"),
        (403, {"errors": [{"code": "DENIED", "message": "no", "detail": {"a": 1}}]}, '403 DENIED "no"', "DENIED", "needs the right"),
        (405, {"errors": [{"code": "UNSUPPORTED", "message": "x", "detail": "x"}]}, '405 UNSUPPORTED "x"', "UNSUPPORTED", "does not allow"),
        (413, {"errors": [{"message": "too big"}]}, '413 "too big"', "", "too large"),
        (429, {"errors": [{"code": "TOOMANYREQUESTS"}]}, "429 TOOMANYREQUESTS", "TOOMANYREQUESTS", "try later, or lower parallel"),
        (500, "<html><head><title>500</title></head>\n<body><h1>Internal\r\n Error</h1></body></html>", '500 "500 Internal Error"', "", "try later"),
        (502, "<html>" + "long " * 1000, '502 "long long', "", "try later"),
        (503, b"", "503:", "", "try later"),
        (418, 'a "teapot" says\tno\u2028never', '418 "a \\"teapot\\" says no never"', "", "documentation"),
        (400, {"errors": []}, '400 "{\\"errors\\": []}"', "", "see its message"),
        (400, {"errors": [5]}, "400", "", "see its message"),
        (400, {"errors": {"code": "X"}}, "400", "", "see its message"),
        (400, {"errors": [{"code": None, "message": None}]}, "400:", "", "see its message"),
        (400, ["x"], "400", "", "see its message"),
        (400, b"\xff\xfe\x00\x01", "400", "", "see its message"),
        (301, b"", "301:", "", "documentation"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(make: t.Any, status: int, body: t.Any, said: str, code: str, advice: str) -> None:
    one = make(retries=0)
    one.server.on("GET", LATEST, status, body)
    with pytest.raises(RegistryError) as caught:
        one.it.manifest(one.image)
    message = str(caught.value)
    assert message.startswith(f"GET manifest of {one.image}: {one.name} answered {said}")
    assert advice in message.rsplit(": ", 1)[1]
    assert len(message.splitlines()) == 1
    assert len(message) < 600
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "check username and password for {} in container_registry_credentials"), (404, "check the name"), (403, "the login for {}")]
)
def test_the_advice_names_the_registry(make: t.Any, status: int, advice: str) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", status)
    with pytest.raises(RegistryError) as caught:
        one.it.blob(one.repository, OTHER)
    assert advice.format(one.name) in str(caught.value)


def test_the_error_of_a_head_has_no_message(make: t.Any) -> None:
    one = make()
    one.server.on("HEAD", LATEST, 403, "there is no body after a HEAD")
    with pytest.raises(RegistryError, match=f"^HEAD manifest of {one.image}: {one.name} answered 403: the login"):
        one.it.resolve(one.image)


@pytest.mark.parametrize("key", ["message", "detail"])
def test_no_secret_that_a_registry_echoes_is_in_an_error(make: t.Any, key: str) -> None:
    one = make(ping=None, login=Login("me", PASSWORD, "refresh-token-1"))
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("POST", "/token", 404)
    one.server.on("GET", "/token", 200, {"token": "bearer-token-1"})
    one.server.on(
        "GET", LATEST, 400, {"errors": [{"code": "X", key: f"you sent Bearer bearer-token-1, before {BASIC}, that is {PASSWORD}, and refresh-token-1!"}]}
    )
    with pytest.raises(RegistryError) as caught:
        one.it.manifest(one.image)
    message = str(caught.value)
    assert [secret for secret in ("bearer-token-1", B64, PASSWORD, "refresh-token-1") if secret in message] == []
    assert "you sent Bearer ********, before Basic ********, that is ********, and ********!" in message


def test_no_secret_that_an_html_page_echoes_is_in_an_error(make: t.Any) -> None:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("GET", LATEST, 400, f"<p>Authorization: {BASIC}</p><p>{PASSWORD}</p>")
    with pytest.raises(RegistryError) as caught:
        one.it.manifest(one.image)
    assert '"Authorization: Basic ******** ********"' in str(caught.value)


def echoed(make: t.Any, password: str, error: t.Any) -> str:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=Login("me", password))
    one.server.on("GET", LATEST, 400, error)
    with pytest.raises(RegistryError) as caught:
        one.it.manifest(one.image)
    return str(caught.value)


@pytest.mark.parametrize("code", [f"BAD {PASSWORD}", "BAD\nTHING", "B" * 10000])
def test_the_code_of_an_error_is_no_way_around(make: t.Any, code: str) -> None:
    message = echoed(make, PASSWORD, {"errors": [{"code": code, "message": "no"}]})
    assert PASSWORD not in message
    assert len(message.splitlines()) == 1
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("password", "message", "left"),
    [
        ("correct-horse-battery", "x" * 285 + " correct-horse-battery", "correct-horse"),
        ("correct  horse  battery", "no: correct  horse  battery", "horse"),
        ("correct<b>horse", "no: correct<b>horse", "horse"),
    ],
)
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_part_of_a_secret_is_not_left_over(make: t.Any, password: str, message: str, left: str, form: str) -> None:
    assert left not in echoed(make, password, {"errors": [{"code": "X", "message": message}]} if form == "json" else message)


# -- tags --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ({"name": "a/b", "tags": ["b", "a", "1.0"]}, ["b", "a", "1.0"]),
        ({"name": "a/b", "tags": None}, []),
        ({"name": "a/b", "tags": []}, []),
        ({}, []),
        ({"tags": [None, "a", "", None]}, ["a"]),
        ({"tags": ["a", DIGEST, f"sha256-{'a' * 64}.sig", "-x", 5, ["a"]]}, ["a", f"sha256-{'a' * 64}.sig"]),
        ({"tags": ["a", "b", "a"]}, ["a", "b"]),
    ],
)
def test_tags(make: t.Any, body: t.Any, tags: list[str]) -> None:
    one = make()
    one.server.on("GET", f"{TAGS}?n=1000", 200, body)
    assert one.it.tags(one.repository) == tags


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"5",
        b'"text"',
        b'{"tags": 5}',
        b'{"tags": "latest"}',
    ],
)
def test_something_that_is_no_list_of_tags(make: t.Any, body: bytes) -> None:
    one = make()
    one.server.on("GET", TAGS, 200, body)
    with pytest.raises(RegistryError, match=f"^GET tags of {one.name}/a/b: {one.name} answered 200 with something that is no list of tags$"):
        one.it.tags(one.repository)


@pytest.mark.parametrize(
    ("link", "second"),
    [
        ('<{path}?n=2&last=b>; rel="next"', "{path}?n=2&last=b"),
        ('<{url}{path}?n=2&last=b>; rel="next"', "{path}?n=2&last=b"),
        ("<list?n=2&last=b>; rel=next", "{path}?n=2&last=b"),
        ("<?last=b>; rel=next", "{path}?last=b"),
        ("<{path}?last=b>", "{path}?last=b"),
        ("<{url}/elsewhere/list?page=2>; rel=next", "/elsewhere/list?page=2"),
        # A proxy in front of the registry, which names itself as it likes: its path is right, its host not to be followed.
        ("<https://internal.example:8443{path}?last=b>; rel=next", "{path}?last=b"),
        ("<http://127.0.0.1:1{path}>; rel=next", "{path}"),
        ('</first>; rel="first", <{path}?last=b>; rel="next"', "{path}?last=b"),
    ],
)
def test_pages_of_tags(make: t.Any, link: str, second: str) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    second = second.format(path=TAGS)
    one.server.on("GET", f"{TAGS}?n=1000", 200, {"tags": ["a", "b"]}, {"Link": link.format(url=one.server.url, path=TAGS)})
    one.server.on("GET", second, 200, {"tags": ["b", "c"]})
    assert one.it.tags(one.repository) == ["a", "b", "c"]
    assert one.server.seen()[1:] == [f"GET {TAGS}?n=1000", f"GET {second}"]
    assert [request.authorization for request in one.server.requests] == [None, BASIC, BASIC]


@pytest.mark.parametrize("link", ["", "junk", '</first>; rel="first"', "<>; rel=next"])
def test_a_link_that_is_none(make: t.Any, link: str) -> None:
    one = make()
    one.server.on("GET", TAGS, 200, {"tags": ["a"]}, {"Link": link})
    assert one.it.tags(one.repository) == ["a"]


@pytest.mark.parametrize("link", ["<{path}?n=1000>; rel=next", "<{url}{path}?n=1000>; rel=next", "<{path}?last=a>; rel=next"])
def test_pages_that_go_in_a_circle(make: t.Any, link: str) -> None:
    one = make()

    def enough() -> None:
        # A test that does not end is worse than one that fails.
        assert len(one.server.requests) < 20

    one.server.on("GET", TAGS, 200, {"tags": ["a"]}, {"Link": link.format(url=one.server.url, path=TAGS)}, times=None, hook=enough)
    with pytest.raises(RegistryError, match=f"^GET tags of {one.name}/a/b: the registry's pages go in a circle$"):
        one.it.tags(one.repository)
    assert one.counter.value <= 4


@pytest.mark.parametrize("link", ["<http://[::1/x>; rel=next", "<http://a:port/x>; rel=next", "<http://a:99999/x>; rel=next"])
def test_a_link_that_is_no_url(make: t.Any, link: str) -> None:
    one = make()
    one.server.on("GET", TAGS, 200, {"tags": ["a"]}, {"Link": link})
    with pytest.raises(RegistryError, match=f"^GET tags of {one.name}/a/b"):
        one.it.tags(one.repository)


@pytest.mark.parametrize("status", [400, 404])
def test_a_registry_that_takes_no_query(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("GET", f"{TAGS}?n=1000", status)
    one.server.on("GET", TAGS, 200, {"tags": ["a"]}, times=2)
    assert one.it.tags(one.repository) == ["a"]
    # It is not asked so again.
    assert one.it.tags(one.repository) == ["a"]
    assert one.server.seen(TAGS) == [f"GET {TAGS}?n=1000", f"GET {TAGS}", f"GET {TAGS}"]


def test_tags_of_a_repository_that_is_not_there(make: t.Any) -> None:
    one = make()
    one.server.on("GET", f"{TAGS}?n=1000", 404, {"errors": [{"code": "NAME_UNKNOWN"}]}, times=2)
    one.server.on("GET", TAGS, 404, {"errors": [{"code": "NAME_UNKNOWN"}]}, times=2)
    assert one.it.tags(one.repository) == []
    # This tells nothing of queries.
    assert one.it.tags(one.repository) == []


@pytest.mark.parametrize("status", [401, 403, 500])
def test_tags_that_cannot_be_listed(make: t.Any, status: int) -> None:
    one = make(retries=0)
    one.server.on("GET", TAGS, status)
    with pytest.raises(RegistryError, match=f"^GET tags of {one.name}/a/b: {one.name} answered {status}") as caught:
        one.it.tags(one.repository)
    assert caught.value.status == status


def test_a_page_of_tags_that_cannot_be_read_is_an_error(make: t.Any) -> None:
    one = make(retries=0)
    one.server.on("GET", f"{TAGS}?n=1000", 200, {"tags": ["a"]}, {"Link": f"<{TAGS}?last=a>; rel=next"})
    one.server.on("GET", f"{TAGS}?last=a", 500)
    with pytest.raises(RegistryError, match="answered 500"):
        one.it.tags(one.repository)


# -- blobs ---------------------------------------------------------------------------------------------------------------------------------------


def test_blob(make: t.Any) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 200, b"other")
    assert one.it.blob(one.repository, OTHER) == b"other"


def test_a_blob_from_a_storage_elsewhere(make: t.Any, http_server: t.Any) -> None:
    storage = http_server()
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 307, b"", {"Location": f"{storage.url}/x?sig=1"})
    storage.on("GET", "/x", 200, b"other")
    assert one.it.blob(one.repository, OTHER) == b"other"
    assert (one.server.requests[1].authorization, storage.requests[0].authorization) == (BASIC, None)


def test_a_damaged_blob_is_an_error(make: t.Any) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 200, b"damaged")
    with pytest.raises(RegistryError, match=f"^GET blob {OTHER} of {one.name}/a/b: its content is damaged"):
        one.it.blob(one.repository, OTHER)


def test_a_blob_that_is_not_there_is_an_error(make: t.Any) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 404)
    with pytest.raises(RegistryError, match="answered 404") as caught:
        one.it.blob(one.repository, OTHER)
    assert caught.value.status == 404


def mount() -> str:
    return f"{UPLOADS}?" + urllib.parse.urlencode({"mount": OTHER, "from": "a/b"})


def test_put_a_blob_that_is_there(make: t.Any) -> None:
    one = make()
    one.server.on("POST", mount(), 201)
    assert one.it.put_blob(one.repository, b"other") == OTHER


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/up/1", "/up/1?"),
        ("/up/1?_state=a%3Db%2F&x=y", "/up/1?_state=a%3Db%2F&x=y&"),
        ("{url}/up/1", "/up/1?"),
        ("{url}/up/1?_state=x", "/up/1?_state=x&"),
        ("1", UPLOADS + "1?"),
    ],
)
def test_put_a_blob_where_the_mount_begins_the_upload(make: t.Any, location: str, target: str) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    one.server.on("POST", mount(), 202, b"", {"Location": location.format(url=one.server.url)})
    one.server.on("PUT", target + urllib.parse.urlencode({"digest": OTHER}), 201)
    assert one.it.put_blob(one.repository, b"other") == OTHER
    put = one.server.requests[-1]
    assert (put.body, put.headers["Content-Type"], put.authorization) == (b"other", "application/octet-stream", BASIC)


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_put_a_blob_where_the_mount_is_refused(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("POST", mount(), status)
    one.server.on("POST", UPLOADS, 202, b"", {"Location": "/up/1"})
    one.server.on("PUT", "/up/1", 204)
    assert one.it.put_blob(one.repository, b"other") == OTHER
    assert [str(request).partition("?")[0] for request in one.server.requests[1:]] == [f"POST {UPLOADS}", f"POST {UPLOADS}", "PUT /up/1"]


def test_put_a_blob_to_a_storage_elsewhere(make: t.Any, http_server: t.Any) -> None:
    storage = http_server()
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("POST", mount(), 202, b"", {"Location": f"{storage.url}/up?sig=1"})
    storage.on("PUT", "/up", 201)
    one.it.put_blob(one.repository, b"other")
    assert [storage.requests[0].authorization, storage.requests[0].body] == [None, b"other"]


def test_a_storage_that_wants_a_login_gets_none(make: t.Any, http_server: t.Any) -> None:
    storage = http_server()
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("POST", mount(), 202, b"", {"Location": f"{storage.url}/up"})
    storage.on("PUT", "/up", 401, b"", bearer(storage))
    with pytest.raises(RegistryError, match="answered 401"):
        one.it.put_blob(one.repository, b"other")
    assert storage.seen("/token") == []


@pytest.mark.parametrize("challenge", ["Bearer", "Basic"])
def test_a_server_that_the_registry_redirects_to_gets_no_login(make: t.Any, http_server: t.Any, challenge: str) -> None:
    storage = http_server()
    one = make(ping=(401, b"", {}), login=ME)
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 307, b"", {"Location": f"{storage.url}/x"}, times=None)
    storage.on("GET", "/x", 401, b"", bearer(storage) if challenge == "Bearer" else {"WWW-Authenticate": 'Basic realm="x"'}, times=None)
    storage.on("GET", "/token", 200, {"token": "t"}, times=None)
    with pytest.raises(RegistryError, match="answered 401"):
        one.it.blob(one.repository, OTHER)
    assert [str(request) for request in storage.requests if request.authorization] == []
    # The registry did not ask for a login either.
    assert [str(request) for request in one.server.requests if request.authorization] == []
    assert storage.seen("/token") == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_upload_that_cannot_begin(make: t.Any, status: int) -> None:
    one = make(retries=0)
    one.server.on("POST", UPLOADS, status, times=2)
    with pytest.raises(RegistryError, match=f"^POST blob of {one.name}/a/b: {one.name} answered {status}"):
        one.it.put_blob(one.repository, b"other")


@pytest.mark.parametrize("status", [200, 202, 400, 413])
def test_an_upload_that_is_not_accepted(make: t.Any, status: int) -> None:
    one = make(retries=0)
    one.server.on("POST", mount(), 202, b"", {"Location": "/up/1"})
    one.server.on("PUT", "/up/1", status)
    with pytest.raises(RegistryError, match=f"^PUT blob of {one.name}/a/b: {one.name} answered {status}"):
        one.it.put_blob(one.repository, b"other")


@pytest.mark.parametrize("location", ["http://[::1/x", "http://a:99999/x"])
def test_a_location_that_is_no_url(make: t.Any, location: str) -> None:
    one = make()
    one.server.on("POST", mount(), 202, b"", {"Location": location})
    with pytest.raises(RegistryError, match="blob of"):
        one.it.put_blob(one.repository, b"other")


# -- authorization ---------------------------------------------------------------------------------------------------------------------------------


def test_one_ping_and_one_token_for_all_requests(make: t.Any) -> None:
    one = make(ping=None, actions=("pull", "push", "delete"), login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300})
    one.server.on("GET", LATEST, 200, RAW, SERVED)
    one.server.on("PUT", LATEST, 201)
    one.server.on("DELETE", LATEST, 202)
    one.it.manifest(one.image)
    one.it.put_manifest(one.image, MANIFEST)
    one.it.delete_manifest(one.image)
    assert one.server.of("GET", "/token")[0].query == [("service", "s"), ("scope", "repository:a/b:pull,push,delete")]
    assert [request.authorization for request in one.server.requests] == [None, BASIC, "Bearer t", "Bearer t", "Bearer t"]
    assert one.counter.value == 5


def test_a_token_that_expires_is_fetched_again(make: t.Any) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    one.server.on("PUT", LATEST, 401, b"", bearer(one.server, "repository:a/b:pull,push"))
    one.server.on("PUT", LATEST, 201)
    one.it.put_manifest(one.image, MANIFEST)
    puts = one.server.of("PUT", LATEST)
    assert [(request.authorization, request.body) for request in puts] == [("Bearer one", RAW), ("Bearer two", RAW)]


@pytest.mark.parametrize("ping", [200, 404, 403, 501])
def test_a_registry_whose_ping_does_not_ask_for_a_login(make: t.Any, ping: int) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", ping)
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300})
    one.server.on("HEAD", LATEST, 401, b"", bearer(one.server))
    one.server.on("HEAD", LATEST, 200, RAW, SERVED)
    assert one.it.resolve(one.image).digest == DIGEST
    assert [request.authorization for request in one.server.of("HEAD", LATEST)] == [None, "Bearer t"]


def test_a_registry_without_a_login_is_not_asked_again(make: t.Any) -> None:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}))
    one.server.on("HEAD", LATEST, 401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(RegistryError, match="answered 401: check username and password"):
        one.it.resolve(one.image)


def test_a_basic_login_that_is_wrong_is_sent_once(make: t.Any) -> None:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("HEAD", LATEST, 401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(RegistryError, match="answered 401"):
        one.it.resolve(one.image)
    assert one.server.requests[1].authorization == BASIC


def test_tokens_that_are_always_rejected(make: t.Any) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300}, times=None)
    one.server.on("HEAD", LATEST, 401, b"", bearer(one.server), times=2)
    with pytest.raises(RegistryError, match=f"^HEAD manifest of {one.image}: {one.name} answered 401"):
        one.it.resolve(one.image)


def test_no_token_is_fetched_that_is_not_used(make: t.Any) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300}, times=None)
    one.server.on("HEAD", LATEST, 401, b"", bearer(one.server), times=2)
    with pytest.raises(RegistryError):
        one.it.resolve(one.image)
    assert len(one.server.of("GET", "/token")) == len(one.server.of("HEAD", LATEST))


def test_logins_of_the_container_tools_are_used(make: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}))
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {f"{one.name}/a": {"auth": B64}, one.name: {"auth": "eDp5"}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    one.server.on("HEAD", LATEST, 200, RAW, SERVED)
    one.it.resolve(one.image)
    assert one.server.requests[1].authorization == BASIC


def test_the_users_credentials_go_before_those_of_the_container_tools(make: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    one = make(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {one.name: {"auth": "eDp5"}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    one.server.on("HEAD", LATEST, 200, RAW, SERVED)
    one.it.resolve(one.image)
    assert one.server.requests[1].authorization == BASIC


# -- connecting --------------------------------------------------------------------------------------------------------------------------------------


def test_many_threads_make_one_ping(make: t.Any) -> None:
    one = make(ping=None, parallel=10)
    one.server.on("GET", "/v2/", 200, hook=lambda: threading.Event().wait(0.05))
    one.server.on("HEAD", LATEST, 200, RAW, SERVED, times=10)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda dummy: one.it.resolve(one.image), range(10)))
    assert {descriptor.digest for descriptor in found if descriptor} == {DIGEST}
    assert len(found) == 10
    assert one.counter.value == 11


def test_many_threads_get_the_same_error(make: t.Any) -> None:
    one = make(ping=None, retries=0)
    one.server.on("GET", "/v2/", cut="before")

    def message(dummy: object) -> str:
        with pytest.raises(RegistryError) as caught:
            one.it.resolve(one.image)
        return str(caught.value)

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        messages = set(pool.map(message, range(10)))
    assert messages == {f"GET {one.server.url}/v2/: no answer in 1 tries, the connection broke: check the registry and the network"}


def test_a_ping_that_fails_is_made_again(make: t.Any) -> None:
    one = make(ping=None, retries=2)
    one.server.on("GET", "/v2/", cut="before")
    one.server.on("GET", "/v2/", 503)
    one.server.on("GET", "/v2/", 200)
    one.server.on("HEAD", LATEST, 404)
    assert one.it.resolve(one.image) is None


def test_a_loopback_registry_without_scheme_is_tried_by_https_then_http(make: t.Any) -> None:
    one = make(scheme=None)
    one.server.on("HEAD", LATEST, 404, times=2)
    assert [one.it.resolve(one.image) for dummy in range(2)] == [None, None]
    # The https that fails, once; the ping; the two requests.
    assert one.counter.value == 4


def test_a_loopback_registry_without_scheme_that_speaks_https(make: t.Any, http_server: t.Any, certificate: t.Any) -> None:
    one = make(server=http_server(context=certificate.context), scheme=None, ca_cert=certificate.cert)
    one.server.on("HEAD", LATEST, 404)
    assert one.it.resolve(one.image) is None
    assert one.counter.value == 2


def test_a_loopback_registry_that_is_not_trusted_is_not_asked_without_tls(make: t.Any, http_server: t.Any, certificate: t.Any) -> None:
    one = make(ping=None, server=http_server(context=certificate.context), scheme=None)
    for _again in range(2):
        with pytest.raises(RegistryError, match=f"^GET https://{one.name}/v2/: its TLS certificate is not trusted"):
            one.it.resolve(one.image)
    assert one.counter.value == 1


def test_scheme_https_is_not_given_up_for_http(make: t.Any) -> None:
    one = make(ping=None, scheme="https")
    with pytest.raises(RegistryError, match=f"^GET https://{one.name}/v2/: no TLS connection: if the registry speaks plain HTTP, set scheme to http"):
        one.it.resolve(one.image)
    assert one.server.requests == []


class Fake:
    """A transport that tells what is asked, and fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, method: str, url: str, **dummy: object) -> t.NoReturn:
        self.asked.append(f"{method} {url}")
        raise RegistryError("failed")


@pytest.mark.parametrize(
    ("access", "asked"),
    [
        (Access("quay.io"), ["https://quay.io"]),
        (Access("quay.io", scheme="http"), ["http://quay.io"]),
        (Access("docker.io"), ["https://registry-1.docker.io"]),
        (Access("10.0.0.1:5000"), ["https://10.0.0.1:5000"]),
        (Access("localhost:5000"), ["https://localhost:5000", "http://localhost:5000"]),
        (Access("[::1]:5000"), ["https://[::1]:5000", "http://[::1]:5000"]),
        (Access("127.0.0.9"), ["https://127.0.0.9", "http://127.0.0.9"]),
        (Access("localhost:5000", scheme="https"), ["https://localhost:5000"]),
        (Access("localhost.example"), ["https://localhost.example"]),
    ],
)
def test_where_a_registry_is_looked_for(access: Access, asked: list[str]) -> None:
    fake = Fake()
    with pytest.raises(RegistryError, match="^failed$"):
        Registry(access, t.cast("Transport", fake), ("pull",)).resolve(Reference(access.registry, "a", "b"))
    assert fake.asked == [f"GET {url}/v2/" for url in asked]


def test_resolve_of_another_digest(make: t.Any) -> None:
    one = make()
    image = one.repository.with_digest(DIGEST)
    one.server.on("HEAD", f"/v2/a/b/manifests/{DIGEST}", 200, RAW, {**SERVED, "Docker-Content-Digest": "sha256:" + "1" * 64})
    with pytest.raises(RegistryError, match="it is damaged"):
        one.it.resolve(image)


@pytest.mark.parametrize("digest", ["../../x", "sha256:1", ""])
def test_a_digest_that_is_none_becomes_no_part_of_a_url(make: t.Any, digest: str) -> None:
    one = make(ping=None)
    with pytest.raises(RegistryError, match="is no digest: the image is damaged"):
        one.it.blob(one.repository, digest)


def test_an_upload_without_a_location(make: t.Any) -> None:
    one = make()
    one.server.on("POST", mount(), 202)
    with pytest.raises(RegistryError, match="answered 202 without the URL to upload to"):
        one.it.put_blob(one.repository, b"other")


# -- a blob in parts -------------------------------------------------------------------------------------------------------------------------------


class Parts:
    """A blob that is read in parts of 64 bytes, and what was handed out of it."""

    content = bytes(range(256)) * 2
    digest = digest_of(content)
    at = f"/v2/a/b/blobs/{digest}"

    def __init__(self, made: Made, size: int | None = None) -> None:
        self.server = made.server
        self.given: list[bytes] = []
        self._parts = made.it.read_blob(made.repository, self.digest, len(self.content) if size is None else size)

    def read(self) -> bytes:
        for part in self._parts:
            self.given.append(part)
        return b"".join(self.given)

    def ranges(self) -> list[str | None]:
        return [request.headers["Range"] for request in self.server.of("GET", self.at)]


@pytest.fixture
def parts(make: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Parts]:
    monkeypatch.setattr(_registry, "_PART", 64)

    def begin(size: int | None = None, **options: t.Any) -> Parts:
        return Parts(make(**options), size)

    return begin


def test_a_blob_is_read_in_parts(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content)
    assert one.read() == one.content
    assert [len(part) for part in one.given] == [64] * 8
    assert one.ranges() == [None]


def test_nothing_is_asked_before_the_first_part_is_wanted(parts: t.Any) -> None:
    assert parts(ping=None).server.requests == []


def test_an_empty_blob(make: t.Any) -> None:
    one, digest = make(), digest_of(b"")
    one.server.on("GET", f"/v2/a/b/blobs/{digest}", 200)
    assert b"".join(one.it.read_blob(one.repository, digest, 0)) == b""


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_blob_with_a_digest_of_another_algorithm_in_parts(make: t.Any, algorithm: str) -> None:
    one, digest = make(), digest_of(RAW, algorithm)
    one.server.on("GET", f"/v2/a/b/blobs/{digest}", 200, RAW)
    assert b"".join(one.it.read_blob(one.repository, digest, len(RAW))) == RAW


def test_a_download_that_breaks_goes_on_where_it_was(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, 206, one.content[256:], cut="body")
    one.server.on("GET", one.at, 206, one.content[384:])
    assert one.read() == one.content
    assert one.ranges() == [None, "bytes=256-", "bytes=384-"]


def test_a_server_that_ignores_where_to_go_on(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, 200, one.content)
    assert one.read() == one.content
    assert one.ranges() == [None, "bytes=256-"]


@pytest.mark.parametrize("offset", [1, 63, 64, 65, 200, 511])
def test_what_was_there_is_skipped_to_the_byte(parts: t.Any, offset: int) -> None:
    one = parts()
    # Shorter than the descriptor says.
    one.server.on("GET", one.at, 200, one.content[:offset])
    one.server.on("GET", one.at, 200, one.content)
    assert one.read() == one.content
    assert one.ranges() == [None, f"bytes={offset}-"]


def test_a_connection_that_breaks_before_the_answer(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, 206, b"", cut="before")
    one.server.on("GET", one.at, 206, one.content[256:])
    assert one.read() == one.content
    assert one.ranges() == [None, "bytes=256-", "bytes=256-"]


def test_bodies_that_are_short_again_and_again(parts: t.Any, pauses: list[float]) -> None:
    one = parts(retries=2)
    one.server.on("GET", one.at, 200, one.content[:100])
    one.server.on("GET", one.at, 206, b"", times=2)
    with pytest.raises(RegistryError) as caught:
        one.read()
    assert f"GET blob {one.digest} of {one.server.name}/a/b: the connection broke after 100 of 512 bytes, again and again" in str(caught.value)
    assert caught.value.status is None
    assert len(b"".join(one.given)) < 100
    assert one.ranges() == [None, "bytes=100-", "bytes=100-"]


def test_a_server_that_never_gets_further_is_not_asked_for_ever(parts: t.Any) -> None:
    one = parts(retries=2)
    # It ignores Range and breaks at the same place each time.
    one.server.on("GET", one.at, 200, one.content, cut="body", times=3)
    with pytest.raises(RegistryError, match="the connection broke after 256 of 512 bytes"):
        one.read()


def test_progress_is_no_reason_to_give_up(parts: t.Any) -> None:
    one = parts(retries=1)
    for start in range(0, 512, 32):
        one.server.on("GET", one.at, 206 if start else 200, one.content[start : start + 32])
    assert one.read() == one.content
    assert one.ranges() == [None, *(f"bytes={start}-" for start in range(32, 512, 32))]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("more", [1, 200])
def test_a_blob_that_is_too_long(parts: t.Any, resumed: bool, more: int) -> None:
    one = parts()
    if resumed:
        one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, *((206, one.content[256:] + b"x" * more) if resumed else (200, one.content + b"x" * more)))
    with pytest.raises(RegistryError, match="it is more than the 512 bytes of its descriptor: the image is damaged"):
        one.read()
    assert len(b"".join(one.given)) < 512


@pytest.mark.parametrize("place", [0, 300, 511])
def test_the_last_part_of_a_damaged_blob_is_never_handed_out(parts: t.Any, place: int) -> None:
    one = parts()
    content = bytearray(one.content)
    content[place] ^= 1
    one.server.on("GET", one.at, 200, bytes(content))
    with pytest.raises(DamagedError, match=f"^GET blob {one.digest} of {one.server.name}/a/b: its content is damaged or was changed on the way$"):
        one.read()
    assert b"".join(one.given) == bytes(content[:448])


def test_a_damaged_blob_of_one_part_is_not_handed_out_at_all(make: t.Any) -> None:
    one = make()
    one.server.on("GET", f"/v2/a/b/blobs/{OTHER}", 200, b"wrong")
    given = one.it.read_blob(one.repository, OTHER, 5)
    with pytest.raises(DamagedError):
        next(given)


def test_a_blob_that_was_changed_between_two_tries(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, 206, b"x" * 256)
    with pytest.raises(DamagedError):
        one.read()
    assert len(b"".join(one.given)) < 512


@pytest.mark.parametrize("status", [302, 307])
def test_a_blob_in_parts_from_a_storage_elsewhere(parts: t.Any, http_server: t.Any, status: int) -> None:
    storage = http_server()
    one = parts(ping=(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("GET", one.at, status, b"", {"Location": f"{storage.url}/x?sig=1"})
    one.server.on("GET", one.at, status, b"", {"Location": f"{storage.url}/x?sig=2"})
    storage.on("GET", "/x?sig=1", 200, one.content, cut="body")
    storage.on("GET", "/x?sig=2", 206, one.content[256:])
    assert one.read() == one.content
    assert [request.authorization for request in one.server.of("GET", one.at)] == [BASIC, BASIC]
    assert [(request.authorization, request.headers["Range"]) for request in storage.requests] == [(None, None), (None, "bytes=256-")]


def test_a_token_that_expires_during_a_download(parts: t.Any) -> None:
    one = parts(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, 401, b"", bearer(one.server))
    one.server.on("GET", one.at, 206, one.content[256:])
    assert one.read() == one.content
    assert [request.authorization for request in one.server.of("GET", one.at)] == ["Bearer one", "Bearer one", "Bearer two"]
    assert one.ranges() == [None, "bytes=256-", "bytes=256-"]


@pytest.mark.parametrize("status", [403, 404, 416])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_blob_in_parts_that_is_refused(parts: t.Any, status: int, resumed: bool) -> None:
    one = parts()
    if resumed:
        one.server.on("GET", one.at, 200, one.content, cut="body")
    one.server.on("GET", one.at, status, {"errors": [{"code": "NO", "message": "never"}]})
    with pytest.raises(RegistryError, match=f'answered {status} NO "never"') as caught:
        one.read()
    assert caught.value.status == status


def test_an_answer_that_passes_before_a_blob_in_parts(parts: t.Any, pauses: list[float]) -> None:
    one = parts(retries=2)
    one.server.on("GET", one.at, 429, b"", {"Retry-After": "3"})
    one.server.on("GET", one.at, 200, one.content)
    assert one.read() == one.content
    assert pauses == [3.0]


@pytest.mark.parametrize("digest", ["../../x", "sha256:1", ""])
def test_a_blob_in_parts_with_a_digest_that_is_none(make: t.Any, digest: str) -> None:
    one = make(ping=None)
    with pytest.raises(RegistryError, match="is no digest: the image is damaged"):
        next(one.it.read_blob(one.repository, digest, 1))


def test_a_connection_is_used_again_after_a_blob_in_parts(parts: t.Any) -> None:
    one = parts()
    one.server.on("GET", one.at, 200, one.content)
    assert one.read() == one.content
    assert one.server.connections == 1


# -- a blob step by step ---------------------------------------------------------------------------------------------------------------------------


def mount_from(source: str) -> str:
    return f"{UPLOADS}?" + urllib.parse.urlencode({"mount": OTHER, "from": source})


@pytest.mark.parametrize("source", [None, "c/d"])
def test_place_a_blob_that_is_mounted(make: t.Any, source: str | None) -> None:
    one = make()
    one.server.on("POST", mount_from(source or "a/b"), 201)
    assert one.it.place_blob(one.repository, OTHER, source and Reference(one.name, source)) == ""


def test_place_a_blob_that_is_to_be_uploaded(make: t.Any) -> None:
    one = make()
    one.server.on("POST", mount_from("c/d"), 202, b"", {"Location": "/up/1?_state=x"})
    assert one.it.place_blob(one.repository, OTHER, Reference(one.name, "c/d", "tag")) == f"{one.server.url}/up/1?_state=x"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_place_a_blob_where_the_mount_is_refused(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("POST", mount_from("c/d"), status)
    one.server.on("POST", UPLOADS, 202, b"", {"Location": "/up/1"})
    assert one.it.place_blob(one.repository, OTHER, Reference(one.name, "c/d")) == f"{one.server.url}/up/1"


def test_place_a_blob_where_no_upload_is_allowed(make: t.Any) -> None:
    one = make()
    one.server.on("POST", mount_from("a/b"), 403)
    one.server.on("POST", UPLOADS, 403)
    with pytest.raises(RegistryError, match="answered 403"):
        one.it.place_blob(one.repository, OTHER)


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False)])
def test_has_blob(make: t.Any, status: int, there: bool) -> None:
    one = make()
    one.server.on("HEAD", f"/v2/a/b/blobs/{OTHER}", status)
    assert one.it.has_blob(one.repository, OTHER) is there


@pytest.mark.parametrize("status", [204, 403, 405])
def test_has_blob_that_is_not_told(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("HEAD", f"/v2/a/b/blobs/{OTHER}", status)
    with pytest.raises(RegistryError, match=f"^HEAD blob {OTHER} of {one.name}/a/b: {one.name} answered {status}") as caught:
        one.it.has_blob(one.repository, OTHER)
    assert caught.value.status == status


@pytest.mark.parametrize("digest", ["../../x", "sha256:1", ""])
def test_nothing_is_asked_about_a_digest_that_is_none(make: t.Any, digest: str) -> None:
    one = make(ping=None)
    for ask in (one.it.has_blob, one.it.place_blob):
        with pytest.raises(RegistryError, match="is no digest: the image is damaged"):
            ask(one.repository, digest)


class Once:
    """A body that can be iterated over once."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = iter(parts)
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> t.Iterator[bytes]:
        return self._parts


@pytest.mark.parametrize("status", [201, 204])
def test_upload_a_blob_in_parts(make: t.Any, status: int) -> None:
    one = make()
    one.server.on("PUT", "/up/1?_state=x&" + urllib.parse.urlencode({"digest": OTHER}), status)
    one.it.upload_blob(one.repository, f"{one.server.url}/up/1?_state=x", OTHER, Once(b"ot", b"h", b"er"))
    put = one.server.requests[-1]
    assert put.body == b"other"
    assert (put.headers["Content-Length"], put.headers["Transfer-Encoding"], put.headers["Content-Type"]) == ("5", None, "application/octet-stream")


def test_upload_a_blob_that_has_no_place_yet(make: t.Any) -> None:
    one = make()
    one.server.on("POST", UPLOADS, 202, b"", {"Location": "/up/1"})
    one.server.on("PUT", "/up/1", 201)
    one.it.upload_blob(one.repository, "", OTHER, b"other")
    assert one.server.requests[-1].body == b"other"


@pytest.mark.parametrize("status", [200, 202, 400, 403, 429, 503])
def test_an_upload_is_made_once(make: t.Any, pauses: list[float], status: int) -> None:
    one = make(retries=3)
    one.server.on("PUT", "/up/1", status)
    with pytest.raises(RegistryError, match=f"^PUT blob {OTHER} of {one.name}/a/b: {one.name} answered {status}") as caught:
        one.it.upload_blob(one.repository, f"{one.server.url}/up/1", OTHER, Once(b"other"))
    assert (caught.value.status, pauses) == (status, [])


def test_an_upload_that_breaks_is_made_once(make: t.Any, pauses: list[float]) -> None:
    one = make(retries=3)
    one.server.on("PUT", "/up/1", 201, cut="before")
    with pytest.raises(RegistryError, match="the connection broke") as caught:
        one.it.upload_blob(one.repository, f"{one.server.url}/up/1", OTHER, Once(b"other"))
    assert (caught.value.status, pauses) == (None, [])


def test_a_body_that_can_be_read_once_is_not_sent_again_after_a_401(make: t.Any) -> None:
    one = make(ping=None, login=ME)
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    one.server.on("PUT", "/up/1", 401, b"", bearer(one.server))
    one.server.on("PUT", "/up/1", 201)
    location = f"{one.server.url}/up/1"
    with pytest.raises(RegistryError, match="answered 401") as caught:
        one.it.upload_blob(one.repository, location, OTHER, Once(b"other"))
    assert caught.value.status == 401
    # The next try, with another body, has another token.
    one.it.upload_blob(one.repository, location, OTHER, Once(b"other"))
    assert [request.authorization for request in one.server.of("PUT", "/up/1")] == ["Bearer one", "Bearer two"]


def test_an_upload_whose_body_fails_has_its_error(make: t.Any) -> None:
    one = make()
    # It gets half a request, whenever it notices.
    one.server.on("PUT", "/up/1", 500, times=None)

    class Broken(Once):
        def __iter__(self) -> t.Iterator[bytes]:
            yield b"ot"
            raise DamagedError("damaged")

    with pytest.raises(DamagedError, match="^damaged$"):
        one.it.upload_blob(one.repository, f"{one.server.url}/up/1", OTHER, Broken(b"other"))
    # The connection that has half a request in it is not used again.
    one.server.on("HEAD", LATEST, 404)
    assert one.it.resolve(one.image) is None
    assert one.server.connections == 2


# -- other actions on one repository ---------------------------------------------------------------------------------------------------------------


def test_grant(make: t.Any) -> None:
    one = make(ping=None, actions=("pull",))
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "mine", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "theirs", "expires_in": 300})
    one.it.grant(one.image, ("pull", "push"), [Reference(one.name, "c/d", "1")])
    one.server.on("HEAD", LATEST, 404)
    one.server.on("POST", mount_from("c/d"), 201)
    one.server.on("HEAD", "/v2/c/d/manifests/1", 404)
    assert one.it.resolve(one.image) is None
    assert one.it.place_blob(one.repository, OTHER, Reference(one.name, "c/d")) == ""
    assert one.it.resolve(Reference(one.name, "c/d", "1")) is None
    scopes = [[value for name, value in request.query if name == "scope"] for request in one.server.of("GET", "/token")]
    assert scopes == [["repository:a/b:pull,push", "repository:c/d:pull"], ["repository:c/d:pull"]]
    assert [request.authorization for request in one.server.requests if request.method != "GET"] == ["Bearer mine", "Bearer mine", "Bearer theirs"]


def test_a_grant_after_the_first_request_on_another_repository(make: t.Any) -> None:
    one = make(ping=None, actions=("pull",))
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300}, times=2)
    one.server.on("HEAD", "/v2/c/manifests/1", 404)
    one.server.on("HEAD", LATEST, 404)
    one.it.resolve(Reference(one.name, "c", "1"))
    one.it.grant(one.repository, ("pull", "push"))
    one.it.resolve(one.image)
    assert [request.query[1][1] for request in one.server.of("GET", "/token")] == ["repository:c:pull", "repository:a/b:pull,push"]


def test_a_mount_from_what_was_not_granted(make: t.Any) -> None:
    one = make(ping=None, actions=("pull", "push"))
    one.server.on("GET", "/v2/", 401, b"", bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "usual", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "mount", "expires_in": 300})
    one.server.on("POST", mount(), 201)
    one.server.on("POST", mount_from("c/d"), 202, b"", {"Location": "/up/1"})
    one.server.on("PUT", "/up/1", 201)
    assert one.it.place_blob(one.repository, OTHER) == ""
    location = one.it.place_blob(one.repository, OTHER, Reference(one.name, "c/d"))
    one.it.upload_blob(one.repository, location, OTHER, b"other")
    assert [request.authorization for request in one.server.requests if request.method != "GET"] == ["Bearer usual", "Bearer mount", "Bearer usual"]


# -- logins that expire, and rights that lack -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_helpers_login_that_has_expired(make: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, status: int) -> None:
    """ECR answers 403 to a login that has expired."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\necho x >> {tmp_path}/count\nprintf \'{{"Username": "me", "Secret": "%s"}}\' $(grep -c x {tmp_path}/count)\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    one = make((401, b"", {"WWW-Authenticate": 'Basic realm="x"'}))
    (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {one.name: "test"}}))
    one.server.on("HEAD", LATEST, status, headers={"WWW-Authenticate": 'Basic realm="x"'})
    one.server.on("HEAD", LATEST, 200, RAW, SERVED)
    assert one.it.resolve(one.image) == Descriptor(OCI_MANIFEST, DIGEST, len(RAW))
    sent = [base64.b64decode(request.authorization.split()[1]) for request in one.server.of("HEAD", LATEST)]
    assert sent == [b"me:1", b"me:2"]


def test_a_403_costs_no_new_token(make: t.Any) -> None:
    one = make(None, login=ME)
    one.server.on("GET", "/v2/", 401, headers=bearer(one.server))
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.server.on("HEAD", LATEST, 403)
    with pytest.raises(RegistryError, match="answered 403: the login for"):
        one.it.resolve(one.image)


def test_a_403_with_a_login_that_does_not_change(make: t.Any) -> None:
    one = make((401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), login=ME)
    one.server.on("HEAD", LATEST, 403)
    with pytest.raises(RegistryError, match="answered 403: the login for"):
        one.it.resolve(one.image)


@pytest.mark.parametrize(
    ("reason", "given", "advice"),
    [
        ("insufficient_scope", True, "the login for {} needs the right to do this"),
        ("insufficient_scope", False, "check username and password for {} in container_registry_credentials"),
        ("invalid_token", True, "check username and password for {} in container_registry_credentials"),
    ],
)
def test_a_right_that_lacks(make: t.Any, reason: str, given: bool, advice: str) -> None:
    """Token servers grant less than was asked for, without a word; the registry then answers 401."""
    one = make(None, login=ME if given else None, given=given)
    challenge = bearer(one.server, "repository:a/b:delete")
    one.server.on("GET", "/v2/", 401, headers=challenge)
    one.server.on("GET", "/token", 200, {"token": "t"}, times=2)
    one.server.on("DELETE", LATEST, 401, headers={"WWW-Authenticate": f'{challenge["WWW-Authenticate"]},error="{reason}"'}, times=2)
    status, dummy, error = one.it.delete_manifest(one.image)
    assert status == 401
    assert str(error).endswith(advice.format(one.name))


def test_who_another_program_is_to_be(make: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make(None, login=ME)
    assert own.it.access_for(own.repository) is own.it.access
    # The exchange is at the registry, so it is looked for first.
    azure = make(api_token="entra", type="acr", given=True)
    azure.server.on("POST", "/oauth2/exchange", 200, {"refresh_token": "refresh"})
    access = azure.it.access_for(azure.repository)
    assert (access.login.username, access.login.password) == ("00000000-0000-0000-0000-000000000000", "refresh")
    assert (access.scheme, access.registry) == ("http", azure.name)
