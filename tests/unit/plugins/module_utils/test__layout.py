# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading an image from an OCI image layout."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._layout import Layout
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
)

RAW = b'{"schemaVersion": 2}\n'
DIGEST = digest_of(RAW)
LARGE = bytes(range(256)) * 1000


@pytest.fixture(params=["directory", "archive"])
def make(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Callable[..., Layout]:
    """Makes layouts, of both forms: ``files`` by their names, ``blobs`` by their content."""

    def layout(index: t.Any = None, *blobs: bytes, **files: bytes) -> Layout:
        directory = tmp_path / "layout"
        (directory / "blobs" / "sha256").mkdir(parents=True)
        if index is not None:
            (directory / "index.json").write_bytes(index if isinstance(index, bytes) else json.dumps(index).encode())
        for blob in blobs:
            (directory / "blobs" / digest_of(blob).replace(":", "/")).write_bytes(blob)
        for digest, content in files.items():
            (directory / "blobs" / "sha256" / digest).write_bytes(content)
        if request.param == "directory":
            return Layout(directory)
        with tarfile.open(tmp_path / "layout.tar", "w") as archive:
            for path in sorted(directory.rglob("*")):
                archive.add(path, str(path.relative_to(directory)), recursive=False)
        return Layout(tmp_path / "layout.tar")

    return layout


def named(*digests: str, media_type: str = OCI_MANIFEST) -> dict[str, t.Any]:
    return {"schemaVersion": 2, "manifests": [{"mediaType": media_type, "digest": digest, "size": 5} for digest in digests]}


def root_of(layout: Layout) -> Manifest:
    return layout.root


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
def test_the_root_is_read_byte_for_byte(make: t.Any, media_type: str) -> None:
    root = make(named(DIGEST, media_type=media_type), RAW).root
    assert (root.media_type, root.content, root.digest) == (media_type, RAW, DIGEST)


def test_an_image_that_is_named_twice_is_one(make: t.Any) -> None:
    assert make(named(DIGEST, DIGEST), RAW).root.digest == DIGEST


@pytest.mark.parametrize("digests", [[], [DIGEST, digest_of(b"other")]])
def test_another_number_of_images_is_refused(make: t.Any, digests: list[str]) -> None:
    with pytest.raises(ContainersError, match=f": its index.json names {len(digests)} images instead of one$"):
        root_of(make(named(*digests), RAW, b"other"))


@pytest.mark.parametrize("index", [b"", b"no json", b"\xff", [], {}, {"manifests": None}, {"manifests": [5]}, {"manifests": [{"digest": DIGEST}]},
                                   {"manifests": [{"mediaType": OCI_MANIFEST}]}, {"manifests": [{"mediaType": OCI_MANIFEST, "digest": ["x"]}]}])  # fmt: skip
def test_a_damaged_index_is_refused(make: t.Any, index: t.Any) -> None:
    with pytest.raises(ContainersError, match=" is no OCI image layout: its index.json is damaged$"):
        root_of(make(index, RAW))


def test_a_layout_without_index_is_refused(make: t.Any) -> None:
    with pytest.raises(ContainersError, match=" is no OCI image layout: index.json is not in it"):
        root_of(make(None, RAW))


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_what_is_no_layout_at_all_is_refused(tmp_path: pathlib.Path, content: bytes | None) -> None:
    path = tmp_path / "layout"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContainersError, match=f"^{path} is no OCI image layout: index.json is not in it"):
        root_of(Layout(path))


def test_a_damaged_manifest_is_refused(make: t.Any) -> None:
    layout = make(named(DIGEST), **{DIGEST.partition(":")[2]: b"damaged"})
    with pytest.raises(ContainersError, match=f": the manifest {DIGEST} is damaged$"):
        root_of(layout)


def test_a_manifest_that_is_not_there_is_refused(make: t.Any) -> None:
    with pytest.raises(ContainersError, match=f"is no OCI image layout: blobs/{DIGEST.replace(':', '/')} is not in it"):
        make(named(DIGEST)).manifest(Descriptor(OCI_MANIFEST, DIGEST))


@pytest.mark.parametrize("digest", ["", "../../../etc/passwd", "sha256:../../x", "sha256:abc", "sha256", "x" * 5000])
def test_a_digest_that_is_none_becomes_no_path(make: t.Any, digest: str) -> None:
    with pytest.raises(ContainersError, match="is no digest: the image is damaged$") as caught:
        make(named(DIGEST), RAW).open(digest)
    assert len(str(caught.value)) < 600


def test_a_directory_is_no_blob(make: t.Any) -> None:
    layout = make(named(DIGEST))
    with pytest.raises(ContainersError, match="is no OCI image layout: blobs/sha256 is not in it"), layout._open("blobs/sha256"):
        pass


def test_a_blob_can_be_opened_again_and_again(make: t.Any) -> None:
    layout = make(named(DIGEST), RAW, LARGE)
    for _again in range(2):
        with layout.open(digest_of(LARGE)) as file:
            assert (file.read(3), file.read()) == (LARGE[:3], LARGE[3:])


def test_a_blob_is_closed_at_the_end(make: t.Any) -> None:
    with make(named(DIGEST), RAW).open(DIGEST) as file:
        assert not file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_blobs_can_be_read_by_many_threads(make: t.Any) -> None:
    blobs = [bytes([number]) * 100_000 for number in range(8)]
    layout = make(named(DIGEST), *blobs)

    def read(blob: bytes) -> bool:
        found = b""
        with layout.open(digest_of(blob)) as file:
            while part := file.read(999):
                found += part
        return found == blob

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, blobs * 2))


def test_an_image_of_several_platforms(make: t.Any) -> None:
    index = json.dumps(named(DIGEST)).encode()
    layout = make(named(digest_of(index), media_type=OCI_INDEX), index, RAW)
    (child,) = layout.root.children
    assert layout.manifest(child).content == RAW


def test_a_digest_of_another_algorithm(tmp_path: pathlib.Path) -> None:
    layout = Layout(tmp_path)
    digest = digest_of(RAW, "sha512")
    path = tmp_path / "blobs" / digest.replace(":", "/")
    path.parent.mkdir(parents=True)
    path.write_bytes(RAW)
    assert layout.manifest(Descriptor(OCI_MANIFEST, digest)).digest == digest


def test_what_happens_to_the_reader_is_not_the_layouts_error(make: t.Any) -> None:
    layout = make(named(DIGEST), RAW)
    with pytest.raises(ConnectionError, match="^broke$"), layout.open(DIGEST):
        raise ConnectionError("broke")
