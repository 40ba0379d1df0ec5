#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Push a buildset's images to the intermediate registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: intermediate_registry_push
short_description: Push a buildset's images to the intermediate registry
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Copies images from the registry of the buildset to the intermediate registry, where they are called as in full, with the tags
    V(<zuul.build>_<tag>). Neither a container tool nor skopeo is needed.
  - The role P(gating.containers.push_to_intermediate_registry#role) is the usual way to run this.
extends_documentation_fragment:
  - gating.containers._common
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
    description: The variable C(container_images), see the role P(gating.containers.container#role).
    type: list
    elements: dict
    required: true
  buildset_registry:
    description: The registry of the buildset, a dictionary of C(host), C(port), C(username), C(password) and C(cert) (PEM).
    type: dict
    required: true
  intermediate_registry:
    description: The intermediate registry, a dictionary of C(host), C(port), C(username), C(password), C(cert) (PEM) and C(scheme).
    type: dict
    required: true
  zuul:
    description: The variable C(zuul). Its C(build) is part of the tags.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Keep the images for later jobs
  gating.containers.intermediate_registry_push:
    images: "{{ container_images }}"
    buildset_registry: "{{ buildset_registry }}"
    intermediate_registry: "{{ intermediate_registry }}"
    zuul: "{{ zuul }}"
"""

RETURN = r"""
images:
  description: The images, as RV(gating.containers.registry_copy#module:images).
  type: list
  elements: dict
  returned: success
artifacts:
  description: The same in the form of Zuul's artifacts. Under Zuul they are returned to it, so that later jobs and its API know of the images.
  type: list
  elements: dict
  returned: success
  sample:
    - name: quay.io/example/app:latest
      url: docker://registry.example.org:5000/quay.io/example/app:0123456789abcdef0123456789abcdef_latest
      metadata:
        type: container_image
        repository: quay.io/example/app
        tag: latest
        digest: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
        platforms: [linux/amd64, linux/arm64]
requests:
  description: How many HTTP requests were made.
  type: int
  returned: always
  sample: 81
"""

from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._intermediate import (
    PUSH,
)


def main() -> None:
    """Run the module."""
    run_module(PUSH)


if __name__ == "__main__":
    main()
