# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a container tool."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._command import (
    run,
    succeeds,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_returns_standard_output() -> None:
    assert run("it", python("import sys; print('out'); print('err', file=sys.stderr)")) == "out\n"


def test_no_shell_comes_near_the_arguments() -> None:
    arguments = ["a b", '"q"', "$HOME", "`id`", "; exit 1", "", "ä\n"]
    assert json.loads(run("it", python("import json, sys; print(json.dumps(sys.argv[1:]))", *arguments))) == arguments


def test_environment_directory_and_input(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "old")
    code = "import json, os, sys; print(json.dumps([os.environ['KEPT'], os.environ['CHANGED'], os.environ['NUMBER'], os.getcwd(), sys.stdin.read()]))"
    out = run("it", python(code), str(tmp_path), {"CHANGED": "new", "NUMBER": t.cast("str", 5)})
    assert json.loads(out) == ["kept", "new", "5", str(tmp_path), ""]


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


def test_succeeds(tmp_path: pathlib.Path) -> None:
    assert succeeds(python("print('out')")) == "out\n"
    assert succeeds(python("pass")) == ""
    assert succeeds(python("print('out'); import sys; sys.exit(1)")) is None
    assert succeeds(["nosuchtool"]) is None
    assert succeeds([str(tmp_path)]) is None
    assert succeeds(python("import sys; print(repr(sys.stdin.read()))")) == "''\n"
