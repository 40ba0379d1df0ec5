# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of what a user gives to registry_retag."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._retag import Move, parse_moves

DIGEST = "sha256:" + "0" * 64
GOOD = {"repository": "quay.io/a/b", "source": "rc", "tags": ["1", "latest"]}


@pytest.mark.parametrize("source", ["rc", DIGEST])
def test_moves(source: str) -> None:
    moves = parse_moves([{**GOOD, "source": source, "digest": DIGEST}])
    assert moves == [Move(Reference("quay.io", "a/b"), source, ("1", "latest"), DIGEST)]
    assert str(moves[0].image) == ("quay.io/a/b:rc" if source == "rc" else f"quay.io/a/b@{DIGEST}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repository": "quay.io/a/b:latest"}, "without a tag or digest"),
        ({"repository": "a/b"}, "does not name its registry"),
        ({"source": "a b"}, r"images\[0\] \(quay.io/a/b\): source 'a b' is neither a tag nor a digest"),
        ({"source": ""}, "neither a tag nor a digest"),
        ({"tags": []}, "tags is empty"),
        ({"tags": ["-x"]}, "tag '-x' is not a tag"),
        ({"tags": ["x" * 129]}, "a registry allows 128"),
        ({"tags": ["x", "x"]}, "quay.io/a/b:x: two images claim this tag"),
        ({"digest": "sha256:0"}, "digest 'sha256:0' is malformed"),
    ],
)
def test_what_is_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_moves([{**GOOD, **changes}])
