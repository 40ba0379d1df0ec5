# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Zuul's API tells of builds."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError, InputError
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._zuul import artifact
from ansible_collections.gating.containers.plugins.module_utils._zuul_builds import (
    Build,
    BuildsApi,
    Gate,
    Recorded,
    name_of,
    query_of,
    recorded_of,
)
from hypothesis import given
from hypothesis import strategies as st

NAME = Reference("quay.io", "example/app", "latest")
PLACE = Reference("registry.example:5000", "quay.io/example/app", "b_latest")
DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
ZUUL = {"change": "4711", "patchset": "2"}
PATH = "/api/tenant/acme/builds"


def made(name: Reference = NAME, place: Reference = PLACE, digest: str | None = DIGEST) -> dict[str, t.Any]:
    return artifact(name, place, digest, ["linux/amd64"])


def build(uuid: str = "b", result: str | None = "SUCCESS", **keys: t.Any) -> dict[str, t.Any]:
    times = {"end_time": "2026-01-01T00:00:20", "buildset": {"uuid": f"of-{uuid}"}}
    ref = {"project": "team/app", "change": 4711, "patchset": "2"}
    return {"uuid": uuid, "result": result, "artifacts": [made()], "ref": ref, **times, **keys}


@pytest.fixture
def client() -> t.Iterator[Client]:
    with Client(Credentials(), ("pull",), retries=0) as client:
        yield client


# -- the query ---------------------------------------------------------------------------------------------------------------


def test_the_query() -> None:
    assert query_of(ZUUL, "gate", "upload") == "change=4711&patchset=2&pipeline=gate&job_name=upload"
    assert query_of({"change": 4711, "patchset": "a&b"}, "gate", "up load") == "change=4711&patchset=a%26b&pipeline=gate&job_name=up+load"


@pytest.mark.parametrize(
    ("zuul", "pipeline", "job", "missing"),
    [
        (ZUUL, "gate", "", "promote_container_image_job is not known"),
        (ZUUL, "", "job", "promote_container_image_pipeline is not known"),
        ({"change": "1"}, "gate", "job", "zuul.patchset is not known"),
        ({}, "", "", "zuul.change and zuul.patchset and promote_container_image_pipeline and promote_container_image_job is not known"),
    ],
)
def test_what_the_query_needs(zuul: dict[str, str], pipeline: str, job: str, missing: str) -> None:
    with pytest.raises(InputError, match=f"{missing}: set it, or promote_container_image_query"):
        query_of(zuul, pipeline, job)


# -- the API -----------------------------------------------------------------------------------------------------------------


def test_the_newest_successful_build(client: Client, http_server: t.Callable[..., t.Any]) -> None:
    server = http_server()
    answer = [
        build("running", None, end_time=None),
        build("bad", "FAILURE"),
        build("early", end_time="1"),
        build("late", end_time="2"),
        build("older", end_time="1"),
    ]
    server.on("GET", f"{PATH}?change=1", body=answer)
    found = BuildsApi(client, f"{server.url}/api/tenant/acme/", Credentials()).newest("change=1")
    assert (found.uuid, found.project, found.buildset) == ("late", "team/app", "of-late")
    assert found.recorded([NAME], {}) == {NAME: Recorded(PLACE, DIGEST)}
    assert client.requests == 1
    (request,) = server.requests
    assert request.authorization is None


def test_of_builds_that_ended_at_the_same_time_the_newest_is_the_first(client: Client, http_server: t.Callable[..., t.Any]) -> None:
    server = http_server()
    server.on("GET", PATH, body=[build("new"), build("old")])
    assert BuildsApi(client, f"{server.url}/api/tenant/acme", Credentials()).newest("").uuid == "new"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"error": "Not Found"}, 'answered 404, {"error": "Not Found"}: check promote_container_image_api'),
        (500, "<h1>Oops</h1>", "answered 500, Oops: check promote_container_image_api"),
        (200, "<h1>Zuul</h1>", "the answer is no list of builds: check promote_container_image_api, which ends in /api/tenant/<tenant>"),
        (200, {"builds": []}, "the answer is no list of builds"),
        (200, ["x"], "the answer is no list of builds"),
        (200, [], "found no successful build, but no build at all: check promote_container_image_query, or have the gate run again"),
        (200, [build("b1", "FAILURE"), build("b2", None)], "found no successful build, but b1 FAILURE, b2 running"),
    ],
)
def test_no_build(client: Client, http_server: t.Callable[..., t.Any], status: int, body: t.Any, message: str) -> None:
    server = http_server()
    server.on("GET", PATH, status, body)
    with pytest.raises(ContainersError) as caught:
        BuildsApi(client, f"{server.url}/api/tenant/acme", Credentials()).newest("change=1")
    assert f"GET {server.url}{PATH}?change=1: {message}" in str(caught.value)


