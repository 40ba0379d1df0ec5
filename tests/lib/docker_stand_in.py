# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for docker, which has no engine where the tests run: knows the arguments that docker's documentation knows, and no more.

Every call is added to $DOCKER_STAND_IN_RECORD as a line of JSON. The work is done by podman. What it prints, where a caller reads
it, has the form of docker 28's output.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import typing as t

IMAGE = "{{.Id}}"


class Strict(argparse.ArgumentParser):
    """Knows no abbreviations, as docker."""

    def __init__(self, **options: t.Any) -> None:
        super().__init__(allow_abbrev=False, add_help=False, **options)


def parse(argv: list[str]) -> tuple[str, argparse.Namespace]:
    """The command and its arguments; exits if docker has none such."""
    for known in (["buildx", "build"], ["build"], ["image", "inspect"], ["info"], ["version"], ["push"], ["save"]):
        if argv[: len(known)] == known:
            command, rest = " ".join(known), argv[len(known) :]
            break
    else:
        sys.exit(f"docker: unknown command: docker {' '.join(argv)}")
    parser = Strict(prog=command)
    if command.endswith("build"):
        for name in ("--tag", "--build-arg", "--label"):
            parser.add_argument(name, action="append", default=[])
        for name in ("--file", "--target", *(["--platform"] if "buildx" in command else [])):
            parser.add_argument(name)
        if "buildx" in command:
            parser.add_argument("--load", action="store_true")
        parser.add_argument("path")
    elif command in ("image inspect", "info", "version"):
        parser.add_argument("--format")
        if command == "image inspect":
            parser.add_argument("names", nargs="+")
    elif command == "push":
        parser.add_argument("name")
    else:
        parser.add_argument("--output", required=True)
        parser.add_argument("names", nargs="+")
    # docs.docker.com/reference/cli/docker
    return command, parser.parse_args(rest)


def podman(*arguments: str) -> str:
    """Run podman, fail as it fails."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        sys.exit(done.returncode)
    return done.stdout


def is_list(name: str) -> bool:
    """Whether a name is that of several platforms."""
    return subprocess.run(["podman", "manifest", "exists", name], check=False).returncode == 0


def build(arguments: argparse.Namespace) -> None:
    """docker build, and docker buildx build --load."""
    options = ["--file", arguments.file]
    for name, values in (("--build-arg", arguments.build_arg), ("--label", arguments.label), ("--target", [arguments.target] if arguments.target else [])):
        for value in values:
            options += [name, value]
    if getattr(arguments, "platform", None):
        if not arguments.load:
            sys.exit("WARNING: No output specified. The build would only be in the cache")
        podman("build", "--no-cache", "--platform", arguments.platform, "--manifest", arguments.tag[0], *options, arguments.path)
        podman("tag", *arguments.tag)
    else:
        tags = [option for name in arguments.tag for option in ("--tag", name)]
        podman("build", *tags, *options, arguments.path)


def push(arguments: argparse.Namespace) -> None:
    """docker push, with the logins of the configuration's directory only."""
    directory = pathlib.Path(os.environ.get("DOCKER_CONFIG") or pathlib.Path.home() / ".docker")
    digest = pathlib.Path(os.environ["DOCKER_STAND_IN_RECORD"]).with_suffix(".digest")
    verb = ["manifest", "push", "--all"] if is_list(arguments.name) else ["push"]
    # The daemon knows loopback's registries to be insecure.
    options = ["--authfile", str(directory / "config.json"), "--digestfile", str(digest), "--tls-verify=false"]
    podman(*verb, *options, arguments.name, f"docker://{arguments.name}")
    name, tag = arguments.name.rpartition(":")[::2]
    print(f"The push refers to repository [{name}]\n5f70bf18a086: Pushed\n{tag}: digest: {digest.read_text()} size: 527")


def main() -> None:
    """Be docker."""
    command, arguments = parse(sys.argv[1:])
    with open(os.environ["DOCKER_STAND_IN_RECORD"], "a", encoding="utf-8") as record:
        record.write(json.dumps(sys.argv[1:]) + "\n")
    if command.endswith("build"):
        build(arguments)
    elif command == "image inspect":
        if arguments.format != IMAGE:
            sys.exit(f"template parsing error: {arguments.format}")
        for name in arguments.names:
            print("sha256:" + podman("image", "inspect", "--format", IMAGE, name).strip())
    elif command == "info":
        print('[["driver-type","io.containerd.snapshotter.v1"]]')
    elif command == "version":
        print("28.2.2" if arguments.format == "{{.Server.Version}}" else sys.exit("template parsing error"))
    elif command == "push":
        push(arguments)
    else:
        (name,) = arguments.names
        podman(*(("manifest", "push", "--all", name) if is_list(name) else ("push", name)), f"oci-archive:{arguments.output}")


if __name__ == "__main__":
    main()
