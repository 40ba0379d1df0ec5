# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Building images with a container tool."""

from __future__ import annotations

import os
import pathlib
import tempfile
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._command import (
    run,
    succeeds,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    count,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    labels,
)


def containerfile(directory: pathlib.Path, image: Image, default: str) -> str:
    """The containerfile of an image, relative to its context: its own, the one for all images, else as podman chooses.

    One that is named is looked for in the context, then in its ``path``; another one in ``path``, as podman does.

    :raises InputError: it is not there.
    """
    named = image.container_filename or default
    candidates = [named, os.path.join(image.path, named)] if named else [os.path.join(image.path, name) for name in ("Containerfile", "Dockerfile")]
    for name in candidates:
        if (directory / name).is_file():
            return os.path.normpath(name)
    raise InputError(f"{image.repository.name}: there is no {named or 'Containerfile or Dockerfile'} in {os.path.normpath(directory / image.path)}")


def build_command(command: str, image: Image, filename: str, prefix: str, known_labels: t.Mapping[str, str], iidfile: str) -> list[str]:
    """The argument list that builds an image under all its names.

    :param known_labels: where the image comes from; its own labels win.
    :param iidfile: where the tool writes the image's id.
    """
    argv = [command, "build", "--file", filename, "--iidfile", iidfile]
    for name in image.names(prefix) + image.names():
        argv += ["--tag", str(name)]
    for value in image.build_args:
        argv += ["--build-arg", value]
    for label, value in known_labels.items():
        argv += ["--label", f"{label}={value}"]
    for value in image.labels:
        argv += ["--label", value]
    if image.target:
        argv += ["--target", image.target]
    return argv + [image.path]


def check_supported(command: str, images: t.Sequence[Image]) -> None:
    """Refuse what cannot be built yet.

    :raises InputError: the message names it.
    """
    if command != "podman":
        raise InputError(f"container_command {command!r} is not supported yet: use podman")
    for image in images:
        for key in ("siblings", "arch"):
            if getattr(image, key):
                raise InputError(f"{image.repository.name}: {key} is not supported yet: leave it out")


def build(command: str, images: t.Sequence[Image], work_dir: str, filename: str, prefix: str, zuul: t.Any, env: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Build images in the list's order.

    :param work_dir: base of the images' contexts.
    :param filename: name of the containerfiles of images that name none, may be empty.
    :param env: environment of the build.
    :returns: for each image its names, its id and whether any of its names has moved.
    :raises ContainersError: a build failed.
    """
    files = []
    for image in images:
        directory = pathlib.Path(work_dir).expanduser() / image.context
        if not directory.is_dir():
            raise InputError(f"{image.repository.name}: its context {directory} is not a directory")
        files.append((image, directory, containerfile(directory, image, filename)))
    results = []
    for image, directory, file in files:
        names = [str(name) for name in image.names(prefix) + image.names()]
        before = succeeds([command, "image", "inspect", "--format", "{{.Id}}", *names], env)
        with tempfile.TemporaryDirectory(prefix="gating-containers-") as temporary:
            iidfile = os.path.join(temporary, "iid")
            run(f"build of {image.repository.name}", build_command(command, image, file, prefix, labels(zuul), iidfile), str(directory), env)
            identity = pathlib.Path(iidfile).read_text(encoding="ascii").strip().rpartition(":")[2]
        results.append({"repository": image.repository.name, "names": names, "id": identity, "changed": set((before or "").split()) != {identity}})
    return results


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    prefix = check_prefix(params["prefix"])
    images = parse_images(params["images"], prefix)
    check_supported(params["command"], images)
    if check_mode:
        results = [
            {"repository": image.repository.name, "names": [str(name) for name in image.names(prefix) + image.names()], "changed": True} for image in images
        ]
        return {"changed": True, "msg": f"would build {count(len(images), 'image')}", "images": results}
    results = build(params["command"], images, params["work_dir"], params["filename"], prefix, params["zuul"], params["env"])
    changed = sum(bool(result["changed"]) for result in results)
    return {"changed": bool(changed), "msg": f"built {count(len(results), 'image')}, {changed} changed", "images": results}


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        "work_dir": {"type": "path", "default": "."},
        "command": {"type": "str", "default": "podman", "choices": ["podman", "buildah", "docker"]},
        "filename": {"type": "str", "default": ""},
        "prefix": {"type": "str", "required": True},
        "env": {"type": "dict", "default": {}, "no_log": True},
        "zuul": {"type": "dict", "default": {}},
    },
    run=_run,
)
