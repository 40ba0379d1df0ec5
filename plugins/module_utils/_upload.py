# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Pushing images with a container tool: one push for each image, its other tags by the registry API."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import tempfile
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._build import (
    check_supported,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._command import (
    run,
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
    check_method,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_loopback,
)
from ansible_collections.gating.containers.plugins.module_utils._retag import (
    Move,
    retag,
)


def tool_options(access: Access, directory: pathlib.Path) -> list[str]:
    """The options that tell podman or buildah how to reach a registry and as whom.

    The login is in a file; never in an argument, and never in the user's own auth file, which simultaneous runs would share.

    :param directory: private and existing, to be removed after use.
    :raises InputError: a certificate or key that is given by its path cannot be read.
    """
    options = []
    if access.login is not None:
        secret = base64.b64encode(f"{access.login.username}:{access.login.password}".encode()).decode("ascii")
        path = directory / "auth.json"
        _write(path, json.dumps({"auths": {access.registry: {"auth": secret}}}))
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


def _write(path: pathlib.Path, content: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)


def push(command: str, name: Reference, access: Access) -> str:
    """Push a local image under its own name, and return the digest that the tool says it has there.

    :raises ContainersError: the tool failed; the message has its own words.
    """
    with tempfile.TemporaryDirectory(prefix="gating-containers-") as temporary:
        digestfile = pathlib.Path(temporary) / "digest"
        options = tool_options(access, pathlib.Path(temporary))
        run(f"push of {name}", [command, "push", "--quiet", "--digestfile", str(digestfile), *options, str(name), f"docker://{name}"])
        return digestfile.read_text(encoding="ascii").strip()


def upload(client: Client, credentials: Credentials, command: str, images: t.Sequence[Image], prefix: str) -> list[dict[str, t.Any]]:
    """Push images under the names that they have with a prefix.

    :param prefix: of the temporary tags; empty to push the final ones.
    :returns: for each tag the digest that the registry serves, and whether it is another than before.
    :raises ContainersError: an image could not be pushed, or the registry does not serve what was pushed.
    """
    names = [name for image in images for name in image.names(prefix)]
    before = _look(client, names)
    moves = []
    try:
        for image in images:
            name, tags = image.names(prefix)[0], tuple(str(name.tag) for name in image.names(prefix))
            digest = push(command, name, credentials.access(name.registry))
            moves.append(Move(image.repository, tags[0], tags, digest))
        after = {target.image: target.digest for target in retag(client, moves)}
    except ContainersError as exc:
        # What was pushed stays: a push names its tag at once.
        try:
            now = _look(client, names)
        except ContainersError:
            raise exc from None
        moved = [str(name) for name in names if now[name] != before[name]]
        error = ContainersError(f"{exc} - of the tags to upload {'these were: ' + ', '.join(moved) if moved else 'none was'}", exc.result)
        error.result.update(changed=bool(moved), images=_results(before, now))
        raise error from None
    return _results(before, after)


def _look(client: Client, names: t.Sequence[Reference]) -> dict[Reference, str | None]:
    found = client.map(lambda name: client.registry(name).resolve(name), names)
    return {name: descriptor.digest if descriptor else None for name, descriptor in zip(names, found)}


def _results(before: t.Mapping[Reference, str | None], after: t.Mapping[Reference, str | None]) -> list[dict[str, t.Any]]:
    return [{"repository": name.name, "tag": name.tag, "digest": digest, "changed": digest != before[name]} for name, digest in after.items()]


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    prefix = check_prefix(params["prefix"]) if params["promote"] else ""
    images = parse_images(params["images"], prefix)
    check_supported(params["command"], images)
    check_method(params["method"])
    credentials = Credentials(params["credentials"])
    for image in images:
        credentials.check_target(image.repository)
    if check_mode:
        results = [{"repository": name.name, "tag": name.tag, "changed": True} for image in images for name in image.names(prefix)]
        return {"changed": True, "msg": f"would upload {count(len(images), 'image')}", "images": results, "requests": 0}
    with open_client(params, ("pull", "push")) as client:
        results = upload(client, credentials, params["command"], images, prefix)
        changed = sum(bool(result["changed"]) for result in results)
        return {
            "changed": bool(changed),
            "msg": f"uploaded {count(len(images), 'image')} with {count(len(results), 'tag')}, {changed} changed, {count(client.requests, 'request')}",
            "images": results,
            "requests": client.requests,
        }


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        "prefix": {"type": "str", "required": True},
        "method": {"type": "str", "default": "tag", "choices": ["tag", "intermediate-registry"]},
        "promote": {"type": "bool", "default": True},
        "command": {"type": "str", "default": "podman", "choices": ["podman", "buildah", "docker"]},
        **client_arguments(),
    },
    run=_run,
)
