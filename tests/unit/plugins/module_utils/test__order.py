# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which images must be built one after the other."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._order import (
    base_images,
    is_base,
    predecessors,
)
from hypothesis import given
from hypothesis import strategies as st

# -- what a containerfile builds on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM scratch", set()),
        ("FROM app", {"app"}),
        ("from app as x", {"app"}),
        ("FROM\tapp:1.0\r\nRUN true\r\n", {"app:1.0"}),
        ("  FROM   quay.io/example/app@sha256:abc   AS   x  ", {"quay.io/example/app@sha256:abc"}),
        ("FROM --platform=linux/amd64 app", {"app"}),
        ("FROM --platform=$BUILDPLATFORM app AS x", {"app"}),
        ("FROM one\nFROM two", {"one", "two"}),
        ("FROM one AS x\nFROM X\nFROM x AS y\nFROM y", {"one"}),
        # It is a stage only from there on.
        ("FROM x\nFROM one AS x", {"x", "one"}),
        ("FROM one\nCOPY --from=two /a /b", {"one", "two"}),
        ('FROM one\nCOPY --chown=1 --from="two" /a /b', {"one", "two"}),
        ("FROM one AS x\nFROM two\nCOPY --from=x /a /b\ncopy --from=0 /a /b", {"one", "two"}),
        ("FROM one\nADD --from=two /a /b", {"one", "two"}),
        ("FROM one\nRUN --mount=from=two,target=/x true", {"one", "two"}),
        ("FROM one\nRUN --mount=type=bind,from=two,target=/x --mount=type=cache,target=/y --mount=type=bind,source=/,from=three true", {"one", "two", "three"}),
        ("FROM one\nRUN echo from=two", {"one"}),
        ("FROM one\nLABEL x=--from=two\nENV a=$b", {"one"}),
        ("FROM \\\n  # a remark\n\n  app \\\n  AS x", {"app"}),
        ("FROM one\nRUN a && \\\nFROM two", {"one"}),
        ("# escape=`\nFROM `\napp", {"app"}),
        ("#ESCAPE = `\nFROM one\nRUN dir c:\\\nFROM two", {"one", "two"}),
        ("FROM app \\", {"app"}),
        # Trailing spaces do not end a continuation.
        ("FROM one\nRUN a \\ \n\n && b --from=two", {"one", "two"}),
        ("FROM one\nONBUILD COPY --from=two /a /b", {"one", "two"}),
        ("FROM one\nonbuild  run --mount=type=bind,from=two,target=/x true\nONBUILD ADD --from=three /a /b", {"one", "two", "three"}),
        ("FROM one\nONBUILD ENV a=$b\nONBUILD USER x", {"one"}),
        ('FROM one\nRUN --mount=type=bind,"from=two",target=/x true', {"one", "two"}),
        ("FROM one\nRUN --mount=type=bind,'from=two' --mount='from=three' true", {"one", "two", "three"}),
        ('FROM one\nRUN --mount=type=bind,from="two" true', {"one", "two"}),
        ("FROM one AS from-x\nFROM from-x", {"one"}),
        ("FROM one\nRUN true && FROM two", {"one"}),
    ],
)
def test_base_images(text: str, found: set[str]) -> None:
    assert base_images(text, {}) == found


