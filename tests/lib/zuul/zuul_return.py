# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Zuul's own action of this name does, as far as roles see it: it adds to $ZUUL_JOBDIR/work/results.json.

Strict: artifacts are checked against the schema that Zuul has for them. There is no module of this name, as in Zuul.
"""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

from ansible.plugins.action import ActionBase

#: Keys of an artifact, and their types.
SCHEMA = {"name": str, "url": str, "metadata": dict}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action."""

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """Add to what is there."""
        result = super().run(tmp, task_vars)
        if set(self._task.args) - {"data", "secret_data", "path", "file", "secret_file"}:
            raise ValueError(f"unknown arguments: {sorted(self._task.args)}")
        path = pathlib.Path(os.environ["ZUUL_JOBDIR"]) / "work" / "results.json"
        returned = json.loads(path.read_text())
        artifacts = self._task.args["data"]["zuul"]["artifacts"]
        for artifact in artifacts:
            for name, value in artifact.items():
                if not isinstance(value, SCHEMA[name]):
                    raise ValueError(f"{name} is a {type(value).__name__}")
        zuul = returned["data"].setdefault("zuul", {})
        zuul["artifacts"] = artifacts + zuul.get("artifacts", [])
        path.write_text(json.dumps(returned))
        return t.cast("dict[str, t.Any]", result)
