# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of registry_info: what is found, in which order, with how many requests."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
import stand_ins
from ansible_collections.gating.containers.plugins.module_utils import _info
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._info import ENTRY, Search, compile_query, parse_searches, sort
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._vendors import choose
from ansible_collections.gating.containers.plugins.module_utils._vendors.ecr import Ecr
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import DAY, OCI_INDEX, OCI_MANIFEST, Registry, digest_of

APP = "example/app"


@pytest.fixture
def start(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[[type[Registry]], t.Any]]:
    started: list[Registry] = []

    def make(kind: type[Registry]) -> Registry:
        started.append(kind())
        ecr: t.Any = started[-1]
        monkeypatch.setitem(choose.CLASSES, "ecr", lambda client, registry: Ecr(client, registry, ecr.call, ecr.public))
        return started[-1]

    yield make
    for stand_in in started:
        stand_in.close()
    for stand_in in started:
        stand_in.check()
        assert not [write for write in stand_in.writes() if write not in ("POST /v2/auth/token", "POST /artifactory/api/search/aql", "POST /")]


def info(stand_in: Registry, *images: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    given_ = [{"repository": f"{stand_in.name}/{APP}", **image} for image in images or ({},)]
    params = {"images": given_, "details": True, "sort": None, "query": None, "parallel": 4, "timeout": 5, "retries": 1, **options}
    return ENTRY.run({"credentials": stand_in.credentials(), **params}, False)


def names(result: dict[str, t.Any]) -> list[str]:
    return [item["tag"] for item in result["images"]]


def config_of(stand_in: Registry, **content: t.Any) -> dict[str, t.Any]:
    """Store a config, and return its descriptor."""
    raw = json.dumps(content).encode()
    stand_in.contents[digest_of(raw)] = raw
    return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(raw), "size": len(raw)}


def image(stand_in: Registry, *tags: str, size: int = 100, labels: dict[str, str] | None = None, **config: t.Any) -> dict[str, t.Any]:
    descriptor = config_of(stand_in, config={"Labels": labels}, **config)
    layers = [{"mediaType": "x", "digest": digest_of(b"x"), "size": size - descriptor["size"]}]
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": layers, "annotations": {"a": "b"}}).encode()
    stand_in.store(APP, OCI_MANIFEST, raw, *tags)
    platform = {key: config[key] for key in ("os", "architecture", "variant") if key in config}
    return {"mediaType": OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw), "platform": platform}


def index(stand_in: Registry, tag: str, *children: dict[str, t.Any], **more: t.Any) -> str:
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children, **more}).encode()
    stand_in.store(APP, OCI_INDEX, raw, tag)
    return digest_of(raw)


def test_an_image_and_an_index(start: t.Any) -> None:
    it = start(Registry)
    old, new = "2026-01-02T03:04:05.123456789Z", "2026-01-03T03:04:05+01:00"
    amd = image(it, "amd", size=1000, os="linux", architecture="amd64", created=old, labels={"x": "1", "y": "2"})
    arm = image(it, size=2000, os="linux", architecture="arm64", variant="v8", created=new, labels={"x": "1", "y": "3"})
    attestation = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}}
    digest = index(it, "both", amd, arm, attestation)
    found = {item["tag"]: item for item in info(it)["images"]}
    assert found["amd"] == {
        "repository": f"{it.name}/{APP}", "tag": "amd", "digest": amd["digest"], "media_type": OCI_MANIFEST, "platforms": ["linux/amd64"],
        "created": "2026-01-02T03:04:05Z", "pushed": None, "size": 1000, "labels": {"x": "1", "y": "2"}, "annotations": {"a": "b"},
    }  # fmt: skip
    assert found["both"] == {
        "repository": f"{it.name}/{APP}", "tag": "both", "digest": digest, "media_type": OCI_INDEX, "platforms": ["linux/amd64", "linux/arm64/v8"],
        "created": "2026-01-03T02:04:05Z", "pushed": None, "size": 3000, "labels": {"x": "1"}, "annotations": {},
    }  # fmt: skip


def test_what_is_not_known_is_null(start: t.Any) -> None:
    it = start(Registry)
    child = image(it, os="linux", architecture="amd64", created="1970-01-01T00:00:00Z")
    missing = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "1" * 64, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}}
    index(it, "broken", child, missing)
    index(it, "annotated", child, annotations={"org.opencontainers.image.created": "2026-01-02T03:04:05Z"})
    found = {item["tag"]: item for item in info(it)["images"]}
    assert (found["broken"]["created"], found["broken"]["size"], found["broken"]["platforms"]) == (None, None, ["linux/amd64", "linux/s390x"])
    assert found["annotated"]["created"] == "2026-01-02T03:04:05Z"


def test_an_image_of_many_tags_is_read_once(start: t.Any) -> None:
    it = start(Registry)
    image(it, *[f"t{number}" for number in range(20)])
    result = info(it)
    assert len(result["images"]) == 20
    # The ping, the list, a HEAD for each tag, manifest and config.
    assert result["requests"] == 2 + 20 + 2


