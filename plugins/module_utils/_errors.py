# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The one family of exceptions that the collection raises on purpose."""

from __future__ import annotations

import difflib
import re
import typing as t


class ContainersError(Exception):
    """Something a user can act on; its text is one line without any secret.

    :param message: that line.
    :param result: what a module returns beside the message, such as the state in which each tag was left.
    """

    def __init__(self, message: str, result: dict[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class InputError(ContainersError):
    """What the user gave is wrong. Raised before the first request that writes."""


def check_keys(where: str, given: t.Iterable[t.Any], known: t.Sequence[str]) -> None:
    """Refuse a key that nobody knows.

    :param where: in which variable it is, for the message.
    :raises InputError: there is one. The message names the key that may be meant.
    """
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            raise InputError(f"{where} has an unknown key {key!r}" + (f": is it {near[0]!r}?" if near else f": it may have {', '.join(known)}"))


class RegistryError(ContainersError):
    """A registry (or its token server) did not do what it was asked to.

    :param message: the line for the user.
    :param status: HTTP status of the last answer, ``None`` if there was none.
    :param code: the registry's own error code, such as ``MANIFEST_UNKNOWN``
        (distribution-spec, "Error Codes"), or an empty string.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class MissingError(ContainersError):
    """An image, or a build of one, is not there."""


class DamagedError(RegistryError):
    """Content does not have its digest. On another try it may, if it was damaged on the way."""


def mask(text: str, secrets: t.Iterable[str]) -> str:
    """A text with asterisks in place of each secret, of those that hold one another the longest first."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def registry_message(response: t.Any, clean: t.Callable[[str], str]) -> tuple[str, str]:
    """Code and message of an answer (distribution-spec, "Error Codes"); of any other answer the beginning of its text.

    :param clean: takes secrets out of a text; it must see the text whole.
    """
    try:
        errors = response.json()["errors"]
        code = str(errors[0].get("code") or "")
        message = str(errors[0].get("message") or "")
        detail = errors[0].get("detail")
        if isinstance(detail, str) and detail and detail != message:
            message = f"{message}: {detail}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        # Servers in front of registries answer in HTML.
        code = ""
        message = "" if response.request.method == "HEAD" else re.sub(r"<[^>]*>", " ", clean(response.text))
    # A code is a word in capitals; what is none is not taken for one.
    code = code if re.fullmatch(r"[A-Za-z0-9_]{1,64}", clean(code)) else ""
    return code, re.sub(r"\s+", " ", clean(message)).strip()[:300]
