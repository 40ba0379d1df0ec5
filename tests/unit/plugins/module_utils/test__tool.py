# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What podman, buildah and docker are told; programs of their names stand in for them."""

from __future__ import annotations

import ast
import base64
import dataclasses
import json
import os
import pathlib
import platform
import re
import sys
import tempfile
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._command import Done
from ansible_collections.gating.containers.plugins.module_utils._credentials import Access, Login
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import Image
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._tool import (
    Build,
    Docker,
    Podman,
    Tool,
    access_options,
    docker_config,
    tool_of,
)

PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
PASSWORD = "s3cr3t-Pa55w0rd"
ME = Login("me", PASSWORD)
AUTH = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NAME = Reference("quay.io", "example/image", "1.0")

# Notes how it is called, with every file that its arguments and DOCKER_CONFIG name, and answers by its script.
PROGRAM = """#!{python} -IS
import os, sys  # and not json, which takes as long again

here = os.path.dirname(sys.argv[0])
arguments = sys.argv[1:]
config = os.environ.get("DOCKER_CONFIG")
files = {{}}
for argument in arguments + ([config] if config else []):
    if os.path.isdir(argument) and argument != here:
        for directory, dummy, names in os.walk(argument):
            for name in names:
                path = os.path.join(directory, name)
                files[os.path.relpath(path, argument)] = [os.stat(path).st_mode & 0o777, open(path).read()]
    elif os.path.isfile(argument):
        files[os.path.basename(argument)] = [os.stat(argument).st_mode & 0o777, open(argument).read()]
call = {{"argv": [os.path.basename(sys.argv[0])] + arguments, "cwd": os.getcwd(), "files": files, "variable": os.environ.get("VARIABLE"), "config": config}}
with open(os.path.join(here, "calls"), "a") as file:
    file.write(repr(call) + "\\n")
for start, out, err, rc in eval(open(os.path.join(here, "script")).read()):
    if arguments[: len(start)] == start:
        break
else:
    out, err, rc = "", "", 0
if "--digestfile" in arguments and rc == 0:
    with open(arguments[arguments.index("--digestfile") + 1], "w") as file:
        file.write({digest!r})
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(rc)
"""


@dataclasses.dataclass
class Call:
    """How a tool was called; ``files`` has mode and content of each that its arguments name, ``config`` is DOCKER_CONFIG."""

    argv: list[str]
    cwd: str
    files: dict[str, tuple[int, str]]
    variable: str | None
    config: str | None


class Tools:
    """The programs. Those that are asked nothing else print nothing and succeed."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._script: list[tuple[list[str], str, str, int]] = []
        for name in ("podman", "buildah", "docker"):
            (directory / name).write_text(PROGRAM.format(python=sys.executable, digest=DIGEST))
            (directory / name).chmod(0o755)
        self.on("nothing")

    def on(self, start: str, out: str = "", err: str = "", rc: int = 0) -> None:
        """Answer calls whose arguments start so; the first answer that fits counts."""
        self._script.append((start.split(), out, err, rc))
        (self._directory / "script").write_text(repr(self._script))

    @property
    def calls(self) -> list[Call]:
        path = self._directory / "calls"
        return [Call(**ast.literal_eval(line)) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def arguments(self) -> list[list[str]]:
        return [call.argv for call in self.calls]


@pytest.fixture
def tools(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    machine(monkeypatch, "x86_64")
    return Tools(directory)


def machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the kernel calls the machine."""
    monkeypatch.setattr(platform, "machine", lambda: name)


def inspected(tools: Tools, architecture: str) -> None:
    """What podman and buildah say of an image that was built."""
    tools.on("image inspect --format {{.Architecture}}", f"{architecture}\n")
    # buildah prints no end of line.
    tools.on("inspect --type image --format {{.OCIv1.Architecture}}", architecture)


INSPECT = {
    "podman": ["podman", "image", "inspect", "--format", "{{.Architecture}}"],
    "buildah": ["buildah", "inspect", "--type", "image", "--format", "{{.OCIv1.Architecture}}"],
}


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where temporary files are made, and nothing else."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def context(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


LEAST = ["--file", "Containerfile", "."]
WHOLE = [
    *["--file", "sub/Own"],
    *["--build-arg", "A=b c", "--build-arg", "TOKEN"],
    *["--label", "l=known", "--label", "m=n"],
    *["--target", "final"],
    "sub",
]
NAMES = ("quay.io/example/image:p_1", "quay.io/example/image:1")
TAGS = ["--tag", NAMES[0], "--tag", NAMES[1]]


def least(context: pathlib.Path, *platforms: str) -> Build:
    return Build("build of quay.io/example/image", str(context), "Containerfile", ".", NAMES, platforms)


def whole(context: pathlib.Path, *platforms: str) -> Build:
    return Build("build of quay.io/example/image", str(context), "sub/Own", "sub", NAMES, platforms, ("A=b c", "TOKEN"), ("l=known", "m=n"), "final")


