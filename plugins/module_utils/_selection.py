# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Which tags of a repository go and which stay: rules over plain values, without any request."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._age import (
    is_older,
)
from ansible_collections.gating.containers.plugins.module_utils._referrers import (
    fallback_tag,
)

# A tag that belongs to a digest: a registry without the referrers API keeps a list there (distribution-spec, "Referrers Tag
# Schema"), cosign with an ending its signatures, attestations and SBOMs.
_OF_DIGEST = re.compile(r"([a-z0-9]+-[a-zA-Z0-9]{32,64})(?:\.[a-z]+)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which of the tags that match go.

    :param regex: searched in each tag.
    :param older_than: seconds; without, the age does not matter.
    :param keep: how many of the newest stay.
    """

    regex: re.Pattern[str]
    older_than: float | None = None
    keep: int = 0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a tag goes, and why or why not.

    :param always: whether it stays whatever another rule says.
    """

    goes: bool
    reason: str
    always: bool = dataclasses.field(default=False, compare=False)


def judge(rule: Rule, ages: t.Mapping[str, float | None], now: float) -> dict[str, Verdict]:
    """Judge the tags that match a rule. What is not known to be old stays, and so do the newest of those whose age is known.

    Of the tags that belong to no digest as many stay too: let a rule match signatures, and they take no image's place.

    :param ages: the Unix times of all tags that match, ``None`` where it is not known.
    """
    # A date in the future tells nothing, so it does not count among the newest either.
    known = {tag: moment for tag, moment in ages.items() if moment is not None and moment <= now}
    order = sorted(known, key=lambda tag: (known[tag], tag), reverse=True)
    # Signatures follow their images, and take none of their places.
    images = [tag for tag in order if not _OF_DIGEST.fullmatch(tag)]
    newest = {*order[: rule.keep], *images[: rule.keep]}

    def verdict(tag: str) -> Verdict:
        if tag not in known:
            return Verdict(False, "its age is not known" if ages[tag] is None else "its date is in the future", True)
        if rule.older_than is not None and not is_older(known[tag], rule.older_than, now):
            return Verdict(False, f"it is not older than {rule.older_than:g} seconds", tag in newest)
        if tag in newest:
            return Verdict(False, f"it is one of the newest {rule.keep} that match" if rule.keep > 1 else "it is the newest that matches", True)
        return Verdict(True, f"older than {rule.older_than:g} seconds" if rule.older_than is not None else f"not one of the newest {rule.keep} that match")

    return {tag: verdict(tag) for tag in ages}


def judge_all(rules: t.Sequence[Rule], ages: t.Mapping[str, float | None], now: float) -> dict[str, Verdict]:
    """Judge tags by several rules: one goes if any of them says so, unless it is one of another's newest.

    :param ages: as for ``judge``, of the tags that match any rule.
    """
    found: dict[str, Verdict] = {}
    for rule in rules:
        for tag, verdict in judge(rule, {tag: moment for tag, moment in ages.items() if rule.regex.search(tag)}, now).items():
            before = found.get(tag)
            if before is None or verdict.always or (verdict.goes and not before.always):
                found[tag] = verdict
    return found


def belongs_to(tag: str, digest: str) -> bool:
    """Whether a tag belongs to a digest by its name."""
    found = _OF_DIGEST.fullmatch(tag)
    return found is not None and found[1] == fallback_tag(digest)


def protect(verdicts: t.Mapping[str, Verdict], digests: t.Mapping[str, str | None], needs: t.Mapping[str, t.Collection[str]]) -> dict[str, Verdict]:
    """Take out of what goes all that something needs that stays.

    An index needs the manifests that it lists, a referrer and a tag that belongs to a digest need the image, and an image needs the
    tags that belong to it. A tag whose image stays under another tag may go.

    :param verdicts: of the tags that were judged; all others stay.
    :param digests: what each tag of the repository names.
    :param needs: by the digest of a manifest those that it cannot do without.
    """
    found = dict(verdicts)
    stems = {fallback_tag(digest): digest for digest in (*digests.values(), *needs, *(other for others in needs.values() for other in others)) if digest}
    subjects = {tag: stems.get(match[1]) for tag in digests for match in [_OF_DIGEST.fullmatch(tag)] if match}
    while True:
        going = [tag for tag, verdict in found.items() if verdict.goes]
        staying = [tag for tag in digests if not (tag in found and found[tag].goes)]
        safe = {digests[tag] for tag in staying if digests[tag]}
        needed: dict[str, str] = {}
        for tag in staying:
            for digest in (*_closure(digests[tag], needs), subjects.get(tag)):
                if digest:
                    needed.setdefault(digest, tag)
        kept = {}
        held = safe.union(*(_closure(digest, needs) for digest in safe))
        lost = {digest: tag for tag in staying if (digest := subjects.get(tag)) and digest not in held}
        for tag in going:
            digest = digests.get(tag)
            child = next((other for other in _closure(digest, needs) if other in lost), None)
            if digest in needed and digest not in safe:
                kept[tag] = Verdict(False, f"the tag {needed[digest]} needs its image")
            elif child:
                kept[tag] = Verdict(False, f"the tag {lost[child]} needs {child}, which is a part of its image")
            elif subjects.get(tag) in safe or subjects.get(tag) in needed:
                kept[tag] = Verdict(False, f"it belongs to {subjects[tag]}, which stays")
        if not kept:
            return found
        found.update(kept)


def _closure(digest: str | None, needs: t.Mapping[str, t.Collection[str]]) -> list[str]:
    """All that a manifest needs, without itself."""
    found: dict[str, None] = {}
    left = [digest] if digest else []
    while left:
        for other in needs.get(left.pop(), ()):
            if other not in found and other != digest:
                found[other] = None
                left.append(other)
    return list(found)
