# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Names of images: ``registry/repository[:tag][@digest]``."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
)

# The grammars are those of the OCI distribution-spec ("Pulling manifests": <name>, <reference>)
# and image-spec ("Digests"); 255 characters is the limit that every client and registry shares.
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]{32,}", re.ASCII)
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*", re.ASCII)
_REGISTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LAYOUTS = ("oci:", "oci-archive:")


def is_tag(text: str) -> bool:
    """Whether the text is a tag: 1 to 128 of ``[A-Za-z0-9._-]``, not starting with ``.`` or ``-``."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text is a digest: ``algorithm:encoded``, for sha256 and sha512 lower-case hex of the right length."""
    if not _DIGEST.fullmatch(text):
        return False
    algorithm, encoded = text.split(":", 1)
    length = _HEX_LENGTH.get(algorithm)
    return length is None or re.fullmatch(f"[a-f0-9]{{{length}}}", encoded) is not None


def check_tag(text: t.Any, what: str = "tag") -> str:
    """Return the text if it is a tag.

    :raises InputError: it is not; the message says why.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} {text!r} is a {type(text).__name__}, not a text: put it in quotes")
    if len(text) > 128:
        raise InputError(f"{what} {text!r} has {len(text)} characters, a registry allows 128: shorten the tag or the staging prefix")
    if not is_tag(text):
        raise InputError(f"{what} {text!r} is not a tag: it may hold letters, digits, '_', '.' and '-', and not start with '.' or '-'")
    return text


@dataclasses.dataclass(frozen=True)
class Reference:
    """The name of an image, or of a repository when it has neither tag nor digest.

    :param registry: host name, IPv4 or bracketed IPv6 address, with ``:port`` if one was given; of an image in an OCI image layout
        ``oci:`` or ``oci-archive:`` and the absolute path.
    :param repository: the path on that registry (OCI distribution-spec: ``<name>``); empty for a layout, which is one repository.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: t.Any) -> Reference:
        """Parse a reference; ``docker://`` in front is allowed.

        The registry must be named. As in every container tool, the first part is a registry when it holds a dot or
        a port, or is ``localhost`` or a bracketed IPv6 address; Docker Hub's official images are below ``library/``.

        :raises InputError: the text is no such reference.
        """
        if not isinstance(text, str) or not text:
            raise InputError(f"{text!r} is not the name of an image, such as quay.io/example/image:latest")
        rest = text[len("docker://") :] if text.startswith("docker://") else text
        registry, slash, rest = rest.partition("/")
        if not slash or not _names_registry(registry):
            raise InputError(f"{text!r} does not name its registry: write it in front, as in docker.io/library/busybox or localhost:5000/image")
        _check_registry(registry, text)
        rest, at, digest = rest.partition("@")
        if at and not is_digest(digest):
            raise InputError(f"{text!r} has a malformed digest: {digest!r}")
        repository, colon, tag = rest.partition(":")
        if colon:
            check_tag(tag, f"in {text!r} the tag")
        if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
            raise InputError(
                f"{text!r} has a malformed repository {repository!r}: it is made of lower-case letters and digits,"
                " single '.', '_', '__' or dashes between them, and '/', 255 characters at most"
            )
        registry = normal_registry(registry)
        if registry == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, tag or None, digest or None)

    @classmethod
    def parse_repository(cls, text: t.Any) -> Reference:
        """Parse the name of a repository, which has neither tag nor digest.

        :raises InputError: the text is no such name.
        """
        reference = cls.parse(text)
        if reference.tag or reference.digest:
            raise InputError(f"{text!r} is to name a repository, without a tag or digest")
        return reference

    @classmethod
    def parse_place(cls, text: t.Any) -> Reference:
        """Parse a reference, or the name of an image in an OCI image layout: ``oci:DIRECTORY[:tag]``, ``oci-archive:FILE[:tag]``.

        Both may end with ``@digest``. A path may be relative, or begin with ``~``.

        :raises InputError: the text is neither.
        """
        if not isinstance(text, str) or not text.startswith(_LAYOUTS):
            return cls.parse(text)
        kind, dummy, rest = text.partition(":")
        before, dummy, digest = rest.rpartition("@")
        rest, digest = (before, digest) if is_digest(digest) else (rest, "")
        path, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            path, tag = rest, ""
        else:
            check_tag(tag, f"in {text!r} the tag")
        if not path or not _is_path(path):
            raise InputError(f"{text!r} names no {'directory' if kind == 'oci' else 'file'}: write {kind}:PATH or {kind}:PATH:TAG")
        found = cls(f"{kind}:{os.path.abspath(os.path.expanduser(path))}", "", tag or None, digest or None)
        # oci:/a:b/ would be called oci:/a:b, which is another image.
        if str(found) != text and cls.parse_place(str(found)) != found:
            raise InputError(f"{text!r} has a path that ends as if with a tag or a digest: use another one")
        return found

    @property
    def is_layout(self) -> bool:
        """Whether it names an image in an OCI image layout, not in a registry."""
        return not self.repository

    @property
    def name(self) -> str:
        """``registry/repository``, the form in which users write a repository."""
        return f"{self.registry}/{self.repository}" if self.repository else self.registry

    def with_tag(self, tag: str) -> Reference:
        """The image of this repository with that tag."""
        return dataclasses.replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The image of this repository with that digest."""
        return dataclasses.replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _is_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def normal_registry(registry: str) -> str:
    """The one name of a registry: in lower case, and ``docker.io`` for each of Docker Hub's."""
    registry = registry.lower()
    return "docker.io" if registry in ("index.docker.io", "registry-1.docker.io") else registry


def _names_registry(text: str) -> bool:
    return text == "localhost" or "." in text or ":" in text


def split_registry(registry: str) -> tuple[str, int | None]:
    """Host (without brackets) and port of a registry's name.

    :raises InputError: it is not a registry's name.
    """
    found = _REGISTRY.fullmatch(registry)
    if found:
        host = found["host"]
        port = int(found["port"]) if found["port"] else None
        if port is None or 0 < port < 65536:
            if host.startswith("["):
                try:
                    return str(ipaddress.IPv6Address(host[1:-1])), port
                except ValueError:
                    pass
            elif _HOST_NAME.fullmatch(host):
                return host.lower(), port
    raise InputError(f"{registry!r} is not the name of a registry, such as quay.io, localhost:5000 or [::1]:5000")


def _check_registry(registry: str, text: str) -> None:
    try:
        split_registry(registry)
    except InputError as exc:
        raise InputError(f"{text!r} has a malformed registry: {exc}") from None


def is_loopback(registry: str) -> bool:
    """Whether a registry is on this machine by its name alone: ``localhost``, 127/8 or ``::1``."""
    host = split_registry(registry)[0]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
