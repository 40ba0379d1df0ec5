# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""zuul-registry."""

from __future__ import annotations

from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.oci import (
    Vendor,
)


class Zuul(Vendor):
    """zuul-registry answers 404 to every ``DELETE``, and serves another image than was put on a tag: nothing is tried."""

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        return "zuul-registry deletes no tags: its own command prune removes what is old"