@pytest.mark.parametrize("url", ["", "zuul.example.org", "ftp://zuul.example.org", "https://", "https:///api"])
def test_what_is_no_url(client: Client, url: str) -> None:
    with pytest.raises(InputError, match="^promote_container_image_api is to be a URL such as"):
        BuildsApi(client, url, Credentials())


def test_a_login_in_the_url_is_refused_and_not_told(client: Client) -> None:
    with pytest.raises(InputError, match="has a login in it") as caught:
        BuildsApi(client, "https://me:s3cr3t@zuul.example.org", Credentials())
    assert "s3cr3t" not in str(caught.value)


def test_a_certificate_of_its_own(client: Client, http_server: t.Callable[..., t.Any], certificate: t.Any) -> None:
    server = http_server(context=certificate.context)
    url = f"{server.url}/api/tenant/acme"
    host = server.url.removeprefix("https://")
    with pytest.raises(ContainersError, match="GET .*: its TLS certificate is not trusted: give the registry's ca_cert in container_registry_credentials"):
        BuildsApi(client, url, Credentials()).newest("")
    server.on("GET", PATH, body=[build()])
    entry = {"ca_cert": certificate.cert, "username": "me", "password": "secret"}
    assert BuildsApi(client, url, Credentials({host: entry})).newest("").uuid == "b"
    (request,) = server.requests
    assert request.authorization is None


# -- what was built ----------------------------------------------------------------------------------------------------------


def test_all_that_is_missing_is_named() -> None:
    names = [NAME, NAME.with_tag("1"), NAME.with_tag("2")]
    with pytest.raises(ContainersError) as caught:
        Build.parse(build()).recorded(names, {})
    assert str(caught.value) == "the build b returned no quay.io/example/app:1, no quay.io/example/app:2; it has quay.io/example/app:latest"
    with pytest.raises(ContainersError, match="it has no images"):
        Build.parse(build(artifacts=[{"name": "docs", "url": "https://x"}])).recorded(names, {})


def test_an_image_that_was_returned_twice() -> None:
    assert Build.parse(build(artifacts=[made(), made(place=PLACE.with_tag("x"))])).recorded([NAME], {}) == {NAME: Recorded(PLACE, DIGEST)}
    with pytest.raises(ContainersError, match=f"returned quay.io/example/app:latest twice, as {DIGEST} and as {OTHER}: it is to return it once"):
        Build.parse(build(artifacts=[made(), made(digest=OTHER)])).recorded([NAME], {})


@pytest.mark.parametrize("order", [1, -1])
def test_an_image_that_was_also_put_elsewhere(order: int) -> None:
    staged = NAME.with_tag("change_4711_latest")
    artifacts = [made(place=staged), made(digest=OTHER)][::order]
    assert Build.parse(build(artifacts=artifacts)).recorded([NAME], {NAME: staged}) == {NAME: Recorded(staged, DIGEST)}


@pytest.mark.parametrize("value", [{}, {"ref": None, "artifacts": None}, {"ref": [], "artifacts": {}}, {"project": "p", "artifacts": [1, {}, {"metadata": 1}]}])
def test_builds_of_other_forms(value: dict[str, t.Any]) -> None:
    found = Build.parse(value)
    assert found.project == value.get("project", "")
    with pytest.raises(ContainersError):
        found.recorded([NAME], {})


@pytest.mark.parametrize(
    ("repository", "tag", "expected"),
    [
        ("quay.io/example/app", "latest", NAME),
        ("localhost:5000/app", "1", Reference("localhost:5000", "app", "1")),
        ("example/app", "1", Reference("docker.io", "example/app", "1")),
        ("busybox", "1", Reference("docker.io", "library/busybox", "1")),
        ("docker.io/busybox", "1", Reference("docker.io", "library/busybox", "1")),
        ("quay.io/Example", "1", None),
        ("quay.io/example", "a b", None),
        (None, "1", None),
        (5, "1", None),
        ("quay.io/example", None, None),
        ("quay.io/example", 5, None),
    ],
)
def test_names(repository: t.Any, tag: t.Any, expected: Reference | None) -> None:
    assert name_of({"metadata": {"type": "container_image", "repository": repository, "tag": tag}}) == expected


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["metadata", "type", "url"]), inner))
)
def test_whatever_an_artifact_is_it_is_read_or_left(value: t.Any) -> None:
    assert name_of(value) is None
    assert name_of({"metadata": value}) is None


