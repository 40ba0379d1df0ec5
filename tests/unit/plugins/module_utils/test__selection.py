# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is selected never includes what stays, what is young, or what something needs that stays."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._selection import Rule, Verdict, belongs_to, judge, judge_all, protect
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
DAY = 86400
DIGESTS = [f"sha256:{number:064x}" for number in range(6)]
ALL = re.compile("")

digests = st.sampled_from(DIGESTS)
names = st.one_of(
    st.text("abc", min_size=1, max_size=3),
    st.builds(lambda digest, ending: digest.replace(":", "-") + ending, digests, st.sampled_from(["", ".sig", ".att", ".sbom"])),
)
moments = st.one_of(st.none(), st.floats(NOW - 10 * DAY, NOW + 3 * DAY), st.sampled_from([NOW, NOW - DAY, NOW - 2 * DAY]))
rules = st.builds(Rule, st.just(ALL), st.one_of(st.none(), st.sampled_from([0, DAY, 2 * DAY])), st.integers(0, 4))


@given(st.dictionaries(names, moments, max_size=8), rules)
def test_what_goes_is_old_and_none_of_the_newest(ages: dict[str, float | None], rule: Rule) -> None:
    verdicts = judge(rule, ages, NOW)
    assert set(verdicts) == set(ages)
    going = {tag for tag, verdict in verdicts.items() if verdict.goes}
    for tag in going:
        moment = ages[tag]
        assert moment is not None
        assert moment <= NOW
        assert rule.older_than is None or NOW - moment > rule.older_than
    known = {tag: moment for tag, moment in ages.items() if moment is not None and moment <= NOW}
    staying = set(known) - going
    # At least so many stay, and none of what stays for that is older than what goes.
    assert len(staying) >= min(rule.keep, len(known))
    newest = sorted(known.values(), reverse=True)[: rule.keep]
    assert all(t.cast(float, ages[tag]) <= newest[-1] for tag in going if newest)
    assert all(verdict.reason for verdict in verdicts.values())


@given(st.dictionaries(names, moments, max_size=8), st.sampled_from([0, DAY]), st.integers(0, 4))
def test_to_keep_more_never_removes_more(ages: dict[str, float | None], older_than: float, keep: int) -> None:
    less, more = ({tag for tag, verdict in judge(Rule(ALL, older_than, number), ages, NOW).items() if verdict.goes} for number in (keep, keep + 1))
    assert more <= less


patterns = st.sampled_from([re.compile(text) for text in ("", "a", "b", "^sha256", "c$")])


@given(st.dictionaries(names, moments, max_size=8), st.lists(st.builds(Rule, patterns, st.sampled_from([None, 0, DAY]), st.integers(0, 3)), max_size=3))
def test_the_newest_of_a_rule_stay_whatever_another_says(ages: dict[str, float | None], given_: list[Rule]) -> None:
    found = judge_all(given_, ages, NOW)
    going = {tag for tag, verdict in found.items() if verdict.goes}
    assert set(found) == {tag for tag in ages if any(rule.regex.search(tag) for rule in given_)}
    for rule in given_:
        matching = {tag: moment for tag, moment in ages.items() if rule.regex.search(tag)}
        known = sorted((t.cast(float, moment), tag) for tag, moment in matching.items() if moment is not None and moment <= NOW)
        assert not going.intersection(tag for dummy, tag in known[len(known) - min(rule.keep, len(known)) :])
    assert all(any(judge(rule, {tag: ages[tag]}, NOW)[tag].goes or rule.keep for rule in given_ if rule.regex.search(tag)) for tag in going)


def needed_by_indexes(found: t.Iterable[str | None], needs: t.Mapping[str, t.Collection[str]]) -> set[str]:
    """All that some manifests list, and what those list."""
    reached: set[str] = set()
    todo = [other for digest in found for other in needs.get(digest or "", ())]
    while todo:
        digest = todo.pop()
        if digest not in reached:
            reached.add(digest)
            todo += needs.get(digest, ())
    return reached


def needed_by(tags: t.Iterable[str], named: t.Mapping[str, str | None], needs: t.Mapping[str, t.Collection[str]]) -> set[str]:
    """All that some tags need, in the plainest way."""
    found: set[str] = set()
    for tag in tags:
        found |= {digest for digest in DIGESTS if belongs_to(tag, digest)}
        found |= needed_by_indexes([named[tag]], needs)
    return found


@given(
    st.dictionaries(names, st.tuples(st.one_of(st.none(), digests), st.one_of(st.none(), st.booleans())), max_size=8),
    st.dictionaries(digests, st.sets(digests)),
)
def test_nothing_goes_that_is_needed(tags: dict[str, tuple[str | None, bool | None]], needs: dict[str, set[str]]) -> None:
    named = {tag: digest for tag, (digest, dummy) in tags.items()}
    before = {tag: Verdict(goes, "x") for tag, (dummy, goes) in tags.items() if goes is not None}
    after = protect(before, named, needs)
    going = {tag for tag, verdict in after.items() if verdict.goes}
    staying = set(tags) - going
    # Nothing goes that was to stay.
    assert going <= {tag for tag, verdict in before.items() if verdict.goes}
    # Every image that is needed and had a tag has one.
    still = {named[tag] for tag in staying}
    needed = needed_by(staying, named, needs)
    assert not [tag for tag in going if named[tag] in needed and named[tag] not in still]
    # Nor what is only a part of what goes.
    reached = still | needed_by_indexes(still, needs)
    belonging = {digest for tag in staying for digest in DIGESTS if belongs_to(tag, digest)} - reached
    assert not [tag for tag in going if needed_by_indexes([named[tag]], needs) & belonging]
    # What belongs to an image that stays, stays.
    assert not [tag for tag in going for digest in still if digest and belongs_to(tag, digest)]


