# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every vendor's way against a stand-in of its documented API, which fails the test at anything that is not documented."""

from __future__ import annotations

import contextlib
import re
import time
import typing as t

import pytest
import stand_ins
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import TYPES, Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import ContainersError
from ansible_collections.gating.containers.plugins.module_utils._images import parse_images
from ansible_collections.gating.containers.plugins.module_utils._manifest import Descriptor
from ansible_collections.gating.containers.plugins.module_utils._promote import promote
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._tags import Removal, Tag
from ansible_collections.gating.containers.plugins.module_utils._untag import ENTRY, parse_selections, remove, select, untag
from ansible_collections.gating.containers.plugins.module_utils._vendors import choose
from ansible_collections.gating.containers.plugins.module_utils._vendors.choose import Vendors, kind_of_greeting, kind_of_host
from ansible_collections.gating.containers.plugins.module_utils._vendors.ecr import Ecr
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import Vendor
from requests.structures import CaseInsensitiveDict
from stand_ins import DAY, TOKEN, Answer, Registry

APP = "example/team/app"
TWO = "example/app"
NOW = float(int(time.time()))


def name_of(stand_in: Registry) -> str:
    """Some have no names of three parts."""
    return TWO if isinstance(stand_in, (stand_ins.DockerHub, stand_ins.Quay)) else APP


@pytest.fixture
def start(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[..., Registry]]:
    """Starts stand-ins; at the end none must have been asked for what is not documented."""
    started: list[Registry] = []

    def make(kind: type[Registry]) -> Registry:
        stand_in = kind()
        started.append(stand_in)
        if isinstance(stand_in, stand_ins.Ecr):
            call, public = stand_in.call, stand_in.public
            monkeypatch.setitem(choose.CLASSES, "ecr", lambda client, registry: Ecr(client, registry, call, public))
        return stand_in

    yield make
    for stand_in in started:
        stand_in.close()
    for stand_in in started:
        stand_in.check()


@pytest.fixture(params=stand_ins.VENDORS, ids=lambda kind: kind.__name__)
def vendor(request: pytest.FixtureRequest, start: t.Any) -> Registry:
    return t.cast(Registry, start(request.param))


@contextlib.contextmanager
def vendors_of(stand_in: Registry, retries: int = 1, **entry: t.Any) -> t.Iterator[Vendors]:
    with Client(Credentials(stand_in.credentials(**entry)), ("pull", "push", "delete"), retries=retries) as client:
        yield Vendors(client)


def tags(stand_in: Registry, repository: str, **entry: t.Any) -> dict[str, Tag]:
    with vendors_of(stand_in, **entry) as vendors:
        reference = Reference(stand_in.name, repository)
        found = vendors.of(reference).tags(reference)
        assert len({tag.name for tag in found}) == len(found)
        return {tag.name: tag for tag in found}


def run(stand_in: Registry, *images: dict[str, t.Any], check_mode: bool = False, retries: int = 1, **entry: t.Any) -> dict[str, Removal]:
    """Remove tags, as registry_untag does."""
    given = [{"repository": f"{stand_in.name}/{name_of(stand_in)}", **image} for image in images]
    with vendors_of(stand_in, retries, **entry) as vendors:
        return {str(removal.image.tag): removal for removal in untag(vendors.client, parse_selections(given), check_mode)}


def actions(removals: dict[str, Removal]) -> dict[str, str]:
    return {tag: removal.action for tag, removal in removals.items()}


# Of these the list tells when a tag was pushed.
TIMES = (
    stand_ins.DockerHub, stand_ins.Quay, stand_ins.Ghcr, stand_ins.GitLab, stand_ins.Harbor, stand_ins.Ecr, stand_ins.EcrPublic, stand_ins.Acr,
    stand_ins.Gar, stand_ins.Artifactory, stand_ins.Nexus,
)  # fmt: skip


# -- all of them -----------------------------------------------------------------------------------------------------------------------------


def test_a_tag_goes_and_its_sibling_stays(vendor: Registry) -> None:
    name = name_of(vendor)
    digest = vendor.image(name, "a", "b", pushed=NOW - DAY)
    other = vendor.image(name, "c", text="other", pushed=NOW - DAY)
    assert actions(run(vendor, {"tags": ["a", "not-there"]})) == {"a": "removed", "not-there": "absent"}
    assert vendor.state(name) == {"b": digest, "c": other}
    assert digest in vendor.repositories[name].manifests
    before = len(vendor.writes())
    assert actions(run(vendor, {"tags": ["a"]})) == {"a": "absent"}
    assert not [write for write in vendor.writes()[before:] if "auth/token" not in write]


def test_check_mode_writes_nothing(vendor: Registry) -> None:
    name = name_of(vendor)
    vendor.image(name, "a", "b", pushed=NOW - DAY)
    assert actions(run(vendor, {"tags": ["a"]}, check_mode=True)) == {"a": "remove"}
    assert set(vendor.state(name)) == {"a", "b"}


