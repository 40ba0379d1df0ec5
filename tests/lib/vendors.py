# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for the logins of registries that cannot run here, at their own names, in front of a real registry.

They are an HTTPS proxy: who is told to use it reaches ``ghcr.io`` at ``ghcr.io``, with a certificate of an authority of the
tests. What a request may do is decided as the vendors document it; what may pass is answered by a docker-registry. A request
that no documentation has is a violation, and fails the test.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import http.client
import http.server
import ipaddress
import json
import pathlib
import re
import secrets
import ssl
import threading
import time
import typing as t
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from registries import Server
from sigv4 import verify

#: A service account's key of Google has this form.
SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "my-project",
    "private_key_id": "5f2d8e0c1b7a4d6e9f30",
    "private_key": "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5IGF0IGFsbA==\n-----END PRIVATE KEY-----\n",
    "client_email": "publisher@my-project.iam.gserviceaccount.com",
    "client_id": "123456789012345678901",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as it came; names of headers are in lower case."""

    host: str
    method: str
    target: str
    headers: t.Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def form(self) -> list[tuple[str, str]]:
        return urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password of the Authorization header."""
        scheme, dummy, text = self.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        username, dummy, password = base64.b64decode(text, validate=True).decode().partition(":")
        return username, password


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: t.Any = b""
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    """An error of a registry (distribution-spec, "Error Codes")."""
    return Answer(status, {"errors": [{"code": code, "message": message}]}, {"Content-Type": "application/json", **headers})


class Violation(Exception):
    """A request that no documentation has."""


class Vendor:
    """What is at one or several hosts.

    :param host: of the registry.
    """

    def __init__(self, host: str) -> None:
        self.host = host

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host,)

    def secrets(self) -> set[str]:
        """What was given out."""
        raise NotImplementedError

    def handle(self, request: Request, upstream: t.Callable[[Request], Answer]) -> Answer:
        """Answer a request, or let the real registry do it.

        :raises Violation: it is in no documentation.
        """
        raise NotImplementedError


_NEEDED = {"GET": "pull", "HEAD": "pull", "POST": "push", "PUT": "push", "PATCH": "push", "DELETE": "delete"}
_REPOSITORY = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags)/")


def repository_of(request: Request) -> str:
    found = _REPOSITORY.match(request.path)
    if not found:
        raise Violation(f"{request.method} {request.target}")
    return found[1]


