# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the unit tests share: an environment without logins, a strict HTTP server on loopback, pauses that take no time."""

from __future__ import annotations

import dataclasses
import datetime
import email.message
import http.server
import ipaddress
import json
import os
import pathlib
import ssl
import threading
import time
import typing as t
import urllib.parse

import hypothesis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

hypothesis.settings.register_profile("unit", database=None, deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.load_profile("unit")

_FOREIGN = (
    "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE",
    "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
)  # fmt: skip


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def no_foreign_logins(monkeypatch: pytest.MonkeyPatch, empty_home: pathlib.Path) -> None:
    """No login, proxy or CA of the machine that runs the tests gets into them."""
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(empty_home))
    # Without it /run/containers is read.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(empty_home))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the code under test makes, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


@dataclasses.dataclass
class Request:
    """One request as it came; ``path`` is without the query."""

    method: str
    target: str
    headers: email.message.Message
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclasses.dataclass
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str]
    times: int | None
    cut: str
    hook: t.Callable[[], object] | None


class Server:
    """An HTTP/1.1 server with scripted answers.

    A request that is not in its script gets a 500; that, and an answer that nobody asked for, make ``check`` fail.

    :param host: an address of this machine, 127.0.0.2 is another host than 127.0.0.1.
    :param context: to speak TLS.
    """

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.connections = 0
        self.at_once = 0
        self._lock = threading.Lock()
        self._script: dict[tuple[str, str], list[_Answer]] = {}
        self._unscripted: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with server._lock:
                    server.connections += 1

            def log_message(self, *dummy: object) -> None:
                pass

            def __getattr__(self, name: str) -> t.Any:
                if name.startswith("do_"):
                    return lambda: server._handle(self)
                raise AttributeError(name)

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def finish_request(self, request: t.Any, client_address: t.Any) -> None:
                if context is not None:
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

            def handle_error(self, *dummy: object) -> None:
                """A client that does not trust the certificate, or goes away: no matter for the output."""

        self._listener = Listener((host, 0), Handler)
        self.name = f"{host}:{self._listener.server_port}"
        self.scheme = "http" if context is None else "https"
        self.url = f"{self.scheme}://{self.name}"
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()

    def on(
        self,
        method: str,
        target: str,
        status: int = 200,
        body: t.Any = b"",
        headers: t.Mapping[str, str] | None = None,
        *,
        times: int | None = 1,
        cut: str = "",
        hook: t.Callable[[], object] | None = None,
    ) -> None:
        """Add an answer to the script; answers to the same target are given in their order.

        :param target: with a query to be matched as a whole, else for any query.
        :param body: bytes, text, or something to be sent as JSON.
        :param times: how often; ``None`` for as often as asked, never included.
        :param cut: close the connection ``before`` the answer, amid its ``headers`` or amid its ``body``.
        :param hook: called before answering.
        """
        content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self._script.setdefault((method, target), []).append(_Answer(status, content, dict(headers or {}), times, cut, hook))

    def seen(self, path: str | None = None) -> list[str]:
        """The requests so far as ``METHOD target``, those of a path if one is given."""
        return [str(request) for request in self.requests if path in (None, request.path)]

    def of(self, method: str, path: str) -> list[Request]:
        """The requests of a method and path."""
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def crowd(self, number: int) -> t.Callable[[], None]:
        """A hook that holds requests back until so many have come, and a bit longer for one more to come."""
        full = threading.Event()

        def wait() -> None:
            if self.at_once >= number:
                full.set()
            full.wait(5)
            threading.Event().wait(0.01)

        return wait

    def check(self) -> None:
        left = [
            f"{method} {target} ({answer.times} x {answer.status})" for (method, target), answers in self._script.items() for answer in answers if answer.times
        ]
        assert not self._unscripted, f"requests that are not in the script: {self._unscripted}"
        assert not left, f"answers that nobody asked for: {left}"

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    def _next(self, request: Request) -> _Answer:
        for target in dict.fromkeys((request.target, request.path)):
            answers = self._script.get((request.method, target), [])
            for answer in answers:
                if answer.times is None:
                    return answer
                if answer.times:
                    answer.times -= 1
                    return answer
        self._unscripted.append(str(request))
        return _Answer(500, b"not in the script", {}, 1, "", None)

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request = Request(handler.command, handler.path, handler.headers, body)
        with self._lock:
            self.requests.append(request)
            answer = self._next(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if answer.hook is not None:
                answer.hook()
        finally:
            with self._lock:
                self.at_once -= 1
        if answer.cut == "before":
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        if answer.cut == "headers":
            handler.send_header("X-Last", "its line has no e")
            handler.wfile.write(b"".join(handler._headers_buffer)[:-2])
            handler.close_connection = True
            return
        handler.end_headers()
        if answer.cut == "body":
            handler.wfile.write(answer.body[: len(answer.body) // 2])
            handler.close_connection = True
        elif request.method != "HEAD":
            handler.wfile.write(answer.body)


@pytest.fixture
def http_server(pauses: list[float]) -> t.Iterator[t.Callable[..., Server]]:
    """Starts servers; at the end of the test each must have been asked for its script, the whole script and nothing but the script."""
    servers: list[Server] = []

    def start(**options: t.Any) -> Server:
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    for server in servers:
        server.check()


@dataclasses.dataclass
class Certificate:
    """A self-signed certificate for 127.0.0.1, as PEM texts, files, and a server's context."""

    cert: str
    key: str
    cert_file: pathlib.Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def make_certificate(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[], Certificate]:
    def make() -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        directory = tmp_path_factory.mktemp("tls")
        cert_file, key_file = directory / "cert.pem", directory / "key.pem"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.fspath(cert_file), os.fspath(key_file))
        return Certificate(cert_file.read_text(), key_file.read_text(), cert_file, context)

    return make


@pytest.fixture(scope="session")
def certificate(make_certificate: t.Callable[[], Certificate]) -> Certificate:
    return make_certificate()
