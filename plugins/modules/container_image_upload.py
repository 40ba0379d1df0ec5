#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uploads images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image_upload
short_description: Upload container images that were built
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Pushes each image once with a container tool. Its other tags are made over the registry API.
  - The password reaches the tool in a private file that is removed when the push ends.
  - The role P(gating.containers.upload_container_image#role) is the usual way to run this.
extends_documentation_fragment:
  - gating.containers._common
  - gating.containers._common.client
  - gating.containers._common.limits
attributes:
  check_mode:
    support: partial
    details: It is not known without pushing whether a tag would name another image; check mode says that it would.
  diff_mode:
    support: none
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
  prefix:
    description: Prefix of the temporary tags.
    type: str
    required: true
  method:
    description:
      - The way in which images are promoted, see the variable C(promote_container_image_method).
      - With V(intermediate-registry), unless O(promote=false), nothing goes to the images' own registries, but all to O(intermediate_registry) if that
        is given.
    type: str
    choices: [tag, intermediate-registry]
    default: tag
  promote:
    description: Whether the tags are to be promoted later. Then the temporary tags are pushed, else the final ones.
    type: bool
    default: true
  command:
    description: The container tool.
    type: str
    choices: [podman, buildah, docker]
    default: podman
  intermediate_registry:
    description:
      - The registry from which images are promoted with O(method=intermediate-registry), with C(host), C(port), C(username), C(password), C(cert)
        and C(scheme).
      - They are called there as in full, with the tags V(<zuul.build>_<tag>).
    type: dict
    default: {}
  zuul:
    description: The variable C(zuul).
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Upload an image under a temporary tag
  gating.containers.container_image_upload:
    images:
      - repository: quay.io/example/app
    prefix: change_4711_
    credentials: "{{ container_registry_credentials }}"
"""

RETURN = r"""
images:
  description: The tags, each with the digest that the registry serves.
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
      sample: change_4711_latest
    digest:
      description: What the tag names; not in check mode.
      type: str
      sample: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    platforms:
      description: The platforms of the image.
      type: list
      elements: str
      sample: [linux/amd64, linux/arm64]
    changed:
      description: Whether it named anything else before.
      type: bool
      sample: true
artifacts:
  description: The same in the form of Zuul's artifacts. Under Zuul they are returned to it, so that later jobs and its API know of the images.
  type: list
  elements: dict
  returned: success
  sample:
    - name: quay.io/example/app:latest
      url: docker://quay.io/example/app:change_4711_latest
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
from ansible_collections.gating.containers.plugins.module_utils._upload import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
