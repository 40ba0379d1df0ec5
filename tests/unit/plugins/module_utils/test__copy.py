# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying images between registries in memory, which refuse a manifest whose parts they lack."""

from __future__ import annotations

import contextlib
import json
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _copy
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._copy import (
    ENTRY,
    Copied,
    Copier,
    Copy,
    _filtered,
    parse_copies,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._progress import size_of
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._retry import RetryPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

DIGEST = "sha256:" + "a" * 64
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


class Fake:
    """A registry in memory. It refuses what lacks its parts, and notes what is asked of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.manifests: dict[tuple[str, str], Manifest] = {}
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.asked: list[str] = []
        self.granted: list[tuple[str, tuple[str, ...], list[str]]] = []
        self.errors: dict[str, list[ContainersError]] = {}
        self.hooks: dict[str, t.Callable[[], object]] = {}
        self.keeps_tags = False
        self.lists_referrers = True

    def fail(self, asked: str, *errors: ContainersError) -> None:
        """Answer so, the next times that it is asked so."""
        self.errors.setdefault(asked, []).extend(errors)

    def _note(self, asked: str) -> None:
        self.asked.append(asked)
        self.hooks.get(asked, int)()
        if self.errors.get(asked):
            raise self.errors[asked].pop(0)

    def writes(self) -> list[str]:
        return [asked for asked in self.asked if asked.partition(" ")[0] in ("POST", "PUT")]

    # -- what the tests put there

    def store(self, repository: str, tag: str, manifest: Manifest) -> str:
        self.manifests[repository, tag] = self.manifests[repository, manifest.digest] = manifest
        return manifest.digest

    def image(self, repository: str, tag: str, *contents: bytes) -> Manifest:
        """Store an image of one platform: its config and layers."""
        items = []
        for content in contents:
            self.blobs[repository, digest_of(content)] = content
            items.append({"mediaType": "application/octet-stream", "digest": digest_of(content), "size": len(content)})
        content = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": items[0], "layers": items[1:]}, indent=1).encode()
        manifest = Manifest(OCI_MANIFEST, content, digest_of(content))
        self.store(repository, tag, manifest)
        return manifest

    def index(self, repository: str, tag: str, *children: Manifest, platforms: t.Sequence[str] = ()) -> Manifest:
        items: list[dict[str, t.Any]] = [{"mediaType": child.media_type, "digest": child.digest, "size": len(child.content)} for child in children]
        for item, platform in zip(items, platforms):
            item["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/")))
        content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items, "annotations": {"a": "b"}}, indent=3).encode()
        manifest = Manifest(OCI_INDEX, content, digest_of(content))
        self.store(repository, tag, manifest)
        return manifest

    def multi(self, repository: str, tag: str, seed: str = "") -> Manifest:
        """Store an index of three platforms with a layer in common."""
        images = [self.image(repository, f"{tag}-{number}", f"config {platform} {seed}".encode(), b"shared") for number, platform in enumerate(PLATFORMS)]
        return self.index(repository, tag, *images, platforms=PLATFORMS)

    def signature(self, repository: str, tag: str, subject: Manifest) -> Manifest:
        """Store an image that refers to another one."""
        image = self.image(repository, tag, b"signature of " + subject.digest.encode())
        content = json.dumps({**image.json, "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.content)}}).encode()
        manifest = Manifest(OCI_MANIFEST, content, digest_of(content))
        self.store(repository, tag, manifest)
        return manifest

    # -- what is asked of it

    def connect(self) -> None:
        pass

    def referrers(self, image: Reference) -> list[dict[str, t.Any]] | None:
        self._note(f"GET referrers {image.repository} {image.digest}")
        if not self.lists_referrers:
            return None
        found = [manifest for (repository, name), manifest in self.manifests.items() if (repository, name) == (image.repository, manifest.digest)]
        return [
            {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}
            for manifest in found
            if manifest.json.get("subject", {}).get("digest") == image.digest
        ]

    def tags(self, repository: Reference) -> list[str]:
        self._note(f"GET tags {repository.repository}")
        return [name for found, name in self.manifests if found == repository.repository and ":" not in name]

    def grant(self, image: Reference, actions: t.Sequence[str], sources: t.Sequence[Reference] = ()) -> None:
        self.granted.append((image.repository, tuple(actions), [source.repository for source in sources]))

    def resolve(self, image: Reference) -> Descriptor | None:
        name = image.digest or image.tag or ""
        self._note(f"HEAD {image.repository} {name}")
        found = self.manifests.get((image.repository, name))
        return found and Descriptor(found.media_type, found.digest, len(found.content))

    def manifest(self, image: Reference) -> Manifest | None:
        name = image.digest or image.tag or ""
        found = self.manifests.get((image.repository, name))
        self._note(f"GET {image.repository} {name}")
        return found

    def put_manifest(self, image: Reference, manifest: Manifest) -> None:
        name = image.digest or image.tag or ""
        self._note(f"PUT {image.repository} {name}")
        for child in manifest.children:
            if (image.repository, child.digest) not in self.manifests:
                raise RegistryError(f"{manifest.digest} lacks the manifest {child.digest}", 400)
        for blob in manifest.blobs:
            if (image.repository, blob.digest) not in self.blobs:
                raise RegistryError(f"{manifest.digest} lacks the blob {blob.digest}", 400)
        if not self.keeps_tags or image.digest:
            self.manifests[image.repository, name] = self.manifests[image.repository, manifest.digest] = manifest

    def name_manifest(self, image: Reference, manifest: Manifest) -> None:
        self.put_manifest(image, manifest)
        now = self.manifests.get((image.repository, image.digest or image.tag or ""))
        if now != manifest:
            raise RegistryError(f"{image} names {now.digest if now else 'nothing'}")

    def has_blob(self, repository: Reference, digest: str) -> bool:
        self._note(f"HEAD blob {repository.repository}")
        return (repository.repository, digest) in self.blobs

    def place_blob(self, repository: Reference, digest: str, source: Reference | None = None) -> str:
        origin = (source or repository).repository
        self._note(f"POST {repository.repository} from {origin}")
        content = self.blobs.get((origin, digest))
        if content is None:
            return "https://upload"
        self.blobs[repository.repository, digest] = content
        return ""

    def upload_blob(self, repository: Reference, dummy: str, digest: str, body: t.Any) -> None:
        self._note(f"PUT blob {repository.repository}")
        content = b"".join(body)
        assert digest_of(content) == digest
        self.blobs[repository.repository, digest] = content

    def read_blob(self, repository: Reference, digest: str, size: int) -> t.Iterator[bytes]:
        self._note(f"GET blob {repository.repository}")
        content = self.blobs.get((repository.repository, digest))
        if content is None:
            raise RegistryError(f"GET blob {digest}: 404", 404)
        assert len(content) == size
        yield content


class FakeClient(Client):
    def __init__(self) -> None:
        super().__init__(Credentials(), ("pull",), parallel=4, retries=2)
        self.fakes = {name: Fake(name) for name in ("one.example", "two.example", "three.example")}

    def registry(self, image: Reference) -> t.Any:
        return self.fakes[image.registry]

    def policy(self) -> RetryPolicy:
        return RetryPolicy(total=2, backoff_factor=0)


class World:
    def __init__(self) -> None:
        self.client = FakeClient()
        self.one, self.two, self.three = self.client.fakes.values()

    def copy(self, source: str, *targets: str, check_mode: bool = False, **more: t.Any) -> Copied:
        return self.copy_all((source, *targets), check_mode=check_mode, **more)[0]

    def copy_all(self, *images: tuple[str, ...], check_mode: bool = False, **more: t.Any) -> list[Copied]:
        copies = parse_copies([{"source": source, "destinations": targets, **more} for source, *targets in images])
        return Copier(self.client, check_mode).copy_all(copies)


def errors(*done: Copied) -> list[str]:
    return [str(outcome.error) for copied in done for outcome in copied.outcomes if outcome.error]


# -- what a user asks for --------------------------------------------------------------------------------------------------------


def test_parse_copies() -> None:
    copies = parse_copies(
        [
            {"source": "docker://busybox.example/a", "destinations": ["quay.io/b", "quay.io/b:2"]},
            {"source": f"quay.io/a@{DIGEST}", "destinations": ("quay.io/c", "quay.io/c:3"), "platforms": None},
            {"source": f"quay.io/a:1@{DIGEST}", "destinations": ["quay.io/d"], "platforms": ["linux/amd64"]},
        ]
    )
    assert [str(copy.source) for copy in copies] == ["busybox.example/a:latest", f"quay.io/a@{DIGEST}", f"quay.io/a:1@{DIGEST}"]
    assert [[str(target) for target in copy.targets] for copy in copies] == [
        ["quay.io/b:latest", "quay.io/b:2"],
        [f"quay.io/c@{DIGEST}", "quay.io/c:3"],
        ["quay.io/d:1"],
    ]
    assert [copy.platforms for copy in copies] == [(), (), ("linux/amd64",)]


GOOD = {"source": "quay.io/a:1", "destinations": ["quay.io/b:2"]}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (None, "images is to be a list"),
        ("quay.io/a", "images is to be a list"),
        (GOOD, "images is to be a list"),
        (["quay.io/a"], r"^images\[0\] is to be a dictionary of source and destinations, not a str$"),
        ([GOOD, None], r"^images\[1\] is to be a dictionary"),
        ([{**GOOD, "tag": 1}], r"images\[0\] has an unknown key 'tag'"),
        ([{"destinations": ["quay.io/b"]}], "None is not the name of an image"),
        ([{**GOOD, "source": "a"}], "does not name its registry"),
        ([{"source": "quay.io/a"}], "destinations is to be a list of names that is not empty"),
        ([{**GOOD, "destinations": []}], "destinations is to be a list of names that is not empty"),
        ([{**GOOD, "destinations": "quay.io/b"}], r"images\[0\] \(quay.io/a:1\): destinations is to be a list"),
        ([{**GOOD, "destinations": [5]}], "5 is not the name of an image"),
        ([{**GOOD, "destinations": [f"quay.io/b@{DIGEST}"]}], "has a digest: it gets that of the source"),
        ([{**GOOD, "destinations": ["quay.io/b", "quay.io/b:1"]}], "quay.io/b:1 is a destination twice"),
        ([GOOD, GOOD], "quay.io/b:2 is a destination twice"),
        ([{**GOOD, "destinations": ["docker.io/b:1", "index.docker.io/library/b:1"]}], "docker.io/library/b:1 is a destination twice"),
        (
            [GOOD, {"source": "quay.io/b:2", "destinations": ["quay.io/c:3", "quay.io/d:3"]}],
            "^quay.io/b:2 is a source, and a destination of quay.io/a:1: copy quay.io/c:3, quay.io/d:3 from there too, or in a task of its own$",
        ),
        ([{"source": "quay.io/b:2", "destinations": ["quay.io/a:1"]}, GOOD], "^quay.io/b:2 is a source, and a destination of quay.io/a:1: copy quay.io/a:1 "),
        ([{**GOOD, "platforms": "linux/amd64"}], "platforms is to be a list"),
        ([{**GOOD, "platforms": [1]}], "platforms is to be a list"),
        ([{"source": f"quay.io/a@{DIGEST}", "destinations": ["quay.io/b"], "platforms": ["linux/amd64"]}], "name a tag for each destination"),
    ],
)
def test_what_is_malformed(items: t.Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_copies(items)


_NAMES = st.sampled_from(["quay.io/a", "quay.io/a:1", "docker://quay.io/b:2", f"quay.io/a@{DIGEST}", "localhost:5000/c", "docker.io/d", "a", "", "quay.io/A"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _NAMES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["source", "destinations", "platforms"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_ITEMS = st.lists(
    st.fixed_dictionaries(
        {"source": _NAMES | _JSON, "destinations": st.lists(_NAMES, max_size=3) | _JSON},
        optional={"platforms": st.lists(st.text(max_size=5), max_size=2) | _JSON},
    ),
    max_size=3,
)


@given(_JSON | _ITEMS)
def test_whatever_is_asked_for_is_an_input_error_or_copies(items: t.Any) -> None:
    try:
        copies = parse_copies(items)
    except InputError as exc:
        assert "\n" not in str(exc)
        return
    assert len(copies) == len(items)
    targets = [target for copy in copies for target in copy.targets]
    assert len(targets) == len(set(targets))
    for copy in copies:
        assert copy.source.tag or copy.source.digest
        assert copy.targets
        assert all(bool(target.tag) != bool(target.digest) for target in copy.targets)
        assert all(target.digest in (None, copy.source.digest) for target in copy.targets)
        assert all(isinstance(platform, str) for platform in copy.platforms)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1.0 MiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**4, "5120.0 GiB"),
    ],
)
def test_size_of(number: int, text: str) -> None:
    assert size_of(number) == text


# -- platforms ---------------------------------------------------------------------------------------------------------------------

SOURCE = Reference("one.example", "a", "1")
_KNOWN = ["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7", "linux/armoured", "unknown/unknown", "windows/amd64"]


def described(number: int, platform: str | None) -> dict[str, t.Any]:
    item: dict[str, t.Any] = {"mediaType": OCI_MANIFEST, "digest": digest_of(str(number).encode()), "size": number, "x-more": {"ä": number}}
    if platform is not None:
        item["platform"] = {**dict(zip(("os", "architecture", "variant"), platform.split("/"))), "os.version": "1"}
    return item


@settings(max_examples=150)
@given(
    st.lists(st.none() | st.sampled_from(_KNOWN), max_size=8),
    st.lists(st.sampled_from([*_KNOWN, "linux", "linux/arm", "linux/s390x", ""]), min_size=1, max_size=4),
    st.sampled_from([OCI_INDEX, DOCKER_LIST]),
)
def test_an_index_of_the_wanted_platforms_has_just_these(platforms: list[str | None], wanted: list[str], media_type: str) -> None:
    items = [described(number, platform) for number, platform in enumerate(platforms)]
    content = json.dumps({"annotations": {"b": "ö"}, "manifests": items, "schemaVersion": 2}, indent=7).encode()
    root = Manifest(media_type, content, digest_of(content))

    def suits(want: str, platform: str | None) -> bool:
        return platform is not None and (platform.split("/") + [""])[: len(want.split("/"))] == want.split("/")

    copy = Copy(SOURCE, (), tuple(wanted))
    missing = [want for want in wanted if not any(suits(want, platform) for platform in platforms)]
    if missing:
        with pytest.raises(ContainersError, match="one.example/a:1 has no image for") as caught:
            _filtered(root, copy)
        assert f"no image for {', '.join(missing)}: it has" in str(caught.value)
        return
    found = _filtered(root, copy)
    kept = [item for item, platform in zip(items, platforms) if any(suits(want, platform) for want in wanted)]
    assert found.media_type == media_type
    assert found.digest == digest_of(found.content)
    made_of = {"io.github.gating.containers.source": root.digest} if media_type == OCI_INDEX and len(kept) != len(items) else {}
    assert found.json == {"annotations": {"b": "ö", **made_of}, "manifests": kept, "schemaVersion": 2}
    assert (found.content == content) == (len(kept) == len(items))


def test_without_platforms_nothing_is_changed() -> None:
    root = Manifest(OCI_INDEX, b'{"manifests": []}', DIGEST)
    assert _filtered(root, Copy(SOURCE, ())) is root


def test_platforms_of_an_image_that_is_no_index() -> None:
    with pytest.raises(ContainersError, match="one.example/a:1 is an image of one platform"):
        _filtered(Manifest(OCI_MANIFEST, b"{}", DIGEST), Copy(SOURCE, (), ("linux/amd64",)))


def test_attestations_of_buildkit_go_with_their_images() -> None:
    items = [described(number, platform) for number, platform in enumerate(("linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"))]
    for image, attestation in zip(items[:2], items[2:]):
        attestation["annotations"] = {"vnd.docker.reference.digest": image["digest"], "vnd.docker.reference.type": "attestation-manifest"}
    content = json.dumps({"manifests": items}).encode()
    root = Manifest(OCI_INDEX, content, digest_of(content))
    assert _filtered(root, Copy(SOURCE, (), ("linux/arm64",))).json["manifests"] == [items[1], items[3]]
    assert _filtered(root, Copy(SOURCE, (), ("linux/amd64", "linux/arm64"))) is root, "these are all platforms that it has"


def test_an_index_of_some_platforms_is_the_same_each_time() -> None:
    world = World()
    world.one.multi("a", "1")
    first = world.copy("one.example/a:1", "two.example/b:1", platforms=["linux/arm64"])
    assert errors(first) == []
    assert first.digest != world.one.manifests["a", "1"].digest
    assert [child.platform for child in world.two.manifests["b", "1"].children] == ["linux/arm64"]
    assert len(world.two.blobs) == 2
    del world.one.asked[:]
    second = world.copy("one.example/a:1", "two.example/b:1", platforms=["linux/arm64"])
    assert (second.digest, second.changed) == (first.digest, False)
    assert world.one.asked == ["HEAD a 1"], "a GET counts as a pull at some registries"


@pytest.mark.parametrize("wanted", [["linux/arm64"], ["linux/amd64", "linux/arm64"], list(PLATFORMS)], ids=len)
@pytest.mark.parametrize("before", [["linux/arm64"], ["linux/amd64", "linux/arm64"], list(PLATFORMS)], ids=len)
@pytest.mark.parametrize("moved", [False, True])
def test_an_index_of_some_platforms_is_made_anew_when_it_has_to(before: list[str], wanted: list[str], moved: bool) -> None:
    world = World()
    world.one.multi("a", "1")
    world.copy("one.example/a:1", "two.example/b:1", platforms=before)
    if moved:
        world.one.multi("a", "1", "moved")
    expected = _filtered(world.one.manifests["a", "1"], Copy(SOURCE, (), tuple(wanted)))
    done = world.copy("one.example/a:1", "two.example/b:1", platforms=wanted)
    assert errors(done) == []
    assert done.changed == (moved or before != wanted)
    assert done.digest == expected.digest == world.two.manifests["b", "1"].digest


def test_a_copy_of_some_platforms_is_copied_whole() -> None:
    world = World()
    world.one.multi("a", "1")
    some = world.copy("one.example/a:1", "two.example/b:1", platforms=["linux/arm64"])
    for changed in (True, False):
        done = world.copy("two.example/b:1", "three.example/c:1", platforms=["linux/arm64"])
        assert (done.digest, done.changed) == (some.digest, changed)


def test_where_an_index_cannot_be_read_the_source_is() -> None:
    world = World()
    world.one.multi("a", "1")
    first = world.copy("one.example/a:1", "two.example/b:1", platforms=["linux/arm64"])
    world.two.fail(f"GET b {first.digest}", RegistryError("busy"))
    second = world.copy("one.example/a:1", "two.example/b:1", platforms=["linux/arm64"])
    assert errors(second) == []
    assert (second.digest, second.changed) == (first.digest, False)


# -- copying -----------------------------------------------------------------------------------------------------------------------


def test_manifests_come_after_their_parts_and_the_tag_last() -> None:
    world = World()
    root = world.one.multi("a", "1")
    done = world.copy("one.example/a:1", "two.example/b:2")
    assert errors(done) == []
    assert done.digest == root.digest == world.two.manifests["b", "2"].digest
    assert world.two.manifests["b", "2"].content == root.content
    puts = [asked for asked in world.two.asked if asked.startswith("PUT")]
    assert puts[:4] == ["PUT blob b"] * 4
    assert sorted(puts[4:7]) == sorted(f"PUT b {child.digest}" for child in root.children)
    assert puts[7:] == ["PUT b 2"]
    assert done.to_dict()["destinations"] == [{"image": "two.example/b:2", "digest": root.digest, "previous_digest": None, "changed": True}]
    assert done.stored == {"sent": 4, "mounted": 0, "there": 0}
    assert done.size == sum(map(len, world.two.blobs.values()))


def test_an_image_of_one_platform_under_its_digest() -> None:
    world = World()
    root = world.one.image("a", "1", b"config", b"layer")
    done = world.copy(f"one.example/a@{root.digest}", "two.example/b")
    assert errors(done) == []
    assert world.two.manifests == {("b", root.digest): root}


_TREES = st.recursive(
    st.lists(st.binary(min_size=1, max_size=2), min_size=1, max_size=3).map(tuple), lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=6
)


@settings(max_examples=30)
@given(st.lists(_TREES, min_size=1, max_size=3), st.booleans())
def test_images_of_any_form_are_copied_whole(trees: list[t.Any], within: bool) -> None:
    world = World()

    def build(tree: t.Any, tag: str) -> Manifest:
        if isinstance(tree, tuple):
            return world.one.image("a", tag, *tree)
        return world.one.index("a", tag, *(build(one, f"{tag}-{number}") for number, one in enumerate(tree)))

    roots = {str(number): build(tree, str(number)) for number, tree in enumerate(trees)}
    to = "one.example/b" if within else "two.example/b"
    # The registry in memory sees to it that all parts are there.
    done = world.copy_all(*((f"one.example/a:{tag}", f"{to}:{tag}", f"three.example/{tag}:x") for tag in roots))
    assert errors(*done) == []
    target = world.one if within else world.two
    for tag, root in roots.items():
        assert target.manifests["b", tag] == root
        assert world.three.manifests[tag, "x"] == root
    sent = [asked for asked in target.asked if asked.startswith("PUT blob b")]
    assert len(sent) == (0 if within else len({digest for (name, digest) in target.blobs if name == "b"}))


def test_a_tag_that_moves_while_it_is_copied() -> None:
    world = World()
    first, other = world.one.multi("a", "1"), world.one.multi("a", "2", "other")
    world.two.image("b", "1", b"before")

    def move() -> None:
        world.one.manifests["a", "1"] = other

    # The HEAD of the destination comes first, so the source is looked at by a HEAD as well.
    world.one.hooks[f"GET a {first.digest}"] = move
    done = world.copy("one.example/a:1", "two.example/b:1")
    assert errors(done) == []
    assert world.one.manifests["a", "1"] is other
    assert done.digest == first.digest == world.two.manifests["b", "1"].digest


def test_a_tag_that_moves_after_it_was_read() -> None:
    world = World()
    first, other = world.one.multi("a", "1"), world.one.multi("a", "2", "other")

    def move() -> None:
        world.one.manifests["a", "1"] = other

    world.one.hooks["GET a 1"] = move
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1")
    assert errors(done) == []
    assert done.digest == first.digest == world.two.manifests["b", "1"].digest == world.three.manifests["b", "1"].digest
    assert world.one.asked.count("GET a 1") == 1


@pytest.mark.parametrize("before", [True, False])
def test_a_destination_that_keeps_what_it_had_is_an_error(before: bool) -> None:
    world = World()
    world.one.multi("a", "1")
    names = world.two.image("b", "1", b"before").digest if before else "nothing"
    world.two.keeps_tags = True
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1")
    assert errors(done) == [f"two.example/b:1 names {names}"]
    assert done.changed, "the other one was"
    assert done.outcomes[0].to_dict()["changed"] is False


def test_what_is_as_it_should_be_costs_two_requests() -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.copy("one.example/a:1", "two.example/b:1")
    world.one.asked.clear()
    world.two.asked.clear()
    done = world.copy("one.example/a:1", "two.example/b:1")
    assert (done.changed, done.digest, done.outcomes[0].previous) == (False, root.digest, root.digest)
    assert (world.one.asked, world.two.asked) == (["HEAD a 1"], ["HEAD b 1"])


def test_only_the_targets_that_differ_are_written_to() -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.copy("one.example/a:1", "two.example/b:1")
    world.two.asked.clear()
    done = world.copy("one.example/a:1", "two.example/b:1", "two.example/b:2", "three.example/c:1")
    assert errors(done) == []
    assert [outcome.to_dict()["changed"] for outcome in done.outcomes] == [False, True, True]
    assert "PUT b 1" not in world.two.asked
    assert "PUT b 2" in world.two.asked
    assert world.three.manifests["c", "1"] == root


def test_an_update_stores_only_what_is_new() -> None:
    world = World()
    old = [world.one.image("a", f"x-{number}", f"config {number}".encode(), b"layer") for number in range(3)]
    world.one.index("a", "1", *old)
    world.copy("one.example/a:1", "two.example/b:1")
    new = world.one.image("a", "x-3", b"config 3", b"layer", b"more")
    root = world.one.index("a", "1", *old[:2], new)
    world.two.asked.clear()
    done = world.copy("one.example/a:1", "two.example/b:1")
    assert errors(done) == []
    assert world.two.manifests["b", "1"] == root
    assert [asked for asked in world.two.asked if asked.startswith("PUT b ")] == [f"PUT b {new.digest}", "PUT b 1"]
    assert world.two.asked.count("PUT blob b") == 2


def test_an_image_that_is_not_there() -> None:
    world = World()
    world.one.image("a", "1", b"config")
    missing, fine = world.copy_all(("one.example/missing:1", "two.example/b:1"), ("one.example/a:1", "two.example/c:1"))
    assert errors(missing) == ["one.example/missing:1 is not there: check its name, and the login for one.example"]
    assert (missing.digest, missing.changed) == (None, False)
    assert errors(fine) == []


def test_a_part_of_an_image_that_is_not_there() -> None:
    world = World()
    root = world.one.multi("a", "1")
    gone = root.children[1].digest
    del world.one.manifests["a", gone]
    done = world.copy("one.example/a:1", "two.example/b:1")
    assert errors(done) == [f"one.example/a@{gone} is not there: check its name, and the login for one.example"]
    assert world.two.writes() == []


def test_a_blob_that_is_not_there() -> None:
    world = World()
    world.one.image("a", "1", b"config", b"layer")
    del world.one.blobs["a", digest_of(b"layer")]
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1")
    assert len(errors(done)) == 2
    assert not done.changed
    assert (world.two.manifests, world.three.manifests) == ({}, {})


# -- errors of one target --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["HEAD b 1", "HEAD blob b", "PUT blob b", "PUT b 1", "PUT b {child}"])
@pytest.mark.parametrize("status", [403, 413])
def test_errors_of_one_target_do_not_touch_the_others(asked: str, status: int) -> None:
    world = World()
    root = world.one.multi("a", "1")
    # As often as it is asked.
    world.two.fail(asked.format(child=root.children[0].digest), *[RegistryError("no", status)] * 9)
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1", "three.example/c:1", "one.example/d:1")
    assert [str(outcome.target) for outcome in done.outcomes if outcome.error] == ["two.example/b:1"]
    assert errors(done) == ["no"]
    assert done.outcomes[0].to_dict() == {
        **{"image": "two.example/b:1", "digest": done.outcomes[0].digest, "previous_digest": None, "changed": False, "error": "no"}
    }
    assert ("b", "1") not in world.two.manifests
    assert world.three.manifests["b", "1"] == world.three.manifests["c", "1"] == world.one.manifests["d", "1"] == root


def test_a_tag_that_fails_does_not_stop_the_other_tags_of_its_repository() -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.two.fail("PUT b locked", RegistryError("immutable", 400))
    done = world.copy("one.example/a:1", "two.example/b:locked", "two.example/b:2")
    assert [outcome.error is None for outcome in done.outcomes] == [False, True]
    assert world.two.manifests["b", "2"] == root


def test_a_target_that_fails_for_a_while_is_tried_by_itself_when_the_others_are_done() -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.two.fail("PUT blob b", *[RegistryError("later", 503)] * 2)
    named: list[bool] = []
    lock = threading.Lock()

    def look() -> None:
        with lock:
            named.append(("b", "1") in world.three.manifests)

    world.two.hooks["PUT blob b"] = look
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1")
    assert errors(done) == []
    assert world.two.manifests["b", "1"] == root
    assert not named[0]
    assert named[-1], "the other one had it by then"


def test_a_target_that_fails_for_too_long() -> None:
    world = World()
    world.one.multi("a", "1")
    world.two.fail("PUT blob b", *[RegistryError(f"later {number}", 503) for number in range(99)])
    done = world.copy("one.example/a:1", "two.example/b:1", "two.example/b:2", "three.example/b:1")
    assert [outcome.error is None for outcome in done.outcomes] == [False, False, True]
    assert [asked for asked in world.two.asked if asked.startswith("PUT b ")] == []


def test_what_many_images_share_is_sent_once() -> None:
    world = World()
    for number in range(12):
        world.one.multi(f"a/{number}", "1", str(number % 3))
    done = world.copy_all(*((f"one.example/a/{number}:1", f"two.example/b/{number}:1") for number in range(12)))
    assert errors(*done) == []
    sent = [asked for asked in world.two.asked if asked.startswith("PUT blob")]
    assert len(sent) == 1 + 3 * len(PLATFORMS) == len(set(world.two.blobs.values()))
    # Each of the images has four blobs.
    assert sum(number for copied in done for number in copied.stored.values()) == 48


# -- rights and check mode --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("check_mode", "actions"), [(False, ("pull", "push")), (True, ("pull",))])
def test_the_rights_that_are_asked_for(check_mode: bool, actions: tuple[str, ...]) -> None:
    world = World()
    world.one.multi("a", "1")
    world.copy("one.example/a:1", "one.example/b:1", "two.example/c:1", check_mode=check_mode)
    assert world.one.granted == [("b", actions, ["a"])]
    assert world.two.granted == [("c", actions, [])]


@pytest.mark.parametrize("platforms", [[], ["linux/amd64"]])
@pytest.mark.parametrize("before", [True, False])
def test_check_mode_writes_nothing(before: bool, platforms: list[str]) -> None:
    world = World()
    world.one.multi("a", "1")
    previous = world.two.image("b", "1", b"before").digest if before else None
    would = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1", check_mode=True, platforms=platforms)
    assert world.one.writes() + world.two.writes() + world.three.writes() == []
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1", platforms=platforms)
    assert [outcome.to_dict() for outcome in would.outcomes] == [outcome.to_dict() for outcome in done.outcomes]
    assert would.outcomes[0].previous == previous
    assert (would.changed, would.digest, would.size) == (True, done.digest, 0)


# -- what refers to images --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lists", [True, False])
def test_what_refers_to_an_image_that_is_there_is_a_change_in_check_mode_too(lists: bool) -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.two.lists_referrers = lists
    world.copy("one.example/a:1", "two.example/b:1", referrers=True)
    signature = world.one.signature("a", "signed", root)
    world.two.asked.clear()
    would = world.copy("one.example/a:1", "two.example/b:1", check_mode=True, referrers=True)
    assert (errors(would), world.two.writes()) == ([], [])
    done = world.copy("one.example/a:1", "two.example/b:1", referrers=True)
    assert ("b", signature.digest) in world.two.manifests
    assert (would.changed, would.referrers) == (done.changed, done.referrers) == (True, 1)
    for check_mode in (True, False):
        assert not world.copy("one.example/a:1", "two.example/b:1", check_mode=check_mode, referrers=True).changed


def test_a_list_of_referrers_that_was_not_completed_is_a_change() -> None:
    world = World()
    world.two.lists_referrers = False
    root = world.one.multi("a", "1")
    signature = world.one.signature("a", "signed", root)
    world.copy("one.example/a:1", "two.example/b:1", referrers=True)
    tag = root.digest.replace(":", "-")
    assert [child.digest for child in world.two.manifests["b", tag].children] == [signature.digest]
    del world.two.manifests["b", tag]
    assert world.copy("one.example/a:1", "two.example/b:1", check_mode=True, referrers=True).changed
    assert ("b", tag) not in world.two.manifests
    assert world.copy("one.example/a:1", "two.example/b:1", referrers=True).changed
    assert ("b", tag) in world.two.manifests


def test_tags_of_several_repositories_are_listed_at_the_same_time() -> None:
    world, both = World(), threading.Barrier(2)
    for name in ("a", "b"):
        world.one.image(name, "1", b"config")
        world.one.hooks[f"GET tags {name}"] = lambda: both.wait(5)
    done = world.copy_all(("one.example/a:1", "two.example/a:1"), ("one.example/b:1", "two.example/b:1"), referrers=True)
    assert errors(*done) == []


def test_referrers_that_cannot_be_listed_are_an_error_of_all_that_should_have_them() -> None:
    world = World()
    root = world.one.multi("a", "1")
    world.copy("one.example/a:1", "two.example/b:1")
    world.one.fail(f"GET referrers a {root.digest}", *[RegistryError("GET referrers: answered 500", 500)] * 2)
    done = world.copy("one.example/a:1", "two.example/b:1", "three.example/b:1", referrers=True)
    assert errors(done) == ["GET referrers: answered 500"] * 2
    assert ("b", "1") not in world.three.manifests


def test_an_archive_that_cannot_be_completed_lacks_what_refers_to_its_images(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    signed, same = world.one.multi("a", "1"), world.one.image("a", "2", b"2")
    images = [("one.example/a:1", f"oci-archive:{tmp_path}/a.tar:1"), ("one.example/a:2", f"oci-archive:{tmp_path}/a.tar:2")]
    assert errors(*world.copy_all(*images, referrers=True)) == []
    world.one.signature("a", "signed", signed)

    def finish(dummy: str) -> None:
        raise ContainersError("no space left")

    monkeypatch.setattr(world.client, "finish", finish)
    done = world.copy_all(*images, referrers=True)
    assert [errors(one) for one in done] == [["no space left"], []]
    assert done[1].digest == same.digest


# -- the module -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    @contextlib.contextmanager
    def opened(dummy: t.Any, credentials: Credentials, actions: t.Sequence[str]) -> t.Iterator[FakeClient]:
        assert tuple(actions) == ("pull",), "on what is no destination"
        yield made.client

    monkeypatch.setattr(_copy, "open_client", opened)
    return made


def params(*images: tuple[str, ...], credentials: t.Any = None) -> dict[str, t.Any]:
    return {
        "images": [{"source": source, "destinations": list(targets)} for source, *targets in images],
        **{"credentials": credentials or {}, "parallel": 2, "timeout": 5, "retries": 0},
    }


def test_run(world: World) -> None:
    root = world.one.image("a", "1", b"c" * 1000, b"l" * 548)
    given = params(("one.example/a:1", "two.example/b:1", "three.example/b:2"))
    would = ENTRY.run(given, True)
    assert (would["changed"], would["msg"]) == (True, "would copy 2 tags of 2, 0 B sent, 0 requests")
    assert world.two.writes() == []
    result = ENTRY.run(given, False)
    assert (
        result["diff"]
        == would["diff"]
        == {
            "before": {"two.example/b:1": None, "three.example/b:2": None},
            "after": {"two.example/b:1": root.digest, "three.example/b:2": root.digest},
        }
    )
    assert result["msg"] == "copied 2 tags of 2, 3.0 KiB sent, 0 requests"
    again = ENTRY.run(given, False)
    assert (again["changed"], again["msg"]) == (False, "copied 0 tags of 2, 0 B sent, 0 requests")
    assert again["diff"] == {"before": {}, "after": {}}


def test_run_that_fails_has_the_whole_result(world: World) -> None:
    root = world.one.image("a", "1", b"config")
    world.two.fail("PUT b 1", RegistryError("no", 403))
    with pytest.raises(ContainersError) as caught:
        ENTRY.run(params(("one.example/a:1", "three.example/b:1", "two.example/b:1"), ("one.example/x:1", "three.example/x:1")), False)
    assert str(caught.value) == "copy of one.example/a:1 to two.example/b:1: no - and 1 more destination failed"
    assert caught.value.result["changed"] is True
    assert caught.value.result["diff"]["after"] == {"three.example/b:1": root.digest}
    assert [["error" in target for target in image["destinations"]] for image in caught.value.result["images"]] == [[False, True], [True]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (params(("one.example/a:1", "two.example/b:1"), credentials={"one.example": {}}), "no entry for two.example"),
        (params(("one.example/a:1", "two.example/b:1"), credentials={"two.example": {"repository": "^two.example/c$"}}), "permit only repositories"),
        (params(("one.example/a:1",)), "destinations is to be a list"),
    ],
)
def test_run_refuses_bad_input_before_any_request(world: World, given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ENTRY.run(given, False)
    assert world.one.asked + world.two.asked == []
