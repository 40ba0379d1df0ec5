# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How old an image is."""

from __future__ import annotations

import datetime
import json
import math
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._age import (
    created,
    image_config,
    is_older,
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import RegistryError
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    CREATED,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from hypothesis import given
from hypothesis import strategies as st

REPOSITORY = Reference("quay.io", "a")
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21t12:00:00z", NOON),
        ("2026-11-21 12:00:00Z", NOON),
        (" 2026-11-21T12:00:00Z\n", NOON),
        ("2026-11-21T12:00:00.5Z", NOON),
        ("2026-11-21T12:00:00.123456789Z", NOON),
        ("2026-11-21T14:00:00+02:00", NOON),
        ("2026-11-21T14:00:00.123456789+0200", NOON),
        ("2026-11-21T04:30:00-07:30", NOON),
        ("2026-11-21T12:00:00-00:00", NOON),
        ("2013-01-01T00:00:00Z", 1356998400),
        # What reproducible builds write is no date.
        ("1970-01-01T00:00:00Z", None),
        ("1980-01-01T00:00:01Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("2012-12-31T23:59:59Z", None),
        ("2026-11-21T12:00:00", None),
        ("2026-11-21", None),
        ("2026-02-30T12:00:00Z", None),
        ("2026-11-21T24:00:00Z", None),
        ("2026-11-21T12:00:60Z", None),
        ("2026-11-21T12:00:00+25:00", None),
        ("2026-11-21T12:00:00.Z", None),
        ("9999-12-31T23:59:59-23:59", 253402387139),
        ("٢٠٢٦-11-21T12:00:00Z", None),
        ("yesterday", None),
        ("", None),
        ("1795262400", None),
        (1795262400, None),
        (None, None),
        (["2026-11-21T12:00:00Z"], None),
    ],
)
def test_parse_time(text: t.Any, moment: float | None) -> None:
    assert parse_time(text) == moment


@given(
    st.datetimes(datetime.datetime(2013, 1, 2), datetime.datetime(2200, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True),
)
def test_times_are_what_their_texts_say(moment: datetime.datetime, minutes: int, fraction: str) -> None:
    moment = moment.replace(microsecond=0, tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes)))
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    if moment.timestamp() < 1356998400:
        assert parse_time(text) is None
    else:
        assert parse_time(text) == moment.timestamp()


@given(
    st.text()
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?(Z|[+-][0-9]{2}:?[0-9]{2})", fullmatch=True)
    | st.integers()
    | st.none()
)
def test_any_text_is_a_time_or_none(text: t.Any) -> None:
    moment = parse_time(text)
    assert moment is None or (math.isfinite(moment) and moment >= 1356998400)


@pytest.mark.parametrize(
    ("age", "older"),
    [(86401, True), (10 * 86400, True), (86400, False), (86399, False), (0, False), (-1, False), (-10 * 86400, False), (None, False)],
)
def test_is_older_than_a_day(age: float | None, older: bool) -> None:
    assert is_older(None if age is None else NOON - age, 86400, NOON) is older


_MOMENTS = st.floats(-1e12, 1e12)


@given(st.none() | st.floats(min_value=0, exclude_min=True, max_value=1e12), st.floats(allow_nan=False), _MOMENTS)
def test_a_future_or_unknown_date_is_never_old(ahead: float | None, seconds: float, now: float) -> None:
    moment = None if ahead is None else now + ahead
    if moment is None or moment > now:
        assert is_older(moment, seconds, now) is False


@given(st.floats(0, 1e10), st.floats(0, 1e10), _MOMENTS)
def test_what_is_older_stays_older(age: float, seconds: float, now: float) -> None:
    if is_older(now - age, seconds, now):
        assert age > 0
        assert is_older(now - age, seconds / 2, now)
        assert is_older(now - age, seconds, now + 1)


class Images:
    """What a registry holds, in place of the registry."""

    def __init__(self) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.blobs: dict[str, bytes] = {}
        self.read: list[str] = []

    def manifest(self, image: Reference) -> Manifest | None:
        assert image.name == REPOSITORY.name
        self.read.append(str(image.digest))
        return self.manifests.get(str(image.digest))

    def blob(self, repository: Reference, digest: str) -> bytes:
        assert repository.name == REPOSITORY.name
        self.read.append(digest)
        if digest not in self.blobs:
            raise RegistryError("no such blob", 404)
        return self.blobs[digest]

    def image(self, config: t.Any, annotated: t.Any = None, media_type: str = OCI_MANIFEST, config_type: str = OCI_CONFIG) -> Manifest:
        content = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.blobs[digest_of(content)] = content
        return self.put({"config": {"mediaType": config_type, "digest": digest_of(content), "size": len(content)}}, annotated, media_type)

    def index(self, children: t.Sequence[Manifest], annotated: t.Any = None, media_type: str = OCI_INDEX) -> Manifest:
        return self.put({"manifests": [{"mediaType": child.media_type, "digest": child.digest, "size": 1} for child in children]}, annotated, media_type)

    def put(self, content: dict[str, t.Any], annotated: t.Any, media_type: str) -> Manifest:
        if annotated is not None:
            content["annotations"] = {CREATED: annotated}
        raw = json.dumps(content).encode()
        manifest = Manifest(media_type, raw, digest_of(raw))
        self.manifests[manifest.digest] = manifest
        return manifest


