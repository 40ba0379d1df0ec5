# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused, or left alone, before a registry is asked. The copies themselves are tested with real registries."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._intermediate import PULL, PUSH, _handed_over
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._zuul import artifact
from ansible_collections.gating.containers.plugins.module_utils._zuul_builds import Recorded

LIMITS = {"parallel": 1, "timeout": 1, "retries": 0}
REGISTRIES = {"buildset_registry": {"host": "198.51.100.1", "port": 5000}, "intermediate_registry": {"host": "198.51.100.2", "port": 5000}}
IMAGE = {"repository": "quay.io/example/app"}
NAME = Reference("quay.io", "example/app", "latest")
STAGED = NAME.with_tag("change_1_latest")
PLACE = Reference("registry.example:5000", "quay.io/example/app", "b_latest")
DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


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


def made(place: Reference, digest: str = DIGEST, change: int | str = 1) -> dict[str, t.Any]:
    """An artifact as a later job has it."""
    return {**artifact(NAME, place, digest, []), "project": "example/app", "change": change, "patchset": "1", "job": "upload"}


def test_of_several_changes_the_nearest_counts() -> None:
    assert _handed_over([{"name": "logs"}, made(PLACE, OTHER), made(PLACE, DIGEST, 2)], PLACE.registry) == {NAME: Recorded(PLACE, DIGEST)}
    # It may be elsewhere: that is no reason to take another change's.
    assert _handed_over([made(PLACE, OTHER), made(STAGED, DIGEST, 2)], PLACE.registry) == {NAME: Recorded(STAGED, DIGEST)}


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_job_that_uploaded_too_the_intermediate_registry_counts(order: int) -> None:
    artifacts = [made(STAGED, OTHER), made(PLACE, DIGEST, "1")][::order]
    assert _handed_over(artifacts, PLACE.registry) == {NAME: Recorded(PLACE, DIGEST)}
