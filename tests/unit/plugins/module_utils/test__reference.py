# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of images."""

from __future__ import annotations

import os
import re

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    check_tag,
    is_digest,
    is_loopback,
    is_tag,
    split_registry,
)
from hypothesis import given
from hypothesis import strategies as st

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/example/image", ("quay.io", "example/image", None, None)),
        ("quay.io/example/image:latest", ("quay.io", "example/image", "latest", None)),
        (f"quay.io/example/image@{SHA256}", ("quay.io", "example/image", None, SHA256)),
        (f"quay.io/example/image:1.2@{SHA512}", ("quay.io", "example/image", "1.2", SHA512)),
        ("docker://quay.io/a:b", ("quay.io", "a", "b", None)),
        ("QUAY.io/a", ("quay.io", "a", None, None)),
        ("localhost/a", ("localhost", "a", None, None)),
        ("localhost:5000/a:b", ("localhost:5000", "a", "b", None)),
        ("registry:5000/a", ("registry:5000", "a", None, None)),
        ("127.0.0.1:5000/a/b/c:1", ("127.0.0.1:5000", "a/b/c", "1", None)),
        ("[::1]:5000/a:b", ("[::1]:5000", "a", "b", None)),
        ("[fe80::1]/a", ("[fe80::1]", "a", None, None)),
        ("docker.io/busybox", ("docker.io", "library/busybox", None, None)),
        ("docker.io/library/busybox:1", ("docker.io", "library/busybox", "1", None)),
        ("docker.io/example/busybox", ("docker.io", "example/busybox", None, None)),
        ("quay.io/busybox", ("quay.io", "busybox", None, None)),
        ("a.b/a__b/c-d/e.f/g---h/0_1", ("a.b", "a__b/c-d/e.f/g---h/0_1", None, None)),
        ("a.b/r:" + "t" * 128, ("a.b", "r", "t" * 128, None)),
        ("a.b/" + "r" * 255, ("a.b", "r" * 255, None, None)),
        ("a.b/r:_", ("a.b", "r", "_", None)),
        ("a.b:65535/r", ("a.b:65535", "r", None, None)),
    ],
)
def test_parses(text: str, expected: tuple[str, ...]) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "not the name of an image"),
        (5, "not the name of an image"),
        (["quay.io/a"], "not the name of an image"),
        ("", "not the name of an image"),
        ("busybox", "does not name its registry"),
        ("library/busybox", "does not name its registry"),
        ("docker://library/busybox", "does not name its registry"),
        ("quay.io", "does not name its registry"),
        ("/a", "does not name its registry"),
        ("https://quay.io/a", "malformed registry"),
        ("quay.io:0/a", "malformed registry"),
        ("quay.io:65536/a", "malformed registry"),
        ("quay.io:/a", "malformed registry"),
        ("quay.io:x/a", "malformed registry"),
        ("-quay.io/a", "malformed registry"),
        ("quay..io/a", "malformed registry"),
        ("user@quay.io/a", "malformed registry"),
        ("::1/a", "malformed registry"),
        ("[::g]:5000/a", "malformed registry"),
        ("[::1/a", "malformed registry"),
        ("quay.io/", "malformed repository"),
        ("quay.io/A", "malformed repository"),
        ("quay.io/a//b", "malformed repository"),
        ("quay.io/a/", "malformed repository"),
        ("quay.io/../a", "malformed repository"),
        ("quay.io/a..b", "malformed repository"),
        ("quay.io/a___b", "malformed repository"),
        ("quay.io/a-", "malformed repository"),
        ("quay.io/ä", "malformed repository"),
        ("quay.io/a\n", "malformed repository"),
        ("quay.io/a b", "malformed repository"),
        ("quay.io/" + "r" * 256, "255"),
        ("quay.io/a:", "is not a tag"),
        ("quay.io/a:-b", "is not a tag"),
        ("quay.io/a:.b", "is not a tag"),
        ("quay.io/a:b:c", "is not a tag"),
        ("quay.io/a:b\n", "is not a tag"),
        ("quay.io/a:b/c", "is not a tag"),
        ("quay.io/a:" + "t" * 129, "129 characters"),
        ("quay.io/a@", "malformed digest"),
        ("quay.io/a@sha256:abc", "malformed digest"),
        (f"quay.io/a@{SHA256.upper()}", "malformed digest"),
        (f"quay.io/a@{SHA256}0", "malformed digest"),
        (f"quay.io/a@{SHA256}\n", "malformed digest"),
        (f"quay.io/a@{SHA256}:b", "malformed digest"),
    ],
)
def test_refuses(text: object, word: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(text)
    message = str(caught.value)
    assert word in message
    assert repr(text) in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["quay.io/a:b", f"quay.io/a@{SHA256}", f"quay.io/a:b@{SHA256}"])
def test_a_repository_has_neither_tag_nor_digest(text: str) -> None:
    with pytest.raises(InputError, match="without a tag or digest"):
        Reference.parse_repository(text)


