# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building images: what is decided before a tool runs, and in which order tools run."""

from __future__ import annotations

import concurrent.futures
import pathlib
import threading
import time
import typing as t

import ansible_collections.gating.containers.plugins.module_utils._build as build_module
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gating.containers.plugins.module_utils._build import (
    ENTRY,
    Job,
    build,
    containerfile,
    plan,
)
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._command import Done
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import Image
from ansible_collections.gating.containers.plugins.module_utils._manifest import Manifest
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._tool import (
    Build,
    Tool,
    tool_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    Published,
    ZuulRegistry,
)

REPOSITORY = Reference("quay.io", "example/image")
PATIENCE = 5  # seconds until a test fails instead of hanging


def image(**keys: t.Any) -> Image:
    return Image(REPOSITORY, **keys)


# -- the containerfile -------------------------------------------------------------------------------------------------------


PODMAN = tool_of("podman").containerfiles
DOCKER = tool_of("docker").containerfiles


@pytest.mark.parametrize(
    ("there", "own", "default", "usual", "chosen"),
    [
        (["Containerfile", "Dockerfile"], "", "", PODMAN, "Containerfile"),
        (["Containerfile", "Dockerfile"], "", "", DOCKER, "Dockerfile"),
        (["Dockerfile"], "", "", PODMAN, "Dockerfile"),
        (["Containerfile", "All", "Own"], "", "All", PODMAN, "All"),
        (["Containerfile", "All", "Own"], "Own", "All", PODMAN, "Own"),
        (["Containerfile", "sub/Own"], "sub/Own", "", PODMAN, "sub/Own"),
        (["Containerfile"], "Containerfile", "", DOCKER, "Containerfile"),
        (["Own"], "./sub/../Own", "", PODMAN, "Own"),
    ],
)
def test_containerfile(tmp_path: pathlib.Path, there: list[str], own: str, default: str, usual: t.Sequence[str], chosen: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in there:
        (tmp_path / name).touch()
    assert containerfile(tmp_path, image(container_filename=own), default, usual) == chosen


@pytest.mark.parametrize(
    ("there", "own", "default", "usual", "missing"),
    [
        ([], "", "", PODMAN, "Containerfile or Dockerfile"),
        (["containerfile"], "", "", PODMAN, "Containerfile or Dockerfile"),
        (["Containerfile"], "", "", DOCKER, "Dockerfile"),
        (["Containerfile"], "Own", "", PODMAN, "Own"),
        (["Containerfile"], "", "All", PODMAN, "All"),
        (["Containerfile", "All"], "Own", "All", PODMAN, "Own"),
    ],
)
def test_containerfile_that_is_not_there(tmp_path: pathlib.Path, there: list[str], own: str, default: str, usual: t.Sequence[str], missing: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        containerfile(tmp_path, image(container_filename=own), default, usual)
    assert str(caught.value) == f"quay.io/example/image: there is no {missing} in {tmp_path}"


def test_a_containerfile_is_where_the_tools_look_for_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("Containerfile", "sub/Dockerfile", "sub/Named"):
        (tmp_path / name).touch()
    assert containerfile(tmp_path, image(path="sub"), "", PODMAN) == "sub/Dockerfile"
    assert containerfile(tmp_path, image(path="sub"), "Named", PODMAN) == "sub/Named"
    assert containerfile(tmp_path, image(path="sub"), "Containerfile", PODMAN) == "Containerfile"
    with pytest.raises(InputError, match="there is no Containerfile or Dockerfile in .*/other$"):
        containerfile(tmp_path, image(path="other"), "", PODMAN)


def test_a_directory_is_no_containerfile(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Containerfile").mkdir()
    (tmp_path / "Dockerfile").touch()
    assert containerfile(tmp_path, image(), "", PODMAN) == "Dockerfile"


# -- the plan ----------------------------------------------------------------------------------------------------------------


class Fake(Tool):
    """A tool that builds in memory: ``during`` is called for every build, with the name of the image's context."""

    def __init__(self, during: t.Callable[[str], object] = id, refusing: bool = False) -> None:
        super().__init__("fake")
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.builds: list[Build] = []
        self.now: dict[str, int] = {}
        self.number = 0
        self.moves = True
        self.checked: list[tuple[list[str], bool]] = []
        self._during = during
        self._refusing = refusing
        self._lock = threading.Lock()

    def check(self, images: t.Sequence[t.Any], saves: bool) -> None:
        self.checked.append(([image.repository.name for image in images], saves))
        if self._refusing:
            raise ContainersError("not here")

    def identities(self, names: t.Sequence[str]) -> list[str] | None:
        with self._lock:
            return None if any(name not in self.now for name in names) else [f"id-{self.now[name]}" for name in names]

    def build(self, build: Build) -> Done:
        name = pathlib.Path(build.directory).name
        with self._lock:
            self.begun.append(name)
            self.builds.append(build)
        self._during(name)
        with self._lock:
            self.ended.append(name)
            self.number += self.moves
            self.now.update(dict.fromkeys(build.names, self.number))
        return Done(f"{name} out\n", f"{name} err\n")


class Site:
    """Directories with images: ``src`` has the projects, ``work`` the contexts."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.work = directory / "work"
        self.source = directory / "src"
        self.work.mkdir()
        self.source.mkdir()

    def image(self, name: str, text: str = "FROM scratch\n", **keys: t.Any) -> Image:
        (self.work / name).mkdir(exist_ok=True)
        (self.work / name / "Containerfile").write_text(text)
        return Image(Reference("quay.io", f"example/{name}"), **{"context": name, **keys})

    def project(self, name: str) -> str:
        (self.source / name).mkdir(parents=True)
        (self.source / name / "file").write_text(name)
        return name

    def plan(self, tool: Tool, *images: Image, filename: str = "", known: t.Mapping[str, str] | None = None, saves: bool = False) -> list[Job]:
        return plan(tool, images, self.work, self.source, filename, "p_", known or {}, saves)

    def build(self, tool: Tool, *images: Image, parallel: int = 1, env: t.Mapping[str, str] | None = None) -> list[dict[str, t.Any]]:
        return build(tool, self.plan(tool, *images), self.source, env or {}, parallel)

    def tree(self) -> list[str]:
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*"))


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


def test_plan_the_least(site: Site) -> None:
    one = site.image("a")
    (job,) = site.plan(Fake(), one)
    assert (job.image, job.directory, str(job.local)) == (one, site.work / "a", "quay.io/example/a:latest")
    assert job.build == Build(
        "build of quay.io/example/a", str(site.work / "a"), "Containerfile", ".", ("quay.io/example/a:p_latest", "quay.io/example/a:latest")
    )


def test_plan_the_whole(site: Site) -> None:
    projects = (site.project("opendev.org/x/one"), site.project("two"))
    (site.work / "a").mkdir()
    (site.work / "a" / "Own").touch()
    one = site.image(
        "a",
        tags=("1", "2"),
        container_filename="Own",
        path="sub",
        build_args=("A=b c", "TOKEN"),
        target="final",
        siblings=projects,
        labels=("l=own", "m=n"),
        arch=("linux/amd64", "linux/arm64"),
    )
    (job,) = site.plan(Fake(), one, known={"l": "known", "url": "https://x/?a=b"})
    assert job.build == Build(
        what="build of quay.io/example/a",
        directory=str(site.work / "a"),
        containerfile="Own",
        path="sub",
        names=("quay.io/example/a:p_1", "quay.io/example/a:p_2", "quay.io/example/a:1", "quay.io/example/a:2"),
        platforms=("linux/amd64", "linux/arm64"),
        build_args=("A=b c", "TOKEN", "ZUUL_SIBLINGS=opendev.org/x/one two"),
        # Of a label that is given twice the last one counts: the image's own.
        labels=("l=known", "url=https://x/?a=b", "l=own", "m=n"),
        target="final",
    )
    # Nothing was copied yet.
    assert site.tree() == ["a", "a/Containerfile", "a/Own"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"context": "none"}, "its context {work}/none is not a directory"),
        ({"context": "bad/Containerfile"}, "its context {work}/bad/Containerfile is not a directory"),
        ({"container_filename": "Own"}, "there is no Own in {work}/bad"),
        ({"path": "sub"}, "there is no Containerfile or Dockerfile in {work}/bad/sub"),
        ({"siblings": ("nowhere",)}, "its sibling nowhere is not below {source}: check it out there, or in Zuul name it in required-projects"),
    ],
)
def test_what_a_build_needs_is_looked_for_before_any(site: Site, keys: dict[str, t.Any], message: str) -> None:
    tool = Fake()
    good, bad = site.image("good", siblings=(site.project("there"),)), site.image("bad", **keys)
    before = site.tree()
    with pytest.raises(InputError) as caught:
        site.build(tool, good, bad)
    assert str(caught.value) == "quay.io/example/bad: " + message.format(work=site.work, source=site.source)
    assert (tool.begun, site.tree()) == ([], before)


def test_siblings_that_another_run_left_are_refused_before_any_build(site: Site) -> None:
    tool = Fake()
    project = site.project("one")
    good, bad = site.image("good"), site.image("bad", siblings=(project,))
    (site.work / "bad" / ".zuul-siblings").mkdir()
    with pytest.raises(InputError, match="^quay.io/example/bad: .*/bad/.zuul-siblings is there already"):
        site.build(tool, good, bad)
    assert tool.begun == []
    assert (site.work / "bad" / ".zuul-siblings").exists()


@pytest.mark.parametrize("saves", [True, False])
def test_a_tool_is_asked_once_what_it_can_do(site: Site, saves: bool) -> None:
    tool = Fake()
    site.plan(tool, site.image("a"), site.image("b"), saves=saves)
    assert tool.checked == [(["quay.io/example/a", "quay.io/example/b"], saves)]


def test_what_a_tool_cannot_build_is_refused_before_any_build(site: Site) -> None:
    tool = Fake(refusing=True)
    with pytest.raises(ContainersError, match="^not here$"):
        site.build(tool, site.image("a"))
    assert tool.begun == []


# -- what is built -------------------------------------------------------------------------------------------------------------


def test_images_are_built_in_the_order_of_the_list(site: Site) -> None:
    tool = Fake()
    results = site.build(tool, *map(site.image, "cab"))
    assert tool.begun == ["c", "a", "b"]
    assert results == [
        {
            "repository": f"quay.io/example/{name}",
            "names": [f"quay.io/example/{name}:p_latest", f"quay.io/example/{name}:latest"],
            "platforms": [],
            "stdout": f"{name} out\n",
            "stderr": f"{name} err\n",
            "id": f"id-{number}",
            "changed": True,
        }
        for number, name in enumerate("cab", 1)
    ]


def test_one_at_a_time_none_is_begun_before_the_one_before_it_ends(site: Site) -> None:
    seen = []
    tool = Fake(lambda name: seen.append((name, list(tool.ended))))
    site.build(tool, *map(site.image, "abc"))
    assert seen == [("a", []), ("b", ["a"]), ("c", ["a", "b"])]


def test_an_image_that_is_built_again_as_it_was_has_not_changed(site: Site) -> None:
    tool = Fake()
    tool.moves = False
    one = site.image("a")
    assert [site.build(tool, one)[0]["changed"] for dummy in range(2)] == [True, False]
    # One of its names is not there.
    tool.now.pop("quay.io/example/a:p_latest")
    assert site.build(tool, one)[0]["changed"] is True
    tool.now["quay.io/example/a:latest"] = 5
    assert site.build(tool, one)[0]["changed"] is True


def test_an_image_of_several_platforms_may_have_an_identity(site: Site) -> None:
    tool, one = Fake(), site.image("a", arch=("linux/amd64", "linux/arm64"))
    (result,) = site.build(tool, one)
    assert (result["id"], result["changed"], result["platforms"]) == ("id-1", True, ["linux/amd64", "linux/arm64"])
    tool.moves = False
    (result,) = site.build(tool, one)
    assert (result["id"], result["changed"]) == ("id-1", False)


class Forgetful(Fake):
    """A tool that reports success and knows nothing of the image ``b``, or cannot compare it."""

    def identities(self, names: t.Sequence[str]) -> list[str] | None:
        return None if any("/b:" in name for name in names) else super().identities(names)


def test_a_list_without_an_identity_has_changed(site: Site) -> None:
    tool, one = Forgetful(), site.image("b", arch=("linux/amd64", "linux/arm64"))
    for _again in range(2):
        (result,) = site.build(tool, one)
        assert (result["id"], result["changed"], result["stdout"], result["stderr"]) == (None, True, "b out\n", "b err\n")


def test_an_image_that_is_not_there_after_its_build_is_an_error(site: Site) -> None:
    tool = Forgetful()
    with pytest.raises(ContainersError) as caught:
        site.build(tool, site.image("a"), site.image("b", siblings=(site.project("one"),)), site.image("c"))
    assert str(caught.value) == "build of quay.io/example/b: fake reports success, but there is no image of that name"
    result = caught.value.result
    assert (result["stdout"], result["stderr"], result["changed"]) == ("b out\n", "b err\n", True)
    assert [built["repository"] for built in result["images"]] == ["quay.io/example/a"]
    assert tool.begun == ["a", "b"]
    assert "b/.zuul-siblings" not in site.tree()


def test_no_images() -> None:
    assert build(Fake(), [], pathlib.Path("/"), {}, 2) == []


# -- several at a time -----------------------------------------------------------------------------------------------------------


def test_independent_images_are_built_at_the_same_time(site: Site) -> None:
    together = threading.Barrier(3)
    tool = Fake(lambda name: together.wait(PATIENCE))
    results = site.build(tool, *map(site.image, "abc"), parallel=3)
    # Whichever ends first, the results are in the order of the list.
    assert [result["repository"] for result in results] == [f"quay.io/example/{name}" for name in "abc"]


@pytest.mark.parametrize("parallel", [2, 3])
def test_no_more_are_built_at_the_same_time_than_parallel(site: Site, parallel: int) -> None:
    full = threading.Barrier(parallel)
    running: set[str] = set()
    most = []

    def during(name: str) -> None:
        running.add(name)
        most.append(len(running))
        # Twice as many come as fit, in two groups.
        full.wait(PATIENCE)
        running.discard(name)
        full.wait(PATIENCE)

    site.build(Fake(during), *map(site.image, "abcdef"[: 2 * parallel]), parallel=parallel)
    assert max(most) == parallel


def test_an_image_waits_for_its_base_and_for_nothing_else(site: Site) -> None:
    begun = {name: threading.Event() for name in ("base", "child", "other")}
    seen: dict[str, list[str]] = {}

    def during(name: str) -> None:
        seen[name] = list(tool.ended)
        begun[name].set()
        # The base ends after the other has begun, the other after the child.
        if name == "base":
            assert begun["other"].wait(PATIENCE)
        if name == "other":
            assert begun["child"].wait(PATIENCE)

    tool = Fake(during)
    site.build(tool, site.image("base"), site.image("child", "FROM quay.io/example/base\n"), site.image("other"), parallel=3)
    assert seen == {"base": [], "other": [], "child": ["base"]}
    assert tool.ended[0] == "base"


@pytest.mark.parametrize(
    ("text", "build_args", "env"),
    [
        ("FROM quay.io/example/base:p_latest\n", (), {}),
        ("FROM scratch\nCOPY --from=base / /\n", (), {}),
        ("ARG BASE\nFROM $BASE\n", ("BASE=quay.io/example/base",), {}),
        ("ARG BASE=other\nFROM $BASE\n", ("BASE",), {"BASE": "quay.io/example/base"}),
        ("ARG BASE\nFROM $BASE\n", (), {}),
        (b"FROM base\n# \xff\n", (), {}),
        # With a byte order mark.
        (b"\xef\xbb\xbfFROM base\n", (), {}),
        (b"\xef\xbb\xbf# escape=`\nFROM `\nbase\n", (), {}),
        ("FROM scratch\nONBUILD COPY --from=base / /\n", (), {}),
        ("FROM scratch\nRUN --mount=type=bind,'from=base' true\n", (), {}),
        # What cannot be told may be any.
        ("FROM scratch\nRUN <<EOF\nEOF\n", (), {}),
        ("", (), {}),
    ],
)
def test_a_base_is_found_however_it_is_named(site: Site, text: t.Any, build_args: tuple[str, ...], env: dict[str, str]) -> None:
    seen: dict[str, list[str]] = {}
    tool = Fake(lambda name: seen.update({name: list(tool.ended)}))
    base, child = site.image("base"), site.image("child", build_args=build_args)
    (site.work / "child" / "Containerfile").write_bytes(text if isinstance(text, bytes) else text.encode())
    site.build(tool, base, child, parallel=2, env=env)
    assert seen["child"] == ["base"]


def test_a_byte_order_mark_hides_no_base(site: Site) -> None:
    together = threading.Barrier(2)
    images = [site.image("a"), site.image("b", "\ufeffFROM scratch\n")]
    # What cannot be told would wait.
    assert len(site.build(Fake(lambda name: together.wait(PATIENCE)), *images, parallel=2)) == 2


@pytest.mark.parametrize("own", [{"BASE": "other"}, {}])
def test_a_build_argument_without_a_value_has_that_of_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch, own: dict[str, str]) -> None:
    monkeypatch.setenv("BASE", "base")
    together = threading.Barrier(2)
    seen: dict[str, list[str]] = {}

    def during(name: str) -> None:
        seen[name] = list(tool.ended)
        if own:
            together.wait(PATIENCE)

    tool = Fake(during)
    site.build(tool, site.image("base"), site.image("child", "ARG BASE\nFROM $BASE\n", build_args=("BASE",)), parallel=2, env=own)
    assert seen["child"] == ([] if own else ["base"])


def test_images_with_siblings_share_a_context_one_after_the_other(site: Site) -> None:
    project = site.project("one")
    ended: list[int] = []
    tool = Fake(lambda name: ended.append(len(tool.ended)))
    site.image("a")
    (site.work / "link").symlink_to("a")
    images = [
        Image(Reference("quay.io", "x"), context="a", siblings=(project,)),
        Image(Reference("quay.io", "y"), context="link", siblings=(project,)),
        Image(Reference("quay.io", "z"), context="a"),
    ]
    site.build(tool, *images, parallel=3)
    assert ended == [0, 1, 2]
    assert site.tree() == ["a", "a/Containerfile", "link"]


@pytest.mark.parametrize("first", [True, False])
def test_an_image_that_is_built_from_what_has_siblings_waits(site: Site, first: bool) -> None:
    ended: list[int] = []
    tool = Fake(lambda name: ended.append(len(tool.ended)))
    (site.work / "outer").mkdir()
    inner = site.image("outer/inner", siblings=(site.project("one"),))
    outer = site.image("outer")
    site.build(tool, *([inner, outer] if first else [outer, inner]), parallel=2)
    assert ended == [0, 1]


def test_an_image_that_is_built_from_a_directory_beside_the_siblings_does_not_wait(site: Site) -> None:
    together = threading.Barrier(3)
    site.image("a")
    for name in ("a/sub", "a/other"):
        (site.work / name).mkdir()
    (site.work / "link").symlink_to("a/other")
    images = [
        Image(Reference("quay.io", "x"), context="a", siblings=(site.project("one"),)),
        Image(Reference("quay.io", "y"), context="a", path="sub", container_filename="Containerfile"),
        Image(Reference("quay.io", "z"), context="link", container_filename="../Containerfile"),
    ]
    assert len(site.build(Fake(lambda name: together.wait(PATIENCE)), *images, parallel=3)) == 3


def test_images_without_siblings_may_share_a_context(site: Site) -> None:
    together = threading.Barrier(2)
    site.image("a")
    images = [Image(Reference("quay.io", name), context="a") for name in "xy"]
    assert len(site.build(Fake(lambda name: together.wait(PATIENCE)), *images, parallel=2)) == 2


# -- failures ------------------------------------------------------------------------------------------------------------------


def failing(*names: str) -> t.Callable[[str], None]:
    def during(name: str) -> None:
        if name in names:
            raise ContainersError(f"build of {name} failed", {"stderr": f"{name}!", "rc": 1})

    return during


def test_after_a_failure_no_further_one_is_begun(site: Site) -> None:
    tool = Fake(failing("b"))
    with pytest.raises(ContainersError, match="^build of b failed$") as caught:
        site.build(tool, *map(site.image, "abcd"))
    assert tool.begun == ["a", "b"]
    result = caught.value.result
    assert (result["stderr"], result["rc"], result["changed"]) == ("b!", 1, True)
    assert [built["repository"] for built in result["images"]] == ["quay.io/example/a"]


def test_after_a_failure_none_that_waits_for_its_turn_is_begun(site: Site) -> None:
    failed = threading.Event()

    def during(name: str) -> None:
        if name == "a":
            failed.set()
            raise ContainersError("build of a failed")
        failed.wait(PATIENCE)
        # Time for a thread that is free again to take another one.
        time.sleep(0.02)

    tool = Fake(during)
    with pytest.raises(ContainersError, match="^build of a failed$"):
        site.build(tool, *map(site.image, "abcdef"), parallel=2)
    assert sorted(tool.begun) == ["a", "b"]


def test_a_failure_of_the_first_has_built_nothing(site: Site) -> None:
    with pytest.raises(ContainersError) as caught:
        site.build(Fake(failing("a")), *map(site.image, "ab"))
    assert (caught.value.result["images"], caught.value.result["changed"]) == ([], False)


def test_a_failure_after_what_has_not_changed(site: Site) -> None:
    tool = Fake(failing("b"))
    tool.moves = False
    tool.now = dict.fromkeys(["quay.io/example/a:p_latest", "quay.io/example/a:latest"], 0)
    with pytest.raises(ContainersError) as caught:
        site.build(tool, *map(site.image, "ab"))
    assert ([built["changed"] for built in caught.value.result["images"]], caught.value.result["changed"]) == ([False], False)


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the first build that ended was looked at, and others are waited for."""
    event = threading.Event()
    wait = concurrent.futures.wait
    calls: list[object] = []

    def waiting(*arguments: t.Any, **keys: t.Any) -> t.Any:
        calls.append(arguments)
        if len(calls) == 2:
            event.set()
        return wait(*arguments, **keys)

    monkeypatch.setattr(concurrent.futures, "wait", waiting)
    return event


def test_after_a_failure_those_that_run_are_waited_for(site: Site, noticed: threading.Event) -> None:
    together = threading.Barrier(2)

    def during(name: str) -> None:
        together.wait(PATIENCE)
        failing("bad")(name)
        assert noticed.wait(PATIENCE)

    tool = Fake(during)
    images = [site.image("bad"), site.image("good"), site.image("child", "FROM quay.io/example/good\n")]
    with pytest.raises(ContainersError, match="^build of bad failed$") as caught:
        site.build(tool, *images, parallel=2)
    # Its base is there, but it is not begun any more.
    assert (sorted(tool.begun), tool.ended) == (["bad", "good"], ["good"])
    assert [built["repository"] for built in caught.value.result["images"]] == ["quay.io/example/good"]
    assert caught.value.result["changed"] is True


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_several_failures_that_of_the_earliest_image_is_told(site: Site, noticed: threading.Event, first: str) -> None:
    together = threading.Barrier(2)

    def during(name: str) -> None:
        together.wait(PATIENCE)
        if name != first:
            assert noticed.wait(PATIENCE)
        failing("a", "b")(name)

    with pytest.raises(ContainersError, match="^build of a failed$") as caught:
        site.build(Fake(during), *map(site.image, "ab"), parallel=2)
    assert caught.value.result["stderr"] == "a!"


def test_what_needs_an_image_that_failed_is_not_begun(site: Site) -> None:
    tool = Fake(failing("base"))
    with pytest.raises(ContainersError, match="^build of base failed$"):
        site.build(tool, site.image("base"), site.image("child", "FROM base\n"), parallel=2)
    assert tool.begun == ["base"]


# -- siblings --------------------------------------------------------------------------------------------------------------------


def test_siblings_are_there_during_the_build_and_not_after_it(site: Site) -> None:
    projects = (site.project("opendev.org/x/one"), site.project("two"))
    one, other = site.image("a", siblings=projects), site.image("b")
    seen = {}

    def during(name: str) -> None:
        seen[name] = [path for path in site.tree() if path.endswith("/file")]

    site.build(Fake(during), one, other)
    assert seen == {"a": ["a/.zuul-siblings/opendev.org/x/one/file", "a/.zuul-siblings/two/file"], "b": []}
    assert site.tree() == ["a", "a/Containerfile", "b", "b/Containerfile"]


def test_siblings_are_removed_when_the_build_fails(site: Site) -> None:
    with pytest.raises(ContainersError, match="^build of a failed$"):
        site.build(Fake(failing("a")), site.image("a", siblings=(site.project("one"),)))
    assert site.tree() == ["a", "a/Containerfile"]


def test_siblings_that_cannot_be_copied_are_a_failure_as_any_other(site: Site) -> None:
    tool = Fake()
    projects = (site.project("one"),)
    jobs = site.plan(tool, site.image("a"), site.image("b", siblings=projects), site.image("c"))
    (site.work / "b" / ".zuul-siblings").touch()
    with pytest.raises(ContainersError, match="^quay.io/example/b: .*cannot be made: File exists$") as caught:
        build(tool, jobs, site.source, {}, 1)
    assert tool.begun == ["a"]
    assert [built["repository"] for built in caught.value.result["images"]] == ["quay.io/example/a"]


# -- the operation ---------------------------------------------------------------------------------------------------------------


PASSWORD = "s3cr3t-Pa55w0rd"
BUILDSET = {"host": "::1", "port": 5000, "username": "zuul", "password": PASSWORD}


def params_of(site: Site, **more: t.Any) -> dict[str, t.Any]:
    given = {"images": [{"repository": "quay.io/example/a", "context": "a"}], "prefix": "p_", "work_dir": str(site.work), **more}
    result = ArgumentSpecValidator(ENTRY.arguments).validate(given)
    assert result.error_messages == []
    return t.cast("dict[str, t.Any]", result.validated_parameters)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The tool of the operation."""
    tool = Fake()

    def of(command: str, env: t.Mapping[str, str] | None = None) -> Tool:
        tool.command, tool._env = command, env
        return tool

    monkeypatch.setattr(build_module, "tool_of", of)
    return tool


@pytest.fixture
def source(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projects are below ~/src."""
    monkeypatch.setenv("HOME", str(site.source.parent))


def test_run(site: Site, fake: Fake, source: None) -> None:
    site.image("a")
    site.image("b")
    zuul = {"change": 5, "change_url": "https://review.example/5"}
    images = [
        {"repository": "quay.io/example/a", "context": "a", "siblings": [site.project("one")]},
        {"repository": "quay.io/example/b", "context": "b", "tags": [1], "labels": ["x=y"]},
    ]
    result = ENTRY.run(params_of(site, images=images, command="buildah", env={"LEVEL": 5}, zuul=zuul), False)
    assert (fake.command, fake._env, fake.begun) == ("buildah", {"LEVEL": "5"}, ["a", "b"])
    assert fake.builds[0].build_args == ("ZUUL_SIBLINGS=one",)
    assert fake.builds[1].labels == ("org.zuul-ci.change=5", "org.zuul-ci.change_url=https://review.example/5", "x=y")
    assert (result["changed"], result["msg"], result["requests"]) == (True, "built 2 images, 2 changed", 0)
    assert [(one["names"], one["id"]) for one in result["images"]] == [
        (["quay.io/example/a:p_latest", "quay.io/example/a:latest"], "id-1"),
        (["quay.io/example/b:p_1", "quay.io/example/b:1"], "id-2"),
    ]
    assert [(one["stdout"], one["stderr"]) for one in result["images"]] == [("a out\n", "a err\n"), ("b out\n", "b err\n")]
    assert fake.checked == [(["quay.io/example/a", "quay.io/example/b"], False)]


def test_run_without_a_change(site: Site, fake: Fake) -> None:
    site.image("a")
    fake.moves = False
    fake.now = dict.fromkeys(["quay.io/example/a:p_latest", "quay.io/example/a:latest"], 0)
    result = ENTRY.run(params_of(site), False)
    assert (result["changed"], result["msg"]) == (False, "built 1 image, 0 changed")


@pytest.mark.parametrize(("built", "pushed"), [(True, True), (True, False), (False, True), (False, False)])
def test_run_pushes_to_the_buildset_registry(site: Site, fake: Fake, monkeypatch: pytest.MonkeyPatch, built: bool, pushed: bool) -> None:
    site.image("a")
    asked = []

    def publish(registry: ZuulRegistry, client: Client, tool: Tool, image: Image, local: Reference, targets: t.Sequence[Reference]) -> list[Published]:
        asked.append((registry.name, tool, image.repository.name, str(local), list(fake.ended)))
        return [Published(target, Manifest("", b"", ""), pushed) for target in targets]

    monkeypatch.setattr(build_module, "publish", publish)
    if not built:
        fake.moves = False
        fake.now = dict.fromkeys([f"quay.io/example/a:{tag}" for tag in ("p_1", "p_2", "1", "2")], 0)
    images = [{"repository": "quay.io/example/a", "context": "a", "tags": ["1", "2"]}]
    result = ENTRY.run(params_of(site, images=images, buildset_registry=BUILDSET), False)
    assert asked == [("[::1]:5000", fake, "quay.io/example/a", "quay.io/example/a:1", ["a"])]
    assert result["images"][0]["pushed"] == ["[::1]:5000/quay.io/example/a:1", "[::1]:5000/quay.io/example/a:2"]
    assert [result["changed"], result["images"][0]["changed"]] == [built or pushed] * 2
    # For the push it is saved.
    assert fake.checked == [(["quay.io/example/a"], True)]
    assert PASSWORD not in str(result)


def test_a_push_that_fails_does_not_hide_what_was_built(site: Site, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(*dummy: object) -> t.NoReturn:
        raise ContainersError("no", {"requests": 5})

    site.image("a")
    monkeypatch.setattr(build_module, "publish", publish)
    with pytest.raises(ContainersError, match="^no$") as caught:
        ENTRY.run(params_of(site, images=[{"repository": "quay.io/example/a", "context": "a"}], buildset_registry=BUILDSET), False)
    assert caught.value.result["changed"] is True
    assert [image["repository"] for image in caught.value.result["images"]] == ["quay.io/example/a"]


def test_a_containerfile_that_cannot_be_read_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*dummy: object, **more: object) -> t.NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_text", fail)
    one = Image(Reference("quay.io", "example/a"), context="a")
    (site.work / "a").mkdir()
    (site.work / "a" / "Containerfile").touch()
    with pytest.raises(InputError, match="^quay.io/example/a: .*/a/Containerfile cannot be read: Permission denied$"):
        site.build(Fake(), one, parallel=2)


def test_a_build_argument_without_a_value_anywhere_leaves_the_containerfiles_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASE", raising=False)
    images = [site.image("base"), site.image("app", "ARG BASE=quay.io/example/base\nFROM $BASE\n", build_args=("BASE",))]
    ended: list[list[str]] = []
    tool = Fake(lambda name: ended.append(list(tool.ended)))
    site.build(tool, *images, parallel=2)
    assert ended == [[], ["base"]]


def test_what_a_containerfile_includes_is_not_known(site: Site) -> None:
    (site.work / "app").mkdir()
    (site.work / "app" / "Containerfile.in").write_text('#include "other"\n')
    images = [site.image("base"), Image(Reference("quay.io", "app"), context="app", container_filename="Containerfile.in")]
    ended: list[list[str]] = []
    tool = Fake(lambda name: ended.append(list(tool.ended)))
    site.build(tool, *images, parallel=2)
    assert ended == [[], ["base"]]


def test_check_mode_names_everything_and_writes_nothing(site: Site, fake: Fake, source: None) -> None:
    site.image("a")
    site.image("b")
    images = [
        {"repository": "quay.io/example/a", "context": "a", "tags": ["1", "2"], "siblings": [site.project("one")]},
        {"repository": "docker.io/example/b", "context": "b", "arch": ["linux/amd64", "linux/arm64"]},
    ]
    before = site.tree()
    result = ENTRY.run(params_of(site, images=images, buildset_registry=BUILDSET), True)
    assert (fake.begun, site.tree()) == ([], before)
    assert (result["changed"], result["requests"]) == (True, 0)
    assert result["msg"] == "would build quay.io/example/a:1, docker.io/example/b:latest (linux/amd64, linux/arm64), and push to [::1]:5000"
    assert result["images"] == [
        {
            "repository": "quay.io/example/a",
            "names": [f"quay.io/example/a:{tag}" for tag in ("p_1", "p_2", "1", "2")],
            "platforms": [],
            "pushed": ["[::1]:5000/quay.io/example/a:1", "[::1]:5000/quay.io/example/a:2"],
            "changed": True,
        },
        {
            "repository": "docker.io/example/b",
            "names": ["docker.io/example/b:p_latest", "docker.io/example/b:latest"],
            "platforms": ["linux/amd64", "linux/arm64"],
            # As a mirror of Docker Hub it is asked for.
            "pushed": ["[::1]:5000/example/b:latest"],
            "changed": True,
        },
    ]


def test_check_mode_without_a_registry(site: Site, fake: Fake) -> None:
    site.image("a")
    result = ENTRY.run(params_of(site), True)
    assert (result["msg"], result["images"][0]["pushed"]) == ("would build quay.io/example/a:latest", [])


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"parallel": 0}, "^container_build_parallel is to be at least 1, not 0$"),
        ({"prefix": ""}, "^container_image_staging_prefix is empty"),
        ({"images": []}, "^container_images is to be a list"),
        ({"work_dir": "/nonexistent"}, "its context /nonexistent/a is not a directory$"),
        ({"filename": "None"}, "there is no None in "),
        ({"buildset_registry": {"port": 5000}}, "^buildset_registry has no host$"),
        ({"buildset_registry": {"host": "a.b", "username": "zuul"}}, "^buildset_registry has only one of username and password"),
        ({"images": [{"repository": "quay.io/example/a", "context": "a", "siblings": ["nowhere"]}]}, "its sibling nowhere is not below .*/src"),
    ],
)
def test_run_refuses_bad_input_before_any_build(site: Site, fake: Fake, source: None, check_mode: bool, more: dict[str, t.Any], message: str) -> None:
    site.image("a")
    with pytest.raises(InputError, match=message):
        ENTRY.run(params_of(site, **more), check_mode)
    assert fake.begun == []


def test_what_is_secret_is_in_no_invocation() -> None:
    assert {name for name, argument in ENTRY.arguments.items() if argument.get("no_log")} == {"env", "buildset_registry"}
