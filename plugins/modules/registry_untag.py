#!/usr/bin/python
# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes tags."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_untag
short_description: Remove tags of container images
version_added: 0.1.0
author:
  - gating.containers contributors (@gating)
description:
  - Removes tags. An image that another tag names stays, and so does that tag.
  - Tags are deleted as the OCI distribution-spec has it. A registry that does not do that (C(docker-registry) 2) gets a manifest unlike any
    other put on the tag, which is then deleted by its digest, so that the tag goes with it. Whether the registry deletes by digest is
    proved beforehand on a manifest that no tag names. Docker Hub, GitHub, Harbor, Amazon ECR, Azure, Artifactory, Nexus and Pulp are
    asked by their own APIs. Which software a registry is tells C(type) of its credentials, else its exact host name, else its answer to
    C(GET /v2/).
  - What cannot be done without harm to something else is refused with the reason before anything is written.
  - A tag that is not there is fine.
  - Which right a login needs is in C(docs/registries.md).
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
    description: The tags to remove. Each item has either O(images[].tags), or O(images[].regex) with O(images[].older_than), O(images[].keep) or both.
    type: list
    elements: dict
    required: true
    suboptions:
      repository:
        description: Name of the repository, with its registry.
        type: str
        required: true
      tags:
        description: Tags to remove.
        type: list
        elements: str
      regex:
        description:
          - Remove the tags in which this regular expression is found, and that are older than O(images[].older_than).
          - What something needs that stays is kept, whatever its age. An index needs the manifests that it lists, a referrer that has a tag
            its image, and so does a tag that belongs to a digest (C(sha256-….sig)); an image needs the tags that belong to it. To remove signed images,
            let the expression match their signatures too.
        type: str
      older_than:
        description:
          - Seconds since the tag was pushed, where the registry tells. Else the age is that of the image, as its config or its annotations
            tell; for an index that of its newest image.
          - Tags whose age is not known are kept. So are those with a date in the future, and of images with a fixed date, such as reproducible builds
            have.
        type: int
      keep:
        description:
          - How many of the newest tags that match are kept whatever their age. Those whose age is not known do not count, and tags that belong to a
            digest, such as signatures, take no place of an image.
        type: int
      api_url:
        description: The URL of the vendor's own API, in place of C(api_url) of the credentials.
        type: str
seealso:
  - module: gating.containers.registry_retag
"""

EXAMPLES = r"""
---
- name: Remove a tag
  gating.containers.registry_untag:
    images:
      - repository: quay.io/example/app
        tags: [1.4.0-rc3]
    credentials: "{{ container_registry_credentials }}"

- name: Remove temporary tags that were forgotten for a week
  gating.containers.registry_untag:
    images:
      - repository: quay.io/example/app
        regex: ^change_[0-9]+_
        older_than: 604800
    credentials: "{{ container_registry_credentials }}"

- name: Keep the last five nightly builds, show what would go and what stays
  gating.containers.registry_untag:
    images:
      - repository: quay.io/example/app
        regex: ^nightly-
        keep: 5
    credentials: "{{ container_registry_credentials }}"
  check_mode: true
  diff: true
"""

RETURN = r"""
images:
  description: The tags that were named or found, and what became of each.
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
      sample: change_1_latest
    action:
      description:
        - V(removed); V(remove) in check mode; V(absent), it was not there; V(kept); or V(failed).
      type: str
      sample: removed
    digest:
      description: What the tag named, null if it was not there.
      type: str
      sample: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    reason:
      description: How it was removed, or why it was kept.
      type: str
      sample: deleted by tag
    changed:
      description: Whether the tag was removed.
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
from ansible_collections.gating.containers.plugins.module_utils._untag import (
    ENTRY,
)


def main() -> None:
    """Run the module."""
    run_module(ENTRY)


if __name__ == "__main__":
    main()