def test_what_an_artifact_says() -> None:
    assert recorded_of(made(digest=None)) == Recorded(PLACE, "")
    assert recorded_of({"url": f"docker://{PLACE.name}@{OTHER}", "metadata": {}}) == Recorded(Reference(PLACE.registry, PLACE.repository, None, OTHER), OTHER)
    assert recorded_of({"url": f"docker://{PLACE.name}", "metadata": {}}).source == PLACE.with_tag("latest")
    for artifact_, message in (
        ({**made(), "url": "https://x y"}, "has a URL that is no image"),
        ({**made(), "url": None}, "has a URL that is no image"),
        (made(digest="sha256:1"), "has a malformed digest 'sha256:1'"),
        ({**made(), "metadata": {"digest": 5}}, "has a malformed digest 5"),
    ):
        with pytest.raises(ContainersError, match=message):
            recorded_of(artifact_)


# -- the order ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(client: Client, http_server: t.Callable[..., t.Any]) -> t.Iterator[tuple[t.Any, Gate]]:
    server = http_server()
    server.on("GET", f"{PATH}?change=4711&patchset=2&pipeline=gate&job_name=j", body=[build()])
    yield server, Gate(BuildsApi(client, f"{server.url}/api/tenant/acme", Credentials()), query_of(ZUUL, "gate", "j"))


def other(server: t.Any, change: str, *builds: t.Any) -> None:
    server.on("GET", f"{PATH}?change={change}&pipeline=gate&job_name=j&project=team%2Fapp", body=list(builds))


def number(server: t.Any, uuid: str, answer: t.Any, status: int = 200) -> None:
    server.on("GET", f"/api/tenant/acme/buildset/of-{uuid}", status, answer)


def test_a_later_change(gate: tuple[t.Any, Gate]) -> None:
    server, it = gate
    other(server, "4712", build("later", artifacts=[made(digest=OTHER)]))
    number(server, "b", {"_id": 9})
    number(server, "later", {"_id": 10})
    assert it.is_later("4712", NAME, OTHER)
    assert not it.is_later("4712", NAME, DIGEST), "that build made another image"
    assert not it.is_later("4712", NAME.with_tag("1"), OTHER)
    assert not it.is_later("4711", NAME, OTHER), "the change itself"


@pytest.mark.parametrize("its", [{"_id": 8}, {"_id": 9}, {"_id": None}, {"_id": "10"}, {}, [], "no JSON"])
def test_a_change_that_is_not_known_to_be_later(gate: tuple[t.Any, Gate], its: t.Any) -> None:
    server, it = gate
    other(server, "4712", build("earlier"))
    number(server, "b", {"_id": 9})
    number(server, "earlier", its)
    assert not it.is_later("4712", NAME, DIGEST)
    assert not it.is_later("4712", NAME, DIGEST), "asked once"


def test_where_the_api_does_not_know(gate: tuple[t.Any, Gate]) -> None:
    server, it = gate
    other(server, "4712")
    other(server, "4713", build("x"))
    number(server, "b", {"error": "Not Found"}, 404)
    number(server, "x", {"_id": 10})
    other(server, "4714", build("y", buildset=None))
    number(server, "b", {"_id": 9})
    assert not any(it.is_later(change, NAME, DIGEST) for change in ("4712", "4713", "4714"))


@pytest.mark.parametrize("part", ["builds", "buildset"])
def test_where_the_api_fails_nothing_is_taken_for_earlier(gate: tuple[t.Any, Gate], part: str) -> None:
    server, it = gate
    if part == "builds":
        server.on("GET", f"{PATH}?change=4712&pipeline=gate&job_name=j&project=team%2Fapp", 500, "down")
    else:
        other(server, "4712", build("later"))
        number(server, "b", {"_id": 9})
        number(server, "later", "down", 500)
    with pytest.raises(ContainersError, match=f"{part}.* answered 500, .*: check .* is of change 4712, .*: nothing was promoted, run this again$"):
        it.is_later("4712", NAME, DIGEST)


@pytest.mark.parametrize("change", ["", "main", "4712 ", "-1", "9" * 10])
def test_a_label_that_is_no_change_is_not_asked_for(gate: tuple[t.Any, Gate], change: str) -> None:
    server, it = gate
    asked = len(server.requests)
    assert not it.is_later(change, NAME, DIGEST)
    assert len(server.requests) == asked


def test_without_the_change_in_the_query_there_is_no_order(client: Client, http_server: t.Callable[..., t.Any]) -> None:
    server = http_server()
    server.on("GET", f"{PATH}?job_name=j", body=[build()])
    gate = Gate(BuildsApi(client, f"{server.url}/api/tenant/acme", Credentials()), "job_name=j")
    assert not gate.is_later("4712", NAME, OTHER)
    with pytest.raises(
        ContainersError, match="returned no quay.io/example/app:1; .* found by job_name=j: nothing was promoted, check promote_container_image_query"
    ):
        gate.recorded([NAME.with_tag("1")])
