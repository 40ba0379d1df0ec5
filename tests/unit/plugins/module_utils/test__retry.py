# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When to ask again."""

from __future__ import annotations

import email.utils
import math
import time
import types
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    LONGEST_PAUSE,
    RetryPolicy,
    is_passing,
    pause_asked_for,
)
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import MaxRetryError

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 522, 599])
def test_may_pass(status: int) -> None:
    assert is_passing(status)


@pytest.mark.parametrize("status", [100, 200, 201, 202, 301, 307, 400, 401, 403, 404, 405, 409, 413, 416, 499, 501, 505, 600])
def test_will_not_pass(status: int) -> None:
    assert not is_passing(status)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        ({"Retry-After": "Friday, 15-Jan-27 08:01:00 GMT"}, 60),
        ({"Retry-After": "Fri Jan 15 08:01:00 2027"}, 60),  # asctime's form, which has no time zone
        ({"Retry-After": "Fri, 15 Jan 2027 09:01:00 +0100"}, 60),
        ({"Retry-After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "Fri, 99 Jan 2027 08:00:00 GMT"}, None),
        ({"X-Retry-After": "1800000042"}, 42),
        ({"x-retry-after": "1800000042.5"}, 42.5),
        ({"X-Retry-After": "1799999999"}, 0),
        ({"X-Retry-After": "soon"}, None),
        ({"X-Retry-After": "inf"}, None),
        ({"Retry-After": "7", "X-Retry-After": "1800000042"}, 7),
        ({"Retry-After": "soon", "X-Retry-After": "1800000042"}, 42),
    ],
)
def test_pause_asked_for(headers: dict[str, str], pause: float | None) -> None:
    assert pause_asked_for(CaseInsensitiveDict(headers), NOW) == pause


@given(st.integers(0, 10**7))
def test_a_date_is_that_many_seconds_away(seconds: int) -> None:
    assert pause_asked_for({"Retry-After": email.utils.formatdate(NOW + seconds, usegmt=True)}, NOW) == seconds


_NUMBERISH = st.floats().map(str) | st.integers().map(str)
_DATEISH = st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,2} (Jan|Feb|Foo) [0-9]{2,5} [0-9]{1,2}:[0-9]{1,3}(:[0-9]{2})? ?(GMT|[+-][0-9]{1,9}|)", fullmatch=True)
_HEADERS = st.fixed_dictionaries({}, optional={"Retry-After": st.text() | _NUMBERISH | _DATEISH, "X-Retry-After": st.text() | _NUMBERISH})


@given(_HEADERS, st.floats(0, 10**11))
def test_a_pause_is_unknown_or_a_finite_time(headers: dict[str, str], now: float) -> None:
    pause = pause_asked_for(headers, now)
    assert pause is None or (pause >= 0 and math.isfinite(pause))


def answer(**headers: str) -> t.Any:
    return types.SimpleNamespace(
        status=503, headers=CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()}), get_redirect_location=lambda: False
    )


def test_gives_up_after_the_last_retry() -> None:
    policy = RetryPolicy(total=2, backoff_factor=1)
    policy = policy.increment("GET", "/", error=OSError())
    policy = policy.increment("GET", "/", response=answer())
    with pytest.raises(MaxRetryError):
        policy.increment("GET", "/", error=OSError())
    with pytest.raises(MaxRetryError):
        RetryPolicy(total=0).increment("GET", "/", response=answer())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
def test_every_method_is_tried_again(method: str) -> None:
    assert RetryPolicy(total=1).increment(method, "/", error=OSError()).total == 0
    assert RetryPolicy(total=1).increment(method, "/", response=answer()).total == 0


@pytest.mark.parametrize(("seconds", "waits"), [(LONGEST_PAUSE, True), (LONGEST_PAUSE + 1, False), (10**9, False)])
def test_does_not_wait_for_hours(seconds: float, waits: bool) -> None:
    assert LONGEST_PAUSE == 300
    policy = RetryPolicy(total=5)
    if waits:
        assert policy.increment("GET", "/", response=answer(Retry_After=str(seconds))).total == 4
    else:
        with pytest.raises(MaxRetryError):
            policy.increment("GET", "/", response=answer(Retry_After=str(seconds)))


def test_sleeps_as_long_as_the_answer_asks(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    policy = RetryPolicy(total=5, backoff_factor=1)
    for headers in ({"Retry_After": "7"}, {"Retry_After": "Fri, 15 Jan 2027 08:01:00 GMT"}, {"X_Retry_After": "1800000042"}):
        response = answer(**headers)
        policy = policy.increment("GET", "/", response=response)
        policy.sleep(response)
    assert pauses == [7, 60, 42]


def test_pauses_grow_and_are_spread(pauses: list[float]) -> None:
    policy = RetryPolicy(total=6, backoff_factor=1)
    for _again in range(6):
        policy = policy.increment("GET", "/", error=OSError())
        policy.sleep(None)
    # The first pause is none at all.
    for pause, middle in zip(pauses, (2, 4, 8, 16, 32)):
        assert middle * 0.75 <= pause <= middle * 1.25
    assert len(pauses) == 5


def test_two_clients_do_not_come_back_at_once() -> None:
    policy = RetryPolicy(total=9, backoff_factor=1)
    for _again in range(4):
        policy = policy.increment("GET", "/", error=OSError())
    assert len({policy.get_backoff_time() for dummy in range(20)}) > 10
