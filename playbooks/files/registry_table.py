# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints what every tag of some repositories names, as a table.

Usage::

    DEMO_PASSWORD=... registry_table.py USERNAME REPOSITORY...
"""

from __future__ import annotations

import os
import sys

import requests

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def rows(repository: str, auth: tuple[str, str]) -> list[tuple[str, str]]:
    """Tags and digests of a repository on a registry that speaks plain HTTP."""
    registry, _slash, path = repository.partition("/")
    with requests.Session() as session:
        session.trust_env = False
        session.auth = auth
        session.headers["Accept"] = ACCEPT
        base = f"http://{registry}/v2/{path}"
        listing = session.get(f"{base}/tags/list", timeout=30)
        tags = sorted(listing.json()["tags"] or []) if listing.status_code == 200 else []
        return [(f"{repository}:{tag}", session.head(f"{base}/manifests/{tag}", timeout=30).headers["Docker-Content-Digest"]) for tag in tags]


def main() -> None:
    """Print the table."""
    table = [row for repository in sys.argv[2:] for row in rows(repository, (sys.argv[1], os.environ["DEMO_PASSWORD"]))]
    width = max((len(name) for name, _digest in table), default=0)
    for name, digest in table:
        print(f"{name:{width}}  {digest[:19]}")


if __name__ == "__main__":
    main()
