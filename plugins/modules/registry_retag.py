#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves tags within their repositories."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_retag
short_description: Move tags of container images, all or none
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Makes tags name what another tag, or a digest, of the same repository names, over the registry API and without any container tool.
  - All or nothing. Every source is looked up, and checked against O(images[].digest), before the first tag is moved. When a tag
    cannot be moved, those that were moved are put back, and new ones removed.
  - Manifests are stored again byte for byte, indexes of several platforms too, and each tag is checked afterwards.
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
    description: The tags to move.
    type: list
    elements: dict
    required: true
    suboptions:
      repository:
        description: Name of the repository, with its registry.
        type: str
        required: true
      source:
        description: The tag or digest that names the image.
        type: str
        required: true
      tags:
        description: The tags that are to name it.
        type: list
        elements: str
        required: true
      digest:
        description: What O(images[].source) must name. If it names anything else, nothing is moved.
        type: str
seealso:
  - module: gating.containers.registry_untag
  - module: gating.containers.container_image_promote
"""

EXAMPLES = r"""
---
- name: Publish release candidate 3
  gating.containers.registry_retag:
    images:
      - repository: quay.io/example/app
        source: 1.4.0-rc3
        tags: [1.4.0, "1.4", latest]
    credentials: "{{ container_registry_credentials }}"
"""

RETURN = r"""
images:
  description: The tags, each with what it names now and what it named before. When the module fails, also C(state).
  type: list
  elements: dict
  returned: success
  contains:
    repository:
      description: The repository, with its registry.
      type: str
      sample: quay.io/example/app
    tag:
      description: The tag.
      type: str
      sample: latest
    digest:
      description: What the tag names now.
      type: str
      sample: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    previous_digest:
      description: What the tag named before, null if it is new.
      type: str
      sample: null
    changed:
      description: Whether the tag was moved.
      type: bool
      sample: true
requests:
  description: How many HTTP requests were made.
  type: int
  returned: always
  sample: 81
"""

from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._retag import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
