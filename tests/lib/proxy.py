# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP proxy in front of a registry that counts requests and plays tricks with them."""

from __future__ import annotations

import base64
import collections
import dataclasses
import email.message
import http.client
import http.server
import json
import re
import secrets
import threading
import time
import typing as t
import urllib.parse


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that came through.

    :param status: 0 if it was cut before there was an answer.
    :param headers: get them without regard to case.
    :param sent: bytes of the answer's body that were sent.
    """

    method: str
    path: str
    status: int
    body: bytes = b""
    headers: email.message.Message = dataclasses.field(default_factory=email.message.Message, repr=False, compare=False)
    sent: int = 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer in place of the registry's.

    :param cut: where the connection is closed before its time: ``before`` the answer, after the ``status`` line, amid the ``headers``, before the
        ``blank`` line after them, or amid the ``body``; of an early rule also amid the ``request``, half of which the registry gets.
    """

    status: int
    body: bytes = b""
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    cut: str = ""


#: An answer, or what is made of the registry's own.
Trick = t.Union[Answer, t.Callable[[Answer], Answer], None]
#: Gets method, path and body; returns a trick, or ``None`` to let the registry answer.
Rule = t.Callable[[str, str, bytes], Trick]
#: The same before the body of the request is read, with the headers in place of it.
Early = t.Callable[[str, str, t.Any], Trick]