@pytest.mark.parametrize(
    ("text", "build_args", "found"),
    [
        ("ARG X=app\nFROM $X", {}, {"app"}),
        ("ARG X=app\nFROM ${X}:1", {}, {"app:1"}),
        ("arg X=app Y=1.0\nFROM $X:$Y", {}, {"app:1.0"}),
        ("ARG X=\"app\"\nARG Y='1'\nFROM $X:$Y", {}, {"app:1"}),
        ("ARG X=app\nARG Y=quay.io/$X\nFROM ${Y}", {}, {"quay.io/app"}),
        ("ARG X=app\nARG Y=quay.io/$X\nFROM ${Y}", {"X": "other"}, {"quay.io/other"}),
        ("ARG X=app\nFROM $X", {"X": "other"}, {"other"}),
        ("ARG X\nFROM $X", {"X": "other"}, {"other"}),
        ("ARG X=app\nFROM $X", {"Y": "other"}, {"app"}),
        ("ARG X=app\nARG X=other\nFROM $X", {}, {"other"}),
        # ARG and ENV of a stage are not followed, so what a variable is there cannot be told.
        ("ARG X=one\nFROM two\nARG X=three\nCOPY --from=$X /a /b", {}, None),
        ("ARG X=one\nFROM two\nENV X=three\nRUN --mount=type=bind,from=${X} true", {}, None),
        ("ARG X=app\nFROM ${X:-${Y}}", {}, None),
        ("# syntax=docker/dockerfile:1\n# escape=`\nFROM `\napp", {}, {"app"}),
        ("ARG X=one\nFROM $X AS x\nFROM x", {}, {"one"}),
        ("ARG S=x\nFROM one AS x\nFROM $S", {}, {"one"}),
        ("FROM ${X:-app}", {}, {"app"}),
        ("FROM ${X-app}", {}, {"app"}),
        ("FROM a${X:+-b}", {}, {"a"}),
        ("ARG X=\nFROM ${X:-app}", {}, {"app"}),
        ("ARG X=\nFROM a${X-b}", {}, {"a"}),
        ("ARG X=\nFROM a${X:+b}", {}, {"a"}),
        ("ARG X=\nFROM a${X+b}", {}, {"ab"}),
        ("ARG X=1\nFROM a${X:+-debug}", {}, {"a-debug"}),
        ("ARG X=1\nFROM a${X+-debug}:${X:-2}", {}, {"a-debug:1"}),
    ],
)
def test_arguments_are_put_in(text: str, build_args: dict[str, str], found: set[str]) -> None:
    assert base_images(text, build_args) == found


@pytest.mark.parametrize(
    "text",
    [
        "FROM $X",
        "FROM a:${X}",
        "ARG X\nFROM $X",
        "ARG X=$Y\nFROM $X",
        "FROM a\nARG X=b\nFROM $X",
        "FROM a\nCOPY --from=$X /a /b",
        "FROM a-$TARGETARCH",
        "ARG X=a\nFROM ${X%a}",
        "ARG X=a\nFROM a$",
        # There is no stage at all.
        "",
        "# FROM a\n",
        "ARG X=a\nRUN true",
        # What begins with FROM and is none.
        "FROMapp",
        "FROM",
        "FROM a\nFROM",
        "FROM a b",
        "FROM a AS",
        "FROM a AS b c",
        "FROM a\nfromage",
        # Lines of a here-document may look like instructions.
        "FROM a\nRUN <<EOF\nFROM b\nEOF",
        "FROM a\nCOPY <<-'END' /x\n  a\nEND",
        "FROM a\nRUN cat \\\n << EOF\nEOF",
        "FROM a\nRUN echo $((1<<2))",
        # What ARG and ENV within a stage say is not followed.
        "ARG X=b\nFROM a\nCOPY --from=${X} /a /b",
        "FROM a\nONBUILD COPY --from=$X /a /b",
        "FROM a\nRUN --mount=type=bind,'from=$X' true",
        # It does no harm that this image may not even be built.
        "FROM a\nRUN --mount=from=${X} true\nFROM b",
    ],
)
def test_an_image_that_cannot_be_told(text: str) -> None:
    assert base_images(text, {}) is None


def test_a_build_argument_without_arg_counts_not() -> None:
    assert base_images("FROM $X", {"X": "app"}) is None


_WORDS = ("FROM", "from", "AS", "ARG", "COPY", "RUN", "ADD", "--from=", "--mount=", "from=", "--platform=", "$", "${", "}", "X", "=", ":-", ":+", "a", "0",
          "\\", "`", "#", "# escape=`", "\n", "\r\n", " ", "\t", '"', "'", ",", "<<EOF", "EOF", "scratch", "\x0c", "\u2028")  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(_WORDS), max_size=40).map("".join), st.dictionaries(st.sampled_from(["X", "a", ""]), st.text(max_size=5)))
def test_any_text_can_be_looked_at(text: str, build_args: dict[str, str]) -> None:
    found = base_images(text, build_args)
    assert found is None or all(isinstance(image, str) for image in found)


_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
_IMAGES = st.from_regex(r"[a-z][a-z0-9./-]{0,10}(:[a-z0-9.]{1,5})?", fullmatch=True).filter(lambda name: name != "scratch")


@given(_NAMES, _IMAGES, st.none() | _IMAGES, st.sampled_from(["$%s", "${%s}", "${%s:-x}", "${%s-x}"]))
def test_a_known_argument_is_put_in(name: str, default: str, given_value: str | None, form: str) -> None:
    build_args = {} if given_value is None else {name: given_value}
    assert base_images(f"ARG {name}={default}\nFROM {form % name}", build_args) == {given_value or default}


