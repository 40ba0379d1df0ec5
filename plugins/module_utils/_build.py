# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Building images with a container tool."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import graphlib
import os
import pathlib
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    Entry,
    count,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._images import (
    Image,
    check_prefix,
    parse_images,
)
from ansible_collections.gating.containers.plugins.module_utils._order import (
    base_images,
    predecessors,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._siblings import (
    BUILD_ARG,
    NAME,
    check_siblings,
    siblings,
)
from ansible_collections.gating.containers.plugins.module_utils._tool import (
    Build,
    Tool,
    tool_of,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul import (
    labels,
)
from ansible_collections.gating.containers.plugins.module_utils._zuul_registry import (
    ZuulRegistry,
    publish,
)


@dataclasses.dataclass(frozen=True)
class Job:
    """An image to build, and how.

    :param directory: its context.
    """

    image: Image
    directory: pathlib.Path
    build: Build

    @property
    def local(self) -> Reference:
        """Its first local name."""
        return self.image.names()[0]


def containerfile(directory: pathlib.Path, image: Image, default: str, usual: t.Sequence[str]) -> str:
    """The containerfile of an image, relative to its context: its own, the one for all images, else as the tool chooses.

    One that is named is looked for in the context, then in its ``path``; another one in ``path``, as the tools do.

    :param usual: names that the tool looks for.
    :raises InputError: it is not there.
    """
    named = image.container_filename or default
    candidates = [named, os.path.join(image.path, named)] if named else [os.path.join(image.path, name) for name in usual]
    for name in candidates:
        if (directory / name).is_file():
            return os.path.normpath(name)
    raise InputError(f"{image.repository.name}: there is no {named or ' or '.join(usual)} in {os.path.normpath(directory / image.path)}")


def plan(
    tool: Tool,
    images: t.Sequence[Image],
    work_dir: pathlib.Path,
    source: pathlib.Path,
    filename: str,
    prefix: str,
    known_labels: t.Mapping[str, str],
    saves: bool,
) -> list[Job]:
    """How each image is to be built. Nothing is built or written.

    :param work_dir: base of the images' contexts.
    :param source: the directory that has the siblings.
    :param filename: name of the containerfiles of images that name none, may be empty.
    :param known_labels: where the images come from; their own labels win.
    :param saves: whether they are to be saved, too.
    :raises InputError: something that a build needs is not there.
    """
    jobs = []
    for image in images:
        what = image.repository.name
        directory = work_dir / image.context
        if not directory.is_dir():
            raise InputError(f"{what}: its context {directory} is not a directory")
        check_siblings(what, directory, image.siblings, source)
        build = Build(
            what=f"build of {what}",
            directory=str(directory),
            containerfile=containerfile(directory, image, filename, tool.containerfiles),
            path=image.path,
            names=tuple(str(name) for name in image.names(prefix) + image.names()),
            platforms=image.arch,
            build_args=image.build_args + ((f"{BUILD_ARG}={' '.join(image.siblings)}",) if image.siblings else ()),
            # Of a label that is given twice the last one counts.
            labels=tuple(f"{label}={value}" for label, value in known_labels.items()) + image.labels,
            target=image.target,
        )
        jobs.append(Job(image, directory, build))
    tool.check(images, saves)
    return jobs


def build(tool: Tool, jobs: t.Sequence[Job], source: pathlib.Path, env: t.Mapping[str, str], parallel: int) -> list[dict[str, t.Any]]:
    """Build images.

    :param env: environment of the build.
    :param parallel: how many at the same time, of those that do not depend on one another.
    :returns: for each image its names, its id and whether any of its names has moved.
    :raises ContainersError: a build failed; no further one was begun. ``result`` has what was built.
    """

    def run(job: Job) -> dict[str, t.Any]:
        before = tool.identities(job.build.names)
        with siblings(job.image.repository.name, job.directory, job.image.siblings, source):
            done = tool.build(job.build)
        after = tool.identities(job.build.names)
        if after is None and not job.image.arch:
            raise ContainersError(f"{job.build.what}: {tool.command} reports success, but there is no image of that name", dataclasses.asdict(done))
        return {**_result(job), **dataclasses.asdict(done), "id": after[0] if after else None, "changed": after is None or after != before}

    order: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter(dict(enumerate(_predecessors(jobs, env, parallel))))
    order.prepare()
    results: dict[int, dict[str, t.Any]] = {}
    errors: dict[int, ContainersError] = {}
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        running: dict[concurrent.futures.Future[dict[str, t.Any]], int] = {}
        ready: list[int] = []
        while running or (order.is_active() and not errors):
            ready = sorted([*ready, *order.get_ready()])
            # No more than can run: one that waits would begin after another has failed.
            while ready and len(running) < parallel and not errors:
                number = ready.pop(0)
                running[pool.submit(run, jobs[number])] = number
            for future in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done:
                number = running.pop(future)
                try:
                    results[number] = future.result()
                    order.done(number)
                except ContainersError as exc:
                    errors[number] = exc
    built = [results[number] for number in sorted(results)]
    if errors:
        error = errors[min(errors)]
        error.result.update(images=built, changed=any(result["changed"] for result in built))
        raise error
    return built


def _predecessors(jobs: t.Sequence[Job], env: t.Mapping[str, str], parallel: int) -> list[set[int]]:
    bases: list[set[str] | None] = []
    for job in jobs:
        # An argument without a value has that of the environment, if it is there.
        pairs = [value.partition("=") for value in job.build.build_args]
        known = {name: value if equals else env.get(name, os.environ.get(name)) for name, equals, value in pairs}
        path = job.directory / job.build.containerfile
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as exc:
            raise InputError(f"{job.image.repository.name}: {path} cannot be read: {exc.strerror}") from None
        # A file with this ending is for the C preprocessor: it may include others.
        bases.append(None if path.suffix == ".in" else base_images(text, {name: value for name, value in known.items() if value is not None}))
    places = [(os.path.realpath(job.directory / NAME) if job.image.siblings else None, os.path.realpath(job.directory / job.image.path)) for job in jobs]
    return predecessors([job.build.names for job in jobs], bases, places, parallel)


def _result(job: Job) -> dict[str, t.Any]:
    return {"repository": job.image.repository.name, "names": list(job.build.names), "platforms": list(job.image.arch)}


def _run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    prefix = check_prefix(params["prefix"])
    images = parse_images(params["images"], prefix)
    if params["parallel"] < 1:
        raise InputError(f"container_build_parallel is to be at least 1, not {params['parallel']}")
    registry = ZuulRegistry.parse("buildset_registry", params["buildset_registry"]) if params["buildset_registry"] else None
    targets = [[registry.repository(image, "docker.io").with_tag(str(name.tag)) for name in image.names()] if registry else [] for image in images]
    env = {name: str(value) for name, value in params["env"].items()}
    tool = tool_of(params["command"], env)
    source = pathlib.Path("~/src").expanduser()
    jobs = plan(tool, images, pathlib.Path(params["work_dir"]).expanduser(), source, params["filename"], prefix, labels(params["zuul"]), bool(registry))
    if check_mode:
        results = [{**_result(job), "pushed": [str(target) for target in pushed], "changed": True} for job, pushed in zip(jobs, targets)]
        words = [f"{job.local}" + (f" ({', '.join(job.image.arch)})" if job.image.arch else "") for job in jobs]
        return {
            "changed": True,
            "msg": f"would build {', '.join(words)}" + (f", and push to {registry.name}" if registry else ""),
            "images": results,
            "requests": 0,
        }
    results = build(tool, jobs, source, env, params["parallel"])
    requests = 0
    if registry:
        with Client(registry.credentials, ("pull", "push")) as client:
            try:
                for job, names, result in zip(jobs, targets, results):
                    published = publish(registry, client, tool, job.image, job.local, names)
                    result.update(pushed=[str(item.name) for item in published], changed=result["changed"] or any(item.changed for item in published))
            except ContainersError as exc:
                exc.result.update(images=results, changed=any(result["changed"] for result in results), requests=client.requests)
                raise
            requests = client.requests
    changed = sum(bool(result["changed"]) for result in results)
    return {"changed": bool(changed), "msg": f"built {count(len(results), 'image')}, {changed} changed", "images": results, "requests": requests}


ENTRY = Entry(
    arguments={
        "images": {"type": "list", "elements": "dict", "required": True},
        "work_dir": {"type": "path", "default": "."},
        "command": {"type": "str", "default": "podman", "choices": ["podman", "buildah", "docker"]},
        "filename": {"type": "str", "default": ""},
        "prefix": {"type": "str", "required": True},
        "env": {"type": "dict", "default": {}, "no_log": True},
        "parallel": {"type": "int", "default": 1},
        "buildset_registry": {"type": "dict", "default": {}, "no_log": True},
        "zuul": {"type": "dict", "default": {}},
    },
    run=_run,
)
