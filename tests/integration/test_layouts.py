# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images to and from OCI image layouts, as skopeo and podman read and write them."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import resource
import subprocess
import tarfile
import typing as t

import pytest
from artifacts import PLATFORMS, check, push, refer, referrers
from proxy import Proxy
from registries import Server

from playbooks import Ansible, Run

KINDS = pytest.mark.parametrize("kind", ["oci", "oci-archive"])


def copy(ansible: Ansible, servers: t.Sequence[Server], source: str, *destinations: str, arguments: t.Sequence[str] = (), **more: t.Any) -> Run:
    """Copy one image."""
    credentials = {name: login for server in servers for name, login in server.credentials().items()}
    return ansible.task(
        "registry_copy", *arguments, images=[{"source": source, "destinations": list(destinations), **more}], credentials=credentials, retries=1
    ).check()


def done(run: Run) -> dict[str, t.Any]:
    """What became of the image, if it was copied."""
    assert not run.result.get("failed"), run.result
    return t.cast("dict[str, t.Any]", run.result["images"][0])


def skopeo(source: str, target: str, *servers: Server) -> None:
    """Copy with skopeo, which knows the registries on loopback."""
    # Otherwise it compresses layers on the way.
    options = ["--preserve-digests"]
    for side, name in (("src", source), ("dest", target)):
        for server in servers:
            if name.startswith(f"docker://{server.name}/"):
                options += [f"--{side}-tls-verify=false", f"--{side}-creds={server.username}:{server.password}"]
    finished = subprocess.run(["skopeo", "--insecure-policy", "copy", "--all", *options, source, target], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def states(path: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Which files there are, and when they were written."""
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in [path, *path.rglob("*")] if file.is_file()}


def check_blobs(directory: pathlib.Path) -> int:
    """See that each file that is called by a digest has it, and return how many there are."""
    files = [path for path in (directory / "blobs").rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in files:
        assert hashlib.new(path.parent.name, path.read_bytes()).hexdigest() == path.name
    return len(files)


@KINDS
def test_across_an_air_gap(ansible: Ansible, registry: Server, other: Server, kind: str) -> None:
    digest = push(registry.api, "a", "1", layers=2)
    child = registry.api.call("GET", "a/manifests/1").json()["manifests"][1]["digest"]
    sbom = refer(registry.api, "a", digest, "an SBOM", True)
    signature = refer(registry.api, "a", sbom, "a signature of the SBOM", True)
    of_child = refer(registry.api, "a", child, "an SBOM of one platform", True)
    cosign = push(registry.api, "a", digest.replace(":", "-") + ".sig", layers=1, seed="cosign")
    path = ansible.directory / "media" / "layout"
    image, source = f"{kind}:{path}:1", f"{registry.name}/a:1"

    would = copy(ansible, [registry], source, image, arguments=["--check", "--diff"], referrers=True)
    assert (would.result["changed"], would.result["diff"]) == (True, {"before": {image: None}, "after": {image: digest}})
    assert not path.parent.exists()

    outcome = done(copy(ansible, [registry], source, image, referrers=True))
    assert outcome["destinations"] == [{"image": image, "digest": digest, "previous_digest": None, "changed": True}]
    assert outcome["referrers"] == 4
    assert [file.name for file in path.parent.iterdir()] == ["layout"]
    before = states(path)
    again = copy(ansible, [registry], source, image, referrers=True)
    assert (again.result["changed"], done(again)["referrers"], states(path)) == (False, 0, before)

    # At the other side, where nobody knows the first registry.
    outcome = done(copy(ansible, [other], image, f"{other.name}/b:2", referrers=True))
    assert (outcome["digest"], outcome["referrers"]) == (digest, 4)
    assert other.api.digest("b", "2") == digest
    check(other.api, "b", "2")
    assert referrers(other.api, "b", digest) == {sbom}
    assert referrers(other.api, "b", sbom) == {signature}
    assert referrers(other.api, "b", child) == {of_child}
    check(other.api, "b", signature)
    assert other.api.digest("b", digest.replace(":", "-") + ".sig") == cosign
    assert not copy(ansible, [other], image, f"{other.name}/b:2", referrers=True).result["changed"]
    assert states(path) == before


@KINDS
def test_several_images_in_one_layout(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    path = newest.directory / "layout"
    digests = {tag: push(registry.api, "a", tag, layers=2, seed="same") for tag in ("1", "2", "3")}
    images = [{"source": f"{registry.name}/a:{tag}", "destinations": [f"{kind}:{path}"]} for tag in ("1", "2")]
    run = newest.task("registry_copy", images=images, credentials=registry.credentials()).check()
    assert not run.result.get("failed"), run.result
    # Another run adds one, and lets a tag name another image.
    done(copy(newest, [registry], f"{registry.name}/a:3", f"{kind}:{path}", f"{kind}:{path}:2"))
    for tag, digest in {"1": digests["1"], "2": digests["3"], "3": digests["3"]}.items():
        done(copy(newest, [other], f"{kind}:{path}:{tag}", f"{other.name}/b:{tag}"))
        assert other.api.digest("b", tag) == digest
        check(other.api, "b", tag)
    if kind == "oci-archive":
        with tarfile.open(path, "r:") as archive:
            names = archive.getnames()
        assert len(names) == len(set(names)) == 2 + 2 * (1 + 3 * 2) + 3 + 1, "what was 2 is not needed any more"


@KINDS
def test_some_platforms(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    digest = push(registry.api, "a", "1", layers=2)
    image = f"{kind}:{newest.directory}/layout:1"
    wanted = done(copy(newest, [registry], f"{registry.name}/a:1", image, platforms=PLATFORMS[1:]))["digest"]
    assert wanted != digest
    assert not copy(newest, [registry], f"{registry.name}/a:1", image, platforms=PLATFORMS[1:]).result["changed"]
    done(copy(newest, [other], image, f"{other.name}/two:1"))
    done(copy(newest, [other], image, f"{other.name}/one:1", platforms=PLATFORMS[2:]))
    assert other.api.digest("two", "1") == wanted
    for name, count in (("two", 2), ("one", 1)):
        check(other.api, name, "1")
        assert len(other.api.call("GET", f"{name}/manifests/1").json()["manifests"]) == count


@KINDS
def test_what_skopeo_wrote(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    digest = push(registry.api, "a", "1", layers=3)
    path = newest.directory / "layout"
    skopeo(f"docker://{registry.name}/a:1", f"{kind}:{path}:some.tag", registry)
    for number, source in enumerate([f"{kind}:{path}:some.tag", f"{kind}:{path}", f"{kind}:{path}@{digest}"]):
        done(copy(newest, [other], source, f"{other.name}/b:{number}"))
        assert other.api.digest("b", str(number)) == digest
        check(other.api, "b", str(number))


@KINDS
def test_what_skopeo_reads(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    digest = push(registry.api, "a", "1", layers=3)
    path = newest.directory / "layout"
    done(copy(newest, [registry], f"{registry.name}/a:1", f"{kind}:{path}"))
    skopeo(f"{kind}:{path}:1", f"docker://{other.name}/b:1", other)
    assert other.api.digest("b", "1") == digest
    check(other.api, "b", "1")


def test_a_directory_that_skopeo_writes_to_as_well(newest: Ansible, registry: Server, other: Server) -> None:
    digests = {tag: push(registry.api, "a", tag, layers=2) for tag in ("1", "2", "3")}
    path = newest.directory / "layout"
    skopeo(f"docker://{registry.name}/a:1", f"oci:{path}:1", registry)
    done(copy(newest, [registry], f"{registry.name}/a:2", f"oci:{path}"))
    skopeo(f"docker://{registry.name}/a:3", f"oci:{path}:3", registry)
    for tag, digest in digests.items():
        skopeo(f"oci:{path}:{tag}", f"docker://{other.name}/b:{tag}", other)
        assert other.api.digest("b", tag) == digest
        check(other.api, "b", tag)


def run_podman(environment: t.Mapping[str, str], *arguments: str) -> str:
    finished = subprocess.run(["podman", *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_what_podman_saves_and_loads(newest: Ansible, registry: Server, podman: dict[str, str]) -> None:
    directory = newest.directory / "context"
    directory.mkdir()
    (directory / "file").write_text("content")
    (directory / "Containerfile").write_text("FROM scratch\nCOPY file /file\n")
    run_podman(podman, "build", "--tag", "localhost/app:1", str(directory))
    identity = run_podman(podman, "image", "inspect", "--format", "{{.Id}}", "localhost/app:1")
    saved, made = newest.directory / "saved.tar", newest.directory / "made.tar"
    run_podman(podman, "save", "--quiet", "--format", "oci-archive", "--output", str(saved), "localhost/app:1")
    for source in (f"oci-archive:{saved}", f"oci-archive:{saved}:1"):
        done(copy(newest, [registry], source, f"{registry.name}/app:1"))
    check(registry.api, "app", "1")
    assert registry.api.call("GET", "app/manifests/1").json()["config"]["digest"] == f"sha256:{identity}"

    done(copy(newest, [registry], f"{registry.name}/app:1", f"oci-archive:{made}"))
    for arguments in (["load", "--quiet", "--input", str(made)], ["pull", "--quiet", f"oci-archive:{made}"]):
        run_podman(podman, "rmi", "--all", "--force")
        run_podman(podman, *arguments)
        assert run_podman(podman, "images", "--quiet", "--no-trunc") == f"sha256:{identity}"


def test_a_registry_a_directory_and_an_archive_at_once(newest: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    digest = push(registry.api, "a", "1", layers=2, size=2_500_000)
    targets = [f"{other.name}/b:1", f"oci:{newest.directory}/layout:1", f"oci-archive:{newest.directory}/layout.tar:1"]
    credentials = {**registry.credentials(proxy.name), **other.credentials()}
    images = [{"source": f"{proxy.name}/a:1", "destinations": targets}]
    outcome = done(newest.task("registry_copy", images=images, credentials=credentials).check())
    assert [item["image"] for item in outcome["destinations"] if item["changed"]] == targets
    reads = [request.path for request in proxy.requests if "/blobs/" in request.path]
    assert len(reads) == len(set(reads)) == 7
    for number, source in enumerate(targets):
        done(copy(newest, [registry, other], source, f"{registry.name}/back:{number}"))
        assert registry.api.digest("back", str(number)) == digest
    assert not newest.task("registry_copy", images=images, credentials=credentials).check().result["changed"]


def test_from_a_layout_to_a_layout(newest: Ansible, registry: Server) -> None:
    digest = push(registry.api, "a", "1", layers=2)
    base = newest.directory
    steps = [
        (f"{registry.name}/a:1", f"oci:{base}/one"),
        (f"oci:{base}/one:1", f"oci-archive:{base}/two.tar:2"),
        (f"oci-archive:{base}/two.tar", f"oci:{base}/one:3"),
    ]
    for source, target in steps:
        assert done(copy(newest, [registry], source, target))["digest"] == digest
    index = json.loads((base / "one" / "index.json").read_text())
    assert [(item["digest"], *item["annotations"].values()) for item in index["manifests"]] == [(digest, "1"), (digest, "3")]


@KINDS
def test_a_damaged_blob_is_tagged_nowhere(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    push(registry.api, "a", "1", layers=2, size=2_500_000)
    path = newest.directory / "layout"
    skopeo(f"docker://{registry.name}/a:1", f"oci:{path}:1", registry)
    blob = max((path / "blobs" / "sha256").iterdir(), key=lambda file: file.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    if kind == "oci-archive":
        with tarfile.open(newest.directory / "layout.tar", "w") as archive:
            archive.add(path, ".")
        path = newest.directory / "layout.tar"
    targets = [f"{other.name}/b:1", f"oci:{newest.directory}/copied:1"]
    run = copy(newest, [other], f"{kind}:{path}:1", *targets)
    assert run.result["failed"]
    assert f"blob sha256:{blob.name} of {kind}:{path}: its content is damaged or was changed on the way" in run.result["msg"]
    assert "\n" not in run.result["msg"]
    assert other.api.tags("b") == []
    assert not (newest.directory / "copied" / "index.json").exists()
    assert blob.name not in [file.name for file in (newest.directory / "copied").rglob("*")]


@KINDS
def test_what_is_not_there(newest: Ansible, other: Server, kind: str) -> None:
    run = copy(newest, [other], f"{kind}:{newest.directory}/missing:1", f"{other.name}/b:1")
    assert run.result["msg"].endswith(f"{kind}:{newest.directory}/missing:1 is not there: check the path and the tag")
    assert not (newest.directory / "missing").exists()


@KINDS
def test_killed_at_any_moment_it_can_be_run_again(newest: Ansible, registry: Server, other: Server, proxy_to: t.Callable[..., Proxy], kind: str) -> None:
    proxy = proxy_to(registry)
    digests = {tag: push(registry.api, "a", tag, layers=3, seed="same", size=1_500_000) for tag in ("1", "2")}
    path = newest.directory / "layout"
    done(copy(newest, [registry], f"{registry.name}/a:1", f"{kind}:{path}:before"))
    images = [{"source": f"{proxy.name}/a:{tag}", "destinations": [f"{kind}:{path}"]} for tag in digests]
    task = {"gating.containers.registry_copy": {"images": images, "credentials": registry.credentials(proxy.name)}}
    playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    times = 0
    for number, moment in enumerate(sorted(random.Random(4).sample(range(2, 16), 6))):
        times += newest.killed(proxy, moment, playbook=playbook) >= moment
        # What is there is whole: the image of before, and each that has its tag.
        if kind == "oci":
            check_blobs(path)
            names = [item["annotations"]["org.opencontainers.image.ref.name"] for item in json.loads((path / "index.json").read_text())["manifests"]]
        else:
            names = ["before"]
        assert "before" in names
        for name in names:
            skopeo(f"{kind}:{path}:{name}", f"docker://{other.name}/k{number}:{name}", other)
            assert other.api.digest(f"k{number}", name) == digests["1" if name == "before" else name]
            check(other.api, f"k{number}", name)
    assert times >= 3, "it was hardly ever killed in the middle"
    newest.play(playbook=playbook).check()
    for tag, digest in {**digests, "before": digests["1"]}.items():
        skopeo(f"{kind}:{path}:{tag}", f"docker://{other.name}/end:{tag}", other)
        assert other.api.digest("end", tag) == digest
        check(other.api, "end", tag)


@KINDS
def test_a_disk_that_is_full(newest: Ansible, registry: Server, other: Server, kind: str) -> None:
    digest = push(registry.api, "a", "1", layers=2, size=4_000_000)
    path = newest.directory / "layout"
    images = [{"source": f"{registry.name}/a:1", "destinations": [f"{kind}:{path}", f"{other.name}/b:1"]}]
    task = {"gating.containers.registry_copy": {"images": images, "credentials": {**registry.credentials(), **other.credentials()}}}
    process = newest.start(playbook=[{"hosts": "localhost", "gather_facts": False, "tasks": [task]}])
    # No file may be larger than this.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    output = process.communicate(timeout=120)[0]
    assert process.returncode
    told = f"copy of {registry.name}/a:1 to {kind}:{path}:1: write of blobs/sha256/"
    assert told in output
    assert f" of {kind}:{path}: file too large: check {kind}:{path}" in output
    assert "Traceback" not in output
    assert other.api.digest("b", "1") == digest, "the other destination has it"
    assert [file for file in newest.directory.rglob(".*") if "layout" in str(file) and file.is_file()] == []
    if kind == "oci-archive":
        assert not path.exists()
    else:
        check_blobs(path)
        assert not (path / "index.json").exists()
    done(copy(newest, [registry], f"{registry.name}/a:1", f"{kind}:{path}"))


@KINDS
def test_a_place_where_nothing_can_be_written(newest: Ansible, registry: Server, kind: str) -> None:
    push(registry.api, "a", "1", layers=1)
    # Not even root may make files here.
    run = copy(newest, [registry], f"{registry.name}/a:1", f"{kind}:/sys/gating/layout:1")
    assert run.result["failed"]
    assert f" of {kind}:/sys/gating/layout: " in run.result["msg"]
    assert run.result["msg"].endswith(f": check {kind}:/sys/gating/layout")
    assert "\n" not in run.result["msg"]
