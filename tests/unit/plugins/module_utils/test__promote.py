# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of how an image is known to be of a change."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._manifest import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from ansible_collections.gating.containers.plugins.module_utils._promote import ENTRY, changes_of
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference

REPOSITORY = Reference("quay.io", "a/b")


class Store:
    """The part of a registry that is read."""

    def __init__(self) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.blobs: dict[str, bytes] = {}

    def manifest(self, image: Reference) -> Manifest | None:
        return self.manifests.get(str(image.digest))

    def blob(self, repository: Reference, digest: str) -> bytes:
        return self.blobs[digest]

    def add(self, media_type: str, content: t.Any) -> Manifest:
        raw = json.dumps(content).encode()
        manifest = Manifest(media_type, raw, digest_of(raw))
        self.manifests[manifest.digest] = manifest
        return manifest

    def image(self, config: t.Any) -> Manifest:
        raw = json.dumps(config).encode()
        self.blobs[digest_of(raw)] = raw
        return self.add(OCI_MANIFEST, {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(raw)}})

    def index(self, *children: tuple[Manifest, str]) -> Manifest:
        items = []
        for child, platform in children:
            system, architecture = platform.split("/")
            items.append({"mediaType": child.media_type, "digest": child.digest, "platform": {"os": system, "architecture": architecture}})
        return self.add(OCI_INDEX, {"manifests": items})


def labelled(change: t.Any) -> dict[str, t.Any]:
    return {"config": {"Labels": {"org.zuul-ci.change": change}}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (labelled("7"), True),
        (labelled("8"), False),
        (labelled("77"), False),
        ({"config": {"Labels": None}}, False),
        ({"config": {}}, False),
        ({"config": None}, False),
        ({}, False),
        ([], False),
        ({"config": []}, False),
        ({"config": {"Labels": ["org.zuul-ci.change"]}}, False),
    ],
)
def test_an_image(config: t.Any, expected: bool) -> None:
    store = Store()
    assert (changes_of(store, REPOSITORY, store.image(config)) == {"7"}) is expected  # type: ignore[arg-type]


def test_of_an_index_each_image_must_be_of_the_change() -> None:
    store = Store()
    right, wrong, attestation = store.image(labelled("7")), store.image(labelled("6")), store.image({})
    for children, expected in (
        ([(right, "linux/amd64"), (right, "linux/arm64")], True),
        ([(right, "linux/amd64"), (wrong, "linux/arm64")], False),
        ([(right, "linux/amd64"), (attestation, "unknown/unknown")], True),
        ([(attestation, "unknown/unknown")], False),
        ([], False),
    ):
        assert (changes_of(store, REPOSITORY, store.index(*children)) == {"7"}) is expected  # type: ignore[arg-type]


def test_a_missing_child_is_not_of_the_change() -> None:
    store = Store()
    child = store.image(labelled("7"))
    index = store.index((child, "linux/amd64"))
    del store.manifests[child.digest]
    assert (changes_of(store, REPOSITORY, index) == {"7"}) is False  # type: ignore[arg-type]


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io", "ghcr.io:443"])
def test_where_temporary_tags_cannot_be_removed_nothing_is_asked(registry: str) -> None:
    params = {
        "images": [{"repository": f"{registry}/a/b"}],
        "prefix": "change_1_",
        "method": "tag",
        "zuul": {},
        "api": "",
        "query": "",
        "cleanup": True,
        "cleanup_age": 1,
    }
    with pytest.raises(InputError, match="set promote_container_image_cleanup to false") as caught:
        ENTRY.run({**params, "credentials": {}, "parallel": 1, "timeout": 1, "retries": 0}, False)
    assert caught.value.result == {"requests": 0}
