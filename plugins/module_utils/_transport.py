# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""HTTP to one registry: connections that are reused, limits, timeouts, retries and TLS. It knows nothing of registries."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import os
import pathlib
import tempfile
import threading
import traceback
import typing as t

try:
    import requests
    import urllib3
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import MaxRetryError
except ImportError:  # reported by the entry points, see _entry.py
    REQUESTS_IMPORT_ERROR: str | None = traceback.format_exc()
    Session = HTTPAdapter = object  # type: ignore[assignment,misc]
else:
    REQUESTS_IMPORT_ERROR = None

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    RetryPolicy,
    is_passing,
)

# What OpenSSL says of a peer that speaks no TLS, and of one that is not trusted or does not trust.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
_FINAL_TLS = (*_NO_TLS, "CERTIFICATE_VERIFY_FAILED", "_ALERT_", "PEM", "X509")
_BACKOFF = 0.25  # seconds; the pauses are 0, 2, 4, 8 … times as long


class _Lines:
    """A file that remembers the last line that was read."""

    def __init__(self, file: t.Any) -> None:
        self.file = file
        self.last = b"\n"

    def readline(self, size: int = -1) -> bytes:
        self.last = self.file.readline(size)
        return self.last

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.file, name)


class _Response(http.client.HTTPResponse):
    """An answer whose headers are whole. http.client takes the end of a connection for that of the headers, and an answer without a length for empty."""

    def begin(self) -> None:
        lines = _Lines(self.fp)
        self.fp = t.cast(t.Any, lines)
        super().begin()
        self.fp = lines.file
        if lines.last.strip(b"\r\n") or not lines.last:
            raise http.client.RemoteDisconnected("the connection was closed amid the headers")


class _Adapter(HTTPAdapter):
    """Connections whose answers are ``_Response``."""

    def init_poolmanager(self, *args: t.Any, **options: t.Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **options: t.Any) -> t.Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    @staticmethod
    def _pools() -> dict[str, t.Any]:
        def pool(kind: t.Any) -> t.Any:
            connection = type(kind.ConnectionCls.__name__, (kind.ConnectionCls,), {"response_class": _Response})
            return type(kind.__name__, (kind,), {"ConnectionCls": connection})

        return {"http": pool(urllib3.HTTPConnectionPool), "https": pool(urllib3.HTTPSConnectionPool)}


class _Session(Session):
    """A session that takes the Authorization header to no other origin, and follows no redirect of a write.

    Of the environment only the proxies count, which are looked up once for each origin: requests does so for every request,
    which is a third of its work. It would also take logins from ~/.netrc.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._proxies: dict[t.Any, dict[str, str]] = {}

    def proxies_for(self, url: str) -> dict[str, str]:
        """The proxies that the environment names for an origin."""
        origin = _origin(url)
        if origin not in self._proxies:
            self._proxies[origin] = requests.utils.get_environ_proxies(url)
        return self._proxies[origin]

    def rebuild_proxies(self, prepared_request: t.Any, proxies: t.Any) -> dict[str, str]:
        return self.proxies_for(prepared_request.url)

    def rebuild_auth(self, prepared_request: t.Any, response: t.Any) -> None:
        # The cookies of a redirect are not subject to the session's policy.
        prepared_request.headers.pop("Cookie", None)
        if not same_origin(prepared_request.url, response.request.url):
            prepared_request.headers.pop("Authorization", None)

    def get_redirect_target(self, resp: t.Any) -> str | None:
        target = t.cast("str | None", super().get_redirect_target(resp))
        if target is None or resp.request.method in ("GET", "HEAD"):
            return target
        # requests would make a GET of a PUT or DELETE, and its 200 would pass for success (RFC 9110, 15.4).
        if resp.status_code not in (307, 308):
            return None
        # The form of a token request holds a login.
        if resp.request.method == "POST" and not same_origin(requests.compat.urljoin(resp.url, target), resp.url):
            return None
        return target


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port (RFC 6454, 4)."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = requests.compat.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


class Counter:
    """How many HTTP requests were made, retries and redirects included."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, number: int = 1) -> None:
        """Count that many more."""
        with self._lock:
            self.value += number


class TlsFiles:
    """What requests needs for TLS, as files: PEM texts are kept in a private directory until ``close``.

    :raises InputError: a path that was given is not there.
    """

    def __init__(self, access: Access) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.ca = self._path(access, "ca_cert")
        self.cert = self._path(access, "client_cert")
        self.key = self._path(access, "client_key")

    def _path(self, access: Access, key: str) -> str | None:
        value = getattr(access, key)
        if not value:
            return None
        if "-----BEGIN" in value:
            if self._directory is None:
                self._directory = tempfile.TemporaryDirectory(prefix="gating-containers-")  # made with mode 0700
            path = pathlib.Path(self._directory.name) / f"{key}.pem"
            path.write_text(value, encoding="utf-8")
            return str(path)
        try:
            path = pathlib.Path(value).expanduser()
            there = path.exists()
        except (OSError, RuntimeError, ValueError):
            there = False
        if not there:
            self.close()
            raise InputError(f"container_registry_credentials[{access.registry}]: {key} is neither PEM text nor a file that is there")
        return str(path)

    def close(self) -> None:
        """Remove the files."""
        if self._directory is not None:
            self._directory.cleanup()


