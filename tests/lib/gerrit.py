# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for Gerrit: the part of its REST API, of git over HTTP and of ``stream-events`` that Zuul 14's driver needs.

Usage::

    gerrit.py DIRECTORY HTTP_PORT SSH_PORT HOST_KEY

DIRECTORY has the bare repositories. Whoever is allowed to connect may do everything. Beside Gerrit's own there are requests for the test:
``POST /test/propose`` makes the commit at a ref a new patchset, ``POST /test/vote`` gives a vote as a reviewer does, ``POST /test/tag`` tags the head
of main, ``GET /test/reviews`` tells what Zuul wrote.
"""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.parse

import paramiko

REVIEWER = {"username": "reviewer", "name": "reviewer", "email": "reviewer@example.invalid"}


class Change:
    """A change, with all its patchsets."""

    def __init__(self, number: int, key: str, project: str, branch: str) -> None:
        self.number = number
        self.key = key
        self.project = project
        self.branch = branch
        self.status = "NEW"
        self.commits: list[str] = []
        self.votes: dict[tuple[str, str], int] = {}

    @property
    def names(self) -> set[str]:
        """What REST clients may call it ("{change-id}")."""
        return {str(self.number), self.key, f"{self.project}~{self.number}", f"{self.project}~{self.branch}~{self.key}"}

    def ref(self, patchset: int) -> str:
        return f"refs/changes/{self.number % 100:02}/{self.number}/{patchset}"

    def in_event(self, port: int) -> dict[str, t.Any]:
        """Gerrit's "change" and "patchSet" attributes (json.html)."""
        number = len(self.commits)
        return {
            "change": {
                "project": self.project,
                "branch": self.branch,
                "id": self.key,
                "number": self.number,
                "subject": "subject",
                "status": self.status,
                "url": f"http://127.0.0.1:{port}/{self.number}",
                "owner": REVIEWER,
            },
            "patchSet": {"number": number, "revision": self.commits[-1], "ref": self.ref(number)},
        }


class Gerrit:
    """Changes, and who waits for events."""

    def __init__(self, directory: pathlib.Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.lock = threading.RLock()
        self.changes: list[Change] = []
        self.listeners: list[queue.Queue[str]] = []
        self.reviews: list[t.Any] = []

    def git(self, project: str, *arguments: str) -> str:
        names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Gerrit"), ("EMAIL", "gerrit@example.invalid"))}
        command = ["git", "--git-dir", str(self.directory / project), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **names}).stdout

    def emit(self, **event: t.Any) -> None:
        for listener in list(self.listeners):
            listener.put(json.dumps({"eventCreatedOn": int(time.time()), **event}))

    def find(self, name: str) -> Change | None:
        name = urllib.parse.unquote(urllib.parse.unquote(name))
        return next((change for change in self.changes if name in change.names), None)

    def propose(self, project: str, ref: str) -> Change:
        commit = self.git(project, "rev-parse", ref).strip()
        found = re.search(r"^Change-Id: (I\w+)$", self.git(project, "log", "-1", "--format=%B", commit), re.MULTILINE)
        key = found[1] if found else f"I{commit}"
        change = self.find(key)
        if change is None:
            change = Change(len(self.changes) + 1, key, project, "main")
            self.changes.append(change)
        change.commits.append(commit)
        self.git(project, "update-ref", change.ref(len(change.commits)), commit)
        self.emit(type="patchset-created", uploader=REVIEWER, **change.in_event(self.port))
        return change

    def vote(self, change: Change, label: str, value: int) -> None:
        change.votes["reviewer", label] = value
        approvals = [{"type": label, "description": label, "value": str(value)}]
        self.emit(type="comment-added", author=REVIEWER, comment="vote", approvals=approvals, **change.in_event(self.port))

    def submit(self, change: Change) -> None:
        head, tip = f"refs/heads/{change.branch}", change.commits[-1]
        old = self.git(change.project, "rev-parse", head).strip()
        new = tip
        if self.git(change.project, "merge-base", old, tip).strip() != old:
            tree = self.git(change.project, "merge-tree", "--write-tree", old, tip).split("\n")[0]
            new = self.git(change.project, "commit-tree", tree, "-p", old, "-p", tip, "-m", f"Merge change {change.number}").strip()
        self.git(change.project, "update-ref", head, new, old)
        change.status = "MERGED"
        update = {"project": change.project, "refName": head, "oldRev": old, "newRev": new}
        self.emit(type="ref-updated", submitter=REVIEWER, refUpdate=update)
        self.emit(type="change-merged", submitter=REVIEWER, newRev=new, **change.in_event(self.port))

    def info(self, change: Change) -> dict[str, t.Any]:
        """Gerrit's "ChangeInfo" (rest-api-changes.html)."""
        revisions = {}
        for number, commit in enumerate(change.commits, 1):
            parents, subject, message = self.git(change.project, "log", "-1", "--format=%P%n%s%n%B", commit).split("\n", 2)
            about = {"commit": commit, "parents": [{"commit": parent} for parent in parents.split()], "subject": subject, "message": message}
            revisions[commit] = {"_number": number, "ref": change.ref(number), "commit": about, "files": {}}
        labels: dict[str, t.Any] = {}
        for (who, label), value in change.votes.items():
            vote = {"value": value, "date": "2026-01-01 00:00:00.000000000", "username": who, "name": who, "email": f"{who}@example.invalid"}
            labels.setdefault(label, {"all": [], "optional": True})["all"].append(vote)
        return {
            "_number": change.number,
            "id": f"{change.project}~{change.branch}~{change.key}",
            "change_id": change.key,
            "project": change.project,
            "branch": change.branch,
            "status": change.status,
            "subject": "subject",
            "owner": {**REVIEWER, "_account_id": 1},
            "current_revision": change.commits[-1],
            "revisions": revisions,
            "labels": labels,
            "submit_requirements": [],
        }

    def answer(self, method: str, path: str, data: t.Any) -> t.Any:
        """The answer to a REST request; ``None`` if there is none."""
        if path == "/config/server/version":
            return "3.9.1"
        if path == "/config/server/info":
            return {"change": {}}
        if path == "/changes/":
            return []
        if found := re.fullmatch(r"/projects/([^/]+)/HEAD", path):
            return self.git(urllib.parse.unquote(found[1]), "symbolic-ref", "HEAD").strip()
        if (method, path) == ("POST", "/test/propose"):
            change = self.propose(data["project"], data["ref"])
            return {"number": change.number, "patchset": len(change.commits)}
        if (method, path) == ("POST", "/test/tag"):
            head = self.git(data["project"], "rev-parse", "refs/heads/main").strip()
            self.git(data["project"], "update-ref", f"refs/tags/{data['tag']}", head)
            update = {"project": data["project"], "refName": f"refs/tags/{data['tag']}", "oldRev": "0" * 40, "newRev": head}
            self.emit(type="ref-updated", submitter=REVIEWER, refUpdate=update)
            return {"commit": head}
        if path == "/test/reviews":
            return self.reviews
        found = re.fullmatch(r"/(?:changes/([^/]+)|test/vote)(/.*)?", path)
        change = self.find(found[1] or str(data["number"])) if found else None
        if found is None or change is None:
            return None
        if path == "/test/vote":
            self.vote(change, data["label"], data["value"])
            return {}
        rest = (found[2] or "").strip("/")
        if method == "GET" and rest in ("", "detail"):
            return self.info(change)
        if rest.endswith("related"):
            return {"changes": []}
        if rest.endswith("files"):
            names = self.git(change.project, "diff-tree", "--no-commit-id", "--name-only", "-r", change.commits[-1]).split()
            return {name: {} for name in ["/COMMIT_MSG", *names]}
        if method == "POST" and rest.endswith("review"):
            self.reviews.append(data)
            change.votes.update({("zuul", label): value for label, value in (data.get("labels") or {}).items()})
            return {}
        if method == "POST" and rest.endswith("submit"):
            self.submit(change)
            return {}
        return None