def test_many_tags(vendor: Registry) -> None:
    name = name_of(vendor)
    for number in range(105):
        vendor.image(name, f"old-{number}", text=str(number), pushed=NOW - 3 * DAY)
    keep = vendor.image(name, "keep", text="keep", pushed=NOW - 3 * DAY)
    names = [f"old-{number}" for number in range(105)]
    assert set(actions(run(vendor, {"tags": names})).values()) == {"removed"}
    assert vendor.state(name) == {"keep": keep}


def test_a_repository_that_is_not_there(vendor: Registry) -> None:
    vendor.image(name_of(vendor), "a")
    reference = Reference(vendor.name, "example/nothing")
    with vendors_of(vendor) as vendors:
        assert vendors.of(reference).tags(reference) == []
        assert [removal.action for removal in select(vendors, parse_selections([{"repository": reference.name, "tags": ["x"]}]))] == ["absent"]


def test_no_right_to_delete(vendor: Registry) -> None:
    name = name_of(vendor)
    digest = vendor.image(name, "a", "b", pushed=NOW - DAY)
    vendor.forbidden = True
    with pytest.raises(ContainersError, match=r"40[0135]|AccessDenied") as caught:
        run(vendor, {"tags": ["a"]})
    assert vendor.state(name) == {"a": digest, "b": digest}
    message = str(caught.value)
    assert "\n" not in message
    assert not re.search(f"{TOKEN}|{stand_ins.PASSWORD}|{stand_ins.BASIC[6:]}", message)


def test_what_is_pushed_before_the_removal_stays(vendor: Registry) -> None:
    name = name_of(vendor)
    vendor.image(name, "a", "b", pushed=NOW - DAY)
    with vendors_of(vendor) as vendors:
        found = select(vendors, parse_selections([{"repository": f"{vendor.name}/{name}", "tags": ["b"]}]))
        new = vendor.image(name, "b", text="new", pushed=NOW)
        assert [removal.action for removal in remove(vendors, found)] == ["kept"]
    assert vendor.state(name)["b"] == new