@given(st.lists(_IMAGES, max_size=6), st.randoms(use_true_random=False))
def test_every_image_of_a_containerfile_is_found(images: list[str], random: t.Any) -> None:
    # Without a stage nothing could be told.
    lines = ["FROM scratch"]
    for number, image in enumerate(images):
        forms = [f"FROM {image}", f"from --platform=linux/arm64 {image} as stage{number}", f"FROM \\\n {image}", f"COPY --from={image} /a /b"]
        forms += [f"ONBUILD COPY --from={image} /a /b", f"RUN --mount=type=bind,'from={image}',target=/x true"]
        lines.append(random.choice([*forms, f"RUN --mount=type=bind,from={image},target=/x true"]))
    assert base_images("\n".join(lines), {}) == {image for image in images if not re.fullmatch("stage[0-9]", image)}


# -- what it means -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "name", "base"),
    [
        ("quay.io/example/app:1.0", "quay.io/example/app:1.0", True),
        ("quay.io/example/app", "quay.io/example/app:latest", True),
        ("quay.io/example/app:latest", "quay.io/example/app:latest", True),
        ("quay.io/example/app", "quay.io/example/app:1.0", False),
        ("quay.io/example/app:1.0", "quay.io/example/app:1.1", False),
        ("app", "quay.io/example/app:latest", True),
        ("example/app:1.0", "quay.io/example/app:1.0", True),
        ("pp", "quay.io/example/app:latest", False),
        ("quay.io/other/app", "quay.io/example/app:latest", False),
        ("quay.io/example/app:1@sha256:abc", "quay.io/example/app:1", False),
        ("docker.io/app:1", "docker.io/library/app:1", True),
        ("docker.io/example/app", "docker.io/example/app:latest", True),
        ("app", "docker.io/library/app:latest", True),
        ("localhost:5000/app", "localhost:5000/app:latest", True),
        ("localhost:5000/app:1", "localhost:5000/app:1", True),
        ("5000/app", "localhost:5000/app:latest", False),
        ("[::1]:5000/app", "[::1]:5000/app:latest", True),
        ("", "quay.io/app:latest", False),
    ],
)
def test_is_base(image: str, name: str, base: bool) -> None:
    assert is_base(image, name) is base


@given(st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), min_size=1, max_size=3), st.from_regex(r"[a-z0-9.]{1,4}", fullmatch=True))
def test_every_end_of_a_name_may_mean_it(parts: list[str], tag: str) -> None:
    name = "/".join(["quay.io", *parts])
    for start in range(len(parts) + 1):
        short = "/".join(["quay.io", *parts][start:])
        assert is_base(f"{short}:{tag}", f"{name}:{tag}")
        assert is_base(short, f"{name}:latest")
        assert not is_base(f"{short}:{tag}", f"{name}:{tag}x")
        assert not is_base(f"{short}:{tag}@sha256:{'a' * 64}", f"{name}:{tag}")


@given(st.text(max_size=20), st.text(max_size=20))
def test_is_base_of_any_text(image: str, name: str) -> None:
    assert is_base(image, name) in (True, False)


# -- the order ---------------------------------------------------------------------------------------------------------------


# Where the siblings are copied to, and what the image is built from.
X, Y, Z = ("/w/x/.zuul-siblings", "/w/x"), ("/w/y/.zuul-siblings", "/w/y"), (None, "/w/z")
APART = [X, Y, Z]


def test_one_at_a_time_is_one_after_the_other() -> None:
    assert predecessors([["a:1"], ["b:1"], ["c:1"]], [set(), {"a:1"}, None], APART, 1) == [set(), {0}, {1}]


