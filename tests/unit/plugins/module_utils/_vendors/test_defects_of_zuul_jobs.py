# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zuul-jobs' role remove-registry-tag (038dd8b8) gets wrong, each as a test. What is of the role itself is in the integration tests."""

from __future__ import annotations

import time
import typing as t

import pytest
import stand_ins
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._untag import parse_selections, untag
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import Vendors, kind_of_host
from stand_ins import DAY, Answer, Registry, iso

APP = "example/app"
HOUR = 3600


@pytest.fixture
def start(pauses: list[float]) -> t.Iterator[t.Callable[[type[Registry]], Registry]]:
    started: list[Registry] = []

    def make(kind: type[Registry]) -> Registry:
        started.append(kind())
        return started[-1]

    yield make
    for stand_in in started:
        stand_in.close()
    for stand_in in started:
        stand_in.check()


@pytest.fixture(params=[stand_ins.Quay, stand_ins.DockerHub])
def either(request: pytest.FixtureRequest, start: t.Any) -> Registry:
    return t.cast(Registry, start(request.param))


def clean_up(stand_in: Registry, regex: str = "^change_", older_than: int = DAY, app: str = APP, **entry: t.Any) -> dict[str, str]:
    images = [{"repository": f"{stand_in.name}/{app}", "regex": regex, "older_than": older_than}]
    with Client(Credentials(stand_in.credentials(**entry)), ("pull", "push", "delete"), retries=2) as client:
        return {str(removal.image.tag): removal.action for removal in untag(client, parse_selections(images))}


def test_main_17_logins_that_are_missing_are_named_before_anything_is_asked(start: t.Any) -> None:
    with pytest.raises(InputError, match=r"container_registry_credentials has no entry for quay.io .*: add one"):
        Credentials({"docker.io": {"username": "u", "password": "p"}}).check_target(Reference("quay.io", APP))


def test_main_26_33_a_name_that_contains_a_vendors_name_is_not_the_vendor() -> None:
    assert [kind_of_host(name) for name in ("mydocker.io.example", "quay.io.example", "docker.io", "quay.io")] == ["", "", "docker", "quay"]


def test_main_26_40_the_type_of_one_registry_does_not_stick_to_the_next(start: t.Any) -> None:
    quay, plain = start(stand_ins.Quay), start(Registry)
    for stand_in in (quay, plain):
        stand_in.image(APP, "a", "b", pushed=1.0)
    images = [{"repository": f"{stand_in.name}/{APP}", "tags": ["a"]} for stand_in in (quay, plain)]
    with Client(Credentials({**quay.credentials(), **plain.credentials(type=None)}), ("pull", "push", "delete"), retries=0) as client:
        assert {removal.action for removal in untag(client, parse_selections(images))} == {"removed"}
    assert not plain.seen("/api/")


@pytest.mark.parametrize("kind", [kind for kind in stand_ins.VENDORS if kind is not stand_ins.EcrPublic])
def test_main_40_a_type_that_is_given_is_used(start: t.Any, kind: type[Registry]) -> None:
    stand_in = start(kind)
    with Client(Credentials(stand_in.credentials()), ("pull",), retries=0) as client:
        assert type(Vendors(client).of(Reference(stand_in.name, APP))).__name__ == kind.__name__


def test_main_43_an_unknown_type_is_named() -> None:
    with pytest.raises(InputError, match=r"container_registry_credentials\[quay.io\]: type is to be one of docker, quay"):
        Credentials({"quay.io": {"username": "u", "password": "p", "type": "../../etc/passwd"}})


