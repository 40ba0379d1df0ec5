# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""All the registries of one run."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._registry import (
    Registry,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    RetryPolicy,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    Transport,
)

_Item = t.TypeVar("_Item")
_Result = t.TypeVar("_Result")


class Client:
    """Registries by their names, and work on many images at once. Use it in a ``with`` statement.

    :param credentials: of all registries.
    :param actions: what is to be done: ``pull``, ``push``, ``delete``. To ask for no more than that matters: on some
        registries the mere wish to push makes a repository.
    :param parallel: how many requests may be under way at one registry.
    :param timeout: seconds for each request.
    :param retries: how often a request is made again.
    """

    def __init__(
        self,
        credentials: Credentials,
        actions: t.Sequence[str],
        *,
        parallel: int = 8,
        timeout: float = 60,
        retries: int = 5,
    ) -> None:
        self._credentials = credentials
        self._actions = actions
        self._options: dict[str, t.Any] = {"parallel": parallel, "timeout": timeout, "retries": retries}
        self._counter = Counter()
        self._lock = threading.Lock()
        self._registries: dict[str, Registry] = {}
        self._transports: list[Transport] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *dummy: object) -> None:
        for transport in self._transports:
            transport.close()

    @property
    def requests(self) -> int:
        """How many HTTP requests were made so far."""
        return self._counter.value

    def policy(self) -> RetryPolicy:
        """A fresh policy for work that is to be tried again."""
        return RetryPolicy(total=self._options["retries"], backoff_factor=0.25)

    def registry(self, image: Reference) -> Registry:
        """The registry of an image."""
        with self._lock:
            registry = self._registries.get(image.registry)
            if registry is None:
                access = self._credentials.access(image.registry)
                transport = Transport(access, counter=self._counter, **self._options)
                self._transports.append(transport)
                registry = self._registries[image.registry] = Registry(access, transport, self._actions)
            return registry

    def map(self, function: t.Callable[[_Item], _Result], items: t.Iterable[_Item]) -> list[_Result]:
        """Call a function for every item, many at a time, and return the results in order.

        All calls end before this returns or raises.

        :raises ContainersError: the first error of the items in their order.
        """
        results = self.try_map(function, items)
        for result in results:
            if isinstance(result, ContainersError):
                raise result
        return t.cast("list[_Result]", results)

    def try_map(self, function: t.Callable[[_Item], _Result], items: t.Iterable[_Item]) -> list[_Result | ContainersError]:
        """As ``map``, with the error in place of the result of an item that failed."""

        def attempt(item: _Item) -> _Result | ContainersError:
            try:
                return function(item)
            except ContainersError as exc:
                return exc

        work = list(items)
        if len(work) < 2:
            return [attempt(item) for item in work]
        # The registries' own limits hold back requests; more threads than this would only wait.
        with concurrent.futures.ThreadPoolExecutor(min(len(work), 4 * self._options["parallel"])) as pool:
            return list(pool.map(attempt, work))
