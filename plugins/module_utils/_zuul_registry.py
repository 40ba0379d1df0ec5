# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Zuul's own registries, the buildset's and the intermediate one: how they are given, and what images are called there."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import pathlib
import re
import tempfile
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._copy import (
    Copier,
    Copy,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    split_registry,
)
from ansible_collections.gating.containers.plugins.module_utils._tool import (
    Tool,
)


@dataclasses.dataclass(frozen=True)
class ZuulRegistry:
    """A registry that Zuul's jobs have for themselves.

    :param variable: in which it was given.
    :param name: host and port.
    :param credentials: the same in the form of ``container_registry_credentials``.
    """

    variable: str
    name: str
    credentials: Credentials

    @classmethod
    def parse(cls, variable: str, value: t.Mapping[str, t.Any]) -> ZuulRegistry:
        """What a variable tells of a registry.

        :param value: ``host``, ``port``, ``username``, ``password``, ``cert`` (PEM), ``scheme``; more is left alone, as roles of zuul-jobs write it.
        :raises InputError: a part is missing or malformed. No value is in the message.
        """
        host = str(value.get("host") or "").strip("[]")
        with contextlib.suppress(ValueError):
            host = f"[{ipaddress.IPv6Address(host)}]"
        if not host:
            raise InputError(f"{variable} has no host")
        name = f"{host}:{value['port']}" if value.get("port") else host
        try:
            split_registry(name)
        except InputError:
            raise InputError(f"{variable}: host and port are to name a registry, such as 203.0.113.5 and 5000") from None
        keys = {"username": "username", "password": "password", "cert": "ca_cert", "scheme": "scheme"}
        entry = {key: value[given] for given, key in keys.items() if value.get(given)}
        try:
            return cls(variable, name.lower(), Credentials({name: entry}))
        except InputError as exc:
            raise InputError(_in_words_of(variable, exc)) from None

    def repository(self, image: Image, strip: str = "") -> Reference:
        """The repository of an image there: its full name below the registry's.

        :param strip: a registry whose name is left out.
        """
        registry = image.repository.registry
        # A port or an address in brackets cannot be part of a path.
        parts = [] if registry == strip else [re.sub("[^a-z0-9.]+", "-", registry).strip("-.")]
        return Reference(self.name, "/".join([*parts, image.repository.repository]))


@dataclasses.dataclass(frozen=True)
class Published:
    """A tag at one of Zuul's registries.

    :param changed: whether it named anything else before.
    """

    name: Reference
    manifest: Manifest
    changed: bool


def publish(registry: ZuulRegistry, client: Client, tool: Tool, image: Image, local: Reference, targets: t.Sequence[Reference]) -> list[Published]:
    """Store a local image at one of Zuul's registries, under all its names there.

    The tool writes it into a directory, from which it is sent over the registry API: so nothing about the registry need be set
    up for the tool, and no tool need be able to write an IPv6 address.

    :param local: its local name.
    :param targets: tags of one repository.
    :raises ContainersError: the message names the image.
    """
    with tempfile.TemporaryDirectory(prefix="gating-containers-") as temporary:
        source = tool.save(local, bool(image.arch), pathlib.Path(temporary))
        result = Copier(client, images=1).copy_all([Copy(source, tuple(targets))])[0]
        for outcome in result.outcomes:
            if outcome.error:
                raise ContainersError(f"push of {local}: {_in_words_of(registry.variable, outcome.error)}", outcome.error.result) from None
        root = client.store(source).manifest(source)
    return [Published(outcome.target, t.cast(Manifest, root), outcome.digest != outcome.previous) for outcome in result.outcomes]


def _in_words_of(variable: str, exc: Exception) -> str:
    return re.sub(r"container_registry_credentials(\[[^ ]*\])?", variable, str(exc))
