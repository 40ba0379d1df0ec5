# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests know of registries without the code that is tested: raw requests, and images made by hand."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import typing as t

import docker_registry
import pytest
import requests

ACCEPT = ", ".join(
    f"application/vnd.{kind}"
    for kind in (
        "oci.image.index.v1+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "docker.distribution.manifest.v2+json",
    )
)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def ago(seconds: float) -> str:
    """A date in the form of an image's config."""
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


class Api:
    """A registry, spoken to in the plainest way."""

    def __init__(self, name: str, username: str = "", password: str = "", base_url: str = "", verify: t.Any = True) -> None:
        self.name = name
        self.base_url = base_url or f"http://{name}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.verify = verify
        if username:
            self.session.auth = (username, password)

    def call(self, method: str, path: str, **options: t.Any) -> requests.Response:
        url = path if "://" in path else f"{self.base_url}/v2/{path}"
        headers = {"Accept": ACCEPT, **options.pop("headers", {})}
        return self.session.request(method, url, headers=headers, timeout=30, verify=self.verify, **options)

    def blob(self, repository: str, content: bytes) -> str:
        digest = digest_of(content)
        if self.call("HEAD", f"{repository}/blobs/{digest}").status_code != 200:
            location = self.call("POST", f"{repository}/blobs/uploads/").headers["Location"]
            if location.startswith("/"):
                location = self.base_url + location
            done = self.call("PUT", location + ("&" if "?" in location else "?") + f"digest={digest}", data=content)
            assert done.status_code == 201, done.text
        return digest

    def manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        done = self.call("PUT", f"{repository}/manifests/{reference}", data=content, headers={"Content-Type": media_type})
        assert done.status_code == 201, (done.status_code, done.text)
        return digest_of(content)

    def image(
        self,
        repository: str,
        tag: str | None,
        *,
        text: str = "x",
        labels: t.Mapping[str, str] | None = None,
        created: str | None = None,
        architecture: str = "amd64",
    ) -> dict[str, t.Any]:
        """Store an image of one small layer, and return its descriptor."""
        layer = f"layer of {text} {architecture}".encode()
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
        }
        if created is not None:
            config["created"] = created
        config_content = json.dumps(config).encode()
        content = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": self.blob(repository, config_content),
                    "size": len(config_content),
                },
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.blob(repository, layer), "size": len(layer)}],
            }
        ).encode()
        media_type = "application/vnd.oci.image.manifest.v1+json"
        digest = self.manifest(repository, tag or digest_of(content), media_type, content)
        return {"mediaType": media_type, "digest": digest, "size": len(content), "platform": {"os": "linux", "architecture": architecture}}

    def index(self, repository: str, tags: t.Sequence[str], *, annotations: t.Mapping[str, str] | None = None, **options: t.Any) -> str:
        """Store an index of two platforms under some tags, and return its digest."""
        children = [self.image(repository, None, architecture=architecture, **options) for architecture in ("amd64", "arm64")]
        # White space at odd places: only who keeps the bytes keeps the digest.
        content = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": children,
                **({"annotations": dict(annotations)} if annotations else {}),
            },
            indent=3,
        ).encode()
        for tag in tags:
            self.manifest(repository, tag, "application/vnd.oci.image.index.v1+json", content)
        return digest_of(content)

    def tags(self, repository: str) -> list[str]:
        answer = self.call("GET", f"{repository}/tags/list")
        return sorted(answer.json()["tags"] or []) if answer.status_code == 200 else []

    def digest(self, repository: str, tag: str) -> str | None:
        answer = self.call("HEAD", f"{repository}/manifests/{tag}")
        assert answer.status_code in (200, 404), answer.status_code
        return answer.headers["Docker-Content-Digest"] if answer.status_code == 200 else None

    def state(self, *repositories: str) -> dict[str, str | None]:
        """What every tag names."""
        return {f"{repository}:{tag}": self.digest(repository, tag) for repository in repositories for tag in self.tags(repository)}