def listed(*platforms: str) -> str:
    """What ``manifest inspect`` prints."""
    parts = [platform.split("/") for platform in platforms]
    return json.dumps({"manifests": [{"digest": DIGEST, "platform": {"os": one[0], "architecture": one[1]}} for one in parts]})


# -- which tool ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind", "containerfiles"),
    [
        ("podman", Podman, ("Containerfile", "Dockerfile")),
        ("buildah", Podman, ("Containerfile", "Dockerfile")),
        ("docker", Docker, ("Dockerfile",)),
    ],
)
def test_tool_of(command: str, kind: type[Tool], containerfiles: tuple[str, ...]) -> None:
    tool = tool_of(command)
    assert (type(tool), tool.command, tool.containerfiles) == (kind, command, containerfiles)


# -- build -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
@pytest.mark.parametrize(("build", "rest"), [(least, LEAST), (whole, WHOLE)])
def test_build(tools: Tools, context: pathlib.Path, command: str, build: t.Any, rest: list[str]) -> None:
    inspected(tools, "amd64")
    tools.on("build", "STEP 1\n", "a warning\n")
    assert tool_of(command).build(build(context)) == Done("STEP 1\n", "a warning\n")
    if command == "docker":
        assert tools.arguments == [["docker", "build", *TAGS, *rest]]
    else:
        # Without "layers" buildah has no cache, and each build would be another image.
        assert tools.arguments == [[command, "build", "--layers", *TAGS, *rest], [*INSPECT[command], NAMES[0]]]
    assert tools.calls[0].cwd == str(context)


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize("found", ["arm64", "arm", "x86_64"])
@pytest.mark.parametrize(("build", "rest"), [(least, LEAST), (whole, WHOLE)])
def test_an_image_of_another_machine_is_built_again_without_the_cache(
    tools: Tools, context: pathlib.Path, command: str, found: str, build: t.Any, rest: list[str]
) -> None:
    inspected(tools, found)
    tools.on("build --layers", "from the cache\n", "first\n")
    tools.on("build --no-cache", "anew\n", "second\n")
    assert tool_of(command).build(build(context)) == Done("anew\n", "second\n")
    first, seen, again = tools.arguments
    assert first == [command, "build", "--layers", *TAGS, *rest]
    assert seen == [*INSPECT[command], NAMES[0]]
    # Once: if its base is of another platform, it comes to the same.
    assert again == [command, "build", "--no-cache", *TAGS, *rest]
    assert [call.cwd for call in tools.calls if "build" in call.argv] == [str(context)] * 2


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize("rc", [0, 125])
def test_an_image_whose_machine_is_not_told_is_not_built_again(tools: Tools, context: pathlib.Path, command: str, rc: int) -> None:
    tools.on("image inspect", "arm64\n" if rc else "\n", "it failed", rc)
    tools.on("inspect", "arm64" if rc else "", "it failed", rc)
    tool_of(command).build(least(context))
    assert [argv[1:3] for argv in tools.arguments if "build" in argv] == [["build", "--layers"]]


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)])
def test_a_second_build_that_fails_is_told(tools: Tools, context: pathlib.Path, command: str, platforms: tuple[str, ...]) -> None:
    inspected(tools, "arm64")
    tools.on("build --no-cache", "", "exec format error", 1)
    with pytest.raises(ContainersError, match="^build of quay.io/example/image: .* failed with exit code 1: exec format error - a RUN of another platform"):
        tool_of(command).build(least(context, *platforms))


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("x86_64", "amd64"),
        ("aarch64", "arm64"),
        ("armv7l", "arm"),
        ("armv6l", "arm"),
        ("i686", "386"),
        ("i386", "386"),
        ("loongarch64", "loong64"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
        ("riscv64", "riscv64"),
    ],
)
def test_images_and_the_kernel_have_other_names_for_a_machine(
    tools: Tools, context: pathlib.Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, architecture: str
) -> None:
    machine(monkeypatch, name)
    inspected(tools, architecture)
    tools.on("manifest inspect", listed("linux/amd64"))
    tool_of(command).build(least(context))
    assert [argv for argv in tools.arguments if "--no-cache" in argv] == []
    tool_of(command).build(least(context, "linux/amd64"))
    assert f"BUILDPLATFORM=linux/{architecture}" in next(argv for argv in tools.arguments if "--manifest" in argv)


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)])
@pytest.mark.parametrize(("path", "given"), [("-", "./-"), ("--file", "./--file"), ("-a/b", "./-a/b"), ("a/-b", "a/-b"), ("./-a", "./-a")])
def test_a_directory_that_is_called_as_an_option_is(
    tools: Tools, context: pathlib.Path, command: str, platforms: tuple[str, ...], path: str, given: str
) -> None:
    inspected(tools, "amd64")
    tools.on("manifest inspect", listed("linux/amd64"))
    build = dataclasses.replace(least(context, *platforms), path=path)
    tool_of(command).build(build)
    assert build.arguments == ["--file", "Containerfile", given]
    assert tools.arguments[0][-1] == given


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(("build", "rest"), [(least, LEAST), (whole, WHOLE)])
def test_build_for_several_platforms(tools: Tools, context: pathlib.Path, temporary: pathlib.Path, command: str, build: t.Any, rest: list[str]) -> None:
    tools.on("manifest inspect", listed("linux/amd64", "linux/arm64"))
    tools.on("build", "STEP 1\n", "a warning\n")
    assert tool_of(command).build(build(context, "linux/amd64", "linux/arm64")) == Done("STEP 1\n", "a warning\n")
    built, seen, tagged, removed = tools.arguments
    name = built[built.index("--manifest") + 1]
    assert re.fullmatch("localhost/gating-containers:[0-9a-f]{16}", name)
    options = ["--no-cache", "--platform", "linux/amd64,linux/arm64", "--manifest", name, "--build-arg", "BUILDPLATFORM=linux/amd64"]
    assert built == [command, "build", *options, *rest]
    assert tools.calls[0].cwd == str(context)
    assert seen == [command, "manifest", "inspect", name]
    # The names last: an image that was not built for all platforms gets none.
    assert tagged == [command, "tag", name, *NAMES]
    # Not by rmi, which would remove the image of this machine's platform.
    assert removed == [command, "manifest", "rm", name]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(
    ("given", "known"),
    [
        (("BUILDPLATFORM=linux/s390x",), ["BUILDPLATFORM=linux/s390x"]),
        (("A=b", "BUILDPLATFORM"), ["A=b", "BUILDPLATFORM"]),
        (("BUILDPLATFORM=",), ["BUILDPLATFORM="]),
        (("BUILDPLATFORMS=x", "A=BUILDPLATFORM=y"), ["BUILDPLATFORM=linux/amd64", "BUILDPLATFORMS=x", "A=BUILDPLATFORM=y"]),
    ],
)
def test_the_platform_that_builds_is_given_unless_the_image_gives_it(
    tools: Tools, context: pathlib.Path, command: str, given: tuple[str, ...], known: list[str]
) -> None:
    inspected(tools, "amd64")
    tools.on("manifest inspect", listed("linux/arm64"))
    tool_of(command).build(dataclasses.replace(least(context, "linux/arm64"), build_args=given))
    built = tools.arguments[0]
    assert [value for option, value in zip(built, built[1:]) if option == "--build-arg"] == known
    # A plain image has it by no tool's doing.
    tool_of(command).build(least(context))
    assert "--build-arg" not in next(argv for argv in tools.arguments if "--layers" in argv)


