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
_OTHER = re.compile(r"(?:ONBUILD\s+)?(?:COPY|RUN|ADD)\s.*", re.IGNORECASE)
_OTHER_FROM = re.compile(r"(?:\s--from=|\s--mount=(?:\S*,)?[\"']?from=)[\"']?([^\s,\"']+)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")


def base_images(containerfile: str, build_args: t.Mapping[str, str]) -> set[str] | None:
    """The images that a containerfile begins with or copies from, as it names them; ``None`` if that cannot be told.

    :param build_args: given to the build.
    """
    found: set[str] = set()
    stages: set[str] = set()
    arguments: dict[str, str] = {}
    for line in _instructions(containerfile):
        argument, start = _ARG.fullmatch(line), _FROM.fullmatch(line)
        # Lines of a here-document may look like instructions.
        if "<<" in line or (line.upper().startswith("FROM") and not start):
            return None
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
    return found if stages else None


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


def predecessors(
    names: t.Sequence[t.Collection[str]], bases: t.Sequence[set[str] | None], places: t.Sequence[tuple[str | None, str]], parallel: int
) -> list[set[int]]:
    """For each image of a list, the earlier ones that must be built before it.

    Two of which one may build on the other keep their order, whichever comes first; so the outcome is the same as that of one
    after the other. So do two of which one would find the siblings of the other in what it is built from.

    :param names: of each image.
    :param bases: what its containerfile builds on, ``None`` if that cannot be told.
    :param places: where its siblings are copied to, if it has any, and the directory that it is built from; without symbolic links.
    :param parallel: how many are built at the same time.
    """
    if parallel == 1:
        return [{number - 1} if number else set() for number in range(len(names))]

    def depends(one: int, other: int) -> bool:
        base = bases[one]
        if base is None or any(is_base(image, name) for image in base for name in names[other]):
            return True
        siblings = places[one][0]
        return siblings is not None and (siblings == places[other][0] or f"{siblings}/".startswith(f"{places[other][1].rstrip('/')}/"))

    return [{earlier for earlier in range(number) if depends(number, earlier) or depends(earlier, number)} for number in range(len(names))]
