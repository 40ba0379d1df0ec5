# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a container tool."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._command import (
    Done,
    allow,
    run,
    stop_all,
    succeeds,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError

PATIENCE = 5  # seconds until a test fails instead of hanging


@pytest.fixture(autouse=True)
def allowed() -> t.Iterator[None]:
    """What one test stops runs in the next one."""
    yield
    allow()


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_returns_what_was_printed() -> None:
    assert run("it", python("import sys; print('out'); print('err', file=sys.stderr)")) == Done("out\n", "err\n")
    assert run("it", python("pass")) == Done("", "")


def test_no_shell_comes_near_the_arguments() -> None:
    arguments = ["a b", '"q"', "$HOME", "`id`", "; exit 1", "", "ä\n"]
    assert json.loads(run("it", python("import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)).stdout) == arguments


def test_environment_directory_and_input(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "old")
    code = "import json, os, sys; print(json.dumps([os.environ['KEPT'], os.environ['CHANGED'], os.environ['NUMBER'], os.getcwd(), sys.stdin.read()]))"
    done = run("it", python(code), str(tmp_path), {"CHANGED": "new", "NUMBER": t.cast("str", 5)})
    assert json.loads(done.stdout) == ["kept", "new", "5", str(tmp_path), ""]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('out'); print('first', file=sys.stderr); print('  last  ', file=sys.stderr); print(file=sys.stderr); sys.exit(3)", "last"),
        ("import sys; print('only out'); sys.exit(3)", "only out"),
        ("import sys; sys.exit(3)", "it printed nothing"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\n'); sys.exit(3)", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_failure_tells_the_last_line(code: str, said: str) -> None:
    with pytest.raises(ContainersError) as caught:
        run("build of quay.io/a", python(code, "secret-argument"))
    message = str(caught.value)
    assert message.startswith("build of quay.io/a: ")
    assert message.endswith(f" failed with exit code 3: {said}")
    assert "secret-argument" not in message
    assert len(message.splitlines()) == 1


def test_a_failure_has_all_that_was_printed() -> None:
    with pytest.raises(ContainersError) as caught:
        run("it", python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert caught.value.result == {"stdout": "out\n", "stderr": "err\n", "rc": 3}


def test_a_tool_that_is_not_installed() -> None:
    with pytest.raises(ContainersError, match="^it: nosuchtool is not installed: include the role ensure_container_command$"):
        run("it", ["nosuchtool", "build"])


def test_a_directory_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ContainersError, match=f"^it: the directory {tmp_path}/none is not there$"):
        run("it", python("pass"), str(tmp_path / "none"))
    with pytest.raises(ContainersError, match="nosuchtool is not installed"):
        run("it", ["nosuchtool"], str(tmp_path))


def test_a_tool_that_cannot_be_run(tmp_path: pathlib.Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("no program")
    with pytest.raises(ContainersError, match=f"^it: {tool} cannot be run: Permission denied$"):
        run("it", [str(tool)])
    with pytest.raises(ContainersError, match="cannot be run: Not a directory$"):
        run("it", python("pass"), str(tool))


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["a\0b"], {}, "embedded null byte"),
        ([], {"NAME": "a\0b"}, "embedded null byte"),
        ([], {"A=B": "c"}, "illegal environment variable name"),
    ],
)
def test_what_no_command_can_be_given_is_an_error(arguments: list[str], env: dict[str, str], said: str) -> None:
    with pytest.raises(ContainersError, match=f"^it: {sys.executable} cannot be run: {said}$"):
        run("it", python("pass", *arguments), env=env)
    assert succeeds(python("pass", *arguments), env) is None


@pytest.mark.parametrize("number", [1, 3])
def test_stop_all_ends_the_commands_of_every_thread(tmp_path: pathlib.Path, number: int) -> None:
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(20)"
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        running = [pool.submit(run, "it", python(code, str(tmp_path / str(one)))) for one in range(number)]
        end = time.monotonic() + PATIENCE
        while len(list(tmp_path.iterdir())) < number and time.monotonic() < end:
            time.sleep(0.01)
        stop_all()
        for one in running:
            with pytest.raises(ContainersError, match="^it: interrupted$") as caught:
                one.result(PATIENCE)
            assert caught.value.result == {"stdout": "", "stderr": "", "rc": -15}


def started(path: pathlib.Path) -> list[str]:
    """A command that starts another one, which tells its id and holds the output open."""
    inner = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()}.'); time.sleep(20)"
    return python("import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])", inner, str(path))


def wait_for(path: pathlib.Path) -> str:
    end = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_text().endswith(".")):
        assert time.monotonic() < end
        time.sleep(0.01)
    return path.read_text()[:-1]


def is_gone(pid: str) -> bool:
    """Whether a process has ended; one that nobody has asked after is still listed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_stop_all_ends_what_a_command_has_started(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pid"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, "it", started(path))
        pid = wait_for(path)
        stop_all()
        with pytest.raises(ContainersError, match="^it: interrupted$"):
            running.result(PATIENCE)
    assert is_gone(pid)


def test_a_command_that_says_it_succeeded_when_it_was_stopped_did_not(tmp_path: pathlib.Path) -> None:
    # As podman does.
    code = "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *dummy: sys.exit(0)); print('half', flush=True)"
    path = tmp_path / "begun"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, "it", python(f"{code}; pathlib.Path(sys.argv[1]).write_text('.'); time.sleep(20)", str(path)))
        wait_for(path)
        stop_all()
        with pytest.raises(ContainersError, match="^it: interrupted$") as caught:
            running.result(PATIENCE)
    assert caught.value.result == {"stdout": "half\n", "stderr": "", "rc": 0}


def test_after_stop_all_only_what_cleans_up_runs(tmp_path: pathlib.Path) -> None:
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    stop_all()
    with pytest.raises(ContainersError, match="^it: interrupted$"):
        run("it", python(code, str(tmp_path / "one")))
    assert succeeds(python(code, str(tmp_path / "two"))) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    allow()
    run("it", python(code, str(tmp_path / "three")))
    assert (tmp_path / "three").exists()


def test_stop_all_has_nothing_to_do_with_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(os, "killpg", lambda *arguments: ended.append(arguments))
    run("it", python("pass"))
    succeeds(python("import sys; sys.exit(1)"))
    with pytest.raises(ContainersError):
        run("it", ["nosuchtool"])
    stop_all()
    assert ended == []


def test_a_command_does_not_outlive_what_interrupts_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pid"
    pids = []

    def interrupted(process: subprocess.Popen[str]) -> t.NoReturn:
        pids.extend([str(process.pid), wait_for(path)])
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("it", started(path))
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_succeeds(tmp_path: pathlib.Path) -> None:
    assert succeeds(python("print('out')")) == "out\n"
    assert succeeds(python("pass")) == ""
    assert succeeds(python("print('out'); import sys; sys.exit(1)")) is None
    assert succeeds(["nosuchtool"]) is None
    assert succeeds([str(tmp_path)]) is None
    assert succeeds(python("import sys; print(repr(sys.stdin.read()))")) == "''\n"
