# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that build and upload can do, with podman and with buildah; docker by a stand-in."""

from __future__ import annotations

import base64
import io
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import typing as t

import pytest
from proxy import Answer, Proxy
from registries import Api, Server, digest_of, resolve_with_token, start_docker_registry

from playbooks import ROOT, Ansible, play_of

AWKWARD = 'it\'s "two words" $HOME; x'
CHANGE = {"change": "7", "change_url": "https://review.example/7", "pipeline": "gate", "build": "0123456789abcdef"}
PLATFORMS = ["linux/amd64", "linux/arm64"]


@pytest.fixture(params=["podman", "buildah"])
def tool(request: pytest.FixtureRequest, newest: Ansible, podman: dict[str, str]) -> str:
    """A container tool with images of its own."""
    newest.environment.update(podman)
    return str(request.param)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the images are built."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def context(source: pathlib.Path, name: str, containerfile: str, filename: str = "Containerfile") -> None:
    """A directory to build from, with something that is in no other image."""
    (source / name).mkdir(exist_ok=True)
    shutil.copy("/bin/busybox", source / name / "busybox")
    (source / name / "content").write_text(f"{name} {time.time_ns()}")
    (source / name / filename).write_text(containerfile)


def images_of(environment: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """What is in the tools' storage."""
    command = ["podman", "images", "--all", "--no-trunc", "--format", "json"]
    return list(json.loads(subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout))


def config_of(api: Api, path: str, manifest: t.Any) -> dict[str, t.Any]:
    return dict(api.call("GET", f"{path}/blobs/{manifest['config']['digest']}").json())


def test_everything_at_once(newest: Ansible, tool: str, registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    context(
        source,
        "base",
        "FROM scratch\nCOPY busybox /bin/\nARG MSG\nARG ZUUL_SIBLINGS\nARG TARGETARCH\nLABEL message=$MSG projects=$ZUUL_SIBLINGS\nENV FOR=$TARGETARCH\n"
        "COPY .zuul-siblings/example.org/team/tool/file /file\n",
    )
    context(source, "app", f"FROM {proxy.name}/acme/base:latest\nCOPY content /\n")
    project = newest.home / "src" / "example.org" / "team" / "tool"
    project.mkdir(parents=True)
    (project / "file").write_text("of a sibling")
    (project / "link").symlink_to("file")
    # A relative path is relative to where the playbook runs, as in Zuul.
    given: dict[str, t.Any] = {
        "container_command": tool,
        "zuul": CHANGE,
        "zuul_work_dir": source.name,
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [
            {
                "context": "base",
                "registry": proxy.name,
                "repository": f"{proxy.name}/acme/base",
                "tags": ["latest", "1", "2", "3", "4"],
                "build_args": [f"MSG={AWKWARD}"],
                "labels": ["naïve=ä $HOME 'x' \"y\""],
                "siblings": ["example.org/team/tool/"],
                "arch": PLATFORMS,
            },
            {"context": "app", "repository": f"{proxy.name}/acme/app", "arch": PLATFORMS},
        ],
    }
    run = newest.role("build_container_image", fact="container_images", **given).check()
    assert not (source / "base" / ".zuul-siblings").exists()
    assert run.recap["changed"] == 1
    assert not [image for image in images_of(newest.environment) if any("gating-containers" in name for name in image.get("Names") or [])]

    run = newest.role("upload_container_image", fact="uploaded_container_images", **given).check()
    api = registry.api
    state = api.state("acme/base", "acme/app")
    assert sorted(state) == ["acme/app:change_7_latest", *(f"acme/base:change_7_{tag}" for tag in ("1", "2", "3", "4", "latest"))]
    assert run.result == [
        {
            "repository": f"{proxy.name}/acme/{path}",
            "tag": f"change_7_{tag}",
            "digest": state[f"acme/{path}:change_7_{tag}"],
            "platforms": PLATFORMS,
            "changed": True,
        }
        for path, tag in (("base", "latest"), ("base", "1"), ("base", "2"), ("base", "3"), ("base", "4"), ("app", "latest"))
    ]
    assert len({digest for name, digest in state.items() if "/base:" in name}) == 1
    puts = [request.path.partition("digest=")[2] for request in proxy.requests if request.method == "PUT" and "/acme/base/blobs/" in request.path]
    assert puts
    assert len(puts) == len(set(puts)), "a blob was uploaded twice"

    for path, layers in (("base", None), ("app", None)):
        index = api.call("GET", f"acme/{path}/manifests/change_7_latest").json()
        assert sorted(f"{child['platform']['os']}/{child['platform']['architecture']}" for child in index["manifests"]) == PLATFORMS
        for child in index["manifests"]:
            config = config_of(api, f"acme/{path}", api.call("GET", f"acme/{path}/manifests/{child['digest']}").json())
            architecture = child["platform"]["architecture"]
            assert config["architecture"] == architecture, layers
            # The base image of the derived one is that of its platform.
            assert f"FOR={architecture}" in config["config"]["Env"]
            labels = config["config"]["Labels"]
            assert labels["message"] == AWKWARD
            assert labels["projects"] == "example.org/team/tool"
            assert labels["org.zuul-ci.change"] == "7"
            assert path != "base" or labels["naïve"] == "ä $HOME 'x' \"y\""

    newest.role("promote_container_image", **given).check()
    assert api.state("acme/base", "acme/app") == {name.replace("change_7_", ""): digest for name, digest in state.items()}

    # The next change is another image, and the names of this one stay what they were.
    given["zuul"] = {**CHANGE, "change": "8"}
    newest.role("build_container_image", **given).check()
    newest.role("upload_container_image", **given).check()
    given["zuul"] = CHANGE
    newest.role("upload_container_image", **given).check()
    again = api.state("acme/base")
    assert again["acme/base:change_7_1"] == state["acme/base:change_7_1"] != again["acme/base:change_8_1"]


def test_release(newest: Ansible, tool: str, registry: Server, source: pathlib.Path) -> None:
    context(source, "one", "FROM scratch\nCOPY content /\n", "Dockerfile")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "upload_container_image_promote": False,
        "container_registry_credentials": registry.credentials(),
        "container_images": [{"context": "one", "repository": f"{registry.name}/acme/one", "tags": ["1.0", "latest"]}],
    }
    assert newest.role("build_container_image", **given).check().recap["changed"] == 1
    run = newest.role("upload_container_image", fact="uploaded_container_images", **given).check()
    state = registry.api.state("acme/one")
    assert sorted(state) == ["acme/one:1.0", "acme/one:latest"]
    platform = "linux/" + subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    assert [(item["tag"], item["digest"], item["platforms"]) for item in run.result] == [
        (tag, state[f"acme/one:{tag}"], [platform]) for tag in ("1.0", "latest")
    ]
    assert newest.role("upload_container_image", **given).check().recap["changed"] == 0


def test_a_failing_build(newest: Ansible, tool: str, registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    (newest.home / "src" / "tool").mkdir(parents=True)
    context(source, "good", "FROM scratch\nCOPY content /\n")
    context(source, "bad", "FROM scratch\nCOPY .zuul-siblings/tool /tool\nCOPY not-there /\n")
    context(source, "later", "FROM scratch\nCOPY content /\n")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [
            {"context": "good", "repository": f"{proxy.name}/acme/good"},
            {"context": "bad", "repository": f"{proxy.name}/acme/bad", "siblings": ["tool"]},
            {"context": "later", "repository": f"{proxy.name}/acme/later"},
        ],
    }
    run = newest.play(playbook=play_of("build_container_image", "upload_container_image"), variables=given)
    assert run.status != 0
    text = re.sub(r"\s+", " ", run.output)
    assert f"build of {proxy.name}/acme/bad: {tool} build failed with exit code" in text
    assert re.search("not-there.{1,40}no such file or directory", text), "the tool's own words"
    assert not (source / "bad" / ".zuul-siblings").exists()
    assert not proxy.requests
    names = {name for image in images_of(newest.environment) for name in image.get("Names") or []}
    assert names == {f"{proxy.name}/acme/good:staged_latest", f"{proxy.name}/acme/good:latest"}


def test_siblings_of_somebody_else_stay(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    (newest.home / "src" / "tool").mkdir(parents=True)
    context(source, "first", "FROM scratch\nCOPY content /\n")
    context(source, "one", "FROM scratch\nCOPY content /\n")
    left = source / "one" / ".zuul-siblings" / "left"
    left.parent.mkdir()
    left.write_text("from elsewhere")
    images = [{"context": "first", "repository": "quay.io/acme/first"}, {"context": "one", "repository": "quay.io/acme/one", "siblings": ["tool"]}]
    run = newest.role("build_container_image", container_command=tool, zuul_work_dir=str(source), container_images=images)
    assert run.status != 0
    assert f"{source}/one/.zuul-siblings is there already, and was not made by this build" in re.sub(r"\s+", " ", run.output)
    assert left.read_text() == "from elsewhere"
    assert images_of(newest.environment) == [], "something was built"


def test_a_missing_emulator_is_named(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    # A program for a machine that no kernel knows: nothing can be registered to run it.
    header = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 0x7E57, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    context(source, "one", "FROM scratch\nCOPY shell /bin/sh\nRUN anything\n")
    (source / "one" / "shell").write_bytes(header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 124, 124, 0x1000) + b"\0" * 4)
    (source / "one" / "shell").chmod(0o755)
    images = [{"context": "one", "repository": "quay.io/acme/one", "arch": [*PLATFORMS, "linux/riscv64"]}]
    run = newest.role("build_container_image", container_command=tool, zuul_work_dir=str(source), container_images=images)
    assert run.status != 0
    assert "install the package qemu-user-static" in re.sub(r"\s+", " ", run.output)
    assert not [image for image in images_of(newest.environment) if image.get("Names")], "a name was left"


@pytest.mark.parametrize("parallel", [1, 3])
def test_images_that_build_on_one_another(newest: Ansible, tool: str, source: pathlib.Path, parallel: int) -> None:
    name = f"localhost:5/{tool}"
    context(source, "one", "FROM scratch\nCOPY content /one\n")
    context(source, "two", f"ARG BASE=nothing\nFROM ${{BASE}}\nCOPY content /two\nCOPY --from={name}/aside:latest /aside /aside\n")
    context(source, "aside", "FROM scratch\nCOPY content /aside\n")
    context(source, "three", f"FROM --platform=$BUILDPLATFORM {name}/two:2 AS two\nFROM two\nCOPY content /three\n")
    images = [
        {"context": "one", "repository": f"{name}/one"},
        {"context": "aside", "repository": f"{name}/aside"},
        {"context": "two", "repository": f"{name}/two", "tags": ["1", "2"], "build_args": [f"BASE={name}/one"]},
        {"context": "three", "repository": f"{name}/three"},
    ]
    given = {"container_command": tool, "container_build_parallel": parallel, "zuul_work_dir": str(source), "container_images": images}
    newest.role("build_container_image", **given).check()
    found = subprocess.run(
        ["podman", "image", "inspect", f"{name}/three:latest"], env={**os.environ, **newest.environment}, capture_output=True, text=True, check=True
    )
    layers = len(json.loads(found.stdout)[0]["RootFS"]["Layers"])
    assert layers == 4, "of one, two (with a copy of aside) and three"


def test_a_plain_image_is_not_made_of_another_platforms_layers(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    context(source, "one", "FROM scratch\nCOPY busybox content /\nARG TARGETARCH\nENV FOR=$TARGETARCH\n")
    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    other = "arm64" if machine == "amd64" else "amd64"
    image = {"context": "one", "repository": "quay.io/acme/one"}
    given = {"container_command": tool, "zuul_work_dir": str(source), "container_images": [{**image, "arch": [f"linux/{other}"]}]}
    newest.role("build_container_image", **given).check()
    # The same name, now without platforms: that it was a list is seen.
    given["container_images"] = [image]
    assert newest.role("build_container_image", **given).check().recap["changed"] == 1
    command = ["podman", "image", "inspect", "quay.io/acme/one:latest"]
    found = json.loads(subprocess.run(command, env={**os.environ, **newest.environment}, capture_output=True, text=True, check=True).stdout)[0]
    assert found["Architecture"] == machine
    assert f"FOR={other}" not in found["Config"]["Env"]
    assert subprocess.run(["podman", "manifest", "exists", "quay.io/acme/one:latest"], env={**os.environ, **newest.environment}, check=False).returncode != 0


def test_an_index_becomes_a_plain_image(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    context(source, "one", "FROM scratch\nCOPY busybox content /\n")
    image = {"context": "one", "repository": "quay.io/acme/one"}
    given = {"container_command": tool, "zuul_work_dir": str(source)}
    newest.role("build_container_image", **given, container_images=[{**image, "arch": PLATFORMS}]).check()
    assert newest.role("build_container_image", **given, container_images=[image]).check().recap["changed"] == 1


def test_a_base_image_of_this_platform_builds_for_all(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    context(source, "base", "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cp\n")
    context(
        source,
        "app",
        "FROM --platform=$BUILDPLATFORM quay.io/acme/base AS compiler\nARG TARGETARCH\nRUN cp /bin/sh /of-$TARGETARCH\n"
        "FROM scratch\nARG TARGETARCH\nCOPY --from=compiler /of-$TARGETARCH /\n",
    )
    images = [{"context": "base", "repository": "quay.io/acme/base"}, {"context": "app", "repository": "quay.io/acme/app", "arch": PLATFORMS}]
    newest.role("build_container_image", container_command=tool, zuul_work_dir=str(source), container_images=images).check()


def test_siblings_are_in_no_image_that_is_built_beside(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    for number in range(20):
        project = newest.home / "src" / "tool" / f"directory{number}"
        project.mkdir(parents=True)
        shutil.copy("/bin/busybox", project / "file")
        # As Go's module cache has them.
        project.chmod(0o555)
    (source / "all").mkdir()
    context(source / "all", "sub", "FROM scratch\nCOPY content /\n")
    context(source, "all", "FROM scratch\nCOPY . /\n")
    images = [
        {"context": "all/sub", "repository": "quay.io/acme/sub", "siblings": ["tool"]},
        {"context": "all", "repository": "quay.io/acme/all"},
    ]
    given = {"container_command": tool, "container_build_parallel": 2, "zuul_work_dir": str(source), "container_images": images}
    newest.role("build_container_image", **given).check()
    archive = subprocess.run(
        ["podman", "save", "--format", "oci-archive", "quay.io/acme/all"], env={**os.environ, **newest.environment}, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as image:
        layers = [image.extractfile(member) for member in image.getmembers() if member.name.startswith("blobs/") and member.size > 5000]
        names = []
        for layer in layers:
            with tarfile.open(fileobj=layer) as content:
                names += content.getnames()
    assert "sub/content" in names
    assert not [name for name in names if ".zuul-siblings" in name]


@pytest.mark.parametrize("target", ["group", "parent"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_signal_leaves_no_login_and_no_siblings(
    ansible: Ansible, podman: dict[str, str], registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy], number: signal.Signals, target: str
) -> None:
    ansible.environment.update(podman)
    under_way, over = threading.Event(), threading.Event()

    def slow(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and "/blobs/" in path:
            under_way.set()
            over.wait(20)
        return None

    proxy = proxy_to(registry, slow)
    (ansible.home / "src" / "tool").mkdir(parents=True)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    context(source, "two", "FROM scratch\nCOPY busybox /bin/sh\nRUN sleep 60\n")
    given: dict[str, t.Any] = {
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [{"context": "one", "repository": f"{proxy.name}/acme/one"}],
    }
    ansible.role("build_container_image", **given).check()

    def interrupt(ready: t.Callable[[], object], playbook: list[t.Any]) -> None:
        process = ansible.start(playbook=playbook, variables=given)
        end = time.monotonic() + 60
        while not ready() and time.monotonic() < end:
            time.sleep(0.05)
        (os.killpg if target == "group" else os.kill)(process.pid, number)
        over.set()
        process.wait(60)
        assert process.returncode != 0

    def gone(*paths: pathlib.Path) -> bool:
        end = time.monotonic() + 30
        while any(path.exists() for path in paths) and time.monotonic() < end:
            time.sleep(0.1)
        return not any(path.exists() for path in paths)

    interrupt(under_way.is_set, play_of("upload_container_image"))
    assert gone(*ansible.tmp.glob("gating-containers-*"))

    copies = source / "two" / ".zuul-siblings"
    given["container_images"] = [{"context": "two", "repository": f"{proxy.name}/acme/two", "siblings": ["tool"]}]
    interrupt(lambda: copies.exists() and sleeping(), play_of("build_container_image"))
    if target == "parent" and ansible.venv.name == "2.18":
        # Its worker is not told, and goes on to the end of the task.
        for pid in sleeping():
            os.kill(pid, signal.SIGKILL)
    assert gone(copies)


def sleeping() -> list[int]:
    """The processes of the build that sleeps."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes() == b"sleep\x0060\x00":
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_environment_and_arguments_arrive_as_they_are(newest: Ansible, tool: str, source: pathlib.Path) -> None:
    name = "ein Büro & 'so'"
    context(source, name, "FROM scratch AS first\nARG FROM_ENV\nLABEL from_env=$FROM_ENV\nCOPY content /\nFROM first AS second\nLABEL second=yes\n", "My $File")
    given = {
        "container_command": tool,
        "container_filename": "My $File",
        "container_build_extra_env": {"FROM_ENV": AWKWARD},
        "zuul_work_dir": str(source),
        "container_images": [{"context": name, "repository": "quay.io/acme/one", "build_args": ["FROM_ENV"], "target": "first", "path": "./."}],
    }
    newest.role("build_container_image", **given).check()
    found = subprocess.run(
        ["podman", "image", "inspect", "quay.io/acme/one"], env={**os.environ, **newest.environment}, capture_output=True, text=True, check=True
    )
    labels = json.loads(found.stdout)[0]["Labels"]
    assert labels["from_env"] == AWKWARD
    assert "second" not in labels


def test_a_push_is_tried_again(newest: Ansible, tool: str, registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    left = [3]

    def trouble(method: str, path: str, body: bytes) -> Answer | None:
        if method == "PUT" and "/blobs/" in path and left[0]:
            left[0] -= 1
            return Answer(503, b"in trouble")
        return None

    proxy = proxy_to(registry, trouble)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [{"context": "one", "repository": f"{proxy.name}/acme/one"}],
    }
    newest.play(playbook=play_of("build_container_image", "upload_container_image"), variables=given).check()
    assert left == [0]
    assert registry.api.tags("acme/one") == ["staged_latest"]


def test_two_uploads_at_the_same_time_with_different_passwords(newest: Ansible, tool: str, registry: Server, source: pathlib.Path) -> None:
    users = pathlib.Path(registry.directory) / "htpasswd"
    done = subprocess.run(["htpasswd", "-niB", "-C", "4", "second"], input="another-password", capture_output=True, text=True, check=True)
    users.write_text(users.read_text() + done.stdout)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    names = [f"{registry.name}/acme/{name}" for name in ("first", "second", "wrong")]
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_images": [{"context": "one", "repository": name} for name in names],
    }
    newest.role("build_container_image", **given).check()
    logins = [(registry.username, registry.password), ("second", "another-password"), ("second", "a-wrong-password")]
    processes = []
    for number, (name, (username, password)) in enumerate(zip(names, logins)):
        # One HOME and one TMPDIR for all, but a directory for each, for its variables.
        other = Ansible.__new__(Ansible)
        other.venv, other.environment = newest.venv, newest.environment
        other.directory = newest.directory / f"run{number}"
        other.directory.mkdir()
        credentials = {registry.name: {"username": username, "password": password}}
        variables = {"container_command": tool, "container_registry_credentials": credentials, "container_images": [{"repository": name}]}
        processes.append(other.start(playbook=play_of("upload_container_image"), variables=variables))
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode == 0 for process in processes] == [True, True, False], outputs
    assert "401" in outputs[2]
    assert [registry.api.tags(f"acme/{name}") for name in ("first", "second", "wrong")] == [["staged_latest"], ["staged_latest"], []]
    assert not list(newest.home.rglob("auth.json")) + list(newest.home.rglob("config.json"))


@pytest.mark.parametrize("connection", ["local", "elsewhere"])
def test_the_password_is_nowhere(newest: Ansible, tool: str, registry: Server, source: pathlib.Path, podman: dict[str, str], connection: str) -> None:
    context(source, "one", "FROM scratch\nCOPY content /\n")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(),
        "container_images": [{"context": "one", "repository": f"{registry.name}/acme/one", "arch": PLATFORMS}],
    }
    newest.environment["ANSIBLE_CONNECTION_PLUGINS"] = str(ROOT / "tests/lib/connection")
    encoded = base64.b64encode(f"{registry.username}:{registry.password}".encode())
    password = registry.password.encode()
    directories = [newest.home, newest.tmp, pathlib.Path(podman["CONTAINERS_STORAGE_CONF"]).parent]
    argv: set[bytes] = set()
    environ: set[bytes] = set()
    plain: set[str] = set()
    auth_files: set[tuple[int, int, str]] = set()
    over = threading.Event()

    def look(path: pathlib.Path) -> bytes:
        try:
            return b"" if path.is_symlink() or not path.is_file() else path.read_bytes()
        except OSError:
            return b""

    def watch() -> None:
        while not over.is_set():
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                argv.add(look(process / "cmdline"))
                environ.add(look(process / "environ"))
            for directory in directories:
                # Unlike rglob, it does not mind that directories come and go.
                for path in [pathlib.Path(parent) / name for parent, dummy, names in os.walk(directory) for name in names]:
                    content = look(path)
                    if password in content:
                        plain.add(str(path))
                    if encoded in content:
                        try:
                            auth_files.add((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777, path.name))
                        except OSError:
                            continue

    watchers = [threading.Thread(target=watch) for dummy in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        play = play_of("build_container_image", "upload_container_image")
        arguments = ["-e", f"ansible_connection={connection}", "-e", f"ansible_python_interpreter={newest.venv}/bin/python"]
        run = newest.play("-vvvv", *arguments, playbook=play, variables=given).check()
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
    assert registry.api.tags("acme/one") == ["staged_latest"]
    assert any(f"{tool}\0manifest\0push".encode() in line for line in argv), "the push was not seen"
    for secret in (password, encoded):
        assert not [line for line in argv | environ if secret in line]
        assert secret.decode() not in run.output
        for directory in directories:
            assert not [path for path in directory.rglob("*") if secret in look(path)]
    assert plain == set()
    assert auth_files <= {(0o600, 0o700, "auth.json")}
    assert (" EXEC " in run.output) is (connection == "elsewhere"), "it did not run as it was to"


def test_a_repository_that_is_not_permitted(newest: Ansible, tool: str, registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name, repository="/acme/two$"),
        "container_images": [{"context": "one", "repository": f"{proxy.name}/acme/{name}"} for name in ("two", "one")],
    }
    newest.role("build_container_image", **given).check()
    run = newest.role("upload_container_image", **given)
    assert run.status != 0
    assert f"{proxy.name}/acme/one: the credentials for {proxy.name} permit only repositories that match '/acme/two$'" in re.sub(r"\s+", " ", run.output)
    assert not proxy.requests


def test_check_mode_says_what_would_be_built_and_pushed(
    newest: Ansible, tool: str, registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]
) -> None:
    proxy = proxy_to(registry)
    (newest.home / "src" / "tool").mkdir(parents=True)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    given = {
        "container_command": tool,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [{"context": "one", "repository": f"{proxy.name}/acme/one", "arch": PLATFORMS, "siblings": ["tool"], "tags": ["a", "b"]}],
        "buildset_registry": {"host": "127.0.0.1", "port": proxy.port, "username": registry.username, "password": registry.password},
    }
    run = newest.play("--check", "-v", playbook=play_of("build_container_image", "upload_container_image"), variables=given).check()
    assert run.recap["changed"] == 2
    text = re.sub(r"\s+", " ", run.output)
    assert f"would build {proxy.name}/acme/one:a (linux/amd64, linux/arm64), and push to {proxy.name}" in text
    assert f"would upload {proxy.name}/acme/one:staged_a, {proxy.name}/acme/one:staged_b" in text
    assert not proxy.requests
    assert images_of(newest.environment) == []
    assert not (source / "one" / ".zuul-siblings").exists()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate that signs itself, for loopback, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    key, path = directory / "key.pem", directory / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,IP:::1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    return path, key


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_the_buildset_registry(
    newest: Ansible, tool: str, source: pathlib.Path, certificate: tuple[pathlib.Path, pathlib.Path], tmp_path_factory: pytest.TempPathFactory, host: str
) -> None:
    hosts = pathlib.Path("/etc/hosts").read_bytes()
    server = start_docker_registry(tmp_path_factory.mktemp("buildset"), host=host, tls=certificate)
    try:
        context(source, "one", "FROM scratch\nCOPY content /\n")
        context(source, "two", "FROM scratch\nCOPY content /\n")
        given = {
            "container_command": tool,
            "zuul": CHANGE,
            "zuul_work_dir": str(source),
            "container_images": [
                {"context": "one", "repository": "quay.io/acme/one", "arch": PLATFORMS, "tags": ["1", "latest"]},
                {"context": "two", "repository": "docker.io/acme/two"},
            ],
            "buildset_registry": {
                "host": host,
                "port": server.port,
                "username": server.username,
                "password": server.password,
                "cert": certificate[0].read_text(),
            },
        }
        newest.role("build_container_image", **given).check()
        api = Api(server.name, server.username, server.password, base_url=f"https://{server.name}", verify=str(certificate[0]))
        assert sorted(api.state("quay.io/acme/one", "acme/two")) == ["acme/two:latest", "quay.io/acme/one:1", "quay.io/acme/one:latest"]
        index = api.call("GET", "quay.io/acme/one/manifests/latest").json()
        assert len(index["manifests"]) == 2
        for child in index["manifests"]:
            manifest = api.call("GET", f"quay.io/acme/one/manifests/{child['digest']}").json()
            for blob in [manifest["config"], *manifest["layers"]]:
                content = api.call("GET", f"quay.io/acme/one/blobs/{blob['digest']}").content
                assert digest_of(content) == blob["digest"]
        assert not list(newest.tmp.iterdir()), "something was left"

        given["buildset_registry"]["password"] = "not-this-one-9"
        run = newest.role("build_container_image", "-vvvv", **given)
        assert run.status != 0
        text = re.sub(r"\s+", " ", run.output)
        assert "push of quay.io/acme/one:1: HEAD manifest" in text or "push of quay.io/acme/one:1: GET" in text
        assert f"check username and password for {server.name} in buildset_registry" in text
        assert "not-this-one-9" not in run.output
        assert pathlib.Path("/etc/hosts").read_bytes() == hosts
    finally:
        server.stop()


def test_the_intermediate_registry(
    ansible: Ansible, podman: dict[str, str], registry: Server, zuul_registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]
) -> None:
    ansible.environment.update(podman)
    results = ansible.under_zuul()
    target = proxy_to(registry)
    context(source, "one", "FROM scratch\nCOPY content /\n")
    context(source, "two", "FROM scratch\nCOPY content /\n")
    given: dict[str, t.Any] = {
        "zuul": CHANGE,
        "zuul_work_dir": str(source),
        "promote_container_image_method": "intermediate-registry",
        "container_registry_credentials": registry.credentials(target.name, "quay.io"),
        "container_images": [
            {"context": "one", "repository": "quay.io/acme/one", "arch": PLATFORMS, "tags": ["1", "latest"]},
            {"context": "two", "repository": f"{target.name}/acme/two"},
        ],
    }
    ansible.role("build_container_image", **given).check()
    run = ansible.role("upload_container_image", "-v", fact="uploaded_container_images", **given).check()
    assert run.result == []
    assert run.recap["changed"] == 0
    assert "nothing to upload: with the method intermediate-registry" in re.sub(r"\s+", " ", run.output)

    given["intermediate_registry"] = {"host": "127.0.0.1", "port": zuul_registry.port, "username": zuul_registry.username, "password": zuul_registry.password}
    run = ansible.role("upload_container_image", fact="uploaded_container_images", **given).check()
    path = f"127.0.0.1-{target.port}/acme/two"
    digests = {name: resolve_with_token(zuul_registry, name, f"{CHANGE['build']}_latest", index=name != path) for name in ("quay.io/acme/one", path)}
    assert [(item["repository"], item["tag"], item["digest"], item["changed"]) for item in run.result] == [
        (f"{zuul_registry.name}/{name}", f"{CHANGE['build']}_{tag}", digests[name], True)
        for name, tag in (("quay.io/acme/one", "1"), ("quay.io/acme/one", "latest"), (path, "latest"))
    ]
    assert json.loads(results.read_text())["data"]["zuul"]["artifacts"][:-1] == [
        {
            "name": f"{repository}:{tag}",
            "url": f"docker://{zuul_registry.name}/{name}:{CHANGE['build']}_{tag}",
            "metadata": {"type": "container_image", "repository": repository, "tag": tag, "digest": digests[name], "platforms": platforms},
        }
        for name, repository, tag, platforms in (
            ("quay.io/acme/one", "quay.io/acme/one", "1", PLATFORMS),
            ("quay.io/acme/one", "quay.io/acme/one", "latest", PLATFORMS),
            (path, f"{target.name}/acme/two", "latest", run.result[2]["platforms"]),
        )
    ]
    assert ansible.role("upload_container_image", **given).check().recap["changed"] == 0
    assert not target.requests

    del given["zuul"]
    run = ansible.role("upload_container_image", **given)
    assert run.status != 0
    assert "zuul.build is not, by which the images are named there" in re.sub(r"\s+", " ", run.output)

    # A release goes where it always goes.
    given.update(upload_container_image_promote=False, container_images=given["container_images"][1:])
    ansible.role("build_container_image", **given).check()
    ansible.role("upload_container_image", **given).check()
    assert registry.api.tags("acme/two") == ["latest"]


def test_uploads_are_returned_to_zuul(ansible: Ansible, podman: dict[str, str], registry: Server, source: pathlib.Path) -> None:
    ansible.environment.update(podman)
    results = ansible.under_zuul()
    context(source, "one", "FROM scratch\nCOPY content /\n")
    given = {
        "zuul": CHANGE,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(),
        "container_images": [{"context": "one", "repository": f"{registry.name}/acme/one", "arch": PLATFORMS}],
    }
    ansible.role("build_container_image", **given).check()
    ansible.role("upload_container_image", "--check", **given).check()
    assert len(json.loads(results.read_text())["data"]["zuul"]["artifacts"]) == 1
    ansible.role("upload_container_image", **given).check()
    assert json.loads(results.read_text())["data"]["zuul"]["artifacts"] == [
        {
            "name": f"{registry.name}/acme/one:latest",
            "url": f"docker://{registry.name}/acme/one:change_7_latest",
            "metadata": {
                "type": "container_image",
                "repository": f"{registry.name}/acme/one",
                "tag": "latest",
                "digest": registry.api.digest("acme/one", "change_7_latest"),
                "platforms": PLATFORMS,
            },
        },
        {"name": "earlier", "url": "x"},
    ]


def test_docker_by_a_stand_in(newest: Ansible, podman: dict[str, str], registry: Server, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    programs = newest.directory / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/lib/docker_stand_in.py "$@"\n')
    (programs / "docker").chmod(0o755)
    record = newest.directory / "docker.json"
    newest.environment.update(podman, PATH=f"{programs}:{newest.environment['PATH']}", DOCKER_STAND_IN_RECORD=str(record))
    (newest.home / ".docker").mkdir()
    (newest.home / ".docker" / "config.json").write_text(json.dumps({"auths": {proxy.name: {"auth": "bm9ib2R5Om5vdGhpbmc="}}}))
    own = (newest.home / ".docker" / "config.json").read_bytes()
    # docker does not know a Containerfile.
    context(source, "base", "FROM nothing\n")
    context(source, "base", "FROM scratch\nCOPY busybox /bin/\nARG MSG\nLABEL message=$MSG\n", "Dockerfile")
    context(source, "app", f"FROM {proxy.name}/acme/base:latest\nCOPY content /\n", "Dockerfile")
    given: dict[str, t.Any] = {
        "container_command": "docker",
        "zuul": CHANGE,
        "zuul_work_dir": str(source),
        "container_registry_credentials": registry.credentials(proxy.name),
        "container_images": [
            {"context": "base", "repository": f"{proxy.name}/acme/base", "tags": ["1", "latest"], "build_args": [f"MSG={AWKWARD}"], "arch": PLATFORMS},
            {"context": "app", "repository": f"{proxy.name}/acme/app", "labels": ["a=b c"]},
        ],
        "buildset_registry": {"host": "127.0.0.1", "port": proxy.port, "username": registry.username, "password": registry.password},
    }
    newest.role("build_container_image", **given).check()
    run = newest.role("upload_container_image", fact="uploaded_container_images", **given).check()
    state = registry.api.state("acme/base", "acme/app")
    assert sorted(state) == ["acme/app:change_7_latest", "acme/base:change_7_1", "acme/base:change_7_latest"]
    assert [item["digest"] for item in run.result] == [state["acme/base:change_7_1"], state["acme/base:change_7_latest"], state["acme/app:change_7_latest"]]
    assert run.result[0]["platforms"] == PLATFORMS
    there = f"127.0.0.1-{proxy.port}/acme"
    assert sorted(registry.api.state(f"{there}/base", f"{there}/app")) == [f"{there}/app:latest", f"{there}/base:1", f"{there}/base:latest"]
    assert (newest.home / ".docker" / "config.json").read_bytes() == own

    base, app = f"{proxy.name}/acme/base", f"{proxy.name}/acme/app"
    names = [f"{base}:change_7_1", f"{base}:change_7_latest", f"{base}:1", f"{base}:latest"]
    calls = [json.loads(line) for line in record.read_text().splitlines()]
    for call in calls:
        assert registry.password not in json.dumps(call)
    labels = ["--label", "org.zuul-ci.change=7", "--label", "org.zuul-ci.change_url=https://review.example/7"]
    assert calls[0] == ["info", "--format", "{{json .DriverStatus}}"]
    assert calls[1] == ["version", "--format", "{{.Server.Version}}"]
    assert calls[2] == ["image", "inspect", "--format", "{{.Id}}", *names]
    assert calls[3] == [
        *["buildx", "build", "--load", "--platform", "linux/amd64,linux/arm64"],
        *[argument for name in names for argument in ("--tag", name)],
        *["--file", "Dockerfile", "--build-arg", f"MSG={AWKWARD}", *labels, "."],
    ]
    assert calls[6] == ["build", "--tag", f"{app}:change_7_latest", "--tag", f"{app}:latest", "--file", "Dockerfile", *labels, "--label", "a=b c", "."]
    assert [(call[0], call[1], call[-1]) for call in calls if call[0] == "save"] == [("save", "--output", f"{base}:1"), ("save", "--output", f"{app}:latest")]
    assert [call for call in calls if "push" in call] == [["push", f"{base}:change_7_1"], ["push", f"{app}:change_7_latest"]]
    assert not list(newest.tmp.iterdir()), "a login was left"