def test_quay_28_a_private_repository_is_listed_with_the_token(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    quay.image(APP, "change_1", "latest", pushed=time.time() - 2 * DAY)
    assert clean_up(quay) == {"change_1": "removed"}
    assert {request.authorization for request in quay.seen("/api/v1/")} == {f"Bearer {stand_ins.TOKEN}"}


def test_quay_30_all_pages_are_read_and_no_dead_tags(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    now = time.time()
    for number in range(120):
        quay.image(APP, f"change_{number:03}", text=str(number), pushed=now - 2 * DAY)
    digest = quay.image(APP, "change_live", text="live", pushed=now - 60)
    dead = {"manifest_digest": digest, "start_ts": int(now - 9 * DAY), "end_ts": int(now - 60)}
    quay.history = [{"name": "change_live", **dead}, {"name": "change_dead", **dead}]
    found = clean_up(quay)
    assert list(found.values()).count("removed") == 120
    assert quay.state(APP) == {"change_live": digest}


def test_quay_39_52_docker_41_66_the_clean_up_deletes_what_it_finds(either: Registry) -> None:
    either.image(APP, "change_1", "latest", pushed=time.time() - 2 * DAY)
    assert clean_up(either) == {"change_1": "removed"}
    assert set(either.state(APP)) == {"latest"}


def test_quay_43_docker_44_an_age_has_days_and_no_local_time(either: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    ages = {"change_50h": 50 * HOUR, "change_25h": 25 * HOUR, "change_23h": 23 * HOUR, "change_ahead": -10}
    for tag, age in ages.items():
        either.image(APP, tag, text=tag, pushed=now - age)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        found = clean_up(either, older_than=DAY)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == {"change_50h": "removed", "change_25h": "removed", "change_23h": "kept", "change_ahead": "kept"}


def test_quay_49_a_missing_tag_is_fine_and_a_busy_registry_is_asked_again(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    quay.image(APP, "latest", pushed=1.0)
    with Client(Credentials(quay.credentials()), ("pull", "push", "delete"), retries=2) as client:
        images = parse_selections([{"repository": f"{quay.name}/{APP}", "tags": ["a"]}])
        assert [removal.to_dict()["changed"] for removal in untag(client, images)] == [False]
    quay.image(APP, "change_1", pushed=time.time() - 2 * DAY)
    quay.once = [("/tag/", Answer(429)), ("DELETE ", Answer(503))]
    assert clean_up(quay) == {"change_1": "removed"}


def test_docker_32_all_pages_are_read_logged_in(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    now = time.time()
    for number in range(250):
        hub.image(APP, f"change_{number}", text=str(number), pushed=now - 2 * DAY)
    hub.image(APP, "latest", text="latest", pushed=now)
    assert set(clean_up(hub).values()) == {"removed"}
    assert set(hub.state(APP)) == {"latest"}
    assert {request.authorization for request in hub.seen("GET /v2/namespaces/")} == {"Bearer jwt-1"}


def test_docker_32_official_images_are_below_library() -> None:
    assert Reference.parse("docker.io/busybox").repository == "library/busybox"


def test_docker_44_times_without_a_fraction_and_none_at_all(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    now = time.time()
    digest = hub.image(APP, "change_1", "change_2", "change_3", "change_4", pushed=now)
    times = {"change_1": iso(now - 2 * DAY), "change_2": iso(now - 2 * DAY, "%Y-%m-%dT%H:%M:%S.123456Z"), "change_3": None, "change_4": ""}
    rows = [{"name": tag, "digest": digest, "tag_last_pushed": moment, "last_updated": moment, "images": []} for tag, moment in times.items()]
    hub.once = [("GET /v2/namespaces/", Answer(200, {"count": 4, "next": None, "results": rows}))]
    assert clean_up(hub) == {"change_1": "removed", "change_2": "removed", "change_3": "kept", "change_4": "kept"}


def test_docker_50_the_login_is_posted(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    hub.image(APP, "change_1", "latest", pushed=time.time() - 2 * DAY)
    clean_up(hub)
    assert [str(request) for request in hub.seen("/v2/auth/token")] == ["POST /v2/auth/token"]
    assert not hub.seen("/v2/users/login")


def test_docker_68_no_right_is_said(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    digest = hub.image(APP, "change_1", "latest", pushed=time.time() - 2 * DAY)
    hub.forbidden = True
    with pytest.raises(ContainersError, match=r"answered 403 .You do not have permission to perform this action..: the login or api_token for"):
        clean_up(hub)
    assert hub.state(APP) == {"change_1": digest, "latest": digest}
