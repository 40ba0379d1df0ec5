# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""The projects that an image is built with besides its own: copied beside its containerfile for the time of the build."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)

#: The directory, below an image's context.
NAME = ".zuul-siblings"
#: The build argument that lists them.
BUILD_ARG = "ZUUL_SIBLINGS"


def check_siblings(what: str, context: pathlib.Path, projects: t.Sequence[str], source: pathlib.Path) -> None:
    """Refuse what ``siblings`` could not copy.

    :param what: names the image in errors.
    :param source: the directory that has the projects.
    :raises InputError: a project is not there, or the directory for the copies is: it is not ours, so it stays.
    """
    for project in projects:
        if not (source / project).is_dir():
            raise InputError(f"{what}: its sibling {project} is not below {source}: check it out there, or in Zuul name it in required-projects")
    if projects and os.path.lexists(context / NAME):
        raise InputError(f"{what}: {context / NAME} is there already, and was not made by this build: look at it and remove it")


@contextlib.contextmanager
def siblings(what: str, context: pathlib.Path, projects: t.Sequence[str], source: pathlib.Path) -> t.Iterator[None]:
    """Copies of projects below a context, removed at the end, also when there is an error.

    :raises ContainersError: they could not be copied or removed.
    """
    if not projects:
        yield
        return
    directory = context / NAME
    try:
        # Fails if another run has made it meanwhile: then it is not ours to remove.
        directory.mkdir()
    except OSError as exc:
        raise ContainersError(f"{what}: {directory} cannot be made: {exc.strerror}") from None
    try:
        try:
            for project in projects:
                shutil.copytree(source / project, directory / project, symlinks=True)
        except (OSError, shutil.Error) as exc:
            raise ContainersError(f"{what}: its siblings cannot be copied to {directory}: {_first(exc)}") from None
        yield
    except ContainersError as exc:
        try:
            _remove(what, directory)
        except ContainersError as other:
            raise ContainersError(f"{exc} - {other}", exc.result) from None
        raise
    except BaseException:
        _remove(what, directory)
        raise
    _remove(what, directory)


def _remove(what: str, directory: pathlib.Path) -> None:
    try:
        # Go's module cache, for one, has directories that nobody may write to.
        for walked in os.walk(directory):
            os.chmod(walked[0], 0o700)
        shutil.rmtree(directory)
    except OSError as exc:
        raise ContainersError(f"{what}: {directory} cannot be removed: {exc.strerror}: remove it") from None


def _first(exc: OSError) -> str:
    """The first of the errors of ``shutil.copytree``."""
    if isinstance(exc, shutil.Error) and exc.args and isinstance(exc.args[0], list):
        return str(exc.args[0][0][-1])
    return str(exc)
