# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in OCI image layouts: directories and archives, also those that somebody made up to do harm."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import threading
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _layout
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, DamagedError, MissingError
from ansible_collections.gating.containers.plugins.module_utils._layout import REF_NAME, Layout
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LARGE = bytes(range(256)) * 10_000
CONFIG = b'{"os": "linux"}'


def path_of(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def manifest_of(*contents: bytes, media_type: str = OCI_MANIFEST) -> Manifest:
    """An image: its config and layers."""
    items = [{"mediaType": "x", "digest": digest_of(content), "size": len(content)} for content in contents]
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": items[0], "layers": items[1:]}).encode()
    return Manifest(media_type, content, digest_of(content))


def index_of(*children: Manifest, media_type: str = OCI_INDEX) -> Manifest:
    items = [{"mediaType": child.media_type, "digest": child.digest, "size": len(child.content)} for child in children]
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": items}, indent=3).encode()
    return Manifest(media_type, content, digest_of(content))


IMAGE = manifest_of(CONFIG, LARGE)
OTHER = manifest_of(CONFIG, b"other")


def entry(manifest: Manifest, name: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    annotations = {} if name is None else {"annotations": {REF_NAME: name}}
    return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content), **annotations, **more}


def files_of(*entries: t.Any, blobs: t.Sequence[bytes] = ()) -> dict[str, bytes]:
    """The files of a layout by their names."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode()}
    return {**files, **{path_of(digest_of(blob)): blob for blob in blobs}}


class Made(t.NamedTuple):
    """A layout, and what names the images in it."""

    it: Layout
    name: str
    path: pathlib.Path

    def image(self, tag: str | None = None, digest: str | None = None) -> Reference:
        return Reference(self.name, "", tag, digest)

    def read(self, content: bytes, digest: str = "", size: int | None = None) -> bytes:
        return b"".join(self.it.read_blob(self.image(), digest or digest_of(content), len(content) if size is None else size))

    def again(self) -> Made:
        return at(self.name)


def at(name: str) -> Made:
    return Made(Layout(name), name, pathlib.Path(name.partition(":")[2]))


def write_files(directory: pathlib.Path, files: t.Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def write_archive(path: pathlib.Path, members: t.Iterable[tuple[str | tarfile.TarInfo, bytes]], mode: str = "w") -> Made:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return at(f"oci-archive:{path}")


@pytest.fixture(params=["oci", "oci-archive"])
def make(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Callable[..., Made]:
    """Makes layouts of both forms with files by their names, or without any."""

    def layout(files: t.Mapping[str, bytes] | None = None) -> Made:
        path = tmp_path / ("layout" if request.param == "oci" else "layout.tar")
        if files is not None and request.param == "oci":
            path.mkdir()
            write_files(path, files)
        elif files is not None:
            write_archive(path, files.items())
        return at(f"{request.param}:{path}")

    return layout


def store(layout: Made, manifest: Manifest, tag: str | None, *contents: bytes) -> None:
    """Store an image as a copy does."""
    for content in contents:
        if layout.it.place_blob(layout.image(), digest_of(content)):
            layout.it.upload_blob(layout.image(), "", digest_of(content), iter([content[:100], content[100:]]))
    layout.it.name_manifest(layout.image(tag, None if tag else manifest.digest), manifest)


def tree(directory: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# -- reading ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
@pytest.mark.parametrize("tag", ["1", None])
def test_an_image_is_read_byte_for_byte(make: t.Any, media_type: str, tag: str | None) -> None:
    image = manifest_of(CONFIG, LARGE, media_type=media_type)
    layout = make(files_of(entry(image, "1"), blobs=[image.content, CONFIG, LARGE]))
    assert layout.it.manifest(layout.image(tag)) == image
    found = layout.it.resolve(layout.image(tag))
    assert (found.media_type, found.digest, found.size) == (media_type, image.digest, len(image.content))
    assert (layout.read(CONFIG), layout.read(LARGE)) == (CONFIG, LARGE)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_image_of_several_platforms(make: t.Any, media_type: str) -> None:
    index = index_of(IMAGE, OTHER, media_type=media_type)
    layout = make(files_of(entry(index, "1"), blobs=[index.content, IMAGE.content, OTHER.content]))
    root = layout.it.manifest(layout.image("1"))
    assert root == index
    assert [layout.it.manifest(layout.image().with_digest(child.digest)) for child in root.children] == [IMAGE, OTHER]
    assert layout.it.tags(layout.image()) == ["1"]


@pytest.mark.parametrize(("said", "written", "found"), [("a/b", None, "a/b"), (None, DOCKER_MANIFEST, DOCKER_MANIFEST), (None, None, OCI_MANIFEST)])
def test_the_media_type(make: t.Any, said: str | None, written: str | None, found: str) -> None:
    content = json.dumps({"mediaType": written} if written else {}).encode()
    item = {"digest": digest_of(content), "size": 1, **({"mediaType": said} if said else {})}
    layout = make(files_of(item, blobs=[content]))
    assert layout.it.manifest(layout.image()).media_type == found


def test_an_index_that_does_not_say_what_it_is(make: t.Any) -> None:
    content = b'{"manifests": []}'
    layout = make(files_of({"digest": digest_of(content)}, blobs=[content]))
    assert layout.it.manifest(layout.image()).media_type == OCI_INDEX


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_digest_of_another_algorithm(make: t.Any, algorithm: str) -> None:
    digest = digest_of(IMAGE.content, algorithm)
    layout = make({**files_of({"digest": digest, "mediaType": OCI_MANIFEST}), path_of(digest): IMAGE.content})
    assert layout.it.manifest(layout.image()).digest == digest
    assert layout.read(IMAGE.content, digest) == IMAGE.content


@pytest.mark.parametrize(
    ("tag", "found"),
    [("latest", IMAGE), ("1", OTHER), ("app", None), ("localhost/app", None), ("2", None), ("5000/app", None)],
)
def test_whole_names_as_podman_writes_them(make: t.Any, tag: str, found: Manifest | None) -> None:
    layout = make(files_of(entry(IMAGE, "localhost/app:latest"), entry(OTHER, "registry.example:5000/app:1"), blobs=[IMAGE.content, OTHER.content]))
    assert layout.it.manifest(layout.image(tag)) == found


def test_a_tag_by_itself_goes_before_a_whole_name(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "localhost/app:1"), entry(OTHER, "1"), blobs=[IMAGE.content, OTHER.content]))
    assert layout.it.manifest(layout.image("1")) == OTHER
    assert layout.it.tags(layout.image()) == ["1"]


def test_one_of_several_images_must_be_named(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "1"), entry(OTHER), entry(OTHER, "b"), blobs=[IMAGE.content, OTHER.content]))
    with pytest.raises(ContainersError, match=f"^{layout.name} may be each of 1, b, {OTHER.digest}: name one, by its tag or by its digest$"):
        layout.it.resolve(layout.image())
    assert layout.it.manifest(layout.image("1")) == IMAGE
    assert layout.it.manifest(layout.image(digest=OTHER.digest)) == OTHER


def test_one_image_under_several_names_is_one(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "1"), entry(IMAGE, "2"), entry(IMAGE), blobs=[IMAGE.content]))
    assert layout.it.manifest(layout.image()) == IMAGE


def test_a_tag_of_two_images_is_refused(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "a.b/c:1"), entry(OTHER, "a.b/d:1"), blobs=[IMAGE.content, OTHER.content]))
    with pytest.raises(ContainersError, match=f"^{layout.name}:1 may be each of a.b/c:1, a.b/d:1: name one"):
        layout.it.resolve(layout.image("1"))


def test_what_is_not_there_is_none(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "1")))
    for image in (layout.image("2"), layout.image(digest=OTHER.digest), layout.image("1")):
        assert layout.it.manifest(image) is None
        assert layout.it.resolve(image) is None
    assert not layout.it.has_blob(layout.image(), digest_of(LARGE))


def test_a_layout_that_is_not_there(make: t.Any) -> None:
    layout = make()
    assert layout.it.resolve(layout.image("1")) is None
    assert layout.it.resolve(layout.image()) is None
    assert layout.it.tags(layout.image()) == []
    assert not layout.it.has_blob(layout.image(), digest_of(LARGE))
    # An image that a list names may be gone, but not a part of one.
    with pytest.raises(ContainersError, match=f"^{path_of(digest_of(LARGE))} of {layout.name}: it is not there: the image is damaged$") as caught:
        layout.read(LARGE)
    assert not isinstance(caught.value, MissingError)
    assert not layout.path.exists()


DAMAGED = [b"", b"no json", b"\xff\xfe", b"[]", b"{}", b"5", b"[" * 100_000, b'{"manifests": null}', b'{"manifests": {}}', b'{"manifests": [5]}',
           b'{"manifests": [{}]}', b'{"manifests": [{"digest": 5}]}', b'{"manifests": [{"digest": ["x"]}]}', b'{"manifests": [{"digest": "../../x"}]}',
           b'{"manifests": [{"digest": "sha256:abc"}]}']  # fmt: skip


@pytest.mark.parametrize("index", DAMAGED)
def test_a_damaged_index(make: t.Any, index: bytes) -> None:
    layout = make({"index.json": index})
    for use in (layout.it.resolve, layout.it.tags, lambda image: layout.it.name_manifest(image, IMAGE)):
        with pytest.raises(ContainersError, match=f"^{layout.name} is no OCI image layout: its index.json is damaged$"):
            use(layout.image("1"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([REF_NAME, "x"]), inner, max_size=2),
    max_leaves=4,
)
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"digest": st.sampled_from([IMAGE.digest, OTHER.digest])},
        optional={"annotations": st.fixed_dictionaries({REF_NAME: st.sampled_from(["1", "a:1", "a", ""]) | _JSON}) | _JSON, "mediaType": _JSON},
    ),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(_ENTRIES | _JSON | st.lists(_JSON, max_size=2))
def test_whatever_an_index_holds(tmp_path: pathlib.Path, content: t.Any) -> None:
    write_files(tmp_path, {"index.json": json.dumps({"manifests": content}).encode(), path_of(IMAGE.digest): IMAGE.content})
    layout = at(f"oci:{tmp_path}")
    for image in (layout.image(), layout.image("1")):
        try:
            found = layout.it.manifest(image)
        except ContainersError as exc:
            assert "\n" not in str(exc)
        else:
            # What an earlier example wrote is there as well.
            assert found is None or found.digest in (IMAGE.digest, OTHER.digest)
            assert found is None or digest_of(found.content) == found.digest
    with contextlib.suppress(ContainersError):
        layout.it.name_manifest(layout.image("1"), OTHER)
        assert layout.it.manifest(layout.image("1")) == OTHER


def test_a_damaged_manifest(make: t.Any) -> None:
    layout = make({**files_of(entry(IMAGE, "1")), path_of(IMAGE.digest): IMAGE.content + b" "})
    with pytest.raises(ContainersError, match=f"^{layout.name}: the manifest {IMAGE.digest} is damaged$"):
        layout.it.resolve(layout.image("1"))


@pytest.mark.parametrize("place", [0, 1_500_000, -1])
def test_a_blob_with_a_byte_that_is_wrong(make: t.Any, place: int) -> None:
    content = bytearray(LARGE)
    content[place] ^= 1
    layout = make({**files_of(), path_of(digest_of(LARGE)): bytes(content)})
    given: list[bytes] = []
    with pytest.raises(DamagedError, match=f"^blob {digest_of(LARGE)} of {layout.name}: its content is damaged or was changed on the way$"):
        given.extend(layout.it.read_blob(layout.image(), digest_of(LARGE), len(LARGE)))
    assert sum(map(len, given)) < len(LARGE), "the last part is not handed out"


def test_a_blob_that_is_cut(make: t.Any) -> None:
    layout = make({**files_of(), path_of(digest_of(LARGE)): LARGE[:-1]})
    with pytest.raises(DamagedError, match="is damaged"):
        layout.read(LARGE)


def test_a_blob_that_is_too_long(make: t.Any) -> None:
    layout = make({**files_of(), path_of(digest_of(LARGE)): LARGE + b"x"})
    with pytest.raises(DamagedError, match=f"it is more than the {len(LARGE)} bytes of its descriptor: the image is damaged$"):
        layout.read(LARGE)


@pytest.mark.parametrize("size", [0, 14, 16])
def test_a_blob_whose_size_is_not_that_of_its_descriptor(make: t.Any, size: int) -> None:
    layout = make(files_of(blobs=[CONFIG]))
    with pytest.raises(DamagedError):
        layout.read(CONFIG, size=size)


def test_an_empty_blob(make: t.Any) -> None:
    layout = make(files_of(blobs=[b""]))
    assert layout.read(b"") == b""


@pytest.mark.parametrize("digest", ["", "../../../etc/passwd", "sha256:../../x", "sha256:abc", "sha256", "x" * 5000])
def test_a_digest_that_is_none_becomes_no_path(make: t.Any, digest: str) -> None:
    layout = make(files_of())
    manifest = Manifest(OCI_MANIFEST, b"", digest)
    uses: list[t.Callable[[], t.Any]] = [
        lambda: layout.read(b"", digest or "x"),
        lambda: layout.it.has_blob(layout.image(), digest),
        lambda: layout.it.place_blob(layout.image(), digest),
        lambda: layout.it.upload_blob(layout.image(), "", digest, [b""]),
        lambda: layout.it.put_manifest(layout.image(), manifest),
    ]
    for use in uses:
        with pytest.raises(ContainersError, match="is no digest: the image is damaged$") as caught:
            use()
        assert len(str(caught.value)) < 600


def test_blobs_are_read_by_many_threads(make: t.Any) -> None:
    blobs = [bytes([number]) * 3_000_000 for number in range(6)]
    layout = make(files_of(blobs=blobs))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda blob: layout.read(blob) == blob, blobs * 2))


def test_a_blob_that_is_not_read_to_its_end_is_closed(make: t.Any) -> None:
    layout = make(files_of(blobs=[LARGE]))
    layout.it.has_blob(layout.image(), digest_of(LARGE))
    before = len(os.listdir("/proc/self/fd"))
    parts = layout.it.read_blob(layout.image(), digest_of(LARGE), len(LARGE))
    next(parts)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    parts.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_may_do_what_is_a_matter_of_files(make: t.Any) -> None:
    layout = make(files_of())
    layout.it.grant(layout.image(), ("pull",), [])
    assert layout.it.referrers(layout.image(digest=IMAGE.digest)) is None


# -- directories that do harm ----------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: pathlib.Path) -> pathlib.Path:
    """A layout outside, to which links lead."""
    write_files(tmp_path / "outside", files_of(entry(IMAGE, "1"), blobs=[IMAGE.content, CONFIG, LARGE]))
    return tmp_path / "outside"


@pytest.mark.parametrize("link", ["index.json", "blobs", "blobs/sha256", path_of(IMAGE.digest)])
def test_links_in_a_directory_are_not_followed(tmp_path: pathlib.Path, secret: pathlib.Path, link: str) -> None:
    write_files(tmp_path / "layout", {} if link == "index.json" else files_of(entry(IMAGE, "1")))
    (tmp_path / "layout" / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "layout" / link).symlink_to(secret / link)
    layout = at(f"oci:{tmp_path}/layout")
    with pytest.raises(ContainersError, match=f" of {layout.name}: links in a layout are not followed: check {layout.name}$"):
        layout.it.manifest(layout.image("1"))


@pytest.mark.parametrize("link", ["blobs", "blobs/sha256"])
@pytest.mark.parametrize("dangling", [True, False])
def test_nothing_is_written_through_a_link(tmp_path: pathlib.Path, link: str, dangling: bool) -> None:
    outside = tmp_path / "outside"
    if not dangling:
        outside.mkdir()
    (tmp_path / "layout" / link).parent.mkdir(parents=True)
    (tmp_path / "layout" / link).symlink_to(outside)
    layout = at(f"oci:{tmp_path}/layout")
    with pytest.raises(ContainersError, match=f"^write of {path_of(digest_of(CONFIG))} of {layout.name}: links in a layout are not followed"):
        layout.it.upload_blob(layout.image(), "", digest_of(CONFIG), [CONFIG])
    assert not outside.exists() if dangling else list(outside.iterdir()) == []


def test_a_file_that_is_written_takes_the_place_of_a_link(tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path = tmp_path / "layout" / path_of(digest_of(CONFIG))
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    layout = at(f"oci:{tmp_path}/layout")
    layout.it.upload_blob(layout.image(), "", digest_of(CONFIG), [CONFIG])
    assert (outside.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"mine", CONFIG, False)


def test_the_directory_itself_may_be_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    layout = at(f"oci:{tmp_path}/link")
    store(layout, IMAGE, "1", CONFIG, LARGE)
    assert at(f"oci:{tmp_path}/real").it.manifest(layout.image("1")) == IMAGE
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["index.json", path_of(IMAGE.digest)])
@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_is_no_plain_file_is_not_there(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    write_files(tmp_path, {} if name == "index.json" else files_of(entry(IMAGE, "1")))
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (os.mkfifo if kind == "pipe" else os.mkdir)(tmp_path / name)
    layout = at(f"oci:{tmp_path}")
    before = os.listdir("/proc/self/fd")
    assert layout.it.manifest(layout.image("1")) is None
    assert not layout.it.has_blob(layout.image(), IMAGE.digest)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_a_file_where_a_directory_is_to_be(tmp_path: pathlib.Path, name: str) -> None:
    write_files(tmp_path / "layout", {name: b"", "index.json": files_of(entry(IMAGE, "1"))["index.json"]})
    layout = at(f"oci:{tmp_path}/layout")
    for use in (layout.it.manifest, lambda image: layout.it.put_manifest(image, IMAGE)):
        with pytest.raises(ContainersError, match=f"{path_of(IMAGE.digest)} of {layout.name}: .*: check {layout.name}$"):
            use(layout.image("1"))


def test_a_file_in_place_of_a_layout(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    layout = at(f"oci:{tmp_path}/file")
    with pytest.raises(ContainersError, match=f"^index.json of {layout.name}: not a directory: check {layout.name}$"):
        layout.it.resolve(layout.image("1"))
    with pytest.raises(ContainersError, match=f"^write of .* of {layout.name}: file exists: check {layout.name}$"):
        layout.it.upload_blob(layout.image(), "", digest_of(CONFIG), [CONFIG])
    assert (tmp_path / "file").read_bytes() == b"mine"


# -- archives that do harm, or are odd ----------------------------------------------------------------------------------------------


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


FILES = files_of(entry(IMAGE, "1"), blobs=[IMAGE.content, CONFIG, LARGE])


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_archives_as_other_tools_write_them(tmp_path: pathlib.Path, prefix: str, form: int) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for directory in ("./", "blobs/", "blobs/sha256/"):
            archive.addfile(link(prefix + directory.removeprefix("./"), tarfile.DIRTYPE, ""))
        for name, content in FILES.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    layout = at(f"oci-archive:{tmp_path}/a.tar")
    assert layout.it.manifest(layout.image("1")) == IMAGE
    assert layout.read(LARGE) == LARGE


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("name", ["index.json", path_of(IMAGE.digest)])
@pytest.mark.parametrize("target", ["/etc/passwd", "elsewhere", "../../../etc/passwd"])
def test_links_in_an_archive_are_nothing(tmp_path: pathlib.Path, kind: bytes, name: str, target: str) -> None:
    members: list[tuple[t.Any, bytes]] = [item for item in FILES.items() if item[0] != name]
    layout = write_archive(tmp_path / "a.tar", [("elsewhere", FILES[name]), (link(name, kind, target), b""), *members])
    assert layout.it.manifest(layout.image("1")) is None


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_devices_pipes_and_directories_in_an_archive_are_nothing(tmp_path: pathlib.Path, kind: bytes) -> None:
    layout = write_archive(tmp_path / "a.tar", [*FILES.items(), (link(path_of(digest_of(b"x")), kind, ""), b"")])
    assert not layout.it.has_blob(layout.image(), digest_of(b"x"))


def test_a_sparse_member_is_nothing(tmp_path: pathlib.Path) -> None:
    content = b"data"
    member = tarfile.TarInfo(path_of(digest_of(content)))
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,4",
        "GNU.sparse.size": "4000000000",
        "GNU.sparse.numblocks": "1",
    }
    layout = write_archive(tmp_path / "a.tar", [*FILES.items(), (member, content)])
    assert not layout.it.has_blob(layout.image(), digest_of(content))
    assert layout.it.manifest(layout.image("1")) == IMAGE


@pytest.mark.parametrize("name", ["../", "/", "../../../../../../../../tmp/", "a/../", ".//"])
def test_names_that_lead_out_are_nothing(tmp_path: pathlib.Path, name: str) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    layout = write_archive(tmp_path / "a.tar", [(name + file, content) for file, content in FILES.items()])
    assert layout.it.manifest(layout.image("1")) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [*before, "a.tar"]


def test_of_members_of_one_name_the_last_counts(tmp_path: pathlib.Path) -> None:
    old = files_of(entry(OTHER, "1"))["index.json"]
    layout = write_archive(tmp_path / "a.tar", [("index.json", old), *FILES.items()])
    assert layout.it.manifest(layout.image("1")) == IMAGE


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_archive_is_told(tmp_path: pathlib.Path, mode: str) -> None:
    layout = write_archive(tmp_path / "a.tar", FILES.items(), mode)
    with pytest.raises(ContainersError, match=f"^index.json of {layout.name}: {layout.name} is no tar archive, or it is compressed: unpack or uncompress it$"):
        layout.it.resolve(layout.image("1"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"x" * 5000])
def test_a_file_that_is_no_archive_is_kept(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    layout = at(f"oci-archive:{tmp_path}/a.tar")
    layout.it.put_manifest(layout.image(), IMAGE)
    for use in (layout.it.resolve, lambda image: layout.it.name_manifest(image, IMAGE)):
        with pytest.raises(ContainersError, match=f"{layout.name} is no tar archive"):
            use(layout.image("1"))
    layout.it.finish()
    assert tree(tmp_path) == {"a.tar": content}


def test_an_archive_that_is_cut(tmp_path: pathlib.Path) -> None:
    layout = write_archive(tmp_path / "a.tar", FILES.items())
    content = layout.path.read_bytes()
    for length in range(513, len(content), 60_000):
        layout.path.write_bytes(content[:length])
        it = Layout(layout.name)
        try:
            # What is there can be read, for its digest is checked.
            assert it.manifest(layout.image("1")) in (None, IMAGE)
            assert b"".join(it.read_blob(layout.image(), digest_of(LARGE), len(LARGE))) == LARGE
        except ContainersError as exc:
            assert layout.name in str(exc)


def test_a_directory_in_place_of_an_archive(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.tar").mkdir()
    layout = at(f"oci-archive:{tmp_path}/a.tar")
    with pytest.raises(ContainersError, match=f"^index.json of {layout.name}: is a directory: check {layout.name}$"):
        layout.it.resolve(layout.image("1"))


# -- writing -----------------------------------------------------------------------------------------------------------------


def test_what_is_written_can_be_read(make: t.Any) -> None:
    layout, index = make(), index_of(IMAGE, OTHER)
    for content in (CONFIG, LARGE, b"other"):
        location = layout.it.place_blob(layout.image(), digest_of(content))
        assert location
        layout.it.upload_blob(layout.image(), location, digest_of(content), iter([content]))
        assert layout.it.place_blob(layout.image(), digest_of(content)) == ""
    for child in (IMAGE, OTHER):
        layout.it.put_manifest(layout.image(digest=child.digest), child)
    layout.it.name_manifest(layout.image("1"), index)
    for made in (layout, layout.again()):
        layout.it.finish()
        assert made.it.manifest(made.image("1")) == made.it.manifest(made.image()) == index
        assert made.it.manifest(made.image(digest=OTHER.digest)) == OTHER
        assert (made.read(CONFIG), made.read(LARGE)) == (CONFIG, LARGE)
        assert made.it.tags(made.image()) == ["1"]


def test_the_files_of_a_directory(tmp_path: pathlib.Path) -> None:
    layout = at(f"oci:{tmp_path}/a/b/layout")
    store(layout, IMAGE, "1", CONFIG, LARGE)
    found = tree(layout.path)
    assert set(found) == {"oci-layout", "index.json", path_of(IMAGE.digest), path_of(digest_of(CONFIG)), path_of(digest_of(LARGE))}
    # image-spec, "oci-layout file" and "index.json file"
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(found["index.json"]) == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(IMAGE, "1")]}
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in layout.path.rglob("*") if path.is_file()} == {0o666 & ~umask}


def test_a_tag_takes_the_place_of_the_one_before(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "1"), entry(IMAGE, "2", platform={"os": "linux"}), entry(OTHER), blobs=[IMAGE.content, OTHER.content, CONFIG]))
    store(layout, OTHER, "1")
    layout.it.finish()
    found = layout.again()
    assert {tag: found.it.resolve(found.image(tag)).digest for tag in found.it.tags(found.image())} == {"1": OTHER.digest, "2": IMAGE.digest}
    entries = found.it._entries()
    assert len(entries) == 3
    assert entry(IMAGE, "2", platform={"os": "linux"}) in entries, "what else is said of another image is kept"
    assert entry(OTHER) in entries


def test_podmans_whole_name_stays_beside_a_tag(make: t.Any) -> None:
    layout = make(files_of(entry(IMAGE, "localhost/app:1"), blobs=[IMAGE.content]))
    store(layout, OTHER, "1")
    layout.it.finish()
    found = layout.again()
    assert found.it._entries() == [entry(OTHER, "1"), entry(IMAGE, "localhost/app:1")]
    assert found.it.resolve(found.image("1")).digest == OTHER.digest


def test_an_image_without_a_tag_is_listed_once(make: t.Any) -> None:
    layout = make()
    store(layout, IMAGE, None, CONFIG, LARGE)
    store(layout, IMAGE, None)
    assert layout.it._entries() == [entry(IMAGE)]
    store(layout, IMAGE, "1")
    store(layout, IMAGE, None)
    assert layout.it._entries() in ([entry(IMAGE), entry(IMAGE, "1")], [entry(IMAGE, "1"), entry(IMAGE)])
    assert layout.it.manifest(layout.image()) == IMAGE


def test_a_part_of_an_image_is_not_listed(make: t.Any) -> None:
    layout = make(files_of())
    layout.it.put_manifest(layout.image(digest=IMAGE.digest), IMAGE)
    assert layout.it._entries() == []
    assert layout.it.manifest(layout.image(digest=IMAGE.digest)) == IMAGE


class Broke(Exception):
    """Something that nobody reckoned with."""


def breaks() -> t.Iterator[bytes]:
    yield b"x" * 3_000_000
    raise Broke


def test_a_blob_that_breaks_leaves_no_file(make: t.Any) -> None:
    layout = make(files_of(blobs=[CONFIG]))
    before = tree(layout.path.parent)
    with pytest.raises(Broke):
        layout.it.upload_blob(layout.image(), "", digest_of(LARGE), breaks())
    assert not layout.it.has_blob(layout.image(), digest_of(LARGE))
    layout.it.close()
    assert tree(layout.path.parent) == before


def test_a_blob_that_is_there_stays_while_it_is_written_again(make: t.Any) -> None:
    layout = make(files_of(blobs=[CONFIG]))
    with pytest.raises(Broke):
        layout.it.upload_blob(layout.image(), "", digest_of(CONFIG), breaks())
    assert layout.read(CONFIG) == CONFIG


def test_nobody_sees_a_blob_before_it_is_whole(make: t.Any) -> None:
    layout, seen = make(), []

    def parts() -> t.Iterator[bytes]:
        for number in range(0, len(LARGE), 1_000_000):
            seen.append(layout.it.has_blob(layout.image(), digest_of(LARGE)))
            yield LARGE[number : number + 1_000_000]

    layout.it.upload_blob(layout.image(), "", digest_of(LARGE), parts())
    assert seen == [False] * 3
    assert layout.it.has_blob(layout.image(), digest_of(LARGE))
    layout.it.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_a_disk_that_refuses_is_told_in_one_line(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str) -> None:
    layout = at(f"{kind}:{tmp_path}/layout")

    class Full(io.BytesIO):
        def write(self, dummy: object) -> int:
            raise OSError(code, os.strerror(code))

    def refuse(descriptor: int, mode: str) -> t.Any:
        os.close(descriptor)
        return Full()

    monkeypatch.setattr(_layout.os, "fdopen", refuse)
    told = f"^write of {path_of(digest_of(CONFIG))} of {layout.name}: {os.strerror(code).lower()}: check {layout.name}$"
    with pytest.raises(ContainersError, match=told):
        layout.it.upload_blob(layout.image(), "", digest_of(CONFIG), [CONFIG])
    layout.it.close()
    assert tree(tmp_path) == {}


def test_many_threads_list_their_images(make: t.Any) -> None:
    layout = make()
    images = {str(number): manifest_of(CONFIG, str(number).encode()) for number in range(12)}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda tag: store(layout, images[tag], tag, CONFIG, tag.encode()), images))
    layout.it.finish()
    found = layout.again()
    assert {tag: found.it.manifest(found.image(tag)) for tag in found.it.tags(found.image())} == images


def test_two_objects_of_one_directory_do_not_lose_each_others_images(tmp_path: pathlib.Path) -> None:
    images = {str(number): manifest_of(CONFIG, str(number).encode()) for number in range(12)}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda tag: store(at(f"oci:{tmp_path}"), images[tag], tag, CONFIG, tag.encode()), images))
    assert sorted(at(f"oci:{tmp_path}").it.tags(Reference(f"oci:{tmp_path}", ""))) == sorted(images)


def test_the_index_is_written_by_one_process_at_a_time(tmp_path: pathlib.Path) -> None:
    layout = at(f"oci:{tmp_path}")
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin
    assert other.stdout
    other.stdout.readline()
    done = threading.Event()

    def name() -> None:
        store(layout, IMAGE, "1")
        done.set()

    thread = threading.Thread(target=name)
    thread.start()
    try:
        assert not done.wait(0.2), "it did not wait"
        assert not (tmp_path / "index.json").exists()
    finally:
        other.communicate(b"")
    thread.join(10)
    assert done.is_set()
    assert layout.it.tags(layout.image()) == ["1"]
    # The lock is given back.
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


# -- archives as a whole ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: pathlib.Path) -> Made:
    """An archive in a directory where there is nothing else."""
    (tmp_path / "here").mkdir()
    return at(f"oci-archive:{tmp_path}/here/a.tar")


def names_in(path: pathlib.Path) -> list[str]:
    with tarfile.open(path, "r:") as archive:
        return archive.getnames()


def test_nothing_is_to_be_seen_before_an_archive_is_finished(archive: Made) -> None:
    store(archive, IMAGE, "1", CONFIG, LARGE)
    assert not archive.path.exists()
    assert archive.it.manifest(archive.image("1")) == IMAGE, "but for who writes it"
    archive.it.finish()
    assert [path.name for path in archive.path.parent.iterdir()] == ["a.tar"]
    assert sorted(names_in(archive.path)) == sorted(["oci-layout", "index.json", *map(path_of, (IMAGE.digest, digest_of(CONFIG), digest_of(LARGE)))])
    umask = os.umask(0)
    os.umask(umask)
    assert archive.path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_archive_keeps_what_it_had_and_drops_what_nothing_needs(archive: Made) -> None:
    index, more = index_of(IMAGE), manifest_of(CONFIG, b"more")
    blobs = [index.content, IMAGE.content, OTHER.content, CONFIG, LARGE, b"other", b"stray"]
    write_archive(archive.path, files_of(entry(index, "1"), entry(OTHER, "2"), blobs=blobs).items())
    store(archive, more, "2", CONFIG, b"more")
    archive.it.finish()
    found = archive.again()
    assert found.it.manifest(found.image("1")) == index
    assert found.it.manifest(found.image(digest=IMAGE.digest)) == IMAGE
    assert found.it.manifest(found.image("2")) == more
    assert [found.read(content) for content in (LARGE, CONFIG, b"more")] == [LARGE, CONFIG, b"more"]
    needed = [index.content, IMAGE.content, more.content, CONFIG, LARGE, b"more"]
    assert sorted(names_in(archive.path)) == sorted(["oci-layout", "index.json", *(path_of(digest_of(content)) for content in needed)])


def test_an_index_of_which_only_some_images_are_there_is_kept(archive: Made) -> None:
    index = index_of(IMAGE, OTHER)
    write_archive(archive.path, files_of(entry(index, "1"), blobs=[index.content, OTHER.content, CONFIG, b"other"]).items())
    store(archive, IMAGE, "2", CONFIG, LARGE)
    archive.it.finish()
    found = archive.again()
    assert found.it.manifest(found.image("1")) == index
    assert found.read(b"other") == b"other"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.permutations(range(4)), st.permutations(range(4)))
def test_archives_of_the_same_images_are_the_same(tmp_path: pathlib.Path, one: list[int], two: list[int]) -> None:
    contents = []
    for order in (one, two):
        layout = at(f"oci-archive:{tmp_path}/a.tar")
        layout.path.unlink(missing_ok=True)
        for number in order:
            content = b"layer %d" % number
            store(layout, manifest_of(CONFIG, content), None if number == 3 else f"t{number}", *([CONFIG, content] if number % 2 else [content, CONFIG]))
        layout.it.finish()
        contents.append(layout.path.read_bytes())
    assert contents[0] == contents[1]


def test_no_image_makes_no_archive(archive: Made) -> None:
    archive.it.finish()
    archive.it.upload_blob(archive.image(), "", digest_of(CONFIG), [CONFIG])
    archive.it.put_manifest(archive.image(), IMAGE)
    archive.it.finish()
    archive.it.finish()
    assert list(archive.path.parent.iterdir()) == []


def test_an_archive_to_which_nothing_was_written_is_left_alone(archive: Made, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(archive.path, FILES.items())
    before = archive.path.stat()
    # What is in the working directory is somebody else's.
    write_files(tmp_path / "work", FILES)
    monkeypatch.chdir(tmp_path / "work")
    archive.it.manifest(archive.image("1"))
    archive.it.finish()
    archive.it.close()
    assert (archive.path.stat().st_ino, archive.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert tree(tmp_path / "work") == FILES


@pytest.mark.parametrize("there", [True, False])
def test_an_archive_that_cannot_be_finished_is_what_it_was(archive: Made, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    if there:
        write_archive(archive.path, files_of(entry(OTHER, "2"), blobs=[OTHER.content, CONFIG, b"other"]).items())
    before = tree(archive.path.parent)
    store(archive, IMAGE, "1", CONFIG, LARGE)

    class Full(tarfile.TarFile):
        def addfile(self, tarinfo: tarfile.TarInfo, fileobj: t.Any = None) -> None:
            if tarinfo.size == len(LARGE):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().addfile(tarinfo, fileobj)

    monkeypatch.setattr(tarfile, "open", lambda name=None, mode="r", **options: Full(name, mode[0], **options))
    with pytest.raises(ContainersError, match=f"^write of {archive.name}: no space left on device: check {archive.name}$"):
        archive.it.finish()
    monkeypatch.undo()
    archive.it.close()
    assert tree(archive.path.parent) == before
    # And it can be tried again.
    store(archive, IMAGE, "1", CONFIG, LARGE)
    archive.it.finish()
    assert archive.again().it.tags(archive.image()) == (["1", "2"] if there else ["1"])


def test_a_damaged_image_is_not_taken_over(archive: Made) -> None:
    write_archive(archive.path, {**files_of(entry(OTHER, "2")), path_of(OTHER.digest): b"damaged"}.items())
    before = tree(archive.path.parent)
    store(archive, IMAGE, "1", CONFIG, LARGE)
    with pytest.raises(ContainersError, match=f"^{archive.name}: the manifest {OTHER.digest} is damaged$"):
        archive.it.finish()
    archive.it.close()
    assert tree(archive.path.parent) == before


def test_an_archive_that_is_cut_is_not_taken_over(archive: Made) -> None:
    write_archive(archive.path, files_of(entry(OTHER, "2"), blobs=[OTHER.content, LARGE]).items())
    store(archive, IMAGE, "1", CONFIG, LARGE)
    # While it is written.
    with archive.path.open("r+b") as file:
        file.truncate(3000)
    before = tree(archive.path.parent)["a.tar"]
    with pytest.raises(ContainersError, match=archive.name):
        archive.it.finish()
    archive.it.close()
    assert tree(archive.path.parent) == {"a.tar": before}


def test_what_was_not_finished_is_removed(archive: Made) -> None:
    write_archive(archive.path, FILES.items())
    before = tree(archive.path.parent)
    with Client(Credentials(), ("pull",)) as client:
        made = Made(t.cast(Layout, client.store(archive.image())), archive.name, archive.path)
        assert client.store(archive.image("1")) is made.it
        store(made, OTHER, "2", CONFIG, b"other")
        assert len(tree(archive.path.parent)) > 1
    assert tree(archive.path.parent) == before
    assert [path.name for path in archive.path.parent.iterdir()] == ["a.tar"]


def test_a_client_finishes_archives(archive: Made) -> None:
    with Client(Credentials(), ("pull",)) as client:
        store(Made(t.cast(Layout, client.store(archive.image())), archive.name, archive.path), IMAGE, "1", CONFIG, LARGE)
        client.finish(archive.name)
        assert client.requests == 0
    assert archive.it.manifest(archive.image("1")) == IMAGE


def test_an_archive_can_be_written_to_after_it_was_finished(archive: Made) -> None:
    store(archive, IMAGE, "1", CONFIG, LARGE)
    archive.it.finish()
    store(archive, OTHER, "2", CONFIG, b"other")
    archive.it.finish()
    found = archive.again()
    assert (found.it.manifest(found.image("1")), found.it.manifest(found.image("2"))) == (IMAGE, OTHER)


@pytest.mark.parametrize("name", ["oci:{}/new/layout", "oci-archive:{}/new/a.tar"])
def test_reading_creates_nothing(tmp_path: pathlib.Path, name: str) -> None:
    layout = at(name.format(tmp_path))
    layout.it.resolve(layout.image("1"))
    layout.it.place_blob(layout.image(), digest_of(CONFIG))
    layout.it.tags(layout.image())
    layout.it.finish()
    layout.it.close()
    assert list(tmp_path.iterdir()) == []


def test_what_others_wrote_into_the_index_stays(make: t.Any) -> None:
    files = files_of(entry(IMAGE, "1"), blobs=[IMAGE.content])
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry(IMAGE, "1")], "annotations": {"their": "own"}}).encode()
    layout = make(files)
    layout.it.name_manifest(layout.image("2"), OTHER)
    layout.it.finish()
    with layout.again().it._open("index.json") as file:
        index = json.loads(file.read())
    assert index["annotations"] == {"their": "own"}
    assert index["manifests"] == [entry(IMAGE, "1"), entry(OTHER, "2")]
