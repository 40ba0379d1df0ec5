# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying between real registries, with and without tricks."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import threading
import time
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._copy import Copied, Copier, parse_copies
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from artifacts import check, push, refer, referrers
from proxy import Answer, Proxy
from registries import Server, start_docker_registry, start_olareg

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


class Faults:
    """Answers with faults, each a number of times for each request that it suits."""

    def __init__(self, *faults: tuple[str, str, int, Answer]) -> None:
        self.faults = faults
        self.met: dict[tuple[int, str, str], int] = {}
        self.lock = threading.Lock()

    def __call__(self, method: str, path: str, body: bytes) -> Answer | None:
        for number, (wanted, part, times, answer) in enumerate(self.faults):
            if method == wanted and part in path:
                key = (number, method, path.partition("?")[0].partition("uploads/")[0])
                with self.lock:
                    self.met[key] = self.met.get(key, 0) + 1
                    if self.met[key] <= times:
                        return answer
        return None


RETRY = Answer(429, b"", {"Retry-After": "0"})
SOURCE_FAULTS = {
    "429 with Retry-After": ("GET", "/manifests/", 3, RETRY),
    "429 without": ("GET", "/blobs/", 2, Answer(429)),
    "503": ("GET", "/blobs/", 2, Answer(503)),
    "500 manifest": ("GET", "/manifests/", 1, Answer(500)),
}
TARGET_FAULTS = {
    "503 upload": ("PUT", "/blobs/", 2, Answer(503)),
    "401 upload": ("PUT", "/blobs/", 1, Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})),
    "mount 400": ("POST", "?mount", 9, Answer(400)),
    "mount 401": ("POST", "?mount", 9, Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})),
    "mount 404": ("POST", "?mount", 9, Answer(404)),
    "mount 405": ("POST", "?mount", 9, Answer(405)),
    "502 manifest": ("PUT", "/manifests/", 2, Answer(502)),
    "429 post": ("POST", "/blobs/", 2, RETRY),
}


@pytest.mark.parametrize("name", [*SOURCE_FAULTS, *TARGET_FAULTS, "all"])
def test_faults_that_pass(registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], name: str) -> None:
    one = proxy_to(registry, Faults(*([SOURCE_FAULTS[name]] if name in SOURCE_FAULTS else SOURCE_FAULTS.values() if name == "all" else [])))
    two = proxy_to(other, Faults(*([TARGET_FAULTS[name]] if name in TARGET_FAULTS else TARGET_FAULTS.values() if name == "all" else [])))
    digest = push(registry.api, "a", "1", layers=2)
    credentials = {**registry.credentials(one.name), **other.credentials(two.name)}
    done, dummy = copy(credentials, (f"{one.name}/a:1", f"{two.name}/b:1"), retries=8)
    assert errors(done) == []
    assert other.api.digest("b", "1") == digest
    check(other.api, "b", "1")


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


def test_some_platforms(registry: Server, other: Server) -> None:
    digest = push(registry.api, "a", "1")
    credentials = {**registry.credentials(), **other.credentials()}
    done, dummy = copy(credentials, (f"{registry.name}/a:1", f"{other.name}/b:1"), platforms=["linux/arm64", "linux/arm"])
    assert errors(done) == []
    index = other.api.call("GET", "b/manifests/1").json()
    assert [child["platform"]["architecture"] for child in index["manifests"]] == ["arm64", "arm"]
    assert index["annotations"] == {"a": "b"}
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
    command = os.environ.get("GATING_TEST_OLAREG")
    if not command:
        pytest.skip("olareg is installed where Go is present")
    server = start_olareg(tmp_path_factory.mktemp("olareg"), command)
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
        directory = tmp_path_factory.mktemp(kind)
        if kind == "zuul-registry":
            return t.cast(Server, request.getfixturevalue("zuul_registry"))
        if kind == "olareg":
            return t.cast(Server, request.getfixturevalue("with_api"))
        command = "docker-registry" if kind == "docker-registry" else os.environ.get("GATING_TEST_DISTRIBUTION")
        if not command:
            pytest.skip("distribution 3 is installed where Go is present")
        started.append(start_docker_registry(directory, command=command))
        return started[-1]

    yield start
    for server in started:
        server.stop()


KINDS = ["docker-registry", "zuul-registry", "distribution", "olareg"]


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
    limit = [10**9]
    process: list[t.Any] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        limit[0] -= 1
        if limit[0] == 0:
            os.killpg(process[0].pid, signal.SIGKILL)
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
        return None

    proxy = proxy_to(other, rule)
    marker = str(newest.directory / "play.yml")

    def workers() -> list[int]:
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if marker.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    images = [{"source": f"{registry.name}/a/{number}:1", "destinations": [f"{proxy.name}/b/{number}:1"]} for number in range(3)]
    task = {"gating.containers.registry_copy": {"images": images, "credentials": {**registry.credentials(), **other.credentials(proxy.name)}}}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    moments = random.Random(4).sample(range(2, 95), 20)
    killed = 0
    for moment in moments:
        for number in range(3):
            # A fresh place each time, so that there is something to do.
            images[number]["destinations"] = [f"{proxy.name}/at{moment}/{number}:1"]
        limit[0] = moment
        process[:] = [newest.start(playbook=play)]
        process[0].communicate(timeout=60)
        killed += process[0].returncode != 0
        limit[0] = 10**9
        proxy.wait()
        for number in range(3):
            for tag in other.api.tags(f"at{moment}/{number}"):
                assert other.api.digest(f"at{moment}/{number}", tag) == digests[number]
                check(other.api, f"at{moment}/{number}", tag)
        if moment in moments[:3]:
            newest.play(playbook=play).check()
            assert [other.api.digest(f"at{moment}/{number}", "1") for number in range(3)] == list(digests.values())
    assert killed >= 5, "it was hardly ever killed in the middle"
