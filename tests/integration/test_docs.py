# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the README and the documentation say, done as they say it."""

from __future__ import annotations

import ast
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible_collections.gating.containers.plugins.module_utils._credentials import TYPES, Credentials
from ansible_collections.gating.containers.plugins.module_utils._images import Image
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._upload import Upload, artifacts
from artifacts import push, refer, referrers
from registries import Server, ago

from playbooks import ROOT, Ansible, play_of

README = (ROOT / "README.md").read_text()
BUILDING = (ROOT / "docs/building.md").read_text()


def block(name: str, registry: Server, text: str = README) -> str:
    """The code block of a page that is marked for a test, with the registry at hand in the place of Quay."""
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, name
    return at(registry, found[1])


def at(registry: Server, text: str) -> str:
    return text.replace("quay.io", registry.name).replace(r"quay\.io", re.escape(registry.name)).replace("example+publisher", registry.username)


@pytest.fixture
def operator(ansible: Ansible, registry: Server, podman: dict[str, str]) -> Ansible:
    """An operator, who is in the directory that the README speaks of."""
    ansible.environment.update({**podman, "QUAY_PASSWORD": registry.password})
    for name in ("app", "tools"):
        (ansible.directory / name).mkdir()
        shutil.copy("/bin/busybox", ansible.directory / name / "busybox")
        (ansible.directory / name / "Containerfile").write_text(f"FROM scratch\nCOPY busybox /bin/\nARG MOTTO\nENV NAME={name}\n")
    (ansible.directory / "vars.yml").write_text(block("variables", registry))
    return ansible


FINAL = ["example/app:1.4", "example/app:latest", "example/tools:latest"]


