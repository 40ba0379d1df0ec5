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
  - With C(arch) an image is an index of several platforms.
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
    details: The second run changes nothing as long as the tool's cache gives the same image. Podman and buildah build images of several platforms anew.
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
  parallel:
    description:
      - How many images may be built at the same time. Of two that build on one another, as their containerfiles tell, the one that comes first in
        O(images) is built first, whatever this number.
    type: int
    default: 1
  buildset_registry:
    description:
      - A registry to which all images are pushed after they were built, with C(host), C(port), C(username), C(password) and C(cert).
      - They are called there as in full, V(docker.io) left out, with their final tags.
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
        arch: [linux/amd64, linux/arm64]
"""

RETURN = r"""
images:
  description: The images, in the order of O(images). When a build failed, those that were built.
  type: list
  elements: dict
  returned: always
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
      description: Id of the image. Not in check mode, and null for the lists of podman and buildah.
      type: str
      sample: cd2b03f20bae4d62fbc7751496415382d9302f63e6379b0d8ce927c49d9caa0e
    stdout:
      description: What the tool printed. Not in check mode.
      type: str
      sample: "STEP 1/2: FROM scratch"
    stderr:
      description: What the tool printed as errors, its warnings too. Not in check mode.
      type: str
      sample: ""
    platforms:
      description: The platforms that were asked for by C(arch).
      type: list
      elements: str
      sample: [linux/amd64, linux/arm64]
    pushed:
      description: The names that the image has in O(buildset_registry).
      type: list
      elements: str
      returned: O(buildset_registry) is given
      sample: ["203.0.113.5:5000/quay.io/example/app:latest"]
    changed:
      description: Whether one of the names named another image before, or none.
      type: bool
      sample: true
requests:
  description: How many HTTP requests were made.
  type: int
  returned: success
  sample: 12
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
