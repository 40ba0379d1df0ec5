# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing tags from real registries, with and without tricks."""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import time
import typing as t

import pytest
import stand_ins
from ansible_collections.gating.containers.plugins.module_utils import _manifest, _registry
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._tags import Removal
from ansible_collections.gating.containers.plugins.module_utils._untag import parse_selections, untag
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import Vendors
from proxy import Answer, Proxy
from registries import PROGRAMS, Server, ago, push_to_zuul_registry, resolve_with_token, start_any

from playbooks import Ansible

DAY = 86400


@pytest.fixture(params=list(PROGRAMS))
def any_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """A registry that does not delete tags, and three that do."""
    server = start_any(request.param, tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(params=["docker-registry", "olareg"])
def no_deletes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """A registry that deletes nothing."""
    server = start_any(request.param, tmp_path_factory.mktemp("registry"), deletes=False)
    yield server
    server.stop()


def run(server: Server, name: str, images: list[dict[str, t.Any]], retries: int = 1, **entry: t.Any) -> list[Removal]:
    with Client(Credentials(server.credentials(name, **entry)), ("pull", "push", "delete"), retries=retries) as client:
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


def test_where_nothing_is_deleted_no_tag_is_touched(no_deletes: Server) -> None:
    api = no_deletes.api
    digest = api.index("app", ["a", "b"])
    with pytest.raises(ContainersError, match=r"deletes neither tags nor manifests, allow it there, or remove no tags: .* answered 405"):
        run(no_deletes, no_deletes.name, [{"repository": f"{no_deletes.name}/app", "tags": ["a"]}])
    assert api.state("app") == {"app:a": digest, "app:b": digest}


def test_distribution_3_deletes_tags_even_where_it_deletes_nothing_else(tmp_path: pathlib.Path) -> None:
    server = start_any("distribution 3", tmp_path / "registry", deletes=False)
    try:
        digest = server.api.index("app", ["a", "b"])
        assert actions(run(server, server.name, [{"repository": f"{server.name}/app", "tags": ["a"]}])) == {"a": "removed"}
        assert server.api.state("app") == {"app:b": digest}
    finally:
        server.stop()


@pytest.mark.parametrize("software", ["docker-registry", "distribution 3", "zot"])
def test_a_login_without_rights(software: str, tmp_path: pathlib.Path) -> None:
    server = start_any(software, tmp_path / "registry")
    try:
        digest = server.api.index("app", ["a", "b"])
        for images in ({"tags": ["a"]}, {"regex": "a", "older_than": 0}):
            with pytest.raises(ContainersError, match=r"answered 401.*check username and password") as caught:
                run(server, server.name, [{"repository": f"{server.name}/app", **images}], password="wrong-and-secret")
            assert "wrong-and-secret" not in str(caught.value)
        assert server.api.state("app") == {"app:a": digest, "app:b": digest}
    finally:
        server.stop()


def test_a_login_that_may_not_delete(tmp_path: pathlib.Path) -> None:
    server = start_any("zot", tmp_path / "registry", deletes=False)
    try:
        digest = server.api.index("app", ["a", "b"], created=ago(DAY))
        for images in ({"tags": ["a"]}, {"regex": "a", "older_than": 0}):
            with pytest.raises(ContainersError, match=r"app:a: .* answered 403 .*: the login for .* needs the right to do this"):
                run(server, server.name, [{"repository": f"{server.name}/app", **images}])
        assert server.api.state("app") == {"app:a": digest, "app:b": digest}
    finally:
        server.stop()


def test_a_zuul_registry_reader_sees_all_and_removes_nothing(zuul_registry: Server) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["a", "b"])
    for kind in ("oci", ""):
        with pytest.raises(ContainersError):
            run(
                zuul_registry, zuul_registry.name, [{"repository": f"{zuul_registry.name}/app", "tags": ["a"]}], username="reader", password="reader", type=kind
            )
    assert resolve_with_token(zuul_registry, "app", "a") == digest


def test_a_missing_tag_and_a_missing_repository_at_zuul_registry(zuul_registry: Server) -> None:
    push_to_zuul_registry(zuul_registry, "app", ["a"])
    images = [
        {"repository": f"{zuul_registry.name}/app", "tags": ["not-there"]},
        {"repository": f"{zuul_registry.name}/nothing", "tags": ["x"]},
        {"repository": f"{zuul_registry.name}/nothing", "regex": ".*", "older_than": 0},
    ]
    assert actions(run(zuul_registry, zuul_registry.name, images)) == {"not-there": "absent", "x": "absent"}


