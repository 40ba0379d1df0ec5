# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The container tools: what podman, buildah and docker are told."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import re
import secrets
import tempfile
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._command import (
    Done,
    run,
    succeeds,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_loopback,
)

# What the kernel calls the machine, and what images do (image-spec, "Image Index Property Descriptions").
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386", "loongarch64": "loong64"}
# The first version of docker whose "save" writes an OCI image layout.
_DOCKER_SAVES_OCI = 25


@dataclasses.dataclass(frozen=True)
class Build:
    """One build, in the words that the tools have in common.

    :param what: names it in errors.
    :param directory: that the tool runs in; ``containerfile`` and ``path`` are relative to it.
    :param names: that the image gets, such as ``quay.io/example/app:latest``.
    :param platforms: of the index to make; none for a plain image of the machine's own platform.
    :param build_args: each ``NAME=VALUE``, or ``NAME`` for the value in the environment. ``labels`` in the same form.
    """

    what: str
    directory: str
    containerfile: str
    path: str
    names: tuple[str, ...]
    platforms: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    target: str = ""

    @property
    def arguments(self) -> list[str]:
        """The arguments that every tool takes, without names and platforms."""
        arguments = ["--file", self.containerfile]
        for value in self.build_args:
            arguments += ["--build-arg", value]
        for value in self.labels:
            arguments += ["--label", value]
        if self.target:
            arguments += ["--target", self.target]
        # A directory may be called as an option is.
        return [*arguments, f"./{self.path}" if self.path.startswith("-") else self.path]


class Tool:
    """A container tool.

    :param command: its name.
    :param env: added to the environment in which it runs.
    """

    #: Names of a containerfile that is not named, the first that is there counts.
    containerfiles: tuple[str, ...] = ("Containerfile", "Dockerfile")

    def __init__(self, command: str, env: t.Mapping[str, str] | None = None) -> None:
        self.command = command
        self._env = env

    def check(self, images: t.Sequence[t.Any], saves: bool) -> None:
        """Refuse what this tool cannot do here.

        :param images: to build.
        :param saves: whether ``save`` will be wanted.
        :raises ContainersError: the message says what it needs.
        """

    def identities(self, names: t.Sequence[str]) -> list[str] | None:
        """The ids of the images that have these names, ``None`` if one is not there, or is a list that has none to compare."""
        raise NotImplementedError

    def build(self, build: Build) -> Done:
        """Build an image under all its names.

        :returns: what the tool printed.
        :raises ContainersError: it failed; the message has the tool's own words, ``result`` all that it printed.
        """
        command = self._index_command if build.platforms else self._image_command
        with _emulator_hint():
            return command(build)

    def push(self, name: Reference, index: bool, access: Access) -> str:
        """Push a local image under its own name, and return the digest that the tool says it has there.

        The login is in a private file for as long as the push takes; never in an argument, and never in the user's own auth
        file, which simultaneous runs would share.

        :param index: whether it was built for several platforms.
        :raises ContainersError: it failed; the message has the tool's own words.
        """
        with tempfile.TemporaryDirectory(prefix="gating-containers-") as temporary:
            return self._push(name, index, access, pathlib.Path(temporary))

    def save(self, name: Reference, index: bool, directory: pathlib.Path) -> Reference:
        """Write a local image into a directory, as an OCI image layout, and return what it is called there.

        :param directory: exists.
        :raises ContainersError: it failed; the message has the tool's own words.
        """
        raise NotImplementedError

    def _image_command(self, build: Build) -> Done:
        raise NotImplementedError

    def _index_command(self, build: Build) -> Done:
        raise NotImplementedError

    def _push(self, name: Reference, index: bool, access: Access, directory: pathlib.Path) -> str:
        raise NotImplementedError

    def _run(self, what: str, *arguments: str, cwd: str | None = None, **env: str) -> Done:
        return run(what, [self.command, *arguments], cwd, {**(self._env or {}), **env})