def test_names_of_a_repository() -> None:
    repository = Reference.parse_repository("docker.io/busybox")
    assert (repository.name, str(repository)) == ("docker.io/library/busybox", "docker.io/library/busybox")
    assert str(repository.with_tag("1")) == "docker.io/library/busybox:1"
    assert str(repository.with_digest(SHA256)) == f"docker.io/library/busybox@{SHA256}"
    assert repository.with_tag("1").with_digest(SHA256) == repository.with_digest(SHA256)
    assert repository.with_digest(SHA256).with_tag("1") == repository.with_tag("1")
    assert str(Reference("a.b", "r", "1", SHA256)) == f"a.b/r:1@{SHA256}"


@pytest.mark.parametrize(
    ("text", "tag"),
    [("a", True), ("A_b.c-d", True), ("1", True), ("_", True), ("a" * 128, True)]
    + [(text, False) for text in ("", ".a", "-a", "a:b", "a/b", "a b", "a\n", "ä", "²", "a" * 129, SHA256)],
)
def test_is_tag(text: str, tag: bool) -> None:
    assert is_tag(text) is tag


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (SHA256, True),
        (SHA512, True),
        ("sha384:" + "a" * 96, True),
        ("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", True),
        ("sha256:" + "g" * 64, False),
        ("sha256:" + "A" * 64, False),
        ("sha512:" + "a" * 64, False),
        ("sha256" + "a" * 64, False),
        (":" + "a" * 64, False),
        ("sha256:", False),
        ("", False),
        (SHA256 + "\n", False),
    ],
)
def test_is_digest(text: str, digest: bool) -> None:
    assert is_digest(text) is digest


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.4, ["1.4", "float", "quotes"]),
        (True, ["bool"]),
        (None, ["NoneType"]),
        ("a" * 129, ["129", "128", "prefix"]),
        ("a b", ["'a b'", "not a tag"]),
        ("", ["not a tag"]),
    ],
)
def test_check_tag_refuses(value: object, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check_tag(value, "my tag")
    assert str(caught.value).startswith("my tag ")
    assert all(word in str(caught.value) for word in words)


def test_check_tag_returns_it() -> None:
    assert check_tag("1.4") == "1.4"


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("quay.io", ("quay.io", None)),
        ("QUAY.io:443", ("quay.io", 443)),
        ("[::1]:5000", ("::1", 5000)),
        ("[0:0:0:0:0:0:0:1]", ("::1", None)),
        ("[::ffff:127.0.0.1]", ("::ffff:7f00:1", None)),
        ("localhost", ("localhost", None)),
        ("a-b.c", ("a-b.c", None)),
    ],
)
def test_split_registry(registry: str, expected: tuple[str, object]) -> None:
    host, port = split_registry(registry)
    assert (host.replace("::ffff:127.0.0.1", "::ffff:7f00:1"), port) == expected


@pytest.mark.parametrize(
    "registry",
    ["", ":5000", "a:b:5", "quay.io:99999", "quay.io:0", "quay.io:+5", "quay.io:٣", "[]", "[::1", "::1]", "a/b", "a b", "ä.io", "a-.io", "quay.io\n", "a_b"],
)
def test_split_registry_refuses(registry: str) -> None:
    with pytest.raises(InputError, match="not the name of a registry"):
        split_registry(registry)


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("a.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.255.0.9", True),
        ("[::1]:5000", True),
        ("[::2]:5000", False),
        ("128.0.0.1", False),
        ("localhost.example:5000", False),
        ("127.0.0.1.example", False),
        ("notlocalhost:5000", False),
        ("quay.io", False),
    ],
)
def test_is_loopback(registry: str, loopback: bool) -> None:
    assert is_loopback(registry) is loopback


_COMPONENT = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
_REGISTRIES = st.one_of(
    st.just("localhost"),
    st.builds("{}.{}".format, st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True), st.from_regex(r"[a-z]{2,4}", fullmatch=True)),
    st.builds("{}:{}".format, st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), st.integers(1, 65535)),
    st.ip_addresses(v=4).map(str),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(1, 65535)),
)
_REFERENCES = st.builds(
    Reference,
    _REGISTRIES,
    st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.from_regex(r"sha256:[a-f0-9]{64}", fullmatch=True),
)


@given(_REFERENCES, st.sampled_from(["", "docker://"]))
def test_every_reference_is_what_its_text_says(reference: Reference, front: str) -> None:
    assert Reference.parse(front + str(reference)) == reference


@given(st.text() | st.from_regex(r"(docker://)?[a-zA-Z0-9.:\[\]-]*/[a-z0-9/_.:@-]*", fullmatch=True) | st.integers() | st.none() | st.binary())
def test_any_text_is_a_reference_or_an_input_error(text: object) -> None:
    try:
        reference = Reference.parse(text)
    except InputError as exc:
        assert len(str(exc).splitlines()) == 1
        return
    assert Reference.parse(str(reference)) == reference
    assert reference.tag is None or is_tag(reference.tag)
    assert reference.digest is None or is_digest(reference.digest)
    split_registry(reference.registry)
    assert re.fullmatch("[a-z0-9._/-]+", reference.repository)
    assert ".." not in reference.repository


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io", "registry-1.docker.io", "DOCKER.io"])
def test_docker_hub_has_one_name(registry: str) -> None:
    assert str(Reference.parse(f"{registry}/busybox:1")) == "docker.io/library/busybox:1"