class Transport:
    """HTTP to one registry and to the servers that it names (token server, storage).

    :param access: TLS settings.
    :param parallel: how many requests may be under way at once.
    :param timeout: seconds to wait for a connection, and for each part of an answer.
    :param retries: how often a request is made again after a failure that may pass.
    :param counter: counts the requests.
    """

    def __init__(self, access: Access, *, parallel: int, timeout: float, retries: int, counter: Counter) -> None:
        self._access = access
        self._slots = threading.BoundedSemaphore(parallel)
        self._timeout = timeout
        self._retries = retries
        self._counter = counter
        self._tls = TlsFiles(access)
        self._session = _Session()
        adapter = _Adapter(pool_connections=4, pool_maxsize=2 * parallel)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        # A cookie makes Harbor ask for a CSRF token.
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self._verify: bool | str = access.tls_verify and (self._tls.ca or bundle or True)
        self._cert = (self._tls.cert, self._tls.key) if self._tls.cert else None
        if not access.tls_verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def policy(self, retries: int | None = None) -> RetryPolicy:
        """A fresh policy for what is to be tried again."""
        return RetryPolicy(total=self._retries if retries is None else retries, backoff_factor=_BACKOFF)

    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        authorization: str | None = None,
        headers: t.Mapping[str, str] | None = None,
        params: t.Any = None,
        data: t.Any = None,
        retries: int | None = None,
        stream: bool = False,
        slot: bool = True,
    ) -> t.Any:
        """Make a request, again after failures that may pass, and return the answer with its body read.

        :param what: names the request in errors: "GET manifest of quay.io/example/image:latest".
        :param data: the body.
        :param authorization: value of the Authorization header; it goes to no other origin by a redirect.
        :param stream: leave the body unread, for the caller to read and to close.
        :param slot: whether it counts as a request under way, unless it is streamed. What flows from one into another must not: each would wait for
            the other.
        :returns: a ``requests.Response`` of any status; one that may pass only when all retries are used up.
        :raises RegistryError: no answer came.
        """
        policy = self.policy(retries)
        while True:
            response = failure = None
            try:
                with self._slots if slot and not stream else contextlib.nullcontext():
                    response = self._once(method, url, authorization, headers, params, data, stream)
                if not is_passing(response.status_code):
                    return response
            # ValueError and urllib3's own: a malformed URL to which the request was redirected.
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as exc:
                failure = exc
                if _is_final(exc):
                    raise RegistryError(f"{what}: {_reason(exc)}") from None
            try:
                policy = policy.increment(method, url, response=response.raw if response is not None else None, error=failure)
            except MaxRetryError:
                if response is not None:
                    return response
                raise RegistryError(f"{what}: no answer in {len(policy.history) + 1} tries, {_reason(failure)}") from None
            policy.sleep(response.raw if response is not None else None)
            if stream and response is not None:
                response.close()

    def _once(self, method: str, url: str, authorization: str | None, headers: t.Any, params: t.Any, data: t.Any, stream: bool) -> t.Any:
        self._counter.add()
        # A compressed answer has no digest to check.
        sent = {"User-Agent": "gating.containers", "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
        if authorization:
            sent["Authorization"] = authorization
        request = requests.Request(method, url, params=params, data=data, headers=sent).prepare()
        response = self._session.send(
            request,
            stream=stream,
            timeout=self._timeout,
            verify=self._verify,
            cert=self._cert,
            proxies=self._session.proxies_for(request.url),
        )
        self._counter.add(len(response.history))
        return response

    def close(self) -> None:
        """Close the connections and remove the TLS files."""
        self._session.close()
        self._tls.close()


def _is_final(exc: Exception) -> bool:
    """Whether the same request can only fail the same way."""
    final = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.TooManyRedirects,
        requests.exceptions.InvalidHeader,
    )
    if isinstance(exc, requests.exceptions.SSLError):
        return any(text in str(exc) for text in _FINAL_TLS)
    return isinstance(exc, final) or not isinstance(exc, requests.exceptions.RequestException)


def _reason(exc: t.Any) -> str:
    """Why there was no answer, in one line and without the noise of urllib3's nested exceptions."""
    if isinstance(exc, requests.exceptions.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(exc):
            return "its TLS certificate is not trusted: give the registry's ca_cert in container_registry_credentials"
        if any(text in str(exc) for text in _NO_TLS):
            return "no TLS connection: if the registry speaks plain HTTP, set scheme to http in container_registry_credentials"
        return "no TLS connection: check ca_cert, client_cert and client_key in container_registry_credentials"
    if isinstance(exc, requests.exceptions.ConnectTimeout):
        return "no connection in time: check the registry's name and port, or raise timeout"
    if isinstance(exc, requests.exceptions.Timeout):
        return "no answer in time: raise timeout"
    if isinstance(exc, requests.exceptions.TooManyRedirects):
        return "too many redirects"
    if not isinstance(exc, requests.exceptions.RequestException):
        return "it was redirected to a malformed URL: see the registry's log"
    if isinstance(exc, (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        cause: t.Any = exc.args[0] if exc.args else exc
        cause = getattr(cause, "reason", cause)
        text = str(cause)
        for known in ("Connection refused", "Name or service not known", "Temporary failure in name resolution", "Connection reset by peer"):
            if known in text:
                return known.lower() + ": check the registry's name and port"
        return "the connection broke: check the registry and the network"
    return type(exc).__name__
