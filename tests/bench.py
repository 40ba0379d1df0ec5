# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the copying and retagging of this collection with skopeo, crane and regctl, on registries of its own.

Registries, proxies and all that the tools write are below one temporary directory (``TMPDIR``), which is removed in the end.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import typing as t
import zlib

import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "playbooks/files"))

import docker_registry  # noqa: E402

MIB = 1024 * 1024
TAG = "1.0"
OURS, NET = "gating.containers", "gating.containers without Ansible's start"
SKOPEO_CACHE = "/var/lib/containers/cache"
PLATFORMS = (("amd64", ""), ("arm64", "v8"), ("arm", "v7"), ("ppc64le", ""), ("s390x", ""), ("riscv64", ""))
LOGGED = re.compile(rb'\] "[A-Z]+ \S+ HTTP/1\.[01]" ')

ABOUT = """\
# Benchmarks

Written by `make bench`, see `tests/bench.py`. Every number is the median of {rounds} rounds in which the tools took turns on the same registries.

- Requests are counted in the access logs of the registries. Debian's docker-registry is used, without a login and without TLS, so there are no tokens.
- 20 ms latency is added to each request by a proxy in front of each registry, not to each connection or packet.
- CPU is user and system time of the tool's processes, and in the column beside it that of the registries. Memory is that of the tool's largest
  process, also where four of them run at once.
- {ours} copies all images by one task of one playbook. The row "without Ansible's start" has the median of an empty playbook, run in the same rounds,
  taken off; it is what an image adds to a playbook that runs anyway.
- The other tools are run once for each image and destination, as their users do, one after the other and four at once. The slower of both ways is
  run in the first round only. Their caches are empty at the start of a run, as on a fresh node.
- Layers are random data. After each run it was checked that each destination has the right digests and all blobs.
- The last two columns are the time in relation to both rows of ours: above 1 is slower than ours.
"""


# -- a proxy that delays ---------------------------------------------------------------------------------------------------


