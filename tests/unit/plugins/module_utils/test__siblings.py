# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Projects that are copied beside a containerfile for the time of a build."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._siblings import (
    BUILD_ARG,
    NAME,
    check_siblings,
    siblings,
)

WHAT = "quay.io/example/image"


@pytest.fixture
def context(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Containerfile").write_text("FROM scratch\n")
    return directory


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "src"
    for name in ("opendev.org/a/one", "opendev.org/a/two"):
        (directory / name / "sub").mkdir(parents=True)
        (directory / name / "sub" / "file").write_text(name)
    return directory


def tree(directory: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_names_of_the_contract() -> None:
    assert (NAME, BUILD_ARG) == (".zuul-siblings", "ZUUL_SIBLINGS")


def test_siblings_are_there_for_the_time_of_the_build(context: pathlib.Path, source: pathlib.Path) -> None:
    before = tree(context)
    with siblings(WHAT, context, ["opendev.org/a/one", "opendev.org/a/two"], source):
        for name in ("opendev.org/a/one", "opendev.org/a/two"):
            assert (context / NAME / name / "sub" / "file").read_text() == name
    assert tree(context) == before
    assert (source / "opendev.org/a/one/sub/file").read_text() == "opendev.org/a/one"


def test_links_stay_links(context: pathlib.Path, source: pathlib.Path) -> None:
    (source / "opendev.org/a/one/link").symlink_to("nowhere")
    with siblings(WHAT, context, ["opendev.org/a/one"], source):
        assert os.readlink(context / NAME / "opendev.org/a/one/link") == "nowhere"
    assert not os.path.lexists(context / NAME)


def test_without_siblings_nothing_is_made(context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    check_siblings(WHAT, context, (), tmp_path / "nowhere")
    with siblings(WHAT, context, (), tmp_path / "nowhere"):
        assert tree(context) == ["Containerfile"]


@pytest.mark.parametrize("error", [ContainersError("build failed"), KeyboardInterrupt(), OSError(5, "disk")])
def test_siblings_are_removed_when_the_build_fails(context: pathlib.Path, source: pathlib.Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, siblings(WHAT, context, ["opendev.org/a/one"], source):
        raise error
    assert caught.value is error
    assert tree(context) == ["Containerfile"]


def test_a_project_that_goes_meanwhile_leaves_nothing_behind(context: pathlib.Path, source: pathlib.Path) -> None:
    ran = []
    projects = ["opendev.org/a/one", "opendev.org/a/three"]
    with pytest.raises(ContainersError, match=": its siblings cannot be copied to .*: .*No such file") as caught, siblings(WHAT, context, projects, source):
        ran.append(True)
    assert str(caught.value).startswith(f"{WHAT}: its siblings cannot be copied to {context}/{NAME}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert (ran, tree(context)) == ([], ["Containerfile"])


def test_a_file_that_cannot_be_copied_is_named(context: pathlib.Path, source: pathlib.Path) -> None:
    os.mkfifo(source / "opendev.org/a/one/pipe")
    with pytest.raises(ContainersError, match="its siblings cannot be copied to .*: .*pipe"), siblings(WHAT, context, ["opendev.org/a/one"], source):
        pass
    assert tree(context) == ["Containerfile"]


def test_a_directory_that_another_run_made_stays(context: pathlib.Path, source: pathlib.Path) -> None:
    (context / NAME).mkdir()
    (context / NAME / "theirs").touch()
    message = f"^{WHAT}: {context}/{NAME} cannot be made: File exists$"
    with pytest.raises(ContainersError, match=message), siblings(WHAT, context, ["opendev.org/a/one"], source):
        pass
    assert (context / NAME / "theirs").exists()


def test_a_directory_that_cannot_be_removed_is_named(context: pathlib.Path, source: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*dummy: object) -> t.NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", fail)
    message = f"^{WHAT}: {context}/{NAME} cannot be removed: Permission denied: remove it$"
    with pytest.raises(ContainersError, match=message), siblings(WHAT, context, ["opendev.org/a/one"], source):
        pass


def test_an_error_of_the_removal_does_not_hide_that_of_the_build(context: pathlib.Path, source: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*dummy: object) -> t.NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(ContainersError) as caught, siblings(WHAT, context, ["opendev.org/a/one"], source):
        raise ContainersError("build failed", {"rc": 5})
    assert str(caught.value) == f"build failed - {WHAT}: {context}/{NAME} cannot be removed: Permission denied: remove it"
    assert caught.value.result == {"rc": 5}


def test_directories_that_nobody_may_write_to_are_removed(context: pathlib.Path, source: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: dict[str, int] = {}
    remove = shutil.rmtree

    def removing(directory: pathlib.Path) -> None:
        # root could remove them in any case.
        modes.update({os.path.relpath(parent, directory): os.stat(parent).st_mode & 0o777 for parent, *dummy in os.walk(directory)})
        remove(directory)

    monkeypatch.setattr(shutil, "rmtree", removing)
    locked = source / "opendev.org/a/one"
    (locked / "link").symlink_to(source / "opendev.org/a/two")
    for directory in (source / "opendev.org/a/two", locked / "sub", locked):
        directory.chmod(0o555)
    try:
        with siblings(WHAT, context, ["opendev.org/a/one"], source):
            assert (context / NAME / "opendev.org/a/one" / "sub").stat().st_mode & 0o777 == 0o555
    finally:
        # The originals, also where a link leads to, stay as they were.
        kept = [directory.stat().st_mode & 0o777 for directory in (locked, locked / "sub", source / "opendev.org/a/two")]
        for directory in (locked, locked / "sub", source / "opendev.org/a/two"):
            directory.chmod(0o755)
    assert kept == [0o555] * 3
    assert modes == dict.fromkeys([".", "opendev.org", "opendev.org/a", "opendev.org/a/one", "opendev.org/a/one/sub"], 0o700)
    assert tree(context) == ["Containerfile"]


def test_a_directory_whose_mode_cannot_be_changed_is_named(context: pathlib.Path, source: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*dummy: object) -> t.NoReturn:
        raise PermissionError(1, "Operation not permitted")

    message = f"^{WHAT}: {context}/{NAME} cannot be removed: Operation not permitted: remove it$"
    with pytest.raises(ContainersError, match=message), siblings(WHAT, context, ["opendev.org/a/one"], source):
        monkeypatch.setattr(os, "chmod", fail)


def test_siblings_that_are_there_are_taken(context: pathlib.Path, source: pathlib.Path) -> None:
    check_siblings(WHAT, context, ["opendev.org/a/one", "opendev.org/a/two"], source)
    assert tree(context) == ["Containerfile"]


@pytest.mark.parametrize("project", ["opendev.org/a/three", "opendev.org/a/one/sub/file"])
def test_a_project_that_is_no_directory_is_refused(context: pathlib.Path, source: pathlib.Path, project: str) -> None:
    with pytest.raises(InputError, match=f"^{WHAT}: its sibling {project} is not below {source}: .*required-projects$"):
        check_siblings(WHAT, context, ["opendev.org/a/one", project], source)


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_is_in_the_place_of_the_copies_is_refused(context: pathlib.Path, source: pathlib.Path, kind: str) -> None:
    place = context / NAME
    {"directory": place.mkdir, "file": place.touch, "link": lambda: place.symlink_to("nowhere")}[kind]()
    with pytest.raises(InputError, match=f"^{WHAT}: {place} is there already, and was not made by this build: look at it and remove it$"):
        check_siblings(WHAT, context, ["opendev.org/a/one"], source)
    # No matter to an image without siblings.
    check_siblings(WHAT, context, [], source)
    assert os.path.lexists(place)