class Podman(Tool):
    """podman and buildah, which have most of their code and of their arguments in common."""

    def identities(self, names: t.Sequence[str]) -> list[str] | None:
        """The ids of the images that have these names, ``None`` if one is not there, or is a list: each build makes a new one."""
        # To inspect a list tells of one of its images, which does not have the list's name. (To list all images fails where there
        # are lists, with podman 4.3 and buildah 1.28.)
        if self.command == "podman":
            found = succeeds([self.command, "image", "inspect", "--format", "{{.Id}} {{json .RepoTags}}", *names], self._env)
            lines = [line.partition(" ")[::2] for line in (found or "").splitlines() if line]
            return (
                [identity for identity, dummy in lines]
                if lines and all(name in (json.loads(tags) or []) for name, (dummy, tags) in zip(names, lines))
                else None
            )
        # buildah's takes one name, and prints no end of line.
        ids = [succeeds([self.command, "inspect", "--type", "image", "--format", "{{.FromImageID}}", name], self._env) for name in names]
        if None in ids or any(succeeds([self.command, "manifest", "exists", name], self._env) is not None for name in names):
            return None
        return [str(identity).strip() for identity in ids]

    def _image_command(self, build: Build) -> Done:
        names = [argument for name in build.names for argument in ("--tag", name)]
        # Without it buildah has no cache, and each build would be another image.
        done = self._run(build.what, "build", "--layers", *names, *build.arguments, cwd=build.directory)
        if self._architecture(build.names[0]) not in ("", _ARCHITECTURES.get(platform.machine(), platform.machine())):
            # What another platform's build left is taken for cache where they begin with the same steps after "FROM scratch".
            # If it is the base image that is of another platform, this comes to the same.
            done = self._run(build.what, "build", "--no-cache", *names, *build.arguments, cwd=build.directory)
        return done

    def _architecture(self, name: str) -> str:
        if self.command == "podman":
            words = ("image", "inspect", "--format", "{{.Architecture}}")
        else:
            words = ("inspect", "--type", "image", "--format", "{{.OCIv1.Architecture}}")
        return (succeeds([self.command, *words, name], self._env) or "").strip()

    def _index_command(self, build: Build) -> Done:
        # To build into a list that is there would add to it, under all its names. Hence a list of its own, and the names last.
        temporary = f"localhost/gating-containers:{secrets.token_hex(8)}"
        machine = f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
        # Docker sets it by itself (Dockerfile reference, "Automatic platform ARGs in the global scope").
        known = () if any(value.partition("=")[0] == "BUILDPLATFORM" for value in build.build_args) else ("--build-arg", f"BUILDPLATFORM={machine}")
        try:
            # Not from the cache: "FROM scratch" and ARG TARGETARCH find the layers of another platform there (podman 4.3).
            arguments = ("--no-cache", "--platform", ",".join(build.platforms), "--manifest", temporary, *known)
            done = self._run(build.what, "build", *arguments, *build.arguments, cwd=build.directory)
            self._check_platforms(build, temporary)
            self._run(build.what, "tag", temporary, *build.names)
            return done
        finally:
            # Of a list that has other names this takes one off. "rmi" would remove the image of this machine's platform.
            succeeds([self.command, "manifest", "rm", temporary], self._env)

    def _check_platforms(self, build: Build, name: str) -> None:
        manifests = json.loads(self._run(build.what, "manifest", "inspect", name).stdout)["manifests"] or []
        built = {(item["platform"]["os"], item["platform"]["architecture"]) for item in manifests}
        missing = [wanted for wanted in build.platforms if tuple(wanted.split("/")[:2]) not in built]
        if missing or len(manifests) != len(build.platforms):
            made = ", ".join(sorted("/".join(item) for item in built))
            raise ContainersError(
                f"{build.what}: {self.command} built {made} instead of {', '.join(build.platforms)}: do all base images have these platforms?"
            )

    def _push(self, name: Reference, index: bool, access: Access, directory: pathlib.Path) -> str:
        digestfile = directory / "digest"
        options = ("--quiet", "--digestfile", str(digestfile), *access_options(access, directory))
        self._run(f"push of {name}", *_push_verb(index), *options, str(name), f"docker://{name}")
        return digestfile.read_text(encoding="ascii").strip()

    def save(self, name: Reference, index: bool, directory: pathlib.Path) -> Reference:
        """Write a local image into a directory, as an OCI image layout."""
        self._run(f"save of {name}", *_push_verb(index), "--quiet", str(name), f"oci:{directory}:image")
        return Reference(f"oci:{directory}", "")


