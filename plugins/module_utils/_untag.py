# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Removing tags, and never anything else: no image that another tag names is lost, and none that another one needs."""

from __future__ import annotations

import dataclasses
import re
import time
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    created,
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
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    DOCKER_LIST,
    OCI_INDEX,
    Manifest,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._selection import (
    Rule,
    Verdict,
    judge_all,
    protect,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Removal,
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import (
    Vendors,
)

_INDEXES = (OCI_INDEX, DOCKER_LIST)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which tags of a repository to remove: those named, or those that a rule tells."""

    repository: Reference
    tags: tuple[str, ...] = ()
    rule: Rule | None = None


def select(
    vendors: Vendors,
    selections: t.Sequence[Selection],
    protected: t.Container[tuple[str, str]] = (),
    settle: t.Callable[[Removal], Removal] = lambda removal: removal,
) -> list[Removal]:
    """Find out what is to be removed. Nothing is written. Of what a registry could not tell the action is ``failed``.

    :param protected: repository names and tags that are kept whatever the selections say.
    :param settle: has the last word on each tag that was named.
    """
    groups: dict[Reference, list[Selection]] = {}
    for selection in selections:
        groups.setdefault(selection.repository, []).append(selection)
    results = []
    for repository, found in zip(groups, vendors.client.try_map(lambda item: _select(vendors, *item, protected, settle), groups.items())):
        results += [Removal(repository, "failed", None, str(found))] if isinstance(found, ContainersError) else found
    return results


def _select(
    vendors: Vendors,
    repository: Reference,
    selections: t.Sequence[Selection],
    protected: t.Container[tuple[str, str]],
    settle: t.Callable[[Removal], Removal],
) -> list[Removal]:
    """As ``select``, for one repository."""
    client = vendors.client
    named = list(dict.fromkeys(tag for selection in selections for tag in selection.tags))
    results: dict[str, Removal] = dict(zip(named, client.map(lambda tag: settle(_named(client, repository.with_tag(tag), protected)), named)))
    rules = [selection.rule for selection in selections if selection.rule]
    if rules:
        try:
            results.update(_ruled(vendors, repository, rules, results, protected))
        except ContainersError as exc:
            if not named:
                raise
            # What was named does not depend on what was not found.
            return [*results.values(), Removal(repository, "failed", None, str(exc))]
    return list(results.values())


def _named(client: Client, image: Reference, protected: t.Container[tuple[str, str]]) -> Removal:
    if (image.name, image.tag) in protected:
        return Removal(image, "kept", None, "it is protected")
    try:
        found = client.registry(image).resolve(image)
    except ContainersError as exc:
        return Removal(image, "failed", None, str(exc))
    return Removal(image, "remove", found.digest, "named") if found else Removal(image, "absent")


def _ruled(
    vendors: Vendors, repository: Reference, rules: t.Sequence[Rule], named: t.Mapping[str, Removal], protected: t.Container[tuple[str, str]]
) -> dict[str, Removal]:
    """What becomes of the tags that rules match, those that were named left out.

    :raises ContainersError: the registry could not tell all that is to be known.
    """
    client = vendors.client
    listed = {tag.name: tag for tag in vendors.of(repository).tags(repository)}
    matching = [name for name in listed if name not in named and any(rule.regex.search(name) for rule in rules)]
    open_ = [name for name in matching if (repository.name, name) not in protected]
    looks = dict(zip(open_, client.try_map(lambda name: _age(client, repository, listed[name]), open_)))
    results = {name: Removal(repository.with_tag(name), "failed", None, str(look)) for name, look in looks.items() if isinstance(look, ContainersError)}
    tags = {name: look for name, look in looks.items() if isinstance(look, Tag)}
    verdicts = judge_all(rules, {name: tag.pushed for name, tag in tags.items() if tag.digest}, time.time())
    if any(verdict.goes for verdict in verdicts.values()):
        gone = {name for name, removal in named.items() if removal.action == "remove"}
        verdicts = _protect(client, repository, {name: tags.get(name, tag) for name, tag in listed.items() if name not in gone}, verdicts)
    going = [name for name, verdict in verdicts.items() if verdict.goes and listed[name].digest]
    for name, found in zip(going, client.map(lambda name: client.registry(repository).resolve(repository.with_tag(name)), going)):
        # What the list said may be a moment old.
        if found is None:
            del verdicts[name]
        elif found.digest != tags[name].digest:
            tags[name] = dataclasses.replace(tags[name], digest=found.digest)
            verdicts[name] = Verdict(False, "another image was pushed meanwhile")
    for name in matching:
        image = repository.with_tag(name)
        if name not in open_:
            results[name] = Removal(image, "kept", None, "it is protected")
        elif name in verdicts:
            results[name] = Removal(image, "remove" if verdicts[name].goes else "kept", tags[name].digest, verdicts[name].reason)
        elif name not in results:
            results[name] = Removal(image, "absent")
    return results


def _age(client: Client, repository: Reference, tag: Tag) -> Tag:
    """A tag with its digest and its age; that of its image where the list does not tell when it was pushed."""
    if tag.pushed is not None and tag.digest:
        return tag
    image = repository.with_tag(tag.name)
    registry = client.registry(image)
    manifest = registry.manifest(image)
    if manifest is None:
        return dataclasses.replace(tag, digest=None)
    found = dataclasses.replace(tag, digest=manifest.digest, media_type=manifest.media_type, children=_children(manifest))
    if tag.pushed is not None and tag.digest in (None, manifest.digest):
        return found
    try:
        return dataclasses.replace(found, pushed=created(registry, image, manifest))
    except RegistryError as exc:
        if exc.status == 404:
            # A part of the image is missing. That is no reason to believe that it is old.
            return dataclasses.replace(found, pushed=None)
        raise


def _children(manifest: Manifest) -> tuple[str, ...] | None:
    """What an index lists; ``None`` if there is another index among it, which lists more."""
    children = manifest.children
    return None if any(child.media_type in _INDEXES for child in children) else tuple(child.digest for child in children)


def _protect(client: Client, repository: Reference, tags: t.Mapping[str, Tag], verdicts: t.Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Find out what the tags that stay need, and take that out of what goes.

    :param tags: all that are in the repository, without those that go because they were named.
    :raises ContainersError: it cannot be found out.
    """
    registry = client.registry(repository)

    def complete(tag: Tag) -> Tag:
        """A tag with its digest and children."""
        if tag.digest and tag.children is not None:
            return tag
        if not tag.digest or not tag.media_type:
            found = registry.resolve(repository.with_tag(tag.name))
            if found is None:
                return dataclasses.replace(tag, digest=None, children=())
            tag = dataclasses.replace(tag, digest=found.digest, media_type=found.media_type)
        return dataclasses.replace(tag, children=read(t.cast(str, tag.digest)) if tag.media_type in _INDEXES else ())

    def read(digest: str) -> tuple[str, ...]:
        """All that an index lists, and the indexes that it lists."""
        found: dict[str, None] = {}
        left = [digest]
        while left:
            manifest = registry.manifest(repository.with_digest(left.pop()))
            for child in manifest.children if manifest else ():
                if child.digest not in found:
                    found[child.digest] = None
                    if child.media_type in _INDEXES:
                        left.append(child.digest)
        return tuple(found)

    def referrers(digest: str) -> list[str]:
        return [str(item.get("digest")) for item in registry.referrers(repository.with_digest(digest)) or []]

    known = {tag.name: tag for tag in client.map(complete, tags.values())}
    digests = {name: tag.digest for name, tag in known.items()}
    needs: dict[str, set[str]] = {}
    for tag in known.values():
        if tag.digest:
            needs.setdefault(tag.digest, set()).update(tag.children or ())
    going = sorted({t.cast(str, digests[name]) for name, verdict in verdicts.items() if verdict.goes and digests[name]})
    for digest, found in zip(going, client.map(referrers, going)):
        for referrer in found:
            needs.setdefault(referrer, set()).add(digest)
    return protect(verdicts, digests, needs)


def remove(vendors: Vendors, removals: t.Sequence[Removal]) -> list[Removal]:
    """Carry out what ``select`` found: every removal is returned, those with the action ``remove`` with what became of them."""
    groups: dict[Reference, dict[str, str]] = {}
    for removal in removals:
        if removal.action == "remove":
            repository = dataclasses.replace(removal.image, tag=None)
            groups.setdefault(repository, {})[t.cast(str, removal.image.tag)] = t.cast(str, removal.digest)
    results = {result.image: result for result in remove_all(vendors, groups)}
    return [results.get(removal.image, removal) for removal in removals]


def remove_all(vendors: Vendors, tags: t.Mapping[Reference, t.Mapping[str, str]]) -> list[Removal]:
    """Remove tags of many repositories, those of each at once.

    :param tags: by their repositories, each tag with the digest that it names.
    """
    done = vendors.client.map(lambda group: vendors.of(group[0]).remove(*group), tags.items())
    return [removal for removals in done for removal in removals]


def refuse(vendors: Vendors, repositories: t.Iterable[Reference]) -> None:
    """Refuse repositories from which no tag can be removed, before anything is written.

    :raises RegistryError: there is one; the message says why.
    """
    unique = list(dict.fromkeys(repositories))
    for repository, reason in zip(unique, vendors.client.map(lambda one: vendors.of(one).refusal(one), unique)):
        if reason:
            raise RegistryError(f"{repository.name}: no tags can be removed: {reason}")


def untag(client: Client, selections: t.Sequence[Selection], check_mode: bool = False) -> list[Removal]:
    """Select tags and remove them.

    :raises RegistryError: a tag could not be removed; ``result`` has the state of each.
    """
    vendors = Vendors(client)
    removals = select(vendors, selections)
    check_removed(removals)
    repositories = list(dict.fromkeys(dataclasses.replace(removal.image, tag=None) for removal in removals if removal.action == "remove"))
    refuse(vendors, repositories)
    if not check_mode:
        for repository in repositories:
            # Not before: Quay and GitLab make a repository of whatever name somebody asks to push to.
            client.registry(repository).grant(repository, ("pull", "push", "delete"))
        removals = remove(vendors, removals)
        check_removed(removals)
    return removals


def check_removed(removals: t.Sequence[Removal]) -> None:
    """Raise if a tag could not be removed.

    :raises RegistryError: the message is of the first such tag, ``result`` has the state of each.
    """
    failed = [removal for removal in removals if removal.action == "failed"]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        reason = failed[0].reason if str(failed[0].image) in failed[0].reason else f"{failed[0].image}: {failed[0].reason}"
        error = RegistryError(f"cannot remove {reason}{more}")
        error.result = {"images": [removal.to_dict() for removal in removals], "changed": any(removal.action == "removed" for removal in removals)}
        raise error


def parse_selections(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Selection]:
    """Selections from what a user gave as ``images``.

    :raises InputError: a name, tag or expression is malformed.
    """
    found = []
    for number, item in enumerate(items):
        repository = Reference.parse_repository(item["repository"])
        where = f"images[{number}] ({repository.name})"
        older_than, keep = item.get("older_than"), item.get("keep") or 0
        if older_than is not None and older_than < 0:
            raise InputError(f"{where}: older_than is to be a number of seconds, not {older_than}")
        if keep < 0:
            raise InputError(f"{where}: keep is to be how many of the newest tags stay, not {keep}")
        rule = None
        if item.get("regex") is not None:
            if older_than is None and not keep:
                raise InputError(f"{where}: regex needs older_than or keep, else all tags that match would go")
            rule = Rule(compile_regex(item["regex"], where), older_than, keep)
        tags = tuple(check_tag(tag, f"{where}: tag") for tag in item.get("tags") or ())
        found.append(Selection(repository, tags, rule))
    return found


def compile_regex(text: str, where: str) -> re.Pattern[str]:
    """A regular expression.

    :raises InputError: it is none.
    """
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as exc:
        raise InputError(f"{where}: regex is no regular expression: {exc}") from None


def diff_of(removals: t.Iterable[Removal]) -> dict[str, t.Any]:
    """What the tags name before and after, as Ansible's diff; below it what stays, and why."""
    going = [removal for removal in removals if removal.action in ("remove", "removed")]
    return {
        "before": {str(removal.image): removal.digest for removal in going},
        "after": {str(removal.image): None for removal in going},
        "prepared": "".join(f"  {removal.image} stays: {removal.reason}\n" for removal in removals if removal.action == "kept"),
    }


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    selections = parse_selections(params["images"])
    urls = {Reference.parse_repository(item["repository"]).registry: item["api_url"] for item in params["images"] if item.get("api_url")}
    credentials = Credentials(params["credentials"], urls)
    for selection in selections:
        credentials.check_target(selection.repository)
    with open_client(params, credentials, ("pull",)) as client:
        removals = untag(client, selections, check_mode)
        going = sum(removal.action in ("remove", "removed") for removal in removals)
        kept = sum(removal.action == "kept" for removal in removals)
        return {
            "changed": bool(going),
            "msg": f"{'would remove' if check_mode else 'removed'} {count(going, 'tag')}, kept {kept}, {count(client.requests, 'request')}",
            "images": [removal.to_dict() for removal in removals],
            "requests": client.requests,
            "diff": diff_of(removals),
        }


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
                "older_than": {"type": "int"},
                "keep": {"type": "int"},
                "api_url": {"type": "str"},
            },
            "mutually_exclusive": [["tags", "regex"]],
            "required_one_of": [["tags", "regex"]],
            "required_by": {"older_than": "regex", "keep": "regex"},
        },
        **client_arguments(),
    },
    run=_run,
)
