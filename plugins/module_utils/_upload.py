# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Uploading images that were built: one push for each, its other tags by the registry API."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    count,
    open_client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._retag import (
    Move,
    retag,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    MaxRetryError,
    RetryPolicy,
)
from ansible_collections.gating.containers.plugins.module_utils._tool import (
    Tool,
    tool_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    artifact,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    ZuulRegistry,
    publish,
)

# Words of the tools for what another try cannot mend.
_FINAL = re.compile(
    r"unauthorized|denied\b|forbidden|authentication required|invalid reference|invalid username|x509:|certificate signed|verify certificate"
    r"|HTTP response to HTTPS client|name unknown|is not installed|cannot be run",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"image not known|no such image|does not exist locally", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Upload:
    """An image, and where it goes.

    :param local: its local name.
    :param targets: its tags to upload, in one repository, each to its final tag.
    """

    image: Image
    local: Reference
    targets: t.Mapping[Reference, str]


def push(tool: Tool, upload: Upload, access: Access, policy: RetryPolicy) -> str:
    """Push an image under its local name, again after failures that may pass, and return its digest.

    :raises ContainersError: it failed; the message has the tool's own words.
    """
    while True:
        try:
            return tool.push(upload.local, bool(upload.image.arch), access)
        except ContainersError as exc:
            # Without the image's name, in which any word may be.
            said = f"{exc} {exc.result.get('stderr', '')}".replace(upload.local.repository, "")
            if _ABSENT.search(said):
                raise ContainersError(f"{exc} - is it built? The role build_container_image does that", exc.result) from None
            if isinstance(exc, InputError) or _FINAL.search(said):
                raise
            try:
                policy = policy.increment(error=exc)
            except MaxRetryError:
                raise exc from None
        policy.sleep()


def upload_all(client: Client, tool: Tool, uploads: t.Sequence[Upload], policy: RetryPolicy) -> list[dict[str, t.Any]]:
    """Push images to where they are to be promoted or used.

    :returns: for each tag the digest that the registry serves, its platforms, and whether it is another than before.
    :raises ContainersError: an image could not be pushed, or the registry does not serve what was pushed.
    """
    targets = [target for upload in uploads for target in upload.targets]
    before = _look(client, targets)
    moves = []
    try:
        for upload in uploads:
            tags = tuple(str(target.tag) for target in upload.targets)
            digest = push(tool, upload, client.registry(upload.local).access_for(upload.local), policy)
            moves.append(Move(upload.image.repository, str(upload.local.tag), tags, digest))
        after = {target.image: target.digest for target in retag(client, moves)}
        platforms = client.map(lambda upload: _platforms(client, upload.local), uploads)
    except ContainersError as exc:
        # What was pushed stays: a push names its tag at once.
        try:
            now = _look(client, targets)
        except ContainersError:
            raise exc from None
        moved = [str(target) for target in targets if now[target] != before[target]]
        error = ContainersError(f"{exc} - of the tags to upload {'these were: ' + ', '.join(moved) if moved else 'none was'}", exc.result)
        error.result.update(changed=bool(moved), images=[_result(target, now[target], now[target] != before[target], []) for target in targets])
        raise error from None
    return [_result(target, after[target], after[target] != before[target], found) for upload, found in zip(uploads, platforms) for target in upload.targets]


def upload_to_intermediate(client: Client, registry: ZuulRegistry, tool: Tool, uploads: t.Sequence[Upload]) -> list[dict[str, t.Any]]:
    """Push images to the intermediate registry.

    :returns: as ``upload_all``.
    :raises ContainersError: an image could not be pushed.
    """
    results: list[dict[str, t.Any]] = []
    try:
        for upload in uploads:
            for item in publish(registry, client, tool, upload.image, upload.local, list(upload.targets)):
                results.append(_result(item.name, item.manifest.digest, item.changed, platforms_of(client, item.name, item.manifest)))
    except ContainersError as exc:
        exc.result.update(images=results, changed=any(result["changed"] for result in results))
        raise
    return results


def artifacts(uploads: t.Sequence[Upload], results: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """What was uploaded, in the form of Zuul's artifacts. Their tags are the final ones; the URL is where an image is now."""
    finals = [upload.image.repository.with_tag(tag) for upload in uploads for tag in upload.targets.values()]
    places = [target for upload in uploads for target in upload.targets]
    return [artifact(name, place, result["digest"], result["platforms"]) for name, place, result in zip(finals, places, results)]


def _platforms(client: Client, image: Reference) -> list[str]:
    manifest = client.registry(image).manifest(image)
    if manifest is None:
        raise ContainersError(f"{image}: it is gone again after it was uploaded: who else writes there?")
    return platforms_of(client, image, manifest)


def platforms_of(client: Client, image: Reference, manifest: Manifest) -> list[str]:
    if manifest.is_index:
        return sorted({child.platform or "unknown" for child in manifest.images})
    try:
        config = json.loads(client.registry(image).blob(image, manifest.config.digest)) if manifest.config else {}
        return ["/".join(str(config[key]) for key in ("os", "architecture", "variant") if config.get(key))]
    except (ValueError, AttributeError):
        raise ContainersError(f"{image}: its config is damaged") from None


def _look(client: Client, targets: t.Sequence[Reference]) -> dict[Reference, str | None]:
    found = client.map(lambda target: client.registry(target).resolve(target), targets)
    return {target: descriptor.digest if descriptor else None for target, descriptor in zip(targets, found)}


def _result(target: Reference, digest: str | None, changed: bool, platforms: list[str]) -> dict[str, t.Any]:
    return {"repository": target.name, "tag": target.tag, "digest": digest, "platforms": platforms, "changed": changed}


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    promote = params["promote"]
    prefix = check_prefix(params["prefix"]) if promote else ""
    images = parse_images(params["images"], prefix)
    credentials = Credentials(params["credentials"])
    for image in images:
        credentials.check_target(image.repository)
    registry = None
    if promote and params["method"] == "intermediate-registry":
        if not params["intermediate_registry"]:
            message = "nothing to upload: with the method intermediate-registry the images are promoted from there, and intermediate_registry is not given"
            return {"changed": False, "msg": message, "images": [], "artifacts": [], "requests": 0}
        registry = ZuulRegistry.parse("intermediate_registry", params["intermediate_registry"])
        credentials = registry.credentials
        build = str(params["zuul"].get("build") or "")
        if not build:
            raise InputError("intermediate_registry is given, but zuul.build is not, by which the images are named there")
        uploads = [
            Upload(image, image.names()[0], {registry.repository(image).with_tag(check_tag(f"{build}_{tag}")): tag for tag in image.tags}) for image in images
        ]
    else:
        uploads = [Upload(image, image.names(prefix)[0], dict(zip(image.names(prefix), image.tags))) for image in images]
    tags = [target for upload in uploads for target in upload.targets]
    if check_mode:
        results = [_result(target, None, True, list(upload.image.arch)) for upload in uploads for target in upload.targets]
        return {"changed": True, "msg": f"would upload {', '.join(map(str, tags))}", "images": results, "artifacts": [], "requests": 0}
    tool = tool_of(params["command"])
    with open_client(params, credentials, ("pull", "push")) as client:
        if registry:
            results = upload_to_intermediate(client, registry, tool, uploads)
        else:
            results = upload_all(client, tool, uploads, RetryPolicy(total=params["retries"], backoff_factor=0.5))
        changed = sum(bool(result["changed"]) for result in results)
        return {
            "changed": bool(changed),
            "msg": f"uploaded {count(len(images), 'image')} with {count(len(results), 'tag')}, {changed} changed, {count(client.requests, 'request')}",
            "images": results,
            "artifacts": artifacts(uploads, results),
            "requests": client.requests,
        }


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        "prefix": {"type": "str", "required": True},
        "method": {"type": "str", "default": "tag", "choices": ["tag", "intermediate-registry"]},
        "promote": {"type": "bool", "default": True},
        "command": {"type": "str", "default": "podman", "choices": ["podman", "buildah", "docker"]},
        "intermediate_registry": {"type": "dict", "default": {}, "no_log": True},
        "zuul": {"type": "dict", "default": {}},
        **client_arguments(),
    },
    run=_run,
)
