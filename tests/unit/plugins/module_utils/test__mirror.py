# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of images to mirror."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._copy import Copy
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.gating.containers.plugins.module_utils._mirror import copies_of, parse_mirrors
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from hypothesis import given
from hypothesis import strategies as st

SOURCE = "docker.io/library/busybox"
MIRROR = "quay.io/mirror/busybox"
DIGEST = "sha256:" + "a" * 64


class Registry:
    def __init__(self, *tags: str) -> None:
        self._tags = tags

    def tags(self, repository: Reference) -> list[str]:
        if repository.repository == "gone":
            raise RegistryError("GET tags: answered 403", 403)
        return list(self._tags)


class FakeClient(Client):
    def __init__(self, *tags: str) -> None:
        super().__init__(Credentials(), ("pull",))
        self._registry: t.Any = Registry(*tags)

    def registry(self, image: Reference) -> t.Any:
        return self._registry


def copies(*items: dict[str, t.Any], tags: tuple[str, ...] = ()) -> list[Copy]:
    with FakeClient(*tags) as client:
        return copies_of(client, parse_mirrors(list(items)))


def one(**keys: t.Any) -> dict[str, t.Any]:
    return {"src_repository": SOURCE, "dest_repository": MIRROR, **keys}


def test_the_least() -> None:
    assert copies(one()) == [Copy(Reference.parse(f"{SOURCE}:latest"), (Reference.parse(f"{MIRROR}:latest"),), (), True)]


@pytest.mark.parametrize(
    ("keys", "source", "target"),
    [
        ({"src_tag": "1"}, f"{SOURCE}:1", f"{MIRROR}:1"),
        ({"src_tag": 1}, f"{SOURCE}:1", f"{MIRROR}:1"),
        ({"src_tag": "1", "dest_tag": "2"}, f"{SOURCE}:1", f"{MIRROR}:2"),
        ({"dest_tag": 2}, f"{SOURCE}:latest", f"{MIRROR}:2"),
        ({"dest_registry": "quay.io"}, f"{SOURCE}:latest", f"{MIRROR}:latest"),
        ({"src_digest": DIGEST, "src_tag": "1"}, f"{SOURCE}:1@{DIGEST}", f"{MIRROR}:1"),
        ({"src_tag": None, "dest_tag": None, "destinations": None, "platforms": None}, f"{SOURCE}:latest", f"{MIRROR}:latest"),
    ],
)
def test_source_and_destination(keys: dict[str, t.Any], source: str, target: str) -> None:
    (copy,) = copies(one(**keys))
    assert (str(copy.source), [str(name) for name in copy.targets]) == (source, [target])


def test_many_destinations() -> None:
    (copy,) = copies({"src_repository": SOURCE, "src_tag": "1", "destinations": [{"repository": MIRROR}, {"repository": "ghcr.io/a/b", "tag": "x"}]})
    assert [str(name) for name in copy.targets] == [f"{MIRROR}:1", "ghcr.io/a/b:x"]


def test_all_tags_that_match_keep_their_names() -> None:
    found = copies(one(src_tags=r"^1\.\d+$", platforms=["linux/amd64"], referrers=False), tags=("1.2", "1.10", "1.2-rc", "2.0"))
    assert [(str(copy.source), str(copy.targets[0])) for copy in found] == [(f"{SOURCE}:{tag}", f"{MIRROR}:{tag}") for tag in ("1.10", "1.2")]
    assert {(copy.platforms, copy.referrers) for copy in found} == {(("linux/amd64",), False)}


def test_tags_that_cannot_be_listed_or_do_not_match_are_errors_of_their_item() -> None:
    found = copies(one(src_tags="^9"), one(src_tags="^9x"), one(src_repository="quay.io/gone", src_tags="."), one(), tags=("1",))
    assert [(str(copy.source), copy.error and str(copy.error)) for copy in found] == [
        (SOURCE, f"{SOURCE}: none of its tags matches src_tags '^9': change the expression"),
        (SOURCE, f"{SOURCE}: none of its tags matches src_tags '^9x': change the expression"),
        ("quay.io/gone", "GET tags: answered 403"),
        (f"{SOURCE}:latest", None),
    ]
    assert {str(copy.targets[0]) for copy in found[:3]} == {MIRROR}


def test_two_images_for_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=f"^{MIRROR}:1 is a destination twice: name it once$"):
        copies(one(src_tags="."), one(src_tag="2", dest_tag="1"), tags=("1", "2"))


def test_a_mirror_of_a_mirror_is_refused() -> None:
    words = f"^{MIRROR}:1 is a source, and a destination of {SOURCE}:1: copy quay.io/archive:1 from there too, or in a task of its own$"
    with pytest.raises(InputError, match=words):
        copies({"src_repository": MIRROR, "src_tags": "1", "dest_repository": "quay.io/archive"}, one(src_tags="."), tags=("1", "2"))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("text", "is to be a dictionary"),
        ({}, "has no src_repository"),
        ({"src_repository": "busybox"}, "does not name its registry"),
        ({"src_repository": SOURCE}, "give either dest_repository or destinations"),
        (one(destinations=[{"repository": MIRROR}]), "give either dest_repository or destinations"),
        (one(src_repositry="x"), "has an unknown key 'src_repositry': is it 'src_repository'?"),
        (one(dest_registry="ghcr.io"), "is not in dest_registry 'ghcr.io'"),
        (one(src_tags="["), "src_tags is no regular expression"),
        (one(src_tags=".", src_tag="1"), "has src_tags and src_tag: give one"),
        (one(src_tags=".", src_digest=DIGEST), "has src_tags and src_digest: give one"),
        (one(src_tags=".", dest_tag="1"), "with src_tags each tag keeps its name"),
        (one(src_digest="sha256:1"), "is no digest"),
        (one(src_tag="a/b"), "is not a tag"),
        (one(platforms="linux/amd64"), "platforms is to be a list"),
        (one(referrers="yes"), "referrers is to be true or false"),
        ({"src_repository": SOURCE, "destinations": []}, "destinations is to be a list"),
        ({"src_repository": SOURCE, "destinations": [{"repository": MIRROR, "tags": ["1"]}]}, "each of destinations"),
        ({"src_repository": SOURCE, "destinations": [{"repository": MIRROR}], "dest_tag": "1"}, "dest_tag goes with dest_repository only"),
    ],
)
def test_what_is_wrong_is_named(item: t.Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        copies(one(), item)
    assert words in str(caught.value)


@pytest.mark.parametrize("items", [None, [], {}, "text"])
def test_a_list_is_wanted(items: t.Any) -> None:
    with pytest.raises(InputError, match="^mirror_container_images_images is to be a list"):
        parse_mirrors(items)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
KEYS = ("src_tag", "src_tags", "src_digest", "dest_tag", "dest_registry", "destinations", "platforms", "referrers")


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
def test_whatever_is_given_is_taken_or_refused(keys: dict[str, t.Any]) -> None:
    try:
        (mirror,) = parse_mirrors([one(**keys)])
    except InputError:
        return
    assert mirror.targets
    assert all(target.tag or mirror.tags for target in mirror.targets)