@pytest.mark.parametrize("command", ["podman", "buildah"])
def test_a_temporary_list_that_cannot_be_removed_is_no_failure(tools: Tools, context: pathlib.Path, command: str) -> None:
    tools.on("manifest inspect", listed("linux/amd64"))
    tools.on("manifest rm", "", "no", 1)
    tool_of(command).build(least(context, "linux/amd64"))
    assert tools.arguments[-1][:3] == [command, "manifest", "rm"]


def test_each_build_has_a_list_of_its_own(tools: Tools, context: pathlib.Path) -> None:
    tools.on("manifest inspect", listed("linux/amd64"))
    for _again in range(2):
        tool_of("podman").build(least(context, "linux/amd64"))
    assert len({argv[argv.index("--manifest") + 1] for argv in tools.arguments if "--manifest" in argv}) == 2


@pytest.mark.parametrize(("build", "rest"), [(least, LEAST), (whole, WHOLE)])
def test_docker_builds_for_several_platforms(tools: Tools, context: pathlib.Path, build: t.Any, rest: list[str]) -> None:
    tools.on("buildx", "#1\n", "#2\n")
    assert tool_of("docker").build(build(context, "linux/amd64", "linux/arm/v7")) == Done("#1\n", "#2\n")
    assert tools.arguments == [["docker", "buildx", "build", "--load", "--platform", "linux/amd64,linux/arm/v7", *TAGS, *rest]]
    assert tools.calls[0].cwd == str(context)


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
def test_a_build_has_its_environment(tools: Tools, context: pathlib.Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("VARIABLE", "old")
    tools.on("manifest inspect", listed("linux/amd64"))
    inspected(tools, "arm64")
    tool = tool_of(command, {"VARIABLE": "new"})
    tool.build(least(context))
    tool.build(least(context, "linux/amd64"))
    tool.identities(NAMES)
    assert {call.variable for call in tools.calls} == {"new"}
    tool_of(command).build(least(context))
    assert tools.calls[-1].variable == "old"


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
def test_a_build_that_fails(tools: Tools, context: pathlib.Path, command: str) -> None:
    tools.on("build", "STEP 1\n", "Error: no such thing\n", 125)
    with pytest.raises(ContainersError) as caught:
        tool_of(command).build(least(context))
    assert str(caught.value) == f"build of quay.io/example/image: {command} build failed with exit code 125: Error: no such thing"
    assert caught.value.result == {"stdout": "STEP 1\n", "stderr": "Error: no such thing\n", "rc": 125}


@pytest.mark.parametrize("step", ["build --no-cache --platform", "manifest inspect", "tag"])
@pytest.mark.parametrize("command", ["podman", "buildah"])
def test_the_temporary_list_is_forgotten_when_the_build_fails(tools: Tools, context: pathlib.Path, temporary: pathlib.Path, command: str, step: str) -> None:
    tools.on(step, "", "it failed", 1)
    tools.on("manifest inspect", listed("linux/amd64"))
    with pytest.raises(ContainersError, match="^build of quay.io/example/image: .*: it failed$"):
        tool_of(command).build(least(context, "linux/amd64"))
    name = tools.arguments[0][tools.arguments[0].index("--manifest") + 1]
    assert tools.arguments[-1] == [command, "manifest", "rm", name]
    assert [argv for argv in tools.arguments[:-1] if "rm" in argv] == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("wanted", "built", "said"),
    [
        (["linux/amd64", "linux/arm64"], ["linux/amd64"], "podman built linux/amd64 instead of linux/amd64, linux/arm64"),
        (["linux/amd64", "linux/arm64"], ["linux/amd64", "linux/amd64"], "podman built linux/amd64 instead of linux/amd64, linux/arm64"),
        (["linux/arm64"], ["linux/amd64"], "podman built linux/amd64 instead of linux/arm64"),
        (["linux/arm64"], ["windows/arm64"], "podman built windows/arm64 instead of linux/arm64"),
        (["linux/amd64"], ["linux/amd64", "linux/arm64"], "podman built linux/amd64, linux/arm64 instead of linux/amd64"),
        (["linux/arm/v6", "linux/arm/v7"], ["linux/arm"], "podman built linux/arm instead of linux/arm/v6, linux/arm/v7"),
        (["linux/amd64"], [], "podman built  instead of linux/amd64"),
    ],
)
def test_other_platforms_than_wanted_are_an_error(tools: Tools, context: pathlib.Path, wanted: list[str], built: list[str], said: str) -> None:
    tools.on("manifest inspect", listed(*built))
    with pytest.raises(ContainersError) as caught:
        tool_of("podman").build(least(context, *wanted))
    assert str(caught.value) == f"build of quay.io/example/image: {said}: do all base images have these platforms?"
    # The image gets none of its names.
    assert [argv for argv in tools.arguments if argv[1] == "tag"] == []
    assert tools.arguments[-1][1:3] == ["manifest", "rm"]