class TokenVendor(Vendor):
    """A registry with a token server (distribution, "Token Authentication Specification").

    :param realm: of the challenge.
    :param accounts: user and password to the actions that it may have at most; a user that is empty is any user.
    :param anonymous: actions without a login.
    :param scope: what a scope must match, else 400.
    :param answer: makes the answer of a token.
    :param needed: the action that a method needs, where it is not the usual one.
    :param basic: whether a Basic login may come without a token too.
    """

    def __init__(
        self,
        host: str,
        realm: str,
        service: str,
        accounts: t.Mapping[tuple[str, str], str],
        *,
        anonymous: str = "",
        scope: str = r"repository:[a-z0-9._/-]+:[a-z*,]+",
        answer: t.Callable[[str], dict[str, t.Any]] = lambda token: {"token": token},
        needed: t.Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(host)
        self.realm = realm
        self.service = service
        self.accounts = dict(accounts)
        self.anonymous = anonymous
        self.scope = re.compile(scope)
        self.answer = answer
        self.needed = {**_NEEDED, **(needed or {})}
        self.tokens: dict[str, dict[str, set[str]]] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host, urllib.parse.urlsplit(self.realm).netloc)

    def secrets(self) -> set[str]:
        return set(self.tokens)

    def handle(self, request: Request, upstream: t.Callable[[Request], Answer]) -> Answer:
        url = f"https://{request.host}{request.path}"
        if url == self.realm:
            return self.token(request)
        if request.host != self.host or not request.path.startswith("/v2/"):
            raise Violation(f"{request.method} {url}")
        if request.path == "/v2/":
            return self.challenge("")
        repository = repository_of(request)
        action = self.needed[request.method]
        scope = f"repository:{repository}:{action}"
        scheme, dummy, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return self.challenge(scope)
        if scheme != "Bearer":
            raise Violation(f"{request.method} {url} with {scheme}")
        if token not in self.tokens:
            return self.challenge(scope, "invalid_token")
        if action not in self.tokens[token].get(repository, ()):
            return self.challenge(scope, "insufficient_scope")
        return upstream(request)

    def challenge(self, scope: str, reason: str = "") -> Answer:
        header = f'Bearer realm="{self.realm}",service="{self.service}"' + (f',scope="{scope}"' if scope else "") + (f',error="{reason}"' if reason else "")
        return error(401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": header})

    def token(self, request: Request) -> Answer:
        """Basic to GET, as all of them know it."""
        if request.method != "GET" or {name for name, dummy in request.query} - {"service", "scope", "account", "offline_token", "client_id"}:
            raise Violation(f"{request.method} {request.target}")
        if [value for name, value in request.query if name == "service"] != [self.service]:
            raise Violation(f"token for another service: {request.target}")
        if request.headers.get("authorization") and request.basic is None:
            raise Violation("a token request with something else than Basic")
        allowed = self.allowed(request.basic)
        if allowed is None:
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        return self.grant([value for name, value in request.query if name == "scope"], allowed)

    def allowed(self, login: tuple[str, str] | None) -> str | None:
        if login is None:
            return self.anonymous or None
        return self.accounts.get(login, self.accounts.get(("", login[1])))

    def grant(self, scopes: t.Sequence[str], allowed: str) -> Answer:
        """A token; of what may not be had nothing is said."""
        if not scopes:
            raise Violation("a token without a scope")
        granted: dict[str, set[str]] = {}
        for scope in scopes:
            if not self.scope.fullmatch(scope):
                return Answer(400, {"error": "Unable to decode repository and actions"})
            name, actions = scope.split(":", 1)[1].rsplit(":", 1)
            granted.setdefault(name, set()).update(set(actions.split(",")) & set(allowed.split(",")))
        token = secrets.token_urlsafe(24)
        self.tokens[token] = granted
        return Answer(200, self.answer(token), {"Content-Type": "application/json"})


class Acr(TokenVendor):
    """Azure Container Registry (Azure/acr, docs/AAD-OAuth.md and docs/Token-BasicAuth.md).

    :param entra: the access tokens of Microsoft Entra ID that are good, each to the actions of who has it.
    """

    def __init__(self, host: str, accounts: t.Mapping[tuple[str, str], str], entra: t.Mapping[str, str]) -> None:
        super().__init__(host, f"https://{host}/oauth2/token", host, accounts, answer=lambda token: {"access_token": token})
        self.entra = dict(entra)
        self.refresh: dict[str, str] = {}
        self.exchanges = 0

    def secrets(self) -> set[str]:
        return {*self.tokens, *self.refresh}

    def handle(self, request: Request, upstream: t.Callable[[Request], Answer]) -> Answer:
        if request.path == "/oauth2/exchange":
            return self.exchange(request)
        return super().handle(request, upstream)

    def exchange(self, request: Request) -> Answer:
        form = dict(request.form)
        wanted = {"grant_type": "access_token", "service": self.host, "access_token": form.get("access_token"), "tenant": form.get("tenant")}
        plain = request.headers.get("content-type") == "application/x-www-form-urlencoded" and not request.headers.get("authorization")
        if request.method != "POST" or not plain or {**form, "tenant": form.get("tenant")} != wanted:
            raise Violation(f"{request.method} {request.target} {sorted(form)}")
        self.exchanges += 1
        if form["access_token"] not in self.entra:
            return error(401, "UNAUTHORIZED", f"AAD access token {form['access_token']} is expired or not valid")
        token = secrets.token_urlsafe(24)
        self.refresh[token] = self.entra[form["access_token"]]
        return Answer(200, {"refresh_token": token})

    def token(self, request: Request) -> Answer:
        if request.method != "POST":
            return super().token(request)
        form = dict(request.form)
        if set(form) - {"client_id"} != {"grant_type", "service", "scope", "refresh_token"} or request.query or request.headers.get("authorization"):
            raise Violation(f"POST {request.target} {sorted(form)}")
        if form["grant_type"] != "refresh_token" or form["service"] != self.host:
            raise Violation(f"POST {request.target} of {form['grant_type']} for {form['service']}")
        if form["refresh_token"] not in self.refresh:
            return error(401, "UNAUTHORIZED", "authentication required")
        return self.grant(form["scope"].split(" "), self.refresh[form["refresh_token"]])

    def allowed(self, login: tuple[str, str] | None) -> str | None:
        if login is not None and login[0] == "00000000-0000-0000-0000-000000000000":
            return self.refresh.get(login[1])
        return super().allowed(login)


class Gar(TokenVendor):
    """Google Artifact Registry ("Configure authentication to Artifact Registry for Docker").

    :param key: of a service account.
    :param access_tokens: OAuth access tokens that are good.
    """

    def __init__(self, host: str, key: t.Mapping[str, t.Any], access_tokens: t.Container[str]) -> None:
        super().__init__(host, f"https://{host}/v2/token", host, {})
        self.key = key
        self.access_tokens = access_tokens

    def allowed(self, login: tuple[str, str] | None) -> str | None:
        username, password = login or ("", "")
        try:
            good = (
                (username == "_json_key" and json.loads(password) == self.key)
                or (username == "_json_key_base64" and json.loads(base64.b64decode(password, validate=True)) == self.key)
                or (username == "oauth2accesstoken" and password in self.access_tokens)
            )
        except ValueError:
            good = False
        return "pull,push,delete" if good else None


class EcrVendor(Vendor):
    """Amazon ECR: its API (model of botocore: ``ecr``, ``ecr-public``), and a registry that takes the passwords that it gives.

    :param keys: access key ID to secret access key.
    :param sessions: session token that must come with an access key ID.
    :param denied: access key IDs without the right to log in.
    """

    def __init__(self, host: str, api: str, region: str, keys: t.Mapping[str, str], sessions: t.Mapping[str, str] | None = None) -> None:
        super().__init__(host)
        self.api = api
        self.region = region
        self.public = host == "public.ecr.aws"
        self.keys = dict(keys)
        self.sessions = dict(sessions or {})
        self.denied: set[str] = set()
        self.lifetime = 12 * 3600.0
        self.passwords: dict[str, bool] = {}
        self.calls = 0
        self.throttle = 0
        self.tokens = TokenVendor(host, f"https://{host}/token/", host, {}, anonymous="pull") if self.public else None

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host, self.api)

    def secrets(self) -> set[str]:
        return {*self.passwords, *(self.tokens.tokens if self.tokens else ())}

    def handle(self, request: Request, upstream: t.Callable[[Request], Answer]) -> Answer:
        if request.host == self.api:
            return self.call(request)
        if self.tokens is not None:
            self.tokens.accounts = {("AWS", password): "pull,push" for password, good in self.passwords.items() if good}
            return self.tokens.handle(request, upstream)
        if not request.path.startswith("/v2/"):
            raise Violation(f"{request.method} {request.target}")
        login = request.basic
        if login is None or login[0] != "AWS" or login[1] not in self.passwords:
            return error(401, "UNAUTHORIZED", "Not Authorized", **{"WWW-Authenticate": f'Basic realm="https://{self.host}/",service="ecr.amazonaws.com"'})
        if not self.passwords[login[1]]:
            return error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return Answer(200) if request.path == "/v2/" else upstream(request)

    def expire(self) -> None:
        self.passwords = dict.fromkeys(self.passwords, False)
        if self.tokens is not None:
            self.tokens.tokens.clear()

    def call(self, request: Request) -> Answer:
        service, prefix = ("ecr-public", "SpencerFrontendService") if self.public else ("ecr", "AmazonEC2ContainerRegistry_V20150921")
        if (request.method, request.target) != ("POST", "/") or request.headers.get("content-type") != "application/x-amz-json-1.1":
            raise Violation(f"{request.method} {request.target} of {request.headers.get('content-type')}")
        if request.headers.get("x-amz-target") != f"{prefix}.GetAuthorizationToken" or json.loads(request.body) != {}:
            raise Violation(f"{request.headers.get('x-amz-target')} {request.body!r}")
        self.calls += 1
        wrong = verify(request.method, request.target, request.headers, request.body, self.keys, self.region, service)
        if wrong:
            # As AWS does: with all that was signed.
            said = f"{wrong}: The Canonical String for this request should have been {dict(request.headers)}"
            return self.refuse("InvalidSignatureException" if " " in wrong else wrong, said)
        key = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        if self.sessions.get(key) != request.headers.get("x-amz-security-token"):
            token = request.headers.get("x-amz-security-token")
            code = "ExpiredTokenException" if token else "UnrecognizedClientException"
            return self.refuse(code, f"The security token {token} included in the request is expired")
        if key in self.denied:
            who = "arn:aws:iam::123456789012:user/ci"
            return self.refuse("AccessDeniedException", f"User: {who} is not authorized to perform: {service}:GetAuthorizationToken on resource: *")
        if self.throttle:
            self.throttle -= 1
            return self.refuse("ThrottlingException", "Rate exceeded")
        password = secrets.token_urlsafe(48)
        self.passwords[password] = True
        data = {"authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(), "expiresAt": round(time.time() + self.lifetime, 3)}
        answer = {"authorizationData": data if self.public else [{**data, "proxyEndpoint": f"https://{self.host}"}]}
        return Answer(200, answer, {"Content-Type": "application/x-amz-json-1.1"})

    @staticmethod
    def refuse(code: str, message: str) -> Answer:
        return Answer(400, {"__type": f"com.amazon.coral.service#{code}", "message": message}, {"Content-Type": "application/x-amz-json-1.1"})


class Internet:
    """The proxy to all stand-ins.

    :param vendors: what there is.
    :param backend: a registry on 127.0.0.1, which answers what may pass.
    :param directory: for the certificates.
    """

    def __init__(self, vendors: t.Iterable[Vendor], backend: Server, directory: pathlib.Path) -> None:
        self.vendors = {host: vendor for vendor in vendors for host in vendor.hosts}
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.ca = directory / "ca.pem"
        self._authority = _Authority(directory)
        self._backend = backend
        internet = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            host = ""

            def log_message(self, *dummy: t.Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError):
                    self.close_connection = True

            def do_CONNECT(self) -> None:
                self.host = self.path.rpartition(":")[0]
                if self.path != f"{self.host}:443" or self.host not in internet.vendors:
                    internet.violations.append(f"CONNECT {self.path}")
                    self.send_error(502)
                    return
                self.send_response(200)
                self.end_headers()
                self.connection = internet._authority.context(self.host).wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def do_any(self) -> None:
                body = self._body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.host, self.command, self.path, headers, body)
                answer = internet._answer(request)
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.content)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_any

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *dummy: object) -> None:
                """A client that does not trust the certificate, or goes away."""

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What leads to it, in the environment of a process."""
        return {"HTTPS_PROXY": self.url, "https_proxy": self.url, "REQUESTS_CA_BUNDLE": str(self.ca), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            if request.headers.get("host") != request.host:
                raise Violation(f"the host {request.headers.get('host')} at {request.host}")
            return self.vendors[request.host].handle(request, self._upstream)
        except Exception as exc:
            self.violations.append(f"{request.method} https://{request.host}{request.target}: {type(exc).__name__}: {exc}")
            return Answer(500, b"not in the documentation")

    def _upstream(self, request: Request) -> Answer:
        dropped = ("authorization", "transfer-encoding", "content-length", "connection", "host")
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        headers.update({"Content-Length": str(len(request.body)), "X-Forwarded-Proto": "https", "Host": request.host})
        login = f"{self._backend.username}:{self._backend.password}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self._backend.port, timeout=60)
        try:
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            content = response.read()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in ("connection", "transfer-encoding", "date", "server")}
            if request.method != "HEAD":
                kept["Content-Length"] = str(len(content))
            return Answer(response.status, content, kept)
        finally:
            connection.close()

    def secrets(self) -> set[str]:
        """All that was sent as an authorization, and all that the vendors gave."""
        found = {request.headers["authorization"].split(" ", 1)[1] for request in self.requests if "authorization" in request.headers}
        return found.union(*(vendor.secrets() for vendor in self.vendors.values()))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Authority:
    """Makes certificates for any host."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "authority of the tests")])
        certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                key = ec.generate_private_key(ec.SECP256R1())
                try:
                    name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
                except ValueError:
                    name = x509.DNSName(host)
                certificate = self._sign(x509.Name([]), key, x509.SubjectAlternativeName([name]))
                path = self._directory / f"{host}.pem"
                form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                path.write_bytes(key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM))
                context = self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(path)
            return self._contexts[host]
