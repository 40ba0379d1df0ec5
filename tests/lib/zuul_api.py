# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server that answers as the builds API of Zuul 14 does (zuul/web/__init__.py, ``BuildConverter``)."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t
import urllib.parse

#: Where each filter of the query is in a build.
FILTERS = {
    "change": lambda build: str(build["ref"]["change"]),
    "patchset": lambda build: build["ref"]["patchset"],
    "project": lambda build: build["ref"]["project"],
    "pipeline": lambda build: build["pipeline"],
    "job_name": lambda build: build["job_name"],
    "result": lambda build: build["result"],
}


class ZuulApi:
    """The server. It knows one tenant, and refuses what Zuul does not know."""

    def __init__(self) -> None:
        self.builds: list[dict[str, t.Any]] = []
        self.queries: list[str] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *dummy: object) -> None:
                pass

            def do_GET(self) -> None:
                path, dummy, query = self.path.partition("?")
                status, answer = api.answer(path, query)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/tenant/acme"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, path: str, query: str) -> tuple[int, t.Any]:
        for build in self.builds:
            if path == f"/api/tenant/acme/buildset/{build['buildset']['uuid']}":
                return 200, {"_id": build["_id"] + 1000, "uuid": build["buildset"]["uuid"], "builds": [build]}
        if path != "/api/tenant/acme/builds":
            return 404, {"description": "Unknown tenant", "error": "Not Found", "status": 404}
        self.queries.append(query)
        wanted = urllib.parse.parse_qsl(query, strict_parsing=True)
        found = [build for build in self.builds if all(FILTERS[name](build) == value for name, value in wanted)]
        return 200, found[::-1][:50]

    def add(self, change: int, number: int, artifacts: t.Sequence[t.Any] = (), **keys: t.Any) -> dict[str, t.Any]:
        """A build that began as the so many-th."""
        self.builds.append(
            {
                "_id": number,
                "uuid": f"{number:032x}",
                "buildset": {"uuid": f"{number:031x}b"},
                "job_name": "upload-image",
                "result": "SUCCESS",
                "held": False,
                "start_time": f"2026-01-01T00:{number:02}:00",
                "end_time": f"2026-01-01T01:{number:02}:00",
                "event_timestamp": f"2026-01-01T00:{number:02}:00",
                "pipeline": "gate",
                "artifacts": list(artifacts),
                "ref": {"project": "team/app", "branch": "main", "change": change, "patchset": "2", "ref": f"refs/changes/01/{change}/2", "newrev": None},
                **keys,
            }
        )
        return self.builds[-1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def artifact(repository: str, tag: str, url: str, digest: str | None = None) -> dict[str, t.Any]:
    """An image as the roles return it; those of zuul-jobs give no digest."""
    metadata = {"type": "container_image", "repository": repository, "tag": tag, **({"digest": digest} if digest else {})}
    return {"name": f"{repository}:{tag}", "url": url, "metadata": metadata}