def test_a_list_of_nothing_is_an_error(tools: Tools, context: pathlib.Path) -> None:
    tools.on("manifest inspect", '{"manifests": null}')
    with pytest.raises(ContainersError, match="^build of quay.io/example/image: podman built  instead of linux/amd64: do all base images"):
        tool_of("podman").build(least(context, "linux/amd64"))


@pytest.mark.parametrize("platforms", [["linux/arm/v6", "linux/arm/v7"], ["windows/amd64/10.0.20348.1"]])
def test_a_variant_is_not_compared(tools: Tools, context: pathlib.Path, platforms: list[str]) -> None:
    tools.on("manifest inspect", listed(*platforms))
    tool_of("podman").build(least(context, *platforms))
    assert ["podman", "tag"] in [argv[:2] for argv in tools.arguments]


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
@pytest.mark.parametrize(
    ("out", "err"), [("", "exec container process `/bin/sh`: Exec format error\nError: exit status 1\n"), ("exec /bin/sh: exec format error\n", "failed\n")]
)
@pytest.mark.parametrize("platforms", [(), ("linux/arm64",)])
def test_a_missing_emulator_is_named(tools: Tools, context: pathlib.Path, command: str, out: str, err: str, platforms: tuple[str, ...]) -> None:
    tools.on("build", out, err, 1)
    tools.on("buildx", out, err, 1)
    with pytest.raises(ContainersError) as caught:
        tool_of(command).build(least(context, *platforms))
    assert str(caught.value).endswith(" - a RUN of another platform needs an emulator: install the package qemu-user-static")
    assert (caught.value.result["rc"], caught.value.result["stdout"], caught.value.result["stderr"]) == (1, out, err)
    assert len(str(caught.value).splitlines()) == 1


def test_another_failure_names_no_emulator(tools: Tools, context: pathlib.Path) -> None:
    tools.on("build", "", "no space left", 1)
    with pytest.raises(ContainersError, match="no space left$"):
        tool_of("podman").build(least(context))


# -- what a tool can do here -------------------------------------------------------------------------------------------------------


IMAGE = Image(NAME)
BOTH = Image(Reference("quay.io", "example/both"), arch=("linux/amd64", "linux/arm64"))


