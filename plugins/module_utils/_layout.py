# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Reading an image from an OCI image layout (image-spec, "OCI Image Layout Specification")."""

from __future__ import annotations

import contextlib
import json
import pathlib
import tarfile
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Descriptor,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    is_digest,
)


class Layout:
    """The one image of a layout.

    :param path: the layout's directory, or a tar archive of it, which is not unpacked.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def _open(self, name: str) -> t.Iterator[t.BinaryIO]:
        with contextlib.ExitStack() as stack:
            try:
                if self._path.is_dir():
                    file: t.Any = stack.enter_context((self._path / name).open("rb"))
                else:
                    file = stack.enter_context(tarfile.open(self._path, "r:")).extractfile(name)
                    if file is None:
                        raise KeyError(name)
            except (OSError, KeyError, tarfile.TarError) as exc:
                raise ContainersError(f"{self._path} is no OCI image layout: {name} is not in it ({type(exc).__name__})") from None
            # What happens to the reader is not the layout's error: those of requests are OSErrors too.
            yield file

    def open(self, digest: str) -> contextlib.AbstractContextManager[t.BinaryIO]:
        """A blob, to be read. May be called from several threads.

        :raises ContainersError: the layout has no such blob.
        """
        if not is_digest(digest):
            raise ContainersError(f"{self._path}: {digest[:200]!r} is no digest: the image is damaged")
        return self._open("blobs/" + digest.replace(":", "/"))

    @property
    def root(self) -> Manifest:
        """The manifest or index that the layout's ``index.json`` names.

        :raises ContainersError: there is none, or more than one.
        """
        with self._open("index.json") as file:
            try:
                items = json.load(file)["manifests"]
                found = {item["digest"]: Descriptor(item["mediaType"], item["digest"]) for item in items}
            except (ValueError, TypeError, KeyError):
                raise ContainersError(f"{self._path} is no OCI image layout: its index.json is damaged") from None
        if len(found) != 1:
            raise ContainersError(f"{self._path}: its index.json names {len(found)} images instead of one")
        return self.manifest(next(iter(found.values())))

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """A manifest, checked against its digest.

        :raises ContainersError: it is not there, or damaged.
        """
        with self.open(descriptor.digest) as file:
            content = file.read()
        if digest_of(content, descriptor.digest.split(":", 1)[0]) != descriptor.digest:
            raise ContainersError(f"{self._path}: the manifest {descriptor.digest} is damaged")
        return Manifest(descriptor.media_type, content, descriptor.digest)