def test_filters(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    now = time.time()
    for tag, pushed in (("a1", now - 60), ("a2", now - 2 * DAY), ("a3", now - 9 * DAY), ("a4", None), ("a5", now + DAY), ("b1", now - 60)):
        hub.image(APP, tag, text=tag, pushed=pushed)
    assert names(info(hub, {"regex": "^a"})) == ["a1", "a2", "a3", "a4", "a5"]
    assert names(info(hub, {"regex": "^a", "newer_than": 3 * DAY})) == ["a1", "a2"]
    assert names(info(hub, {"older_than": DAY})) == ["a2", "a3"]
    assert names(info(hub, {"older_than": DAY, "newer_than": 3 * DAY})) == ["a2"]
    assert names(info(hub, {"tags": ["a1", "not-there"]})) == ["a1"]
    assert names(info(hub, {"tags": ["a1"]}, {"regex": "b"})) == ["a1", "b1"]


def test_the_age_of_the_image_where_the_list_tells_none(start: t.Any) -> None:
    it = start(Registry)
    for tag, created in (("young", time.time() - 60), ("old", time.time() - 9 * DAY)):
        image(it, tag, created=stand_ins.iso(created))
    for details in (True, False):
        assert names(info(it, {"newer_than": DAY}, details=details)) == ["young"]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (stand_ins.DockerHub, 11), (stand_ins.Quay, 11), (stand_ins.Ghcr, 12), (stand_ins.GitLab, 2), (stand_ins.Harbor, 11), (stand_ins.Ecr, 0),
        (stand_ins.EcrPublic, 0),
        (stand_ins.Acr, 14), (stand_ins.Gar, 2), (stand_ins.Artifactory, 2), (stand_ins.Nexus, 21), (Registry, 2),
    ],
)  # fmt: skip
def test_a_thousand_tags(start: t.Any, kind: type[Registry], number: int) -> None:
    it = start(kind)
    for tag in range(1000):
        it.image(APP, f"t{tag}", text=str(tag), pushed=time.time() - DAY)
    result = info(it, details=False, query="length(images)")
    assert result["result"] == 1000
    # The ping of who has its API below its own name is one of them.
    assert result["requests"] <= number


def test_sorting(start: t.Any) -> None:
    it = start(Registry)
    for size, tag in enumerate(("1.10", "1.9", "latest", "1.9-rc1")):
        image(it, tag, size=200 + size, created=f"2026-01-0{9 - size}T00:00:00Z" if size else None)
    assert names(info(it, sort="tag")) == ["1.9", "1.9-rc1", "1.10", "latest"]
    assert names(info(it, sort="-tag")) == ["latest", "1.10", "1.9-rc1", "1.9"]
    assert names(info(it, sort="size")) == ["1.10", "1.9", "latest", "1.9-rc1"]
    assert names(info(it, sort="created")) == ["1.9-rc1", "latest", "1.9", "1.10"]
    # What is not known comes last either way.
    assert names(info(it, sort="-created")) == ["1.9", "latest", "1.9-rc1", "1.10"]


def test_a_repository_that_is_not_there(start: t.Any) -> None:
    result = info(start(Registry), sort="-created", query="images[0].tag")
    assert (result["images"], result["result"], result["changed"]) == ([], None, False)


def test_no_right(start: t.Any) -> None:
    it = start(Registry)
    it.once.append(("/tags/list", stand_ins.Answer(403)))
    with pytest.raises(ContainersError, match=r"GET tags of .* answered 403: the login for"):
        info(it)


@pytest.mark.parametrize("query", ["images[", "images[?", "nothing(images)"])
def test_a_query_that_is_none(start: t.Any, query: str) -> None:
    it = start(Registry)
    with pytest.raises(InputError, match="^query (is no JMESPath expression|cannot be evaluated)") as caught:
        info(it, query=query)
    assert "\n" not in str(caught.value)


def test_a_malformed_query_is_refused_before_anything_is_asked(start: t.Any) -> None:
    it = start(Registry)
    with pytest.raises(InputError):
        info(it, query="images[")
    assert not it.requests


def test_without_jmespath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_info, "JMESPATH_IMPORT_ERROR", "no module")
    assert compile_query("") is None
    with pytest.raises(InputError, match="query needs the Python library jmespath"):
        compile_query("images")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repository": "quay.io/a/b:c"}, "without a tag"),
        ({"tags": ["a/b"]}, "is not a tag"),
        ({"regex": "("}, "regex is no regular expression"),
        ({"newer_than": -1}, "newer_than is to be a number of seconds, not -1"),
        ({"older_than": -1}, "older_than is to be a number of seconds, not -1"),
    ],
)
def test_what_is_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_searches([{"repository": "quay.io/a/b", **changes}])


@given(st.lists(st.text("ab1.09-", max_size=6)))
def test_any_tags_can_be_sorted(tags: list[str]) -> None:
    items = [{"tag": tag} for tag in tags]
    found = [item["tag"] for item in sort(items, "tag")]
    assert sorted(found) == sorted(tags)
    assert [item["tag"] for item in sort([{"tag": tag} for tag in found], "tag")] == found


@given(st.one_of(st.none(), st.floats(0, 1e9)), st.one_of(st.none(), st.integers(0, 10)), st.one_of(st.none(), st.integers(0, 10)))
def test_nothing_has_both_ages(moment: float | None, newer: int | None, older: int | None) -> None:
    search = Search(Reference("quay.io", "a/b"), (), None, newer, older)
    found = search.has_age(moment, 5.0)
    if newer is None and older is None:
        assert found
    elif moment is None or moment > 5 or (newer is not None and older is not None and newer <= older):
        assert not found
