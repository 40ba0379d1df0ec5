#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists tags."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_info
short_description: List the tags of container images
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Lists the tags of repositories with what each names, without a container tool and without pulling a layer.
  - Docker Hub, Quay, GitHub, GitLab, Harbor, Amazon ECR, Azure, Google, Artifactory and Nexus are asked by their own APIs, which tell when a
    tag was pushed, many tags with each request. How many is in C(docs/registries.md). Any other registry tells the names only.
  - A repository or tag that is not there is not in the list.
extends_documentation_fragment:
  - gating.containers._common
  - gating.containers._common.client
  - gating.containers._common.limits
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  action:
    support: full
  idempotent:
    support: full
options:
  images:
    description: The tags to list.
    type: list
    elements: dict
    required: true
    suboptions:
      repository:
        description: Name of the repository, with its registry.
        type: str
        required: true
      tags:
        description: Tags to look at. Without, all tags of the repository.
        type: list
        elements: str
      regex:
        description: Only tags in which this regular expression is found.
        type: str
      newer_than:
        description:
          - Only tags that were pushed less than so many seconds ago. Where the registry does not tell that, the date in the image counts.
          - A tag whose age is not known, or lies in the future, is not listed.
        type: int
      older_than:
        description: As O(images[].newer_than), more than so many seconds ago.
        type: int
  details:
    description:
      - Whether to read what each tag names. Tags of the same image are read once.
      - Without, only what the registry's list of tags tells is in the result, which takes fewer requests; the rest is null.
    type: bool
    default: true
  sort:
    description:
      - By what the whole list is sorted; with V(-) in front the other way round. Tags are compared as versions, V(1.9) comes before V(1.10).
      - What is not known comes last. Without, the order is that of O(images) and of each registry.
    type: str
    choices: [tag, -tag, created, -created, pushed, -pushed, size, -size]
  query:
    description: A JMESPath expression that is evaluated over what is returned. Its value is RV(result).
    type: str
requirements:
  - C(jmespath) for O(query)
seealso:
  - module: gating.containers.registry_untag
"""

EXAMPLES = r"""
---
- name: List a repository, newest first
  gating.containers.registry_info:
    images:
      - repository: quay.io/example/app
    sort: -created
    credentials: "{{ container_registry_credentials }}"
  register: it

- name: Which releases of the last week are for arm64?
  gating.containers.registry_info:
    images:
      - repository: quay.io/example/app
        regex: ^[0-9]+\.[0-9]+$
        newer_than: 604800
    query: images[?contains(platforms, 'linux/arm64')].tag
    credentials: "{{ container_registry_credentials }}"
  register: it

- name: The names of all tags, with as few requests as possible
  gating.containers.registry_info:
    images:
      - repository: quay.io/example/app
    details: false
    query: images[].tag
    credentials: "{{ container_registry_credentials }}"
  register: it
"""

RETURN = r"""
images:
  description: The tags.
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
      sample: "1.4"
    digest:
      description: What the tag names.
      type: str
      sample: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    media_type:
      description: The media type of that.
      type: str
      sample: application/vnd.oci.image.index.v1+json
    platforms:
      description: The platforms of the image, or of the images of an index.
      type: list
      elements: str
      sample: [linux/amd64, linux/arm64/v8]
    created:
      description: When the image was built, as it says itself; of an index its annotation, else the newest of its images.
      type: str
      sample: "2026-01-02T03:04:05Z"
    pushed:
      description: When the tag was pushed, null where the registry does not tell.
      type: str
      sample: "2026-01-02T03:05:06Z"
    size:
      description: Bytes of the config and the layers, compressed as they are at the registry; of an index those of all its images.
      type: int
      sample: 31337
    labels:
      description: The labels of the image; of an index those that all its images have alike.
      type: dict
      sample: {org.zuul-ci.change: "4711"}
    annotations:
      description: The annotations of the manifest or the index.
      type: dict
      sample: {org.opencontainers.image.version: "1.4"}
result:
  description: The value of O(query).
  type: raw
  returned: with O(query)
  sample: ["1.4"]
requests:
  description: How many HTTP requests were made.
  type: int
  returned: always
  sample: 81
"""

from ansible_collections.gating.containers.plugins.module_utils._entry import (
    run_module,
)
from ansible_collections.gating.containers.plugins.module_utils._info import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
