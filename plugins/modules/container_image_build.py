#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds images."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image_build
short_description: Build container images
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Builds images with a container tool, in the order of O(images), each under its temporary and its final tags.
  - Arguments reach the tool as they are, without a shell.
  - The role P(gating.containers.build_container_image#role) is the usual way to run this.
extends_documentation_fragment:
  - gating.containers._common
attributes:
  check_mode:
    support: partial
    details: It is not known without building whether an image would be another one; check mode says that it would.
  diff_mode:
    support: none
  action:
    support: full
  idempotent:
    support: partial
    details: The second run changes nothing as long as the tool's cache gives the same image.
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
  work_dir:
    description: Base of the images' C(context).
    type: path
    default: .
  command:
    description: The container tool.
    type: str
    choices: [podman, buildah, docker]
    default: podman
  filename:
    description: Name of the containerfile of images that do not name their own.
    type: str
    default: ""
  env:
    description: Environment of the build.
    type: dict
    default: {}
  zuul:
    description: The variable C(zuul). What it tells of the change becomes labels.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Build two images
  gating.containers.container_image_build:
    work_dir: "{{ playbook_dir }}"
    prefix: staged_
    images:
      - context: base
        repository: quay.io/example/base
      - context: app
        repository: quay.io/example/app
        tags: [latest, "1.4"]
        build_args:
          - MOTTO=it's "two words"
"""

RETURN = r"""
images:
  description: The images in the order in which they were built.
  type: list
  elements: dict
  returned: success
  contains:
    repository:
      description: The repository, with its registry.
      type: str
      sample: quay.io/example/app
    names:
      description: The names that the image has locally.
      type: list
      elements: str
      sample: [quay.io/example/app:change_1_latest, quay.io/example/app:latest]
    id:
      description: Id of the image, not in check mode.
      type: str
      sample: cd2b03f20bae4d62fbc7751496415382d9302f63e6379b0d8ce927c49d9caa0e
    changed:
      description: Whether one of the names named another image before, or none.
      type: bool
      sample: true
"""

from ansible_collections.gating.containers.plugins.module_utils._build import (
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
