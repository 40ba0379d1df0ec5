# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building, uploading and promoting real images with podman, by roles and by playbooks."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t

import pytest
from proxy import Answer, Proxy
from registries import Api, Server, start_docker_registry

from playbooks import Ansible, play_of

ZUUL = {
    "change": "7",
    "change_url": "https://review.example/7",
    "pipeline": "gate",
    "commit_id": "0123abc",
    "project": {"canonical_name": "review.example/acme/app"},
}
CONTAINERFILE = """\
FROM scratch AS base
COPY busybox /bin/busybox
ARG MSG=unset
LABEL message=$MSG
FROM base AS small
ENV SIZE=small
FROM base
COPY content /content
"""


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with what two images are built from."""
    for name in ("one", "two"):
        context = tmp_path / "src" / name
        context.mkdir(parents=True)
        shutil.copy("/bin/busybox", context / "busybox")
        (context / "content").write_text(f"{name} {time.time_ns()}")
        (context / "Containerfile").write_text(CONTAINERFILE)
    return tmp_path / "src"


def variables(name: str, source: pathlib.Path, credentials: t.Any, **more: t.Any) -> dict[str, t.Any]:
    images = [
        {
            "context": "one",
            "repository": f"{name}/acme/one",
            "tags": ["latest", "1.0", "1"],
            "build_args": ['MSG=it\'s "two words" $HOME; ä'],
            "labels": ["flavour=plain vanilla"],
        },
        {"context": "two", "repository": f"{name}/acme/two", "target": "small"},
    ]
    return {"zuul": ZUUL, "zuul_work_dir": str(source), "container_images": images, "container_registry_credentials": credentials, **more}


def labels_of(api: Api, path: str, tag: str) -> dict[str, str]:
    config = api.call("GET", f"{path}/manifests/{tag}").json()["config"]["digest"]
    return dict(api.call("GET", f"{path}/blobs/{config}").json()["config"]["Labels"])


def test_build_upload_promote(ansible: Ansible, registry: Server, podman: t.Any, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    ansible.environment.update(podman)
    given = variables(proxy.name, source, registry.credentials(proxy.name))
    api = registry.api

    build = ansible.role("build_container_image", **given).check()
    assert build.recap["changed"] == 1
    upload = ansible.role("upload_container_image", fact="uploaded_container_images", **given).check()
    state = api.state("acme/one", "acme/two")
    assert sorted(state) == ["acme/one:change_7_1", "acme/one:change_7_1.0", "acme/one:change_7_latest", "acme/two:change_7_latest"]
    assert {f"acme/{item['repository'].rpartition('/')[2]}:{item['tag']}": item["digest"] for item in upload.result} == state
    assert len({digest for name, digest in state.items() if "/one:" in name}) == 1
    puts = [request.path for request in proxy.requests if request.method == "PUT" and "/acme/one/blobs/" in request.path]
    blobs = [path.rpartition("digest=")[2] for path in puts]
    assert len(blobs) == len(set(blobs)), "a blob was uploaded twice"
    assert labels_of(api, "acme/one", "change_7_1") == {
        "message": 'it\'s "two words" $HOME; ä',
        "flavour": "plain vanilla",
        "org.zuul-ci.change": "7",
        "org.zuul-ci.change_url": "https://review.example/7",
        "org.opencontainers.image.source": "https://review.example/acme/app",
        "org.opencontainers.image.revision": "0123abc",
        "io.buildah.version": labels_of(api, "acme/one", "change_7_1")["io.buildah.version"],
    }
    assert len(api.call("GET", "acme/two/manifests/change_7_latest").json()["layers"]) == 1, "the target was not honoured"

    ansible.role("promote_container_image", **given).check()
    assert api.state("acme/one", "acme/two") == {name.replace("change_7_", ""): digest for name, digest in state.items()}

    for role in ("build_container_image", "promote_container_image"):
        assert ansible.role(role, **given).check().recap["changed"] == 0, role
    assert ansible.role("upload_container_image", **given).check().recap["changed"] == 1, "the temporary tags were gone"
    assert ansible.role("upload_container_image", **given).check().recap["changed"] == 0


def test_release_without_zuul_by_playbooks(newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path) -> None:
    newest.environment.update(podman)
    given = variables(registry.name, source, registry.credentials(), upload_container_image_promote=False)
    del given["zuul"]
    for name in ("build", "upload"):
        newest.play(playbook=f"gating.containers.{name}", variables=given).check()
    assert sorted(registry.api.state("acme/one", "acme/two")) == ["acme/one:1", "acme/one:1.0", "acme/one:latest", "acme/two:latest"]
    assert "org.zuul-ci.change" not in labels_of(registry.api, "acme/one", "1")


def test_operators_promote_by_playbooks(newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path) -> None:
    newest.environment.update(podman)
    given = variables(registry.name, source, registry.credentials())
    del given["zuul"]
    for name in ("build", "upload", "promote"):
        newest.play(playbook=f"gating.containers.{name}", variables=given).check()
    assert sorted(registry.api.state("acme/one", "acme/two")) == ["acme/one:1", "acme/one:1.0", "acme/one:latest", "acme/two:latest"]


def test_a_release_that_fails_says_which_tags_were_moved(
    newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]
) -> None:
    proxy = proxy_to(registry, lambda method, path, body: Answer(403) if method == "PUT" and path.endswith("/manifests/1.0") else None)
    newest.environment.update(podman)
    given = variables(proxy.name, source, registry.credentials(proxy.name), upload_container_image_promote=False)
    newest.role("build_container_image", **given).check()
    run = newest.role("upload_container_image", **given)
    assert run.status != 0
    assert registry.api.tags("acme/one") == ["latest"]
    assert f"of the tags to upload these were: {proxy.name}/acme/one:latest, {proxy.name}/acme/two:latest" in re.sub(r"\s+", " ", run.output)


def test_check_mode_builds_and_pushes_nothing(newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]) -> None:
    proxy = proxy_to(registry)
    newest.environment.update(podman)
    given = variables(proxy.name, source, registry.credentials(proxy.name))
    for role in ("build_container_image", "upload_container_image"):
        assert newest.role(role, "--check", **given).check().recap["changed"] == 1
    assert not proxy.requests
    images = subprocess.run(["podman", "images", "--quiet"], env={**os.environ, **podman}, capture_output=True, text=True, check=True)
    assert images.stdout == ""


def test_a_failing_build_shows_the_tools_own_words(newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path) -> None:
    newest.environment.update(podman)
    (source / "two" / "Containerfile").write_text("FROM scratch AS small\nCOPY not-there /\n")
    run = newest.role("build_container_image", **variables(registry.name, source, registry.credentials()))
    assert run.status != 0
    text = re.sub(r"\s+", " ", run.output)
    assert f"build of {registry.name}/acme/two: podman build failed with exit code" in text
    assert "not-there" in text, text


def test_what_is_missing_is_named_before_anything_is_built(newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path) -> None:
    newest.environment.update(podman)
    (source / "two" / "Containerfile").unlink()
    run = newest.role("build_container_image", **variables(registry.name, source, registry.credentials()))
    assert run.status != 0
    assert f"{registry.name}/acme/two: there is no Containerfile or Dockerfile in {source}/two" in re.sub(r"\s+", " ", run.output)
    assert subprocess.run(["podman", "images", "--quiet"], env={**os.environ, **podman}, capture_output=True, text=True, check=True).stdout == ""


def test_a_refused_repository_is_not_pushed_to(
    newest: Ansible, registry: Server, podman: t.Any, source: pathlib.Path, proxy_to: t.Callable[..., Proxy]
) -> None:
    proxy = proxy_to(registry)
    newest.environment.update(podman)
    given = variables(proxy.name, source, registry.credentials(proxy.name, repository="/acme/one$"))
    run = newest.role("upload_container_image", **given)
    assert run.status != 0
    assert "permit only repositories that match" in run.output
    assert not proxy.requests


def test_a_registry_with_tls_and_its_own_ca(ansible: Ansible, podman: t.Any, source: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = start_docker_registry(directory / "registry", tls=(certificate, key))
    try:
        ansible.environment.update(podman)
        # What CI systems set, and what requests prefers to a session's own setting.
        ansible.environment["REQUESTS_CA_BUNDLE"] = "/etc/ssl/certs/ca-certificates.crt"
        given = variables(server.name, source, server.credentials(ca_cert=certificate.read_text()))
        ansible.play(playbook=play_of("build_container_image", "upload_container_image", "promote_container_image"), variables=given).check()
        api = Api(server.name, server.username, server.password, base_url=f"https://{server.name}", verify=str(certificate))
        assert sorted(api.state("acme/one", "acme/two")) == ["acme/one:1", "acme/one:1.0", "acme/one:latest", "acme/two:latest"]
        assert not list(ansible.tmp.iterdir()), "a certificate was left"

        run = ansible.role("promote_container_image", **{**given, "container_registry_credentials": server.credentials()})
        assert run.status != 0
        assert "its TLS certificate is not trusted" in re.sub(r"\s+", " ", run.output)
    finally:
        server.stop()


def test_the_password_is_nowhere(ansible: Ansible, registry: Server, podman: t.Any, source: pathlib.Path) -> None:
    ansible.environment.update(podman)
    ansible.environment["REGISTRY_PASSWORD"] = registry.password
    given = variables(registry.name, source, {})
    given["container_registry_credentials"] = (
        "{{ {'" + registry.name + "': {'username': 'publisher', 'password': lookup('ansible.builtin.env', 'REGISTRY_PASSWORD')}} }}"
    )
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        playbook = play_of("build_container_image", "upload_container_image", "promote_container_image")
        run = ansible.play("-vvvv", playbook=playbook, variables=given).check()
    finally:
        over.set()
        watcher.join()
    assert any(b"podman\0push" in argv for argv in seen), "the push was not seen"
    assert not [argv for argv in seen if registry.password.encode() in argv]
    assert registry.password not in run.output
    for directory in (ansible.directory, pathlib.Path(podman["CONTAINERS_STORAGE_CONF"]).parent):
        for path in directory.rglob("*"):
            assert path.is_symlink() or not path.is_file() or registry.password.encode() not in path.read_bytes(), path


def test_ensure_container_command_does_nothing_where_it_is_there(ansible: Ansible) -> None:
    run = ansible.role("ensure_container_command").check()
    assert run.recap["changed"] == 0
    assert run.recap["skipped"] == 1


def test_ensure_container_command_installs_what_is_missing(newest: Ansible) -> None:
    # A PATH on which there is all but podman, so that it counts as missing; apt then finds its package in place.
    # apt drops its privileges, and cannot look into pytest's own directories.
    with tempfile.TemporaryDirectory() as programs:
        pathlib.Path(programs).chmod(0o755)
        for path in pathlib.Path("/usr/bin").iterdir():
            if path.name != "podman":
                (pathlib.Path(programs) / path.name).symlink_to(path)
        del newest.environment["TMPDIR"]
        play = play_of("ensure_container_command")
        play[0]["environment"] = {"PATH": f"{programs}:/usr/sbin:/sbin"}
        run = newest.play(playbook=play).check()
        assert (run.recap["skipped"], run.recap["changed"]) == (0, 0)