@pytest.mark.parametrize(
    ("bases", "places", "expected"),
    [
        ([set(), set(), set()], APART, [set(), set(), set()]),
        ([set(), {"q/a:1"}, set()], APART, [set(), {0}, set()]),
        ([set(), set(), {"a:1", "b:1"}], APART, [set(), set(), {0, 1}]),
        ([set(), {"q/a:1"}, {"q/b:1"}], APART, [set(), {0}, {1}]),
        # What it says of itself is no dependency.
        ([{"q/a:1"}, {"q/b:1"}, set()], APART, [set(), set(), set()]),
        # It is built on what is there from before, which the later one must not replace meanwhile.
        ([{"q/c:1"}, set(), set()], APART, [set(), set(), {0}]),
        ([{"q/b:1"}, {"q/a:1"}, set()], APART, [set(), {0}, set()]),
        # One that cannot be told may build on any.
        ([set(), None, set()], APART, [set(), {0}, {1}]),
        ([None, set(), set()], APART, [set(), {0}, {0}]),
        # Siblings are copied to the same place, or into what another one is built from.
        ([set(), set(), set()], [X, Y, X], [set(), set(), {0}]),
        ([set(), set(), set()], [X, X, X], [set(), {0}, {0, 1}]),
        ([set(), set(), {"a:1"}], [X, Z, X], [set(), set(), {0}]),
    ],
)
def test_what_is_built_before(bases: list[set[str] | None], places: list[tuple[str | None, str]], expected: list[set[int]]) -> None:
    assert predecessors([["q/a:1"], ["q/b:1"], ["q/c:1"]], bases, places, 3) == expected


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (X, (None, "/w/x"), True),
        (X, (None, "/w"), True),
        (X, (None, "/"), True),
        (X, (None, "/w/x/.zuul-siblings"), True),
        (X, ("/w/.zuul-siblings", "/w"), True),
        # Each is built from another part of the context that has the copies.
        (("/w/x/.zuul-siblings", "/w/x/one"), ("/w/x/.zuul-siblings", "/w/x/two"), True),
        (("/w/x/.zuul-siblings", "/w/x/one"), (None, "/w/x/two"), False),
        (("/w/x/.zuul-siblings", "/w/x/one"), (None, "/w/x"), True),
        (X, (None, "/w/x/sub"), False),
        (X, (None, "/w/x/.zuul"), False),
        (X, Y, False),
        (X, ("/w/x/sub/.zuul-siblings", "/w/x/sub"), True),
        ((None, "/w/x"), (None, "/w/x"), False),
        ((None, "/w"), (None, "/w/x"), False),
    ],
)
def test_no_image_is_built_from_what_has_the_siblings_of_another(one: tuple[str | None, str], other: tuple[str | None, str], kept: bool) -> None:
    expected = [set(), {0} if kept else set()]
    assert predecessors([["q/a:1"], ["q/b:1"]], [set(), set()], [one, other], 2) == expected
    assert predecessors([["q/a:1"], ["q/b:1"]], [set(), set()], [other, one], 2) == expected


def test_each_name_of_an_image_counts() -> None:
    names = [["q/a:p_1", "q/a:p_2", "q/a:1", "q/a:2"], ["q/b:1"]]
    for name in names[0]:
        assert predecessors(names, [set(), {name}], [X, Y], 2) == [set(), {0}]


_POOL = ["q/a:1", "q/a:latest", "q/b:1", "r/a:1", "r/x/b:1"]
_LISTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(_POOL), min_size=1, max_size=2),
        st.none() | st.sets(st.sampled_from([*_POOL, "a", "b:1", "a:1", "other"]), max_size=2),
        st.tuples(st.booleans(), st.sampled_from(["/w", "/w/x", "/w/xy", "/w/x/z"])).map(lambda one: (f"{one[1]}/.zuul-siblings" if one[0] else None, one[1])),
    ),
    max_size=7,
)


@given(_LISTS, st.integers(2, 9))
def test_two_images_keep_their_order_if_one_may_build_on_the_other_and_only_then(images: t.Any, parallel: int) -> None:
    names, bases, places = ([item[part] for item in images] for part in range(3))
    found = predecessors(names, bases, places, parallel)

    def may_build_on(one: int, other: int) -> bool:
        return bases[one] is None or any(is_base(image, name) for image in bases[one] for name in names[other])

    def finds(one: int, other: int) -> bool:
        copies, built = places[other][0], pathlib.PurePosixPath(places[one][1])
        return copies is not None and built in pathlib.PurePosixPath(copies).parents

    assert len(found) == len(images)
    for later in range(len(images)):
        assert all(0 <= earlier < later for earlier in found[later])
        for earlier in range(later):
            expected = any(may_build_on(*pair) or finds(*pair) for pair in ((earlier, later), (later, earlier)))
            assert (earlier in found[later]) is expected


@given(_LISTS)
def test_one_at_a_time_is_always_the_order_of_the_list(images: t.Any) -> None:
    names, bases, places = ([item[part] for item in images] for part in range(3))
    assert predecessors(names, bases, places, 1) == [{number - 1} if number else set() for number in range(len(images))]
