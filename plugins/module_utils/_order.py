# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Which images must be built one after the other."""

from __future__ import annotations

import re
import typing as t

# Dockerfile reference: "Parser directives", FROM, ARG, COPY --from, RUN --mount=from.
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)")
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(.*)", re.IGNORECASE)
_OTHER = re.compile(r"(?:COPY|RUN|ADD)\s.*", re.IGNORECASE)
_OTHER_FROM = re.compile(r"(?:\s--from=|\s--mount=(?:\S*,)?from=)[\"']?([^\s,\"']+)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")


def base_images(containerfile: str, build_args: t.Mapping[str, str]) -> set[str] | None:
    """The images that a containerfile begins with or copies from, as it names them; ``None`` if that cannot be told.

    What looks like an instruction in a here-document is taken for one: an image too many does no harm.

    :param build_args: given to the build.
    """
    found: set[str] = set()
    stages: set[str] = set()
    arguments: dict[str, str] = {}
    for line in _instructions(containerfile):
        argument, start = _ARG.fullmatch(line), _FROM.fullmatch(line)
        if argument and not stages:
            for item in re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", argument[1]):
                name, equals, default = item.partition("=")
                value = build_args.get(name, _expand(re.sub("[\"']", "", default), arguments) if equals else None)
                if value is not None:
                    arguments[name] = value
        images = [start[1]] if start else _OTHER_FROM.findall(line) if _OTHER.fullmatch(line) else []
        for text in images:
            # What ARG and ENV within a stage say is not followed.
            image = _expand(text.strip("\"'"), arguments) if start or "$" not in text else None
            if image is None:
                return None
            if image.lower() not in stages and image != "scratch" and not (image.isdecimal() and not start):
                found.add(image)
        if start:
            # Something without a name still ends the part in which ARG counts for FROM.
            stages.add((start[2] or "").lower())
    return found


def _instructions(containerfile: str) -> t.Iterator[str]:
    escape = "\\"
    for line in containerfile.splitlines():
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive:
            break
        escape = directive[2] if directive[1].lower() == "escape" else escape
    text = ""
    for line in containerfile.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith(escape):
            text += line[: -len(escape)] + " "
            continue
        yield (text + line).strip()
        text = ""
    if text.strip():
        yield text.strip()


def _expand(text: str, variables: t.Mapping[str, str]) -> str | None:
    """A text with its variables replaced, ``None`` if one is not known."""
    unknown = False

    def value(found: re.Match[str]) -> str:
        nonlocal unknown
        known = variables.get(found[1] or found[2])
        operator, word = found[3], found[4] or ""
        if operator in ("-", ":-"):
            return known if known or (known is not None and operator == "-") else word
        if operator in ("+", ":+"):
            return word if known or (known is not None and operator == "+") else ""
        unknown = unknown or known is None
        return known or ""

    expanded = _VARIABLE.sub(value, text)
    return None if unknown or re.search("[${}]", expanded) else expanded


def is_base(image: str, name: str) -> bool:
    """Whether a containerfile may mean an image by what it says.

    Tools look for a short name in several registries, so it may mean each image that ends with it.

    :param image: as the containerfile says it: ``app``, ``quay.io/example/app:1.0``.
    :param name: full, with its tag.
    """
    # buildah takes the transports of containers/image here.
    image = re.sub("^(docker://|containers-storage:)", "", image)
    if "@" in image:
        return False
    if ":" not in image.rpartition("/")[2]:
        image += ":latest"
    return name == image or name.endswith("/" + image) or name == image.replace("docker.io/", "docker.io/library/")


def predecessors(names: t.Sequence[t.Collection[str]], bases: t.Sequence[set[str] | None], contexts: t.Sequence[str | None], parallel: int) -> list[set[int]]:
    """For each image of a list, the earlier ones that must be built before it.

    Two of which one may build on the other keep their order, whichever comes first; so the outcome is the same as that of one
    after the other. Two that share a context, into which siblings are copied, do so too.

    :param names: of each image.
    :param bases: what its containerfile builds on, ``None`` if that cannot be told.
    :param contexts: its directory if siblings are copied there, or may disturb it; else ``None``.
    :param parallel: how many are built at the same time.
    """
    if parallel == 1:
        return [{number - 1} if number else set() for number in range(len(names))]

    def depends(one: int, other: int) -> bool:
        base = bases[one]
        return base is None or any(is_base(image, name) for image in base for name in names[other])

    found = []
    for number in range(len(names)):
        before = {
            earlier
            for earlier in range(number)
            if depends(number, earlier) or depends(earlier, number) or (contexts[number] is not None and contexts[number] == contexts[earlier])
        }
        found.append(before)
    return found