@given(st.dictionaries(names, digests, max_size=8))
def test_if_nothing_stays_nothing_is_protected(named: dict[str, str]) -> None:
    before = {tag: Verdict(True, "x") for tag in named}
    assert protect(before, named, {}) == before


A, B, C = DIGESTS[:3]
GOES = Verdict(True, "old")


def test_a_child_of_an_index_that_stays() -> None:
    found = protect({"1.0-amd64": GOES, "old": GOES}, {"1.0": A, "1.0-amd64": B, "old": C}, {A: [B]})
    assert found == {"1.0-amd64": Verdict(False, "the tag 1.0 needs its image"), "old": GOES}


def test_an_image_with_another_tag_may_lose_one() -> None:
    assert protect({"change_1_x": GOES}, {"latest": A, "change_1_x": A, "index": B}, {B: [A]}) == {"change_1_x": GOES}


def test_a_signature_goes_with_its_image_and_not_before() -> None:
    signature = A.replace(":", "-") + ".sig"
    both = {"change_1_x": GOES, signature: GOES}
    named = {"change_1_x": A, signature: B}
    assert protect(both, named, {}) == both
    # Its image has another tag.
    assert protect(both, {**named, "latest": A}, {}) == {"change_1_x": GOES, signature: Verdict(False, f"it belongs to {A}, which stays")}
    # The signature is not selected.
    assert protect({"change_1_x": GOES}, named, {}) == {"change_1_x": Verdict(False, f"the tag {signature} needs its image")}


def test_the_signature_of_a_part_of_an_index() -> None:
    # Nothing but the index that goes has the part.
    signature = B.replace(":", "-") + ".sig"
    named = {"change_1_x": A, signature: C}
    kept = Verdict(False, f"the tag {signature} needs {B}, which is a part of its image")
    assert protect({"change_1_x": GOES}, named, {A: [B]}) == {"change_1_x": kept}
    # Another one has it too.
    assert protect({"change_1_x": GOES}, {**named, "1.0": DIGESTS[3]}, {A: [B], DIGESTS[3]: [B]}) == {"change_1_x": GOES}
    both = {"change_1_x": GOES, signature: GOES}
    assert protect(both, named, {A: [B]}) == both


def test_signatures_do_not_take_the_places_of_the_newest() -> None:
    ages = {f"change_{number}": NOW - number * DAY for number in range(1, 5)}
    signatures = {DIGESTS[number].replace(":", "-") + ".sig": NOW - number * DAY + 60 for number in range(1, 5)}
    found = judge(Rule(ALL, None, 2), {**ages, **signatures}, NOW)
    assert {tag for tag in ages if not found[tag].goes} == {"change_1", "change_2"}


def test_the_subject_of_a_referrer_that_stays() -> None:
    assert protect({"app": GOES}, {"app": A, "sbom": B}, {B: [A]}) == {"app": Verdict(False, "the tag sbom needs its image")}


def test_what_stays_needs_in_its_turn() -> None:
    found = protect({"list": GOES, "child": GOES}, {"top": A, "list": B, "child": C}, {A: [B], B: [C]})
    assert not any(verdict.goes for verdict in found.values())


@pytest.mark.parametrize(
    ("tag", "digest", "belongs"),
    [
        (A.replace(":", "-"), A, True),
        (A.replace(":", "-") + ".sig", A, True),
        (A.replace(":", "-") + ".sig", B, False),
        (A.replace(":", "-") + "-x", A, False),
        ("sha256-abc", "sha256:abc", False),
        ("latest", A, False),
        # Its tag has 64 of the 128 characters (distribution-spec, "Referrers Tag Schema").
        ("sha512-" + "a" * 64, "sha512:" + "a" * 128, True),
    ],
)
def test_tags_of_digests(tag: str, digest: str, belongs: bool) -> None:
    assert belongs_to(tag, digest) is belongs


def test_reasons() -> None:
    ages = {"a": NOW - 5 * DAY, "b": NOW - 4 * DAY, "c": NOW - 3 * DAY, "d": NOW - 60, "e": None, "f": NOW + 60}
    assert {tag: verdict.reason for tag, verdict in judge(Rule(ALL, DAY, 2), ages, NOW).items()} == {
        "a": "older than 86400 seconds",
        "b": "older than 86400 seconds",
        "c": "it is one of the newest 2 that match",
        "d": "it is not older than 86400 seconds",
        "e": "its age is not known",
        "f": "its date is in the future",
    }
    assert judge(Rule(ALL, None, 1), {"a": 1.0, "b": 2.0}, NOW) == {
        "a": Verdict(True, "not one of the newest 1 that match"),
        "b": Verdict(False, "it is the newest that matches"),
    }
