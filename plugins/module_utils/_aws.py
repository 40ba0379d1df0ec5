# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The API of Amazon ECR: where it is, the signature of a request, and the login that it gives.

Requests are signed by botocore, which is asked for only here, so that nobody else needs it. It also finds the credentials
of whoever runs this, as every program of AWS does.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import logging
import re
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
    mask,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    split_registry,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    MaxRetryError,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Transport,
)

_PUBLIC_HOSTS = ("public.ecr.aws", "ecr-public.aws.com")
# Amazon ECR's "Service endpoints", and the names of the partitions in botocore's endpoints.json.
_PRIVATE_HOST = re.compile(
    r"[0-9]{12}\.dkr(?:\.ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)|-ecr(?P<dual_fips>-fips)?\.(?P<dual_region>[a-z0-9-]+)\.on\.aws)"
)
_REGION_OF_API = re.compile(r"(?:^|\.)ecr(?:-fips)?\.([a-z0-9-]+)\.")
_TARGETS = {"ecr": "AmazonEC2ContainerRegistry_V20150921", "ecr-public": "SpencerFrontendService"}

_LIFETIME = 12 * 3600.0  # seconds, of a login where ECR does not say
_MARGIN = 900.0  # seconds before its end at which a login is renewed: a container tool uses the one that it has until its push is done
_THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded")
_EXPIRED = ("ExpiredTokenException", "ExpiredToken")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where the API of a registry is.

    :param url: ``https://host``; empty if only the user's configuration of AWS can tell.
    :param service: ``ecr`` or ``ecr-public``, for which requests are signed.
    :param region: empty as ``url``.
    """

    url: str
    service: str
    region: str


def endpoint(access: Access) -> Endpoint | None:
    """The API of a registry, ``None`` if the registry is none of ECR.

    It is known by its exact host name, or by the type that the user gave. ``api_url`` goes before what the name says.
    """
    host, port = split_registry(access.registry)
    if access.type not in ("", "ecr"):
        return None
    if port in (None, 443):
        if host in _PUBLIC_HOSTS:
            return Endpoint(access.api_url or "https://api.ecr-public.us-east-1.amazonaws.com", "ecr-public", "us-east-1")
        found = _PRIVATE_HOST.fullmatch(host)
        if found and found["region"]:
            name = f"ecr-fips.{found['region']}" if found["fips"] else f"api.ecr.{found['region']}"
            return Endpoint(access.api_url or f"https://{name}.{found['suffix']}", "ecr", found["region"])
        if found:
            region = found["dual_region"]
            return Endpoint(access.api_url or f"https://ecr{found['dual_fips'] or ''}.{region}.api.aws", "ecr", region)
    if access.type != "ecr":
        return None
    api_host = urllib.parse.urlsplit(access.api_url).hostname or ""
    service = "ecr-public" if "ecr-public." in api_host else "ecr"
    region = _REGION_OF_API.search(api_host)
    return Endpoint(access.api_url, service, "us-east-1" if service == "ecr-public" else region[1] if region else "")


def signed_headers(
    method: str,
    url: str,
    service: str,
    region: str,
    body: bytes,
    credentials: t.Any,
    headers: t.Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a request to AWS with its signature (AWS Signature Version 4), good for five minutes.

    :param service: the name that requests to it are signed for, such as ``ecr``.
    :param credentials: botocore's, as ``Ecr.credentials`` returns them.
    :param headers: further ones to be signed; they are in what is returned.
    """
    auth = _botocore("auth", f"{service} of AWS")
    request = _botocore("awsrequest", f"{service} of AWS").AWSRequest(method, url, headers=dict(headers or {}), data=body)
    auth.SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