class Stream:
    """One direction of a connection: what comes from one socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = b""

    def first(self) -> int | None:
        """The first byte that is to come."""
        if not self._held:
            self._held = self.sock.recv(65536)
        return self._held[0] if self._held else None

    def until(self, end: bytes) -> bytes:
        """All up to the end of a line or of a head.

        :raises EOFError: the connection was closed.
        """
        while (at := self._held.find(end)) < 0:
            part = self.sock.recv(65536)
            if not part:
                raise EOFError()
            self._held += part
        at += len(end)
        found, self._held = self._held[:at], self._held[at:]
        return found

    def relay(self, out: socket.socket, pipe: tuple[int, int], size: int, before: bytes = b"") -> None:
        """Hand on so many bytes; what is not read yet never enters this process."""
        part, self._held = self._held[:size], self._held[size:]
        if before or part:
            out.sendall(before + part)
        left = size - len(part)
        while left:
            ready = os.splice(self.sock.fileno(), pipe[1], min(left, MIB))
            if not ready:
                raise EOFError()
            left -= ready
            while ready:
                ready -= os.splice(pipe[0], out.fileno(), ready)

    def relay_body(self, head: bytes, out: socket.socket, pipe: tuple[int, int], response: bool = False) -> bool:
        """Hand on the head of a message, and its body.

        :returns: whether the connection may be used again.
        """
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            out.sendall(head)
            while size := int((line := self.until(b"\r\n")).split(b";")[0], 16):
                self.relay(out, pipe, size + 2, line)
            trailer = line
            while line != b"\r\n":
                line = self.until(b"\r\n")
                trailer += line
            out.sendall(trailer)
            return True
        length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", lower)
        if length is None and response:
            raise EOFError()
        self.relay(out, pipe, int(length[1]) if length else 0, head)
        return b"\r\nconnection: close\r\n" not in lower


class DelayProxy:
    """Hands requests on to a server on loopback, each a while after it came. Bodies are streamed, connections kept.

    :param port: of the server.
    :param delay: seconds.
    """

    def __init__(self, port: int, delay: float) -> None:
        self._server = ("127.0.0.1", port)
        self._delay = delay
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, dummy = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError, EOFError))
            self._keep(client, stack)
            asked = Stream(client)
            if asked.first() == 0x16:
                # crane tries TLS first. The registry would answer the same.
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            server = socket.create_connection(self._server)
            self._keep(server, stack)
            answered = Stream(server)
            pipe = os.pipe()
            stack.callback(os.close, pipe[0])
            stack.callback(os.close, pipe[1])
            while self._exchange(asked, answered, pipe):
                pass

    def _keep(self, sock: socket.socket, stack: contextlib.ExitStack) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(sock)
        stack.callback(self._drop, sock)

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)
        sock.close()

    def _exchange(self, asked: Stream, answered: Stream, pipe: tuple[int, int]) -> bool:
        """One request and its answer; returns whether another may follow."""
        head = asked.until(b"\r\n\r\n")
        time.sleep(self._delay)
        again, expectation = re.subn(rb"(?i)\r\nexpect: 100-continue(?=\r\n)", b"", head)
        if expectation:
            asked.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        more = asked.relay_body(again, answered.sock, pipe)
        answer = answered.until(b"\r\n\r\n")
        if head.startswith(b"HEAD ") or answer.split(b" ", 2)[1] in (b"204", b"304"):
            asked.sock.sendall(answer)
            return more
        return answered.relay_body(answer, asked.sock, pipe, response=True) and more

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


# -- registries and images -------------------------------------------------------------------------------------------------


class Server:
    """A registry below a directory, which is removed with it, and the proxies in front of it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.process, self.port = docker_registry.start(directory, "", "")
        self._proxies: dict[float, DelayProxy] = {}

    def name(self, latency: float = 0) -> str:
        """Its name for clients that are to wait so many seconds for each answer."""
        if not latency:
            return f"127.0.0.1:{self.port}"
        if latency not in self._proxies:
            self._proxies[latency] = DelayProxy(self.port, latency)
        return f"127.0.0.1:{self._proxies[latency].port}"

    def requests(self) -> int:
        """How many requests it has answered so far."""
        # It writes a line just after it has answered.
        before, now = -1, 0
        while before != now:
            time.sleep(0.05)
            before, now = now, len(LOGGED.findall((self.directory / "log").read_bytes()))
        return now

    def cpu(self) -> float:
        """Seconds of CPU that it has used so far."""
        numbers = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Stop it, and remove what it stored."""
        for proxy in self._proxies.values():
            proxy.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image or an index in a registry, with the tag ``TAG``.

    :param manifests: digests, its own and those of the images of an index.
    """

    repository: str
    digest: str
    manifests: tuple[str, ...]
    blobs: tuple[str, ...]


