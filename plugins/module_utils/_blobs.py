# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""A blob from one source to several repositories at once: read once, never held whole, in memory or on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import typing as t

from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    DamagedError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Descriptor,
)
from ansible_collections.gating.containers.plugins.module_utils._progress import (
    Progress,
)
from ansible_collections.gating.containers.plugins.module_utils._reference import (
    Reference,
)
from ansible_collections.gating.containers.plugins.module_utils._retry import (
    MaxRetryError,
    is_passing,
)

# Parts of a blob that one upload may be behind another, before the source waits for it; and seconds that it waits.
_BEHIND = 4
_PATIENCE = 10.0


class LaggingError(ContainersError):
    """An upload was too slow for the others, and is to be tried again by itself."""


class _Broken(Exception):
    """Ends an upload whose source has ended before its time."""


class _Body:
    """The body of an upload. It can be read once: a registry that redirects a PUT gets an error in place of nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._read = False

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> t.Iterator[bytes]:
        if self._read:
            raise ContainersError("the registry redirected the upload of a blob: its proxy is to pass uploads on")
        self._read = True
        return self._parts()

    def _parts(self) -> t.Iterator[bytes]:
        raise NotImplementedError


class _Single(_Body):
    """The body of the only upload: read from the source as the upload goes on."""

    def __init__(self, parts: t.Iterator[bytes], size: int) -> None:
        super().__init__(size)
        self._source = parts

    def _parts(self) -> t.Iterator[bytes]:
        return self._source


class _Feed(_Body):
    """The body of one of several uploads."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._queue: queue.Queue[bytes | None] = queue.Queue(_BEHIND)
        self.ended = threading.Event()
        self.lagging = False

    def _parts(self) -> t.Iterator[bytes]:
        left = self._size
        while left:
            part = self._queue.get()
            if part is None or self.lagging:
                raise _Broken()
            left -= len(part)
            yield part

    @property
    def starves(self) -> bool:
        """Whether it waits for the source."""
        return not self.ended.is_set() and self._queue.empty()

    def put(self, part: bytes | None, others: t.Sequence[_Feed]) -> None:
        """Hand a part over; ``None`` says that the source has ended before its time. An upload for which others have waited too long is ended."""
        waited = 0.0
        while not self.ended.is_set() and not self.lagging:
            try:
                self._queue.put(part, timeout=0.1)
                return
            except queue.Full:
                waited = waited + 0.1 if any(other.starves for other in others) else 0.0
                if waited >= _PATIENCE:
                    self.stop()

    def stop(self) -> None:
        """End the upload before what it has not taken yet."""
        self.lagging = True
        while not self.ended.is_set():
            try:
                self._queue.put_nowait(None)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()


#: Uploads a body to one repository; raises ``ContainersError``.
Upload = t.Callable[[t.Any], None]


def relay(source: t.Callable[[], t.Iterator[bytes]], size: int, uploads: t.Sequence[Upload]) -> list[ContainersError | None]:
    """Read a blob once and upload it to several repositories at the same time, in one try.

    :param source: gives the parts of the blob; the last one only if all of them are right.
    :param size: bytes.
    :returns: for each upload its error, or ``None``.
    """
    if len(uploads) == 1:
        return [_attempt(uploads[0], _Single(source(), size), None)]
    feeds = [_Feed(size) for dummy in uploads]
    broken: list[ContainersError] = []
    outcomes: list[ContainersError | None] = [None] * len(uploads)
    bugs: list[BaseException] = []

    def run(number: int) -> None:
        try:
            outcomes[number] = _attempt(uploads[number], feeds[number], broken)
        except BaseException as exc:
            bugs.append(exc)
        finally:
            feeds[number].ended.set()

    for number in range(len(uploads)):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    try:
        for part in source():
            for feed in feeds:
                feed.put(part, [other for other in feeds if other is not feed])
            if all(feed.ended.is_set() for feed in feeds):
                break
    except ContainersError as exc:
        broken.append(exc)
        for feed in feeds:
            feed.put(None, ())
    except BaseException:
        for feed in feeds:
            feed.stop()
        raise
    _wait_for(feeds)
    if bugs:
        raise bugs[0]
    return [LaggingError("it was too slow for the others") if feed.lagging else outcome for feed, outcome in zip(feeds, outcomes)]