@pytest.mark.parametrize(
    ("command", "images", "saves"), [("podman", [IMAGE, BOTH], True), ("buildah", [BOTH], True), ("podman", [], False), ("docker", [IMAGE], False)]
)
def test_a_tool_that_can_build_everything_is_not_asked(tools: Tools, command: str, images: list[Image], saves: bool) -> None:
    tool_of(command).check(images, saves)
    assert tools.calls == []


def test_docker_with_the_containerd_image_store(tools: Tools) -> None:
    tools.on("info", '[["driver-type","io.containerd.snapshotter.v1"]]\n')
    tool_of("docker").check([IMAGE, BOTH], False)
    assert tools.arguments == [["docker", "info", "--format", "{{json .DriverStatus}}"]]


@pytest.mark.parametrize("saves", [True, False])
def test_docker_without_the_containerd_image_store_builds_no_platforms(tools: Tools, saves: bool) -> None:
    tools.on("info", '[["Backing Filesystem","extfs"],["Supports d_type","true"]]\n')
    with pytest.raises(ContainersError) as caught:
        tool_of("docker").check([IMAGE, BOTH], saves)
    assert str(caught.value) == (
        "quay.io/example/both: this docker keeps images of one platform only, arch is linux/amd64, linux/arm64: turn on its"
        " containerd image store (docs.docker.com/engine/storage/containerd), or set container_command to podman"
    )
    assert [argv[1] for argv in tools.arguments] == ["info"]


@pytest.mark.parametrize("version", ["25.0.0", "28.2.2", "100.1", "25", "dev", "", "v20.10", "library-import"])
def test_a_docker_that_saves_what_can_be_read(tools: Tools, version: str) -> None:
    tools.on("version", f"{version}\n")
    tool_of("docker").check([IMAGE], True)
    assert tools.arguments == [["docker", "version", "--format", "{{.Server.Version}}"]]


@pytest.mark.parametrize("version", ["24.0.7", "20.10.24+dfsg1", "9.1", "24"])
def test_a_docker_that_saves_in_a_format_of_its_own_is_refused(tools: Tools, version: str) -> None:
    tools.on("version", f"{version}\n")
    with pytest.raises(ContainersError) as caught:
        tool_of("docker").check([IMAGE, BOTH][:1], True)
    assert str(caught.value) == (
        "build of quay.io/example/image: images for buildset_registry are saved by docker, which has a format of its own before 25,"
        f" and this is {version}: update it, or set container_command to podman"
    )


def test_docker_is_asked_for_both_that_it_needs(tools: Tools) -> None:
    tools.on("info", '[["driver-type","io.containerd.snapshotter.v1"]]\n')
    tools.on("version", "28.2.2\n")
    tool_of("docker", {"VARIABLE": "new"}).check([BOTH], True)
    assert [argv[1] for argv in tools.arguments] == ["info", "version"]
    assert {call.variable for call in tools.calls} == {"new"}


@pytest.mark.parametrize(("verb", "images", "saves"), [("info", [IMAGE, BOTH], False), ("version", [IMAGE], True)])
def test_a_docker_that_does_not_run(tools: Tools, verb: str, images: list[Image], saves: bool) -> None:
    tools.on(verb, "", "Cannot connect to the Docker daemon\n", 1)
    message = f"^build of quay.io/example/image: docker {verb} failed with exit code 1: Cannot connect to the Docker daemon$"
    with pytest.raises(ContainersError, match=message):
        tool_of("docker").check(images, saves)


# -- identities ----------------------------------------------------------------------------------------------------------------------


def told(*images: tuple[str, list[str]]) -> str:
    """What podman says of images: id and names."""
    return "".join(f"{identity} {json.dumps(names)}\n" for identity, names in images)


def test_the_identities_of_podman(tools: Tools) -> None:
    tools.on("image inspect", told(("abc", ["localhost/other:1", NAMES[0]]), ("def", [NAMES[1]])))
    assert tool_of("podman").identities(NAMES) == ["abc", "def"]
    assert tools.arguments == [["podman", "image", "inspect", "--format", "{{.Id}} {{json .RepoTags}}", *NAMES]]


def test_the_identities_of_buildah(tools: Tools) -> None:
    tools.on(f"inspect --type image --format {{{{.FromImageID}}}} {NAMES[0]}", "abc")
    tools.on("inspect", "def")
    tools.on("manifest exists", "", "", 1)
    assert tool_of("buildah").identities(NAMES) == ["abc", "def"]
    assert tools.arguments == [
        *(["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", name] for name in NAMES),
        *(["buildah", "manifest", "exists", name] for name in NAMES),
    ]


