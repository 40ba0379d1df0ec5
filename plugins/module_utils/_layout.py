# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Images in an OCI image layout (image-spec, "OCI Image Layout Specification"), a directory or a tar archive of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import typing as t
import uuid

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    MissingError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
    verified,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_digest,
    is_tag,
)

#: Annotation with the name of an image (image-spec, "Pre-Defined Annotation Keys").
REF_NAME = "org.opencontainers.image.ref.name"

_INDEX = "index.json"
_VERSION = "oci-layout"
_PART = 1024 * 1024  # bytes of a blob to read at once


@contextlib.contextmanager
def _links_refused() -> t.Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(exc.errno, "links in a layout are not followed") from None
        raise


class _Directory:
    """The files of a layout. The directory may be reached by a link, but links in it are not followed: they may lead out of it."""

    def __init__(self, path: str) -> None:
        self._path = path

    @contextlib.contextmanager
    def _enter(self, parts: t.Sequence[str], create: bool) -> t.Iterator[int]:
        """A descriptor of a directory in the layout."""
        if create:
            os.makedirs(self._path, exist_ok=True)
        current = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=current)
                with _links_refused():
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def open(self, name: str) -> t.BinaryIO:
        """A file, to be read.

        :raises OSError: it is not there, or no plain file.
        """
        *parts, last = name.split("/")
        with self._enter(parts, False) as directory, _links_refused():
            # A pipe would be waited for.
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{name} is no file")
        return os.fdopen(descriptor, "rb")

    def write(self, name: str, content: t.Iterable[bytes]) -> None:
        """Store a file, which is there whole or not at all."""
        *parts, last = name.split("/")
        with self._enter(parts, True) as directory:
            temporary = f".{uuid.uuid4().hex}"
            try:
                with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=directory), "wb") as file:
                    for part in content:
                        file.write(part)
                os.replace(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=directory)
                raise

    @contextlib.contextmanager
    def alone(self) -> t.Iterator[None]:
        """Keep other processes from writing the index meanwhile."""
        with self._enter((), True) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield

    def finish(self, names: t.Callable[[], t.Iterable[str]]) -> None:
        """All was written."""

    def close(self) -> None:
        """Nothing more is to be done."""


