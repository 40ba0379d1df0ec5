# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""Pulp: it deletes manifests by their digests, with all their tags; a tag alone by its own API."""

from __future__ import annotations

import time

from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    ApiVendor,
)

_PATIENCE = 120  # looks at a task, one each second


class Pulp(ApiVendor):
    """Pulp with its container plugin."""

    api_url = "/"

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        if self.api(repository).authorization() is None:
            return "Pulp removes tags by its own API: give username and password for it"
        return ""

    def _ask(self, image: Reference, digest: str) -> None:
        api = self.api(image)
        what = f"GET distribution of {image.name}"
        path = "/pulp/api/v3/distributions/container/container/"
        content = api.json(api.request("GET", path, what, 200, params={"base_path": image.repository}), what)
        found = [item for item in content.get("results") or [] if isinstance(item, dict) and item.get("base_path") == image.repository]
        if len(found) != 1 or not isinstance(found[0].get("repository"), str):
            raise RegistryError(f"{image.name}: Pulp distributes no repository under that name from which a tag could be removed")
        what = f"POST untag of {image}"
        task = api.json(api.request("POST", f"{found[0]['repository']}untag/", what, 202, body={"tag": image.tag}), what).get("task")
        for _look in range(_PATIENCE):
            state = api.json(api.request("GET", str(task), f"GET task of {what}", 200), what).get("state")
            if state == "completed":
                return
            if state in ("failed", "canceled", "skipped"):
                raise RegistryError(f"{what}: the task of {self._name} has {state}: see the log of Pulp")
            time.sleep(1)
        raise RegistryError(f"{what}: the task of {self._name} is not done after {_PATIENCE} seconds: look at it by hand")
