# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the defaults of the roles."""

from __future__ import annotations

import typing as t

from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    staging_prefix,
)


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"staging_prefix": staging_prefix}
