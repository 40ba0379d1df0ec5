# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing tags from real registries, with and without tricks."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _manifest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._untag import Removal, Remover, parse_selections, untag
from proxy import Answer, Proxy
from registries import Server, ago, push_to_zuul_registry, resolve_with_token, start_docker_registry

from playbooks import Ansible

DAY = 86400
DISTRIBUTION = os.environ.get("GATING_TEST_DISTRIBUTION") or shutil.which("registry") or ""


@pytest.fixture(params=["docker-registry", "distribution 3"])
def any_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """A registry that does not delete tags, and one that does."""
    if request.param == "distribution 3":
        if not DISTRIBUTION:
            pytest.skip("distribution 3 is built where Go is present")
        server = start_docker_registry(tmp_path_factory.mktemp("registry"), command=DISTRIBUTION)
    else:
        server = start_docker_registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


def run(server: Server, name: str, images: list[dict[str, t.Any]], retries: int = 1, **options: t.Any) -> list[Removal]:
    with Client(Credentials(server.credentials(name)), ("pull", "push", "delete"), retries=retries, **options) as client:
        return untag(client, parse_selections(images))


def actions(removals: list[Removal]) -> dict[str, str]:
    return {str(removal.image.tag): removal.action for removal in removals}


def test_a_tag_goes_and_its_siblings_stay(any_registry: Server) -> None:
    api = any_registry.api
    digest = api.index("app", ["a", "b", "c"])
    other = api.index("other", ["a"], text="other")
    removals = run(any_registry, any_registry.name, [{"repository": f"{any_registry.name}/app", "tags": ["a", "b", "not-there"]}])
    assert actions(removals) == {"a": "removed", "b": "removed", "not-there": "absent"}
    assert api.state("app", "other") == {"app:c": digest, "other:a": other}
    assert all(child["digest"] and api.digest("app", child["digest"]) for child in api.call("GET", "app/manifests/c").json()["manifests"])


def test_old_ones_go_by_their_images_age(any_registry: Server) -> None:
    api = any_registry.api
    for tag, created, notes in (
        ("change_1_old", ago(3 * DAY), None),
        ("change_2_young", ago(60), None),
        ("change_3_epoch", "1970-01-01T00:00:00Z", None),
        ("change_4_future", ago(-DAY), None),
        ("change_5_nothing", None, None),
        ("change_6_annotated_young", ago(3 * DAY), {"org.opencontainers.image.created": ago(60)}),
        ("change_7_annotated_old", ago(60), {"org.opencontainers.image.created": ago(3 * DAY)}),
        ("stable_old", ago(3 * DAY), None),
    ):
        api.index("app", [tag], text=tag, created=created, annotations=notes)
    before = api.state("app")
    removals = run(any_registry, any_registry.name, [{"repository": f"{any_registry.name}/app", "regex": "^change_", "older_than": DAY}])
    gone = {"change_1_old", "change_7_annotated_old"}
    assert {tag for tag, action in actions(removals).items() if action == "removed"} == gone
    assert {tag for tag, action in actions(removals).items() if action == "kept"} == {
        "change_2_young",
        "change_3_epoch",
        "change_4_future",
        "change_5_nothing",
        "change_6_annotated_young",
    }
    assert api.state("app") == {name: digest for name, digest in before.items() if name.removeprefix("app:") not in gone}


def test_an_index_is_as_old_as_its_newest_image(registry: Server) -> None:
    api = registry.api
    children = [
        api.image("app", None, text="a", created=ago(9 * DAY)),
        api.image("app", None, text="b", created=ago(60), architecture="arm64"),
    ]
    content = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}).encode()
    api.manifest("app", "change_1_x", "application/vnd.oci.image.index.v1+json", content)
    removals = run(registry, registry.name, [{"repository": f"{registry.name}/app", "regex": "^change_", "older_than": DAY}])
    assert actions(removals) == {"change_1_x": "kept"}


def test_a_repository_that_is_not_there(any_registry: Server) -> None:
    images = [
        {"repository": f"{any_registry.name}/nothing", "tags": ["a"]},
        {"repository": f"{any_registry.name}/nothing", "regex": ".*", "older_than": 0},
    ]
    assert actions(run(any_registry, any_registry.name, images)) == {"a": "absent"}


