# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list that all roles share."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_tag,
)
from hypothesis import given
from hypothesis import strategies as st

NAME = "quay.io/example/image"
REPOSITORY = Reference("quay.io", "example/image")


def parse(prefix: str = "", **keys: t.Any) -> Image:
    (image,) = parse_images([{"repository": NAME, **keys}], prefix)
    return image


def test_an_image_with_nothing() -> None:
    assert parse() == Image(REPOSITORY, ("latest",), ".", "", ".", (), "", (), (), ())
    assert (
        parse(**dict.fromkeys(("registry", "tags", "context", "path", "build_args", "target", "labels", "arch", "siblings", "container_filename"))) == parse()
    )


def test_an_image_with_everything() -> None:
    image = parse(
        registry="quay.io",
        tags=["latest", "1.4"],
        context="images/a",
        container_filename="Containerfile.a",
        path="sub",
        build_args=["A=b c", 'B="q"', "C=", "D=a=b"],
        target="final",
        siblings=["opendev.org/a/b"],
        labels=["x=y"],
        arch=["linux/amd64", "linux/arm64"],
    )
    assert image == Image(
        REPOSITORY,
        ("latest", "1.4"),
        "images/a",
        "Containerfile.a",
        "sub",
        ("A=b c", 'B="q"', "C=", "D=a=b"),
        "final",
        ("opendev.org/a/b",),
        ("x=y",),
        ("linux/amd64", "linux/arm64"),
    )


def test_names() -> None:
    image = parse(tags=["latest", "1.4"])
    assert [str(name) for name in image.names()] == [f"{NAME}:latest", f"{NAME}:1.4"]
    assert [str(name) for name in image.names("change_1_")] == [f"{NAME}:change_1_latest", f"{NAME}:change_1_1.4"]


def test_whole_numbers_are_tags() -> None:
    assert parse(tags=[4, "5", 0]).tags == ("4", "5", "0")


def test_the_order_of_the_list_stays() -> None:
    assert [image.repository.repository for image in parse_images([{"repository": f"quay.io/{name}"} for name in "cab"])] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("registry", "repository"),
    [("docker.io", "docker.io/busybox"), ("QUAY.io", "quay.io/a"), ("localhost:5000", "localhost:5000/a"), ("[::1]:5000", "[::1]:5000/a"), ("", "quay.io/a")],
)
def test_the_registry_is_the_first_part_of_the_repository(registry: str, repository: str) -> None:
    assert len(parse_images([{"registry": registry, "repository": repository}])) == 1