@pytest.mark.parametrize("names", [[], ["quay.io/example/image:p_10"], [f"localhost/{NAMES[0]}"]])
@pytest.mark.parametrize("number", [0, 1])
def test_an_image_that_podman_takes_out_of_a_list_has_not_its_identity(tools: Tools, names: list[str], number: int) -> None:
    # To inspect a list tells of one of its images, which does not have the list's name.
    images = [("abc", list(NAMES)), ("abc", list(NAMES))]
    images[number] = ("def", names)
    tools.on("image inspect", told(*images))
    assert tool_of("podman").identities(NAMES) is None


@pytest.mark.parametrize("number", [0, 1])
def test_a_list_of_buildah_has_no_identity(tools: Tools, number: int) -> None:
    tools.on("inspect", "abc")
    tools.on(f"manifest exists {NAMES[number]}", "", "", 0)
    tools.on("manifest exists", "", "", 1)
    assert tool_of("buildah").identities(NAMES) is None


@pytest.mark.parametrize("inspected_ids", [f"{DIGEST}\n{OTHER}\n", f"{'a' * 64}\n{'b' * 64}\n"])
def test_the_identities_of_docker(tools: Tools, inspected_ids: str) -> None:
    tools.on("image inspect", inspected_ids)
    assert tool_of("docker").identities(NAMES) == ["a" * 64, "b" * 64]
    assert tools.arguments == [["docker", "image", "inspect", "--format", "{{.Id}}", *NAMES]]


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
def test_an_image_that_is_not_there_has_no_identity(tools: Tools, command: str) -> None:
    # Of its two names one is there.
    tools.on("image inspect", told(("abc", [NAMES[0]])) if command == "podman" else f"{DIGEST}\n", "no such image", 1)
    tools.on(f"inspect --type image --format {{{{.FromImageID}}}} {NAMES[0]}", "abc")
    tools.on("inspect", "", "image not known", 1)
    tools.on("manifest exists", "", "", 1)
    assert tool_of(command).identities(NAMES) is None


# -- push ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(("index", "verb"), [(False, ["push"]), (True, ["manifest", "push", "--all"])])
def test_push(tools: Tools, temporary: pathlib.Path, command: str, index: bool, verb: list[str]) -> None:
    assert tool_of(command).push(NAME, index, Access("quay.io")) == DIGEST
    (argv,) = tools.arguments
    digestfile = argv[argv.index("--digestfile") + 1]
    assert argv == [command, *verb, "--quiet", "--digestfile", digestfile, str(NAME), f"docker://{NAME}"]
    assert digestfile.startswith(f"{temporary}/gating-containers-")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(("index", "verb"), [(False, ["push"]), (True, ["manifest", "push", "--all"])])
@pytest.mark.parametrize("rc", [0, 1])
def test_push_with_a_login(tools: Tools, temporary: pathlib.Path, command: str, index: bool, verb: list[str], rc: int) -> None:
    tools.on(" ".join(verb), "", "unauthorized", rc)
    access = Access("quay.io", ME, tls_verify=False, ca_cert=PEM)
    if rc:
        with pytest.raises(ContainersError, match=f"^push of {NAME}: {command} {verb[0]} failed with exit code 1: unauthorized$"):
            tool_of(command).push(NAME, index, access)
    else:
        assert tool_of(command).push(NAME, index, access) == DIGEST
    (call,) = tools.calls
    directory = os.path.dirname(call.argv[call.argv.index("--digestfile") + 1])
    assert call.argv == [
        *[command, *verb, "--quiet", "--digestfile", f"{directory}/digest", "--authfile", f"{directory}/auth.json"],
        *["--cert-dir", f"{directory}/certs", "--tls-verify=false", str(NAME), f"docker://{NAME}"],
    ]
    assert PASSWORD not in " ".join(call.argv)
    assert AUTH not in " ".join(call.argv)
    mode, content = call.files["auth.json"]
    assert (mode, json.loads(content)) == (0o600, {"auths": {"quay.io": {"auth": AUTH}}})
    assert call.files["ca.crt"] == [0o600, PEM]
    assert list(temporary.iterdir()) == []


