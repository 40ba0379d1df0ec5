# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests."""

from __future__ import annotations

import datetime
import hashlib
import json
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._age import parse_time
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, DamagedError
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    ACCEPT,
    CREATED,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    EMPTY_JSON,
    EMPTY_MEDIA_TYPE,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
    tombstone,
    verified,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import is_digest
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime.datetime(2026, 11, 21, 12, 30, 15, 999, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def manifest(content: t.Any, media_type: str = OCI_MANIFEST) -> Manifest:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Manifest(media_type, raw, digest_of(raw))


def test_digest_of() -> None:
    assert digest_of(b"{}") == EMPTY
    assert digest_of(b"a", "sha512") == "sha512:" + hashlib.sha512(b"a").hexdigest()


@pytest.mark.parametrize(
    "algorithm",
    [
        "sha257",
        "",
        "multihash+base58",
        "shake_128",
    ],
)
def test_digest_of_an_unknown_algorithm(algorithm: str) -> None:
    with pytest.raises(ContainersError, match="is not known here"):
        digest_of(b"", algorithm)


def test_accept_names_four_types_without_quality() -> None:
    assert set(ACCEPT.split(", ")) == {OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST}
    assert ";" not in ACCEPT
    assert "*" not in ACCEPT


@pytest.mark.parametrize(("media_type", "index"), [(OCI_INDEX, True), (DOCKER_LIST, True), (OCI_MANIFEST, False), (DOCKER_MANIFEST, False), ("", False)])
def test_is_index(media_type: str, index: bool) -> None:
    found = manifest({"manifests": [{"mediaType": OCI_MANIFEST, "digest": EMPTY, "size": 5}]}, media_type)
    assert found.is_index is index
    assert found.children == ([Descriptor(OCI_MANIFEST, EMPTY, 5)] if index else [])


def test_children() -> None:
    items = [
        {"mediaType": OCI_MANIFEST, "digest": EMPTY, "size": 5, "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": OCI_MANIFEST, "digest": EMPTY, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
        {"mediaType": OCI_MANIFEST, "digest": EMPTY, "platform": {"os": "unknown", "architecture": "unknown"}},
        {"mediaType": OCI_MANIFEST, "digest": EMPTY, "platform": {}},
        {},
        None,
        "text",
    ]
    children = manifest({"manifests": items}, OCI_INDEX).children
    assert [child.platform for child in children] == ["linux/amd64", "linux/arm/v7", "unknown/unknown", "", None]
    assert [child.size for child in children] == [5, -1, -1, -1, -1]
    assert children[4] == Descriptor("", "", -1, None)


@pytest.mark.parametrize(
    ("content", "config"),
    [
        ({"config": {"mediaType": "m", "digest": EMPTY, "size": 2}}, Descriptor("m", EMPTY, 2)),
        ({"config": {"mediaType": "m"}}, None),
        ({"config": None}, None),
        ({"config": "x"}, None),
        ({}, None),
        ([], None),
        (b"no json", None),
        (b"\xff", None),
    ],
)
def test_config(content: t.Any, config: Descriptor | None) -> None:
    assert manifest(content).config == config


CONFIG = Descriptor("c", EMPTY, 2)
LAYER = {"mediaType": "l", "digest": digest_of(b"layer"), "size": 5}


@pytest.mark.parametrize(
    ("content", "blobs"),
    [
        ({"config": {"mediaType": "c", "digest": EMPTY, "size": 2}, "layers": [LAYER]}, [CONFIG, Descriptor("l", LAYER["digest"], 5)]),
        ({"config": {"mediaType": "c", "digest": EMPTY, "size": 2}, "layers": []}, [CONFIG]),
        ({"config": {"mediaType": "c", "digest": EMPTY, "size": 2}}, [CONFIG]),
        ({"layers": [LAYER, LAYER]}, [Descriptor("l", LAYER["digest"], 5)] * 2),
        # Of a Windows image the base layers are only at Microsoft's.
        ({"layers": [{**LAYER, "urls": ["https://mcr.microsoft.com/x"]}, LAYER]}, [Descriptor("l", LAYER["digest"], 5)]),
        ({"layers": [{**LAYER, "urls": []}]}, [Descriptor("l", LAYER["digest"], 5)]),
        ({"layers": [None, 5, "x", {}]}, [Descriptor("", "")]),
        ({"layers": None}, []),
        ({"layers": "x"}, []),
        ({"layers": {"digest": EMPTY}}, []),
        ({"manifests": [LAYER]}, []),
        ({}, []),
        (b"no json", []),
    ],
)
def test_blobs(content: t.Any, blobs: list[Descriptor]) -> None:
    assert manifest(content).blobs == blobs


@pytest.mark.parametrize(
    ("content", "annotations"),
    [({"annotations": {"a": "b"}}, {"a": "b"}), ({"annotations": None}, {}), ({"annotations": []}, {}), ({}, {}), (b"", {}), (b"[1]", {})],
)
def test_annotations(content: t.Any, annotations: dict[str, str]) -> None:
    assert manifest(content).annotations == annotations
    assert not manifest(content).is_tombstone


def test_a_manifest_is_its_bytes() -> None:
    raw = b'{ "config" :\n{} }'
    found = manifest(raw)
    assert found.content == raw
    assert found.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert "config" not in repr(found)


def test_a_tombstone() -> None:
    stone = tombstone("nonce", NOW)
    assert stone.is_tombstone
    assert (stone.media_type, stone.digest) == (OCI_MANIFEST, digest_of(stone.content))
    assert stone.json["schemaVersion"] == 2
    assert stone.json["mediaType"] == OCI_MANIFEST  # ECR wants it
    assert stone.json["config"] == {"mediaType": EMPTY_MEDIA_TYPE, "digest": EMPTY, "size": 2}
    assert stone.json["layers"] == [stone.json["config"]]
    assert EMPTY_JSON == b"{}"
    assert stone.annotations[CREATED] == "2026-11-21T10:30:15Z"
    assert parse_time(stone.annotations[CREATED]) == NOW.replace(microsecond=0).timestamp()


def test_no_two_tombstones_are_alike() -> None:
    assert tombstone("a", NOW).digest != tombstone("b", NOW).digest
    assert tombstone("a", NOW) == tombstone("a", NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_DESCRIPTORS = (
    st.fixed_dictionaries({}, optional={"mediaType": _JSON, "digest": _JSON, "platform": _JSON, "size": st.none() | st.integers(0, 9)}) | st.integers()
)
_MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "manifests": st.none() | st.lists(_DESCRIPTORS, max_size=3),
        "config": _DESCRIPTORS | _JSON,
        "layers": _JSON | st.lists(_DESCRIPTORS, max_size=3),
        "annotations": _JSON,
    },
)


def look_at_everything(found: Manifest) -> None:
    assert isinstance(found.json, dict)
    assert isinstance(found.annotations, dict)
    assert isinstance(found.is_tombstone, bool)
    for descriptor in [*found.children, *found.blobs, *([found.config] if found.config else [])]:
        assert isinstance(descriptor.digest, str)
        assert isinstance(descriptor.media_type, str)
        assert isinstance(descriptor.size, int)


@given(
    st.binary() | _JSON.map(lambda value: json.dumps(value).encode()) | _MANIFESTS.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([OCI_INDEX, OCI_MANIFEST]),
)
def test_any_content_can_be_looked_at(content: bytes, media_type: str) -> None:
    look_at_everything(Manifest(media_type, content, digest_of(content)))
    assert is_digest(digest_of(content))


@pytest.mark.parametrize(
    "content",
    [
        {"manifests": 5},
        {"manifests": [{"size": "many"}]},
        {"manifests": [{"size": [1]}]},
        {"config": {"digest": "x", "size": "many"}},
        {"layers": [{"size": []}]},
    ],
)
def test_content_of_wrong_types_can_be_looked_at(content: t.Any) -> None:
    look_at_everything(manifest(content, OCI_INDEX))


# -- blobs in parts ----------------------------------------------------------------------------------------------------------------


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """The content in parts, some of which may be empty."""
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in zip(edges, edges[1:])]


