#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pull images of earlier jobs into a buildset's registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: intermediate_registry_pull
short_description: Pull images of earlier jobs into a buildset's registry
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Copies the images of C(zuul.artifacts) to the registry of the buildset, under their final names without C(docker.io/). Neither a container
    tool nor skopeo is needed.
  - Artifacts are those of type C(container_image). An image that is not the one that the artifact's digest names is refused, before anything is copied.
  - The login of O(intermediate_registry) is used there only. An artifact that is elsewhere, as after an upload by the method C(tag), is read with the
    login that the auth files of podman and docker have, else anonymously.
  - The role P(gating.containers.pull_from_intermediate_registry#role) is the usual way to run this.
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
  buildset_registry:
    description: The registry of the buildset, a dictionary of C(host), C(port), C(username), C(password) and C(cert) (PEM).
    type: dict
    required: true
  intermediate_registry:
    description: The intermediate registry, a dictionary of C(host), C(port), C(username), C(password), C(cert) (PEM) and C(scheme).
    type: dict
    required: true
  zuul:
    description: The variable C(zuul). Its C(artifacts) say what to pull. Of two of the same name the last one counts, which is the nearest change's.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Get the images of the changes ahead
  gating.containers.intermediate_registry_pull:
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
    PULL,
)


def main() -> None:
    """Run the module."""
    run_module(PULL)


if __name__ == "__main__":
    main()