class Proxy:
    """Listens on a free port of loopback and hands requests on to a registry on loopback.

    :param rule: may answer in place of the registry.
    :param early: the same, asked first and one after the other.
    :param authorization: header with which the registry is asked, in place of the client's.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", rule: Rule | None = None, *, early: t.Sequence[Early] = (), authorization: str = "") -> None:
        self.rule = rule
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._under_way = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, *dummy: t.Any) -> None:
                pass

            def setup(self) -> None:
                super().setup()
                self.upstream = http.client.HTTPConnection(host, port, timeout=60)

            def finish(self) -> None:
                super().finish()
                self.upstream.close()

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def pass_on(self) -> None:
                with proxy._lock:
                    proxy._under_way += 1
                try:
                    self._pass_on()
                finally:
                    with proxy._lock:
                        proxy._under_way -= 1

            def _pass_on(self) -> None:
                trick = next(filter(None, (rule(self.command, self.path, self.headers) for rule in early)), None)
                if isinstance(trick, Answer) and trick.cut == "request":
                    self._hand_on_half()
                    return
                body = self._body()
                if trick is None and proxy.rule:
                    trick = proxy.rule(self.command, self.path, body)
                answer = trick if isinstance(trick, Answer) else self._ask(body)
                if callable(trick):
                    answer = trick(answer)
                self._send(answer, body)

            def _send(self, answer: Answer, body: bytes) -> None:
                headers = {"Content-Length": str(len(answer.body)), **answer.headers}
                reason = http.client.responses.get(answer.status, "")
                lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
                head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("iso-8859-1")
                content = b"" if self.command == "HEAD" else answer.body
                ends = {"before": 0, "status": head.index(b"\n") + 1, "headers": len(head) // 2, "blank": len(head) - 2, "body": len(head) + len(content) // 2}
                sent = (head + content)[: ends.get(answer.cut)]
                with proxy._lock:
                    proxy.requests.append(Request(self.command, self.path, answer.status, body, self.headers, max(0, len(sent) - len(head))))
                self.wfile.write(sent)
                if answer.cut:
                    self.close_connection = True

            def _hand_on_half(self) -> None:
                with proxy._lock:
                    proxy.requests.append(Request(self.command, self.path, 0, headers=self.headers))
                self.close_connection = True
                half = http.client.HTTPConnection(host, port, timeout=60)
                half.putrequest(self.command, self.path)
                for name, value in {**self._headers(), "Content-Length": self.headers["Content-Length"]}.items():
                    half.putheader(name, value)
                half.endheaders(self.rfile.read(int(self.headers["Content-Length"]) // 2))
                half.close()

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _headers(self) -> dict[str, str]:
                own = ("transfer-encoding", "content-length", "connection", "host", "accept-encoding", *(["authorization"] if authorization else []))
                kept = {name: value for name, value in self.headers.items() if name.lower() not in own}
                return {**kept, **({"Authorization": authorization} if authorization else {})}

            def _ask(self, body: bytes) -> Answer:
                self.upstream.request(self.command, self.path, body, {**self._headers(), "Host": self.headers["Host"], "Content-Length": str(len(body))})
                response = self.upstream.getresponse()
                content = response.read()
                kept = {name: value for name, value in response.getheaders() if name.lower() not in ("connection", "transfer-encoding", "date", "server")}
                if self.command != "HEAD":
                    kept["Content-Length"] = str(len(content))
                return Answer(response.status, content, kept)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = pass_on

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def name(self) -> str:
        """The registry's name."""
        return f"127.0.0.1:{self.port}"

    def writes(self) -> list[Request]:
        """The requests that could change something."""
        return [request for request in self.requests if request.method not in ("GET", "HEAD")]

    def wait(self) -> None:
        """Wait until the registry has answered all that it was asked, also by clients that are dead."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.02)
            quiet = 0 if self._under_way else quiet + 1

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class Tokens:
    """A token server, and a registry that takes its tokens only ("Token Authentication Specification"). Both are early rules of proxies.

    :param uses: for how many requests a token is good.
    :param lifetime: seconds for which it is.
    """

    username = "robot"

    def __init__(self, *, uses: int = 10**9, lifetime: float = 300) -> None:
        self.password = secrets.token_hex(20)
        self.realm = ""
        self.issued: dict[str, set[str]] = {}
        self.refused = 0
        self._uses = uses
        self._lifetime = lifetime
        self._used: t.Counter[str] = collections.Counter()
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def login(self) -> str:
        """The Authorization that the token server takes, and nobody else is to see."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def challenge(self) -> str:
        """How the registry says where tokens are to be had."""
        return f'Bearer realm="{self.realm}",service="registry"'

    def serve(self, method: str, path: str, headers: t.Any) -> Answer:
        """Give a token."""
        url = urllib.parse.urlsplit(path)
        if (method, url.path) != ("GET", "/token"):
            return Answer(404)
        if headers.get("Authorization") != self.login:
            return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="tokens"'})
        token = secrets.token_hex(20)
        scopes = [scope.split(":") for scope in urllib.parse.parse_qs(url.query).get("scope", [])]
        with self._lock:
            self.issued[token] = {f"{name} {action}" for dummy, name, actions in scopes for action in actions.split(",")}
            self._ends[token] = time.monotonic() + self._lifetime
        return Answer(200, json.dumps({"token": token, "expires_in": self._lifetime}).encode(), {"Content-Type": "application/json"})

    def guard(self, method: str, path: str, headers: t.Any) -> Answer | None:
        """Refuse who has no token for what is asked."""
        url = urllib.parse.urlsplit(path)
        found = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/.*", url.path)
        name, actions = (found[1] if found else ""), ["pull"] if method in ("GET", "HEAD") else ["pull", "push"]
        wanted = {f"{name} {action}" for action in actions} if found else set()
        wanted |= {f"{source} pull" for source in urllib.parse.parse_qs(url.query).get("from", [])}
        token = (headers.get("Authorization") or "").partition("Bearer ")[2]
        with self._lock:
            self._used[token] += 1
            good = wanted <= self.issued.get(token, set()) and self._used[token] <= self._uses and time.monotonic() < self._ends.get(token, 0)
            if good:
                return None
            self.refused += bool(token)
        scope = f',scope="repository:{name}:{",".join(actions)}"' if found else ""
        return Answer(401, b"", {"WWW-Authenticate": self.challenge + scope})
