#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishes what the gate tested."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image_promote
short_description: Publish images that were uploaded under temporary tags
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Moves every tag of O(images) to what the temporary tag, O(prefix) and the tag, names. All or nothing, as M(gating.containers.registry_retag) does it.
  - Then removes the temporary tags, and those that other changes left behind.
  - Where a temporary tag is gone, the final tag counts as promoted if its image, of an index each image, has the label C(org.zuul-ci.change)
    of the change. So a promotion can be run again.
  - The role P(gating.containers.promote_container_image#role) is the usual way to run this.
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
      - With V(intermediate-registry) O(prefix) and O(cleanup) do not matter. The images are copied from where the build in O(api) put them, then all
        tags are moved, or none.
    type: str
    choices: [tag, intermediate-registry]
    default: tag
  zuul:
    description: The variable C(zuul). Its C(change) is what the label is compared with.
    type: dict
    default: {}
  api:
    description:
      - The tenant's API of Zuul, such as C(https://zuul.example.org/api/tenant/example). With it no other image is promoted than the digest that the
        gate's build returned as an artifact, and a tag that names an image of a change which went through the gate later stays as it is.
      - Required with O(method=intermediate-registry).
      - An entry of O(credentials) for its host and port may hold C(ca_cert). A login there is not used.
    type: str
    default: ""
  pipeline:
    description: The pipeline in which the images were built.
    type: str
    default: ""
  job:
    description: The job that built the images.
    type: str
    default: ""
  query:
    description: The query for the build in place of one for O(zuul), O(pipeline) and O(job). Of the builds found the newest successful one counts.
    type: str
    default: ""
  intermediate_registry:
    description:
      - The registry to copy from with O(method=intermediate-registry), if it needs a login or has a certificate of its own. A dictionary of C(host),
        C(port), C(username), C(password), C(cert) (PEM) and C(scheme).
    type: dict
    default: {}
  cleanup:
    description: Whether to remove temporary tags.
    type: bool
    default: true
  cleanup_age:
    description:
      - Seconds. Tags that begin with C(change_), a number and C(_) are removed when their image is older.
    type: int
    default: 86400
"""

EXAMPLES = r"""
---
- name: Publish what change 4711 built
  gating.containers.container_image_promote:
    images:
      - repository: quay.io/example/app
        tags: [latest, "1.4"]
    prefix: change_4711_
    zuul:
      change: "4711"
    credentials: "{{ container_registry_credentials }}"
"""

RETURN = r"""
promoted_container_images:
  description: The final tags, each with what it names now and what it named before.
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
removed:
  description: The temporary tags that were found, and what became of each, as RV(gating.containers.registry_untag#module:images).
  type: list
  elements: dict
  returned: success
requests:
  description: How many HTTP requests were made.
  type: int
  returned: always
  sample: 81
"""

from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._promote import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
