# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""When to ask again: the policy of retries, on top of urllib3's."""

from __future__ import annotations

import datetime
import email.utils
import math
import random
import time
import typing as t

try:
    from urllib3.exceptions import MaxRetryError
    from urllib3.util.retry import Retry
except ImportError:  # reported by the entry points, see _entry.py
    MaxRetryError = Exception  # type: ignore[assignment,misc]
    Retry = object  # type: ignore[assignment,misc]

#: Seconds. A registry that asks for a longer pause is not asked again: its answer is the error.
LONGEST_PAUSE = 300.0


def is_passing(status: int) -> bool:
    """Whether an answer may be another one later: 408, 425, 429 and 5xx, except those that say "never" (501, 505)."""
    return status in (408, 425, 429) or (500 <= status < 600 and status not in (501, 505))


def pause_asked_for(headers: t.Mapping[str, str], now: float) -> float | None:
    """Seconds that a registry asks to wait, ``None`` if it does not say so in a form that can be read.

    ``Retry-After`` is a number of seconds or an HTTP date (RFC 9110, 10.2.3); Docker Hub's API sends
    ``X-Retry-After``, a Unix time.

    :param headers: of the answer; a mapping without regard to case.
    :param now: Unix time.
    """
    after = (headers.get("Retry-After") or "").strip()
    if after:
        try:
            return max(0.0, _finite(float(after)))
        except ValueError:
            pass
        try:
            date = email.utils.parsedate_to_datetime(after)
            if date.tzinfo is None:
                date = date.replace(tzinfo=datetime.timezone.utc)
            return max(0.0, date.timestamp() - now)
        except (TypeError, ValueError, IndexError, OverflowError):
            pass
    until = (headers.get("X-Retry-After") or "").strip()
    if until:
        try:
            return max(0.0, _finite(float(until)) - now)
        except ValueError:
            pass
    return None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


class RetryPolicy(Retry):
    """urllib3's ``Retry`` that understands every form of ``Retry-After``, spreads its pauses and does not wait for hours.

    Used as a plain value: ``increment`` after each failure (raises urllib3's ``MaxRetryError`` when it was the last),
    then ``sleep``. It is not handed to an adapter, because requests reads bodies outside of urllib3's own retries.
    """

    def get_retry_after(self, response: t.Any) -> float | None:
        """Seconds that the answer asks to wait."""
        return pause_asked_for(response.headers, time.time())

    def get_backoff_time(self) -> float:
        """Seconds of the exponential pause, spread by a quarter so that clients do not come back all at once."""
        return super().get_backoff_time() * random.uniform(0.75, 1.25)

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):  # type: ignore[no-untyped-def]
        """The policy for the next try.

        :raises urllib3.exceptions.MaxRetryError: there is none, or the registry asks for more than ``LONGEST_PAUSE``.
        """
        if response is not None and (self.get_retry_after(response) or 0) > LONGEST_PAUSE:
            raise MaxRetryError(_pool, url, "asked to wait for too long")
        return super().increment(method, url, response, error, _pool, _stacktrace)
