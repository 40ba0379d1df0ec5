# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uploading images: pushes that are tried again, artifacts, and what is decided before anything is pushed."""

from __future__ import annotations

import json
import pathlib
import typing as t

import ansible_collections.gating.containers.plugins.module_utils._upload as upload_module
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gating.containers.plugins.module_utils._credentials import Access
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import Image
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._retry import RetryPolicy
from ansible_collections.gating.containers.plugins.module_utils._tool import Tool
from ansible_collections.gating.containers.plugins.module_utils._upload import (
    ENTRY,
    Upload,
    artifacts,
    push,
)

REPOSITORY = Reference("quay.io", "example/image")
LOCAL = REPOSITORY.with_tag("change_1_latest")
DIGEST = "sha256:" + "a" * 64
ACCESS = Access("quay.io")


class Fake(Tool):
    """A tool whose pushes end as they are told to."""

    def __init__(self, *ends: str | Exception) -> None:
        super().__init__("fake")
        self._ends = list(ends)
        self.pushed: list[tuple[Reference, bool, Access]] = []
        self.saved: list[tuple[Reference, bool]] = []
        self.write: t.Callable[[pathlib.Path], object] = id

    def push(self, name: Reference, index: bool, access: Access) -> str:
        self.pushed.append((name, index, access))
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def save(self, name: Reference, index: bool, directory: pathlib.Path) -> Reference:
        self.saved.append((name, index))
        self.write(directory)
        return Reference(f"oci:{directory}", "")


def upload(*platforms: str) -> Upload:
    return Upload(Image(REPOSITORY, arch=platforms), LOCAL, {LOCAL: "latest"})


def policy(total: int = 3) -> RetryPolicy:
    return RetryPolicy(total=total, backoff_factor=0)


# -- push ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platforms", [(), ("linux/amd64", "linux/arm64")])
def test_push(platforms: tuple[str, ...]) -> None:
    tool = Fake(DIGEST)
    assert push(tool, upload(*platforms), ACCESS, policy()) == DIGEST
    assert tool.pushed == [(LOCAL, bool(platforms), ACCESS)]


