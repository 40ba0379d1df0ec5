# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of what a user gives to registry_untag."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._selection import Rule
from ansible_collections.gating.containers.plugins.module_utils._untag import Selection, parse_selections

REPOSITORY = Reference("quay.io", "a/b")


def test_selections() -> None:
    items: list[dict[str, t.Any]] = [
        {"repository": "quay.io/a/b", "tags": ["x"]},
        {"repository": "quay.io/a/b", "regex": "^c_", "older_than": 5},
        {"repository": "quay.io/a/b", "regex": "^d_", "keep": 2},
    ]
    assert parse_selections(items) == [
        Selection(REPOSITORY, ("x",)),
        Selection(REPOSITORY, (), Rule(re.compile("^c_"), 5)),
        Selection(REPOSITORY, (), Rule(re.compile("^d_"), None, 2)),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repository": "quay.io/a/b@sha256:" + "0" * 64}, "without a tag or digest"),
        ({"tags": ["a/b"]}, "is not a tag"),
        ({"regex": "a"}, "regex needs older_than or keep"),
        ({"regex": "", "keep": 0}, "regex needs older_than or keep"),
        ({"regex": "a", "keep": -1}, "keep is to be how many of the newest tags stay, not -1"),
        ({"regex": "(", "keep": 1}, "regex is no regular expression"),
        ({"regex": "a{99999999999999}", "older_than": 1}, "regex is no regular expression"),
        ({"regex": "a", "older_than": -1}, "older_than is to be a number of seconds, not -1"),
    ],
)
def test_what_is_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_selections([{"repository": "quay.io/a/b", **changes}])
