# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zuul's own registries."""

from __future__ import annotations

import contextlib
import json
import pathlib
import tempfile
import threading
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _progress
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Credentials,
    Login,
)
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
from ansible_collections.gating.containers.plugins.module_utils._tool import Tool
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    Published,
    ZuulRegistry,
    publish,
)
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "s3cr3t-Pa55w0rd"
PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
LOCAL = Reference("quay.io", "example/image", "1.0")


def parse(variable: str = "buildset_registry", **keys: t.Any) -> ZuulRegistry:
    return ZuulRegistry.parse(variable, keys)


# -- how they are given ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["buildset_registry", "intermediate_registry"])
def test_parse(variable: str) -> None:
    found = parse(variable, host="Registry.example", port=5000, username="zuul", password=PASSWORD, cert=PEM, scheme="https")
    assert (found.variable, found.name) == (variable, "registry.example:5000")
    access = found.credentials.access("registry.example:5000")
    assert access == Access("registry.example:5000", Login("zuul", PASSWORD), None, "https", True, PEM)


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("registry.example", 5000, "registry.example:5000"),
        ("registry.example", "5000", "registry.example:5000"),
        ("registry.example", None, "registry.example"),
        ("registry.example", "", "registry.example"),
        ("10.0.0.1", 5000, "10.0.0.1:5000"),
        ("localhost", 9000, "localhost:9000"),
        ("::1", 5000, "[::1]:5000"),
        ("[::1]", 5000, "[::1]:5000"),
        ("::1", None, "[::1]"),
        ("2001:DB8:0::1", 5000, "[2001:db8::1]:5000"),
        ("zuul-jobs.buildset-registry", 5000, "zuul-jobs.buildset-registry:5000"),
    ],
)
def test_the_name_of_a_registry(host: str, port: t.Any, name: str) -> None:
    found = parse(host=host, port=port)
    assert found.name == name
    assert found.credentials.access(name) == Access(name)


def test_what_the_roles_of_zuul_jobs_write_besides_is_left_alone() -> None:
    keys = {"username": None, "password": "", "cert": None, "proxy_port": 5001, "namespace": "x"}
    assert parse(host="a.b", **keys).credentials.access("a.b") == Access("a.b")


@pytest.mark.parametrize("keys", [{}, {"host": None}, {"host": ""}, {"host": "[]"}, {"port": 5000}])
def test_a_registry_without_a_host(keys: dict[str, t.Any]) -> None:
    with pytest.raises(InputError, match="^intermediate_registry has no host$"):
        parse("intermediate_registry", **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"username": "zuul"}, "has only one of username and password: give both or none"),
        ({"password": PASSWORD}, "has only one of username and password: give both or none"),
        ({"username": "zuul", "password": [PASSWORD]}, ": password is to be a text: put it in quotes"),
        ({"username": 5, "password": PASSWORD}, ": username is to be a text: put it in quotes"),
        ({"scheme": "ftp"}, ": scheme is to be http or https"),
    ],
)
@pytest.mark.parametrize("host", ["registry.example", "::1"])
def test_a_malformed_registry_is_refused_in_the_words_of_its_variable(host: str, keys: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(host=host, port=5000, **keys)
    assert str(caught.value).replace("buildset_registry ", "buildset_registry", 1) == f"buildset_registry{message}"
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_password_is_in_the_text_of_a_registry() -> None:
    assert PASSWORD not in repr(parse(host="a.b", username="zuul", password=PASSWORD))


# -- what images are called there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repository", "strip", "name"),
    [
        ("quay.io/example/image", "", "quay.io/example/image"),
        ("quay.io/example/image", "docker.io", "quay.io/example/image"),
        ("docker.io/example/image", "docker.io", "example/image"),
        ("docker.io/example/image", "", "docker.io/example/image"),
        ("docker.io/busybox", "docker.io", "library/busybox"),
        ("localhost:5000/image", "docker.io", "localhost-5000/image"),
        ("[::1]:5000/image", "docker.io", "1-5000/image"),
        ("[2001:db8::1]:5000/image", "", "2001-db8-1-5000/image"),
        ("[2001:db8::]/image", "", "2001-db8/image"),
        ("Registry.Example:443/a/b", "", "registry.example-443/a/b"),
    ],
)
def test_the_repository_of_an_image(repository: str, strip: str, name: str) -> None:
    found = parse(host="zuul.example", port=5000).repository(Image(Reference.parse_repository(repository)), strip)
    assert found == Reference("zuul.example:5000", name)


