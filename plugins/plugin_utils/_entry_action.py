# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection, and ONLY FOR ACTION PLUGINS.

"""The base of the collection's actions: the module's work in the action's own process where that is the same."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import typing as t

from ansible.plugins.action import (
    ActionBase,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    execute,
)
from ansible_collections.gating.containers.plugins.module_utils._progress import (
    reporting,
)

_ZUUL_LOGGER = "zuul.executor.ansible.stream"


def _is_zuul() -> bool:
    """Whether there is a job's log."""
    return "ZUUL_JOB_LOG_CONFIG" in os.environ and bool(logging.getLogger(_ZUUL_LOGGER).handlers)


class EntryAction(ActionBase):  # type: ignore[misc]
    """Runs an operation: in process when the task's connection is local, else as a module on the host.

    A module costs a fifth of a second to start. Its arguments, in which there are logins, reach the host through a pipe where the
    connection has one to offer, and else in a file that is removed when the module ends.
    """

    entry: Entry
    _requires_connection = False
    _supports_async = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result = super().run(tmp, task_vars)
        if self._connection.transport != "local" or self._task.async_val or self._play_context.become:
            if self._connection.has_pipelining and not self._play_context.become:
                with contextlib.suppress(KeyError):
                    self._connection.set_option("pipelining", True)
            return t.cast("dict[str, t.Any]", self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        dummy, params = self.validate_argument_spec(argument_spec=dict(self.entry.arguments))
        host = (task_vars or {}).get("inventory_hostname", "localhost")
        with self._environment(), reporting(lambda line: self._show(f"{host} | {line}")):
            result.update(execute(self.entry, params, self._task.check_mode))
            if _is_zuul():
                # Its log has no warnings of tasks.
                for warning in result.get("warnings") or ():
                    self._show(f"{host} | WARNING: {warning}")
        return t.cast("dict[str, t.Any]", result)

    def _show(self, line: str) -> None:
        """Show a line while the task runs."""
        # What Display shows goes to Zuul's own log, not to the job's. That one is written by a logger of Zuul's callback, in lines of this form.
        if _is_zuul():
            logging.getLogger(_ZUUL_LOGGER).debug("%s | %s", datetime.datetime.now(), line)
        else:
            # Ansible does not flush its standard output: into a pipe it would come in the end.
            self._display.display(line, stderr=True)

    @contextlib.contextmanager
    def _environment(self) -> t.Iterator[None]:
        """The task's ``environment``, which Ansible hands to modules only."""
        added: dict[str, t.Any] = {}
        self._compute_environment_string(added)
        before = dict(os.environ)
        os.environ.update({str(name): str(value) for name, value in added.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


class ArtifactAction(EntryAction):
    """The action of an operation that makes images which Zuul is to know."""

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """Run the task, and under Zuul return its artifacts to it."""
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
