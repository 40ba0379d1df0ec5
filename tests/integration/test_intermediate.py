# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The intermediate registry, a real zuul-registry with TLS, and promotion by what the builds API tells."""

from __future__ import annotations

import json
import os
import pathlib
import re
import typing as t

import artifacts
import pytest
import yaml
from ansible_collections.gating.containers.plugins.modules import intermediate_registry_pull, intermediate_registry_push
from registries import Api, Server, ago, make_certificate, start_docker_registry, start_zuul_registry
from zuul_api import ZuulApi, artifact

from playbooks import Ansible, Run

BUILD = "0123456789abcdef0123456789abcdef"
QUERY = "change=1&patchset=2&pipeline=gate&job_name=upload-image"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def intermediate(tmp_path_factory: pytest.TempPathFactory, certificate: t.Any) -> t.Iterator[Server]:
    command = os.environ.get("GATING_TEST_ZUUL_REGISTRY", "zuul-registry")
    server = start_zuul_registry(tmp_path_factory.mktemp("intermediate"), command, certificate)
    yield server
    server.stop()


@pytest.fixture
def buildset(tmp_path_factory: pytest.TempPathFactory, certificate: t.Any) -> t.Iterator[Server]:
    server = start_docker_registry(tmp_path_factory.mktemp("buildset"), host="::1", tls=certificate)
    yield server
    server.stop()


@pytest.fixture
def api() -> t.Iterator[ZuulApi]:
    server = ZuulApi()
    yield server
    server.close()


def given(server: Server, certificate: tuple[pathlib.Path, pathlib.Path]) -> dict[str, t.Any]:
    """A registry as Zuul's jobs give it."""
    return {"host": server.host, "port": server.port, "username": server.username, "password": server.password, "cert": certificate[0].read_text()}


def secure(server: Server, certificate: tuple[pathlib.Path, pathlib.Path]) -> Api:
    return Api(server.name, server.username, server.password, base_url=f"https://{server.name}", verify=str(certificate[0]))


class Token(Api):
    """zuul-registry, which wants tokens."""

    def call(self, method: str, path: str, **options: t.Any) -> t.Any:
        repository = re.split("/(?:manifests|blobs|tags)/", path.partition("/v2/")[2] or path)[0]
        login, self.session.auth = self.session.auth, None
        url = f"{self.base_url}/auth/token?scope=repository:{repository}:pull,push"
        token = self.session.get(url, auth=login, timeout=30, verify=self.verify).json()["token"]
        done = super().call(method, path, **{**options, "headers": {**options.get("headers", {}), "Authorization": f"Bearer {token}"}})
        self.session.auth = login
        return done


def with_token(server: Server, certificate: tuple[pathlib.Path, pathlib.Path]) -> Token:
    return Token(server.name, server.username, server.password, base_url=f"https://{server.name}", verify=str(certificate[0]))


def words(run: Run) -> str:
    return re.sub(r"\s+", " ", run.output)


