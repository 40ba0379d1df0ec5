# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Re-tagging on real registries, with and without tricks."""

from __future__ import annotations

import json
import threading
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._retag import Target, parse_moves, retag
from proxy import Answer, Proxy
from registries import Server, ago, push_to_zuul_registry, resolve_with_token

from playbooks import Ansible


def run(server: Server, name: str, images: list[dict[str, t.Any]], **options: t.Any) -> list[Target]:
    with Client(Credentials(server.credentials(name)), ("pull", "push"), retries=2, **options) as client:
        return retag(client, parse_moves(images))


def image(name: str, source: str, *tags: str, path: str = "app", **more: t.Any) -> dict[str, t.Any]:
    return {"repository": f"{name}/{path}", "source": source, "tags": list(tags), **more}


def test_several_tags_cost_one_read(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    digest = registry.api.index("app", ["rc"])
    targets = run(registry, proxy.name, [image(proxy.name, "rc", "1", "1.0", "latest", digest=digest)])
    assert [(target.digest, target.previous, target.state) for target in targets] == [(digest, None, "moved")] * 3
    assert registry.api.state("app") == dict.fromkeys(["app:1", "app:1.0", "app:latest", "app:rc"], digest)
    methods = [request.method for request in proxy.requests]
    # One of the GETs is the ping; each tag is looked at before and after.
    assert (methods.count("GET"), methods.count("HEAD"), methods.count("PUT"), len(methods)) == (2, 6, 3, 11)


def test_what_is_right_already_costs_no_put(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    registry.api.index("app", ["rc", "latest"])
    targets = run(registry, proxy.name, [image(proxy.name, "rc", "latest")])
    assert [target.state for target in targets] == ["unchanged"]
    assert not proxy.writes()


def test_a_digest_as_source(registry: Server) -> None:
    digest = registry.api.index("app", ["old"])
    registry.api.index("app", ["latest"], text="newer")
    run(registry, registry.name, [image(registry.name, digest, "latest")])
    assert registry.api.digest("app", "latest") == digest


def test_an_unexpected_digest_moves_nothing(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    expected = registry.api.index("app", ["tested"])
    other = registry.api.index("app", ["rc"], text="pushed later")
    with pytest.raises(ContainersError, match=rf"app:rc names {other} instead of the expected {expected}: nothing was moved"):
        run(registry, proxy.name, [image(proxy.name, "tested", "1", path="app"), image(proxy.name, "rc", "latest", digest=expected)])
    assert not proxy.writes()


def test_a_tag_claimed_twice_is_refused(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    with pytest.raises(InputError, match="app:latest: two images claim this tag"):
        run(registry, proxy.name, [image(proxy.name, "a", "latest"), image(proxy.name, "b", "latest")])
    assert not proxy.requests


def failing(registry: Server, name: str) -> ContainersError:
    """Move three tags of which the last cannot be moved; one is new, one was there."""
    with pytest.raises(ContainersError) as caught:
        run(registry, name, [image(name, "rc", "new", "latest", "stuck")])
    return caught.value


def test_201_that_moves_nothing_is_a_failure(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    registry.api.index("app", ["rc"])
    registry.api.index("app", ["latest", "stuck"], text="old")
    before = registry.api.state("app")

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        return Answer(201) if method == "PUT" and path.endswith("/stuck") else None

    error = failing(registry, proxy_to(registry, rule).name)
    assert f"but the tag names {before['app:stuck']}" in str(error)
    assert registry.api.state("app") == before
    assert {item["tag"]: item["state"] for item in error.result["images"]} == {"new": "removed again", "latest": "put back", "stuck": "unchanged"}
    assert error.result["changed"] is False


def test_what_somebody_else_moved_meanwhile_is_left_alone(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    registry.api.index("app", ["rc"])
    registry.api.index("app", ["latest", "stuck"], text="old")
    moved = threading.Event()
    others: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "HEAD" and path.endswith("/latest") and moved.is_set() and not others:
            others.append(registry.api.index("app", ["latest"], text="of somebody else"))
        if method == "PUT" and path.endswith("/latest"):
            moved.set()
        if method == "PUT" and path.endswith("/stuck"):
            return Answer(403)
        return None

    error = failing(registry, proxy_to(registry, rule).name)
    assert registry.api.digest("app", "latest") == others[0]
    assert f"names {others[0]}" in str(error)


def test_where_putting_back_fails_too_it_says_what_names_what(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    new = registry.api.index("app", ["rc"])
    old = registry.api.index("app", ["latest", "stuck"], text="old")
    puts: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and "/manifests/" in path:
            puts.append(path)
            if path.endswith("/stuck") or puts.count("/v2/app/manifests/latest") > 1:
                return Answer(403, json.dumps({"errors": [{"code": "DENIED", "message": "frozen"}]}).encode())
        return None

    error = failing(registry, proxy_to(registry, rule).name)
    assert f"app:latest is to name {old} but may name {new}" in str(error)
    assert registry.api.digest("app", "latest") == new
    assert error.result["changed"] is True


def test_many_new_tags_are_removed_again_without_a_trace(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    registry.api.index("app", ["rc"])
    proxy = proxy_to(registry, lambda method, path, body: Answer(403) if method == "PUT" and path.endswith("/stuck") else None)
    tags = [f"t{number}" for number in range(30)]
    with Client(Credentials(registry.credentials(proxy.name)), ("pull", "push")) as client, pytest.raises(ContainersError, match="no tag was moved"):
        retag(client, parse_moves([image(proxy.name, "rc", *tags, "stuck")]))
    assert registry.api.tags("app") == ["rc"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_failures_that_pass(registry: Server, proxy_to: t.Callable[..., Proxy], status: int) -> None:
    digest = registry.api.index("app", ["rc"])
    seen: dict[tuple[str, str], int] = {}

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        seen[method, path] = seen.get((method, path), 0) + 1
        return Answer(status, b"<html>later</html>") if seen[method, path] == 1 else None

    proxy = proxy_to(registry, rule)
    run(registry, proxy.name, [image(proxy.name, "rc", "latest")])
    assert registry.api.digest("app", "latest") == digest


def test_bearer_tokens_of_a_real_token_server(zuul_registry: Server) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["rc"])
    targets = run(zuul_registry, zuul_registry.name, [image(zuul_registry.name, "rc", "latest", "1.0", digest=digest)])
    assert [target.state for target in targets] == ["moved"] * 2
    assert {resolve_with_token(zuul_registry, "app", tag) for tag in ("latest", "1.0", "rc")} == {digest}


def test_a_wrong_password_at_a_real_token_server(zuul_registry: Server) -> None:
    push_to_zuul_registry(zuul_registry, "app", ["rc"])
    credentials = {zuul_registry.name: {"username": "publisher", "password": "wr0ng"}}
    with Client(Credentials(credentials), ("pull", "push"), retries=0) as client, pytest.raises(ContainersError) as caught:
        retag(client, parse_moves([image(zuul_registry.name, "rc", "latest")]))
    assert "check username and password" in str(caught.value) or "needs the right" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_the_module(ansible: Ansible, registry: Server) -> None:
    digest = registry.api.index("app", ["rc"])
    images = [image(registry.name, "rc", "latest")]
    result = ansible.task("registry_retag", images=images, credentials=registry.credentials()).check().result
    assert result["changed"] is True
    assert result["images"] == [{"repository": f"{registry.name}/app", "tag": "latest", "digest": digest, "previous_digest": None, "changed": True}]
    # With async it runs as a module, as it does over any connection but the local one.
    keywords = {"async": 60, "poll": 1}
    result = ansible.task("registry_retag", keywords=keywords, images=images, credentials=registry.credentials()).check().result
    assert (result["changed"], result["msg"]) == (False, f"moved 0 of 1 tag, {result['requests']} requests")
    assert "ansible_job_id" in result
    run_ = ansible.task("registry_retag", "-vvv", keywords=keywords, images=[image(registry.name, "none", "x")], credentials=registry.credentials())
    assert run_.result["failed"]
    assert "there is no such image" in run_.result["msg"]
    assert run_.result["requests"] > 0
    assert registry.password not in json.dumps(run_.result)


def test_a_secret_in_the_registrys_own_words(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    registry.api.index("app", ["rc"], created=ago(60))
    words = f"user publisher with {registry.password} may not do this"

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        return Answer(403, json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()) if method == "PUT" else None

    proxy = proxy_to(registry, rule)
    with pytest.raises(ContainersError) as caught:
        run(registry, proxy.name, [image(proxy.name, "rc", "latest")])
    assert "user publisher with ******** may not do this" in str(caught.value)
    assert "\n" not in str(caught.value)
