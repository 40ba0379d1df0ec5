# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the tables of the README from the documentation of roles and modules; with --check says whether they are behind."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]


def spec(path: pathlib.Path) -> dict[str, t.Any]:
    """The argument spec of a role."""
    return dict(yaml.safe_load(path.read_text())["argument_specs"]["main"])


def roles() -> list[tuple[str, ...]]:
    """Names and short descriptions of the roles."""
    return [(f"`{path.parts[-3]}`", spec(path)["short_description"]) for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))]


def items(option: dict[str, t.Any]) -> list[str]:
    """The paragraphs of an option's description."""
    description = option["description"]
    return [markdown(text) for text in ([description] if isinstance(description, str) else description)]


def markdown(text: str) -> str:
    """Ansible's semantic markup (docs.ansible.com, "Ansible markup") as Markdown."""
    text = re.sub(r"O\((?:[\w.]+#role:\w+:)?(\w+)(?:=([^)]*))?\)", lambda found: f"`{found[1]}: {found[2]}`" if found[2] else f"`{found[1]}`", text)
    text = re.sub(r"[PM]\(([\w.]+)(?:#\w+)?\)", lambda found: "`" + found[1].rpartition(".")[2] + "`", text)
    return re.sub(r"[CV]\(([^)]*)\)", r"`\1`", text).replace("|", "\\|")


def keys(role: str, variable: str) -> list[tuple[str, ...]]:
    """The keys of the items of a list: the paragraphs of its description that begin with one."""
    rows = []
    for text in items(spec(ROOT / f"roles/{role}/meta/argument_specs.yml")["options"][variable])[1:]:
        name, dummy, meaning = text.partition(". ")
        rows.append((name, meaning))
    return rows


def variables() -> list[tuple[str, ...]]:
    """The variables of all roles, each once; what is to be known of them at least, which is their first paragraph."""
    rows = {}
    optional = set()
    paths = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"), key=lambda path: (path.parts[-3] != "container", path))
    for path in paths:
        for name, option in spec(path)["options"].items():
            if not option.get("required") and path.parts[-3] != "container":
                optional.add(name)
            default = option.get("default", "")
            text = default if isinstance(default, str) else json.dumps(default)
            meaning = rows[name][2] if name in rows else items(option)[0]
            rows[name] = (f"`{name}`", "required" if option.get("required") else f"`{text}`" if text else rows.get(name, ("", ""))[1], meaning)
    # What one role needs, another may do without.
    rows.update({name: (rows[name][0], rows[name][1].replace("required", ""), rows[name][2]) for name in optional})
    return list(rows.values())


def modules() -> list[tuple[str, ...]]:
    """Names and short descriptions of the modules."""
    found = []
    for path in sorted(ROOT.glob("plugins/modules/*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
                found.append((f"`{path.stem}`", yaml.safe_load(ast.literal_eval(node.value))["short_description"]))
    return found


def table(*rows: tuple[str, ...]) -> str:
    """A table in Markdown.

    :param rows: the first one is its head.
    """
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ("---",) * len(rows[0]), *rows[1:]])


TABLES = {
    "roles": lambda: table(("role", "what it does"), *roles()),
    "modules": lambda: table(("module", "what it does"), *modules()),
    "images": lambda: table(("key", "meaning"), *keys("container", "container_images")),
    "mirrors": lambda: table(("key", "meaning"), *keys("mirror_container_images", "mirror_container_images_images")),
    "variables": lambda: table(("variable", "default", "meaning"), *variables()),
}


def main() -> int:
    """Write or check."""
    path = ROOT / "README.md"
    before = path.read_text()
    after = before
    for name, make in TABLES.items():
        head, rest = after.split(f"<!-- begin {name} -->\n")
        tail = rest.partition("<!-- end -->")[2]
        after = f"{head}<!-- begin {name} -->\n{make()}\n<!-- end -->{tail}"
    if "--check" in sys.argv:
        if before != after:
            print("README.md is behind: run tests/docs.py", file=sys.stderr)
        return int(before != after)
    path.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