def test_from_a_buildset_through_the_intermediate_registry_to_another(
    ansible: Ansible, buildset: Server, intermediate: Server, certificate: t.Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = secure(buildset, certificate)
    digests = {path: artifacts.push(source, path, "latest", seed=path) for path in ("quay.io/acme/one", "library/two")}
    artifacts.push(source, "quay.io/acme/one", "1.0", seed="other")
    digests["quay.io/acme/one:1.0"] = str(source.digest("quay.io/acme/one", "1.0"))
    results = ansible.under_zuul()
    variables: dict[str, t.Any] = {
        "zuul": {"build": BUILD},
        "container_images": [{"repository": "quay.io/acme/one", "tags": ["latest", "1.0"]}, {"repository": "docker.io/two"}],
        "buildset_registry": given(buildset, certificate),
        "intermediate_registry": given(intermediate, certificate),
    }
    assert ansible.role("push_to_intermediate_registry", "--check", **variables).check().recap["changed"] == 1
    assert len(json.loads(results.read_text())["data"]["zuul"]["artifacts"]) == 1

    run = ansible.role("push_to_intermediate_registry", "-vvv", **variables).check()
    assert run.recap["changed"] == 1
    middle = with_token(intermediate, certificate)
    expected = [
        ("quay.io/acme/one", "latest", "quay.io/acme/one", digests["quay.io/acme/one"]),
        ("quay.io/acme/one", "1.0", "quay.io/acme/one", digests["quay.io/acme/one:1.0"]),
        ("docker.io/library/two", "latest", "docker.io/library/two", digests["library/two"]),
    ]
    returned = json.loads(results.read_text())["data"]["zuul"]["artifacts"][:-1]
    assert returned == [
        {
            "name": f"{repository}:{tag}",
            "url": f"docker://{intermediate.name}/{path}:{BUILD}_{tag}",
            "metadata": {"type": "container_image", "repository": repository, "tag": tag, "digest": digest, "platforms": sorted(artifacts.PLATFORMS)},
        }
        for repository, tag, path, digest in expected
    ]
    for _repository, tag, path, digest in expected:
        assert middle.digest(path, f"{BUILD}_{tag}") == digest
    assert ansible.role("push_to_intermediate_registry", **variables).check().recap["changed"] == 0

    second = start_docker_registry(tmp_path_factory.mktemp("second"), tls=certificate)
    try:
        older = {**returned[0], "url": f"docker://{intermediate.name}/quay.io/acme/one:{BUILD}_1.0"}
        older = {**older, "metadata": {**older["metadata"], "digest": digests["quay.io/acme/one:1.0"]}}
        other = {"name": "logs", "url": "https://logs.example/1"}
        variables = {
            "zuul": {"build": "f" * 32, "artifacts": [other, older, *returned]},
            "buildset_registry": given(second, certificate),
            "intermediate_registry": given(intermediate, certificate),
        }
        run = ansible.role("pull_from_intermediate_registry", "-vvv", **variables).check()
        assert run.recap["changed"] == 1
        last = secure(second, certificate)
        assert last.state("quay.io/acme/one", "library/two") == {
            "quay.io/acme/one:latest": digests["quay.io/acme/one"],
            "quay.io/acme/one:1.0": digests["quay.io/acme/one:1.0"],
            "library/two:latest": digests["library/two"],
        }
        artifacts.check(last, "quay.io/acme/one", "latest")
        assert ansible.role("pull_from_intermediate_registry", **variables).check().recap["changed"] == 0
        assert ansible.role("pull_from_intermediate_registry", **{**variables, "zuul": {}}).check().recap["changed"] == 0

        # What an artifact tells must be true, or nothing is pulled.
        forged = {**returned[0], "metadata": {**returned[0]["metadata"], "tag": "new", "digest": digests["library/two"]}}
        run = ansible.role("pull_from_intermediate_registry", **{**variables, "zuul": {"artifacts": [returned[1], forged]}})
        assert run.status != 0
        assert f"names {digests['quay.io/acme/one']} instead of {digests['library/two']}, which its build put there" in words(run)
        assert last.tags("quay.io/acme/one") == ["1.0", "latest"]
    finally:
        second.stop()
    assert intermediate.password not in run.output
    assert not list(ansible.tmp.iterdir()), "a certificate was left"


def test_the_modules_examples(newest: Ansible, buildset: Server, intermediate: Server, certificate: t.Any) -> None:
    source = secure(buildset, certificate)
    digest = artifacts.push(source, "quay.io/example/app", "latest")
    new = artifact("quay.io/example/app", "new", f"docker://{intermediate.name}/quay.io/example/app:{BUILD}_latest", digest)
    variables = {
        "zuul": {"build": BUILD, "artifacts": [new]},
        "container_images": [{"repository": "quay.io/example/app"}],
        "buildset_registry": given(buildset, certificate),
        "intermediate_registry": given(intermediate, certificate),
    }
    tasks = [task for module in (intermediate_registry_push, intermediate_registry_pull) for task in yaml.safe_load(module.EXAMPLES)]
    run = newest.play(playbook=[{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], variables=variables).check()
    assert run.recap["changed"] == 2
    assert with_token(intermediate, certificate).digest("quay.io/example/app", f"{BUILD}_latest") == digest
    assert source.digest("quay.io/example/app", "new") == digest


def recorded(api: ZuulApi, intermediate: Server, certificate: t.Any, name: str, change: int, number: int, **keys: t.Any) -> dict[str, str]:
    """A build of the gate with two images of two tags, and what they are."""
    middle = with_token(intermediate, certificate)
    made, digests = [], {}
    for path in ("team/one", "team/two"):
        for tag in ("latest", "1.0"):
            place = f"quay.io/{path}"
            digest = middle.index(place, [f"{number}_{tag}"], text=f"{change} {tag}", labels={"org.zuul-ci.change": str(change)}, created=ago(9))
            made.append(artifact(f"{name}/{path}", tag, f"docker://{intermediate.name}/{place}:{number}_{tag}", digest))
            digests[f"{path}:{tag}"] = digest
    api.add(change, number, made, **keys)
    return digests


def variables_of(registry: Server, intermediate: Server, certificate: t.Any, api: ZuulApi, change: int = 1) -> dict[str, t.Any]:
    return {
        "zuul": {"change": str(change), "patchset": "2", "pipeline": "promote"},
        "container_images": [{"repository": f"{registry.name}/team/{name}", "tags": ["latest", "1.0"]} for name in ("one", "two")],
        "container_registry_credentials": registry.credentials(),
        "promote_container_image_method": "intermediate-registry",
        "promote_container_image_api": api.url,
        "promote_container_image_job": "upload-image",
        "intermediate_registry": given(intermediate, certificate),
    }


def promote(ansible: Ansible, *arguments: str, **variables: t.Any) -> Run:
    return ansible.role("promote_container_image", *arguments, fact="promoted_container_images", **variables)


def test_promotion_from_the_intermediate_registry(ansible: Ansible, registry: Server, intermediate: Server, certificate: t.Any, api: ZuulApi) -> None:
    recorded(api, intermediate, certificate, registry.name, 1, 1, patchset="1")
    expected = recorded(api, intermediate, certificate, registry.name, 1, 3)
    api.add(1, 4, result="FAILURE")
    api.add(1, 5, result=None, end_time=None)
    old = registry.api.index("team/one", ["latest"], text="old")
    variables = variables_of(registry, intermediate, certificate, api)

    run = promote(ansible, "--check", "--diff", **variables).check()
    assert run.recap["changed"] == 1
    assert registry.api.state("team/one", "team/two") == {"team/one:latest": old}
    for digest in (old, *expected.values()):
        assert f'": "{digest}"' in run.output, "not in the diff"

    run = promote(ansible, "-vvv", **variables).check()
    assert registry.api.state("team/one", "team/two") == expected
    for path in ("team/one", "team/two"):
        artifacts.check(registry.api, path, "latest")
    assert [(item["tag"], item["changed"], item["previous_digest"]) for item in run.result] == [
        ("latest", True, old),
        ("1.0", True, None),
        ("latest", True, None),
        ("1.0", True, None),
    ]
    assert api.queries == [QUERY] * 2
    assert intermediate.password not in run.output
    assert not list(ansible.tmp.iterdir()), "a certificate was left"
    assert promote(ansible, **variables).check().recap["changed"] == 0


def test_nothing_is_copied_before_everything_was_found(newest: Ansible, registry: Server, intermediate: Server, certificate: t.Any, api: ZuulApi) -> None:
    old = registry.api.index("team/one", ["latest"], text="old")
    variables = variables_of(registry, intermediate, certificate, api)

    def refused(*expected: str, **more: t.Any) -> None:
        run = promote(newest, **{**variables, **more})
        assert run.status != 0
        for text in expected:
            assert text in words(run)
        assert registry.api.state("team/one", "team/two") == {"team/one:latest": old}
        assert registry.password not in run.output

    refused(f"GET {api.url}/builds?{QUERY}: found no successful build, but no build at all")
    api.add(1, 1, result="FAILURE")
    api.add(1, 2, result=None)
    refused(QUERY, f"found no successful build, but {2:032x} running, {1:032x} FAILURE")

    digests = recorded(api, intermediate, certificate, registry.name, 1, 3)
    made = api.builds[-1]["artifacts"]
    last = made.pop()
    refused(f"the build {3:032x} returned no {registry.name}/team/two:1.0; it has {registry.name}/team/one:latest, {registry.name}/team/one:1.0,", QUERY)
    made.append({**last, "url": f"docker://{intermediate.name}/quay.io/team/two:gone"})
    refused(f"{registry.name}/team/two:1.0: there is no {intermediate.name}/quay.io/team/two:gone, where its build put it")
    made[-1] = {**last, "url": "https://quay.io/a b"}
    refused("has a URL that is no image")
    made[-1] = {**last, "metadata": {**last["metadata"], "digest": "sha256:1"}}
    refused("has a malformed digest 'sha256:1'")
    made[-1] = {**last, "metadata": {**last["metadata"], "digest": digests["team/one:latest"]}}
    refused(f"names {digests['team/two:1.0']} instead of {digests['team/one:latest']}, which its build put there: find out who pushed it")
    made.append(last)
    refused(f"returned {registry.name}/team/two:1.0 twice, as")
    made[-2:] = [last]

    refused('answered 404, {"description": "Unknown tenant"', promote_container_image_api=f"{api.url}x")
    refused("promote_container_image_api is to be a URL such as", promote_container_image_api="zuul.example.org")
    refused("finds the images by Zuul's API: set promote_container_image_api", promote_container_image_api="")
    refused("promote_container_image_job is not known: set it, or promote_container_image_query", promote_container_image_job="")
    refused("zuul.change and zuul.patchset is not known", zuul={"pipeline": "tag"})
    refused("certificate is not trusted", intermediate_registry={**variables["intermediate_registry"], "cert": ""})

    # With a query of one's own nothing else need be known. What the roles of zuul-jobs return has no digest.
    for one in made:
        del one["metadata"]["digest"]
    promote(newest, **{**variables, "zuul": {}, "promote_container_image_query": "change=1&job_name=upload-image"}).check()
    assert registry.api.state("team/one", "team/two") == digests
    assert api.queries[-1] == "change=1&job_name=upload-image"


@pytest.mark.parametrize("method", ["tag", "intermediate-registry"])
def test_a_change_that_merged_later_is_not_taken_back(
    ansible: Ansible, registry: Server, intermediate: Server, certificate: t.Any, api: ZuulApi, method: str
) -> None:
    expected = {change: recorded(api, intermediate, certificate, registry.name, change, change) for change in (1, 2)}
    if method == "tag":
        for change in (1, 2):
            for path, tag in ((path, tag) for path in ("team/one", "team/two") for tag in ("latest", "1.0")):
                labels = {"org.zuul-ci.change": str(change)}
                digest = registry.api.index(path, [f"change_{change}_{tag}"], text=f"{change} {tag}", labels=labels, created=ago(9))
                expected[change][f"{path}:{tag}"] = digest
            for one in api.builds[change - 1]["artifacts"]:
                name = one["name"].removeprefix(f"{registry.name}/")
                one["metadata"]["digest"] = expected[change][name]
    variables = [{**variables_of(registry, intermediate, certificate, api, change), "promote_container_image_method": method} for change in (1, 2)]
    # Of the second change only one image is promoted.
    variables[1]["container_images"] = variables[1]["container_images"][:1]

    promote(ansible, **variables[1]).check()
    run = promote(ansible, **variables[0]).check()
    now = {"team/one:latest": expected[2]["team/one:latest"], "team/one:1.0": expected[2]["team/one:1.0"]}
    now.update({name: digest for name, digest in expected[1].items() if name.startswith("team/two")})
    state = registry.api.state("team/one", "team/two")
    assert {name: digest for name, digest in state.items() if ":change_2_" not in name} == now
    assert [(item["digest"], item["changed"]) for item in run.result] == [
        (now["team/one:latest"], False),
        (now["team/one:1.0"], False),
        (now["team/two:latest"], True),
        (now["team/two:1.0"], True),
    ]
    assert f"{registry.name}/team/one:latest stays {now['team/one:latest']}, which is of change 2: it went through the gate after this one" in words(run)
    assert api.queries[-1] == "change=2&pipeline=gate&job_name=upload-image&project=team%2Fapp"
    run = promote(ansible, **variables[0]).check()
    assert run.recap["changed"] == 0

    # In the right order the second change wins as ever.
    promote(ansible, **{**variables[1], "container_images": variables[0]["container_images"]}).check()
    state = registry.api.state("team/one", "team/two")
    assert state == expected[2]


def test_what_the_gate_did_not_record_is_not_promoted_by_tag(ansible: Ansible, registry: Server, api: ZuulApi) -> None:
    labels = {"org.zuul-ci.change": "1"}
    name = f"{registry.name}/team/one"
    digests = {tag: registry.api.index("team/one", [f"change_1_{tag}"], text=tag, labels=labels, created=ago(9)) for tag in ("latest", "1.0")}
    api.add(1, 1, [artifact(name, tag, f"docker://{name}:change_1_{tag}", digest) for tag, digest in digests.items()])
    variables = {
        "zuul": {"change": "1", "patchset": "2", "pipeline": "promote"},
        "container_images": [{"repository": name, "tags": ["latest", "1.0"]}],
        "container_registry_credentials": registry.credentials(),
        "promote_container_image_api": api.url,
        "promote_container_image_job": "upload-image",
    }
    other = registry.api.index("team/one", ["change_1_1.0"], text="pushed by somebody", labels=labels, created=ago(5))
    before = registry.api.state("team/one")
    run = promote(ansible, **variables)
    assert run.status != 0
    assert f"{name}:change_1_1.0 names {other} instead of the expected {digests['1.0']}: nothing was moved" in words(run)
    assert registry.api.state("team/one") == before

    registry.api.index("team/one", ["change_1_1.0"], text="1.0", labels=labels, created=ago(9))
    api.builds[-1]["artifacts"][1]["metadata"]["digest"] = str(registry.api.digest("team/one", "change_1_1.0"))
    # The job pushed it to the intermediate registry too, where it came out as another.
    api.builds[-1]["artifacts"].insert(0, artifact(name, "1.0", f"docker://registry.example:5000/{name.replace(':', '-')}:b_1.0", other))
    now = {f"team/one:{tag}": registry.api.digest("team/one", f"change_1_{tag}") for tag in ("latest", "1.0")}
    promote(ansible, **variables).check()
    assert registry.api.state("team/one") == now
    assert promote(ansible, **variables).check().recap["changed"] == 0

    # The label alone does not count: somebody else's image with this change's label.
    registry.api.index("team/one", ["1.0"], text="pushed by somebody", labels=labels, created=ago(5))
    run = promote(ansible, **variables)
    assert run.status != 0
    assert "'1.0' is not what the gate recorded, so it was not promoted before either" in words(run)