@given(
    st.sampled_from(["quay.io", "docker.io", "a-b.example:5000", "[::1]:5000", "[fe80::1]", "[1::]:65535", "127.0.0.1:1", "localhost"]),
    st.sampled_from(["", "docker.io"]),
)
def test_every_name_there_is_a_legal_one(registry: str, strip: str) -> None:
    name = parse(host="zuul.example", port=5000).repository(Image(Reference.parse_repository(f"{registry}/example/image")), strip).with_tag("1.0")
    assert Reference.parse(str(name)) == name


# -- publish -----------------------------------------------------------------------------------------------------------------


class Saver(Tool):
    """A tool whose images are those of a function that writes them."""

    def __init__(self, write: t.Callable[[pathlib.Path], object]) -> None:
        super().__init__("fake")
        self._write = write
        self.saved: list[tuple[Reference, bool]] = []

    def save(self, name: Reference, index: bool, directory: pathlib.Path) -> Reference:
        self.saved.append((name, index))
        self._write(directory)
        return Reference(f"oci:{directory}", "")


def manifest_of(config: bytes, *layers: bytes) -> bytes:
    described = [{"mediaType": "x", "digest": digest_of(blob), "size": len(blob)} for blob in (config, *layers)]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}).encode()


def index_of(*manifests: bytes) -> bytes:
    items = [{"mediaType": OCI_MANIFEST, "digest": digest_of(manifest), "size": len(manifest)} for manifest in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items}).encode()


def write(directory: pathlib.Path, root: bytes, *blobs: bytes) -> None:
    """A layout; the root is an index if it says so."""
    (directory / "blobs" / "sha256").mkdir(parents=True)
    for blob in (root, *blobs):
        (directory / "blobs" / digest_of(blob).replace(":", "/")).write_bytes(blob)
    item = {"mediaType": json.loads(root)["mediaType"], "digest": digest_of(root), "size": len(root)}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [item]}))


CONFIG, LAYER, OTHER_CONFIG = b'{"os": "linux"}', b"layer" * 1000, b'{"os": "other"}'
RAW = manifest_of(CONFIG, LAYER, LAYER)
DIGEST = digest_of(RAW)
OTHER_RAW = manifest_of(OTHER_CONFIG, LAYER)
OTHER = digest_of(OTHER_RAW)
AT = "/v2/quay.io/example/image"


class Made(t.NamedTuple):
    server: t.Any
    registry: ZuulRegistry
    client: Client
    targets: list[Reference]


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def make(http_server: t.Any, temporary: pathlib.Path) -> t.Iterator[t.Callable[..., Made]]:
    clients = contextlib.ExitStack()

    def made(*tags: str, retries: int = 2) -> Made:
        server = http_server()
        server.on("GET", "/v2/", 200)
        host, port = server.name.split(":")
        registry = parse("intermediate_registry", host=host, port=port, scheme="http")
        client = clients.enter_context(Client(registry.credentials, ("pull", "push"), retries=retries))
        repository = registry.repository(Image(LOCAL))
        return Made(server, registry, client, [repository.with_tag(tag) for tag in tags])

    with clients:
        yield made
    assert list(temporary.iterdir()) == []


def serve(server: t.Any, tag: str, raw: bytes | None) -> None:
    """Answer a HEAD for a tag, once."""
    server.on("HEAD", f"{AT}/manifests/{tag}", *((404,) if raw is None else (200, raw, {"Docker-Content-Digest": digest_of(raw)})))


def take(server: t.Any, *blobs: bytes) -> None:
    """Take blobs that are not there."""
    for blob in blobs:
        server.on("HEAD", f"{AT}/blobs/{digest_of(blob)}", 404)
    # Once it is asked whether it tells that it has a blob when that is mounted.
    server.on("POST", f"{AT}/blobs/uploads/", 202, b"", {"Location": "/up"}, times=len(blobs) + 1)
    server.on("PUT", "/up", 201, times=len(blobs))


def sent(server: t.Any) -> set[bytes]:
    return {request.body for request in server.of("PUT", "/up")}


