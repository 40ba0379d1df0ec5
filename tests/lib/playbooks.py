# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running playbooks as a person would."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import typing as t

import yaml
from proxy import Answer, Proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run of ansible-playbook left."""

    status: int
    output: str
    results: pathlib.Path

    @property
    def recap(self) -> dict[str, int]:
        """The counts of the recap."""
        found = re.search(r"^localhost\s+: (.*)$", self.output, re.MULTILINE)
        assert found, self.output
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", found[1])}

    @property
    def result(self) -> t.Any:
        """What the playbook wrote into the file ``results``."""
        return json.loads(self.results.read_text())

    def check(self) -> Run:
        """The run, if it succeeded."""
        assert self.status == 0, self.output
        return self


class Ansible:
    """Runs playbooks in an empty directory, with an empty HOME."""

    def __init__(self, venv: pathlib.Path, directory: pathlib.Path) -> None:
        self.venv = venv
        self.directory = directory
        self.home = directory / "home"
        self.tmp = directory / "tmp"
        self.home.mkdir()
        self.tmp.mkdir()
        self.environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "PATH": f"{venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            # With a HOME that is not the user's own, Ansible looks for the jobs elsewhere than it puts them.
            "ANSIBLE_ASYNC_DIR": str(directory / "async"),
            "BUILDAH_ISOLATION": "chroot",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def under_zuul(self) -> pathlib.Path:
        """Let Ansible have Zuul's action, and return the file that it writes to."""
        results = self.directory / "job" / "work" / "results.json"
        results.parent.mkdir(parents=True)
        results.write_text(json.dumps({"data": {"zuul": {"artifacts": [{"name": "earlier", "url": "x"}]}}, "secret_data": {}}))
        self.environment.update(ANSIBLE_ACTION_PLUGINS=str(ROOT / "tests/lib/zuul"), ZUUL_JOBDIR=str(self.directory / "job"))
        return results

    def start(self, *arguments: str, playbook: str | list[t.Any], variables: t.Any = None) -> subprocess.Popen[str]:
        """Start ansible-playbook.

        :param playbook: its plays, or the name of one.
        :param variables: given by a file.
        """
        if not isinstance(playbook, str):
            path = self.directory / "play.yml"
            path.write_text(yaml.safe_dump(playbook, sort_keys=False))
            playbook = str(path)
        variables = {"results": str(self.directory / "results.json"), **(variables or {})}
        (self.directory / "vars.json").write_text(json.dumps(variables))
        argv = [str(self.venv / "bin" / "ansible-playbook"), playbook, "-e", f"@{self.directory / 'vars.json'}", *arguments]
        return subprocess.Popen(
            argv,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, *arguments: str, playbook: str | list[t.Any], variables: t.Any = None) -> Run:
        """Run ansible-playbook to its end."""
        process = self.start(*arguments, playbook=playbook, variables=variables)
        output = process.communicate(timeout=300)[0]
        return Run(process.returncode, output, self.directory / "results.json")

    def killed(self, proxy: Proxy, moment: int, *, playbook: list[t.Any], variables: t.Any = None) -> int:
        """Run a playbook, and kill it with all its processes at one of the proxy's requests.

        :param moment: the number of the request, as they come; 0 lets it end.
        :return: the number of requests that came.
        """
        coming = itertools.count(1)

        def rule(method: str, path: str, body: bytes) -> Answer | None:
            if next(coming) == moment:
                os.killpg(process.pid, signal.SIGKILL)
                # From 2.19 workers have sessions of their own.
                for directory in pathlib.Path("/proc").glob("[0-9]*"):
                    with contextlib.suppress(OSError):
                        if str(self.directory / "vars.json").encode() in (directory / "cmdline").read_bytes():
                            os.kill(int(directory.name), signal.SIGKILL)
            return None

        process = self.start(playbook=playbook, variables=variables)
        proxy.rule = rule
        output = process.communicate(timeout=120)[0]
        proxy.rule = None
        proxy.wait()
        came = next(coming) - 1
        assert process.returncode == (-signal.SIGKILL if 0 < moment <= came else 0), output
        return came

    def role(self, name: str, *arguments: str, fact: str = "", **variables: t.Any) -> Run:
        """Run one role of the collection on the controller.

        :param fact: an expression, its value is ``Run.result``.
        """
        tasks: list[t.Any] = [{"ansible.builtin.include_role": {"name": f"gating.containers.{name}"}}]
        if fact:
            tasks.append(
                {
                    "ansible.builtin.copy": {"dest": "{{ results }}", "content": "{{ " + fact + " | to_json }}", "mode": "0600"},
                    "check_mode": False,
                    "changed_when": False,
                }
            )
        return self.play(*arguments, playbook=[{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], variables=variables)

    def task(self, module: str, *arguments: str, keywords: t.Any = None, **options: t.Any) -> Run:
        """Run one module of the collection; its result is ``Run.result``."""
        tasks: list[t.Any] = [
            {f"gating.containers.{module}": options, "register": "it", "ignore_errors": True, **(keywords or {})},
            {"ansible.builtin.copy": {"dest": "{{ results }}", "content": "{{ it | to_json }}", "mode": "0600"}, "check_mode": False, "changed_when": False},
        ]
        return self.play(*arguments, playbook=[{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])


def play_of(*roles: str) -> list[dict[str, t.Any]]:
    """A playbook that runs roles of the collection on the controller."""
    return [{"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": {"name": f"gating.containers.{role}"}} for role in roles]}]