def test_a_hundred_and_twenty_tags(any_registry: Server, proxy_to: t.Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_PAGE", 50)
    proxy = proxy_to(any_registry)
    api = any_registry.api
    image = api.image("app", "old-000", created=ago(3 * DAY))
    content = api.call("GET", "app/manifests/old-000").content
    for number in range(1, 120):
        api.manifest("app", f"old-{number:03}", image["mediaType"], content)
    keep = api.image("app", "keep", text="keep", created=ago(3 * DAY))["digest"]
    removals = run(any_registry, proxy.name, [{"repository": f"{proxy.name}/app", "regex": "^old-", "older_than": DAY}])
    assert list(actions(removals).values()) == ["removed"] * 120
    assert api.state("app") == {"app:keep": keep}
    pages = [request for request in proxy.requests if request.path.partition("?")[0].endswith("/tags/list")]
    # docker-registry 2 gives all of them at once, whatever it is asked for.
    assert len(pages) in (1, 3)


def test_a_hundred_and_twenty_tags_at_zuul_registry(zuul_registry: Server) -> None:
    push_to_zuul_registry(zuul_registry, "app", [f"old-{number:03}" for number in range(120)])
    with Client(Credentials(zuul_registry.credentials()), ("pull",)) as client:
        repository = Reference(zuul_registry.name, "app")
        assert len(Vendors(client).of(repository).tags(repository)) == 120


def test_the_newest_stay_and_what_an_index_or_a_signature_needs(any_registry: Server) -> None:
    api = any_registry.api
    api.index("app", ["1.0"], text="release", created=ago(9 * DAY))
    for child in api.call("GET", "app/manifests/1.0").json()["manifests"]:
        name = f"change_1_{child['platform']['architecture']}"
        api.manifest("app", name, child["mediaType"], api.call("GET", f"app/manifests/{child['digest']}").content)
    signed = api.image("app", "change_2_signed", text="signed", created=ago(9 * DAY))["digest"]
    api.image("app", signed.replace(":", "-") + ".sig", text="signature", created=ago(9 * DAY))
    for number in range(3, 8):
        api.image("app", f"change_{number}_x", text=str(number), created=ago((12 - number) * DAY))
    before = api.state("app")
    images = [{"repository": f"{any_registry.name}/app", "regex": "^change_", "older_than": DAY, "keep": 2}]
    removals = {str(removal.image.tag): removal for removal in run(any_registry, any_registry.name, images)}
    gone = {"change_3_x", "change_4_x", "change_5_x"}
    assert {tag for tag, removal in removals.items() if removal.action == "removed"} == gone
    assert removals["change_1_amd64"].reason == "the tag 1.0 needs its image"
    assert removals["change_2_signed"].reason == f"the tag {signed.replace(':', '-')}.sig needs its image"
    assert removals["change_7_x"].reason == "it is one of the newest 2 that match"
    assert api.state("app") == {name: digest for name, digest in before.items() if name.removeprefix("app:") not in gone}


def test_an_index_in_an_index_keeps_its_images(registry: Server) -> None:
    api = registry.api
    media_type = "application/vnd.oci.image.index.v1+json"
    inner = api.index("app", ["inner"], created=ago(9 * DAY))
    child = api.call("GET", "app/manifests/inner").json()["manifests"][0]
    api.manifest("app", "change_1_child", child["mediaType"], api.call("GET", f"app/manifests/{child['digest']}").content)
    content = {"schemaVersion": 2, "mediaType": media_type, "manifests": [{"mediaType": media_type, "digest": inner, "size": 1}]}
    api.manifest("app", "outer", media_type, json.dumps(content).encode())
    # Only the outer one is left with a tag.
    images = [
        {"repository": f"{registry.name}/app", "tags": ["inner"]},
        {"repository": f"{registry.name}/app", "regex": "^change_", "older_than": DAY},
    ]
    removals = {str(removal.image.tag): removal for removal in run(registry, registry.name, images)}
    assert {tag: removal.action for tag, removal in removals.items()} == {"inner": "removed", "change_1_child": "kept"}
    assert removals["change_1_child"].reason == "the tag outer needs its image"


def test_a_referrer_with_a_tag_keeps_its_image(tmp_path: pathlib.Path) -> None:
    server = start_any("olareg", tmp_path)
    try:
        api = server.api
        image = api.image("app", "change_1_x", created=ago(9 * DAY))
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": api.blob("app", b"{}"), "size": 2}
        subject = {key: image[key] for key in ("mediaType", "digest", "size")}
        content = {"schemaVersion": 2, "mediaType": image["mediaType"], "config": config, "layers": [config], "subject": subject}
        api.manifest("app", "sbom", image["mediaType"], json.dumps(content).encode())
        images = [{"repository": f"{server.name}/app", "regex": "^change_", "older_than": DAY}]
        removals = run(server, server.name, images)
        assert [(removal.action, removal.reason) for removal in removals] == [("kept", "the tag sbom needs its image")]
    finally:
        server.stop()


def test_zuul_registry_is_known_and_refused_before_anything_is_written(zuul_registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["a", "b"])
    proxy = proxy_to(zuul_registry)
    with pytest.raises(ContainersError, match=r"app: no tags can be removed: zuul-registry deletes no tags: its own command prune"):
        run(zuul_registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert not proxy.writes()
    assert resolve_with_token(zuul_registry, "app", "a") == digest


def test_a_404_does_not_prove_that_a_tag_is_gone(zuul_registry: Server) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["a", "b"])
    # Not known as what it is.
    with pytest.raises(ContainersError, match=r"answered 404 but has the tag: it cannot remove tags"):
        run(zuul_registry, zuul_registry.name, [{"repository": f"{zuul_registry.name}/app", "tags": ["a"]}], type="oci")
    assert resolve_with_token(zuul_registry, "app", "a") == digest


def test_no_right_to_delete(any_registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    digest = any_registry.api.index("app", ["a"])
    proxy = proxy_to(any_registry, lambda method, path, body: Answer(403) if method == "DELETE" else None)
    with pytest.raises(ContainersError, match=r"answered 403: the login for .* needs the right"):
        run(any_registry, proxy.name, [{"repository": f"{proxy.name}/app", "tags": ["a"]}])
    assert any_registry.api.state("app") == {"app:a": digest}
    assert {request.method for request in proxy.writes()} == {"DELETE"}


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
    assert f"  {registry.name}/app:change_2_b stays: it is not older than 86400 seconds" in run_.output
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
    # A pipeline's name is no expression.
    ansible.role("remove_registry_tag", remove_registry_tag_age=30, zuul={"pipeline": "p.st"}, **variables).check()
    assert api.state("app") == {"app:post_c": keep}
    ansible.role("remove_registry_tag", remove_registry_tag_age=30, remove_registry_tag_keep=1, zuul={"pipeline": "post"}, **variables).check()
    assert api.state("app") == {"app:post_c": keep}
    ansible.role("remove_registry_tag", remove_registry_tag_age=30, zuul={"pipeline": "post"}, **variables).check()
    assert api.tags("app") == []


def test_the_role_with_a_vendors_api(newest: Ansible) -> None:
    hub = stand_ins.DockerHub()
    try:
        now = time.time()
        hub.image("example/app", "change_1_old", text="old", pushed=now - 3 * DAY)
        keep = hub.image("example/app", "change_2_young", "latest", text="young", pushed=now - 60)
        variables = {
            "remove_registry_tag_repository": f"{hub.name}/example/app",
            "remove_registry_tag_api_url": hub.url,
            "container_registry_credentials": hub.credentials(api_url=None),
        }
        run_ = newest.role("remove_registry_tag", "-vvv", **variables).check()
        assert hub.state("example/app") == {"change_2_young": keep, "latest": keep}
        assert run_.recap["changed"] == 1
        assert newest.role("remove_registry_tag", **variables).check().recap["changed"] == 0
        assert stand_ins.PASSWORD not in run_.output
        hub.check()
    finally:
        hub.close()


def test_tombstones_are_known_as_such() -> None:
    stone = _manifest.tombstone("x", datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))
    assert stone.is_tombstone
    assert stone.annotations["org.opencontainers.image.created"] == "2026-01-02T00:00:00Z"
