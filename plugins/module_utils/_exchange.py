# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Who to be at a registry: what the user gave, what the container tools know, or what either must first be exchanged for.

Only Amazon ECR and Azure Container Registry exchange. All others take what the user has, by Basic or at their token servers.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._aws import (
    Ecr,
    endpoint,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
    mask,
    registry_message,
)
from ansible_collections.gating.containers.plugins.module_utils._logins import (
    find_login,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    split_registry,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Transport,
)

_ACR_HOST = re.compile(r"(?:[a-z0-9-]+\.)+azurecr\.(?:io|cn|us)")
#: The user whose password is a refresh token of ACR (Azure/acr, docs/AAD-OAuth.md).
ACR_TOKEN_USER = "00000000-0000-0000-0000-000000000000"


class Exchange:
    """Logins of one registry. Every method may be called from several threads.

    :param access: what the user gave.
    :param transport: makes the requests.
    :param clock: seconds that only go forward.
    """

    def __init__(self, access: Access, transport: Transport, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._transport = transport
        self._clock = clock
        self._ecr = Ecr(access, transport, clock) if endpoint(access) else None
        #: Whether ``exchanged`` uses the registry's URL.
        self.needs_url = self._ecr is None and _is_acr(access) and bool(access.api_token) and access.login is None
        self._lock = threading.Lock()
        self._made: Login | None = None

    def login(self, repository: str, base_url: str, refused: Login | None = None) -> Login | None:
        """The login for a repository, ``None`` to be anonymous.

        :param base_url: of the registry.
        :param refused: a login that was refused: if it came from an exchange, there is another one.
        :raises ContainersError: an exchange or a credential helper failed.
        """
        return self.exchanged(repository, base_url, refused) or self._access.login or find_login(self._access.registry, repository, os.environ)

    def exchanged(self, repository: str, base_url: str, refused: Login | None = None) -> Login | None:
        """The login that the user's is exchanged for, ``None`` where the registry takes it as it is. The parameters are those of ``login``."""
        if not self._applies(repository):
            return None
        with self._lock:
            if self._made is None or self._made == refused or self._clock() >= self._made.renew_at:
                self._made = None
                self._made = self._ecr.login() if self._ecr else self._acr_login(base_url)
            return self._made

    def _applies(self, repository: str) -> bool:
        if self._ecr is None:
            return self.needs_url
        if self._access.login is not None:
            return self._access.login.username != "AWS"
        # From the public gallery everybody may pull: AWS' credentials are looked for only if there is an entry for it.
        if self._ecr.public and not self._access.given:
            return False
        return find_login(self._access.registry, repository, os.environ) is None

    def _acr_login(self, base_url: str) -> Login:
        """A refresh token, for an access token of Microsoft Entra ID (Azure/acr, docs/AAD-OAuth.md, "Calling POST /oauth2/exchange")."""
        registry, token = self._access.registry, self._access.api_token
        # To the registry itself, whatever realm it names: this token opens more than a registry.
        what = f"{registry}: POST /oauth2/exchange"
        form = {"grant_type": "access_token", "service": split_registry(registry)[0], "access_token": token}
        response = self._transport.request("POST", f"{base_url}/oauth2/exchange", what=what, data=form)
        code, message = registry_message(response, lambda text: mask(text, [token]))
        said = f"{response.status_code}" + (f" {code}" if code else "") + (f" {json.dumps(message, ensure_ascii=False)}" if message else "")
        if response.status_code in (401, 403):
            raise RegistryError(
                f"{what}: it answered {said}: the api_token for {registry} in container_registry_credentials is to be an access token of Microsoft Entra ID"
                " that is not older than an hour, as 'az account get-access-token' prints it, of who may use this registry",
                response.status_code,
                code,
            )
        if response.status_code != 200:
            raise RegistryError(f"{what}: it answered {said}: try later, or give a username and password", response.status_code, code)
        try:
            refresh = response.json()["refresh_token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            refresh = None
        if not isinstance(refresh, str) or not refresh:
            raise RegistryError(f"{what}: it answered 200 without a refresh token: it may not be an Azure Container Registry")
        # As password too, for who cannot be given a refresh token.
        return Login(ACR_TOKEN_USER, refresh, refresh)


def _is_acr(access: Access) -> bool:
    host, port = split_registry(access.registry)
    return access.type == "acr" or (access.type == "" and port in (None, 443) and _ACR_HOST.fullmatch(host) is not None)