class Seeder:
    """Makes images and pushes them; the same ones at each registry."""

    def __init__(self, server: Server) -> None:
        self._base = f"http://{server.name()}/v2/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._pushed: dict[tuple[int, int], tuple[dict[str, t.Any], str]] = {}

    def image(self, repository: str, layers: t.Sequence[tuple[int, int]], shared: str = "", variant: tuple[str, str] = ("amd64", "")) -> dict[str, t.Any]:
        """Push an image, and return its descriptor with what it is of.

        :param layers: sizes and seeds.
        :param shared: a repository that has all layers but the last.
        """
        parts: list[tuple[dict[str, t.Any], str]] = []
        for number, (size, seed) in enumerate(layers):
            known = self._pushed.get((size, seed)) if shared and number < len(layers) - 1 else None
            parts.append(known or self._layer(repository, size, seed))
            self._pushed[(size, seed)] = parts[-1]
            if known:
                query = {"mount": known[0]["digest"], "from": shared}
                self._expect(self._session.post(f"{self._base}{repository}/blobs/uploads/", params=query), 201)
        of = {"architecture": variant[0], "os": "linux", **({"variant": variant[1]} if variant[1] else {})}
        config = json.dumps({**of, "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff for dummy, diff in parts]}, "about": repository}).encode()
        described = self._blob(repository, iter([config]), "application/vnd.oci.image.config.v1+json")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described,
            "layers": [layer for layer, dummy in parts],
        }
        return {**self._manifest(repository, manifest), "platform": of, "blobs": [described["digest"], *(layer["digest"] for layer, dummy in parts)]}

    def single(self, repository: str, layers: t.Sequence[tuple[int, int]], shared: str = "") -> Image:
        """Push an image with its tag."""
        found = self.image(repository, layers, shared)
        return self._tagged(repository, [found], found["digest"], found["mediaType"])

    def many(self, number: int, size: int) -> list[Image]:
        """Push small images that have five layers in common."""
        layers = [(size, seed) for seed in range(1, 6)]
        return [self.single(f"many/app{index}", [*layers, (16 * 1024, 1000 + index)], "many/app0" if index else "") for index in range(number)]

    def one(self, repository: str, size: int, seed: int) -> Image:
        """Push an image of eight layers."""
        return self.single(repository, [(size, seed + number) for number in range(8)])

    def index(self, repository: str, size: int) -> Image:
        """Push an index of six platforms, each of three layers."""
        found = [self.image(repository, [(size, 5000 + 10 * n + layer) for layer in range(3)], variant=variant) for n, variant in enumerate(PLATFORMS)]
        media_type = "application/vnd.oci.image.index.v1+json"
        listed = [{key: value for key, value in item.items() if key != "blobs"} for item in found]
        top = self._manifest(repository, {"schemaVersion": 2, "mediaType": media_type, "manifests": listed})
        return self._tagged(repository, [*found, top], top["digest"], media_type)

    def _tagged(self, repository: str, parts: t.Sequence[t.Mapping[str, t.Any]], digest: str, media_type: str) -> Image:
        content = self._session.get(f"{self._base}{repository}/manifests/{digest}", headers={"Accept": media_type}).content
        self._expect(self._session.put(f"{self._base}{repository}/manifests/{TAG}", content, headers={"Content-Type": media_type}), 201)
        blobs = dict.fromkeys(blob for part in parts for blob in part.get("blobs", ()))
        return Image(repository, digest, tuple(part["digest"] for part in parts), tuple(blobs))

    def _layer(self, repository: str, size: int, seed: int) -> tuple[dict[str, t.Any], str]:
        """Push a layer with one file of random data, and return its descriptor and the digest of what is compressed."""
        inner = hashlib.sha256()

        def content() -> t.Iterator[bytes]:
            generator, left = random.Random(seed), size
            compress = zlib.compressobj(0, zlib.DEFLATED, 31)
            entry = tarfile.TarInfo(f"file{seed}")
            entry.size = size
            inner.update(head := entry.tobuf())
            yield compress.compress(head)
            while left:
                part = generator.randbytes(min(left, MIB))
                left -= len(part)
                inner.update(part)
                yield compress.compress(part)
            inner.update(end := bytes(-size % 512 + 1024))
            yield compress.compress(end) + compress.flush()

        return self._blob(repository, content(), "application/vnd.oci.image.layer.v1.tar+gzip"), f"sha256:{inner.hexdigest()}"

    def _blob(self, repository: str, content: t.Iterator[bytes], media_type: str) -> dict[str, t.Any]:
        outer, size = hashlib.sha256(), 0

        def hashed() -> t.Iterator[bytes]:
            nonlocal size
            for part in filter(None, content):
                outer.update(part)
                size += len(part)
                yield part

        begun = self._expect(self._session.post(f"{self._base}{repository}/blobs/uploads/"), 202)
        filled = self._expect(self._session.patch(begun.headers["Location"], data=hashed(), headers={"Content-Type": "application/octet-stream"}), 202)
        digest = f"sha256:{outer.hexdigest()}"
        self._expect(self._session.put(filled.headers["Location"], params={"digest": digest}), 201)
        return {"mediaType": media_type, "digest": digest, "size": size}

    def _manifest(self, repository: str, manifest: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        content = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"{self._base}{repository}/manifests/{digest}"
        self._expect(self._session.put(url, content, headers={"Content-Type": manifest["mediaType"]}), 201)
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(content)}

    @staticmethod
    def _expect(response: requests.Response, status: int) -> requests.Response:
        if response.status_code != status:
            raise RuntimeError(f"{response.request.method} {response.url}: {response.status_code} {response.text[:500]}")
        return response


def missing(server: Server, repository: str, tag: str, image: Image, whole: bool) -> str:
    """What a registry has not of an image that it should have under a tag; empty if it is all there.

    :param whole: look for its blobs too.
    """
    with requests.Session() as session:
        session.trust_env = False
        base = f"http://{server.name()}/v2/{repository}"
        headers = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}
        for name, digest in [(tag, image.digest), *((digest, digest) for digest in image.manifests)]:
            found = session.head(f"{base}/manifests/{name}", headers=headers)
            if found.status_code != 200 or found.headers.get("Docker-Content-Digest") != digest:
                return f"{repository}:{name} is {found.headers.get('Docker-Content-Digest')} ({found.status_code}) instead of {digest}"
        for digest in image.blobs if whole else ():
            if session.head(f"{base}/blobs/{digest}").status_code != 200:
                return f"{repository} has no blob {digest}"
    return ""