def test_a_digest_may_end_with_a_line(tools: Tools, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bin" / "podman"
    path.write_text(path.read_text().replace(repr(DIGEST), repr(DIGEST + "\n")))
    assert tool_of("podman").push(NAME, False, Access("quay.io")) == DIGEST


PUSHED = f"The push refers to repository [quay.io/example/image]\nabc: Pushed\n1.0: digest: {DIGEST} size: 527\n"


@pytest.mark.parametrize("index", [True, False])
def test_docker_pushes(tools: Tools, temporary: pathlib.Path, index: bool) -> None:
    tools.on("push", PUSHED)
    assert tool_of("docker").push(NAME, index, Access("quay.io")) == DIGEST
    assert tools.arguments == [["docker", "push", str(NAME)]]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("rc", [0, 1])
def test_docker_pushes_with_a_login(tools: Tools, temporary: pathlib.Path, rc: int) -> None:
    tools.on("push", PUSHED, "denied", rc)
    if rc:
        with pytest.raises(ContainersError, match=f"^push of {NAME}: docker push failed with exit code 1: denied$"):
            tool_of("docker").push(NAME, False, Access("quay.io", ME))
    else:
        assert tool_of("docker").push(NAME, False, Access("quay.io", ME)) == DIGEST
    (call,) = tools.calls
    assert call.argv == ["docker", "push", str(NAME)]
    assert call.config is not None
    assert call.config.startswith(f"{temporary}/gating-containers-")
    assert PASSWORD not in " ".join(call.argv)
    mode, content = call.files["config.json"]
    assert (mode, json.loads(content)) == (0o600, {"auths": {"quay.io": {"auth": AUTH}}})
    assert list(temporary.iterdir()) == []


def test_without_a_login_docker_has_the_users_own_configuration(tools: Tools, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.on("push", PUSHED)
    tool_of("docker").push(NAME, False, Access("quay.io"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    tool_of("docker").push(NAME, False, Access("quay.io"))
    assert [call.config for call in tools.calls] == [None, str(tmp_path)]


def test_a_login_goes_before_what_the_environment_says_of_docker(tools: Tools, tmp_path: pathlib.Path, temporary: pathlib.Path) -> None:
    tools.on("push", PUSHED)
    tool_of("docker", {"DOCKER_CONFIG": str(tmp_path), "VARIABLE": "new"}).push(NAME, False, Access("quay.io", ME))
    (call,) = tools.calls
    assert (call.variable, str(call.config).startswith(f"{temporary}/")) == ("new", True)


def test_of_several_digests_that_docker_prints_the_last_counts(tools: Tools) -> None:
    tools.on("push", f"a: digest: {OTHER} size: 5\nb: digest: {DIGEST} size: 5\n")
    assert tool_of("docker").push(NAME, True, Access("quay.io")) == DIGEST


@pytest.mark.parametrize("printed", ["", "digest: sha256:abc size: 5\n"])
def test_docker_that_prints_no_digest_is_an_error(tools: Tools, printed: str) -> None:
    tools.on("push", printed)
    with pytest.raises(ContainersError, match=f"^push of {NAME}: docker did not say which digest it has there$") as caught:
        tool_of("docker").push(NAME, False, Access("quay.io"))
    assert caught.value.result == {"stdout": printed}


def test_a_certificate_that_cannot_be_read_leaves_nothing_behind(tools: Tools, temporary: pathlib.Path) -> None:
    with pytest.raises(InputError):
        tool_of("podman").push(NAME, False, Access("quay.io", ME, ca_cert="/nonexistent"))
    assert tools.calls == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("command", ["podman", "buildah", "docker"])
def test_a_tool_that_is_not_there(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, temporary: pathlib.Path, command: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContainersError, match=f"^push of {NAME}: {command} is not installed: include the role ensure_container_command$"):
        tool_of(command).push(NAME, False, Access("quay.io", ME))
    assert list(temporary.iterdir()) == []


# -- save ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["podman", "buildah"])
@pytest.mark.parametrize(("index", "verb"), [(False, ["push"]), (True, ["manifest", "push", "--all"])])
def test_save(tools: Tools, context: pathlib.Path, command: str, index: bool, verb: list[str]) -> None:
    image = tool_of(command).save(NAME, index, context)
    assert tools.arguments == [[command, *verb, "--quiet", str(NAME), f"oci:{context}:image"]]
    assert image == Reference(f"oci:{context}", "")


@pytest.mark.parametrize("index", [True, False])
def test_docker_saves_an_archive(tools: Tools, context: pathlib.Path, index: bool) -> None:
    image = tool_of("docker").save(NAME, index, context)
    assert tools.arguments == [["docker", "save", "--output", f"{context}/image.tar", str(NAME)]]
    assert image == Reference(f"oci-archive:{context}/image.tar", "")


@pytest.mark.parametrize(("command", "verb"), [("podman", "push"), ("buildah", "push"), ("docker", "save")])
def test_an_image_that_cannot_be_saved(tools: Tools, context: pathlib.Path, command: str, verb: str) -> None:
    tools.on(verb, "", "image not known", 125)
    with pytest.raises(ContainersError, match=f"^save of {NAME}: {command} {verb} failed with exit code 125: image not known$"):
        tool_of(command).save(NAME, False, context)


# -- how to reach a registry and as whom ---------------------------------------------------------------------------------------------------


def options_of(tmp_path: pathlib.Path, registry: str = "quay.io", **more: t.Any) -> list[str]:
    return access_options(Access(registry, **more), tmp_path)


def test_a_login_is_in_a_private_file_and_not_among_the_arguments(tmp_path: pathlib.Path) -> None:
    options = options_of(tmp_path, login=ME)
    path = pathlib.Path(options[options.index("--authfile") + 1])
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"auths": {"quay.io": {"auth": AUTH}}}
    assert PASSWORD not in " ".join(options)


def test_without_a_login_the_tool_uses_its_own(tmp_path: pathlib.Path) -> None:
    assert options_of(tmp_path) == []
    assert docker_config(Access("quay.io"), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("registry", "more", "verified"),
    [
        ("quay.io", {}, True),
        ("quay.io", {"tls_verify": False}, False),
        ("quay.io", {"scheme": "http"}, False),
        ("localhost:5000", {}, False),
        ("127.0.0.1:5000", {}, False),
        ("[::1]:5000", {}, False),
        ("localhost:5000", {"scheme": "https"}, True),
        ("localhost:5000", {"ca_cert": PEM}, True),
        ("localhost:5000", {"ca_cert": PEM, "tls_verify": False}, False),
    ],
)
def test_tls_is_verified_but_on_loopback(tmp_path: pathlib.Path, registry: str, more: dict[str, t.Any], verified: bool) -> None:
    assert ("--tls-verify=false" not in options_of(tmp_path, registry, **more)) is verified


def test_certificates_are_files_of_the_names_that_podman_looks_for(tmp_path: pathlib.Path) -> None:
    given = tmp_path / "given.pem"
    given.write_text("from a file")
    private = tmp_path / "private"
    private.mkdir()
    options = options_of(private, ca_cert=PEM, client_cert=str(given), client_key=PEM.replace("CERTIFICATE", "PRIVATE KEY"))
    directory = pathlib.Path(options[options.index("--cert-dir") + 1])
    assert sorted(path.name for path in directory.iterdir()) == ["ca.crt", "client.cert", "client.key"]
    assert (directory / "ca.crt").read_text() == PEM
    assert (directory / "client.cert").read_text() == "from a file"
    assert (directory / "client.key").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path", ["/nonexistent/secret", "~no-such-user/ca.pem", "a\0b", "x" * 5000])
def test_a_certificate_that_is_no_path(tmp_path: pathlib.Path, path: str) -> None:
    with pytest.raises(InputError, match="^container_registry_credentials.quay.io.: ca_cert is neither PEM text nor a file that can be read$"):
        options_of(tmp_path, ca_cert=path)


@pytest.mark.parametrize(("registry", "named"), [("quay.io", "quay.io"), ("docker.io", "https://index.docker.io/v1/"), ("localhost:5000", "localhost:5000")])
def test_docker_has_its_own_name_for_its_hub(tmp_path: pathlib.Path, registry: str, named: str) -> None:
    assert docker_config(Access(registry, ME), tmp_path) == {"DOCKER_CONFIG": str(tmp_path)}
    path = tmp_path / "config.json"
    assert json.loads(path.read_text()) == {"auths": {named: {"auth": AUTH}}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_podman_has_the_usual_name_for_dockers_hub(tmp_path: pathlib.Path) -> None:
    options_of(tmp_path, "docker.io", login=ME)
    assert list(json.loads((tmp_path / "auth.json").read_text())["auths"]) == ["docker.io"]


@pytest.mark.parametrize("place", ["HOME", "DOCKER_CONFIG"])
def test_dockers_current_context_goes_along(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    own = tmp_path / ".docker"
    (own / "contexts" / "meta").mkdir(parents=True)
    (own / "config.json").write_text(json.dumps({"currentContext": "rootless", "auths": {"quay.io": {"auth": "other"}}, "credsStore": "desktop"}))
    monkeypatch.setenv(place, str(tmp_path if place == "HOME" else own))
    private = tmp_path / "private"
    private.mkdir()
    docker_config(Access("quay.io", ME), private)
    # And nothing else does: a credsStore would go before the login.
    assert json.loads((private / "config.json").read_text()) == {"auths": {"quay.io": {"auth": AUTH}}, "currentContext": "rootless"}
    assert (private / "contexts" / "meta").is_dir()
    assert (private / "contexts").resolve() == own / "contexts"


@pytest.mark.parametrize("content", [None, "", "no json", "[]", "{}", '{"currentContext": ""}', '{"currentContext": null}'])
def test_without_a_current_context_docker_has_the_login_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    own, private = tmp_path / "own", tmp_path / "private"
    own.mkdir()
    private.mkdir()
    if content is not None:
        (own / "config.json").write_text(content)
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    docker_config(Access("quay.io", ME), private)
    assert [path.name for path in private.iterdir()] == ["config.json"]
    assert json.loads((private / "config.json").read_text()) == {"auths": {"quay.io": {"auth": AUTH}}}


def test_dockers_contexts_stay_after_a_push(tools: Tools, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    (own / "contexts").mkdir(parents=True)
    (own / "contexts" / "file").touch()
    (own / "config.json").write_text('{"currentContext": "rootless"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    tools.on("push", PUSHED)
    tool_of("docker").push(NAME, False, Access("quay.io", ME))
    assert json.loads(tools.calls[0].files["config.json"][1])["currentContext"] == "rootless"
    assert (own / "contexts" / "file").exists()