class _Member:
    """A file in an archive, to be read."""

    def __init__(self, path: str, offset: int, size: int) -> None:
        self._file = io.FileIO(path)
        self._file.seek(offset)
        self._left = size

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *dummy: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most that many."""
        part = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(part)
        return part


class _Archive:
    """The files of a layout in a tar archive, which are read where they are: nothing is unpacked, and its links are nothing.

    What is written is in a directory beside it, until ``finish`` makes a new archive that takes the place of the old one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._members: dict[str, tuple[int, int]] | None = None
        self._new: _Directory | None = None
        self._temporary = ""

    def _find(self, name: str) -> tuple[int, int]:
        with self._lock:
            if self._members is None:
                with tarfile.open(self._path, "r:") as archive:
                    members = [member for member in archive if member.isreg() and not member.issparse()]
                self._members = {member.name[2:] if member.name.startswith("./") else member.name: (member.offset_data, member.size) for member in members}
            if name not in self._members:
                raise FileNotFoundError(f"{name} is not in it")
            return self._members[name]

    def open(self, name: str) -> t.Any:
        """A file, to be read.

        :raises OSError: it is not there, or no plain file.
        :raises tarfile.TarError: this is no archive.
        """
        if self._new is not None:
            with contextlib.suppress(FileNotFoundError):
                return self._new.open(name)
        return _Member(self._path, *self._find(name))

    def write(self, name: str, content: t.Iterable[bytes]) -> None:
        """Store a file, for ``finish``."""
        with self._lock:
            if self._new is None:
                parent, last = os.path.split(self._path)
                os.makedirs(parent, exist_ok=True)
                self._temporary = tempfile.mkdtemp(prefix=f".{last}.", dir=parent)
                self._new = _Directory(self._temporary)
        self._new.write(name, content)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Others do not see what is written here."""
        return contextlib.nullcontext()

    def finish(self, names: t.Callable[[], t.Iterable[str]]) -> None:
        """Let the archive have these files, unless there is no new index. Archives of the same images are the same, byte for byte."""
        if self._new is None or not os.path.exists(os.path.join(self._temporary, _INDEX)):
            # No image came in whole.
            self.close()
            return
        path = os.path.join(self._temporary, "archive")
        with open(path, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in names():
                staged = os.path.join(self._temporary, name)
                member = tarfile.TarInfo(name)
                member.size = os.stat(staged).st_size if os.path.exists(staged) else self._find(name)[1]
                with self.open(name) as content:
                    archive.addfile(member, content)
                # It is in the archive: the disk need not hold it twice.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged)
        os.replace(path, self._path)
        self.close()

    def close(self) -> None:
        """Forget what was written since the last ``finish``."""
        if self._new is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._new = self._members = None
        self._temporary = ""


class Layout:
    """An OCI image layout, with the methods of a ``Registry`` that has one repository. Every method may be called from several threads.

    :param name: ``oci:`` or ``oci-archive:`` and an absolute path, as the ``registry`` of a ``Reference``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        kind, dummy, path = name.partition(":")
        self._files: t.Any = _Directory(path) if kind == "oci" else _Archive(path)
        self._lock = threading.Lock()

    # -- files -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _told(self, what: str) -> t.Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise MissingError(f"{what}: it is not there") from None
        except OSError as exc:
            raise ContainersError(f"{what}: {(exc.strerror or type(exc).__name__).lower()}: check {self.name}") from None
        except tarfile.TarError:
            raise ContainersError(f"{what}: {self.name} is no tar archive, or it is compressed: unpack or uncompress it") from None

    def _open(self, name: str) -> t.Any:
        with self._told(f"{name} of {self.name}"):
            return self._files.open(name)

    def _path_of(self, digest: str) -> str:
        if not is_digest(digest):
            raise ContainersError(f"{self.name}: {digest[:200]!r} is no digest: the image is damaged")
        return "blobs/" + digest.replace(":", "/")

    def _index(self) -> dict[str, t.Any]:
        """The index, which lists nothing if there is no layout yet."""
        try:
            with self._open(_INDEX) as file:
                index = json.loads(file.read())
            items = index["manifests"]
        except MissingError:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        except (ValueError, TypeError, KeyError, RecursionError):
            items = None
        if not isinstance(items, list) or not all(isinstance(item, dict) and is_digest(str(item.get("digest"))) for item in items):
            raise ContainersError(f"{self.name} is no OCI image layout: its index.json is damaged")
        return t.cast("dict[str, t.Any]", index)

    def _entries(self) -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", self._index()["manifests"])

    # -- manifests ---------------------------------------------------------------------------------------------------

    def _found(self, image: Reference) -> list[dict[str, t.Any]]:
        """What the index says of an image; without tag and digest, of the only one."""
        entries = self._entries()
        if image.digest:
            return [entry for entry in entries if entry["digest"] == image.digest] or [{"digest": image.digest}]
        if image.tag:
            found = [entry for entry in entries if _ref_name(entry) == image.tag]
            # podman writes whole names: localhost/app:latest.
            found = found or [entry for entry in entries if _ref_name(entry).rpartition(":")[2] == image.tag]
        else:
            found = entries
        if len({entry["digest"] for entry in found}) > 1:
            names = ", ".join(sorted(_ref_name(entry) or entry["digest"] for entry in found))
            raise ContainersError(f"{image} may be each of {names}: name one, by its tag or by its digest")
        return found

    def resolve(self, image: Reference) -> Descriptor | None:
        """What a tag names, or the only image if there is neither tag nor digest; ``None`` if it is not there.

        :raises ContainersError: it cannot be read, or there are several.
        """
        manifest = self.manifest(image)
        return manifest and Descriptor(manifest.media_type, manifest.digest, len(manifest.content))

    def manifest(self, image: Reference) -> Manifest | None:
        """The manifest of an image, checked against its digest; ``None`` if it is not there.

        :raises ContainersError: it cannot be read, it is damaged, or there are several.
        """
        found = self._found(image)
        if not found:
            return None
        digest = found[0]["digest"]
        try:
            with self._open(self._path_of(digest)) as file:
                content = file.read()
        except MissingError:
            return None
        if digest_of(content, digest.split(":", 1)[0]) != digest:
            raise ContainersError(f"{self.name}: the manifest {digest} is damaged")
        manifest = Manifest(OCI_MANIFEST, content, digest)
        guess = OCI_INDEX if "manifests" in manifest.json else OCI_MANIFEST
        return Manifest(str(found[0].get("mediaType") or manifest.json.get("mediaType") or guess), content, digest)

    def put_manifest(self, image: Reference, manifest: Manifest) -> None:
        """Store a manifest as a part of another one: no tag names it.

        :raises ContainersError: it cannot be written.
        """
        self._write(self._path_of(manifest.digest), [manifest.content])

    def name_manifest(self, image: Reference, manifest: Manifest) -> None:
        """Store a manifest, and list it in the index: under the tag, instead of what that named before.

        :raises ContainersError: it cannot be written.
        """
        self.put_manifest(image, manifest)
        entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}
        if image.tag:
            entry["annotations"] = {REF_NAME: image.tag}
        with self._lock, self._told(f"index.json of {self.name}"), self._files.alone():
            index = self._index()
            entries = index["manifests"]
            if image.tag:
                entries = [other for other in entries if _ref_name(other) != image.tag]
            elif any(other["digest"] == manifest.digest for other in entries):
                return
            # In an order that does not depend on which image came first.
            index["manifests"] = sorted([*entries, entry], key=lambda item: (_ref_name(item), item["digest"]))
            self._write(_VERSION, [b'{"imageLayoutVersion":"1.0.0"}'])
            self._write(_INDEX, [json.dumps(index, separators=(",", ":")).encode()])

    def tags(self, repository: Reference) -> list[str]:
        """All tags that the index names."""
        return [_ref_name(entry) for entry in self._entries() if is_tag(_ref_name(entry))]

    def referrers(self, image: Reference) -> None:
        """A layout has no list of referrers but that under a tag (distribution-spec, "Referrers Tag Schema")."""

    def connect(self) -> None:
        """It is there or not: that is seen when it is read."""

    def grant(self, *dummy: object) -> None:
        """Who may read and write the files may do that."""

    # -- blobs -------------------------------------------------------------------------------------------------------

    def read_blob(self, repository: Reference, digest: str, size: int) -> t.Iterator[bytes]:
        """A blob, in parts, as ``verified`` gives them.

        :raises ContainersError: it is not there, or damaged.
        """
        path = self._path_of(digest)

        def parts() -> t.Iterator[bytes]:
            try:
                opened = self._open(path)
            except MissingError as exc:
                # The image is there, but not whole.
                raise ContainersError(f"{exc}: the image is damaged") from None
            with opened as file, self._told(f"read of {digest} of {self.name}"):
                while True:
                    part = file.read(_PART)
                    if not part:
                        return
                    yield part

        return verified(parts(), digest, size, f"blob {digest} of {self.name}")

    def has_blob(self, repository: Reference, digest: str) -> bool:
        """Whether it has a blob."""
        try:
            self._open(self._path_of(digest)).__exit__(None, None, None)
        except MissingError:
            return False
        return True

    def place_blob(self, repository: Reference, digest: str, source: Reference | None = None) -> str:
        """Where to store a blob; nothing if it is there."""
        return "" if self.has_blob(repository, digest) else self._path_of(digest)

    def upload_blob(self, repository: Reference, location: str, digest: str, body: t.Iterable[bytes]) -> None:
        """Store a blob.

        :param body: its bytes; the last of them only if all are right.
        :raises ContainersError: it cannot be written.
        """
        self._write(self._path_of(digest), body)

    def _write(self, name: str, content: t.Iterable[bytes]) -> None:
        with self._told(f"write of {name} of {self.name}"):
            self._files.write(name, content)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let an archive have what was written, and what it had before, but no blob that no image needs.

        :raises ContainersError: it cannot be written; then the archive is what it was.
        """
        with self._lock, self._told(f"write of {self.name}"):
            self._files.finish(lambda: list(self._needed()))

    def _needed(self) -> t.Iterator[str]:
        repository = Reference(self.name, "")
        yield from (_VERSION, _INDEX)
        seen: set[str] = set()
        level = [str(entry["digest"]) for entry in self._entries()]
        while level:
            digests = [digest for digest in dict.fromkeys(level) if digest not in seen]
            seen.update(digests)
            level = []
            for digest in digests:
                manifest = self.manifest(repository.with_digest(digest))
                if manifest is None:
                    continue
                yield self._path_of(digest)
                level += [child.digest for child in manifest.children]
                blobs = [blob.digest for blob in manifest.blobs if blob.digest not in seen]
                for blob in dict.fromkeys(blobs):
                    seen.add(blob)
                    if self.has_blob(repository, blob):
                        yield self._path_of(blob)

    def close(self) -> None:
        """Remove what was written and not finished."""
        self._files.close()


def _ref_name(entry: t.Mapping[str, t.Any]) -> str:
    annotations = entry.get("annotations")
    return str(annotations.get(REF_NAME) or "") if isinstance(annotations, dict) else ""