@pytest.mark.parametrize("items", [None, [], {}, "text", 5, {"repository": NAME}, ()])
def test_refuses_what_is_no_list_of_images(items: t.Any) -> None:
    with pytest.raises(InputError, match="container_images is to be a list of images that is not empty"):
        parse_images(items)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (None, ["dictionary"]),
        ("quay.io/a", ["dictionary", "a str"]),
        ({}, ["no repository"]),
        ({"repository": None}, ["no repository"]),
        ({"repository": ""}, ["no repository"]),
    ],
)
def test_refuses_an_image_without_a_repository(item: t.Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_images([{"repository": NAME}, item])
    assert [word for word in ["container_images[1]", *words] if word not in str(caught.value)] == []


@pytest.mark.parametrize("repository", ["example/image", f"{NAME}:latest", f"{NAME}@sha256:{'a' * 64}", "quay.io/A", 5, ["a"]])
def test_refuses_a_repository_that_is_none(repository: t.Any) -> None:
    with pytest.raises(InputError) as caught:
        parse_images([{"repository": repository}])
    assert repr(repository) in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"tag": "x"}, ["unknown key 'tag'", "is it 'tags'?"]),
        ({"buildargs": []}, ["unknown key 'buildargs'", "is it 'build_args'?"]),
        ({"zzzzzz": 1}, ["unknown key 'zzzzzz'", "repository", "container_filename"]),
        ({5: 1}, ["unknown key 5"]),
        ({"registry": "docker.io"}, ["not in its registry 'docker.io'"]),
        ({"registry": "quay.io:443"}, ["not in its registry"]),
        ({"registry": "uay.io"}, ["not in its registry"]),
        ({"tags": []}, ["tags is empty"]),
        ({"tags": "latest"}, ["tags is to be a list", "not a str"]),
        ({"tags": {"latest": 1}}, ["tags is to be a list"]),
        ({"tags": ["a b"]}, ["tag 'a b' is not a tag"]),
        ({"tags": [""]}, ["is not a tag"]),
        ({"tags": [1.4]}, ["1.4", "float", "quotes"]),
        ({"tags": [True]}, ["bool"]),
        ({"tags": [None]}, ["NoneType"]),
        ({"tags": [-1]}, ["tag '-1' is not a tag"]),
        ({"tags": ["t" * 129]}, ["129 characters"]),
        ({"tags": ["latest", "latest"]}, ["'latest' is claimed"]),
        ({"tags": [1, "1"]}, ["'1' is claimed"]),
        ({"context": 5}, ["context is to be a text"]),
        ({"context": ["a"]}, ["context is to be a text"]),
        ({"target": True}, ["target is to be a text"]),
        ({"build_args": "A=b"}, ["build_args is to be a list"]),
        ({"build_args": {"A": "b"}}, ["build_args is to be a list"]),
        ({"build_args": ["=b"]}, ["an item of build_args has no name", "NAME=VALUE"]),
        ({"build_args": [""]}, ["an item of build_args has no name"]),
        ({"build_args": [5]}, ["build_args is to be a list of texts", "not of int: put it in quotes"]),
        ({"labels": ["=b"]}, ["'=b' in labels is not NAME=VALUE"]),
        ({"labels": ["a=b", "name"]}, ["'name' in labels is not NAME=VALUE"]),
        ({"labels": [""]}, ["'' in labels is not NAME=VALUE"]),
        ({"labels": [5]}, ["labels is to be a list of texts", "not of int: put it in quotes"]),
        ({"labels": {"a": "b"}}, ["labels is to be a list"]),
        ({"arch": "linux/amd64"}, ["arch is to be a list"]),
        ({"arch": [None]}, ["arch is to be a list of texts"]),
        ({"siblings": "x"}, ["siblings is to be a list"]),
    ],
)
def test_refuses_a_key_or_value(keys: dict[t.Any, t.Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_images([{"repository": "quay.io/other"}, {"repository": NAME, **keys}])
    message = str(caught.value)
    assert message.startswith(f"container_images[1] ({NAME})")
    assert [word for word in words if word not in message] == []
    assert len(message.splitlines()) == 1


def test_a_build_argument_by_its_name_alone_takes_its_value_from_the_environment() -> None:
    assert parse(build_args=["NAME"]).build_args == ("NAME",)


def test_a_label_may_have_an_empty_value_and_further_signs() -> None:
    assert parse(labels=["a=", "b=c=d", "e f=g"]).labels == ("a=", "b=c=d", "e f=g")


@pytest.mark.parametrize("key", ["build_args", "labels"])
def test_refuses_a_value_without_a_name(key: str) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        parse(**{key: ["=value"]})


@pytest.mark.parametrize(
    ("given_project", "project"),
    [
        ("opendev.org/openstack/nova", "opendev.org/openstack/nova"),
        ("opendev.org/openstack/nova/", "opendev.org/openstack/nova"),
        ("nova", "nova"),
        (".hidden", ".hidden"),
        ("a..b/...c", "a..b/...c"),
        ("github.com/Example/a_b-c.d", "github.com/Example/a_b-c.d"),
    ],
)
def test_siblings(given_project: str, project: str) -> None:
    assert parse(siblings=[given_project, "other"]).siblings == (project, "other")


@pytest.mark.parametrize(
    "project", ["", ".", "..", "/", "./", "/etc", "/etc/passwd", "../a", "a/..", "a/../b", "a/../../b", "./a", "a/./b", "a//b", "a/b/.", "//a"]
)
def test_refuses_a_sibling_that_leads_elsewhere(project: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(siblings=["opendev.org/good", project])
    assert str(caught.value) == (f"container_images[0] ({NAME}): the sibling {project!r} is not the name of a project, such as opendev.org/openstack/nova")


@pytest.mark.parametrize("projects", [["a", "a"], ["a", "a/"], ["a", "a/b"], ["a/b", "c", "a"]])
def test_refuses_siblings_in_one_another(projects: list[str]) -> None:
    with pytest.raises(InputError, match="are in one another: name one$"):
        parse(siblings=projects)


def test_siblings_with_a_common_beginning() -> None:
    assert parse(siblings=["a/b", "a/bc", "a/c"]).siblings == ("a/b", "a/bc", "a/c")


@pytest.mark.parametrize("project", [" a", "a ", "a\n"])
def test_refuses_white_space_at_the_end_of_a_sibling(project: str) -> None:
    with pytest.raises(InputError, match="white space"):
        parse(siblings=[project])


@pytest.mark.parametrize("project", ["a b", "a\tb", "a\nb", "a/b c", " ", "a\u2003b"])
def test_refuses_a_sibling_with_white_space(project: str) -> None:
    with pytest.raises(InputError, match="holds white space, which separates the names in ZUUL_SIBLINGS"):
        parse(siblings=[project])


@pytest.mark.parametrize(
    "platforms", [["linux/amd64"], ["linux/amd64", "linux/arm64"], ["linux/arm/v7", "linux/arm/v6"], ["windows/amd64/10.0.20348.1"], ["linux/386"], []]
)
def test_platforms(platforms: list[str]) -> None:
    assert parse(arch=platforms).arch == tuple(platforms)


@pytest.mark.parametrize(
    "platform", ["", "amd64", "linux", "linux/", "/amd64", "linux//amd64", "linux/arm/v7/x", "Linux/amd64", "linux/AMD64", "linux/amd64,linux/arm64",
                 "linux/amd64 ", "linux/amd64\n", "--privileged", "*", "linux/$X"]
)  # fmt: skip
def test_refuses_what_is_no_platform(platform: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(arch=["linux/amd64", platform])
    assert str(caught.value) == f"container_images[0] ({NAME}): {platform!r} in arch is not a platform, such as linux/amd64 or linux/arm/v7"


def test_refuses_a_platform_that_is_named_twice() -> None:
    with pytest.raises(InputError, match="container_images.0. .quay.io/example/image.: arch names a platform twice"):
        parse(arch=["linux/amd64", "linux/arm64", "linux/amd64"])


@pytest.mark.parametrize("key", ["arch", "siblings"])
@pytest.mark.parametrize(
    ("value", "word"), [("linux/amd64", "a list, not a str"), ([5], "texts, not of int"), ([None], "texts, not of NoneType"), ([["a"]], "texts, not of list")]
)
def test_refuses_platforms_and_siblings_of_another_type(key: str, value: t.Any, word: str) -> None:
    with pytest.raises(InputError, match=f"{key} is to be a list") as caught:
        parse(**{key: value})
    assert word in str(caught.value)


@given(st.text(max_size=12) | st.lists(st.sampled_from(["a", ".", "..", "/", " ", "opendev.org"]), max_size=6).map("".join))
def test_a_sibling_is_always_below_the_directory_of_the_projects(project: str) -> None:
    try:
        (name,) = parse(siblings=[project]).siblings
    except InputError:
        return
    root = os.path.abspath("src")
    below = os.path.relpath(os.path.join(root, name), root)
    # Its copy too is where it is expected, so nothing is written elsewhere.
    assert below == name
    assert below != "."
    assert not below.startswith("../")


@pytest.mark.parametrize("tag", ["t" * 120, "t" * 119])
def test_a_temporary_tag_must_be_a_tag_too(tag: str) -> None:
    prefix = "change_1_"
    if len(prefix + tag) <= 128:
        assert parse(prefix, tags=[tag]).tags == (tag,)
        return
    with pytest.raises(InputError, match="temporary tag 'change_1_t+' has 129 characters, a registry allows 128: shorten the tag or the staging prefix"):
        parse(prefix, tags=[tag])


def test_a_bad_prefix_makes_bad_tags() -> None:
    with pytest.raises(InputError, match="temporary tag 'a/latest' is not a tag"):
        parse("a/")


@pytest.mark.parametrize("other", [NAME, "QUAY.io/example/image"])
def test_refuses_a_tag_that_two_images_claim(other: str) -> None:
    with pytest.raises(InputError, match="container_images.1. .quay.io/example/image.: the tag '1' is claimed by two images"):
        parse_images([{"repository": NAME, "tags": ["latest", "1"]}, {"repository": other, "tags": ["2", "1"]}])


def test_two_images_may_share_a_repository() -> None:
    assert len(parse_images([{"repository": NAME, "tags": ["a"]}, {"repository": NAME, "tags": ["b"]}, {"repository": "quay.io/x", "tags": ["a"]}])) == 3


@pytest.mark.parametrize(
    "items",
    [
        [{"repository": NAME, "tags": ["latest", "change_1_latest"]}],
        [{"repository": NAME, "tags": ["change_1_latest"]}, {"repository": NAME, "tags": ["latest"]}],
    ],
)
def test_refuses_a_temporary_tag_that_is_a_final_one(items: t.Any) -> None:
    with pytest.raises(InputError, match="change_1_latest"):
        parse_images(items, "change_1_")


@pytest.mark.parametrize("prefix", ["change_1_", "staged_", "a", "A.b-"])
def test_check_prefix(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["", "-a", ".a", "a b", "a/b", "t" * 129, None])
def test_refuses_a_prefix(prefix: t.Any) -> None:
    with pytest.raises(InputError, match="^container_image_staging_prefix"):
        check_prefix(prefix)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["latest", "A=b", NAME, "quay.io", "quay.io/a/b:c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = ["repository", "registry", "tags", "context", "container_filename", "path", "build_args", "target", "siblings", "labels", "arch"]
_ITEMS = st.fixed_dictionaries({}, optional={key: _JSON for key in _KEYS if key != "repository"}).flatmap(
    lambda keys: st.sampled_from([NAME, "quay.io/a"]).map(lambda name: {"repository": name, **keys}) | st.just(keys)
)


@given(_JSON | st.lists(_ITEMS | _JSON, max_size=3), st.sampled_from(["", "change_1_"]) | st.text(max_size=5))
def test_any_list_is_taken_or_an_input_error(items: t.Any, prefix: str) -> None:
    try:
        images = parse_images(items, prefix)
    except InputError as exc:
        assert len(str(exc).splitlines()) == 1
        return
    assert len(images) == len(items)
    names = [name for image in images for name in image.names()]
    assert len(names) == len(set(names)) >= len(images)
    for image in images:
        assert [name for name in image.names() + image.names(prefix) if not is_tag(str(name.tag))] == []


@given(st.lists(st.from_regex(r"[a-z0-9]{1,3}", fullmatch=True), min_size=1, max_size=5), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5))
def test_every_tag_is_claimed_once(tags: list[str], names: list[str]) -> None:
    items = [{"repository": f"quay.io/{name}", "tags": [tag]} for name, tag in zip(names, tags)]
    claims = [(item["repository"], tuple(item["tags"])) for item in items]
    if len(set(claims)) == len(claims):
        assert [(image.repository.name, image.tags) for image in parse_images(items)] == claims
    else:
        with pytest.raises(InputError, match="claimed by two images"):
            parse_images(items)


@pytest.mark.parametrize("keys", [{"build_args": "TOKEN=s3cr3t"}, {"build_args": [["TOKEN=s3cr3t"]]}, {"build_args": ["=s3cr3t"]}, {"target": ["s3cr3t"]}])
def test_values_are_in_no_error(keys: t.Any) -> None:
    with pytest.raises(InputError) as caught:
        parse(**keys)
    assert "s3cr3t" not in str(caught.value)
