# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""All the registries of one run."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Credentials,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
)
from ansible_collections.gating.containers.plugins.module_utils._layout import (
    Layout,
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
        #: Whether a signal came, or a bug was met. Blobs that flow are to end then, for the threads that send them are waited for.
        self.interrupted = False
        self._registries: dict[str, Registry] = {}
        self._transports: list[Transport] = []
        self._layouts: dict[str, Layout] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(8 * parallel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.interrupted = True
        self._pool.shutdown(cancel_futures=True)
        for transport in self._transports:
            transport.close()
        for layout in self._layouts.values():
            layout.close()

    @property
    def requests(self) -> int:
        """How many HTTP requests were made so far."""
        return self._counter.value

    def policy(self) -> RetryPolicy:
        """A fresh policy for work that is to be tried again."""
        return RetryPolicy(total=self._options["retries"], backoff_factor=0.25)

    @property
    def parallel(self) -> int:
        """How many requests may be under way at one registry."""
        return t.cast(int, self._options["parallel"])

    def store(self, image: Reference) -> Registry | Layout:
        """The registry of an image, or the layout in which it is."""
        if not image.is_layout:
            return self.registry(image)
        with self._lock:
            return self._layouts.setdefault(image.registry, Layout(image.registry))

    def finish(self, layout: str) -> None:
        """Complete a layout, if it is an archive that was written to.

        :raises ContainersError: it cannot be.
        """
        self._layouts[layout].finish()

    def registry(self, image: Reference) -> Registry:
        """The registry of an image."""
        with self._lock:
            registry = self._registries.get(image.registry)
            if registry is None:
                access = self._credentials.access(image.registry)
                registry = self._registries[image.registry] = Registry(access, self.transport(access), self._actions)
            return registry

    def transport(self, access: Access) -> Transport:
        """Connections to another server, which are closed with the client. Their requests count."""
        transport = Transport(access, counter=self._counter, **self._options)
        self._transports.append(transport)
        return transport

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

    def try_map(self, function: t.Callable[[_Item], _Result], items: t.Iterable[_Item], limit: int = 0) -> list[_Result | ContainersError]:
        """As ``map``, with the error in place of the result of an item that failed.

        :param limit: how many at a time; if not given, more than one registry has slots for.
        """
        work = list(items)
        results: list[t.Any] = [None] * len(work)
        numbers = iter(range(len(work)))

        def run() -> None:
            for number in numbers:
                try:
                    results[number] = function(work[number])
                except ContainersError as exc:
                    results[number] = exc

        # Whoever has work does it, and idle threads help: so work within work needs no threads of its own, and none waits for others to be free.
        helpers = [self._pool.submit(run) for dummy in range(min(len(work), limit or 4 * self.parallel) - 1)]
        try:
            run()
        except BaseException:
            self.interrupted = True
            raise
        finally:
            collections.deque(numbers, maxlen=0)
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
        return results
