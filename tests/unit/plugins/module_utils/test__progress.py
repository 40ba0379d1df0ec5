# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a long run tells while it runs."""

from __future__ import annotations

import typing as t

import ansible_collections.gating.containers.plugins.module_utils._progress as progress_module
import pytest
from ansible_collections.gating.containers.plugins.module_utils._progress import Progress, reporting, size_of, time_of


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (5 * 1024**4, "5120.0 GiB")])
def test_sizes(number: int, text: str) -> None:
    assert size_of(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (86400, "24 h 0 min")]
)
def test_times(seconds: float, text: str) -> None:
    assert time_of(seconds) == text


def test_how_far_a_run_is() -> None:
    now = [0.0]
    progress = Progress(3, lambda: now[0])
    assert progress.line == "0 of 3 images, 0 B of 0 B, 0 B/s"
    progress.expect(4096)
    now[0] = 2.0
    assert list(progress.count([b"x" * 1024])) == [b"x" * 1024]
    progress.finish("one")
    assert progress.line == "1 of 3 images, 1.0 KiB of 4.0 KiB, 512 B/s, 6 s left"
    list(progress.count([b"x" * 3072]))
    assert progress.line == "1 of 3 images, 4.0 KiB of 4.0 KiB, 2.0 KiB/s"


def test_lines_go_to_who_asked_for_them_and_to_nobody_after_that() -> None:
    lines: list[str] = []
    with reporting(lines.append):
        Progress(1).finish("done")
    Progress(1).finish("later")
    assert lines == ["done"]


def test_what_has_not_changed_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_EVERY", 0.01)
    lines: list[str] = []
    clock: t.Callable[[], float] = iter(range(10**9)).__next__
    with reporting(lines.append), Progress(1, clock) as progress:
        while not lines:
            list(progress.count([]))
        list(progress.count([b"x" * 100]))
        while len(lines) < 2:
            list(progress.count([]))
    assert lines[0] == "0 of 1 images, 0 B of 0 B, 0 B/s"
    assert lines[1].startswith("0 of 1 images, 100 B of 0 B, ")
