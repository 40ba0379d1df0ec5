# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""JFrog Artifactory: a tag is a folder. One query lists all of them, and a folder goes if there is nothing in it but the tag."""

from __future__ import annotations

import json

from ansible_collections.gating.containers.plugins.module_utils._age import (
    parse_time,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
    is_tag,
)
from ansible_collections.gating.containers.plugins.module_utils._tags import (
    Tag,
)
from ansible_collections.gating.containers.plugins.module_utils._vendors.api import (
    ApiVendor,
    quote,
)

_MANIFESTS = ("manifest.json", "list.manifest.json")


class Artifactory(ApiVendor):
    """Artifactory, addressed by paths: the first part of a repository is its repository key."""

    api_url = "/artifactory"

    def refusal(self, repository: Reference) -> str:
        """Why no tag of a repository can be removed."""
        if "/" not in repository.repository:
            return "which of Artifactory's repositories it is in is not to be seen: name it with its repository key in front (the path method)"
        if self.api(repository).authorization() is None:
            return "Artifactory removes tags by its own API: give username and password, or an api_token, for it"
        return ""

    def tags(self, repository: Reference) -> list[Tag]:
        """All tags of a repository, with one request; by the registry API where nobody is logged in."""
        api = self.api(repository)
        if "/" not in repository.repository or api.authorization() is None:
            return super().tags(repository)
        key, image = repository.repository.split("/", 1)
        what = f"POST search of the tags of {repository.name}"
        names = [{"name": {"$eq": name}} for name in _MANIFESTS]
        criteria = {"repo": key, "path": {"$match": f"{image}/*"}, "$or": names}
        query = f'items.find({json.dumps(criteria)}).include("repo","path","name","created","modified","sha256")'
        response = api.request("POST", "/api/search/aql", what, 200, body=query.encode(), headers={"Content-Type": "text/plain"})
        content = api.json(response, what)
        if (content.get("range") or {}).get("notification"):
            # The administrator's limit cut it short.
            return super().tags(repository)
        found: dict[str, Tag] = {}
        for item in content.get("results") or []:
            image_of, dummy, name = str(item.get("path")).rpartition("/")
            # "*" matches what is deeper too: tags of other images.
            if image_of != image or not is_tag(name):
                continue
            times = [moment for key_ in ("created", "modified") for moment in [parse_time(item.get(key_))] if moment]
            digest = f"sha256:{item['sha256']}" if item.get("sha256") else None
            if name in found:
                # Of a tag that was an index and is an image, which of both is served the registry tells.
                digest = None
                times.append(found[name].pushed or 0)
            found[name] = Tag(name, digest, max(times, default=None) or None)
        return list(found.values())

    def _ask(self, image: Reference, digest: str) -> None:
        api = self.api(image)
        path = "/".join(quote(part) for part in (*image.repository.split("/"), image.tag or ""))
        what = f"GET folder of {image}"
        response = api.request("GET", f"/api/storage/{path}", what, 200, 404)
        if response.status_code == 404:
            return
        children = api.json(response, what).get("children") or []
        names = {str(child.get("uri")).lstrip("/") for child in children}
        if any(child.get("folder") for child in children) or not names.intersection(_MANIFESTS):
            raise RegistryError(f"{image}: its folder in Artifactory holds more than the tag, which would go with it: look at it by hand")
        # Where the registry is not addressed by paths, a folder of that name is another repository's.
        stored = set()
        for name in names.intersection(_MANIFESTS):
            what = f"GET {name} of {image}"
            sums = api.json(api.request("GET", f"/api/storage/{path}/{name}", what, 200), what).get("checksums") or {}
            stored.add(f"sha256:{sums.get('sha256')}")
        if digest not in stored:
            raise RegistryError(f"{image}: its folder in Artifactory holds another image than {digest}, so nothing was removed: look at it by hand")
        api.request("DELETE", f"/{path}", f"DELETE {image} by the API of Artifactory", 200, 204, 404)