def _wait_for(feeds: t.Sequence[_Feed]) -> None:
    """Wait for the answers. An upload that waits for its own long after the last of the others is left to itself."""
    waited, before = 0.0, len(feeds)
    while True:
        waiting = [feed for feed in feeds if not feed.ended.is_set()]
        if len(waiting) < before:
            waited, before = 0.0, len(waiting)
        if not waiting:
            return
        if waited >= _PATIENCE and len(waiting) < len(feeds):
            for feed in waiting:
                feed.lagging = True
            return
        waiting[0].ended.wait(0.1)
        waited += 0.1


def _attempt(upload: Upload, body: t.Any, broken: t.Sequence[ContainersError] | None) -> ContainersError | None:
    try:
        upload(body)
    except _Broken:
        return broken[0] if broken else LaggingError("it was too slow for the others")
    except ContainersError as exc:
        return exc
    return None


def may_pass(error: ContainersError) -> bool:
    """Whether an upload that failed so may succeed on another try."""
    if isinstance(error, (LaggingError, DamagedError)):
        return True
    return isinstance(error, RegistryError) and (error.status is None or error.status in (401, 404) or is_passing(error.status))


class Blobs:
    """The blobs of one run: none is sent to a registry twice, what is there is not sent at all.

    :param client: of all registries.
    :param streams: how many blobs may be under way at once.
    :param progress: is told of what is read.
    """

    def __init__(self, client: Client, streams: int, progress: Progress | None = None) -> None:
        self._client = client
        self._progress = progress or Progress(0)
        self._streams = threading.BoundedSemaphore(streams)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Known] = {}
        self._mounts: dict[str, bool] = {}
        self._shared: set[str] = set()
        self._learning: dict[str, threading.Lock] = {}

    def is_known(self, repository: Reference) -> bool:
        """Whether it is known how the registry of a repository tells that it has a blob."""
        return repository.registry in self._mounts

    def learning(self, registry: str) -> threading.Lock:
        """To be held while that is found out, so that it is found out once."""
        with self._lock:
            return self._learning.setdefault(registry, threading.Lock())

    def store(
        self, source: Reference, blob: Descriptor, repositories: t.Sequence[Reference], wait: bool, patient: bool
    ) -> dict[Reference, Stored | ContainersError] | None:
        """Let repositories have a blob.

        :param source: a repository that has it.
        :param wait: for others that send it at the moment. If not, ``None`` is returned then.
        :param patient: try again after failures that may pass.
        :returns: for each repository what was done, or why it was not.
        """
        with self._lock:
            known = {
                repository: self._known.setdefault((repository.registry, blob.digest), _Known())
                for repository in sorted(repositories, key=lambda repository: repository.name)
            }
        with contextlib.ExitStack() as held:
            # Two repositories of one registry have one lock; all take theirs in the same order.
            for one in dict.fromkeys(known.values()):
                # Who mounts it from where it is need not be alone.
                if one.repositories:
                    continue
                if not one.lock.acquire(blocking=wait):
                    return None
                if one.repositories:
                    one.lock.release()
                else:
                    held.callback(one.lock.release)
            outcomes: dict[Reference, Stored | ContainersError] = {}
            # Of several repositories of one registry the first gets it, and the others mount it from there. Where a registry mounts
            # nothing they get it one after the other: a relay has one upload for each registry, so that none waits for another.
            left = list(known)
            while left:
                group = list({repository.registry: repository for repository in reversed(left)}.values())
                self._store(source, blob, {repository: known[repository] for repository in group}, outcomes, patient)
                left = [repository for repository in left if repository not in group]
            return outcomes

    def _store(
        self, source: Reference, blob: Descriptor, known: t.Mapping[Reference, _Known], outcomes: dict[Reference, Stored | ContainersError], patient: bool
    ) -> None:
        repositories = list(known)
        places = self._client.try_map(lambda repository: self._place(source, blob, repository, known[repository]), repositories)
        wanted: dict[Reference, str] = {}
        for repository, place in zip(repositories, places):
            if isinstance(place, str):
                wanted[repository] = place
            else:
                outcomes[repository] = place
        if wanted:
            sent = self._send(source, blob, wanted, patient)
            outcomes.update({repository: error or Stored("sent", blob.size) for repository, error in sent.items()})
            self._client.map(lambda repository: self._learn(repository, blob.digest), [repository for repository, error in sent.items() if error is None])
        for repository in repositories:
            if not isinstance(outcomes[repository], ContainersError):
                known[repository].repositories.append(repository)

    def _place(self, source: Reference, blob: Descriptor, repository: Reference, known: _Known) -> Stored | str:
        """What made the blob be there, or where to upload it to; empty if that is to be asked for."""
        registry = self._client.store(repository)
        if repository in known.repositories:
            return Stored("there")
        near = known.repositories[0] if known.repositories else source if source.registry == repository.registry else None
        if near is not None and repository.registry not in self._shared:
            location = registry.place_blob(repository, blob.digest, near)
            if not location:
                return Stored("mounted")
            if self._mounts.get(repository.registry):
                return registry.place_blob(repository, blob.digest) or Stored("there")
            if not registry.has_blob(repository, blob.digest):
                return location
            # zuul-registry mounts nothing, but has one store for all repositories.
            self._shared.add(repository.registry)
            return Stored("there")
        if self._mounts.get(repository.registry):
            return registry.place_blob(repository, blob.digest) or Stored("there")
        if not registry.has_blob(repository, blob.digest):
            return ""
        self._learn(repository, blob.digest)
        return Stored("there")

    def _learn(self, repository: Reference, digest: str) -> None:
        """Find out whether a registry tells that a blob is there when it is asked to mount it; then no HEAD is needed to know."""
        if repository.registry not in self._mounts:
            try:
                self._mounts[repository.registry] = not self._client.store(repository).place_blob(repository, digest)
            except ContainersError:
                self._mounts[repository.registry] = False

    def _send(self, source: Reference, blob: Descriptor, wanted: t.Mapping[Reference, str], patient: bool) -> dict[Reference, ContainersError | None]:
        places = dict(wanted)
        policies = dict.fromkeys(wanted, self._client.policy())
        errors: dict[Reference, ContainersError | None] = {}
        while True:
            targets = list(places)
            uploads = [self._upload(target, places[target], blob.digest) for target in targets]
            self._progress.expect(blob.size)
            with self._streams:
                found = relay(lambda: self._read(source, blob), blob.size, uploads)
            places = {}
            for target, error in zip(targets, found):
                errors[target] = error
                if error is not None and patient and may_pass(error):
                    try:
                        policies[target] = policies[target].increment(error=error)
                        places[target] = ""
                    except MaxRetryError:
                        continue
            if not places:
                return errors
            policies[next(iter(places))].sleep()

    def _read(self, source: Reference, blob: Descriptor) -> t.Iterator[bytes]:
        for part in self._progress.count(self._client.store(source).read_blob(source, blob.digest, blob.size)):
            if self._client.interrupted:
                raise ContainersError("it was interrupted: run it again")
            yield part

    def _upload(self, target: Reference, location: str, digest: str) -> Upload:
        def upload(body: t.Any) -> None:
            self._client.store(target).upload_blob(target, location, digest, body)

        return upload


@dataclasses.dataclass(frozen=True)
class Stored:
    """How a blob came to be where it is.

    :param how: ``sent``, ``mounted``, or ``there`` if it was.
    :param size: bytes that were sent.
    """

    how: str
    size: int = 0


@dataclasses.dataclass(eq=False)
class _Known:
    """Where in one registry a blob is, as far as this run knows. The lock is held by who stores it where it is nowhere yet."""

    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    repositories: list[Reference] = dataclasses.field(default_factory=list)