@pytest.mark.parametrize("kind", [stand_ins.Quay, stand_ins.GitLab, stand_ins.Gar, stand_ins.Ghcr])
def test_a_list_that_is_behind_selects_nothing(start: t.Any, kind: type[Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = start(kind)
    name = name_of(vendor)
    old = vendor.image(name, "a", "b", pushed=NOW - 3 * DAY)
    reference = Reference(vendor.name, name)
    with vendors_of(vendor) as vendors:
        monkeypatch.setattr(vendors.of(reference), "tags", lambda repository: [Tag("a", old, NOW - 3 * DAY), Tag("b", old, NOW - 3 * DAY)])
        new = vendor.image(name, "b", text="new", pushed=NOW)
        found = select(vendors, parse_selections([{"repository": reference.name, "regex": "b", "older_than": DAY}]))
        assert [(removal.action, removal.digest, removal.reason) for removal in found] == [("kept", new, "another image was pushed meanwhile")]


@pytest.mark.parametrize("kind", TIMES)
def test_three_pages_with_their_times(start: t.Any, kind: type[Registry]) -> None:
    stand_in = start(kind)
    name = name_of(stand_in)
    size = {stand_ins.Ecr: 1000, stand_ins.EcrPublic: 1000, stand_ins.GitLab: 1000, stand_ins.Nexus: 50}.get(kind, 100)
    for number in range(2 * size + 1):
        stand_in.image(name, f"t{number:04}", text=str(number), pushed=NOW - DAY - number)
    found = tags(stand_in, name)
    assert found == {
        tag: found[tag].__class__(tag, tagged.digest, tagged.pushed, found[tag].size, found[tag].media_type, found[tag].children)
        for tag, tagged in stand_in.repositories[name].tags.items()
    }
    # One request for each page, and as many as the login needs.
    pages = 1 if kind in (stand_ins.Gar, stand_ins.Artifactory) else 3
    logins = {stand_ins.DockerHub: 1, stand_ins.Ghcr: 1, stand_ins.GitLab: 1, stand_ins.Gar: 1, stand_ins.Acr: 4}.get(kind, 0)
    assert len(stand_in.requests) <= pages + logins + 1, [str(request) for request in stand_in.requests]


@pytest.mark.parametrize("kind", TIMES)
def test_what_is_old_goes(start: t.Any, kind: type[Registry]) -> None:
    stand_in = start(kind)
    name = name_of(stand_in)
    for tag, pushed in (("c_old", NOW - 3 * DAY), ("c_young", NOW - 60), ("c_future", NOW + DAY), ("c_null", None), ("other", NOW - 3 * DAY)):
        stand_in.image(name, tag, text=tag, pushed=pushed)
    found = run(stand_in, {"regex": "^c_", "older_than": DAY})
    assert actions(found) == {"c_old": "removed", "c_young": "kept", "c_future": "kept", "c_null": "kept"}
    assert found["c_young"].reason == "it is not older than 86400 seconds"
    assert found["c_future"].reason == "its date is in the future"
    assert found["c_null"].reason == "its age is not known"
    assert set(stand_in.state(name)) == {"c_young", "c_future", "c_null", "other"}


@pytest.mark.parametrize("kind", TIMES)
def test_the_newest_and_what_an_index_needs_stay(start: t.Any, kind: type[Registry]) -> None:
    stand_in = start(kind)
    name = name_of(stand_in)
    children = [stand_in.image(name, f"1.0-{platform}", text=platform, pushed=NOW - 9 * DAY) for platform in ("amd64", "arm64")]
    stand_in.image(name, "1.0", children=children, pushed=NOW - 9 * DAY)
    for number in range(1, 5):
        stand_in.image(name, f"c_{number}", text=str(number), pushed=NOW - number * DAY)
    found = run(stand_in, {"regex": "^c_|-a", "older_than": 60, "keep": 2})
    assert actions(found) == {"1.0-amd64": "kept", "1.0-arm64": "kept", "c_1": "kept", "c_2": "kept", "c_3": "removed", "c_4": "removed"}
    assert found["1.0-arm64"].reason == "the tag 1.0 needs its image"
    assert found["c_1"].reason == "it is one of the newest 2 that match"
    assert set(stand_in.state(name)) == {"1.0", "1.0-amd64", "1.0-arm64", "c_1", "c_2"}
    assert set(children) <= set(stand_in.repositories[name].manifests)


@pytest.mark.parametrize("kind", [stand_ins.DockerHub, stand_ins.Quay, stand_ins.Harbor, stand_ins.Nexus, stand_ins.Artifactory, stand_ins.Ghcr])
@pytest.mark.parametrize("headers", [{"X-Retry-After": ""}, {"Retry-After": "7"}, {}])
def test_429(start: t.Any, kind: type[Registry], headers: dict[str, str], pauses: list[float]) -> None:
    stand_in = start(kind)
    name = name_of(stand_in)
    stand_in.image(name, "a", "b", pushed=NOW - 3 * DAY)
    path = {
        stand_ins.DockerHub: "/v2/namespaces/", stand_ins.Quay: "/api/v1/", stand_ins.Harbor: "/api/v2.0/", stand_ins.Nexus: "/service/rest/v1/search",
        stand_ins.Artifactory: "/api/search/aql", stand_ins.Ghcr: "/versions",
    }[kind]  # fmt: skip
    if "X-Retry-After" in headers:
        # Docker Hub: a Unix time.
        headers = {"X-Retry-After": str(int(time.time()) + 200)}
    # quay.io answers in HTML, and does not say how long.
    stand_in.once.append((path, Answer(429, "<html>429 Too Many Requests</html>", headers)))
    assert set(tags(stand_in, name)) == {"a", "b"}
    assert len(stand_in.seen(path)) == 2
    if headers:
        assert max(pauses) >= (7 if "Retry-After" in headers else 150)


def test_a_promotion_cleans_up(vendor: Registry) -> None:
    name = name_of(vendor)
    old = vendor.image(name, "latest", text="old", pushed=NOW - 9 * DAY)
    new = vendor.image(name, "change_7_latest", text="new", pushed=NOW - 60)
    vendor.image(name, "change_5_latest", text="forgotten", pushed=NOW - 3 * DAY)
    young = vendor.image(name, "change_8_latest", text="young", pushed=NOW - 60)
    images = parse_images([{"repository": f"{vendor.name}/{name}"}], "change_7_")
    for check_mode in (True, False):
        before = vendor.state(name)
        with vendors_of(vendor) as vendors:
            promotion = promote(vendors.client, images, "change_7_", "7", check_mode=check_mode)
        assert [(target.digest, target.previous) for target in promotion.targets] == [(new, old)]
        removals = {str(removal.image.tag): removal.action for removal in promotion.removals}
        # Pulp does not tell when a tag was pushed, and these images have no date.
        forgotten = "kept" if isinstance(vendor, stand_ins.Pulp) else "remove" if check_mode else "removed"
        assert removals == {"change_7_latest": "remove" if check_mode else "removed", "change_5_latest": forgotten, "change_8_latest": "kept"}
        assert promotion.warnings == []
        assert not check_mode or vendor.state(name) == before
    state = vendor.state(name)
    assert (state["latest"], state["change_8_latest"]) == (new, young)
    assert set(state) - {"change_5_latest"} == {"latest", "change_8_latest"}


def test_a_login_is_not_in_any_error(vendor: Registry) -> None:
    name = name_of(vendor)
    vendor.image(name, "a", pushed=NOW)
    secrets = [TOKEN, stand_ins.PASSWORD, stand_ins.BASIC[6:], "jwt-1"]

    def echo(request: stand_ins.Request) -> dict[str, str]:
        return {"message": f"no {request.authorization} {request.body.decode()}", "__type": "Denied"}

    for path in ("/api", "/packages", "/tags", "/acr", "POST /", "/service", "/manifests", "/auth/token"):
        vendor.once = [(path, Answer(403, echo))]
        with vendors_of(vendor, retries=0) as vendors:
            reference = Reference(vendor.name, name)
            try:
                vendors.of(reference).tags(reference)
                reason = vendors.of(reference).refusal(reference)
            except ContainersError as exc:
                reason = str(exc)
            assert not [secret for secret in secrets if secret in reason], reason


def test_a_token_goes_to_no_other_server(start: t.Any) -> None:
    quay, other = start(stand_ins.Quay), start(Registry)
    quay.image(TWO, "a", pushed=NOW)
    quay.once.append(("/api/v1/", Answer(302, b"", {"Location": f"{other.url}/elsewhere"})))
    other.once.append(("/elsewhere", Answer(401)))
    with pytest.raises(ContainersError, match="answered 401"):
        tags(quay, TWO)
    assert [request.authorization for request in other.requests] == [None]


# -- which is whose --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "kind"),
    [
        ("docker.io", "docker"),
        ("docker.io:443", "docker"),
        ("docker.io:5000", ""),
        ("mydocker.io.example", ""),
        ("mydocker.io", ""),
        ("quay.io", "quay"),
        ("quay.io.example.com", ""),
        ("notquay.io", ""),
        ("ghcr.io", "ghcr"),
        ("registry.gitlab.com", "gitlab"),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ecr"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr"),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.example", ""),
        ("public.ecr.aws", "ecr"),
        ("example.azurecr.io", "acr"),
        ("azurecr.io", ""),
        ("europe-west1-docker.pkg.dev", "gar"),
        ("eu.gcr.io", "gar"),
        ("gcr.io", "gar"),
        ("example.jfrog.io", "artifactory"),
        ("localhost:5000", ""),
    ],
)
def test_hosts(registry: str, kind: str) -> None:
    assert kind_of_host(registry) == kind


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"www-authenticate": 'Bearer realm="http://h/auth/token",scope="read"'}, "zuul"),
        ({"www-authenticate": 'Bearer realm="http://h/auth/token",service="h",scope="read"'}, ""),
        ({"www-authenticate": 'Bearer realm="https://h/service/token",service="harbor-registry"'}, "harbor"),
        ({"www-authenticate": 'Bearer realm="https://gitlab.h/jwt/auth",service="container_registry"'}, "gitlab"),
        ({"www-authenticate": 'Bearer realm="https://h/v2/auth",service="h"'}, "quay"),
        ({"www-authenticate": 'Bearer realm="https://h/token/",service="h"'}, "pulp"),
        ({"www-authenticate": 'Basic realm="registry"'}, ""),
        # Gitea, which deletes tags the OCI way.
        ({"www-authenticate": 'Bearer realm="https://h/v2/token",service="container_registry",scope="*"'}, ""),
        ({"server": "Nexus/3.80.0 (COMMUNITY)"}, "nexus"),
        ({"x-jfrog-version": "Artifactory/7.90.1"}, "artifactory"),
        ({}, ""),
    ],
)
def test_greetings(headers: dict[str, str], kind: str) -> None:
    assert kind_of_greeting(CaseInsensitiveDict(headers)) == kind


