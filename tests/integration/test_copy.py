# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying between real registries, with and without tricks."""

from __future__ import annotations

import base64
import collections
import dataclasses
import functools
import pathlib
import random
import re
import threading
import time
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._copy import Copied, Copier, parse_copies
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._retry import RetryPolicy
from artifacts import check, push, refer, referrers
from proxy import Answer, Proxy, Request, Tokens
from registries import PROGRAMS, Server, start_any, start_docker_registry

from playbooks import Ansible


def copy(credentials: dict[str, t.Any], *images: tuple[t.Any, ...], parallel: int = 8, retries: int = 3, **more: t.Any) -> tuple[list[Copied], int]:
    """Copy images, each a source and its destinations."""
    copies = parse_copies([{"source": source, "destinations": list(targets), **more} for source, *targets in images])
    with Client(Credentials(credentials), ("pull",), parallel=parallel, retries=retries) as client:
        done = Copier(client).copy_all(copies)
        return done, client.requests


def errors(done: t.Sequence[Copied]) -> list[str]:
    return [str(outcome.error) for result in done for outcome in result.outcomes if outcome.error]


def test_within_a_registry_blobs_are_mounted(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    digest = push(registry.api, "a/source", "1")
    done, requests = copy(registry.credentials(proxy.name), (f"{proxy.name}/a/source:1", f"{proxy.name}/b/target:2"))
    assert errors(done) == []
    assert registry.api.digest("b/target", "2") == digest == done[0].digest
    assert len(check(registry.api, "b/target", "2")) == 19
    assert done[0].stored == {"sent": 0, "mounted": 19, "there": 0}
    # One more is the try whether the registry on loopback speaks https, which never reaches it.
    assert requests - 1 == len(proxy.requests) <= 33
    proxy.requests.clear()
    done, requests = copy(registry.credentials(proxy.name), (f"{proxy.name}/a/source:1", f"{proxy.name}/b/target:2"))
    assert not done[0].changed
    assert [request.method for request in proxy.requests if request.path != "/v2/"] == ["HEAD", "HEAD"]


def test_between_registries(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    one, two = proxy_to(registry), proxy_to(other)
    digest = push(registry.api, "a", "1")
    credentials = {**registry.credentials(one.name), **other.credentials(two.name)}
    done, requests = copy(credentials, (f"{one.name}/a:1", f"{two.name}/b:2"))
    assert errors(done) == []
    assert other.api.digest("b", "2") == digest
    check(other.api, "b", "2")
    assert done[0].stored == {"sent": 19, "mounted": 0, "there": 0}
    assert requests - 2 == len(one.requests) + len(two.requests) <= 75
    done, requests = copy(credentials, (f"{one.name}/a:1", f"{two.name}/b:2"))
    assert not done[0].changed
    assert requests - 2 == 4, "two pings and two HEADs"
    # What is there under another name is not sent again, and its tag costs one PUT.
    done, requests = copy(credentials, (f"{one.name}/a:1", f"{two.name}/b:3"))
    assert errors(done) == []
    assert done[0].stored == {"sent": 0, "mounted": 0, "there": 19}


def test_many_images_send_what_they_share_once(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(other)
    digests = {number: push(registry.api, f"a/{number}", "1", layers=2, seed="same") for number in range(10)}
    credentials = {**registry.credentials(), **other.credentials(proxy.name)}
    done, dummy = copy(credentials, *((f"{registry.name}/a/{number}:1", f"{proxy.name}/b/{number}:1") for number in range(10)))
    assert errors(done) == []
    for number, digest in digests.items():
        assert other.api.digest(f"b/{number}", "1") == digest
        check(other.api, f"b/{number}", "1")
    puts = [request.path.partition("digest=")[2] for request in proxy.requests if request.method == "PUT" and "/blobs/" in request.path]
    assert len(puts) == len(set(puts))


def test_one_source_and_many_destinations_are_read_once(
    registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], tmp_path_factory: pytest.TempPathFactory
) -> None:
    third = start_docker_registry(tmp_path_factory.mktemp("third"))
    try:
        proxy = proxy_to(registry)
        digest = push(registry.api, "a", "1", layers=2, size=3_000_000)
        credentials = {**registry.credentials(proxy.name), **other.credentials(), **third.credentials()}
        done, dummy = copy(credentials, (f"{proxy.name}/a:1", f"{other.name}/b:1", f"{other.name}/c:1", f"{other.name}/c:2", f"{third.name}/d:1"))
        assert errors(done) == []
        for server, name, tag in ((other, "b", "1"), (other, "c", "1"), (other, "c", "2"), (third, "d", "1")):
            assert server.api.digest(name, tag) == digest
            check(server.api, name, tag)
        reads = [request.path for request in proxy.requests if "/blobs/" in request.path]
        assert len(reads) == len(set(reads)) == 7
    finally:
        third.stop()


def test_a_destination_that_fails_does_not_stop_the_others(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    refusing = proxy_to(other, lambda method, path, body: Answer(403) if method == "PUT" and "/blobs/" in path else None)
    digest = push(registry.api, "a", "1", layers=2, size=1_000_000)
    credentials = {**registry.credentials(), **other.credentials(other.name, refusing.name)}
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{refusing.name}/b:1", f"{other.name}/c:1"))
    assert len(errors(done)) == 1
    assert "403" in errors(done)[0]
    assert other.api.digest("c", "1") == digest
    assert other.api.digest("b", "1") is None


def test_a_slow_destination_does_not_stop_the_others(
    registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible_collections.gating.containers.plugins.module_utils._blobs._PATIENCE", 0.5)
    release = threading.Event()
    seen: list[str | None] = []

    def slow(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and "/blobs/" in path and not release.is_set():
            release.wait(20)
        return None

    proxy = proxy_to(other, slow)
    digest = push(registry.api, "a", "1", layers=2, size=6_000_000)

    def watch() -> None:
        end = time.monotonic() + 15
        while other.api.digest("fast", "1") is None and time.monotonic() < end:
            time.sleep(0.05)
        seen.append(other.api.digest("fast", "1"))
        release.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    credentials = {**registry.credentials(), **other.credentials(other.name, proxy.name)}
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/fast:1", f"{proxy.name}/slow:1"))
    watcher.join()
    assert seen == [digest], "the fast one waited for the slow one"
    assert errors(done) == []
    assert other.api.digest("slow", "1") == digest
    check(other.api, "slow", "1")


@dataclasses.dataclass(frozen=True, eq=False)
class Fault:
    """Tricks for the first requests of a kind.

    :param side: ``source`` or ``target``.
    :param part: of the path.
    :param each: whether every image, blob and tag has its own first requests; else all together.
    """

    side: str
    method: str
    part: str
    tricks: tuple[Answer | t.Callable[[Answer], Answer], ...]
    each: bool = True


class Faults:
    """An early rule of a proxy that lets faults happen.

    :param challenge: goes along with each 401.
    """

    def __init__(self, faults: t.Iterable[Fault], challenge: str = 'Basic realm="x"') -> None:
        self.faults = list(faults)
        self.challenge = challenge
        self.happened: collections.Counter[Fault] = collections.Counter()
        self._met: collections.Counter[tuple[Fault, str]] = collections.Counter()
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str, headers: t.Any) -> Answer | t.Callable[[Answer], Answer] | None:
        # The name of an upload is another one each time.
        what = re.sub("/uploads/.*", "/uploads/", path) if method == "PUT" else path
        what = what + path.partition("digest=")[2] if method == "PUT" else what
        with self._lock:
            for fault in self.faults:
                key = (fault, what if fault.each else "")
                if method == fault.method and fault.part in path and self._met[key] < len(fault.tricks):
                    self._met[key] += 1
                    self.happened[fault] += 1
                    trick = fault.tricks[self._met[key] - 1]
                    refused = isinstance(trick, Answer) and trick.status == 401
                    return Answer(401, b"", {"WWW-Authenticate": self.challenge}) if refused else trick
        return None


def cut(*places: str) -> tuple[t.Callable[[Answer], Answer], ...]:
    """The registry does what it is asked, but its answer does not arrive."""
    return tuple(functools.partial(dataclasses.replace, cut=place) for place in places)


def flip(answer: Answer) -> Answer:
    """One bit is changed on the way."""
    middle = len(answer.body) // 2
    return dataclasses.replace(answer, body=answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :])


RETRY = Answer(429, b"", {"Retry-After": "0"})
MOUNT_REFUSED = [Answer(400), Answer(401), Answer(404), Answer(405)]
FAULTS = {
    "429 with Retry-After": Fault("source", "GET", "/manifests/", (RETRY,) * 3),
    "429 without": Fault("source", "GET", "/blobs/", (Answer(429),) * 3),
    "503": Fault("source", "GET", "/blobs/", (Answer(503),) * 2),
    "500 manifest": Fault("source", "GET", "/manifests/", (Answer(500),)),
    "body cut at half": Fault("source", "GET", "/blobs/", cut("body")),
    "body cut twice": Fault("source", "GET", "/blobs/", cut("body", "body")),
    "manifest cut at half": Fault("source", "GET", "/manifests/", cut("body")),
    "flipped byte": Fault("source", "GET", "/blobs/", (flip,)),
    "503 upload": Fault("target", "PUT", "/blobs/", (Answer(503),) * 2),
    "401 upload": Fault("target", "PUT", "/blobs/", (Answer(401),)),
    "upload cut at half": Fault("target", "PUT", "/blobs/", (Answer(0, cut="request"),)),
    "502 manifest": Fault("target", "PUT", "/manifests/", (Answer(502),) * 2),
    "manifest upload cut at half": Fault("target", "PUT", "/manifests/", (Answer(0, cut="request"),)),
    "429 post": Fault("target", "POST", "/blobs/", (RETRY,) * 3),
    "404 upload": Fault("target", "PUT", "/blobs/", (Answer(404),)),
    **{f"mount {answer.status}": Fault("target", "POST", "?mount", (answer,) * 2, each=False) for answer in MOUNT_REFUSED},
    **{
        f"{method} {part}, closed {where} the headers": Fault(side, method, f"/{part}/", cut(*places))
        for side, method, part in (
            ("source", "GET", "manifests"),
            ("source", "GET", "blobs"),
            ("target", "HEAD", "manifests"),
            ("target", "HEAD", "blobs"),
            ("target", "POST", "blobs"),
            ("target", "PUT", "blobs"),
            ("target", "PUT", "manifests"),
        )
        for where, places in (("before", ("before",)), ("amid", ("status", "headers", "blank")))
    },
    "referrers 400": Fault("source", "GET", "/referrers/", (Answer(400),) * 9),
    "referrers 404": Fault("source", "GET", "/referrers/", (Answer(404),) * 9),
    "referrers 303 to a page": Fault("target", "GET", "/referrers/", (Answer(303, b"<html>no", {"Location": "/v2/?page"}),) * 9),
}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "get_backoff_time", lambda self: 0)


class Side(t.NamedTuple):
    """One side of a copy: a registry behind a proxy with faults, and maybe with tokens."""

    proxy: Proxy
    faults: Faults
    tokens: Tokens | None
    #: The token server.
    server: Proxy | None
    credentials: dict[str, t.Any]


@pytest.fixture
def side_of(proxy_to: t.Callable[..., Proxy]) -> t.Callable[..., Side]:
    def make(server: Server, faults: t.Iterable[Fault] = (), tokens: Tokens | None = None) -> Side:
        if tokens is None:
            played = Faults(faults)
            proxy = proxy_to(server, early=[played])
            return Side(proxy, played, None, None, server.credentials(proxy.name))
        issuer = proxy_to(server, early=[tokens.serve])
        tokens.realm = f"http://{issuer.name}/token"
        played = Faults(faults, tokens.challenge)
        login = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
        proxy = proxy_to(server, early=[tokens.guard, played], authorization=f"Basic {login}")
        return Side(proxy, played, tokens, issuer, {proxy.name: {"username": tokens.username, "password": tokens.password}})

    return make


def check_secrets(*sides: Side) -> None:
    """See that each password went to its token server only, and each token to its registry."""
    for side in sides:
        assert side.tokens
        assert side.server
        assert {request.headers.get("Authorization") for request in side.server.requests} == {side.tokens.login}
        sent = {request.headers.get("Authorization") for request in side.proxy.requests}
        assert sent <= {None, *(f"Bearer {token}" for token in side.tokens.issued)}


@pytest.mark.parametrize(
    ("names", "tokens", "within"),
    [
        *(pytest.param([name], False, False, id=name) for name in FAULTS),
        *(pytest.param([name], True, False, id=f"{name}, tokens") for name in ("401 upload", "body cut at half", "flipped byte")),
        pytest.param(list(FAULTS), False, False, id="all"),
        pytest.param(list(FAULTS), True, False, id="all, tokens"),
        pytest.param(list(FAULTS), False, True, id="all, one registry"),
        pytest.param(list(FAULTS), True, True, id="all, one registry, tokens"),
    ],
)
def test_faults_that_pass(
    registry: Server, other: Server, side_of: t.Callable[..., Side], no_pauses: None, names: list[str], tokens: bool, within: bool
) -> None:
    digest = push(registry.api, "a", "1", layers=3, size=300_000)
    sbom = refer(registry.api, "a", digest, "an SBOM", True)
    faults = [FAULTS[name] for name in names]
    server = registry if within else other
    one = side_of(registry, [fault for fault in faults if within or fault.side == "source"], Tokens() if tokens else None)
    two = one if within else side_of(server, [fault for fault in faults if fault.side == "target"], Tokens() if tokens else None)
    credentials = {**one.credentials, **two.credentials}
    done, dummy = copy(credentials, (f"{one.proxy.name}/a:1", f"{two.proxy.name}/b:1"), retries=5 if len(faults) == 1 else 30, referrers=True)
    assert errors(done) == []
    assert server.api.digest("b", "1") == digest
    check(server.api, "b", "1")
    assert referrers(server.api, "b", digest) == {sbom}
    check(server.api, "b", sbom)
    happened = {name for name in names if one.faults.happened[FAULTS[name]] or two.faults.happened[FAULTS[name]]}
    # A registry is asked for referrers until it has no list; between registries only one blob is tried to be mounted.
    late = {"referrers 404", "referrers 303 to a page"} if within else {"referrers 404", "mount 401", "mount 404", "mount 405"}
    assert set(names) - happened <= (late if len(names) > 1 else set())
    if tokens:
        check_secrets(one, two)


def of_blobs(side: Side) -> list[list[Request]]:
    """The downloads, those of a blob together."""
    found = collections.defaultdict(list)
    for request in side.proxy.requests:
        if request.method == "GET" and "/blobs/" in request.path:
            found[request.path].append(request)
    return list(found.values())


@pytest.mark.parametrize("times", [1, 3])
def test_a_download_goes_on_where_it_broke(registry: Server, other: Server, side_of: t.Callable[..., Side], no_pauses: None, times: int) -> None:
    digest = push(registry.api, "a", "1", layers=2, size=700_000)
    one, two = side_of(registry, [Fault("source", "GET", "/blobs/", cut("body") * times)]), side_of(other)
    done, dummy = copy({**one.credentials, **two.credentials}, (f"{one.proxy.name}/a:1", f"{two.proxy.name}/b:1"))
    assert errors(done) == []
    assert other.api.digest("b", "1") == digest
    check(other.api, "b", "1")
    sizes = []
    for downloads in of_blobs(one):
        assert len(downloads) == times + 1
        done_before = 0
        for download in downloads:
            assert download.headers.get("Range") == (f"bytes={done_before}-" if done_before else None)
            assert download.status == (206 if done_before else 200)
            done_before += download.sent
        sizes.append(done_before)
    # No byte came twice.
    assert len([size for size in sizes if size == 700_000]) == 3
    assert max(sizes) == 700_000
    assert len({request.path for request in two.proxy.requests if request.method == "PUT" and "/blobs/" in request.path}) == len(sizes), (
        "no upload was begun anew"
    )


def test_a_download_goes_on_where_a_registry_ignores_range(
    registry: Server, other: Server, zuul_registry: Server, side_of: t.Callable[..., Side], no_pauses: None
) -> None:
    digest = push(registry.api, "a", "1", layers=2, size=700_000)
    done, dummy = copy({**registry.credentials(), **zuul_registry.credentials()}, (f"{registry.name}/a:1", f"{zuul_registry.name}/a:1"))
    assert errors(done) == []
    one = side_of(zuul_registry, [FAULTS["body cut at half"]])
    done, dummy = copy({**one.credentials, **other.credentials()}, (f"{one.proxy.name}/a:1", f"{other.name}/b:1"))
    assert errors(done) == []
    assert other.api.digest("b", "1") == digest
    check(other.api, "b", "1")
    large = [downloads for downloads in of_blobs(one) if downloads[-1].sent == 700_000]
    assert len(large) == 3
    for first, second in large:
        assert (second.status, second.headers["Range"]) == (200, f"bytes={first.sent}-")


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
@pytest.mark.parametrize("answer", MOUNT_REFUSED, ids=lambda answer: str(answer.status))
def test_a_registry_that_mounts_nothing(registry: Server, side_of: t.Callable[..., Side], no_pauses: None, answer: Answer, tokens: bool) -> None:
    digest = push(registry.api, "a", "1", layers=3)
    one = side_of(registry, [Fault("target", "POST", "?mount", (answer,) * 99, each=False)], Tokens() if tokens else None)
    done, dummy = copy(one.credentials, (f"{one.proxy.name}/a:1", f"{one.proxy.name}/b:1"))
    assert errors(done) == []
    assert registry.api.digest("b", "1") == digest
    assert len(check(registry.api, "b", "1")) == 10
    assert done[0].stored == {"sent": 10, "mounted": 0, "there": 0}
    if tokens:
        check_secrets(one)


@pytest.mark.parametrize("limits", [{"uses": 30}, {"lifetime": 1.0}], ids=["uses", "lifetime"])
def test_tokens_that_end_while_it_is_copied(registry: Server, other: Server, side_of: t.Callable[..., Side], no_pauses: None, limits: dict[str, t.Any]) -> None:
    digest = push(registry.api, "a", "1", layers=12)
    one, two = side_of(registry, tokens=Tokens(**limits)), side_of(other, tokens=Tokens(**limits))
    for side in (one, two):
        side.proxy.rule = lambda method, path, body: time.sleep(0.1)
    done, dummy = copy({**one.credentials, **two.credentials}, (f"{one.proxy.name}/a:1", f"{two.proxy.name}/b:1"), retries=8)
    assert errors(done) == []
    assert other.api.digest("b", "1") == digest
    assert len(check(other.api, "b", "1")) == 37
    for side in (one, two):
        assert side.tokens
        assert len(side.tokens.issued) >= 2
        assert side.tokens.refused or "lifetime" in limits
    check_secrets(one, two)


@pytest.mark.parametrize("kind", ["basic", "tokens"])
def test_a_destination_that_keeps_the_old_tag(registry: Server, other: Server, side_of: t.Callable[..., Side], kind: str) -> None:
    digest, old = push(registry.api, "a", "1", layers=2), push(other.api, "b", "1", layers=1, seed="old")
    stored = Answer(201, b"", {"Docker-Content-Digest": digest})
    one = side_of(other, [Fault("target", "PUT", "/manifests/1", (stored,) * 9)], Tokens() if kind == "tokens" else None)
    done, dummy = copy({**registry.credentials(), **one.credentials}, (f"{registry.name}/a:1", f"{one.proxy.name}/b:1", f"{one.proxy.name}/b:2"))
    name = f"{one.proxy.name}/b:1"
    assert errors(done) == [
        f"PUT manifest of {name}: {one.proxy.name} accepted {digest} but the tag names {old}: "
        "was it an index before, which some registries keep? Use another tag"
    ]
    assert other.api.state("b") == {"b:1": old, "b:2": digest}
    check(other.api, "b", "1")
    check(other.api, "b", "2")


@pytest.mark.parametrize("before", [False, True], ids=["new", "updated"])
@pytest.mark.parametrize("platforms", [[], ["linux/arm64"]], ids=["all", "some"])
def test_a_source_that_moves_while_it_is_copied(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], before: bool, platforms: list[str]) -> None:
    digests = [push(registry.api, "a", tag, layers=2) for tag in ("1", "2")]
    moved = registry.api.call("GET", "a/manifests/2")
    if before:
        push(other.api, "b", "1", layers=1, seed="old")
    asked = []

    def move(answer: Answer) -> Answer:
        asked.append(answer)
        if len(asked) == 1:
            registry.api.manifest("a", "1", moved.headers["Content-Type"], moved.content)
        return answer

    one = proxy_to(registry, lambda method, path, body: move if "/manifests/1" in path else None)
    done, dummy = copy({**registry.credentials(one.name), **other.credentials()}, (f"{one.name}/a:1", f"{other.name}/b:1"), platforms=platforms)
    assert errors(done) == []
    assert registry.api.digest("a", "1") == digests[1]
    assert asked
    assert other.api.digest("b", "1") == done[0].digest
    assert platforms or done[0].digest in digests
    check(other.api, "b", "1")
    # By the next run it is the new one.
    done, dummy = copy({**registry.credentials(one.name), **other.credentials()}, (f"{one.name}/a:1", f"{other.name}/b:1"))
    assert other.api.digest("b", "1") == digests[1]
    check(other.api, "b", "1")


def requests_of(sides: t.Sequence[Side], *images: tuple[t.Any, ...]) -> tuple[int, int]:
    """Copy, and count the requests to registries and to their token servers."""
    for side in sides:
        side.proxy.requests.clear()
        t.cast(Proxy, side.server).requests.clear()
    done, dummy = copy({name: login for side in sides for name, login in side.credentials.items()}, *images)
    assert errors(done) == []
    return sum(len(side.proxy.requests) for side in sides), sum(len(t.cast(Proxy, side.server).requests) for side in sides)


@pytest.mark.parametrize("layers", [6, 12])
def test_requests_with_tokens(registry: Server, other: Server, side_of: t.Callable[..., Side], layers: int) -> None:
    digest = push(registry.api, "a/source", "1", layers=layers)
    one, two = side_of(registry, tokens=Tokens()), side_of(other, tokens=Tokens())
    more = 3 * (layers - 6)
    within = (f"{one.proxy.name}/a/source:1", f"{one.proxy.name}/b:1")
    asked, tokens = requests_of([one], within)
    assert asked <= 33 + more
    assert tokens == 2, "one for each repository"
    assert requests_of([one], within) == (3, 2), "a ping, two HEADs"
    between = (f"{one.proxy.name}/a/source:1", f"{two.proxy.name}/c:1")
    asked, tokens = requests_of([one, two], between)
    assert asked <= 75 + 3 * more
    assert tokens == 2
    assert requests_of([one, two], between) == (4, 2), "two pings, two HEADs"
    for server, name in ((registry, "b"), (other, "c")):
        assert server.api.digest(name, "1") == digest
        assert len(check(server.api, name, "1")) == 19 + more
    check_secrets(one, two)


@pytest.mark.parametrize("layers", [6, 12])
def test_requests_at_zuul_registry(registry: Server, other: Server, zuul_registry: Server, proxy_to: t.Callable[..., Proxy], layers: int) -> None:
    digest = push(registry.api, "a", "1", layers=layers)
    one, two, zuul = proxy_to(registry), proxy_to(other), proxy_to(zuul_registry)
    credentials = {**registry.credentials(one.name), **other.credentials(two.name), **zuul_registry.credentials(zuul.name)}
    more = 3 * (layers - 6)

    def requests_for(source: str, target: str) -> tuple[int, int]:
        proxies = [proxy for proxy in (one, two, zuul) if proxy.name in source + target]
        for proxy in proxies:
            proxy.requests.clear()
        done, all_requests = copy(credentials, (source, target))
        assert errors(done) == []
        assert done[0].digest == digest
        asked = sum(len(proxy.requests) for proxy in proxies)
        # Its token server is reached past the proxy. One more for each registry is the try whether it speaks https.
        return asked, all_requests - asked - len(proxies)

    into, within, out = (f"{one.name}/a:1", f"{zuul.name}/b:1"), (f"{zuul.name}/b:1", f"{zuul.name}/c:1"), (f"{zuul.name}/c:1", f"{two.name}/d:1")
    asked, tokens = requests_for(*into)
    # It does not tell by a mount that it has a blob, so each costs a HEAD.
    assert (asked <= 75 + 19 + 4 * more, tokens) == (True, 1)
    asked, tokens = requests_for(*within)
    # It mounts nothing: for each blob a mount that it refuses, an upload that is begun, and a HEAD.
    assert (asked <= 11 + 3 * (19 + more), tokens) == (True, 2)
    asked, tokens = requests_for(*out)
    assert (asked <= 75 + 3 * more, tokens) == (True, 1)
    assert requests_for(*into) == (4, 1)
    assert requests_for(*within) == (3, 2)
    assert len(check(other.api, "d", "1")) == 19 + more


def test_a_blob_that_was_changed_on_the_way_is_tagged_nowhere(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = push(registry.api, "a", "1", layers=2, size=700_000)

    def flip(method: str, path: str, body: bytes) -> Answer | None:
        if method == "GET" and "/blobs/" in path:
            content = registry.api.call("GET", path.partition("/v2/")[2]).content
            return Answer(200, content[:-1] + bytes([content[-1] ^ 1]))
        return None

    one = proxy_to(registry, flip)
    credentials = {**registry.credentials(one.name), **other.credentials()}
    done, dummy = copy(credentials, (f"{one.name}/a:1", f"{other.name}/b:1"), retries=1)
    assert "is damaged or was changed on the way" in errors(done)[0]
    assert other.api.tags("b") == []
    one.rule = None
    done, dummy = copy(credentials, (f"{one.name}/a:1", f"{other.name}/b:1"))
    assert errors(done) == []
    assert other.api.digest("b", "1") == digest


@pytest.mark.parametrize("software", ["docker-registry", "distribution 3"])
def test_another_writes_the_same_image_meanwhile(tmp_path: pathlib.Path, registry: Server, software: str) -> None:
    """Distribution rewrites the links of what it is given again: for a moment they are empty, and it takes that for an invalid digest."""
    digest = push(registry.api, "a", "1")
    server = start_any(software, tmp_path)
    try:
        credentials = {**registry.credentials(), **server.credentials()}
        assert errors(copy(credentials, (f"{registry.name}/a:1", f"{server.name}/b:1"))[0]) == []
        parts = [item["digest"] for item in server.api.call("GET", "b/manifests/1").json()["manifests"]]
        contents = {part: server.api.call("GET", f"b/manifests/{part}") for part in parts}
        ended = threading.Event()

        def write() -> None:
            while not ended.is_set():
                for part, content in contents.items():
                    put(f"b/manifests/{part}", content)

        def put(path: str, content: t.Any) -> int:
            headers = {"Content-Type": content.headers["Content-Type"]}
            return server.api.call("PUT", path, data=content.content, headers=headers).status_code

        writer = threading.Thread(target=write)
        writer.start()
        try:
            whole = server.api.call("GET", f"b/manifests/{digest}")
            refused = [status for status in (put("b/manifests/probe", whole) for dummy in range(100)) if status == 400]
            done, dummy = copy(credentials, (f"{registry.name}/a:1", *(f"{server.name}/b:v{number}" for number in range(12))), retries=8)
        finally:
            ended.set()
            writer.join()
        assert refused, "nothing came in between"
        assert errors(done) == []
        assert {server.api.digest("b", f"v{number}") for number in range(12)} == {digest}
    finally:
        server.stop()


def test_some_platforms(registry: Server, other: Server) -> None:
    digest = push(registry.api, "a", "1")
    credentials = {**registry.credentials(), **other.credentials()}
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/b:1"), platforms=["linux/arm64", "linux/arm"])
    assert errors(done) == []
    index = other.api.call("GET", "b/manifests/1").json()
    assert [child["platform"]["architecture"] for child in index["manifests"]] == ["arm64", "arm"]
    assert index["annotations"] == {"a": "b", "io.github.gating.containers.source": digest}
    assert other.api.digest("b", "1") == done[0].digest != digest
    check(other.api, "b", "1")
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/b:1"), platforms=["linux/arm64", "linux/arm"])
    assert not done[0].changed
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/all:1"), platforms=["linux/amd64", "linux/arm64", "linux/arm/v7"])
    assert done[0].digest == digest, "the index is kept as it is when all are wanted"
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/c:1"), platforms=["linux/s390x"])
    assert "has no image for linux/s390x: it has linux/amd64, linux/arm64, linux/arm/v7" in errors(done)[0]


def test_the_module(ansible: Ansible, registry: Server, other: Server) -> None:
    digest = push(registry.api, "a", "1", layers=2)
    options = {
        "images": [{"source": f"docker://{registry.name}/a:1", "destinations": [f"{other.name}/b", f"{other.name}/c:2"]}],
        "credentials": {**registry.credentials(), **other.credentials()},
    }
    run = ansible.task("registry_copy", "--check", "--diff", **options).check()
    assert run.result["changed"]
    assert other.api.tags("b") == []
    assert run.result["diff"]["after"] == {f"{other.name}/b:1": digest, f"{other.name}/c:2": digest}
    run = ansible.task("registry_copy", **options).check()
    assert run.result["images"][0]["destinations"] == [
        {"image": f"{other.name}/{name}", "digest": digest, "previous_digest": None, "changed": True} for name in ("b:1", "c:2")
    ]
    assert run.result["msg"].startswith("copied 2 tags of 2, ")
    run = ansible.task("registry_copy", **options).check()
    assert not run.result["changed"]

    options["images"].append({"source": f"{registry.name}/missing:1", "destinations": [f"{other.name}/d:1"]})
    options["images"].append({"source": f"{registry.name}/a:1", "destinations": [f"{other.name}/e:1"]})
    run = ansible.task("registry_copy", **options)
    assert run.result["failed"]
    assert f"copy of {registry.name}/missing:1 to {other.name}/d:1: {registry.name}/missing:1 is not there" in run.result["msg"]
    assert other.api.digest("e", "1") == digest, "one missing image does not stop the others"


@pytest.fixture
def with_api(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """A registry that lists referrers."""
    server = start_any("olareg", tmp_path_factory.mktemp("olareg"))
    yield server
    server.stop()


@pytest.mark.parametrize("source", ["old", "new"])
@pytest.mark.parametrize("target", ["old", "new"])
def test_what_refers_to_an_image_goes_along(request: pytest.FixtureRequest, registry: Server, other: Server, source: str, target: str) -> None:
    one = registry if source == "old" else request.getfixturevalue("with_api")
    two = other if target == "old" else request.getfixturevalue("with_api")
    register = source == "old"
    path = "copied" if one is two else "a"
    digest = push(one.api, "a", "1", layers=2)
    child = one.api.call("GET", "a/manifests/1").json()["manifests"][1]["digest"]
    sbom = refer(one.api, "a", digest, "an SBOM", register)
    signature = refer(one.api, "a", sbom, "a signature of the SBOM", register)
    of_child = refer(one.api, "a", child, "an SBOM of one platform", register)
    cosign = push(one.api, "a", digest.replace(":", "-") + ".sig", layers=1, seed="cosign")
    stranger = push(one.api, "a", "2", layers=1, seed="stranger")
    of_stranger = refer(one.api, "a", stranger, "of another image", register)
    credentials = {**one.credentials(), **two.credentials()}
    images = ((f"{one.name}/a:1", f"{two.name}/{path}:1"),)

    done, dummy = copy(credentials, *images)
    assert errors(done) == []
    assert done[0].referrers == 0
    assert referrers(two.api, path, digest) == set()

    # Now with all that refers to it: found although the image itself is there.
    done, dummy = copy(credentials, *images, referrers=True)
    assert errors(done) == []
    assert referrers(two.api, path, digest) == {sbom}
    assert referrers(two.api, path, sbom) == {signature}
    check(two.api, path, sbom)
    assert two.api.digest(path, digest.replace(":", "-") + ".sig") == cosign
    done, dummy = copy(credentials, *images, referrers=True)
    assert (errors(done), done[0].changed, done[0].referrers) == ([], False, 0)

    fresh = ((f"{one.name}/a:1", f"{two.name}/fresh:1"),)
    done, dummy = copy(credentials, *fresh, referrers=True)
    assert errors(done) == []
    assert two.api.digest("fresh", "1") == digest
    assert referrers(two.api, "fresh", child) == {of_child}
    assert referrers(two.api, "fresh", digest) == {sbom}
    assert referrers(two.api, "fresh", sbom) == {signature}
    assert two.api.call("HEAD", f"fresh/manifests/{of_stranger}").status_code == 404, "what refers to another image stays"


def test_nothing_refers_to_an_index_of_some_platforms(registry: Server, other: Server) -> None:
    digest = push(registry.api, "a", "1", layers=1)
    child = registry.api.call("GET", "a/manifests/1").json()["manifests"][0]["digest"]
    refer(registry.api, "a", digest, "of the whole", True)
    of_child = refer(registry.api, "a", child, "of a part", True)
    credentials = {**registry.credentials(), **other.credentials()}
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/b:1"), platforms=["linux/amd64"], referrers=True)
    assert errors(done) == []
    assert referrers(other.api, "b", child) == {of_child}
    assert referrers(other.api, "b", digest) == referrers(other.api, "b", done[0].digest or "") == set()


@pytest.mark.parametrize("status", [400, 404, 303])
def test_a_registry_without_the_referrers_api(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], status: int) -> None:
    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if "/referrers/" in path:
            return Answer(status, b"<html>no", {"Location": "/page"} if status == 303 else {})
        return Answer(200, b"<html>a page") if path == "/page" else None

    one, two = proxy_to(registry, rule), proxy_to(other, rule)
    digest = push(registry.api, "a", "1", layers=1)
    sbom = refer(registry.api, "a", digest, "an SBOM", True)
    credentials = {**registry.credentials(one.name), **other.credentials(two.name)}
    done, dummy = copy(credentials, (f"{one.name}/a:1", f"{two.name}/b:1"), referrers=True)
    assert errors(done) == []
    assert referrers(other.api, "b", digest) == {sbom}


@pytest.fixture
def kinds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Callable[[str], Server]]:
    """Starts a registry of a kind."""
    started = []

    def start(kind: str) -> Server:
        if kind == "zuul-registry":
            return t.cast(Server, request.getfixturevalue("zuul_registry"))
        started.append(start_any(kind, tmp_path_factory.mktemp("registry")))
        return started[-1]

    yield start
    for server in started:
        server.stop()


KINDS = [*PROGRAMS, "zuul-registry"]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_every_pair_of_registries(kinds: t.Callable[[str], Server], registry: Server, source: str, target: str) -> None:
    one = kinds(source)
    two = one if source == target else kinds(target)
    digest = push(registry.api, "first", "1", layers=2, size=600_000)
    credentials = {**registry.credentials(), **one.credentials(), **two.credentials()}
    done, dummy = copy(credentials, (f"{registry.name}/first:1", f"{one.name}/a/b:1"))
    assert errors(done) == []
    done, dummy = copy(credentials, (f"{one.name}/a/b:1", f"{two.name}/c/d/e:2"))
    assert errors(done) == []
    assert done[0].digest == digest
    if source == target:
        assert done[0].stored["sent"] == 0
    # Read back by another copy, as zuul-registry has its own kind of login.
    done, dummy = copy(credentials, (f"{two.name}/c/d/e:2", f"{registry.name}/back:1"))
    assert errors(done) == []
    assert registry.api.digest("back", "1") == digest
    check(registry.api, "back", "1")
    done, dummy = copy(credentials, (f"{one.name}/a/b:1", f"{two.name}/c/d/e:2"))
    assert not done[0].changed


def test_killed_at_any_moment_it_can_be_run_again(newest: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digests = {number: push(registry.api, f"a/{number}", "1", layers=2, seed="same", size=200_000) for number in range(3)}
    proxy = proxy_to(other)
    images = [{"source": f"{registry.name}/a/{number}:1", "destinations": [f"{proxy.name}/b/{number}:1"]} for number in range(3)]
    task = {"gating.containers.registry_copy": {"images": images, "credentials": {**registry.credentials(), **other.credentials(proxy.name)}}}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    moments = random.Random(4).sample(range(2, 95), 20)
    killed = 0
    for moment in moments:
        for number in range(3):
            # A fresh place each time, so that there is something to do.
            images[number]["destinations"] = [f"{proxy.name}/at{moment}/{number}:1"]
        killed += newest.killed(proxy, moment, playbook=play) >= moment
        for number in range(3):
            for tag in other.api.tags(f"at{moment}/{number}"):
                assert other.api.digest(f"at{moment}/{number}", tag) == digests[number]
                check(other.api, f"at{moment}/{number}", tag)
    task["gating.containers.registry_copy"]["images"] = [
        {"source": image["source"], "destinations": [f"{proxy.name}/at{moment}/{number}:1" for moment in moments]} for number, image in enumerate(images)
    ]
    newest.play(playbook=play).check()
    for moment in moments:
        for number in range(3):
            assert other.api.digest(f"at{moment}/{number}", "1") == digests[number]
            check(other.api, f"at{moment}/{number}", "1")
    assert killed >= 5, "it was hardly ever killed in the middle"