def test_requests_of_the_tombstones(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    for path in ("one", "two", "three"):
        registry.api.index(path, ["a", "b"])
    run(registry, proxy.name, [{"repository": f"{proxy.name}/{path}", "tags": ["a", "b"]} for path in ("one", "two", "three")])
    deletes = [request for request in proxy.requests if request.method == "DELETE"]
    # One by tag, which is refused; one to prove that it works by digest; one for the two tags of each repository.
    assert [request.status for request in deletes] == [400, 202, 202, 202, 202]
    assert len({request.path for request in deletes}) == 5
    # The tombstones' only blob is sent once, the other repositories mount it.
    assert len([request for request in proxy.requests if request.method == "PUT" and "/blobs/" in request.path]) == 1


def test_no_tag_is_touched_before_it_is_proved_that_deleting_works(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = registry.api.index("app", ["a", "b"])

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        return Answer(202) if method == "DELETE" and "sha256:" in path else None

    proxy = proxy_to(registry, rule)
    with pytest.raises(ContainersError, match=r"answered 202 to DELETE manifest of .* but still has it"):
        run(registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert registry.api.state("app") == {"app:a": digest, "app:b": digest}
    assert not [request for request in proxy.writes() if request.method == "PUT" and request.path.endswith("/manifests/a")]


def test_when_the_tombstone_cannot_be_deleted_the_old_image_is_put_back(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = registry.api.index("app", ["a", "b"])
    deletes: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "DELETE" and "sha256:" in path:
            deletes.append(path)
            # The proof works, as on Docker Hub, where only a manifest with a tag is not deleted.
            return Answer(403) if len(deletes) > 1 else None
        return None

    proxy = proxy_to(registry, rule)
    with pytest.raises(ContainersError, match=rf"app:a: could not be removed, names its old image {digest} again: .* answered 403") as caught:
        run(registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert registry.api.state("app") == {"app:a": digest, "app:b": digest}
    assert caught.value.result["images"][0]["action"] == "failed"


def test_when_nobody_knows_whether_the_tombstone_is_gone_the_old_image_is_put_back(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = registry.api.index("app", ["a", "b"])
    deletes: list[str] = []
    looks: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "DELETE" and "sha256:" in path:
            deletes.append(path)
            return Answer(500) if len(deletes) > 1 else None
        if method == "HEAD" and path.endswith("/a") and len(deletes) > 1 and not looks:
            looks.append(path)
            return Answer(503)
        return None

    proxy = proxy_to(registry, rule)
    with pytest.raises(ContainersError, match=rf"app:a: could not be removed, names its old image {digest} again"):
        run(registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}], retries=0)
    assert registry.api.state("app") == {"app:a": digest, "app:b": digest}


def test_an_answer_that_is_lost_makes_no_difference(any_registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    any_registry.api.index("app", ["a"])
    lost: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "DELETE" and path not in lost:
            lost.append(path)
            assert any_registry.api.call("DELETE", path.removeprefix("/v2/")).status_code in (202, 400)
            return Answer(502)
        return None

    proxy = proxy_to(any_registry, rule)
    removals = run(any_registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert actions(removals) == {"a": "removed"}
    assert any_registry.api.tags("app") == []


def test_when_the_connection_dies_for_good_after_the_tombstone_it_is_finished_later(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    registry.api.index("app", ["a"])
    keep = registry.api.index("app", ["b"], text="b")
    dead: list[bool] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if dead:
            return Answer(503)
        if method == "PUT" and path.endswith("/manifests/a"):
            dead.append(True)
        return None

    proxy = proxy_to(registry, rule)
    with pytest.raises(ContainersError):
        run(registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}], retries=0)
    removals = run(registry, registry.name, [{"repository": f"{registry.name}/app", "tags": ["a"]}])
    assert actions(removals) == {"a": "removed"}
    assert registry.api.state("app") == {"app:b": keep}


def test_a_404_does_not_prove_that_a_tag_is_gone(zuul_registry: Server) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["a", "b"])
    with pytest.raises(ContainersError, match=r"answered 404 but has the tag: it cannot remove tags"):
        run(zuul_registry, zuul_registry.name, [{"repository": f"{zuul_registry.name}/app", "tags": ["a"]}])
    assert resolve_with_token(zuul_registry, "app", "a") == digest


def test_no_right_to_delete(registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = registry.api.index("app", ["a"])
    proxy = proxy_to(registry, lambda method, path, body: Answer(403) if method == "DELETE" else None)
    with pytest.raises(ContainersError, match=r"answered 403: the login for .* needs the right"):
        run(registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert registry.api.state("app") == {"app:a": digest}
    assert {request.method for request in proxy.writes()} == {"DELETE"}


@pytest.mark.parametrize("name", ["docker.io", "ghcr.io"])
def test_registries_that_need_their_own_api_are_left_alone(name: str) -> None:
    with Client(Credentials({}), ("pull",), retries=0) as client:
        removal = Remover(client, name).remove(Reference.parse(f"{name}/a/b"), {"x": "sha256:" + "0" * 64})[0]
        assert removal.action == "failed"
        assert "remove the tag by hand" in removal.reason
        assert client.requests == 0


def test_the_module_and_the_role(ansible: Ansible, registry: Server) -> None:
    api = registry.api
    api.index("app", ["change_1_a"], created=ago(3 * DAY))
    keep = api.index("app", ["change_2_b", "post_c"], text="young", created=ago(60))
    credentials = registry.credentials()
    images = [{"repository": f"{registry.name}/app", "regex": "^change_", "older_than": DAY}]
    before = api.state("app")
    run_ = ansible.task("registry_untag", "--check", "--diff", images=images, credentials=credentials).check()
    assert run_.result["changed"] is True
    assert api.state("app") == before
    assert f'-    "{registry.name}/app:change_1_a": "{before["app:change_1_a"]}"' in run_.output
    for changed in (True, False):
        result = ansible.task("registry_untag", images=images, credentials=credentials).check().result
        assert result["changed"] is changed
        assert re.match(rf"removed {int(changed)} tags?, kept 1, \d+ requests", result["msg"])
    assert api.state("app") == {"app:change_2_b": keep, "app:post_c": keep}

    variables = {"remove_registry_tag_repository": f"{registry.name}/app", "container_registry_credentials": credentials}
    ansible.role("remove_registry_tag", remove_registry_tag_tag="change_2_b", **variables).check()
    assert api.state("app") == {"app:post_c": keep}
    ansible.role("remove_registry_tag", remove_registry_tag_age=30, **variables).check()
    assert api.state("app") == {"app:post_c": keep}
    ansible.role("remove_registry_tag", remove_registry_tag_age=30, zuul={"pipeline": "post"}, **variables).check()
    assert api.tags("app") == []


def test_tombstones_are_known_as_such() -> None:
    stone = _manifest.tombstone("x", datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))
    assert stone.is_tombstone
    assert stone.annotations["org.opencontainers.image.created"] == "2026-01-02T00:00:00Z"
