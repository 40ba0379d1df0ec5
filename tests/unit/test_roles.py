# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That what is written twice, because Ansible wants it so, says the same."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# Defined for all roles, in a role whose prefix they do not have.
SHARED = {"zuul_work_dir", "promote_container_image_method", "upload_container_image_promote"}


def load(path: pathlib.Path) -> t.Any:
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def options(role: str) -> dict[str, t.Any]:
    return dict(load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_documented_as_they_are(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    documented = options(role)
    for name, value in defaults.items():
        assert name in documented, name
        # What is a template is described in words.
        if not (isinstance(value, str) and "{{" in value):
            assert documented[name]["default"] == value, name
    for name, option in documented.items():
        if "default" in option:
            assert {**load(ROOT / "roles/container/defaults/main.yml"), **defaults}[name] == option["default"], name


@pytest.mark.parametrize("role", ROLES)
def test_the_prefix_is_the_roles(role: str) -> None:
    for name in load(ROOT / "roles" / role / "defaults/main.yml"):
        assert name.startswith(f"{role}_") or (role == "container" and name in SHARED), name


@pytest.mark.parametrize("role", [role for role in ROLES if role != "container"])
def test_every_role_has_the_shared_defaults(role: str) -> None:
    assert load(ROOT / "roles" / role / "meta/main.yml")["dependencies"] == [{"role": "gating.containers.container"}]


def test_the_version_is_one() -> None:
    version = load(ROOT / "galaxy.yml")["version"]
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