@pytest.mark.parametrize(
    "said",
    [
        "received unexpected HTTP status: 503 Service Unavailable",
        "connection reset by peer",
        "i/o timeout",
        "toomanyrequests: rate limit exceeded",
        "unexpected EOF",
        "it printed nothing",
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_failure_that_may_pass_is_tried_again(said: str, times: int) -> None:
    tool = Fake(*[ContainersError(f"push of {LOCAL}: {said}", {"stderr": f"writing blob\n{said}\n"})] * times, DIGEST)
    assert push(tool, upload(), ACCESS, policy(3)) == DIGEST
    assert tool.pushed == [(LOCAL, False, ACCESS)] * (times + 1)


@pytest.mark.parametrize("total", [0, 1, 3])
def test_when_its_retries_are_used_up_the_last_failure_is_told(total: int) -> None:
    errors = [ContainersError(f"push {number}: 503", {"rc": number}) for number in range(total + 1)]
    tool = Fake(*errors)
    with pytest.raises(ContainersError) as caught:
        push(tool, upload(), ACCESS, policy(total))
    assert caught.value is errors[-1]
    assert len(tool.pushed) == total + 1
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "said",
    [
        "unauthorized: access to the requested resource is not authorized",
        "denied: requested access to the resource is denied",
        "403 Forbidden",
        "authentication required",
        "x509: certificate signed by unknown authority",
        "tls: failed to verify certificate",
        "http: server gave HTTP response to HTTPS client",
        "name unknown: repository name not known to registry",
        "invalid reference format",
        "invalid username/password",
        "podman is not installed: include the role ensure_container_command",
        "podman cannot be run: Permission denied",
        "UNAUTHORIZED",
    ],
)
@pytest.mark.parametrize("where", ["message", "stderr"])
def test_a_failure_that_another_try_cannot_mend_is_final(said: str, where: str) -> None:
    error = ContainersError(f"push of {LOCAL}: {said}") if where == "message" else ContainersError("push failed", {"stderr": f"{said}\nfailed\n"})
    tool = Fake(error, DIGEST)
    with pytest.raises(ContainersError) as caught:
        push(tool, upload(), ACCESS, policy())
    assert caught.value is error
    assert len(tool.pushed) == 1


@pytest.mark.parametrize("said", ["image not known", "No such image: example", "An image does not exist locally with the tag: example"])
@pytest.mark.parametrize("where", ["message", "stderr"])
def test_for_an_image_that_is_not_there_the_role_that_builds_it_is_named(said: str, where: str) -> None:
    stderr = f"{said}\nfailed\n" if where == "stderr" else ""
    told = f"push of {LOCAL}: {said}" if where == "message" else "push failed"
    tool = Fake(ContainersError(told, {"stderr": stderr, "rc": 125}), DIGEST)
    with pytest.raises(ContainersError) as caught:
        push(tool, upload(), ACCESS, policy())
    assert str(caught.value) == f"{told} - is it built? The role build_container_image does that"
    assert caught.value.result == {"stderr": stderr, "rc": 125}
    assert len(tool.pushed) == 1


def test_an_image_whose_name_says_that_it_is_not_there_is_pushed_again() -> None:
    name = Reference("quay.io", "example/denied-or-no-such-image", "latest")
    tool = Fake(ContainersError(f"push of {name}: 503"), DIGEST)
    assert push(tool, Upload(Image(name), name, {name: "latest"}), ACCESS, policy()) == DIGEST


def test_a_word_in_the_images_name_does_not_make_a_failure_final() -> None:
    name = Reference("quay.io", "denied/unauthorized", "latest")
    error = ContainersError(f"push of {name}: 503", {"stderr": f"uploading to https://quay.io/v2/{name.repository}/blobs: 503"})
    tool = Fake(error, DIGEST)
    assert push(tool, Upload(Image(name), name, {name: "latest"}), ACCESS, policy()) == DIGEST


def test_bad_input_is_not_tried_again() -> None:
    tool = Fake(InputError("ca_cert is no file"), DIGEST)
    with pytest.raises(InputError, match="^ca_cert is no file$"):
        push(tool, upload(), ACCESS, policy())
    assert len(tool.pushed) == 1


def test_a_final_failure_after_one_that_may_pass() -> None:
    tool = Fake(ContainersError("503"), ContainersError("denied"), DIGEST)
    with pytest.raises(ContainersError, match="^denied$"):
        push(tool, upload(), ACCESS, policy())
    assert len(tool.pushed) == 2


def test_a_bug_is_not_tried_again() -> None:
    tool = Fake(KeyError("x"), DIGEST)
    with pytest.raises(KeyError):
        push(tool, upload(), ACCESS, policy())
    assert len(tool.pushed) == 1


def test_there_are_pauses_between_tries(pauses: list[float]) -> None:
    tool = Fake(*[ContainersError("503")] * 3, DIGEST)
    assert push(tool, upload(), ACCESS, RetryPolicy(total=3, backoff_factor=0.5)) == DIGEST
    # None before the second try, then one second and two, a quarter more or less.
    assert len(pauses) == 2
    assert 0.75 <= pauses[0] <= 1.25
    assert 1.5 <= pauses[1] <= 2.5


def test_each_push_has_its_own_retries() -> None:
    shared = policy(1)
    for _again in range(3):
        assert push(Fake(ContainersError("503"), DIGEST), upload(), ACCESS, shared) == DIGEST


# -- artifacts -------------------------------------------------------------------------------------------------------------------


def test_artifacts() -> None:
    one = Image(REPOSITORY, tags=("latest", "1"))
    other = Image(Reference("localhost:5000", "other"))
    there = Reference("zuul.example:5000", "quay.io/example/image")
    uploads = [
        Upload(one, LOCAL, {there.with_tag("b_latest"): "latest", there.with_tag("b_1"): "1"}),
        Upload(other, other.names()[0], {other.repository.with_tag("p_latest"): "latest"}),
    ]
    results = [
        {"repository": there.name, "tag": "b_latest", "digest": DIGEST, "platforms": ["linux/amd64"], "changed": True},
        {"repository": there.name, "tag": "b_1", "digest": DIGEST, "platforms": ["linux/amd64"], "changed": False},
        {"repository": "localhost:5000/other", "tag": "p_latest", "digest": None, "platforms": [], "changed": True},
    ]
    found = artifacts(uploads, results)
    assert [(item["name"], item["url"]) for item in found] == [
        ("quay.io/example/image:latest", "docker://zuul.example:5000/quay.io/example/image:b_latest"),
        ("quay.io/example/image:1", "docker://zuul.example:5000/quay.io/example/image:b_1"),
        ("localhost:5000/other:latest", "docker://localhost:5000/other:p_latest"),
    ]
    assert found[0]["metadata"] == {
        "type": "container_image",
        "repository": "quay.io/example/image",
        "tag": "latest",
        "digest": DIGEST,
        "platforms": ["linux/amd64"],
    }
    assert [(item["metadata"]["tag"], item["metadata"]["digest"]) for item in found] == [("latest", DIGEST), ("1", DIGEST), ("latest", None)]


def test_no_artifacts() -> None:
    assert artifacts([], []) == []


# -- the operation ---------------------------------------------------------------------------------------------------------------


PASSWORD = "s3cr3t-Pa55w0rd"
INTERMEDIATE = {"host": "zuul.example", "port": 5000, "username": "zuul", "password": PASSWORD}
IMAGES = [{"repository": "quay.io/example/image", "tags": ["latest", "1"]}, {"repository": "docker.io/other", "arch": ["linux/amd64", "linux/arm64"]}]


def params_of(**more: t.Any) -> dict[str, t.Any]:
    result = ArgumentSpecValidator(ENTRY.arguments).validate({"images": IMAGES, "prefix": "change_1_", **more})
    assert result.error_messages == []
    return t.cast("dict[str, t.Any]", result.validated_parameters)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The tool of the operation."""
    tool = Fake()
    monkeypatch.setattr(upload_module, "tool_of", lambda command: tool)
    return tool


@pytest.fixture
def no_requests(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> t.Iterator[None]:
    """Nothing is pushed and no client is opened."""

    def opened(*dummy: object) -> t.NoReturn:
        raise AssertionError("a client was opened")

    monkeypatch.setattr(upload_module, "open_client", opened)
    yield
    assert (fake.pushed, fake.saved) == ([], [])


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("given", [{}, None])
def test_without_an_intermediate_registry_nothing_is_uploaded_to_it(no_requests: None, check_mode: bool, given: t.Any) -> None:
    params = {**params_of(method="intermediate-registry", zuul={"build": "b1"}), "intermediate_registry": given}
    result = ENTRY.run(params, check_mode)
    assert result.pop("msg").startswith("nothing to upload: ")
    assert result == {"changed": False, "images": [], "artifacts": [], "requests": 0}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("zuul", [{}, {"build": None}, {"build": ""}, {"buildset": "x"}])
def test_without_a_build_the_intermediate_registry_is_refused(no_requests: None, check_mode: bool, zuul: dict[str, t.Any]) -> None:
    with pytest.raises(InputError, match="^intermediate_registry is given, but zuul.build is not, by which the images are named there$"):
        ENTRY.run(params_of(method="intermediate-registry", intermediate_registry=INTERMEDIATE, zuul=zuul), check_mode)


@pytest.mark.parametrize(
    ("more", "tags"),
    [
        ({}, ["quay.io/example/image:change_1_latest", "quay.io/example/image:change_1_1", "docker.io/library/other:change_1_latest"]),
        ({"promote": False}, ["quay.io/example/image:latest", "quay.io/example/image:1", "docker.io/library/other:latest"]),
        ({"promote": False, "prefix": ""}, ["quay.io/example/image:latest", "quay.io/example/image:1", "docker.io/library/other:latest"]),
        (
            {"promote": False, "method": "intermediate-registry", "intermediate_registry": INTERMEDIATE},
            ["quay.io/example/image:latest", "quay.io/example/image:1", "docker.io/library/other:latest"],
        ),
        (
            {"method": "intermediate-registry", "intermediate_registry": INTERMEDIATE, "zuul": {"build": "0a1b"}},
            [
                f"zuul.example:5000/{name}"
                for name in ("quay.io/example/image:0a1b_latest", "quay.io/example/image:0a1b_1", "docker.io/library/other:0a1b_latest")
            ],
        ),
    ],
)
def test_check_mode_names_every_tag(no_requests: None, more: dict[str, t.Any], tags: list[str]) -> None:
    result = ENTRY.run(params_of(**more), True)
    assert result["msg"] == f"would upload {', '.join(tags)}"
    assert [f"{one['repository']}:{one['tag']}" for one in result["images"]] == tags
    assert [(one["digest"], one["platforms"], one["changed"]) for one in result["images"]] == [
        (None, [], True),
        (None, [], True),
        (None, ["linux/amd64", "linux/arm64"], True),
    ]
    assert (result["changed"], result["artifacts"], result["requests"]) == (True, [], 0)


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prefix": ""}, "^container_image_staging_prefix is empty"),
        ({"images": []}, "^container_images is to be a list"),
        ({"credentials": {"quay.io": {}}}, "^docker.io/library/other: container_registry_credentials has no entry for docker.io"),
        ({"credentials": {"quay.io": {"username": "me"}}}, "has only one of username and password"),
        ({"credentials": {"quay.io": {"repository": "^quay.io/mine/"}}}, "^quay.io/example/image: the credentials for quay.io permit only"),
        ({"method": "intermediate-registry", "intermediate_registry": {"port": 5000}}, "^intermediate_registry has no host$"),
        ({"method": "intermediate-registry", "intermediate_registry": INTERMEDIATE, "zuul": {"build": "b" * 128}}, "has 135 characters"),
        ({"method": "intermediate-registry", "intermediate_registry": INTERMEDIATE, "zuul": {"build": "-"}}, "'-_latest' is not a tag"),
    ],
)
def test_run_refuses_bad_input_before_any_request(no_requests: None, check_mode: bool, more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ENTRY.run(params_of(**more), check_mode)


def test_what_is_secret_is_in_no_invocation() -> None:
    assert {name for name, argument in ENTRY.arguments.items() if argument.get("no_log")} == {"credentials", "intermediate_registry"}


def write(directory: pathlib.Path, root: bytes, *blobs: bytes) -> None:
    (directory / "blobs" / "sha256").mkdir(parents=True)
    for blob in (root, *blobs):
        (directory / "blobs" / digest_of(blob).replace(":", "/")).write_bytes(blob)
    item = {"mediaType": json.loads(root)["mediaType"], "digest": digest_of(root)}
    (directory / "index.json").write_text(json.dumps({"manifests": [item]}))


CONFIG = b'{"os": "linux", "architecture": "arm", "variant": "v7"}'
RAW = json.dumps({"mediaType": OCI_MANIFEST, "config": {"mediaType": "c", "digest": digest_of(CONFIG), "size": len(CONFIG)}, "layers": []}).encode()


def test_upload_to_the_intermediate_registry(http_server: t.Any, fake: Fake) -> None:
    server = http_server()
    host, port = server.name.split(":")
    fake.write = lambda directory: write(directory, RAW, CONFIG)
    at = "/v2/quay.io/example/image"
    server.on("GET", "/v2/", 200)
    for tag in ("b1_latest", "b1_1"):
        server.on("HEAD", f"{at}/manifests/{tag}", 404)
        server.on("PUT", f"{at}/manifests/{tag}", 201)
        server.on("HEAD", f"{at}/manifests/{tag}", 200, RAW, {"Docker-Content-Digest": digest_of(RAW)})
    server.on("HEAD", f"{at}/blobs/{digest_of(CONFIG)}", 200)
    # Whether it tells so when that is mounted.
    server.on("POST", f"{at}/blobs/uploads/", 201)
    server.on("GET", f"{at}/blobs/{digest_of(CONFIG)}", 200, CONFIG, times=2)
    registry = {"host": host, "port": port, "scheme": "http"}
    params = params_of(images=IMAGES[:1], method="intermediate-registry", intermediate_registry=registry, zuul={"build": "b1"})
    result = ENTRY.run(params, False)
    # The local image of the first final tag, and nothing is pushed to where it is published.
    assert (fake.saved, fake.pushed) == ([(REPOSITORY.with_tag("latest"), False)], [])
    assert result["images"] == [
        {
            "repository": f"{server.name}/quay.io/example/image",
            "tag": tag,
            "digest": digest_of(RAW),
            "platforms": ["linux/arm/v7"],
            "changed": True,
        }
        for tag in ("b1_latest", "b1_1")
    ]
    assert [(item["name"], item["url"]) for item in result["artifacts"]] == [
        (f"quay.io/example/image:{tag}", f"docker://{server.name}/quay.io/example/image:b1_{tag}") for tag in ("latest", "1")
    ]
    assert (result["changed"], result["requests"]) == (True, len(server.requests))
    assert result["msg"] == f"uploaded 1 image with 2 tags, 2 changed, {len(server.requests)} requests"


def test_the_platforms_of_an_index_are_those_of_its_images(http_server: t.Any, fake: Fake) -> None:
    server = http_server()
    host, port = server.name.split(":")
    items = [
        {"mediaType": OCI_MANIFEST, "digest": digest_of(RAW), "platform": platform}
        for platform in ({"os": "linux", "architecture": "arm64"}, {"os": "linux", "architecture": "amd64"}, {"os": "unknown", "architecture": "unknown"})
    ]
    index = json.dumps({"mediaType": OCI_INDEX, "manifests": items}).encode()
    fake.write = lambda directory: write(directory, index, RAW, CONFIG)
    server.on("GET", "/v2/", 200)
    server.on("HEAD", "/v2/docker.io/library/other/manifests/b1_latest", 200, index, {"Docker-Content-Digest": digest_of(index)})
    registry = {"host": host, "port": port, "scheme": "http"}
    params = params_of(images=IMAGES[1:], method="intermediate-registry", intermediate_registry=registry, zuul={"build": "b1"})
    result = ENTRY.run(params, False)
    assert fake.saved == [(Reference("docker.io", "library/other", "latest"), True)]
    assert [(one["platforms"], one["changed"]) for one in result["images"]] == [(["linux/amd64", "linux/arm64"], False)]
    assert (result["changed"], result["msg"]) == (False, "uploaded 1 image with 1 tag, 0 changed, 2 requests")
