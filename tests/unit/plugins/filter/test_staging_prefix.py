# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter staging_prefix."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.gating.containers.plugins.filter import staging_prefix as plugin


@pytest.mark.parametrize(
    ("zuul", "prefix"),
    [({"change": "4711", "pipeline": "gate"}, "change_4711_"), ({"pipeline": "release"}, "release_"), ({}, "staged_")],
)
def test_staging_prefix(zuul: dict[str, t.Any], prefix: str) -> None:
    assert plugin.FilterModule().filters()["staging_prefix"](zuul) == prefix


def test_every_filter_is_documented_beside_it() -> None:
    directory = pathlib.Path(plugin.__file__).parent
    for name in plugin.FilterModule().filters():
        documentation = yaml.safe_load((directory / f"{name}.yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
        assert documentation["name"] == name