def test_publish_an_image(make: t.Any) -> None:
    one = make("1", "2")
    for tag in ("1", "2"):
        serve(one.server, tag, None)
        one.server.on("PUT", f"{AT}/manifests/{tag}", 201)
        serve(one.server, tag, RAW)
    take(one.server, CONFIG, LAYER)
    tool = Saver(lambda directory: write(directory, RAW, CONFIG, LAYER))
    found = publish(one.registry, one.client, tool, Image(LOCAL), LOCAL, one.targets)
    assert [(item.name, item.manifest.digest, item.changed) for item in found] == [(target, DIGEST, True) for target in one.targets]
    assert isinstance(found[0], Published)
    assert tool.saved == [(LOCAL, False)]
    # A layer that is there twice is sent once.
    assert sent(one.server) == {CONFIG, LAYER}
    for tag in ("1", "2"):
        (put,) = one.server.of("PUT", f"{AT}/manifests/{tag}")
        assert (put.body, put.headers["Content-Type"]) == (RAW, OCI_MANIFEST)
    methods = [request.method for request in one.server.requests if "/manifests/" in request.path]
    # Each tag is looked up when it was written.
    assert (methods[:2], sorted(methods[2:])) == (["HEAD", "HEAD"], ["HEAD", "HEAD", "PUT", "PUT"])
    for tag in ("1", "2"):
        assert [request.method for request in one.server.requests if request.path == f"{AT}/manifests/{tag}"] == ["HEAD", "PUT", "HEAD"]
    # Blobs before what names them.
    last_blob = max(number for number, request in enumerate(one.server.requests) if request.path == "/up")
    first_tag = min(number for number, request in enumerate(one.server.requests) if request.method == "PUT" and "/manifests/" in request.path)
    assert last_blob < first_tag


def test_publish_an_image_of_several_platforms(make: t.Any) -> None:
    one = make("1")
    index = index_of(RAW, OTHER_RAW)
    serve(one.server, "1", None)
    take(one.server, CONFIG, LAYER, OTHER_CONFIG)
    for tag in (DIGEST, OTHER, "1"):
        one.server.on("PUT", f"{AT}/manifests/{tag}", 201)
    serve(one.server, "1", index)
    tool = Saver(lambda directory: write(directory, index, RAW, OTHER_RAW, CONFIG, LAYER, OTHER_CONFIG))
    (found,) = publish(one.registry, one.client, tool, Image(LOCAL, arch=("linux/amd64", "linux/arm64")), LOCAL, one.targets)
    assert (found.manifest.digest, found.manifest.is_index, found.changed) == (digest_of(index), True, True)
    assert tool.saved == [(LOCAL, True)]
    assert sent(one.server) == {CONFIG, LAYER, OTHER_CONFIG}
    puts = [request for request in one.server.requests if request.method == "PUT" and "/manifests/" in request.path]
    # Children before what names them.
    assert {put.path.rpartition("/")[2] for put in puts[:2]} == {DIGEST, OTHER}
    assert (puts[2].path, puts[2].body, puts[2].headers["Content-Type"]) == (f"{AT}/manifests/1", index, OCI_INDEX)


def test_an_index_in_an_index_goes_first(make: t.Any) -> None:
    one = make("1")
    inner = index_of(RAW)
    item = {"mediaType": OCI_INDEX, "digest": digest_of(inner), "size": len(inner)}
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item]}).encode()
    serve(one.server, "1", None)
    take(one.server, CONFIG, LAYER)
    for tag in (DIGEST, digest_of(inner), "1"):
        one.server.on("PUT", f"{AT}/manifests/{tag}", 201)
    serve(one.server, "1", outer)
    publish(one.registry, one.client, Saver(lambda directory: write(directory, outer, inner, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)
    puts = [request.path for request in one.server.requests if request.method == "PUT" and "/manifests/" in request.path]
    assert puts == [f"{AT}/manifests/{tag}" for tag in (DIGEST, digest_of(inner), "1")]


def test_it_tells_how_far_it_is(make: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_EVERY", 0.001)
    one, lines, told = make("1"), [], threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        told.set()

    serve(one.server, "1", RAW)
    one.server._script["HEAD", f"{AT}/manifests/1"][0].hook = lambda: told.wait(5)
    with _progress.reporting(report):
        publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)
    assert lines[0].startswith("0 of 1 images, ")


def test_what_is_there_already_is_not_sent(make: t.Any) -> None:
    one = make("1", "2")
    serve(one.server, "1", RAW)
    serve(one.server, "2", RAW)
    found = publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)
    assert [(item.name, item.changed) for item in found] == [(target, False) for target in one.targets]


def test_only_tags_that_name_something_else_are_written(make: t.Any) -> None:
    one = make("1", "2", "3")
    serve(one.server, "1", RAW)
    for tag, before in (("2", OTHER_RAW), ("3", None)):
        serve(one.server, tag, before)
        one.server.on("PUT", f"{AT}/manifests/{tag}", 201)
        serve(one.server, tag, RAW)
    # The smallest blob is there, and the registry says so also when it is to be mounted: then that is asked for the other one at once.
    one.server.on("HEAD", f"{AT}/blobs/{digest_of(CONFIG)}", 200)
    one.server.on("POST", f"{AT}/blobs/uploads/", 201, times=2)
    found = publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)
    assert [item.changed for item in found] == [False, True, True]


