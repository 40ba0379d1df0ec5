# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts and stops Debian's docker-registry on loopback, with passwords. For the demo and the tests, not for use.

Usage::

    docker_registry.py start DIRECTORY USERNAME   (password on standard input; prints the port and the process id as JSON)
    docker_registry.py stop PID...
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing as t


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        return t.cast(int, listener.getsockname()[1])


def wait_for(host: str, port: int, process: subprocess.Popen[bytes], log: pathlib.Path, seconds: float = 20) -> None:
    """Wait until a server takes connections.

    :raises RuntimeError: it ended, or took too long; the message has its log.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{process.args} did not start: {log.read_text(errors='replace')[-2000:]}")


def htpasswd(username: str, password: str) -> str:
    """The content of a file of users."""
    return subprocess.run(["htpasswd", "-niB", "-C", "4", username], input=password, capture_output=True, text=True, check=True).stdout


def start(
    directory: pathlib.Path,
    username: str,
    password: str,
    host: str = "127.0.0.1",
    deletes: bool = True,
    tls: tuple[pathlib.Path, pathlib.Path] | None = None,
    command: str = "docker-registry",
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a registry that keeps everything below a directory.

    :param password: no login is needed if it is empty.
    :param deletes: whether it allows to delete manifests.
    :param tls: paths of certificate and key, plain HTTP without.
    :param command: the registry's program, of distribution 2 or 3.
    :returns: its process and its port.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port(host)
    config: dict[str, t.Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": deletes}},
        "http": {"addr": f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "secret": "of uploads under way"},
    }
    if tls:
        config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    if password:
        users = directory / "htpasswd"
        users.write_text(htpasswd(username, password))
        config["auth"] = {"htpasswd": {"realm": "registry", "path": str(users)}}
    path = directory / "config.yml"
    path.write_text(json.dumps(config))
    log = directory / "log"
    with log.open("wb") as output:
        # Distribution 3 would look for a collector of traces.
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        process = subprocess.Popen(
            [command, "serve", str(path)], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    wait_for(host, port, process, log)
    return process, port


def main() -> None:
    """Do what the arguments say."""
    if sys.argv[1] == "start":
        process, port = start(pathlib.Path(sys.argv[2]), sys.argv[3], sys.stdin.readline().rstrip("\n"))
        print(json.dumps({"pid": process.pid, "port": port}))
    else:
        for pid in sys.argv[2:]:
            os.kill(int(pid), signal.SIGTERM)


if __name__ == "__main__":
    main()
