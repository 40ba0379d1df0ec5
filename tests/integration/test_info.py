# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking into real registries, and the module as users call it."""

from __future__ import annotations

import typing as t

import pytest
from proxy import Proxy
from registries import PROGRAMS, Server, ago, push_to_zuul_registry, start_any

from playbooks import ROOT, Ansible

DAY = 86400


@pytest.fixture(params=list(PROGRAMS))
def any_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    server = start_any(request.param, tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


def test_a_repository(newest: Ansible, any_registry: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    api = any_registry.api
    digest = api.index("app", ["1.10", "latest"], text="new", created=ago(60), labels={"org.zuul-ci.change": "7"})
    old = api.image("app", "1.9", text="old", created=ago(9 * DAY))["digest"]
    proxy = proxy_to(any_registry)
    credentials = any_registry.credentials(proxy.name)
    images = [{"repository": f"{proxy.name}/app"}, {"repository": f"{proxy.name}/nothing"}]
    result = newest.task("registry_info", images=images, sort="tag", credentials=credentials).check().result
    assert [(item["tag"], item["digest"]) for item in result["images"]] == [("1.9", old), ("1.10", digest), ("latest", digest)]
    index = result["images"][1]
    assert index["platforms"] == ["linux/amd64", "linux/arm64"]
    assert index["labels"] == {"org.zuul-ci.change": "7"}
    assert index["media_type"] == "application/vnd.oci.image.index.v1+json"
    assert index["created"] == ago(60)[:19] + "Z" or index["created"] > ago(600)
    assert index["size"] > result["images"][0]["size"] > 0
    # One more by https, which it does not speak.
    assert (result["changed"], result["requests"]) == (False, len(proxy.requests) + 1)
    assert not proxy.writes()


def test_filters_and_query(ansible: Ansible, registry: Server) -> None:
    for tag, age in (("nightly-1", 9 * DAY), ("nightly-2", 60), ("1.0", 60)):
        registry.api.image("app", tag, text=tag, created=ago(age))
    images = [{"repository": f"{registry.name}/app", "regex": "^nightly-", "newer_than": DAY}]
    options = {"credentials": registry.credentials(), "query": "images[].tag"}
    for arguments in ((), ("--check", "--diff")):
        run = ansible.task("registry_info", *arguments, images=images, **options).check()
        assert run.result["result"] == ["nightly-2"]
        assert run.result["msg"].startswith("found 1 tag, ")
    run = ansible.task("registry_info", images=images, credentials=registry.credentials(), query="images[")
    assert "query is no JMESPath expression" in run.result["msg"]
    run = ansible.task("registry_info", images=[{"repository": f"{registry.name}/app"}], credentials=registry.credentials(password="wrong-and-secret"))
    assert "answered 401" in run.result["msg"]
    assert "wrong-and-secret" not in run.output


def test_zuul_registry(newest: Ansible, zuul_registry: Server) -> None:
    digest = push_to_zuul_registry(zuul_registry, "app", ["a", "b"])
    images = [{"repository": f"{zuul_registry.name}/app"}]
    result = newest.task("registry_info", images=images, sort="tag", credentials=zuul_registry.credentials()).check().result
    assert [(item["tag"], item["digest"], item["platforms"]) for item in result["images"]] == [("a", digest, ["linux/amd64"]), ("b", digest, ["linux/amd64"])]


@pytest.mark.parametrize("module", ["registry_info", "registry_untag"])
def test_as_a_module_on_a_host(newest: Ansible, registry: Server, module: str) -> None:
    """All that it imports gets to the host."""
    registry.api.index("app", ["a"])
    newest.environment["ANSIBLE_CONNECTION_PLUGINS"] = str(ROOT / "tests/lib/connection")
    arguments = ["-e", "ansible_connection=elsewhere", "-e", f"ansible_python_interpreter={newest.venv}/bin/python", "-vvv"]
    images = [{"repository": f"{registry.name}/app", "tags": ["a"]}]
    run = newest.task(module, *arguments, images=images, credentials=registry.credentials()).check()
    assert [item["tag"] for item in run.result["images"]] == ["a"]
    assert registry.password not in run.output
    assert " EXEC " in run.output