@given(st.binary(max_size=50), st.lists(st.integers(0, 50), max_size=5), st.sampled_from(["sha256", "sha384", "sha512"]))
def test_the_parts_of_a_blob_are_handed_out_as_they_are(content: bytes, places: list[int], algorithm: str) -> None:
    assert b"".join(verified(cut(content, places), digest_of(content, algorithm), len(content), "it")) == content


@given(st.binary(max_size=50), st.binary(max_size=50), st.lists(st.integers(0, 50), max_size=5), st.integers(0, 50) | st.none())
def test_what_is_wrong_is_never_handed_out_whole(content: bytes, wanted: bytes, places: list[int], size: int | None) -> None:
    size = len(wanted) if size is None else size
    out: list[bytes] = []
    if content == wanted and size == len(wanted):
        return
    with pytest.raises(DamagedError, match="^it: "):
        out.extend(verified(cut(content, places), digest_of(wanted), size, "it"))
    # Who gets so many bytes as the descriptor says would take them for the blob.
    assert len(b"".join(out)) < size or not any(out)


def test_a_blob_that_is_too_long_is_not_read_to_its_end() -> None:
    def endless() -> t.Iterator[bytes]:
        while True:
            yield b"x" * 10

    with pytest.raises(DamagedError, match="^it: it is more than the 25 bytes of its descriptor: the image is damaged$"):
        list(verified(endless(), digest_of(b""), 25, "it"))


def test_a_digest_of_an_algorithm_that_is_not_known_is_refused_before_anything_is_read() -> None:
    parts = iter([b"x"])
    with pytest.raises(ContainersError, match="'md5' is not known here"):
        list(verified(parts, "md5:" + "a" * 32, 1, "it"))
    assert list(parts) == [b"x"]
