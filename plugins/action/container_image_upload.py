# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs M(gating.containers.container_image_upload)."""

from __future__ import annotations

import typing as t

from ansible_collections.gating.containers.plugins.module_utils._upload import (
    ENTRY,
)
from ansible_collections.gating.containers.plugins.plugin_utils._entry_action import (
    EntryAction,
)


class ActionModule(EntryAction):
    """The action."""

    entry = ENTRY

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """Upload, and under Zuul return what was uploaded to it."""
        result = super().run(tmp, task_vars)
        if result.get("artifacts") and not result.get("failed"):
            returned = self._return_to_zuul({"zuul": {"artifacts": result["artifacts"]}}, task_vars)
            if returned.get("failed"):
                result.update(failed=True, msg=f"{result['msg']} - but zuul_return failed: {returned.get('msg')}")
        return result

    def _return_to_zuul(self, data: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        """Run Zuul's own action, on the executor, which this is. As a task it could not be named where there is no Zuul."""
        task = self._task.copy()
        task.args = {"data": data}
        action = self._shared_loader_obj.action_loader.get(
            "zuul_return",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return t.cast("dict[str, t.Any]", action.run(task_vars=task_vars)) if action else {}
