# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The list of images to mirror: ``mirror_container_images_images``."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._copy import (
    Copy,
    check_copies,
    copy_all,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    open_client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    check_keys,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
    is_digest,
    normal_registry,
)

_KEYS = (
    "src_repository", "src_tag", "src_tags", "src_digest", "dest_repository", "dest_tag", "dest_registry", "destinations", "platforms", "referrers",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mirror:
    """One item of the list.

    :param source: a tag or digest; a repository alone with ``tags``.
    :param tags: what a tag of the source must match (searched); each is mirrored under its own name.
    :param targets: each with its tag, without with ``tags``.
    """

    source: Reference
    tags: re.Pattern[str] | None
    targets: tuple[Reference, ...]
    platforms: tuple[str, ...] = ()
    referrers: bool = True


def parse_mirrors(items: t.Any) -> list[Mirror]:
    """The items that a user gave.

    :raises InputError: one is malformed. The message names it.
    """
    if not isinstance(items, (list, tuple)) or not items:
        raise InputError("mirror_container_images_images is to be a list of images that is not empty")
    return [_parse(f"mirror_container_images_images[{number}]", item) for number, item in enumerate(items)]


def _parse(where: str, item: t.Any) -> Mirror:
    if not isinstance(item, t.Mapping):
        raise InputError(f"{where} is to be a dictionary with src_repository and dest_repository, not a {type(item).__name__}")
    if not item.get("src_repository"):
        raise InputError(f"{where} has no src_repository")
    repository = Reference.parse_repository(item["src_repository"])
    where = f"{where} ({repository.name})"
    check_keys(where, item, _KEYS)
    source, tags = _source(where, repository, item)
    targets = _targets(where, item, source.tag, bool(tags))
    platforms = item.get("platforms") or []
    if not isinstance(platforms, (list, tuple)) or not all(isinstance(platform, str) for platform in platforms):
        raise InputError(f"{where}: platforms is to be a list such as [linux/amd64, linux/arm64]")
    referrers = item.get("referrers", True)
    if not isinstance(referrers, bool):
        raise InputError(f"{where}: referrers is to be true or false")
    return Mirror(source, tags, targets, tuple(platforms), referrers)


def _source(where: str, repository: Reference, item: t.Mapping[str, t.Any]) -> tuple[Reference, re.Pattern[str] | None]:
    given = [key for key in ("src_tag", "src_tags", "src_digest") if item.get(key) is not None]
    if item.get("src_tags") is not None and len(given) > 1:
        raise InputError(f"{where} has src_tags and {given[0] if given[0] != 'src_tags' else given[1]}: give one")
    if item.get("src_tags") is not None:
        try:
            return repository, re.compile(str(item["src_tags"]))
        except re.error as exc:
            raise InputError(f"{where}: src_tags is no regular expression: {exc}") from None
    tag = check_tag(_tag(item.get("src_tag"), "latest"), f"{where}: src_tag")
    digest = item.get("src_digest")
    if digest is None:
        return repository.with_tag(tag), None
    if not isinstance(digest, str) or not is_digest(digest):
        raise InputError(f"{where}: src_digest {digest!r} is no digest, such as sha256: and 64 hexadecimal digits")
    # The tag says what it is to be called; the digest, what it is.
    return dataclasses.replace(repository, tag=tag, digest=digest), None


def _targets(where: str, item: t.Mapping[str, t.Any], tag: str | None, many: bool) -> tuple[Reference, ...]:
    given = item.get("destinations")
    if (given is None) is (item.get("dest_repository") is None):
        raise InputError(f"{where}: give either dest_repository or destinations")
    if given is None:
        given = [{"repository": item["dest_repository"], "tag": item.get("dest_tag")}]
    elif item.get("dest_tag") is not None or not isinstance(given, (list, tuple)) or not given:
        raise InputError(f"{where}: destinations is to be a list of repository and tag that is not empty, and dest_tag goes with dest_repository only")
    targets = []
    for one in given:
        if not isinstance(one, t.Mapping) or set(one) - {"repository", "tag"} or not one.get("repository"):
            raise InputError(f"{where}: each of destinations is to be a dictionary of repository and tag")
        repository = Reference.parse_repository(one["repository"])
        registry = item.get("dest_registry")
        if registry and normal_registry(str(registry)) != repository.registry:
            raise InputError(f"{where}: {repository.name} is not in dest_registry {registry!r}: the repository begins with the registry's name")
        if many:
            if one.get("tag") is not None:
                raise InputError(f"{where}: with src_tags each tag keeps its name: leave the destination's tag out")
            targets.append(repository)
        else:
            targets.append(repository.with_tag(check_tag(_tag(one.get("tag"), tag), f"{where}: dest_tag")))
    return tuple(targets)


def _tag(value: t.Any, default: t.Any) -> t.Any:
    if value is None:
        return default
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def copies_of(client: Client, mirrors: t.Sequence[Mirror]) -> list[Copy]:
    """What is to be copied: of an item with ``src_tags``, each of the tags that are there now.

    If they cannot be listed, or none matches, that is the error of one copy, so that the other items are copied.

    :raises InputError: see ``check_copies``.
    """
    copies = []
    for mirror, tags in zip(mirrors, client.try_map(lambda mirror: _tags(client, mirror), mirrors)):
        if isinstance(tags, ContainersError):
            copies.append(Copy(mirror.source, mirror.targets, error=tags))
        elif mirror.tags is None:
            copies.append(Copy(mirror.source, mirror.targets, mirror.platforms, mirror.referrers))
        else:
            for tag in tags:
                targets = tuple(target.with_tag(tag) for target in mirror.targets)
                copies.append(Copy(mirror.source.with_tag(tag), targets, mirror.platforms, mirror.referrers))
    check_copies([copy for copy in copies if copy.error is None])
    return copies


def _tags(client: Client, mirror: Mirror) -> list[str]:
    if mirror.tags is None:
        return []
    found = [tag for tag in client.registry(mirror.source).tags(mirror.source) if mirror.tags.search(tag)]
    if not found:
        raise ContainersError(f"{mirror.source.name}: none of its tags matches src_tags {mirror.tags.pattern!r}: change the expression")
    return sorted(found)


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    mirrors = parse_mirrors(params["images"])
    credentials = Credentials(params["credentials"])
    for mirror in mirrors:
        for target in mirror.targets:
            credentials.check_target(target)
    with open_client(params, credentials, ("pull",)) as client:
        return copy_all(client, copies_of(client, mirrors), check_mode)


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        **client_arguments(),
    },
    run=_run,
)
