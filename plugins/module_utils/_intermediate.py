# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Between a buildset's registry and the intermediate one, through which images go from a job to later ones."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._copy import (
    Copy,
    copy_all,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    open_client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._upload import (
    platforms_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    artifact,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_builds import (
    Recorded,
    check_recorded,
    name_of,
    recorded_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    ZuulRegistry,
)


def _registries(params: t.Mapping[str, t.Any]) -> tuple[ZuulRegistry, ZuulRegistry]:
    """The buildset's registry and the intermediate one.

    :raises InputError: one is malformed, or both are the same.
    """
    buildset, intermediate = (ZuulRegistry.parse(name, params[name]) for name in ("buildset_registry", "intermediate_registry"))
    if buildset.name == intermediate.name:
        raise InputError(f"buildset_registry and intermediate_registry are both {buildset.name}: there is nothing to copy")
    return buildset, intermediate


def _in_buildset(registry: ZuulRegistry, name: Reference) -> Reference:
    """What an image is called in the buildset's registry, where the role build_container_image puts it, and containers' tools look for it."""
    return registry.repository(Image(dataclasses.replace(name, tag=None)), strip="docker.io").with_tag(str(name.tag))


def _push(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    images = parse_images(params["images"])
    buildset, intermediate = _registries(params)
    build = str(params["zuul"].get("build") or "")
    if not build:
        raise InputError("zuul.build is not known, by which the images are named in the intermediate registry")
    places = {name: intermediate.repository(image).with_tag(check_tag(f"{build}_{name.tag}")) for image in images for name in image.names()}
    copies = [Copy(_in_buildset(buildset, name), (place,)) for name, place in places.items()]
    with open_client(params, buildset.credentials.joined(intermediate.credentials), ("pull",)) as client:
        result = copy_all(client, copies, check_mode)
        digests = [image["digest"] for image in result["images"]]
        platforms = [[]] * len(copies) if check_mode else client.map(lambda place: _platforms(client, place), places.values())
        made = [artifact(name, place, digest, names) for (name, place), digest, names in zip(places.items(), digests, platforms)]
        return {**result, "artifacts": [] if check_mode else made, "requests": client.requests}


def _platforms(client: Client, image: Reference) -> list[str]:
    manifest = client.registry(image).manifest(image)
    return platforms_of(client, image, manifest) if manifest else []


def _handed_over(artifacts: t.Iterable[t.Any], intermediate: str) -> dict[Reference, Recorded]:
    """Where the images of earlier jobs are.

    :param artifacts: ``zuul.artifacts``. Those of the changes nearest to this one come last.
    :param intermediate: the registry in which an image is that its job also put elsewhere.
    """
    images: dict[Reference, Recorded] = {}
    makers: dict[Reference, list[str]] = {}
    for artifact_ in artifacts:
        name = name_of(artifact_)
        if not name:
            continue
        image = recorded_of(artifact_)
        # Zuul has the artifacts of one build in either order.
        maker = [str(artifact_.get(key)) for key in ("project", "change", "patchset", "job")]
        if makers.get(name) != maker or images[name].source.registry != intermediate or image.source.registry == intermediate:
            images[name], makers[name] = image, maker
    return images


def _pull(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    buildset, intermediate = _registries(params)
    images = _handed_over(params["zuul"].get("artifacts") or [], intermediate.name)
    if not images:
        return {"changed": False, "msg": "nothing to pull: zuul.artifacts has no images", "images": [], "requests": 0}
    with open_client(params, buildset.credentials.joined(intermediate.credentials), ("pull",)) as client:
        sources = check_recorded(client, images)
        copies = [Copy(source, (_in_buildset(buildset, name),)) for name, source in sources.items()]
        return copy_all(client, copies, check_mode)


def _arguments(**more: t.Any) -> dict[str, t.Any]:
    registries = {name: {"type": "dict", "required": True, "no_log": True} for name in ("buildset_registry", "intermediate_registry")}
    arguments = {**more, **registries, "zuul": {"type": "dict", "default": {}}, **client_arguments()}
    # Both registries come with their logins.
    del arguments["credentials"]
    return arguments


PUSH = Entry(arguments=_arguments(images={"type": "list", "elements": "dict", "required": True}), run=_push)
PULL = Entry(arguments=_arguments(), run=_pull)
