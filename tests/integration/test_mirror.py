# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirroring by the role and the playbook."""

from __future__ import annotations

import os
import re
import time
import typing as t

import pytest
from artifacts import check, push, refer, referrers
from proxy import Answer, Proxy
from registries import Server

from playbooks import ROOT, Ansible, play_of


def test_the_role(ansible: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    digests = {tag: push(registry.api, "app", tag, layers=2) for tag in ("1.0", "1.1", "2.0")}
    tools = push(registry.api, "tools", "latest", layers=1)
    sbom = refer(registry.api, "tools", tools, "an SBOM", True)
    given: dict[str, t.Any] = {
        "container_registry_credentials": {**registry.credentials(proxy.name), **other.credentials()},
        "mirror_container_images_images": [
            {"src_repository": f"{proxy.name}/app", "src_tags": r"^1\.", "dest_repository": f"{other.name}/mirror/app", "dest_registry": other.name},
            {
                "src_repository": f"{proxy.name}/tools",
                "destinations": [{"repository": f"{other.name}/mirror/tools"}, {"repository": f"{other.name}/archive/tools", "tag": "2026"}],
            },
        ],
    }
    assert ansible.role("mirror_container_images", "--check", **given).check().recap["changed"] == 1
    assert other.api.tags("mirror/app") == []
    assert ansible.role("mirror_container_images", **given).check().recap["changed"] == 1
    assert other.api.state("mirror/app") == {f"mirror/app:{tag}": digests[tag] for tag in ("1.0", "1.1")}
    assert other.api.digest("mirror/tools", "latest") == other.api.digest("archive/tools", "2026") == tools
    for name, tag in (("mirror/app", "1.1"), ("mirror/tools", "latest"), ("archive/tools", "2026")):
        check(other.api, name, tag)
    assert referrers(other.api, "mirror/tools", tools) == referrers(other.api, "archive/tools", tools) == {sbom}

    proxy.requests.clear()
    assert ansible.role("mirror_container_images", **given).check().recap["changed"] == 0
    pulls = [request for request in proxy.requests if request.method == "GET" and "/manifests/" in request.path and "/sha256-" not in request.path]
    assert pulls == [], "what is unchanged costs no pull"


def test_tags_that_cannot_be_listed_stop_no_other_image(newest: Ansible, registry: Server, other: Server) -> None:
    digest = push(registry.api, "app", "latest", layers=1)
    closed = "127.0.0.1:1"
    credentials = {**registry.credentials(), **other.credentials(), closed: {"scheme": "http"}}
    images = [
        {"src_repository": f"{closed}/gone", "src_tags": ".", "dest_repository": f"{other.name}/gone"},
        {"src_repository": f"{registry.name}/app", "src_tags": "^9", "dest_repository": f"{other.name}/nine"},
        {"src_repository": f"{registry.name}/app", "dest_repository": f"{other.name}/app"},
    ]
    run = newest.task("container_image_mirror", images=images, credentials=credentials, retries=0)
    assert run.result["failed"]
    assert run.result["msg"].startswith(f"copy of {closed}/gone to {other.name}/gone: GET http://{closed}/v2/: no answer in 1 tries, connection refused")
    assert run.result["msg"].endswith(" - and 1 more destination failed")
    assert other.api.digest("app", "latest") == digest


def test_a_repository_that_is_not_permitted(newest: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(other)
    push(registry.api, "app", "latest", layers=1)
    given = {
        "container_registry_credentials": {**registry.credentials(), **other.credentials(proxy.name, repository="/mirror/")},
        "mirror_container_images_images": [{"src_repository": f"{registry.name}/app", "dest_repository": f"{proxy.name}/app"}],
    }
    run = newest.play(playbook="gating.containers.mirror", variables=given)
    assert run.status != 0
    assert f"{proxy.name}/app: the credentials for {proxy.name} permit only repositories that match '/mirror/'" in re.sub(r"\s+", " ", run.output)
    assert not proxy.requests


def test_when_no_pulls_are_left_none_is_tried(newest: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    for number in range(3):
        push(registry.api, f"app{number}", "latest", layers=1)
    left = [2]

    def limit(method: str, path: str, body: bytes) -> Answer | None:
        if "/manifests/" not in path:
            return None
        if method == "GET":
            left[0] -= 1
        answer = registry.api.call(method, path.partition("/v2/")[2])
        headers = {name: answer.headers[name] for name in ("Content-Type", "Docker-Content-Digest", "Content-Length")}
        return Answer(answer.status_code, answer.content, {**headers, "ratelimit-remaining": f"{max(left[0], 0)};w=21600"})

    proxy = proxy_to(registry, limit)
    given = {
        "container_registry_credentials": {**registry.credentials(proxy.name), **other.credentials()},
        "mirror_container_images_images": [
            {"src_repository": f"{proxy.name}/app{number}", "dest_repository": f"{other.name}/app{number}"} for number in range(3)
        ],
    }
    run = newest.role("mirror_container_images", **given)
    assert run.status != 0
    text = re.sub(r"\s+", " ", run.output)
    assert f"{proxy.name} permits no further pull for now (its limit is for 6 hours): try later, or give a login that may pull more" in text
    # Those that were under way at the same time cannot know of each other.
    assert left[0] >= -8


@pytest.mark.parametrize("zuul", [False, True], ids=["terminal", "zuul"])
def test_progress_is_told_while_it_runs(ansible: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], zuul: bool) -> None:
    begun = time.monotonic()

    def slow(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and "/blobs/" in path:
            time.sleep(0.5)
        return None

    proxy = proxy_to(other, slow)
    for number in range(12):
        push(registry.api, f"app{number}", "latest", layers=3, size=50_000)
    log = ansible.directory / "job-output.txt"
    if zuul:
        log.touch()
        ansible.environment.update(ZUUL_JOB_LOG_CONFIG=str(log), ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests/lib/zuul"), ANSIBLE_CALLBACKS_ENABLED="zuul_log")
    given = {
        "container_registry_credentials": {**registry.credentials(), **other.credentials(proxy.name)},
        "mirror_container_images_images": [
            {"src_repository": f"{registry.name}/app{number}", "dest_repository": f"{proxy.name}/app{number}"} for number in range(12)
        ],
    }
    process = ansible.start(playbook=play_of("mirror_container_images"), variables=given)
    lines: list[tuple[float, str]] = []
    assert process.stdout
    if zuul:
        process.communicate(timeout=120)
        lines = [(0, line) for line in log.read_text().splitlines()]
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \| localhost \| ", line) for dummy, line in lines)
    else:
        while part := os.read(process.stdout.fileno(), 65536):
            lines += [(time.monotonic() - begun, line) for line in part.decode().splitlines()]
        process.wait(60)
    assert process.returncode == 0, lines
    told = [(moment, line) for moment, line in lines if re.search(r"localhost \| \d+ of 12 images, .* of .*, .*/s", line)]
    done = [line for dummy, line in lines if re.search(r"localhost \| .*/app\d+:latest to .*: copied, .* sent", line)]
    assert len(done) == 12
    assert told
    if not zuul:
        recap = next(moment for moment, line in lines if "PLAY RECAP" in line)
        assert recap - told[0][0] > 0.5, "it was told only in the end"
        assert all(second[0] - first[0] > 1.5 for first, second in zip(told, told[1:]))
