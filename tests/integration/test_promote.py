# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role promote_container_image on a real registry with a password."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import random
import re
import time
import typing as t

import pytest
from proxy import Answer, Proxy
from registries import Server, ago, start_docker_registry

from playbooks import Ansible, Run, play_of

DAY = 86400
ZUUL = {"change": "1", "change_url": "https://review.example/1", "pipeline": "promote", "project": {"src_dir": "src/project"}}
Images = list[dict[str, t.Any]]


def upload(server: Server, name: str, images: Images, change: str = "1", prefix: str = "change_1_") -> dict[str, str]:
    """Store an index of two platforms for each image under its temporary tags; what the final tags are to name."""
    expected = {}
    for number, image in enumerate(images):
        path = image["repository"].removeprefix(f"{name}/")
        labels = {"org.zuul-ci.change": change} if change else {}
        digest = server.api.index(path, [prefix + tag for tag in image["tags"]], text=f"new {number}", labels=labels, created=ago(60))
        expected.update({f"{path}:{tag}": digest for tag in image["tags"]})
    return expected


def images_of(name: str, count: int, tags: t.Sequence[str] = ("latest", "1.0")) -> Images:
    return [{"context": ".", "repository": f"{name}/team/app{number}", "tags": list(tags)} for number in range(count)]


def promote(ansible: Ansible, images: Images, credentials: t.Any, *arguments: str, **variables: t.Any) -> Run:
    variables = {"zuul": ZUUL, "container_images": images, "container_registry_credentials": credentials, **variables}
    return ansible.role("promote_container_image", *arguments, fact="promoted_container_images", **variables)


