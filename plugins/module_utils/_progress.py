# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What a long run tells while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

_EVERY = 2.0  # seconds

_report: list[t.Callable[[str], None]] = []


@contextlib.contextmanager
def reporting(report: t.Callable[[str], None]) -> t.Iterator[None]:
    """Let lines go to a function, which may be called from any thread. Without, they go nowhere: a module cannot speak before its end."""
    _report.append(report)
    try:
        yield
    finally:
        _report.remove(report)


def size_of(number: float) -> str:
    """A number of bytes as a person reads it."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def time_of(seconds: float) -> str:
    """A time as a person reads it."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """Counts the images and bytes of a run, and tells of them every two seconds at most.

    :param images: how many there are.
    :param clock: seconds that only go forward.
    """

    def __init__(self, images: int, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._images = images
        self._clock = clock
        self._lock = threading.Lock()
        self._done = 0
        self._bytes = 0
        self._all_bytes = 0
        self._began = clock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        if _report:
            self._ticker.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self._over.set()
        if _report:
            self._ticker.join()

    def expect(self, number: int) -> None:
        """So many more bytes are to be read."""
        with self._lock:
            self._all_bytes += number

    def count(self, parts: t.Iterable[bytes]) -> t.Iterator[bytes]:
        """The parts of a blob, counted as they come."""
        for part in parts:
            with self._lock:
                self._bytes += len(part)
            yield part

    def finish(self, line: str) -> None:
        """One more image is done."""
        with self._lock:
            self._done += 1
        self._tell(line)

    @property
    def line(self) -> str:
        """How far the run is."""
        with self._lock:
            done, read, expected = self._done, self._bytes, self._all_bytes
        rate = read / max(self._clock() - self._began, 0.001)
        line = f"{done} of {self._images} images, {size_of(read)} of {size_of(expected)}, {size_of(rate)}/s"
        # What the images that are not begun have is not known: the time left is that of what is.
        return f"{line}, {time_of((expected - read) / rate)} left" if rate and expected > read else line

    def _tick(self) -> None:
        told = ""
        while not self._over.wait(_EVERY):
            line = self.line
            if line != told:
                self._tell(line)
            told = line

    @staticmethod
    def _tell(line: str) -> None:
        for report in list(_report):
            report(line)