def created_of(images: Images, manifest: Manifest) -> float | None:
    return created(t.cast("t.Any", images), REPOSITORY.with_tag("latest"), manifest)


def at(hour: int) -> str:
    return f"2026-11-21T{hour:02}:00:00.123456789Z"


@pytest.mark.parametrize(("media_type", "config_type"), [(OCI_MANIFEST, OCI_CONFIG), (DOCKER_MANIFEST, DOCKER_CONFIG)])
@pytest.mark.parametrize(
    ("config", "annotated", "moment"),
    [
        ({"created": at(12)}, None, NOON),
        ({"created": at(12)}, at(15), NOON),
        ({}, at(12), NOON),
        ({"created": None}, at(12), NOON),
        ({"created": "1970-01-01T00:00:00Z"}, at(12), NOON),
        ({"created": "1970-01-01T00:00:00Z"}, None, None),
        ({}, None, None),
        ([], None, None),
        (b"no json", at(12), NOON),
        ({}, 5, None),
    ],
)
def test_created_of_an_image(config: t.Any, annotated: t.Any, moment: float | None, media_type: str, config_type: str) -> None:
    images = Images()
    assert created_of(images, images.image(config, annotated, media_type, config_type)) == moment


def test_an_annotated_index_is_not_read_any_further() -> None:
    images = Images()
    index = images.index([images.image({"created": at(15)})], at(12))
    assert created_of(images, index) == NOON
    assert images.read == []


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_is_as_old_as_its_newest_child(media_type: str) -> None:
    images = Images()
    for hours in ([10, 12, 11], [12], [12, 3]):
        assert created_of(images, images.index([images.image({"created": at(hour)}) for hour in hours], None, media_type)) == NOON


def test_an_index_in_an_index() -> None:
    images = Images()
    inner = images.index([images.image({"created": at(12)}), images.image({"created": at(3)})])
    assert created_of(images, images.index([images.image({"created": at(5)}), inner])) == NOON


def test_an_index_with_a_child_of_unknown_age_is_of_unknown_age() -> None:
    images = Images()
    old = images.image({"created": at(3)})
    assert created_of(images, images.index([old, images.image({})])) is None
    assert created_of(images, images.index([images.image({}), old])) is None
    missing = images.image({"created": at(4)})
    del images.manifests[missing.digest]
    assert created_of(images, images.index([old, missing])) is None
    assert created_of(images, images.index([])) is None


def test_a_config_that_cannot_be_read_is_an_error() -> None:
    images = Images()
    image = images.image({"created": at(12)})
    images.blobs.clear()
    with pytest.raises(RegistryError, match="no such blob"):
        created_of(images, image)


@pytest.mark.parametrize(
    "config_type", ["application/vnd.oci.empty.v1+json", "application/vnd.dev.cosign.artifact.sig.v1+json", "application/octet-stream", ""]
)
def test_the_config_of_an_artifact_is_not_read(config_type: str) -> None:
    images = Images()
    artifact = images.image({"created": at(3)}, at(12), config_type=config_type)
    assert image_config(t.cast("t.Any", images), REPOSITORY, artifact) == {}
    assert created_of(images, artifact) == NOON
    assert images.read == []


def test_image_config() -> None:
    images = Images()
    assert image_config(t.cast("t.Any", images), REPOSITORY, images.image({"config": {"Labels": {"a": "b"}}})) == {"config": {"Labels": {"a": "b"}}}
    assert image_config(t.cast("t.Any", images), REPOSITORY, images.put({}, None, OCI_MANIFEST)) == {}


def test_an_attestation_beside_the_images_has_no_say() -> None:
    images = Images()
    image, attestation = images.image({"created": at(3)}), images.image({})
    items = [
        {"mediaType": image.media_type, "digest": image.digest, "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": attestation.media_type, "digest": attestation.digest, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    index = images.put({"manifests": items}, None, OCI_INDEX)
    assert created_of(images, image) is not None
    assert created_of(images, index) == created_of(images, image)
