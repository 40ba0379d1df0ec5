# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building images: what is decided before the tool runs."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._build import (
    build_command,
    check_supported,
    containerfile,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import InputError
from ansible_collections.gating.containers.plugins.module_utils._images import Image
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference

REPOSITORY = Reference("quay.io", "example/image")


def image(**keys: t.Any) -> Image:
    return Image(REPOSITORY, **keys)


@pytest.mark.parametrize(
    ("there", "own", "default", "chosen"),
    [
        (["Containerfile", "Dockerfile"], "", "", "Containerfile"),
        (["Dockerfile"], "", "", "Dockerfile"),
        (["Containerfile", "All", "Own"], "", "All", "All"),
        (["Containerfile", "All", "Own"], "Own", "All", "Own"),
        (["Containerfile", "sub/Own"], "sub/Own", "", "sub/Own"),
    ],
)
def test_containerfile(tmp_path: pathlib.Path, there: list[str], own: str, default: str, chosen: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert containerfile(tmp_path, image(container_filename=own), default) == chosen


@pytest.mark.parametrize(
    ("there", "own", "default", "missing"),
    [
        ([], "", "", "Containerfile or Dockerfile"),
        (["containerfile"], "", "", "Containerfile or Dockerfile"),
        (["Containerfile"], "Own", "", "Own"),
        (["Containerfile"], "", "All", "All"),
        (["Containerfile", "All"], "Own", "All", "Own"),
    ],
)
def test_containerfile_that_is_not_there(tmp_path: pathlib.Path, there: list[str], own: str, default: str, missing: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        containerfile(tmp_path, image(container_filename=own), default)
    assert str(caught.value) == f"quay.io/example/image: there is no {missing} in {tmp_path}"


def test_a_containerfile_is_where_podman_looks_for_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("Containerfile", "sub/Dockerfile", "sub/Named"):
        (tmp_path / name).touch()
    assert containerfile(tmp_path, image(path="sub"), "") == "sub/Dockerfile"
    assert containerfile(tmp_path, image(path="sub"), "Named") == "sub/Named"
    assert containerfile(tmp_path, image(path="sub"), "Containerfile") == "Containerfile"
    with pytest.raises(InputError, match="there is no Containerfile or Dockerfile in .*/other$"):
        containerfile(tmp_path, image(path="other"), "")


def test_a_directory_is_no_containerfile(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Containerfile").mkdir()
    (tmp_path / "Dockerfile").touch()
    assert containerfile(tmp_path, image(), "") == "Dockerfile"


def test_the_least_command() -> None:
    assert build_command("podman", image(), "Containerfile", "change_1_", {}, "/tmp/iid") == [
        *["podman", "build", "--file", "Containerfile", "--iidfile", "/tmp/iid"],
        *["--tag", "quay.io/example/image:change_1_latest", "--tag", "quay.io/example/image:latest"],
        ".",
    ]


def test_the_whole_command() -> None:
    one = image(tags=("a", "b"), path="sub", build_args=("A=b c", 'B="q"'), target="final", labels=("l=own", "m=n"))
    assert build_command("podman", one, "Own", "p_", {"l": "known", "url": "https://x/?a=b"}, "iid") == [
        *["podman", "build", "--file", "Own", "--iidfile", "iid"],
        *["--tag", "quay.io/example/image:p_a", "--tag", "quay.io/example/image:p_b"],
        *["--tag", "quay.io/example/image:a", "--tag", "quay.io/example/image:b"],
        *["--build-arg", "A=b c", "--build-arg", 'B="q"'],
        # Of a label that is given twice the last one counts: the image's own.
        *["--label", "l=known", "--label", "url=https://x/?a=b", "--label", "l=own", "--label", "m=n"],
        *["--target", "final"],
        "sub",
    ]


def test_what_is_supported() -> None:
    check_supported("podman", [image(), image(build_args=("A=b",), labels=("a=b",), target="x", path="y")])
    check_supported("podman", [])


@pytest.mark.parametrize(
    ("command", "keys", "words"),
    [
        ("docker", {}, ["container_command 'docker'", "podman"]),
        ("buildah", {}, ["container_command 'buildah'", "podman"]),
        ("podman", {"siblings": ("a",)}, ["quay.io/example/image: siblings is not supported yet"]),
        ("podman", {"arch": ("linux/amd64",)}, ["quay.io/example/image: arch is not supported yet"]),
    ],
)
def test_what_is_not_supported_yet_is_refused(command: str, keys: dict[str, t.Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check_supported(command, [Image(Reference("quay.io", "good")), image(**keys)])
    assert [word for word in words if word not in str(caught.value)] == []