def handler_of(gerrit: Gerrit) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, dummy, query = self.path.partition("?")
            path = path.removeprefix("/a")
            body = self.body()
            if found := re.fullmatch(r"/(.+?)(?:\.git)?/(info/refs|git-upload-pack)", path):
                self.serve_git(gerrit.directory / found[1], found[2], body)
                return
            with gerrit.lock:
                answer = gerrit.answer(self.command, path, json.loads(body) if body else None)
            if answer is None:
                self.send(404, b"Not found", "text/plain")
            else:
                # Gerrit's guard against scripts that include its answers.
                self.send(200, f")]}}'\n{json.dumps(answer)}\n".encode(), "application/json")

        do_POST = do_GET

        def serve_git(self, repository: pathlib.Path, service: str, body: bytes) -> None:
            if not repository.is_dir():
                self.send(404, b"Not found", "text/plain")
                return
            environment = {**os.environ, **({"GIT_PROTOCOL": self.headers["Git-Protocol"]} if self.headers.get("Git-Protocol") else {})}
            option = "--http-backend-info-refs" if service == "info/refs" else "--stateless-rpc"
            done = subprocess.run(["git", "upload-pack", option, str(repository)], input=body, capture_output=True, env=environment, check=False).stdout
            if service == "info/refs":
                head = b"# service=git-upload-pack\n"
                # Zuul's own listing of refs wants it also where git's second protocol has none.
                self.send(200, b"%04x" % (len(head) + 4) + head + b"0000" + done, "application/x-git-upload-pack-advertisement")
            else:
                self.send(200, done, "application/x-git-upload-pack-result")

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

        def send(self, status: int, content: bytes, media_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


class Ssh(paramiko.ServerInterface):
    """Lets everybody in, for one command."""

    def __init__(self, gerrit: Gerrit) -> None:
        self.gerrit = gerrit

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: t.Any) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: t.Any, command: bytes) -> bool:
        if not command.startswith(b"gerrit stream-events"):
            return False
        threading.Thread(target=self.stream, args=(channel,), daemon=True).start()
        return True

    def stream(self, channel: t.Any) -> None:
        events: queue.Queue[str] = queue.Queue()
        self.gerrit.listeners.append(events)
        try:
            while not channel.closed:
                with contextlib.suppress(queue.Empty):
                    channel.sendall(f"{events.get(timeout=5)}\n".encode())
        except OSError:
            pass
        finally:
            self.gerrit.listeners.remove(events)


def listen(gerrit: Gerrit, port: int, key: paramiko.PKey) -> None:
    server = socket.create_server(("127.0.0.1", port))
    kept = []
    while True:
        connection = server.accept()[0]
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        # Whoever only looks whether the port is open goes away at once.
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=Ssh(gerrit))
            kept.append(transport)


def main() -> None:
    """Serve."""
    directory, port, ssh_port, key = sys.argv[1:]
    gerrit = Gerrit(pathlib.Path(directory), int(port))
    threading.Thread(target=listen, args=(gerrit, int(ssh_port), paramiko.Ed25519Key(filename=key)), daemon=True).start()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), handler_of(gerrit)).serve_forever()


if __name__ == "__main__":
    main()
