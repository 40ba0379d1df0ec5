# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The list that all roles share: ``container_images``."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
    check_keys,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
    normal_registry,
)


@dataclasses.dataclass(frozen=True)
class Image:
    """One item of ``container_images``.

    :param repository: where it is published.
    :param build_args: each ``NAME=VALUE``, or ``NAME`` for the value in the environment of the build, which keeps it
        out of the arguments.
    :param labels: each ``NAME=VALUE``.
    :param siblings: projects below ``~/src``, without a trailing slash.
    :param arch: platforms, such as ``linux/arm64``; none for that of the machine that builds.
    """

    repository: Reference
    tags: tuple[str, ...] = ("latest",)
    context: str = "."
    container_filename: str = ""
    path: str = "."
    build_args: tuple[str, ...] = ()
    target: str = ""
    siblings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()

    def names(self, prefix: str = "") -> list[Reference]:
        """The image's names, one for each tag."""
        return [self.repository.with_tag(prefix + tag) for tag in self.tags]


_KEYS = ("registry",) + tuple(field.name for field in dataclasses.fields(Image))


def parse_images(items: t.Any, prefix: str = "") -> list[Image]:
    """The images that a user gave.

    :param prefix: of the temporary tags; with it too, a tag must be a legal one.
    :raises InputError: anything in the list is malformed, or two images claim a tag. The message names the image.
    """
    if not isinstance(items, (list, tuple)) or not items:
        raise InputError("container_images is to be a list of images that is not empty")
    images = []
    seen: set[Reference] = set()
    for number, item in enumerate(items):
        image = _parse_image(f"container_images[{number}]", item, prefix)
        for name in image.names():
            if name in seen:
                raise InputError(f"container_images[{number}] ({image.repository.name}): the tag {name.tag!r} is claimed by two images")
            seen.add(name)
        images.append(image)
    for image in images:
        for name in image.names(prefix) if prefix else ():
            if name in seen:
                raise InputError(f"container_images: {name} is the temporary tag of {name.tag[len(prefix) :]!r} and a final tag too: rename one")
    return images


def check_prefix(prefix: str) -> str:
    """The prefix of temporary tags, if it can be one.

    :raises InputError: with it empty a temporary tag would be the final one; with illegal characters, no tag at all.
    """
    if not prefix:
        raise InputError("container_image_staging_prefix is empty: the temporary tags would be the final ones")
    return check_tag(prefix, "container_image_staging_prefix")


def _parse_image(where: str, item: t.Any, prefix: str) -> Image:
    if not isinstance(item, t.Mapping):
        raise InputError(f"{where} is to be a dictionary with repository and context, not a {type(item).__name__}")
    if not item.get("repository"):
        raise InputError(f"{where} has no repository")
    repository = Reference.parse_repository(item["repository"])
    where = f"{where} ({repository.name})"
    check_keys(where, item, _KEYS)
    registry = item.get("registry")
    if registry and normal_registry(str(registry)) != repository.registry:
        raise InputError(f"{where} is not in its registry {registry!r}: repository begins with the registry's name")
    tags = _list(where, item, "tags") if item.get("tags") is not None else ["latest"]
    if not tags:
        raise InputError(f"{where}: tags is empty: leave it out for 'latest'")
    tags = [str(tag) if isinstance(tag, int) and not isinstance(tag, bool) else tag for tag in tags]
    for tag in tags:
        check_tag(tag, f"{where}: tag")
        check_tag(prefix + tag, f"{where}: temporary tag")
    return Image(
        repository=repository,
        tags=tuple(tags),
        context=_text(where, item, "context") or ".",
        container_filename=_text(where, item, "container_filename"),
        path=_text(where, item, "path") or ".",
        build_args=_pairs(where, item, "build_args"),
        target=_text(where, item, "target"),
        siblings=_siblings(where, item),
        labels=_labels(where, item),
        arch=_platforms(where, item),
    )


def _text(where: str, item: t.Mapping[str, t.Any], key: str) -> str:
    value = item.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is to be a text, not a {type(value).__name__}")
    return str(value)


def _list(where: str, item: t.Mapping[str, t.Any], key: str) -> list[t.Any]:
    value = item.get(key)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: {key} is to be a list, not a {type(value).__name__}")
    return list(value)


def _texts(where: str, item: t.Mapping[str, t.Any], key: str) -> list[str]:
    values = _list(where, item, key)
    for value in values:
        if not isinstance(value, str):
            raise InputError(f"{where}: {key} is to be a list of texts, not of {type(value).__name__}: put it in quotes")
    return [str(value) for value in values]


def _siblings(where: str, item: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    projects = _texts(where, item, "siblings")
    for project in projects:
        # What is not below the directory of the projects would be copied to somewhere else than it is removed from.
        if not project.strip("./") or project.startswith("/") or any(part in ("", ".", "..") for part in project.rstrip("/").split("/")):
            raise InputError(f"{where}: the sibling {project!r} is not the name of a project, such as opendev.org/openstack/nova")
        if project.split() != [project]:
            raise InputError(f"{where}: the sibling {project!r} holds white space, which separates the names in ZUUL_SIBLINGS")
    projects = [project.rstrip("/") for project in projects]
    for number, project in enumerate(projects):
        for other in projects[:number]:
            if f"{project}/".startswith(f"{other}/") or f"{other}/".startswith(f"{project}/"):
                raise InputError(f"{where}: the siblings {other!r} and {project!r} are in one another: name one")
    return tuple(projects)


def _platforms(where: str, item: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    platforms = _texts(where, item, "arch")
    for platform in platforms:
        # image-spec, "Image Index Property Descriptions"
        if not re.fullmatch(r"[a-z0-9]+(/[a-z0-9_.-]+){1,2}", platform):
            raise InputError(f"{where}: {platform!r} in arch is not a platform, such as linux/amd64 or linux/arm/v7")
    if len(set(platforms)) != len(platforms):
        raise InputError(f"{where}: arch names a platform twice")
    return tuple(platforms)


def _labels(where: str, item: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    values = _texts(where, item, "labels")
    for value in values:
        if value.find("=") < 1:
            raise InputError(f"{where}: {value!r} in labels is not NAME=VALUE")
    return tuple(values)


def _pairs(where: str, item: t.Mapping[str, t.Any], key: str) -> tuple[str, ...]:
    values = _texts(where, item, key)
    for value in values:
        if not value.partition("=")[0]:
            raise InputError(f"{where}: an item of {key} has no name: it is to be NAME=VALUE, or NAME for the value in the environment of the build")
    return tuple(values)