# -- images in layouts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
@pytest.mark.parametrize(
    ("text", "path", "tag", "digest"),
    [
        ("/a/b", "/a/b", None, None),
        ("/a/b:1.0", "/a/b", "1.0", None),
        (f"/a/b@{SHA256}", "/a/b", None, SHA256),
        (f"/a/b:1.0@{SHA512}", "/a/b", "1.0", SHA512),
        ("/a/b/", "/a/b", None, None),
        ("/a/../b:1", "/b", "1", None),
        ("b:1", "/work/b", "1", None),
        ("./b", "/work/b", None, None),
        ("~/b:1", "/home/me/b", "1", None),
        ("/a:b/c", "/a:b/c", None, None),
        ("/a:b/c:1", "/a:b/c", "1", None),
        ("/a/b:c:1", "/a/b:c", "1", None),
        ("/a@b/c", "/a@b/c", None, None),
        ("/a b/c.tar:latest", "/a b/c.tar", "latest", None),
        ("/", "/", None, None),
    ],
)
def test_an_image_in_a_layout(monkeypatch: pytest.MonkeyPatch, kind: str, text: str, path: str, tag: str | None, digest: str | None) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/work")
    monkeypatch.setenv("HOME", "/home/me")
    found = Reference.parse_place(f"{kind}:{text}")
    assert found == Reference(f"{kind}:{path}", "", tag, digest)
    assert found.is_layout
    assert found.name == f"{kind}:{path}"


@pytest.mark.parametrize("text", ["quay.io/a:1", "docker://quay.io/a", "localhost:5000/oci:1", f"quay.io/a@{SHA256}"])
def test_a_place_may_be_in_a_registry(text: str) -> None:
    found = Reference.parse_place(text)
    assert found == Reference.parse(text)
    assert not found.is_layout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("oci:", "'oci:' names no directory: write oci:PATH or oci:PATH:TAG"),
        ("oci-archive:", "'oci-archive:' names no file: write oci-archive:PATH or oci-archive:PATH:TAG"),
        ("oci::1", "'oci::1' names no directory"),
        (f"oci:@{SHA256}", "names no directory"),
        ("oci:/a\0b", "names no directory"),
        ("oci:/a\ud800", "names no directory"),
        ("oci:~\ud800/a", "names no directory"),
        ("oci:/a:", "the tag '' is not a tag"),
        ("oci:/a:b c", "the tag 'b c' is not a tag"),
        ("oci:/a:" + "b" * 129, "has 129 characters"),
        ("oci:/a:b/", "has a path that ends as if with a tag or a digest"),
        ("oci:/a@sha256/:" + SHA256[7:], "has a path that ends as if with a tag or a digest"),
        (f"oci:/a@{SHA256}/", "has a path that ends as if with a tag or a digest"),
        ("oci", "does not name its registry"),
        ("OCI:/a", "malformed registry"),
        (None, "is not the name of an image"),
        ("", "is not the name of an image"),
        (["oci:/a"], "is not the name of an image"),
    ],
)
def test_a_place_that_is_none(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        Reference.parse_place(text)
    assert "\n" not in str(caught.value)


_PATHS = st.lists(st.text(st.sampled_from("ab.:@~ -ö\n\0") | st.characters(), max_size=6), max_size=4).map("/".join)


@given(
    st.sampled_from(["oci:", "oci-archive:", "", "docker://", "quay.io/", "oci:/", "oci-archive:~", "oci:."]),
    _PATHS,
    st.sampled_from(["", ":1", ":", ":latest", ":b/c", ":ö"]),
    st.sampled_from(["", f"@{SHA256}", f"@{SHA512}", "@", "@sha256:1", f"@{SHA256}/", "/"]),
)
def test_a_place_is_refused_or_read_back_from_what_it_is_called(kind: str, path: str, tag: str, digest: str) -> None:
    try:
        found = Reference.parse_place(kind + path + tag + digest)
    except InputError as exc:
        assert "\n" not in str(exc)
        return
    assert Reference.parse_place(str(found)) == found
    assert found.is_layout == kind.startswith("oci")
    if found.is_layout:
        assert os.path.isabs(found.registry.partition(":")[2])


@given(
    st.sampled_from(["oci", "oci-archive"]),
    st.lists(st.text(st.characters(exclude_characters="/:@\0", exclude_categories=["Cs"]), min_size=1, max_size=5), max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.sampled_from([SHA256, SHA512]),
)
def test_every_path_without_a_colon_can_be_named(kind: str, parts: list[str], tag: str | None, digest: str | None) -> None:
    path = "/" + "/".join(parts)
    text = f"{kind}:{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    assert Reference.parse_place(text) == Reference(f"{kind}:{os.path.abspath(path)}", "", tag, digest)
