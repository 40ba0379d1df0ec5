# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All the registries of one run."""

from __future__ import annotations

import base64
import threading
import time
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._retry import MaxRetryError


def test_one_registry_for_each_name() -> None:
    with Client(Credentials(), ("pull",)) as client:
        one = client.registry(Reference("quay.io", "a"))
        assert client.registry(Reference("quay.io", "b", "tag")) is one
        other = client.registry(Reference("quay.io:8443", "a"))
        assert other is not one
        assert (one.name, other.name) == ("quay.io", "quay.io:8443")
        assert client.requests == 0


def test_many_threads_get_the_same_registry() -> None:
    with Client(Credentials(), ("pull",)) as client:
        assert len(set(client.map(lambda dummy: client.registry(Reference("quay.io", "a")), range(50)))) == 1


def test_each_registry_gets_its_own_login_and_the_actions(http_server: t.Any) -> None:
    servers = [http_server(), http_server()]
    credentials = Credentials({server.name: {"username": "me", "password": f"password{number}", "scheme": "http"} for number, server in enumerate(servers)})
    for server in servers:
        server.on("GET", "/v2/", 401, b"", {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'})
        server.on("GET", "/token", 200, {"token": f"token of {server.name}"})
        server.on("HEAD", "/v2/a/manifests/b", 404)
    with Client(credentials, ("pull", "delete")) as client:
        images = [Reference(server.name, "a", "b") for server in servers]
        assert client.map(lambda image: client.registry(image).resolve(image), images) == [None, None]
        assert client.requests == 6
    for number, server in enumerate(servers):
        (token,) = server.of("GET", "/token")
        assert token.query == [("scope", "repository:a:pull,delete")]
        assert token.authorization == "Basic " + base64.b64encode(f"me:password{number}".encode()).decode()
        assert server.of("HEAD", "/v2/a/manifests/b")[0].authorization == f"Bearer token of {server.name}"


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_parallel_is_the_limit_at_each_registry(http_server: t.Any, parallel: int) -> None:
    servers = [http_server(), http_server()]
    for server in servers:
        server.on("GET", "/v2/", 200)
        server.on("HEAD", "/v2/a/manifests/b", 404, times=15, hook=server.crowd(parallel))
    credentials = Credentials({server.name: {"scheme": "http"} for server in servers})
    with Client(credentials, ("pull",), parallel=parallel) as client:
        images = [Reference(server.name, "a", "b") for server in servers] * 15
        client.map(lambda image: client.registry(image).resolve(image), images)
        assert client.requests == 32
    assert [server.most_at_once for server in servers] == [parallel, parallel]


def test_retries_and_timeout_reach_the_requests(http_server: t.Any) -> None:
    server = http_server()
    server.on("GET", "/v2/", 200)
    server.on("HEAD", "/v2/a/manifests/b", 503, times=3)
    server.on("HEAD", "/v2/a/manifests/c", hook=lambda: threading.Event().wait(0.5), times=3)
    with Client(Credentials({server.name: {"scheme": "http"}}), ("pull",), retries=2, timeout=0.1) as client:
        with pytest.raises(RegistryError, match="answered 503"):
            client.registry(Reference(server.name, "a", "b")).resolve(Reference(server.name, "a", "b"))
        with pytest.raises(RegistryError, match="no answer in 3 tries, no answer in time"):
            client.registry(Reference(server.name, "a", "b")).resolve(Reference(server.name, "a", "c"))
        assert client.requests == 7


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_policy_ends_after_the_retries(pauses: list[float], retries: int) -> None:
    with Client(Credentials(), ("pull",), retries=retries) as client:
        policy = client.policy()
        for _again in range(retries):
            policy = policy.increment(error=ContainersError("no"))
            policy.sleep()
        with pytest.raises(MaxRetryError):
            policy.increment(error=ContainersError("no"))
        # Each piece of work has all of them.
        assert client.policy().total == retries
        assert client.requests == 0
    # The first pause is none; those after it double, a quarter more or less.
    assert len(pauses) == max(0, retries - 1)
    assert all(0.375 * 2**number <= pause <= 0.625 * 2**number for number, pause in enumerate(pauses))


def test_map_keeps_the_order() -> None:
    real_wait = threading.Event().wait

    def work(number: int) -> int:
        real_wait(0.002 * (20 - number))
        return number * 2

    with Client(Credentials(), ("pull",)) as client:
        assert client.map(work, range(20)) == list(range(0, 40, 2))
        assert client.map(work, iter([3])) == [6]
        assert client.map(work, []) == []


def test_map_raises_the_first_error_when_all_calls_have_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> int:
        # The second error comes first in time.
        threading.Event().wait(0.05 if number == 1 else 0.0 if number == 2 else 0.1)
        ended.append(number)
        if number in (1, 2):
            raise InputError(f"error {number}")
        return number

    with Client(Credentials(), ("pull",)) as client, pytest.raises(InputError, match="^error 1$"):
        client.map(work, range(4))
    assert sorted(ended) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 3])
def test_try_map_returns_errors_in_their_places(count: int) -> None:
    def work(number: int) -> int:
        if number == 0:
            raise ContainersError("no")
        return number

    with Client(Credentials(), ("pull",)) as client:
        results = client.try_map(work, range(count))
    assert isinstance(results[0], ContainersError)
    assert results[1:] == list(range(1, count))


@pytest.mark.parametrize("count", [1, 3])
def test_any_other_exception_is_a_bug_and_is_raised(count: int) -> None:
    with Client(Credentials(), ("pull",)) as client, pytest.raises(ZeroDivisionError):
        client.try_map(lambda dummy: 1 // 0, range(count))


def test_a_signal_ends_what_flows_in_other_threads() -> None:
    started, main = threading.Barrier(2), threading.current_thread()

    def work(dummy: int) -> None:
        started.wait(10)
        if threading.current_thread() is main:
            raise KeyboardInterrupt()
        deadline = time.monotonic() + 10
        while not client.interrupted:
            assert time.monotonic() < deadline, "it was never told"
            time.sleep(0.01)

    with Client(Credentials(), ("pull",)) as client:
        with pytest.raises(KeyboardInterrupt):
            client.map(work, range(2))
        assert client.interrupted


def test_maps_in_maps_end() -> None:
    with Client(Credentials(), ("pull",), parallel=1) as client:
        assert client.map(lambda row: sum(client.map(lambda cell: cell, range(row))), range(20)) == [sum(range(row)) for row in range(20)]


def test_many_threads_are_used() -> None:
    together = threading.Barrier(8, timeout=5)
    with Client(Credentials(), ("pull",), parallel=2) as client:
        began = time.monotonic()
        client.map(lambda dummy: together.wait(), range(8))
    assert time.monotonic() - began < 5


def test_leaving_removes_the_tls_files(certificate: t.Any) -> None:
    with Client(Credentials({"quay.io": {"ca_cert": certificate.cert}, "ghcr.io": {"ca_cert": certificate.cert}}), ("pull",)) as client:
        paths = [client.registry(Reference(name, "a"))._transport._tls._directory.name for name in ("quay.io", "ghcr.io")]
        import pathlib

        assert [pathlib.Path(path).is_dir() for path in paths] == [True, True]
    assert [pathlib.Path(path).exists() for path in paths] == [False, False]


def test_a_tls_file_that_is_not_there_is_an_input_error() -> None:
    with Client(Credentials({"quay.io": {"ca_cert": "/nonexistent"}}), ("pull",)) as client, pytest.raises(InputError, match="ca_cert"):
        client.registry(Reference("quay.io", "a"))
