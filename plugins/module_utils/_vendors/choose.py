# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Which vendor's way is a registry's: the credentials' ``type``, else the exact host name, else what it says of itself."""

from __future__ import annotations

import re
import threading
import typing as t
import urllib.parse

from ansible_collections.gating.containers.plugins.module_utils._auth import (
    parse_challenges,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    split_registry,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.acr import (
    Acr,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.artifactory import (
    Artifactory,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.docker import (
    DockerHub,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.ecr import (
    Ecr,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.gar import (
    Gar,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.ghcr import (
    Ghcr,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.gitlab import (
    GitLab,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.harbor import (
    Harbor,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.nexus import (
    Nexus,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import (
    Vendor,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.pulp import (
    Pulp,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.quay import (
    Quay,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.zuul import (
    Zuul,
)

#: By the ``type`` of credentials, see _credentials.TYPES; the last ones have none, they are known by their answers.
CLASSES: dict[str, type[Vendor]] = {
    "docker": DockerHub,
    "quay": Quay,
    "harbor": Harbor,
    "gitlab": GitLab,
    "ghcr": Ghcr,
    "ecr": Ecr,
    "acr": Acr,
    "gar": Gar,
    "artifactory": Artifactory,
    "nexus": Nexus,
    "oci": Vendor,
    "pulp": Pulp,
    "zuul": Zuul,
}

# Whole names, never parts of them: "mydocker.io.example" is not Docker Hub.
_HOSTS = (
    ("docker", r"docker\.io"),
    ("quay", r"quay\.io"),
    ("ghcr", r"ghcr\.io"),
    ("gitlab", r"registry\.gitlab\.com"),
    ("ecr", r"[0-9]{12}\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|[0-9]{12}\.dkr-ecr(-fips)?\.[a-z0-9-]+\.on\.aws|public\.ecr\.aws"),
    ("acr", r"[a-z0-9-]+\.azurecr\.(io|cn|us)"),
    ("gar", r"[a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io"),
    ("artifactory", r"[a-z0-9-]+\.jfrog\.io"),
)

# By the answer to GET /v2/, which is asked for anyway. No login goes anywhere by it where it would not have gone.
_CHALLENGES: tuple[tuple[str, str, t.Callable[[t.Mapping[str, str]], bool]], ...] = (
    ("zuul", "/auth/token", lambda challenge: challenge.get("scope") in ("read", "write") and "service" not in challenge),
    ("harbor", "/service/token", lambda challenge: challenge.get("service") == "harbor-registry"),
    ("gitlab", "/jwt/auth", lambda challenge: challenge.get("service") == "container_registry"),
    ("quay", "/v2/auth", lambda challenge: True),
    ("pulp", "/token/", lambda challenge: True),
)


class Vendors:
    """The vendors' ways of all registries of one run."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._made: dict[str, Vendor] = {}

    def of(self, image: Reference) -> Vendor:
        """That of the registry of an image.

        :raises RegistryError: the registry is of no known type and cannot be reached.
        """
        registry = self.client.registry(image)
        kind = registry.access.type or kind_of_host(registry.name)
        if not kind:
            kind = kind_of_greeting(registry.greeting) or "oci"
        with self._lock:
            if registry.name not in self._made:
                self._made[registry.name] = CLASSES[kind](self.client, registry)
            return self._made[registry.name]


def kind_of_host(registry: str) -> str:
    """The type of a registry that is known by its name, else an empty text."""
    host, port = split_registry(registry)
    return next((kind for kind, name in _HOSTS if port in (None, 443) and re.fullmatch(name, host)), "")


def kind_of_greeting(headers: t.Mapping[str, str]) -> str:
    """The type of a registry that is known by its answer to ``GET /v2/``, else an empty text.

    :param headers: of the answer; a mapping without regard to case.
    """
    if headers.get("Server", "").startswith("Nexus/"):
        return "nexus"
    if "X-JFrog-Version" in headers or "X-Artifactory-Id" in headers:
        return "artifactory"
    for challenge in parse_challenges(headers.get("WWW-Authenticate", "")):
        path = urllib.parse.urlsplit(challenge.parameters.get("realm", "")).path
        for kind, end, check in _CHALLENGES:
            if challenge.scheme == "bearer" and path.endswith(end) and check(challenge.parameters):
                return kind
    return ""
