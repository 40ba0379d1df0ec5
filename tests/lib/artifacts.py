# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of several platforms, and what refers to them, made by hand."""

from __future__ import annotations

import hashlib
import json
import os

from registries import Api, digest_of

OCI = "application/vnd.oci.image"
PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7"]


def push(api: Api, repository: str, tag: str, *, layers: int = 6, size: int = 2000, seed: str = "") -> str:
    """Store an index of three platforms, whose images have one layer in common, and return its digest."""
    children = []
    for number, platform in enumerate(PLATFORMS):
        contents = [f"shared {seed}".encode() * 9, *(os.urandom(size) for dummy in range(layers - 1))]
        blobs = [{"mediaType": f"{OCI}.layer.v1.tar", "digest": api.blob(repository, content), "size": len(content)} for content in contents]
        names = dict(zip(("os", "architecture", "variant"), platform.split("/")))
        config = json.dumps({**names, "number": number, "seed": seed, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
        content = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": {"mediaType": f"{OCI}.config.v1+json", "digest": api.blob(repository, config), "size": len(config)},
                "layers": blobs,
            },
            indent=number + 1,
        ).encode()
        digest = api.manifest(repository, digest_of(content), f"{OCI}.manifest.v1+json", content)
        children.append({"mediaType": f"{OCI}.manifest.v1+json", "digest": digest, "size": len(content), "platform": names})
    content = json.dumps({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": children, "annotations": {"a": "b"}}, indent=5).encode()
    return api.manifest(repository, tag, f"{OCI}.index.v1+json", content)


def check(api: Api, repository: str, reference: str) -> set[str]:
    """See that everything of an image is there, and return the digests of its blobs."""
    answer = api.call("GET", f"{repository}/manifests/{reference}")
    assert answer.status_code == 200, (repository, reference, answer.text)
    assert digest_of(answer.content) == answer.headers["Docker-Content-Digest"]
    manifest, blobs = answer.json(), set()
    for child in manifest.get("manifests", []):
        blobs |= check(api, repository, child["digest"])
    for blob in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
        content = api.call("GET", f"{repository}/blobs/{blob['digest']}").content
        assert "sha256:" + hashlib.sha256(content).hexdigest() == blob["digest"]
        blobs.add(blob["digest"])
    return blobs


def refer(api: Api, repository: str, subject: str, text: str, register: bool) -> str:
    """Store a manifest that refers to another one, and return its digest.

    :param register: whether to list it under the subject's tag, as clients do where the registry does not.
    """
    size = int(api.call("HEAD", f"{repository}/manifests/{subject}").headers["Content-Length"])
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": api.blob(repository, b"{}"), "size": 2}
    layer = {"mediaType": "text/plain", "digest": api.blob(repository, text.encode()), "size": len(text.encode())}
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "artifactType": "application/example",
            "config": empty,
            "layers": [layer],
            "subject": {"mediaType": f"{OCI}.index.v1+json", "digest": subject, "size": size},
        }
    ).encode()
    digest = api.manifest(repository, digest_of(content), f"{OCI}.manifest.v1+json", content)
    if register:
        item = {"mediaType": f"{OCI}.manifest.v1+json", "digest": digest, "size": len(content), "artifactType": "application/example"}
        tag = subject.replace(":", "-")
        before = api.call("GET", f"{repository}/manifests/{tag}")
        items = [*(before.json()["manifests"] if before.status_code == 200 else []), item]
        index = json.dumps({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": items}).encode()
        api.manifest(repository, tag, f"{OCI}.index.v1+json", index)
    return digest


def referrers(api: Api, repository: str, subject: str) -> set[str]:
    answer = api.call("GET", f"{repository}/referrers/{subject}", headers={"Accept": f"{OCI}.index.v1+json"})
    if answer.status_code != 200:
        answer = api.call("GET", f"{repository}/manifests/{subject.replace(':', '-')}")
    return {item["digest"] for item in answer.json()["manifests"] or []} if answer.status_code == 200 else set()
