# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registries, proxies and Ansible for the integration tests."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest
import registries
from proxy import Proxy, Rule

from playbooks import Ansible

#: Virtual environments with Ansible, in which the collection is.
VENVS = [pathlib.Path(path) for path in os.environ.get("GATING_TEST_VENVS", sys.prefix).split(":")]


# A shell's background jobs ignore SIGINT, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=VENVS, ids=lambda venv: venv.name)
def ansible(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Ansible:
    """Ansible, of each version that is tested."""
    return Ansible(request.param, tmp_path)


@pytest.fixture
def newest(tmp_path: pathlib.Path) -> Ansible:
    """Ansible, of the newest version only."""
    return Ansible(VENVS[-1], tmp_path)


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[registries.Server]:
    """An empty docker-registry 2.8 with a password."""
    server = registries.start_docker_registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[registries.Server]:
    """A second registry."""
    server = registries.start_docker_registry(tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


@pytest.fixture
def zuul_registry(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[registries.Server]:
    """An empty zuul-registry, which has a token server."""
    command = os.environ.get("GATING_TEST_ZUUL_REGISTRY", "zuul-registry")
    server = registries.start_zuul_registry(tmp_path_factory.mktemp("zuul-registry"), command)
    yield server
    server.stop()


@pytest.fixture
def proxy_to() -> t.Iterator[t.Callable[..., Proxy]]:
    """Makes proxies in front of registries."""
    made = []

    def make(server: registries.Server, rule: Rule | None = None, **options: t.Any) -> Proxy:
        made.append(Proxy(server.port, server.host, rule, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[dict[str, str]]:
    """The environment of a podman that has its images in a directory of its own."""
    storage = tmp_path_factory.mktemp("storage")
    (storage / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n')
    yield {"CONTAINERS_STORAGE_CONF": str(storage / "storage.conf")}
    subprocess.run(
        ["podman", "rmi", "--all", "--force"], env={**os.environ, "CONTAINERS_STORAGE_CONF": str(storage / "storage.conf")}, check=False, capture_output=True
    )
