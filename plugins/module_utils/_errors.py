# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The one family of exceptions that the collection raises on purpose."""

from __future__ import annotations

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