# -- the tools -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done with one image: a name of source and destination, both of ``registry/repository``, and their tags."""

    image: Image
    server: Server
    source: str
    target: str
    tag: str

    @property
    def is_retag(self) -> bool:
        """Whether a tag is to be moved within a repository."""
        return self.source == self.target


class Tool:
    """A client program."""

    name = ""
    program = ""
    version_arguments: tuple[str, ...] = ("--version",)

    def version(self) -> str:
        """What it says of its version."""
        done = subprocess.run([self.program, *self.version_arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip().splitlines()[0].removeprefix(f"{self.program} ") if done.stdout.strip() else "unknown"

    def commands(self, steps: t.Sequence[Step], home: pathlib.Path) -> list[list[str]]:
        """What is to be run; with several commands in any order."""
        return [[self.program, *self.arguments(step)] for step in steps]

    def arguments(self, step: Step) -> list[str]:
        """The arguments for one image."""
        raise NotImplementedError


class Skopeo(Tool):
    """Of Debian."""

    name = program = "skopeo"

    def arguments(self, step: Step) -> list[str]:
        options = ["--insecure-policy", "copy", "--all", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
        return [*options, f"docker://{step.source}:{TAG}", f"docker://{step.target}:{step.tag}"]


class Crane(Tool):
    """Of go-containerregistry."""

    name = program = "crane"
    version_arguments = ("version",)

    def arguments(self, step: Step) -> list[str]:
        if step.is_retag:
            return ["tag", "--insecure", f"{step.source}:{TAG}", step.tag]
        return ["copy", "--insecure", f"{step.source}:{TAG}", f"{step.target}:{step.tag}"]


class Regctl(Tool):
    """Of regclient."""

    name = program = "regctl"
    version_arguments = ("version", "--format", "{{.VCSTag}}")

    def arguments(self, step: Step) -> list[str]:
        registries = dict.fromkeys(name.split("/")[0] for name in (step.source, step.target))
        hosts = [argument for registry in registries for argument in ("--host", f"reg={registry},tls=disabled")]
        return [*hosts, "image", "copy", f"{step.source}:{TAG}", f"{step.target}:{step.tag}"]


class Gating(Tool):
    """This collection: a playbook with one task for all images."""

    name, program = OURS, "ansible-playbook"

    def version(self) -> str:
        return str(yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"])

    def commands(self, steps: t.Sequence[Step], home: pathlib.Path) -> list[list[str]]:
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": self.tasks(steps)}]
        (home / "playbook.yml").write_text(json.dumps(play))
        return [[self.program, str(home / "playbook.yml")]]

    def tasks(self, steps: t.Sequence[Step]) -> list[dict[str, t.Any]]:
        """What the playbook does."""
        registries = {name.split("/")[0] for step in steps for name in (step.source, step.target)}
        credentials = {registry: {"scheme": "http"} for registry in registries}
        if steps[0].is_retag:
            images: list[dict[str, t.Any]] = [{"repository": step.source, "source": TAG, "tags": [step.tag]} for step in steps]
            return [{"gating.containers.registry_retag": {"images": images, "credentials": credentials}}]
        destinations: dict[str, list[str]] = collections.defaultdict(list)
        for step in steps:
            destinations[f"{step.source}:{TAG}"].append(f"{step.target}:{step.tag}")
        images = [{"source": source, "destinations": targets} for source, targets in destinations.items()]
        return [{"gating.containers.registry_copy": {"images": images, "credentials": credentials}}]


class Empty(Gating):
    """Ansible's own start: a playbook that does nothing."""

    name = "an empty playbook"

    def tasks(self, steps: t.Sequence[Step]) -> list[dict[str, t.Any]]:
        return []


TOOLS: tuple[Tool, ...] = (Gating(), Skopeo(), Crane(), Regctl())


# -- measuring -------------------------------------------------------------------------------------------------------------


def launch() -> None:
    """Run commands and tell what they used. This function's source is a program of its own.

    What a process has of memory counts for its children until they are another program, so their parent must be small.
    """
    import json
    import os
    import sys
    import time

    work = json.load(sys.stdin)
    log = os.open(work["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2), (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    running, cpu, peak, failed = 0, 0.0, 0, 0
    waiting = work["commands"]
    begin = time.monotonic()
    while running or waiting:
        while waiting and running < work["jobs"]:
            command = waiting.pop(0)
            os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
            running += 1
        dummy, status, usage = os.wait4(-1, 0)
        running -= 1
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
        failed += status != 0
    print(json.dumps({"wall": time.monotonic() - begin, "cpu": cpu, "memory": peak / 1024, "failed": failed}))


LAUNCHER = inspect.getsource(launch) + "launch()\n"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run took.

    :param wall: seconds.
    :param cpu: seconds.
    :param memory: MiB, of the largest process.
    :param registries: seconds of CPU.
    """

    requests: float
    wall: float
    cpu: float
    memory: float
    registries: float = 0

    @staticmethod
    def median(runs: t.Sequence[Measured]) -> Measured:
        """The median of each number."""
        return Measured(*(statistics.median(dataclasses.astuple(run)[number] for run in runs) for number in range(5)))


class FailedError(Exception):
    """A tool ended with an error, or did not do what it should."""


class Runner:
    """Runs tools, each time with a home directory of its own that is empty."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._number = 0
        # Users have their bytecode compiled, and this tree must stay as it is.
        self._bytecode = directory / "bytecode"
        self._namespace = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0

    def run(self, tool: Tool, steps: t.Sequence[Step], jobs: int) -> Measured:
        """Run a tool, look at what it did, and tell what it took.

        :raises FailedError: it did not work.
        """
        self._number += 1
        home = self._directory / f"home{self._number}"
        home.mkdir()
        try:
            work = {"commands": tool.commands(steps, home), "jobs": jobs, "log": str(home / "log")}
            used = self._launch(work, home)
            if used.pop("failed"):
                raise FailedError(f"{tool.name} failed: {(home / 'log').read_text(errors='replace')[-1500:]}")
        finally:
            shutil.rmtree(home, ignore_errors=True)
        return Measured(requests=0, **used)

    def _launch(self, work: t.Mapping[str, t.Any], home: pathlib.Path) -> dict[str, t.Any]:
        argv = [sys.executable, "-I", "-S", "-c", LAUNCHER]
        if self._namespace:
            # For root skopeo remembers here which registry has which blob.
            mount = f'mkdir -p {SKOPEO_CACHE} && mount --bind "$0" {SKOPEO_CACHE} && exec "$@"'
            argv = ["unshare", "--mount", "sh", "-c", mount, str(home), *argv]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment(home), cwd=home, start_new_session=True) as process:
            try:
                output, dummy = process.communicate(json.dumps(work).encode(), timeout=3600)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise FailedError(f"{work['commands'][0][0]} could not be started")
        return t.cast("dict[str, t.Any]", json.loads(output))

    def _environment(self, home: pathlib.Path) -> dict[str, str]:
        places = {name: str(home) for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")}
        return {**places, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": str(self._bytecode), "ANSIBLE_LOCALHOST_WARNING": "false"}


# -- the cases -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """What is measured.

    :param images: pushes what is to be copied.
    :param fresh: how many empty registries it is copied to.
    :param filled: whether it is copied to a registry that has it already.
    """

    key: str
    title: str
    images: t.Callable[[Seeder], list[Image]]
    fresh: int = 0
    filled: bool = False
    retag: bool = False


def cases(size: int) -> list[Case]:
    """All cases.

    :param size: MiB of a layer of the large image, to which the others are in proportion.
    """
    base, medium, part = size * MIB // 128, size * MIB // 32, size * MIB // 512

    def many(number: int) -> t.Callable[[Seeder], list[Image]]:
        return lambda seeder: seeder.many(number, base)

    def retag(number: int) -> Case:
        return Case(f"a{number}", f"(a) Retag of {number} image{'s' if number > 1 else ''} within the repository", many(number), retag=True)

    hundred = f"100 images with 5 layers of {shown(base)} in common and one of 16 KiB"
    return [
        retag(1),
        retag(10),
        retag(100),
        Case("b", f"(b) One image of 8 layers of {size} MiB to an empty registry", lambda seeder: [seeder.one("large", size * MIB, 2000)], fresh=1),
        Case("c", f"(c) {hundred} to an empty registry", many(100), fresh=1),
        Case("d", "(d) The same again, unchanged", many(100), filled=True),
        Case("e", f"(e) One image of 8 layers of {shown(medium)} to 4 empty registries", lambda seeder: [seeder.one("medium", medium, 3000)], fresh=4),
        Case("f", f"(f) An index of 6 platforms, each of 3 layers of {shown(part)}, within one registry", lambda seeder: [seeder.index("index", part)]),
    ]


def shown(size: int) -> str:
    """A size as a person reads it."""
    return f"{size / MIB:g} MiB" if size >= MIB else f"{size / 1024:g} KiB"


@dataclasses.dataclass
class Row:
    """The runs of one tool in one case; which are several ones for each number of processes at once."""

    tool: Tool
    runs: dict[int, list[Measured]]
    error: str = ""

    def best(self) -> tuple[int, Measured] | None:
        """How many processes at once were the fastest, and what they took."""
        medians = {jobs: Measured.median(runs) for jobs, runs in self.runs.items() if runs}
        # After the first round only the faster way has more runs.
        return min(medians.items(), key=lambda item: (-len(self.runs[item[0]]), item[1].wall)) if medians else None


class Bench:
    """Runs cases.

    :param jobs: how many processes of other tools at once are tried.
    """

    def __init__(self, directory: pathlib.Path, tools: t.Sequence[Tool], rounds: int, jobs: t.Sequence[int]) -> None:
        self._directory = directory
        self._tools = tools
        self._rounds = rounds
        self._jobs = jobs
        self._runner = Runner(directory)
        self._number = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        self._source = self._start(self._stack)
        image = Seeder(self._source).one("warm", 1024, 1)
        for tool in self._tools:
            # Programs and bytecode are read from the disk once.
            for retag in (True, False):
                self._runner.run(tool, [self._step(image, self._source, 0, retag)], 1)
        return self

    def __exit__(self, *dummy: object) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> Server:
        self._number += 1
        server = Server(self._directory / f"registry{self._number}")
        stack.callback(server.close)
        return server

    def _step(self, image: Image, server: Server, latency: float, retag: bool) -> Step:
        """A copy to another registry keeps its name; within a registry it gets a new one, and so does a tag."""
        self._number += 1
        source = f"{self._source.name(latency)}/{image.repository}"
        if retag:
            return Step(image, server, source, source, f"prod-{self._number}")
        if server is self._source:
            return Step(image, server, source, f"{server.name(latency)}/copy{self._number}/{image.repository}", TAG)
        return Step(image, server, source, f"{server.name(latency)}/{image.repository}", TAG)

    def run(self, case: Case, latencies: t.Sequence[float]) -> dict[float, list[Row]]:
        """Measure all tools in a case; by latency."""
        images = case.images(Seeder(self._source))
        with contextlib.ExitStack() as stack:
            filled = None
            if case.filled:
                filled = self._start(stack)
                case.images(Seeder(filled))
            return {latency: self._rows(case, images, filled, latency) for latency in latencies}

    def _rows(self, case: Case, images: t.Sequence[Image], filled: Server | None, latency: float) -> list[Row]:
        alone = len(images) * max(case.fresh, 1) == 1
        rows = [Row(tool, {jobs: [] for jobs in ([1] if alone or isinstance(tool, Gating) else self._jobs)}) for tool in (*self._tools, Empty())]
        for number in range(self._rounds):
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                best = row.best()
                for jobs in [best[0]] if best else row.runs:
                    if row.error:
                        break
                    try:
                        row.runs[jobs].append(self._measure(row.tool, case, images, filled, latency, jobs))
                    except FailedError as exc:
                        row.error = str(exc)
                    say(f"{case.key} {1000 * latency:g} ms round {number + 1} {row.tool.name} x{jobs}: {row.error or row.runs[jobs][-1]}")
        return rows

    def _measure(self, tool: Tool, case: Case, images: t.Sequence[Image], filled: Server | None, latency: float, jobs: int) -> Measured:
        with contextlib.ExitStack() as stack:
            servers = [filled or self._source] if not case.fresh else [self._start(stack) for dummy in range(case.fresh)]
            steps = [self._step(image, server, latency, case.retag) for image in images for server in servers]
            counted = list(dict.fromkeys([self._source, *servers]))
            before = sum(server.requests() for server in counted)
            busy = sum(server.cpu() for server in counted)
            done = self._runner.run(tool, steps, jobs)
            busy = sum(server.cpu() for server in counted) - busy
            after = sum(server.requests() for server in counted)
            for step in [] if isinstance(tool, Empty) else steps:
                wrong = missing(step.server, step.target.partition("/")[2], step.tag, step.image, not case.retag)
                if wrong:
                    raise FailedError(f"{tool.name} was done, but {wrong}")
            return dataclasses.replace(done, requests=after - before, registries=busy)


def say(text: str) -> None:
    """Tell how far it is."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


# -- the report ------------------------------------------------------------------------------------------------------------


def table(results: t.Mapping[float, t.Sequence[Row]]) -> str:
    """What was measured in a case, in Markdown."""
    lines: list[tuple[str, ...]] = [
        ("Latency", "Tool", "Requests", "Seconds", "CPU seconds", "Registries' CPU", "Memory, MiB", "Ours = 1", "Without start = 1")
    ]
    for latency, rows in results.items():
        medians = {row.tool.name: best[1] for row in rows if (best := row.best())}
        ours, start = medians.get(OURS), medians.get(Empty.name)
        net = dataclasses.replace(ours, wall=max(ours.wall - start.wall, 0), cpu=max(ours.cpu - start.cpu, 0)) if ours and start else None
        for row in rows:
            best = row.best()
            if isinstance(row.tool, Empty):
                continue
            if row.error or not best:
                lines.append((f"{1000 * latency:g} ms", row.tool.name, "failed", *[""] * 6))
                continue
            for jobs, runs in sorted(row.runs.items(), key=lambda item: item[0] != best[0]):
                label = row.tool.name + (f", {jobs} at once" if jobs > 1 else ", one by one" if len(row.runs) > 1 else "")
                label += ", 1 round" if len(runs) < len(row.runs[best[0]]) else ""
                lines.append((f"{1000 * latency:g} ms", label, *numbers(Measured.median(runs), ours, net)))
            if row.tool.name == OURS and net:
                lines.append((f"{1000 * latency:g} ms", NET, *numbers(net, ours, net)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width if column < 2 else "-" * (width - 1) + ":" for column, width in enumerate(widths)))
    text = []
    for line in lines:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths))]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def numbers(one: Measured, ours: Measured | None, net: Measured | None) -> tuple[str, ...]:
    """The cells of a row."""
    ratios = [f"{one.wall / other.wall:.2f}" if other and other.wall > 0 else "" for other in (ours, net)]
    return (f"{one.requests:g}", f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{one.registries:.2f}", f"{one.memory:.0f}", *ratios)


def machine(tools: t.Sequence[Tool], absent: t.Sequence[str], directory: pathlib.Path) -> str:
    """What it ran on, in Markdown."""
    processors = re.findall(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.findall(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[0]) / 1024 / 1024
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    registry = subprocess.run(["docker-registry", "--version"], capture_output=True, text=True, check=False).stdout.split()
    kind = subprocess.run(["stat", "--file-system", "--format", "%T", str(directory)], capture_output=True, text=True, check=False).stdout.strip()
    ansible = subprocess.run(["ansible-playbook", "--version"], capture_output=True, text=True, check=False).stdout
    core = re.search(r"\[core ([^]]+)\]", ansible)
    python = re.search(r"python version = (\S+)", ansible)
    lines = [
        f"{processors[0] if processors else platform.machine()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory, data on {kind}",
        f"{system}, Linux {platform.release()}",
        f"docker-registry {registry[-1] if registry else 'unknown'}",
        f"ansible-core {core[1] if core else 'unknown'}, Python {python[1] if python else 'unknown'}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("requests", "urllib3")),
        ", ".join(f"{tool.name} {tool.version().removeprefix('version ')}" for tool in tools),
        *(f"{name} was not there and is left out" for name in absent),
    ]
    return "## Machine\n\n" + "\n".join(f"- {line}" for line in lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128, help="MiB of a layer of the large image; all others are in proportion")
    parser.add_argument("--cases", default="a,b,c,d,e,f", help="such as a1,a100,b")
    parser.add_argument("--latencies", default="0,20", help="milliseconds")
    parser.add_argument("--jobs", default="1,4", help="processes at once that are tried with many images, but for ours")
    parser.add_argument("--tools", default=",".join(tool.name for tool in TOOLS))
    parser.add_argument("--output", type=pathlib.Path, help="a file for the report, such as docs/benchmarks.md")
    return parser.parse_args()


def main() -> int:
    """Do what the command line says."""
    arguments = parse_arguments()
    wanted = arguments.tools.split(",")
    tools = [tool for tool in TOOLS if tool.name in wanted and shutil.which(tool.program)]
    absent = [tool.name for tool in TOOLS if tool.name in wanted and tool not in tools]
    chosen = [case for case in cases(arguments.size) if {case.key, case.key[0]} & set(arguments.cases.split(","))]
    latencies = [float(latency) / 1000 for latency in arguments.latencies.split(",")]
    for name in absent:
        say(f"{name} is not there and is left out")
    # For docker_registry.start, whose registries log nothing.
    os.environ["REGISTRY_LOG_ACCESSLOG_DISABLED"] = "false"
    signal.signal(signal.SIGTERM, lambda *dummy: sys.exit(143))
    sections, errors = [], []
    with tempfile.TemporaryDirectory(prefix="gating-bench-") as directory:
        about = machine(tools, absent, pathlib.Path(directory))
        with Bench(pathlib.Path(directory), tools, arguments.rounds, [int(jobs) for jobs in arguments.jobs.split(",")]) as bench:
            for case in chosen:
                results = bench.run(case, latencies)
                sections.append(f"## {case.title}\n\n{table(results)}")
                errors += [f"{case.key}: {row.error}" for rows in results.values() for row in rows if row.error]
    text = "\n\n".join([ABOUT.format(rounds=arguments.rounds, ours=OURS).rstrip(), about, *sections]) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    for error in errors:
        say(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
