# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused, or left alone, before a registry is asked. The copies themselves are tested with real registries."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._intermediate import PULL, PUSH

LIMITS = {"parallel": 1, "timeout": 1, "retries": 0}
REGISTRIES = {"buildset_registry": {"host": "198.51.100.1", "port": 5000}, "intermediate_registry": {"host": "198.51.100.2", "port": 5000}}
IMAGE = {"repository": "quay.io/example/app"}


def push(**params: t.Any) -> dict[str, t.Any]:
    return PUSH.run({"images": [IMAGE], **REGISTRIES, "zuul": {"build": "b"}, **LIMITS, **params}, False)


def pull(**params: t.Any) -> dict[str, t.Any]:
    return PULL.run({**REGISTRIES, "zuul": {}, **LIMITS, **params}, False)


@pytest.mark.parametrize("run", [push, pull])
def test_the_registries(run: t.Callable[..., t.Any]) -> None:
    with pytest.raises(InputError, match="^intermediate_registry has no host$"):
        run(intermediate_registry={})
    with pytest.raises(InputError, match="^buildset_registry and intermediate_registry are both 198.51.100.1:5000: there is nothing to copy$"):
        run(intermediate_registry=REGISTRIES["buildset_registry"])


def test_what_a_push_needs() -> None:
    with pytest.raises(InputError, match="^zuul.build is not known, by which the images are named in the intermediate registry$"):
        push(zuul={})
    with pytest.raises(InputError, match="a registry allows 128"):
        push(zuul={"build": "b" * 122})
    with pytest.raises(InputError, match="container_images"):
        push(images=[])


@pytest.mark.parametrize("artifacts", [None, [], [{"name": "docs", "url": "https://docs.example"}], [{"metadata": {"type": "docs"}}]])
def test_a_pull_of_nothing(artifacts: t.Any) -> None:
    found = pull(zuul={"artifacts": artifacts})
    assert (found["changed"], found["images"], found["requests"]) == (False, [], 0)
    assert found["msg"] == "nothing to pull: zuul.artifacts has no images"


def test_a_malformed_artifact() -> None:
    metadata = {"type": "container_image", "repository": "quay.io/example/app", "tag": "1"}
    with pytest.raises(ContainersError, match="the artifact 'app' has a URL that is no image"):
        pull(zuul={"artifacts": [{"name": "app", "url": "https://x y", "metadata": metadata}]})