class Server:
    """A registry's process."""

    username = "publisher"
    password = "correct-horse-battery"

    def __init__(self, process: subprocess.Popen[bytes], port: int, directory: pathlib.Path, host: str = "127.0.0.1") -> None:
        self.process = process
        self.directory = directory
        self.port = port
        self.host = host
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def api(self) -> Api:
        return Api(self.name, self.username, self.password)

    def credentials(self, *names: str, **more: t.Any) -> dict[str, dict[str, t.Any]]:
        return {name: {"username": self.username, "password": self.password, **more} for name in names or (self.name,)}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def make_certificate(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A self-signed certificate for loopback's addresses, and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,IP:::1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


def start_docker_registry(directory: pathlib.Path, **options: t.Any) -> Server:
    """Debian's docker-registry 2.8, or with ``command`` the newer distribution, with a password."""
    process, port = docker_registry.start(directory, Server.username, Server.password, **options)
    return Server(process, port, directory, options.get("host", "127.0.0.1"))


def start_zuul_registry(directory: pathlib.Path, command: str, tls: tuple[pathlib.Path, pathlib.Path] | None = None) -> Server:
    """Zuul's registry, which has a token server.

    :param tls: paths of certificate and key, plain HTTP without.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = docker_registry.free_port()
    config = {
        "registry": {
            "address": "127.0.0.1",
            "port": port,
            "public-url": f"{'https' if tls else 'http'}://127.0.0.1:{port}",
            "secret": "unused",
            "users": [
                {"name": Server.username, "pass": Server.password, "access": "write"},
                {"name": "reader", "pass": "reader", "access": "read"},
            ],
            "storage": {"driver": "filesystem", "root": str(directory / "data")},
            **({"tls-cert": str(tls[0]), "tls-key": str(tls[1])} if tls else {}),
        }
    }
    path = directory / "registry.yaml"
    path.write_text(json.dumps(config))
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([command, "-c", str(path)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    docker_registry.wait_for("127.0.0.1", port, process, log)
    return Server(process, port, directory)


def start_olareg(directory: pathlib.Path, command: str, deletes: bool = False) -> Server:
    """olareg, which lists referrers. It has no password."""
    port = docker_registry.free_port()
    log = directory / "log"
    arguments = ["serve", "--addr", "127.0.0.1", "--port", str(port), "--store-type", "mem", *(["--api-delete"] if deletes else [])]
    with log.open("wb") as output:
        process = subprocess.Popen([command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    docker_registry.wait_for("127.0.0.1", port, process, log)
    return Server(process, port, directory)


def start_zot(directory: pathlib.Path, command: str, deletes: bool = True) -> Server:
    """zot, with a password.

    :param deletes: whether its user has the right to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = docker_registry.free_port()
    users, path, log = directory / "htpasswd", directory / "config.json", directory / "log"
    users.write_text(docker_registry.htpasswd(Server.username, Server.password))
    policy = {"users": [Server.username], "actions": ["read", "create", "update", *(["delete"] if deletes else [])]}
    config = {
        "distSpecVersion": "1.0.1",
        "storage": {"rootDirectory": str(directory / "data")},
        "http": {"address": "127.0.0.1", "port": str(port), "auth": {"htpasswd": {"path": str(users)}}, "accessControl": {"**": {"policies": [policy]}}},
        "log": {"level": "error"},
    }
    path.write_text(json.dumps(config))
    with log.open("wb") as output:
        process = subprocess.Popen([command, "serve", str(path)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    docker_registry.wait_for("127.0.0.1", port, process, log)
    return Server(process, port, directory)


#: The registries that can remove tags, and where their programs are.
PROGRAMS = {
    "docker-registry": "docker-registry",
    "distribution 3": os.environ.get("GATING_TEST_DISTRIBUTION", ""),
    "olareg": os.environ.get("GATING_TEST_OLAREG", ""),
    "zot": os.environ.get("GATING_TEST_ZOT", ""),
}


def start_any(software: str, directory: pathlib.Path, deletes: bool = True) -> Server:
    """One of them. The test is skipped where it could not be built.

    :param deletes: whether it removes tags.
    """
    command = PROGRAMS[software]
    if not command:
        pytest.skip(f"{software} is built where Go is present")
    if software == "olareg":
        return start_olareg(directory, command, deletes)
    if software == "zot":
        return start_zot(directory, command, deletes)
    return start_docker_registry(directory, command=command, deletes=deletes)


def zuul_registry_token(server: Server, repository: str) -> str:
    """A token of the registry's own server."""
    url = f"http://{server.name}/auth/token?scope=repository:{repository}:pull,push"
    answer = requests.get(url, auth=(server.username, server.password), timeout=30)
    return str(answer.json()["token"])


def push_to_zuul_registry(server: Server, path: str, tags: list[str]) -> str:
    """Store a Docker image, the only kind that zuul-registry checks."""
    headers = {"Authorization": f"Bearer {zuul_registry_token(server, path)}"}
    base = f"http://{server.name}/v2/{path}"
    descriptors = []
    for content in (b'{"architecture":"amd64","os":"linux"}', b"layer"):
        location = requests.post(f"{base}/blobs/uploads/", headers=headers, timeout=30).headers["Location"]
        location = location if "://" in location else f"http://{server.name}{location}"
        done = requests.put(f"{location}?digest={digest_of(content)}", data=content, headers=headers, timeout=30)
        assert done.status_code == 201, done.text
        descriptors.append({"digest": digest_of(content), "size": len(content)})
    descriptors[0]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    descriptors[1]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": descriptors[0], "layers": descriptors[1:]}).encode()
    for tag in tags:
        done = requests.put(f"{base}/manifests/{tag}", data=content, headers={**headers, "Content-Type": media_type}, timeout=30)
        assert done.status_code == 201, done.text
    return digest_of(content)


def resolve_with_token(server: Server, path: str, tag: str, index: bool = False) -> str:
    """What a tag names at zuul-registry."""
    accept = ACCEPT if index else "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    headers = {"Authorization": f"Bearer {zuul_registry_token(server, path)}", "Accept": accept}
    return requests.head(f"http://{server.name}/v2/{path}/manifests/{tag}", headers=headers, timeout=30).headers["Docker-Content-Digest"]