@pytest.mark.parametrize(("after", "said"), [(None, "nothing"), (OTHER_RAW, OTHER)])
def test_what_a_registry_does_not_serve_is_an_error(make: t.Any, after: bytes | None, said: str) -> None:
    one = make("1")
    serve(one.server, "1", None)
    take(one.server, CONFIG, LAYER)
    one.server.on("PUT", f"{AT}/manifests/1", 201)
    serve(one.server, "1", after)
    with pytest.raises(ContainersError) as caught:
        publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)
    told = f"{one.server.name} accepted {DIGEST} but the tag names {said}: was it an index before, which some registries keep? Use another tag"
    assert str(caught.value) == f"push of {LOCAL}: PUT manifest of {one.targets[0]}: {told}"


def test_an_error_names_the_image_and_the_variable(make: t.Any) -> None:
    one = make("1")
    one.server.on("HEAD", f"{AT}/manifests/1", 401)
    with pytest.raises(ContainersError) as caught:
        publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW)), Image(LOCAL), LOCAL, one.targets)
    message = str(caught.value)
    assert message.startswith(f"push of {LOCAL}: HEAD manifest of {one.targets[0]}: {one.server.name} answered 401")
    assert message.endswith(f": check username and password for {one.server.name} in intermediate_registry")


@pytest.mark.parametrize("keys", [{"host": "a b"}, {"host": "a.b", "port": "abc"}, {"host": "a.b", "port": 70000}])
def test_a_name_that_is_none_is_told_in_the_words_of_its_variable(keys: dict[str, t.Any]) -> None:
    with pytest.raises(InputError, match="^buildset_registry: host and port are to name a registry, such as 203.0.113.5 and 5000$"):
        parse(**keys)


def test_a_blob_that_is_refused_leaves_the_tag_alone(make: t.Any) -> None:
    one = make("1")
    serve(one.server, "1", OTHER_RAW)
    one.server.on("HEAD", f"{AT}/blobs/{digest_of(CONFIG)}", 404)
    one.server.on("POST", f"{AT}/blobs/uploads/", 403)
    with pytest.raises(ContainersError, match=f"^push of {LOCAL}: POST blob of .* answered 403"):
        publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG, LAYER)), Image(LOCAL), LOCAL, one.targets)


def test_a_layer_that_is_not_there_leaves_the_tag_alone(make: t.Any) -> None:
    one = make("1")
    serve(one.server, "1", None)
    take(one.server, CONFIG, LAYER)
    # The second one is cut off.
    one.server.on("PUT", "/up", 201, times=None)
    with pytest.raises(
        ContainersError, match=f"^push of {LOCAL}: blobs/{digest_of(LAYER).replace(':', '/')} of oci:.*: it is not there: the image is damaged$"
    ):
        publish(one.registry, one.client, Saver(lambda directory: write(directory, RAW, CONFIG)), Image(LOCAL), LOCAL, one.targets)


def test_a_damaged_image_leaves_the_tag_alone(make: t.Any) -> None:
    def damaged(directory: pathlib.Path) -> None:
        write(directory, RAW)
        (directory / "blobs" / DIGEST.replace(":", "/")).write_bytes(b"damaged")

    one = make("1")
    serve(one.server, "1", None)
    with pytest.raises(ContainersError, match=f"^push of {LOCAL}: .*: the manifest {DIGEST} is damaged$"):
        publish(one.registry, one.client, Saver(damaged), Image(LOCAL), LOCAL, one.targets)


def test_an_image_that_cannot_be_saved_makes_no_request(temporary: pathlib.Path) -> None:
    def fail(directory: pathlib.Path) -> t.NoReturn:
        (directory / "half").touch()
        raise ContainersError(f"save of {LOCAL}: image not known", {"rc": 125})

    registry = parse(host="127.0.0.1", port=9)
    with Client(Credentials(), ("pull",)) as client:
        with pytest.raises(ContainersError, match=f"^save of {LOCAL}: image not known$") as caught:
            publish(registry, client, Saver(fail), Image(LOCAL), LOCAL, [registry.repository(Image(LOCAL)).with_tag("1")])
        assert client.requests == 0
    assert caught.value.result == {"rc": 125}
    assert list(temporary.iterdir()) == []
