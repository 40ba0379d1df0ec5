# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirroring by the role and the playbook."""

from __future__ import annotations

import re
import typing as t

from artifacts import check, push, refer, referrers
from proxy import Answer, Proxy
from registries import Server

from playbooks import Ansible


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
