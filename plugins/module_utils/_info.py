# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""What is in repositories: their tags, and what each names. Nothing is changed."""

from __future__ import annotations

import dataclasses
import datetime
import re
import threading
import time
import traceback
import typing as t

try:
    import jmespath
except ImportError:
    JMESPATH_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    JMESPATH_IMPORT_ERROR = None

from ansible_collections.gating.containers.plugins.module_utils._age import (
    image_config,
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    client_arguments,
    count,
    open_client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    CREATED,
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._untag import (
    compile_regex,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import (
    Vendors,
)

_SORTS = ("tag", "created", "pushed", "size")


@dataclasses.dataclass(frozen=True)
class Search:
    """Which tags of a repository are looked for.

    :param tags: those of these names; without, all.
    :param regex: searched in each tag.
    :param newer_than: seconds, as ``older_than``.
    """

    repository: Reference
    tags: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    newer_than: float | None = None
    older_than: float | None = None

    def has_age(self, moment: float | None, now: float) -> bool:
        """Whether something of that time is looked for. Nothing is that has none, or one in the future, if an age is."""
        if self.newer_than is None and self.older_than is None:
            return True
        if moment is None or moment > now:
            return False
        age = now - moment
        return (self.newer_than is None or age < self.newer_than) and (self.older_than is None or age > self.older_than)


@dataclasses.dataclass(frozen=True)
class Details:
    """What an image, or an index, is.

    :param platforms: as ``linux/arm64/v8``.
    :param created: Unix time at which it was built; of an index its annotation, else the newest of its images.
    :param size: bytes of its config and layers; of an index those of all its images.
    :param labels: of an index those that all its images have alike.
    """

    digest: str
    media_type: str
    platforms: tuple[str, ...]
    created: float | None
    size: int | None
    labels: t.Mapping[str, str]
    annotations: t.Mapping[str, t.Any]


class _Reader:
    """Reads images of one repository, each once."""

    def __init__(self, client: Client, repository: Reference) -> None:
        self._registry = client.registry(repository)
        self._repository = repository
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._found: dict[str, Details | None] = {}

    def tag(self, tag: Tag) -> Details | None:
        """What a tag names, ``None`` if it is not there any more."""
        if tag.digest:
            return self._digest(tag.digest)
        # Without reading it, to read once what many tags name.
        found = self._registry.resolve(self._repository.with_tag(tag.name))
        return self._digest(found.digest) if found else None

    def _digest(self, digest: str) -> Details | None:
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            if digest not in self._found:
                manifest = self._registry.manifest(self._repository.with_digest(digest))
                self._found[digest] = manifest and (self._index(manifest) if manifest.is_index else self._image(manifest))
            return self._found[digest]

    def _image(self, manifest: Manifest) -> Details:
        config = image_config(self._registry, self._repository, manifest)
        settings = config.get("config")
        labels = settings.get("Labels") if isinstance(settings, dict) else None
        platform = "/".join(str(config[key]) for key in ("os", "architecture", "variant") if config.get(key))
        sizes = [blob.size for blob in manifest.blobs]
        return Details(
            manifest.digest,
            manifest.media_type,
            (platform,) if platform else (),
            parse_time(config.get("created")) or parse_time(manifest.annotations.get(CREATED)),
            sum(sizes) if min(sizes, default=0) >= 0 else None,
            labels if isinstance(labels, dict) else {},
            manifest.annotations,
        )

    def _index(self, manifest: Manifest) -> Details:
        children = [self._digest(child.digest) for child in manifest.images if child.digest != manifest.digest]
        known = [child for child in children if child]
        whole = len(known) == len(children)
        created = parse_time(manifest.annotations.get(CREATED))
        if created is None and whole and all(child.created for child in known):
            created = max((child.created for child in known if child.created), default=None)
        platforms = [child.platform for child in manifest.images if child.platform] or [name for child in known for name in child.platforms]
        first = known[0].labels if known else {}
        return Details(
            manifest.digest,
            manifest.media_type,
            tuple(dict.fromkeys(platforms)),
            created,
            sum(child.size or 0 for child in known) if whole and all(child.size is not None for child in known) else None,
            {name: value for name, value in first.items() if all(child.labels.get(name) == value for child in known)},
            manifest.annotations,
        )


def find(vendors: Vendors, searches: t.Sequence[Search], details: bool = True) -> list[dict[str, t.Any]]:
    """The tags that are looked for, in the order of the searches and of their registries.

    :param details: whether each image is read; without, only what the registry's list of tags tells is known.
    :raises ContainersError: a registry could not tell.
    """
    return [item for found in vendors.client.map(lambda search: _find(vendors, search, details), searches) for item in found]


def _find(vendors: Vendors, search: Search, details: bool) -> list[dict[str, t.Any]]:
    client, repository = vendors.client, search.repository
    tags = [Tag(name) for name in search.tags] if search.tags else vendors.of(repository).tags(repository)
    now = time.time()
    tags = [tag for tag in tags if search.regex is None or search.regex.search(tag.name)]
    # What the list tells of the age need not be read.
    tags = [tag for tag in tags if tag.pushed is None or search.has_age(tag.pushed, now)]
    reader = _Reader(client, repository)
    timed = search.newer_than is not None or search.older_than is not None

    def look(tag: Tag) -> Details | None:
        return reader.tag(tag) if details or search.tags or (timed and tag.pushed is None) else None

    found = []
    for tag, image in zip(tags, client.map(look, tags)):
        if image is None and (details or search.tags):
            continue
        moment = tag.pushed if tag.pushed is not None else image.created if image else None
        if search.has_age(moment, now):
            found.append(_item(repository, tag, image))
    return found


def _item(repository: Reference, tag: Tag, image: Details | None) -> dict[str, t.Any]:
    """The form in which the module returns a tag."""
    size = image.size if image and image.size is not None else tag.size
    return {
        "repository": repository.name,
        "tag": tag.name,
        "digest": image.digest if image else tag.digest,
        "media_type": image.media_type if image else tag.media_type,
        "platforms": list(image.platforms) if image else None,
        "created": _date(image.created if image else None),
        "pushed": _date(tag.pushed),
        "size": size,
        "labels": dict(image.labels) if image else None,
        "annotations": dict(image.annotations) if image else None,
    }


def _date(moment: float | None) -> str | None:
    """A time in RFC 3339's form, which sorts as a text."""
    return None if moment is None else datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def sort(items: t.Sequence[dict[str, t.Any]], order: str) -> list[dict[str, t.Any]]:
    """Sort tags by one of their keys, with ``-`` in front the other way round. What is not known comes last. Tags are sorted as versions."""
    key = order.lstrip("-")

    def value(item: dict[str, t.Any]) -> t.Any:
        return _version(item[key]) if key == "tag" else item[key]

    known = [item for item in items if item[key] is not None]
    return sorted(known, key=value, reverse=order.startswith("-")) + [item for item in items if item[key] is None]


def _version(tag: str) -> list[tuple[int, int, str]]:
    """Sorts 1.10 after 1.9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", tag) if part]


def parse_searches(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Search]:
    """Searches from what a user gave as ``images``.

    :raises InputError: a name, tag or expression is malformed.
    """
    found = []
    for number, item in enumerate(items):
        repository = Reference.parse_repository(item["repository"])
        where = f"images[{number}] ({repository.name})"
        for key in ("newer_than", "older_than"):
            if item.get(key) is not None and item[key] < 0:
                raise InputError(f"{where}: {key} is to be a number of seconds, not {item[key]}")
        tags = tuple(check_tag(tag, f"{where}: tag") for tag in item.get("tags") or ())
        regex = compile_regex(item["regex"], where) if item.get("regex") else None
        found.append(Search(repository, tags, regex, item.get("newer_than"), item.get("older_than")))
    return found


def compile_query(text: str | None) -> t.Callable[[t.Any], t.Any] | None:
    """A function that evaluates a JMESPath expression.

    :raises InputError: it is none, or JMESPath is not installed.
    """
    if not text:
        return None
    if JMESPATH_IMPORT_ERROR:
        raise InputError("query needs the Python library jmespath: install it where this runs")
    try:
        compiled = jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as exc:
        raise InputError(f"query is no JMESPath expression: {_line(exc)}") from None

    def search(content: t.Any) -> t.Any:
        try:
            return compiled.search(content)
        except jmespath.exceptions.JMESPathError as exc:
            raise InputError(f"query cannot be evaluated: {_line(exc)}") from None

    return search


def _line(exc: Exception) -> str:
    return re.sub(r"\s+", " ", str(exc)).strip()


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    searches = parse_searches(params["images"])
    query = compile_query(params["query"])
    credentials = Credentials(params["credentials"])
    with open_client(params, credentials, ("pull",)) as client:
        items = find(Vendors(client), searches, params["details"])
        if params["sort"]:
            items = sort(items, params["sort"])
        result = {
            "changed": False,
            "msg": f"found {count(len(items), 'tag')}, {count(client.requests, 'request')}",
            "images": items,
            "requests": client.requests,
        }
        return {**result, "result": query(result)} if query else result


ENTRY = Entry(
    arguments={
        "images": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "repository": {"type": "str", "required": True},
                "tags": {"type": "list", "elements": "str"},
                "regex": {"type": "str"},
                "newer_than": {"type": "int"},
                "older_than": {"type": "int"},
            },
        },
        "details": {"type": "bool", "default": True},
        "sort": {"type": "str", "choices": [sign + key for key in _SORTS for sign in ("", "-")]},
        "query": {"type": "str"},
        **client_arguments(),
    },
    run=_run,
)
