# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the tables of the README from the documentation of roles and modules; with --check says whether they are behind."""

from __future__ import annotations

import ast
import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- begin generated -->", "<!-- end generated -->"


def roles() -> list[tuple[str, str]]:
    """Names and short descriptions of the roles."""
    found = []
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        spec = yaml.safe_load(path.read_text())["argument_specs"]["main"]
        found.append((path.parts[-3], spec["short_description"]))
    return found


def modules() -> list[tuple[str, str]]:
    """Names and short descriptions of the modules."""
    found = []
    for path in sorted(ROOT.glob("plugins/modules/*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
                found.append((path.stem, yaml.safe_load(ast.literal_eval(node.value))["short_description"]))
    return found


def table(kind: str, rows: list[tuple[str, str]]) -> str:
    """A table in Markdown."""
    return "\n".join([f"| {kind} | what it does |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in rows)])


def main() -> int:
    """Write or check."""
    path = ROOT / "README.md"
    before = path.read_text()
    head, rest = before.split(BEGIN)
    tail = rest.split(END)[1]
    after = f"{head}{BEGIN}\n{table('role', roles())}\n\n{table('module', modules())}\n{END}{tail}"
    if "--check" in sys.argv:
        if before != after:
            print("README.md is behind: run tests/docs.py", file=sys.stderr)
        return int(before != after)
    path.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