class Ecr:
    """The API of one ECR registry (AWS JSON 1.1). Every method may be called from several threads.

    :param access: its login is an access key and its secret, with the session token of temporary ones as ``api_token``; without
        one, or with one that is a token of ECR already, botocore looks for credentials where every program of AWS does.
    :param transport: makes the requests.
    :param clock: seconds that only go forward.
    """

    def __init__(self, access: Access, transport: Transport, clock: t.Callable[[], float] = time.monotonic) -> None:
        found = endpoint(access)
        if found is None:
            raise InputError(f"{access.registry} is no registry of Amazon ECR")
        self._endpoint = found
        self._access = access
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._credentials: t.Any = None
        self._session: t.Any = None

    @property
    def public(self) -> bool:
        """Whether it is the public gallery, from which everybody may pull."""
        return self._endpoint.service == "ecr-public"

    def login(self) -> Login:
        """A login for the registry itself, which ECR gives for twelve hours.

        :raises ContainersError: there are no credentials, or ECR does not accept them.
        """
        answer = self.call("GetAuthorizationToken", {})
        try:
            data = answer["authorizationData"]
            # One for each registry that was asked for, which is none: that of the caller, which opens all that it may use.
            data = data[0] if isinstance(data, list) else data
            username, colon, password = base64.b64decode(data["authorizationToken"], validate=True).decode("utf-8").partition(":")
            lifetime = float(data["expiresAt"]) - time.time() if data.get("expiresAt") else _LIFETIME
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
            username = password = ""
            lifetime = 0
        if not username or not password:
            raise RegistryError(f"{self._access.registry}: GetAuthorizationToken of ECR answered 200 without a login: check api_url, it may not be ECR")
        return Login(username, password, renew_at=self._clock() + max(lifetime - _MARGIN, lifetime / 2))

    def call(self, action: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Call an action, again while ECR says that there are too many, and return its answer.

        :param action: such as ``ListImages``.
        :raises ContainersError: there are no credentials, or the answer is none of 200; ``code`` of a ``RegistryError`` is ECR's.
        """
        credentials = self.credentials()
        url, service, region = self._where()
        what = f"{self._access.registry}: POST {action} to {urllib.parse.urlsplit(url).netloc.rpartition('@')[2]}"
        body = json.dumps(parameters).encode()
        given = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{_TARGETS[service]}.{action}"}
        policy = self._transport.policy()
        while True:
            headers = signed_headers("POST", url, service, region, body, credentials, given)
            authorization = headers.pop("Authorization")
            response = self._transport.request("POST", url, what=what, authorization=authorization, headers=headers, data=body)
            try:
                content = response.json()
            except (ValueError, RecursionError):
                content = None
            if response.status_code == 200 and isinstance(content, dict):
                return t.cast("dict[str, t.Any]", content)
            error = self._error(what, action, response, content, [credentials.secret_key, credentials.token or "", authorization])
            # It says so by 400.
            if error.code not in _THROTTLED:
                raise error
            try:
                policy = policy.increment("POST", "", error=error)
            except MaxRetryError:
                raise error from None
            policy.sleep()

    def credentials(self) -> t.Any:
        """The credentials to sign with, botocore's, which are good for now: temporary ones may be others the next time.

        :raises ContainersError: there are none, or botocore is not installed.
        """
        login = self._access.login
        with self._lock:
            if self._credentials is None and login is not None and login.username != "AWS":
                made = _botocore("credentials", self._access.registry).Credentials(login.username, login.password, self._access.api_token or None)
                self._credentials = made
            return self._guarded(self._find).get_frozen_credentials()

    def _find(self) -> t.Any:
        if self._credentials is None:
            self._credentials = self._configuration().get_credentials()
        if self._credentials is not None:
            # Here they are fetched or refreshed, if they are of that kind.
            self._credentials.get_frozen_credentials()
        return self._credentials

    def _guarded(self, function: t.Callable[[], t.Any]) -> t.Any:
        """What a function of botocore returns, with its errors in our words: its own may hold the output of programs that give credentials."""
        exceptions = _botocore("exceptions", self._access.registry)
        name = ""
        found = None
        try:
            found = function()
        except (exceptions.BotoCoreError, exceptions.ClientError, OSError, ValueError) as exc:
            name = type(exc).__name__
        if found:
            return found
        registry = self._access.registry
        if name:
            raise ContainersError(f"{registry}: the AWS credentials of this machine cannot be used ({name}): run 'aws sts get-caller-identity' to see why")
        raise ContainersError(
            f"{registry}: no AWS credentials were found: give an access key ID and its secret as username and password for {registry} in"
            " container_registry_credentials, or set AWS_PROFILE or another of AWS' own ways where this runs"
        )

    def _configuration(self) -> t.Any:
        if self._session is None:
            self._session = _botocore("session", self._access.registry).Session()
        return self._session

    def _where(self) -> tuple[str, str, str]:
        region = self._endpoint.region
        if not region:
            with self._lock:
                region = str(self._configuration().get_config_variable("region") or "")
        if not region:
            raise InputError(
                f"container_registry_credentials[{self._access.registry}]: neither its name nor api_url tells the AWS region:"
                " set api_url to https://api.ecr.REGION.amazonaws.com, or AWS_DEFAULT_REGION where this runs"
            )
        return self._endpoint.url or f"https://api.ecr.{region}.amazonaws.com", self._endpoint.service, region

    def _error(self, what: str, action: str, response: t.Any, content: t.Any, secrets: t.Sequence[str]) -> RegistryError:
        content = content if isinstance(content, dict) else {}
        code = str(content.get("__type") or response.headers.get("x-amzn-ErrorType") or "").partition(":")[0].rpartition("#")[2]
        code = code if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", code) else ""
        # The message on a wrong signature holds what was signed, session token included.
        message = re.sub(r"\s+", " ", mask(str(content.get("message") or content.get("Message") or ""), secrets)).strip()[:300]
        right = f"{self._endpoint.service}:{action}"
        if self.public and action == "GetAuthorizationToken":
            right += " and sts:GetServiceBearerToken"
        if "AccessDenied" in code:
            advice = f"the AWS credentials need the right {right}"
        elif code in _EXPIRED:
            advice = "the temporary AWS credentials have expired, get new ones"
        elif response.status_code == 429 or code in _THROTTLED:
            advice = "ECR limits the rate of requests: try later, or lower parallel"
        elif response.status_code >= 500:
            advice = "ECR is in trouble, try later"
        elif "Signature" in code or code in ("UnrecognizedClientException", "InvalidClientTokenId", "MissingAuthenticationTokenException"):
            advice = "check the access key ID, its secret, the session token (api_token) and the clock of this machine"
        else:
            advice = "see its message"
        said = f"{response.status_code}" + (f" {code}" if code else "") + (f" {json.dumps(message, ensure_ascii=False)}" if message else "")
        return RegistryError(f"{what}: ECR answered {said}: {advice}", response.status_code, code)


def _botocore(name: str, what: str) -> t.Any:
    """A module of botocore, imported when it is needed: that takes a tenth of a second.

    :param what: needs it, for the error.
    :raises ContainersError: it is not installed.
    """
    try:
        module = importlib.import_module(f"botocore.{name}")
    except ImportError:
        raise ContainersError(
            f"{what}: to log in with AWS credentials needs the Python library botocore, which is not installed: run 'pip install botocore' for the"
            " Python that runs this, or give the username AWS with the output of 'aws ecr get-login-password' as password"
        ) from None
    # Where a plugin has set the root logger to DEBUG, it would write down session tokens, and answers that hold secret keys.
    logging.getLogger("botocore").setLevel(logging.INFO)
    return module
