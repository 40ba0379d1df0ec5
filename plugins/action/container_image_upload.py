# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs M(gating.containers.container_image_upload)."""

from __future__ import annotations

from ansible_collections.gating.containers.plugins.module_utils._upload import (
    ENTRY,
)
from ansible_collections.gating.containers.plugins.plugin_utils._entry_action import (
    ArtifactAction,
)


class ActionModule(ArtifactAction):
    """The action."""

    entry = ENTRY
