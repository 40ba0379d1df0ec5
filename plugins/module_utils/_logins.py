# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Logins that the container tools keep: their auth files and credential helpers.

The files are those of containers-auth.json(5) and of Docker's ``config.json``; the helpers speak the protocol of
docker-credential-helpers (``get``: the registry on stdin, JSON on stdout).
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)

_DOCKER_HUB_KEYS = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER_TIMEOUT = 30


def auth_files(environ: t.Mapping[str, str]) -> list[pathlib.Path]:
    """The auth files that the container tools read, in their order (containers-auth.json(5))."""
    home = pathlib.Path(environ.get("HOME") or os.path.expanduser("~"))
    if environ.get("REGISTRY_AUTH_FILE"):
        return [pathlib.Path(environ["REGISTRY_AUTH_FILE"])]
    runtime = environ.get("XDG_RUNTIME_DIR")
    config = environ.get("XDG_CONFIG_HOME")
    docker = environ.get("DOCKER_CONFIG")
    return [
        (pathlib.Path(runtime) if runtime else pathlib.Path("/run/containers") / str(os.getuid())) / ("containers/auth.json" if runtime else "auth.json"),
        (pathlib.Path(config) if config else home / ".config") / "containers" / "auth.json",
        (pathlib.Path(docker) if docker else home / ".docker") / "config.json",
    ]


def find_login(registry: str, repository: str, environ: t.Mapping[str, str]) -> Login | None:
    """The login for a repository, ``None`` if no file has one.

    :param registry: its name with the port, such as ``quay.io``.
    :param repository: the path on it; an entry for ``quay.io/example`` goes before one for ``quay.io``.
    :raises ContainersError: a credential helper that a file names for this registry failed.
    """
    for path in auth_files(environ):
        login = _from_file(path, registry, repository)
        if login:
            return login
    return None


def _from_file(path: pathlib.Path, registry: str, repository: str) -> Login | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        auths = {_normal(key): value for key, value in (content.get("auths") or {}).items()}
        helpers = {_normal(key): value for key, value in (content.get("credHelpers") or {}).items()}
        store = content.get("credsStore")
    except (OSError, ValueError, AttributeError):
        # Missing, unreadable or of another make: as for the container tools, no login is in it.
        return None
    host = _normal(registry)
    if helpers.get(host):
        return _from_helper(helpers[host], registry)
    names = [host] + [f"{host}/{part}" for part in _prefixes(repository)]
    for name in reversed(names):
        login = _from_entry(auths.get(name))
        if login:
            return login
    return _from_helper(store, registry) if store else None


def _normal(key: str) -> str:
    """A key without scheme and API path: ``https://index.docker.io/v1/`` is ``docker.io``."""
    scheme, separator, rest = key.partition("://")
    if separator and scheme in ("https", "http"):
        # Only Docker writes keys with a scheme, and of these only the host counts.
        key = rest.split("/", 1)[0]
    key = key.rstrip("/")
    return "docker.io" if key in _DOCKER_HUB_KEYS else key


def _prefixes(repository: str) -> list[str]:
    parts = repository.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _from_entry(entry: t.Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            username, dummy, password = base64.b64decode(entry["auth"]).decode("utf-8").partition(":")
        except (ValueError, TypeError):
            return None
        # Docker pads the decoded text with NUL bytes.
        password = password.rstrip("\0")
    login = Login(username, password, entry.get("identitytoken") or "", entry.get("registrytoken") or "")
    return login if (login.password or login.identity_token or login.registry_token) else None


def _from_helper(helper: str, registry: str) -> Login | None:
    server = "https://index.docker.io/v1/" if _normal(registry) == "docker.io" else registry
    command = [f"docker-credential-{helper}", "get"]
    try:
        answer = subprocess.run(command, input=server, capture_output=True, text=True, timeout=_HELPER_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ContainersError(f"{registry}: the credential helper {command[0]} could not be asked ({type(exc).__name__}): install or mend it") from None
    if answer.returncode != 0:
        # The protocol has no exit code of its own for "I have none": its text is the only sign.
        if "credentials not found" in answer.stdout + answer.stderr:
            return None
        raise ContainersError(f"{registry}: the credential helper {command[0]} failed with exit code {answer.returncode}: run '{command[0]} get' to see why")
    try:
        content = json.loads(answer.stdout)
        username, secret = content["Username"], content["Secret"]
    except (ValueError, KeyError, TypeError):
        raise ContainersError(f"{registry}: the credential helper {command[0]} answered something that is no login") from None
    return Login(identity_token=secret) if username == "<token>" else Login(username, secret)
