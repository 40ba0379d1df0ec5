# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Zuul tells of the change at hand."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    change_of,
    labels,
    staging_prefix,
)


@pytest.mark.parametrize(
    ("zuul", "prefix"),
    [
        ({"change": "4711", "pipeline": "gate"}, "change_4711_"),
        ({"change": 4711}, "change_4711_"),
        ({"change": None, "pipeline": "post"}, "post_"),
        ({"change": "", "pipeline": "post"}, "post_"),
        ({"pipeline": "release"}, "release_"),
        ({"pipeline": None}, "staged_"),
        ({"pipeline": ""}, "staged_"),
        ({"project": {"name": "x"}}, "staged_"),
        ({}, "staged_"),
        (None, "staged_"),
        ("", "staged_"),
        ([], "staged_"),
        (types.MappingProxyType({"change": "1"}), "change_1_"),
    ],
)
def test_staging_prefix(zuul: t.Any, prefix: str) -> None:
    assert staging_prefix(zuul) == prefix


@pytest.mark.parametrize(
    ("zuul", "change"), [({"change": "1"}, "1"), ({"change": 1}, "1"), ({"change": 0}, "0"), ({"change": None}, ""), ({}, ""), (None, ""), ("text", "")]
)
def test_change_of(zuul: t.Any, change: str) -> None:
    assert change_of(zuul) == change


@pytest.mark.parametrize(
    ("zuul", "expected"),
    [
        (
            {"change": 4711, "change_url": "https://review.example/4711", "project": {"canonical_name": "opendev.org/a/b"}, "commit_id": "abc"},
            {
                "org.zuul-ci.change": "4711",
                "org.zuul-ci.change_url": "https://review.example/4711",
                "org.opencontainers.image.source": "https://opendev.org/a/b",
                "org.opencontainers.image.revision": "abc",
            },
        ),
        ({"newrev": "def", "project": {}}, {"org.opencontainers.image.revision": "def"}),
        ({"commit_id": "abc", "newrev": "def"}, {"org.opencontainers.image.revision": "abc"}),
        ({"change_url": "u"}, {"org.zuul-ci.change_url": "u"}),
        ({"change": None, "change_url": None, "project": None, "commit_id": None, "newrev": None}, {}),
        ({"project": "opendev.org/a/b"}, {}),
        ({}, {}),
        (None, {}),
        ("text", {}),
    ],
)
def test_labels(zuul: t.Any, expected: dict[str, str]) -> None:
    assert labels(zuul) == expected
