# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP proxy in front of a registry that counts requests and plays tricks with them."""

from __future__ import annotations

import dataclasses
import http.client
import http.server
import threading
import time
import typing as t


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that came through."""

    method: str
    path: str
    status: int
    body: bytes = b""


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer in place of the registry's."""

    status: int
    body: bytes = b""
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


#: Gets method, path and body; returns an answer, or ``None`` to let the registry answer.
Rule = t.Callable[[str, str, bytes], t.Optional[Answer]]


class Proxy:
    """Listens on a free port of loopback and hands requests on to a registry on loopback.

    :param rule: may answer in place of the registry.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", rule: Rule | None = None) -> None:
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
                body = self._body()
                answer = proxy.rule(self.command, self.path, body) if proxy.rule else None
                if answer is None:
                    answer = self._ask(body)
                with proxy._lock:
                    proxy.requests.append(Request(self.command, self.path, answer.status, body))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _ask(self, body: bytes) -> Answer:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("transfer-encoding", "content-length", "connection")}
                headers["Content-Length"] = str(len(body))
                self.upstream.request(self.command, self.path, body, headers)
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