def test_ten_images_with_two_tags(ansible: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    images = images_of(proxy.name, 10)
    api = registry.api
    old = {}
    for number in range(5):
        # Half of the tags name something already.
        old[f"team/app{number}:latest"] = api.index(f"team/app{number}", ["latest"], text=f"old {number}", created=ago(9 * DAY))
    expected = upload(registry, proxy.name, images)
    api.index("team/app0", ["change_1_forgotten"], text="leaked", created=ago(2 * DAY))
    living = api.index("team/app1", ["change_77_latest", "stable"], text="shared", created=ago(2 * DAY))
    fresh = api.index("team/app2", ["change_778_latest"], text="fresh", created=ago(600))
    unknown = api.index("team/app3", ["change_779_latest"], text="reproducible", created="1970-01-01T00:00:00Z")
    expected.update({"team/app1:stable": living, "team/app2:change_778_latest": fresh, "team/app3:change_779_latest": unknown})

    run = promote(ansible, images, registry.credentials(proxy.name)).check()

    repositories = [f"team/app{number}" for number in range(10)]
    assert api.state(*repositories) == expected
    assert run.recap["changed"] == 1
    assert [(item["tag"], item["changed"]) for item in run.result] == [("latest", True), ("1.0", True)] * 10
    for item in run.result:
        path = item["repository"].removeprefix(f"{proxy.name}/")
        assert item["digest"] == expected[f"{path}:{item['tag']}"]
        assert item["previous_digest"] == old.get(f"{path}:{item['tag']}")
        assert set(item) == {"repository", "tag", "digest", "previous_digest", "changed"}
    # 1 ping, 60 to find out, 40 to move and check; the rest is cleaning up. It must not creep up.
    assert len(proxy.requests) <= 250, len(proxy.requests)

    before = len(proxy.writes())
    run = promote(ansible, images, registry.credentials(proxy.name)).check()
    assert run.recap["changed"] == 0
    assert len(proxy.writes()) == before
    assert api.state(*repositories) == expected
    assert not any(item["changed"] for item in run.result)


def test_a_missing_image_moves_nothing(ansible: Ansible, registry: Server) -> None:
    images = images_of(registry.name, 4)
    upload(registry, registry.name, images[:2] + images[3:])
    registry.api.index("team/app2", ["change_1_latest", "1.0"], text="half", created=ago(60))
    before = registry.api.state(*(f"team/app{number}" for number in range(4)))

    run = promote(ansible, images, registry.credentials())

    assert run.status != 0
    assert f"{registry.name}/team/app2:change_1_1.0: there is no such image at {registry.name}, nothing was moved" in run.output
    assert registry.api.state(*(f"team/app{number}" for number in range(4))) == before


def test_a_refused_put_moves_nothing(ansible: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    def refuse(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and path == "/v2/team/app3/manifests/1.0":
            return Answer(403, b'{"errors":[{"code":"DENIED","message":"app3 is frozen"}]}', {"Content-Type": "application/json"})
        return None

    proxy = proxy_to(registry, refuse)
    images = images_of(proxy.name, 5)
    upload(registry, proxy.name, images)
    for number in (0, 1, 3):
        registry.api.index(f"team/app{number}", ["latest"], text=f"old {number}", created=ago(60))
    repositories = [f"team/app{number}" for number in range(5)]
    before = registry.api.state(*repositories)

    run = promote(ansible, images, registry.credentials(proxy.name))

    assert run.status != 0
    text = re.sub(r"\s+", " ", run.output)
    assert f"PUT manifest of {proxy.name}/team/app3:1.0: {proxy.name} answered 403 DENIED" in text
    assert "app3 is frozen" in text
    assert "no tag was moved, every one names what it named before" in text
    assert registry.api.state(*repositories) == before
    assert any(request.method == "PUT" and request.path.endswith("/manifests/latest") for request in proxy.writes()), "nothing was put back"


@pytest.mark.parametrize(
    ("zuul", "prefix"),
    [(None, "staged_"), ({}, "staged_"), ({"pipeline": "post"}, "post_"), ({"change": 12, "pipeline": "gate"}, "change_12_")],
    ids=["undefined", "empty", "no change", "change is a number"],
)
def test_zuul_may_lack_anything(newest: Ansible, registry: Server, zuul: t.Any, prefix: str) -> None:
    images = images_of(registry.name, 1)
    expected = upload(registry, registry.name, images, prefix=prefix)
    variables: dict[str, t.Any] = {"container_images": images, "container_registry_credentials": registry.credentials()}
    if zuul is not None:
        variables["zuul"] = zuul
    newest.role("promote_container_image", **variables).check()
    assert registry.api.state("team/app0") == expected


def test_ipv6_and_long_paths(ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = start_docker_registry(tmp_path_factory.mktemp("registry"), host="::1")
    try:
        images = [{"repository": f"{server.name}/a/b-c/d__e/f.g/{'h' * 60}", "tags": ["latest", "v1.0_rc-1"]}]
        expected = upload(server, server.name, images)
        run = promote(ansible, images, server.credentials()).check()
        assert server.api.state(f"a/b-c/d__e/f.g/{'h' * 60}") == expected
        assert run.recap["changed"] == 1
        assert promote(ansible, images, server.credentials()).check().recap["changed"] == 0
    finally:
        server.stop()


def test_check_mode_and_diff(newest: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    images = images_of(proxy.name, 1)
    expected = upload(registry, proxy.name, images)
    before = registry.api.state("team/app0")
    run = promote(newest, images, registry.credentials(proxy.name), "--check", "--diff").check()
    assert run.recap["changed"] == 1
    assert f'+    "{proxy.name}/team/app0:latest": "{expected["team/app0:latest"]}"' in run.output
    assert f'+    "{proxy.name}/team/app0:change_1_latest": null' in run.output
    assert registry.api.state("team/app0") == before
    assert not proxy.writes()


def test_bad_input_is_refused_before_the_first_request(newest: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    good = images_of(proxy.name, 1)
    credentials = registry.credentials(proxy.name)
    cases: list[tuple[t.Any, t.Any, str]] = [
        (good + good, credentials, "the tag 'latest' is claimed by two images"),
        ([{**good[0], "tags": ["x" * 120]}], credentials, "a registry allows 128"),
        ([{**good[0], "tag": "latest"}], credentials, "is it 'tags'?"),
        ([{**good[0], "repository": f"{proxy.name}/UPPER"}], credentials, "malformed repository"),
        (good, registry.credentials("quay.io"), f"has no entry for {proxy.name}"),
        (good, registry.credentials(proxy.name, repository=r"/other/"), "permit only repositories that match"),
    ]
    for images, logins, message in cases:
        run = promote(newest, images, logins)
        assert run.status != 0
        assert message in re.sub(r"\s+", " ", run.output), run.output
        assert registry.password not in run.output
    assert not proxy.requests


def test_without_entries_the_login_of_the_container_tools_is_used(newest: Ansible, registry: Server) -> None:
    images = images_of(registry.name, 1)
    expected = upload(registry, registry.name, images)
    secret = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    (newest.home / ".docker").mkdir()
    (newest.home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": secret}}}))
    promote(newest, images, {}).check()
    assert registry.api.state("team/app0") == expected


def test_wrong_password(newest: Ansible, registry: Server) -> None:
    images = images_of(registry.name, 1)
    upload(registry, registry.name, images)
    run = promote(newest, images, {registry.name: {"username": "publisher", "password": "wr0ng-secret"}})
    assert run.status != 0
    assert "answered 401" in run.output
    assert "check username and password" in re.sub(r"\s+", " ", run.output)
    assert "wr0ng-secret" not in run.output


def test_killed_at_any_moment_it_can_be_run_again(newest: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    generator = random.Random(20261121)
    last = 0
    for attempt in range(9):
        proxy = proxy_to(registry)
        images = [{"repository": f"{proxy.name}/attempt{attempt}/app{number}", "tags": ["latest", "1.0"]} for number in range(3)]
        repositories = [f"attempt{attempt}/app{number}" for number in range(3)]
        old = {f"{repositories[0]}:latest": registry.api.index(repositories[0], ["latest"], text="old", created=ago(60))}
        expected = upload(registry, proxy.name, images)
        # The first attempt is let through, and tells how many requests there are.
        moment = generator.randrange(2, last) if last else 0
        variables = {"zuul": ZUUL, "container_images": images, "container_registry_credentials": registry.credentials(proxy.name)}
        came = newest.killed(proxy, moment, playbook=play_of("promote_container_image"), variables=variables)
        assert came >= moment
        last = last or came
        state = registry.api.state(*repositories)
        for name, digest in expected.items():
            assert state.get(name) in (old.get(name), digest), f"after {moment} requests {name} names {state[name]}"

        promote(newest, images, registry.credentials(proxy.name)).check()
        assert registry.api.state(*repositories) == expected, f"killed after {moment} requests"


def test_the_password_is_nowhere(ansible: Ansible, registry: Server) -> None:
    images = images_of(registry.name, 2)
    upload(registry, registry.name, images)
    variables = {
        "zuul": ZUUL,
        "container_images": images,
        "container_registry_credentials": "{{ {'"
        + registry.name
        + "': {'username': 'publisher', 'password': lookup('ansible.builtin.env', 'REGISTRY_PASSWORD')}} }}",
    }
    ansible.environment["REGISTRY_PASSWORD"] = registry.password
    process = ansible.start("-vvvv", playbook=play_of("promote_container_image"), variables=variables)
    argvs = set()
    while process.poll() is None:
        argvs |= argv_of_group(process.pid)
        time.sleep(0.01)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert argvs
    assert not [argv for argv in argvs if registry.password in argv]
    assert registry.password not in output
    for path in ansible.directory.rglob("*"):
        assert not path.is_file() or registry.password.encode() not in path.read_bytes(), path


def argv_of_group(group: int) -> set[str]:
    """The command lines of the processes of a session."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == group:
                found.add((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_cleanup_can_be_left_out_and_its_age_chosen(newest: Ansible, registry: Server) -> None:
    images = images_of(registry.name, 1, ["latest"])
    expected = upload(registry, registry.name, images)
    registry.api.index("team/app0", ["change_5_latest"], text="leaked", created=ago(600))
    promote(newest, images, registry.credentials(), promote_container_image_cleanup=False).check()
    assert registry.api.tags("team/app0") == ["change_1_latest", "change_5_latest", "latest"]
    promote(newest, images, registry.credentials(), promote_container_image_cleanup_age=300).check()
    assert registry.api.state("team/app0") == expected


@pytest.mark.parametrize("broken", ["/v2/team/app0/manifests/change_7_x", "/v2/team/app0/tags/list"])
def test_a_leaked_tag_that_cannot_be_looked_at_is_a_warning(newest: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy], broken: str) -> None:
    proxy = proxy_to(registry, lambda method, path, body: Answer(403) if method == "GET" and path.startswith(broken) else None)
    images = images_of(proxy.name, 2)
    expected = upload(registry, proxy.name, images)
    leaked = registry.api.index("team/app0", ["change_7_x"], text="leaked", created=ago(9 * DAY))
    run = promote(newest, images, registry.credentials(proxy.name)).check()
    assert registry.api.state("team/app0", "team/app1") == {**expected, "team/app0:change_7_x": leaked}
    assert "forgotten temporary tags of" in run.output


def test_what_is_pushed_under_the_temporary_tag_meanwhile_stays(newest: Ansible, registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    pushed: list[str] = []

    def rule(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and path.endswith("/app0/manifests/latest") and not pushed:
            pushed.append(registry.api.index("team/app0", ["change_1_latest"], text="pushed later", created=ago(10)))
        return None

    proxy = proxy_to(registry, rule)
    images = images_of(proxy.name, 1)
    expected = upload(registry, proxy.name, images)
    run = promote(newest, images, registry.credentials(proxy.name)).check()
    assert registry.api.state("team/app0") == {**expected, "team/app0:change_1_latest": pushed[0]}
    assert "change_1_latest stays: another image was pushed after this one was promoted" in re.sub(r"\s+", " ", run.output)


def test_other_prefixes_are_left_alone(newest: Ansible, registry: Server) -> None:
    zuul = {"pipeline": "release"}
    images = images_of(registry.name, 1)
    expected = upload(registry, registry.name, images, prefix="release_")
    published = registry.api.index("team/app0", ["release_2023"], text="published", created=ago(900 * DAY))
    promote(newest, images, registry.credentials(), zuul=zuul).check()
    assert registry.api.state("team/app0") == {**expected, "team/app0:release_2023": published}


def test_where_nothing_can_be_deleted_it_is_promoted_and_says_so(newest: Ansible, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = start_docker_registry(tmp_path_factory.mktemp("registry"), deletes=False)
    try:
        images = images_of(server.name, 1)
        expected = upload(server, server.name, images)
        before = server.api.state("team/app0")
        run = promote(newest, images, server.credentials())
        assert run.status != 0
        text = re.sub(r"\s+", " ", run.output)
        assert "deletes neither tags nor manifests" in text
        assert "all final tags were promoted" in text
        assert server.api.state("team/app0") == {**before, **expected}
        run = promote(newest, images, server.credentials(), promote_container_image_cleanup=False).check()
        assert run.recap["changed"] == 0
    finally:
        server.stop()
