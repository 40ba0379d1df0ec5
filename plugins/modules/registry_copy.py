#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_copy
short_description: Copy container images between registries, directories and archives
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Copies images, indexes of several platforms and any other OCI artifact byte for byte, within a registry and between registries, straight over
    their API. It needs no container tool.
  - What is there is not sent. Within a registry, and where an earlier image of the same run brought it, a blob is mounted. Each blob is read once,
    however many destinations there are, and is never held whole in memory or on disk.
  - Directories and archives in the OCI image layout can be sources and destinations too, so that images can cross an air gap.
  - A tag is written when all that it names is there, and looked up after that. A destination that fails does not stop the others; then the task
    fails, and RV(images) says which got what.
extends_documentation_fragment:
  - gating.containers._common
  - gating.containers._common.client
  - gating.containers._common.limits
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  action:
    support: full
  idempotent:
    support: full
options:
  images:
    description:
      - What to copy where. All are copied at the same time, so none is to be a destination of one and the source of another.
      - C(source), required, is a tag or a digest, such as V(quay.io/example/app:1.4); C(docker://) in front is allowed, and V(latest) is meant if
        there is neither. C(oci:DIRECTORY[:tag]) and C(oci-archive:FILE[:tag]) name an image in an OCI image layout; without a tag its only one. Relative
        paths begin where Ansible was started, or in the home directory of the user on another host.
      - C(destinations), required, are names of the same form, without a digest. Without a tag they get that of the source; if the source is a digest,
        the image is copied without a tag.
      - C(platforms), optional, are those to copy of an index, such as V(linux/amd64), with the attestations that BuildKit keeps beside their images.
        If they are not all that it has, the destinations get a new index, which has another digest.
      - C(referrers), optional, says whether signatures, SBOMs and attestations go along - what refers to the image or to one of its platforms by the
        referrers API, by the tag that stands in for it, or by a tag of cosign's - and what refers to those. V(false) if left out. Where a registry has
        no referrers API the tag is kept there. Of an image that is there already only what refers to it as a whole is looked for.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Copy an image to two places
  gating.containers.registry_copy:
    images:
      - source: quay.io/example/app:1.4.0-rc3
        destinations:
          - quay.io/mirror/app:1.4
          - quay.io/archive/app
        referrers: true
    credentials: "{{ container_registry_credentials }}"

- name: Put an image into an archive
  gating.containers.registry_copy:
    images:
      - source: quay.io/example/app:1.4.0-rc3
        destinations:
          - oci-archive:/srv/transfer/app.tar
    credentials: "{{ container_registry_credentials }}"
"""

RETURN = r"""
images:
  description: The images, in the order of O(images).
  type: list
  elements: dict
  returned: always, but for wrong arguments
  contains:
    source:
      description: What was copied.
      type: str
      sample: quay.io/example/app:1.4.0-rc3
    digest:
      description: What the destinations are to name.
      type: str
      sample: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    destinations:
      description:
        - For each destination its name C(image), the C(digest) that it names or is to name, the C(previous_digest), whether it C(changed), and
          the C(error) if it failed.
      type: list
      elements: dict
    changed:
      description: Whether any destination names another image now.
      type: bool
    bytes:
      description: Bytes of blobs that were sent.
      type: int
    blobs:
      description: How many blobs were C(sent), C(mounted), and C(there) before, counted for each repository.
      type: dict
      sample: {sent: 3, mounted: 16, there: 0}
    referrers:
      description: How many manifests that refer to the image were copied.
      type: int
      sample: 1
requests:
  description: How many HTTP requests were made.
  type: int
  returned: always, but for wrong arguments
  sample: 72
"""

from ansible_collections.gating.containers.plugins.module_utils._copy import (
    ENTRY,
)
from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
