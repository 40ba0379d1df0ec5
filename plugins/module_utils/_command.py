# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Running a container tool."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


_running: set[subprocess.Popen[str]] = set()
_stopped = threading.Event()


def allow() -> None:
    """Let commands run again after ``stop_all``."""
    _stopped.clear()


def stop_all() -> None:
    """End the commands that run, in whatever threads, and let ``run`` run no more. A signal's handler may call it."""
    _stopped.set()
    for process in list(_running):
        _stop(process, signal.SIGTERM)


def _stop(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a command and to what it has started, which may hold its output open."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, number)


def run(what: str, argv: t.Sequence[str], cwd: str | None = None, env: t.Mapping[str, str] | None = None) -> Done:
    """Run a command, without a shell, and return what it printed.

    :param what: names the work in errors.
    :param env: added to the environment.
    :raises ContainersError: it could not be run or failed; the message has its last line, ``result`` all that it printed.
    """
    if _stopped.is_set():
        raise ContainersError(f"{what}: interrupted")
    try:
        code, done = _run(argv, cwd, env, stoppable=True)
    except FileNotFoundError as exc:
        missing = (
            f"the directory {cwd} is not there" if cwd and exc.filename == cwd else f"{argv[0]} is not installed: include the role ensure_container_command"
        )
        raise ContainersError(f"{what}: {missing}") from None
    except OSError as exc:
        raise ContainersError(f"{what}: {argv[0]} cannot be run: {exc.strerror}") from None
    except ValueError as exc:
        # A NUL, or a name of a variable that is none.
        raise ContainersError(f"{what}: {argv[0]} cannot be run: {exc}") from None
    # What podman returns when it is stopped is 0.
    if _stopped.is_set():
        raise ContainersError(f"{what}: interrupted", {"stdout": done.stdout, "stderr": done.stderr, "rc": code})
    if code != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ContainersError(
            f"{what}: {shlex.join(argv[:2])} failed with exit code {code}: {lines[-1].strip() if lines else 'it printed nothing'}",
            {"stdout": done.stdout, "stderr": done.stderr, "rc": code},
        )
    return done


def succeeds(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None) -> str | None:
    """What a command printed on standard output, ``None`` if it failed or is not there.

    :param env: added to the environment.
    """
    try:
        code, done = _run(argv, None, env, stoppable=False)
    except (OSError, ValueError):
        return None
    return done.stdout if code == 0 else None


def _run(argv: t.Sequence[str], cwd: str | None, env: t.Mapping[str, str] | None, stoppable: bool) -> tuple[int, Done]:
    environment = {**os.environ, **{name: str(value) for name, value in (env or {}).items()}}
    streams: dict[str, t.Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    # Its own session makes it a process group, to be stopped as a whole.
    with subprocess.Popen(argv, cwd=cwd, env=environment, start_new_session=True, **streams) as process:
        _running.add(process)
        try:
            if stoppable and _stopped.is_set():
                _stop(process, signal.SIGTERM)
            stdout, stderr = process.communicate()
        except BaseException:
            _stop(process, signal.SIGKILL)
            raise
        finally:
            _running.discard(process)
        return process.returncode, Done(stdout, stderr)