def test_the_readmes_commands(operator: Ansible, registry: Server) -> None:
    commands = [line[2:] for line in block("commands", registry).splitlines()]
    assert len(commands) == 3
    for number, command in enumerate(commands):
        done = subprocess.run(command.split(), cwd=operator.directory, env=operator.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if number == 1:
            assert {"example/app:staged_latest", "example/app:staged_1.4"} < set(registry.api.state("example/app", "example/tools"))
    assert sorted(registry.api.state("example/app", "example/tools")) == FINAL


def test_the_readmes_mirror(operator: Ansible, registry: Server) -> None:
    digests = {name: registry.api.index(f"example/{name}", tags) for name, tags in (("app", ["1.4", "1.5", "2.0"]), ("tools", ["latest"]))}
    given = {**yaml.safe_load(block("mirror", registry)), "container_registry_credentials": registry.credentials()}
    operator.play(playbook="gating.containers.mirror", variables=given).check()
    assert registry.api.state("mirror/app", "mirror/tools", "archive/tools") == {
        "mirror/app:1.4": digests["app"],
        "mirror/app:1.5": digests["app"],
        "mirror/tools:latest": digests["tools"],
        "archive/tools:2026": digests["tools"],
    }


def test_the_page_on_mirroring(newest: Ansible, registry: Server) -> None:
    app = push(registry.api, "example/app", "1.4", layers=1)
    tools = registry.api.index("example/tools", ["v1", "v2", "v2-rc"])
    text = (ROOT / "docs/mirroring.md").read_text()
    given = {**yaml.safe_load(block("mirroring", registry, text)), "container_registry_credentials": registry.credentials()}
    newest.play(playbook="gating.containers.mirror", variables=given).check()
    state = registry.api.state("mirror/app", "mirror/tools", "archive/tools")
    assert state.pop("mirror/app:1.4") not in (None, app)
    assert state == dict.fromkeys(["mirror/tools:v1", "mirror/tools:v2", "archive/tools:v1", "archive/tools:v2"], tools)


def test_the_page_on_an_air_gap(newest: Ansible, registry: Server, other: Server) -> None:
    digests = {"app": push(registry.api, "example/app", "1.4", layers=1), "tools": registry.api.index("example/tools", ["v2"])}
    signature = refer(registry.api, "example/app", digests["app"], "a signature", True)
    text = (ROOT / "docs/mirroring.md").read_text().replace("/srv/transfer", str(newest.directory)).replace("registry.example.com", other.name)
    for name, server in (("outside", registry), ("inside", other)):
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": yaml.safe_load(block(name, registry, text))}]
        for changed in (1, 0):
            run = newest.play(playbook=play, variables={"container_registry_credentials": server.credentials()}).check()
            assert run.recap["changed"] == changed
    assert (other.api.digest("app", "1.4"), other.api.digest("tools", "v2")) == (digests["app"], digests["tools"])
    assert referrers(other.api, "app", digests["app"]) == {signature}


def test_the_readmes_playbook(operator: Ansible, registry: Server) -> None:
    operator.play(playbook=yaml.safe_load(block("playbook", registry))).check()
    assert sorted(registry.api.state("example/app", "example/tools")) == FINAL


def test_the_readmes_zuul_playbooks(operator: Ansible, registry: Server) -> None:
    zuul = {"change": "3", "pipeline": "gate", "project": {"src_dir": str(operator.directory)}}
    for name in ("gate", "promote"):
        play = yaml.safe_load(block(name, registry))
        python = f"ansible_python_interpreter={operator.venv}/bin/python"
        operator.play("-i", "localhost,", "-c", "local", "-e", "@vars.yml", "-e", python, playbook=play, variables={"zuul": zuul}).check()
        if name == "gate":
            assert "example/app:change_3_latest" in registry.api.state("example/app")
    assert sorted(registry.api.state("example/app", "example/tools")) == FINAL


def test_the_page_on_registries(newest: Ansible, registry: Server) -> None:
    page = (ROOT / "docs/registries.md").read_text()
    entries = yaml.safe_load(block("types", registry, page))["container_registry_credentials"]
    assert [Credentials(entries).access(name).type for name in entries] == ["harbor", "nexus"]
    for number in range(5):
        registry.api.image("example/app", f"change_{number}", text=str(number), created=ago((9 + number) * 86400))
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": yaml.safe_load(block("cleanup", registry, page))}]
    for changed, left in ((1, 3), (0, 3)):
        run = newest.play(playbook=play, variables={"container_registry_credentials": registry.credentials()}).check()
        assert run.recap["changed"] == changed
        assert registry.api.tags("example/app") == [f"change_{number}" for number in range(left)]
    assert all(f"`{kind}`" in page for kind in TYPES)


def test_the_page_on_building(newest: Ansible, registry: Server, podman: dict[str, str]) -> None:
    newest.environment.update(podman)
    given = yaml.safe_load(block("building", registry, BUILDING))
    given.update(zuul_work_dir=str(newest.directory), container_registry_credentials=registry.credentials())
    for name, text in (
        ("base/Containerfile", "FROM scratch\nCOPY busybox /bin/sh\n"),
        ("app/Containerfile", f"FROM {registry.name}/example/base\nARG MOTTO\nLABEL motto=$MOTTO\n"),
        ("tools/Containerfile.debug", "FROM scratch AS debug\nCOPY content /\nFROM scratch\nCOPY busybox /\n"),
        ("tools/src/content", "of the path"),
    ):
        path = newest.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        shutil.copy("/bin/busybox", path.parent / "busybox")
    newest.play(playbook=play_of("build_container_image", "upload_container_image"), variables=given).check()
    api = registry.api
    assert sorted(api.state("example/base", "example/app", "example/tools")) == [
        f"example/{name}:staged_{tag}" for name, tag in (("app", "1.4"), ("app", "latest"), ("base", "latest"), ("tools", "latest"))
    ]
    child = api.call("GET", "example/app/manifests/staged_latest").json()["manifests"][1]["digest"]
    config = api.call("GET", f"example/app/manifests/{child}").json()["config"]["digest"]
    labels = api.call("GET", f"example/app/blobs/{config}").json()["config"]["Labels"]
    assert labels["motto"] == 'it\'s "two words" for $5'
    assert labels["org.opencontainers.image.title"] == "The app"

    for name in ("one", "two"):
        script = newest.home / "src" / "example.org" / name / "install.sh"
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\necho {name} >> /installed\n")
        script.chmod(0o755)
    (newest.directory / "base/Containerfile").write_text(f"FROM scratch\nCOPY busybox /bin/sh\n{block('siblings', registry, BUILDING)}")
    images = [{"context": "base", "repository": f"{registry.name}/example/base", "siblings": ["example.org/one", "example.org/two"]}]
    newest.play(playbook=play_of("build_container_image", "upload_container_image"), variables={**given, "container_images": images}).check()
    layer = api.call("GET", "example/base/manifests/staged_latest").json()["layers"][-1]["digest"]
    content = gzip.decompress(api.call("GET", f"example/base/blobs/{layer}").content)
    assert b"one\ntwo\n" in content


def test_the_pages_artifact_is_what_zuul_gets(newest: Ansible, registry: Server) -> None:
    image = Image(Reference("quay.io", "example/app"), tags=("latest",), arch=("linux/amd64", "linux/arm64"))
    name = image.names("change_4711_")[0]
    documented = yaml.safe_load(block("artifact", registry, BUILDING).replace(registry.name, "quay.io"))
    result = {"repository": name.name, "tag": name.tag, "digest": documented["metadata"]["digest"], "platforms": list(image.arch)}
    assert artifacts([Upload(image, name, {name: "latest"})], [result]) == [documented]


def examples() -> list[t.Any]:
    found = []
    # Those of the intermediate registry are run where it is: in test_intermediate.py.
    for path in sorted(set((ROOT / "plugins/modules").glob("*.py")) - set((ROOT / "plugins/modules").glob("intermediate_registry_*.py"))):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
                found.append(pytest.param(ast.literal_eval(node.value), id=path.stem))
    return found


@pytest.mark.parametrize("text", examples())
def test_the_modules_examples(newest: Ansible, registry: Server, podman: dict[str, str], text: str) -> None:
    newest.environment.update(podman)
    labels = {"org.zuul-ci.change": "4711"}
    registry.api.index("example/app", ["1.4.0-rc3", "change_4711_latest", "change_4711_1.4"], labels=labels, created=ago(30 * 86400))
    for name in ("base", "app"):
        (newest.directory / name).mkdir()
        (newest.directory / name / "Containerfile").write_text(f"FROM scratch\nARG MOTTO\nENV NAME={name}\n")
    if "container_image_upload" in text:
        name = f"{registry.name}/example/app:change_4711_latest"
        command = ["podman", "build", "--tag", name, "--label", "uploaded=yes", str(newest.directory / "app")]
        subprocess.run(command, env={**os.environ, **podman}, check=True, capture_output=True)
    if "nightly" in text:
        for day in range(6):
            registry.api.image("example/app", f"nightly-{day}", text=str(day), created=ago(day * 86400))
    repositories = ("example/app", "mirror/app", "archive/app")
    before = registry.api.state(*repositories)
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": yaml.safe_load(at(registry, text).replace("/srv/transfer", str(newest.directory)))}]
    run = newest.play(playbook=play, variables={"container_registry_credentials": registry.credentials()}).check()
    reads = "registry_info" in text
    assert run.recap["changed"] == (0 if reads else len(play[0]["tasks"]))
    assert (registry.api.state(*repositories) != before) is not (reads or "container_image_build" in text)


def test_the_demo(ansible: Ansible) -> None:
    before = processes("docker-registry")
    run = ansible.play(playbook="gating.containers.demo").check()
    for text in ("/demo/hello:change_1_latest ", "/demo/hello:stable ", "/demo/greeter:latest "):
        assert text in run.output
    assert processes("docker-registry") <= before
    assert not list(ansible.tmp.glob("gating-containers*"))


def processes(name: str) -> set[str]:
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if name.encode() in (path / "cmdline").read_bytes():
                found.add(path.name)
        except OSError:
            continue
    return found


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            assert "://" in link or (path.parent / link).exists(), f"{path.name}: {link}"


def test_installed_by_ansible_galaxy(newest: Ansible) -> None:
    environment = {"HOME": str(newest.home), "PATH": newest.environment["PATH"], "LANG": "C.UTF-8"}
    command = ["ansible-galaxy", "collection", "install", f"git+file://{ROOT}"]
    assert "git+file://$PWD" in README
    done = subprocess.run(command, env=environment, cwd=newest.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = newest.home / ".ansible/collections/ansible_collections/gating/containers"
    assert (installed / "plugins/module_utils/_retag.py").exists()
    assert not (installed / "tests").exists()


def test_the_wheel(tmp_path: pathlib.Path) -> None:
    builder = os.environ.get("GATING_TEST_BUILD", sys.executable)
    subprocess.run([builder, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin/pip"), "install", "--quiet", "ansible-core", str(wheel)], check=True, capture_output=True)
    environment = {"HOME": str(tmp_path), "PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    listing = run("ansible-galaxy", "collection", "list", "gating.containers")
    assert re.search(r"gating\.containers\s+0\.1\.0", listing.stdout), listing
    for kind, names in (("module", ["registry_retag", "container_image_promote"]), ("role", ["promote_container_image"]), ("filter", ["staging_prefix"])):
        for name in names:
            done = run("ansible-doc", "-t", kind, f"gating.containers.{name}")
            assert done.returncode == 0, done.stderr
    done = run("ansible-playbook", "gating.containers.promote", "-e", '{"container_images": [{"repository": "nowhere"}]}')
    assert "does not name its registry" in done.stdout