class Docker(Tool):
    """docker. Images of several platforms need its containerd image store."""

    containerfiles = ("Dockerfile",)

    def check(self, images: t.Sequence[t.Any], saves: bool) -> None:
        """Refuse images of several platforms where docker's store cannot hold them, and to save images where it does so in its own format."""
        what = f"build of {images[0].repository.name}"
        indexes = [image for image in images if image.arch]
        if indexes and "io.containerd.snapshotter" not in self._run(what, "info", "--format", "{{json .DriverStatus}}").stdout:
            raise ContainersError(
                f"{indexes[0].repository.name}: this docker keeps images of one platform only, arch is {', '.join(indexes[0].arch)}:"
                " turn on its containerd image store (docs.docker.com/engine/storage/containerd), or set container_command to podman"
            )
        version = self._run(what, "version", "--format", "{{.Server.Version}}").stdout.strip() if saves else ""
        major = version.partition(".")[0]
        if major.isdecimal() and int(major) < _DOCKER_SAVES_OCI:
            raise ContainersError(
                f"{what}: images for buildset_registry are saved by docker, which has a format of its own before {_DOCKER_SAVES_OCI}, and this is {version}:"
                " update it, or set container_command to podman"
            )

    def identities(self, names: t.Sequence[str]) -> list[str] | None:
        """The ids of the images that have these names, ``None`` if one is not there."""
        found = succeeds([self.command, "image", "inspect", "--format", "{{.Id}}", *names], self._env)
        return None if found is None else [identity.rpartition(":")[2] for identity in found.split()]

    def _image_command(self, build: Build) -> Done:
        return self._run(build.what, "build", *self._names(build), *build.arguments, cwd=build.directory)

    def _index_command(self, build: Build) -> Done:
        platforms = ("--load", "--platform", ",".join(build.platforms))
        return self._run(build.what, "buildx", "build", *platforms, *self._names(build), *build.arguments, cwd=build.directory)

    @staticmethod
    def _names(build: Build) -> list[str]:
        return [argument for name in build.names for argument in ("--tag", name)]

    def _push(self, name: Reference, index: bool, access: Access, directory: pathlib.Path) -> str:
        printed = self._run(f"push of {name}", "push", str(name), **docker_config(access, directory)).stdout
        found = re.findall(r"digest: (sha256:[0-9a-f]{64}) ", printed)
        if not found:
            raise ContainersError(f"push of {name}: docker did not say which digest it has there", {"stdout": printed})
        return str(found[-1])

    def save(self, name: Reference, index: bool, directory: pathlib.Path) -> Reference:
        """Write a local image into a directory, as an OCI image layout in a tar archive, as docker does since its version 25."""
        archive = directory / "image.tar"
        self._run(f"save of {name}", "save", "--output", str(archive), str(name))
        return Reference(f"oci-archive:{archive}", "")


def tool_of(command: str, env: t.Mapping[str, str] | None = None) -> Tool:
    """The tool of that name.

    :param env: added to the environment in which it runs.
    """
    return (Docker if command == "docker" else Podman)(command, env)


def _push_verb(index: bool) -> tuple[str, ...]:
    return ("manifest", "push", "--all") if index else ("push",)


@contextlib.contextmanager
def _emulator_hint() -> t.Iterator[None]:
    try:
        yield
    except ContainersError as exc:
        printed = str(exc.result.get("stderr", "")) + str(exc.result.get("stdout", ""))
        if "exec format error" not in printed.lower():
            raise
        hint = "a RUN of another platform needs an emulator: install the package qemu-user-static"
        raise ContainersError(f"{exc} - {hint}", exc.result) from None


def access_options(access: Access, directory: pathlib.Path) -> list[str]:
    """The options that tell podman or buildah how to reach a registry and as whom.

    :param directory: private and existing, to be removed after use.
    :raises InputError: a certificate or key that is given by its path cannot be read.
    """
    options = []
    if access.login is not None:
        path = directory / "auth.json"
        _write(path, json.dumps({"auths": {access.registry: _auth(access)}}))
        options += ["--authfile", str(path)]
    for key, name in (("ca_cert", "ca.crt"), ("client_cert", "client.cert"), ("client_key", "client.key")):
        value = getattr(access, key)
        if value:
            certificates = directory / "certs"
            certificates.mkdir(mode=0o700, exist_ok=True)
            try:
                _write(certificates / name, value if "-----BEGIN" in value else pathlib.Path(value).expanduser().read_text(encoding="utf-8"))
            except (OSError, RuntimeError, ValueError):
                raise InputError(f"container_registry_credentials[{access.registry}]: {key} is neither PEM text nor a file that can be read") from None
    if (directory / "certs").exists():
        options += ["--cert-dir", str(directory / "certs")]
    # Without verification podman tries https, then http: what is wanted on loopback, and for plain http.
    if not access.tls_verify or access.scheme == "http" or (access.scheme is None and is_loopback(access.registry) and not access.ca_cert):
        options.append("--tls-verify=false")
    return options


def docker_config(access: Access, directory: pathlib.Path) -> dict[str, str]:
    """The environment that tells docker as whom to speak to a registry. Its daemon knows by itself which certificates to trust.

    The directory takes the place of the user's own, so what else that one says of the daemon to use goes along.

    :param directory: private and existing, to be removed after use.
    """
    if access.login is None:
        return {}
    own = pathlib.Path(os.environ.get("DOCKER_CONFIG") or pathlib.Path.home() / ".docker")
    context = {}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        current = json.loads((own / "config.json").read_text(encoding="utf-8")).get("currentContext")
        context = {"currentContext": current} if current else {}
    if context:
        (directory / "contexts").symlink_to(own / "contexts")
    registry = "https://index.docker.io/v1/" if access.registry == "docker.io" else access.registry
    _write(directory / "config.json", json.dumps({"auths": {registry: _auth(access)}, **context}))
    return {"DOCKER_CONFIG": str(directory)}


def _auth(access: Access) -> dict[str, str]:
    secret = f"{access.login.username}:{access.login.password}" if access.login else ""
    return {"auth": base64.b64encode(secret.encode()).decode("ascii")}


def _write(path: pathlib.Path, content: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