def test_every_type_has_its_way() -> None:
    assert set(TYPES) <= set(choose.CLASSES)


def test_each_registry_of_a_run_has_its_own(start: t.Any) -> None:
    quay, plain = start(stand_ins.Quay), start(Registry)
    with Client(Credentials({**quay.credentials(), **plain.credentials(type=None)}), ("pull",), retries=0) as client:
        vendors = Vendors(client)
        assert type(vendors.of(Reference(quay.name, "a/b"))).__name__ == "Quay"
        assert type(vendors.of(Reference(plain.name, "a/b"))).__name__ == Vendor.__name__


# -- Docker Hub ------------------------------------------------------------------------------------------------------------------------------


def test_docker_hub_without_a_login(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    hub.image(TWO, "a", "b", pushed=NOW)
    with pytest.raises(ContainersError, match=r"no tags can be removed: Docker Hub removes tags by its own API: give username and password"):
        run(hub, {"tags": ["a"]}, username=None, password=None)
    assert not hub.writes()
    # Listing needs none.
    assert set(tags(hub, TWO, username=None, password=None)) == {"a", "b"}


def test_docker_hub_with_a_wrong_password_writes_nothing(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    hub.image(TWO, "a", pushed=NOW)
    with pytest.raises(ContainersError, match=r"answered 401 .Incorrect authentication credentials.: check the login"):
        run(hub, {"tags": ["a"]}, password="wrong-and-secret")
    assert hub.writes() == ["POST /v2/auth/token"]


def test_docker_hub_gets_a_new_token_when_the_old_one_expires(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    hub.image(TWO, "a", "b", pushed=NOW)
    hub.expired = True
    assert actions(run(hub, {"tags": ["a"]})) == {"a": "removed"}
    assert hub.tokens == 2


def test_docker_hub_reads_no_manifest_for_what_its_list_tells(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    child = hub.image(TWO, "1.0-amd64", text="child", pushed=NOW - 3 * DAY)
    hub.image(TWO, "1.0", children=[child], pushed=NOW)
    hub.image(TWO, "c_1", text="c", pushed=NOW - 3 * DAY)
    run(hub, {"regex": "^c_|amd", "older_than": DAY})
    # They are what its limit counts.
    assert not [str(request) for request in hub.requests if request.method == "GET" and "/manifests/" in request.path]


@pytest.mark.parametrize("kind", [stand_ins.DockerHub, stand_ins.Ghcr])
def test_an_api_of_elsewhere_is_not_asked_for_another_registry(start: t.Any, kind: type[Registry]) -> None:
    stand_in = start(kind)
    name = name_of(stand_in)
    digest = stand_in.image(name, "a", "b", pushed=NOW - 3 * DAY)
    # Said to be Docker Hub, as "docker" is easily misunderstood: its login would go there, and a tag of the same name.
    for images in ({"tags": ["a"]}, {"regex": "a", "older_than": DAY}):
        with pytest.raises(ContainersError, match=r"is the API of .*: give the API of .* as api_url, or another type"):
            run(stand_in, images, api_url=None)
    assert stand_in.state(name) == {"a": digest, "b": digest}
    assert not stand_in.writes()


def test_docker_hub_an_index_of_which_it_does_not_tell_all(start: t.Any) -> None:
    hub = start(stand_ins.DockerHub)
    children = [hub.image(TWO, f"c_{platform}", text=platform, pushed=NOW - 9 * DAY) for platform in ("amd64", "arm64")]
    index = hub.image(TWO, "1.0", children=children, pushed=NOW - 9 * DAY)
    rows = [
        {"name": "1.0", "digest": index, "media_type": stand_ins.OCI_INDEX, "images": [{"digest": children[0]}, {"digest": None}]},
        *({"name": tag, "digest": digest, "tag_last_pushed": "2026-01-01T00:00:00Z"} for tag, digest in zip(("c_amd64", "c_arm64"), children)),
    ]
    hub.once.append(("/v2/namespaces/", Answer(200, {"count": 3, "next": None, "results": rows})))
    assert actions(run(hub, {"regex": "^c_", "older_than": DAY})) == {"c_amd64": "kept", "c_arm64": "kept"}


# -- Quay ------------------------------------------------------------------------------------------------------------------------------------


def test_quay_dead_tags_of_the_history(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    digest = quay.image(TWO, "c_1", pushed=NOW - 60)
    old = {"name": "c_1", "manifest_digest": digest, "start_ts": int(NOW - 9 * DAY), "end_ts": int(NOW - 60)}
    quay.history = [old, {**old, "name": "dead"}]
    assert {tag.name: tag.pushed for tag in tags(quay, TWO).values()} == {"c_1": NOW - 60}
    assert actions(run(quay, {"regex": "^c_|dead", "older_than": DAY})) == {"c_1": "kept"}
    # Should an older Quay list them all the same.
    rows = [*quay.history, {**old, "start_ts": int(NOW - 60), "end_ts": int(NOW + 9 * DAY)}]
    quay.once.append(("/tag/", Answer(200, {"tags": rows, "has_additional": False})))
    assert {tag.name: tag.pushed for tag in tags(quay, TWO).values()} == {"c_1": NOW - 60}


def test_quay_a_robot_needs_no_token(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    digest = quay.image(TWO, "a", "b", pushed=NOW - 3 * DAY)
    assert actions(run(quay, {"tags": ["a"]}, api_token=None)) == {"a": "removed"}
    assert quay.state(TWO) == {"b": digest}
    assert not quay.seen("/api/v1/")
    # The list of a private repository comes from the registry.
    assert tags(quay, TWO, api_token=None) == {"b": Tag("b")}


def test_quay_before_it_deleted_tags(start: t.Any) -> None:
    quay = start(stand_ins.Quay)
    quay.deletes_tags = False
    digest = quay.image(TWO, "a", "b", pushed=NOW)
    with pytest.raises(ContainersError, match=r"this Quay deletes no tags by the registry API: give an api_token"):
        run(quay, {"tags": ["a"]}, api_token=None)
    assert quay.state(TWO) == {"a": digest, "b": digest}
    assert actions(run(quay, {"tags": ["a"]})) == {"a": "removed"}
    assert quay.state(TWO) == {"b": digest}


# -- GHCR ------------------------------------------------------------------------------------------------------------------------------------


def test_ghcr_the_image_of_the_tag_is_never_deleted(start: t.Any) -> None:
    ghcr = start(stand_ins.Ghcr)
    child = ghcr.image(APP, "1.0-amd64", pushed=NOW)
    ghcr.image(APP, "1.0", children=[child], pushed=NOW)
    assert actions(run(ghcr, {"tags": ["1.0-amd64"]})) == {"1.0-amd64": "removed"}
    assert child in ghcr.repositories[APP].manifests
    assert set(ghcr.state(APP)) == {"1.0"}


def test_ghcr_the_last_tag_is_put_back(start: t.Any) -> None:
    ghcr = start(stand_ins.Ghcr)
    digest = ghcr.image(APP, "a", pushed=NOW)
    with pytest.raises(ContainersError, match=r"names its old image .* again: .*You cannot delete the last tagged version"):
        run(ghcr, {"tags": ["a"]})
    assert ghcr.state(APP) == {"a": digest}


def test_ghcr_a_version_that_is_listed_late(start: t.Any) -> None:
    ghcr = start(stand_ins.Ghcr)
    digest = ghcr.image(APP, "a", "b", pushed=NOW)
    ghcr.late = 3
    assert actions(run(ghcr, {"tags": ["a"]})) == {"a": "removed"}
    assert ghcr.state(APP) == {"b": digest}


def test_ghcr_a_version_that_is_never_listed(start: t.Any) -> None:
    ghcr = start(stand_ins.Ghcr)
    digest = ghcr.image(APP, "a", "b", pushed=NOW)
    ghcr.late = 99
    with pytest.raises(ContainersError, match=r"GitHub does not list the image that was just put there"):
        run(ghcr, {"tags": ["a"]})
    assert ghcr.state(APP) == {"a": digest, "b": digest}


@pytest.mark.parametrize(
    ("entry", "scopes", "message"),
    [
        ({"api_token": None, "username": None, "password": None}, None, "give an api_token or a password"),
        ({"api_token": "wrong"}, None, "answered 401"),
        ({}, "read:packages, repo", "lacks the scope delete:packages"),
    ],
)
def test_ghcr_refused_before_anything_is_written(start: t.Any, entry: dict[str, t.Any], scopes: str | None, message: str) -> None:
    ghcr = start(stand_ins.Ghcr)
    digest = ghcr.image(APP, "a", "b", pushed=NOW)
    ghcr.scopes = scopes
    with pytest.raises(ContainersError, match=message):
        run(ghcr, {"tags": ["a"]}, **entry)
    assert not ghcr.writes()
    assert ghcr.state(APP) == {"a": digest, "b": digest}


def test_ghcr_the_package_of_a_user(start: t.Any) -> None:
    ghcr = start(stand_ins.Ghcr)
    ghcr.owners = {"example": "users"}
    ghcr.image(APP, "a", "b", pushed=NOW)
    assert set(tags(ghcr, APP)) == {"a", "b"}


# -- GitLab ----------------------------------------------------------------------------------------------------------------------------------


def test_gitlab_without_a_database(start: t.Any) -> None:
    gitlab = start(stand_ins.GitLab)
    gitlab.database = False
    gitlab.image(APP, "a", "b", pushed=NOW)
    assert tags(gitlab, APP) == {"a": Tag("a"), "b": Tag("b")}


def test_gitlab_before_it_deleted_tags(start: t.Any) -> None:
    gitlab = start(stand_ins.GitLab)
    gitlab.deletes_tags = False
    digest = gitlab.image(APP, "a", "b", pushed=NOW)
    with pytest.raises(ContainersError, match=r"deletes no tags by the registry API"):
        run(gitlab, {"tags": ["a"]})
    assert gitlab.state(APP) == {"a": digest, "b": digest}


# -- Harbor ----------------------------------------------------------------------------------------------------------------------------------


def test_harbor_encodes_twice(start: t.Any) -> None:
    harbor = start(stand_ins.Harbor)
    harbor.image(APP, "a", "b", pushed=NOW)
    run(harbor, {"tags": ["a"]})
    assert harbor.seen("/projects/example/repositories/team%252Fapp/artifacts/sha256%3A")


def test_harbor_an_immutable_tag(start: t.Any) -> None:
    harbor = start(stand_ins.Harbor)
    digest = harbor.image(APP, "a", "b", pushed=NOW)
    harbor.immutable = {"a"}
    with pytest.raises(
        ContainersError, match=r"app:a by the API of Harbor: .* answered 412 PRECONDITION .matched with immutable rules.: the registry forbids it"
    ):
        run(harbor, {"tags": ["a", "b"]})
    assert harbor.state(APP) == {"a": digest}


def test_harbor_needs_a_login(start: t.Any) -> None:
    harbor = start(stand_ins.Harbor)
    harbor.image(APP, "a", pushed=NOW)
    with pytest.raises(ContainersError, match=r"Harbor removes tags by its own API: give username and password"):
        run(harbor, {"tags": ["a"]}, username=None, password=None)
    assert not harbor.writes()


# -- ECR -------------------------------------------------------------------------------------------------------------------------------------


def test_ecr_failures_with_status_200(start: t.Any) -> None:
    ecr = start(stand_ins.Ecr)
    child = ecr.image(APP, "child", text="child", pushed=NOW)
    ecr.image(APP, "index", children=[child], pushed=NOW)
    ecr.image(APP, "a", "b", pushed=NOW)
    with pytest.raises(ContainersError, match=r"did not remove child: ImageReferencedByManifestList referenced by manifest list") as caught:
        run(ecr, {"tags": ["a", "child"]})
    assert {item["tag"]: item["action"] for item in caught.value.result["images"]} == {"a": "removed", "child": "failed"}
    assert set(ecr.state(APP)) == {"b", "child", "index"}


def test_ecr_a_hundred_at_once(start: t.Any) -> None:
    ecr = start(stand_ins.Ecr)
    for number in range(250):
        ecr.image(APP, f"t{number}", text=str(number), pushed=NOW)
    run(ecr, {"tags": [f"t{number}" for number in range(250)]})
    deletes = [request for request in ecr.seen("POST /") if request.headers["X-Amz-Target"].endswith(".BatchDeleteImage")]
    assert sorted(len(request.json["imageIds"]) for request in deletes) == [50, 100, 100]


def test_ecr_without_credentials_is_refused_before_anything_is_written(start: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = start(stand_ins.Ecr)
    digest = ecr.image(APP, "a", pushed=NOW)

    def call(action: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        raise ContainersError("no AWS credentials were found")

    monkeypatch.setitem(choose.CLASSES, "ecr", lambda client, registry: Ecr(client, registry, call))
    with pytest.raises(ContainersError, match=r"app: no tags can be removed: no AWS credentials were found"):
        run(ecr, {"tags": ["a"]})
    assert ecr.state(APP) == {"a": digest}


def test_ecr_asks_for_the_account_in_the_registrys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # The credentials may be those of another account, which has a repository of the same name.
    reference = Reference("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "app")
    calls: list[tuple[str, t.Any]] = []

    def call(action: str, parameters: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        calls.append((action, parameters.get("registryId")))
        return {"imageIds": parameters.get("imageIds", [])}

    with Client(Credentials({reference.registry: stand_ins.Registry.entry}), ("pull",)) as client:
        registry = client.registry(reference)
        monkeypatch.setattr(registry, "resolve", lambda image: Descriptor("", "sha256:" + "a" * 64, 1))
        vendor = Ecr(client, registry, call)
        vendor.tags(reference)
        vendor.remove(reference, {"a": "sha256:" + "a" * 64})
    assert set(calls) == {("DescribeImages", "123456789012"), ("BatchDeleteImage", "123456789012")}


def test_ecr_of_another_in_the_gallery(start: t.Any) -> None:
    ecr = start(stand_ins.EcrPublic)
    digest = ecr.image("another/app", "a", pushed=NOW)
    ecr.image("example/app", "a", pushed=NOW)
    reference = Reference(ecr.name, "another/app")
    with vendors_of(ecr) as vendors:
        assert vendors.of(reference).tags(reference) == [Tag("a")]
        with pytest.raises(ContainersError, match=r"it is in none of the registries of these AWS credentials \(example\)"):
            untag(vendors.client, parse_selections([{"repository": reference.name, "tags": ["a"]}]))
    assert ecr.state("another/app") == ecr.state("example/app") == {"a": digest}


# -- ACR -------------------------------------------------------------------------------------------------------------------------------------


def test_acr_asks_for_the_rights_that_it_needs(start: t.Any) -> None:
    acr = start(stand_ins.Acr)
    acr.image(APP, "a", "b", pushed=NOW - 3 * DAY)
    assert actions(run(acr, {"regex": "a", "older_than": DAY})) == {"a": "removed"}
    assert {request.query["scope"] for request in acr.seen("/oauth2/token")} == {
        f"repository:{APP}:pull,push,delete",
        f"repository:{APP}:pull,push,delete,metadata_read",
    }


def test_nothing_asks_to_push_before_something_is_to_be_removed(start: t.Any) -> None:
    # A token server of Quay or GitLab makes a repository of whatever name is to be pushed to.
    acr = start(stand_ins.Acr)
    acr.image(APP, "a", "b", pushed=NOW - 3 * DAY)
    images = [
        {"repository": f"{acr.name}/example/missing", "tags": ["a"]},
        {"repository": f"{acr.name}/example/missing", "regex": "^a$", "older_than": DAY},
        {"repository": f"{acr.name}/{APP}", "regex": "^a$", "older_than": DAY},
    ]
    assert ENTRY.run({"images": images, "credentials": acr.credentials(), "parallel": 4, "timeout": 5, "retries": 1}, False)["changed"]
    assert acr.state(APP).keys() == {"b"}
    assert {request.query["scope"].split(":")[1] for request in acr.seen("token?") if "push" in request.query["scope"]} == {APP}


def test_acr_a_locked_tag(start: t.Any) -> None:
    acr = start(stand_ins.Acr)
    digest = acr.image(APP, "a", pushed=NOW)
    acr.forbidden = True
    with pytest.raises(ContainersError, match=r"answered 405 UNSUPPORTED .*it is locked"):
        run(acr, {"tags": ["a"]})
    assert acr.state(APP) == {"a": digest}


# -- Artifactory -----------------------------------------------------------------------------------------------------------------------------


def test_artifactory_a_folder_with_more_than_the_tag(start: t.Any) -> None:
    it = start(stand_ins.Artifactory)
    it.image("key/app", "latest", pushed=NOW)
    it.image("key/app/latest", "1.0", text="other image", pushed=NOW)
    reference = Reference(it.name, "key/app")
    with vendors_of(it) as vendors:
        found = remove(vendors, select(vendors, parse_selections([{"repository": reference.name, "tags": ["latest"]}])))
        assert "holds more than the tag" in found[0].reason
        assert [tag.name for tag in vendors.of(reference).tags(reference)] == ["latest"]
    assert not [write for write in it.writes() if "DELETE" in write]


def test_artifactory_a_folder_of_another_image(start: t.Any) -> None:
    it = start(stand_ins.Artifactory)
    digest = it.image(APP, "a", pushed=NOW)
    it.once.append(("/manifest.json", Answer(200, {"checksums": {"sha256": "b" * 64}})))
    with pytest.raises(ContainersError, match=rf"holds another image than {digest}, so nothing was removed"):
        run(it, {"tags": ["a"]})
    assert it.state(APP) == {"a": digest}


def test_artifactory_a_list_that_is_cut_short(start: t.Any) -> None:
    it = start(stand_ins.Artifactory)
    it.image(APP, "a", "b", pushed=NOW)
    it.trimmed = True
    assert tags(it, APP) == {"a": Tag("a"), "b": Tag("b")}


def test_artifactory_addressed_by_host_names(start: t.Any) -> None:
    it = start(stand_ins.Artifactory)
    it.image("app", "a", pushed=NOW)
    with vendors_of(it) as vendors:
        assert "name it with its repository key in front" in vendors.of(Reference(it.name, "app")).refusal(Reference(it.name, "app"))


# -- Nexus -----------------------------------------------------------------------------------------------------------------------------------


def test_nexus_an_image_in_two_repositories(start: t.Any) -> None:
    nexus = start(stand_ins.Nexus)
    digest = nexus.image(APP, "a", pushed=NOW)
    nexus.also = ["proxy"]
    with pytest.raises(ContainersError, match=r"it is in several repositories of Nexus \(hosted, proxy\)"):
        run(nexus, {"tags": ["a"]})
    assert nexus.state(APP) == {"a": digest}


def test_nexus_where_the_api_is_elsewhere(start: t.Any) -> None:
    nexus, other = start(stand_ins.Nexus), start(Registry)
    other.undocumented = []
    nexus.image(APP, "a", pushed=NOW)
    other.once.append(("/service/rest/v1/status", Answer(404)))
    with pytest.raises(ContainersError, match=r"give its URL as api_url if it is on another port"):
        run(nexus, {"tags": ["a"]}, api_url=other.url)
    assert not nexus.writes()


# -- Pulp ------------------------------------------------------------------------------------------------------------------------------------


def test_pulp_waits_for_its_task(start: t.Any) -> None:
    pulp = start(stand_ins.Pulp)
    digest = pulp.image(APP, "a", "b", pushed=NOW)
    assert actions(run(pulp, {"tags": ["a"]})) == {"a": "removed"}
    assert pulp.looks == {"0": 2}
    assert pulp.state(APP) == {"b": digest}


def test_pulp_a_task_that_fails(start: t.Any) -> None:
    pulp = start(stand_ins.Pulp)
    digest = pulp.image(APP, "a", pushed=NOW)
    pulp.once.append(("/tasks/", Answer(200, {"state": "failed"})))
    with pytest.raises(ContainersError, match=r"the task of .* has failed"):
        run(pulp, {"tags": ["a"]})
    assert pulp.state(APP) == {"a": digest}
