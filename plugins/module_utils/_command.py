# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Running a container tool."""

from __future__ import annotations

import os
import shlex
import subprocess
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)


def run(what: str, argv: t.Sequence[str], cwd: str | None = None, env: t.Mapping[str, str] | None = None) -> str:
    """Run a command, without a shell, and return what it printed on standard output.

    :param what: names the work in errors.
    :param env: added to the environment.
    :raises ContainersError: it could not be run or failed; the message has its last line, ``result`` all that it printed.
    """
    try:
        done = subprocess.run(argv, cwd=cwd, env=_environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as exc:
        missing = (
            f"the directory {cwd} is not there" if cwd and exc.filename == cwd else f"{argv[0]} is not installed: include the role ensure_container_command"
        )
        raise ContainersError(f"{what}: {missing}") from None
    except OSError as exc:
        raise ContainersError(f"{what}: {argv[0]} cannot be run: {exc.strerror}") from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ContainersError(
            f"{what}: {shlex.join(argv[:2])} failed with exit code {done.returncode}: {lines[-1].strip() if lines else 'it printed nothing'}",
            {"stdout": done.stdout, "stderr": done.stderr, "rc": done.returncode},
        )
    return done.stdout


def _environment(env: t.Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **{name: str(value) for name, value in (env or {}).items()}}


def succeeds(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None) -> str | None:
    """What a command printed on standard output, ``None`` if it failed or is not there.

    :param env: added to the environment.
    """
    try:
        done = subprocess.run(argv, env=_environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
