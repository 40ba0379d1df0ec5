#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirrors images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image_mirror
short_description: Keep copies of container images
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Copies images from their registries to others, as M(gating.containers.registry_copy) does, from a list in the form of the role
    P(gating.containers.mirror_container_images#role), which is the usual way to run this.
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
    description: The variable C(mirror_container_images_images), see the role P(gating.containers.mirror_container_images#role).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Mirror a release and its candidates
  gating.containers.container_image_mirror:
    images:
      - src_repository: quay.io/example/app
        src_tags: ^1\.4\.
        dest_repository: quay.io/mirror/app
    credentials: "{{ container_registry_credentials }}"
"""

RETURN = r"""
images:
  description: The images, in the order of O(images), one for each tag.
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

from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._mirror import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
