# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A blob from one source to several repositories at once."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils import _blobs
from ansible_collections.gating.containers.plugins.module_utils._blobs import (
    Blobs,
    LaggingError,
    Stored,
    may_pass,
    relay,
)
from ansible_collections.gating.containers.plugins.module_utils._client import Client
from ansible_collections.gating.containers.plugins.module_utils._credentials import Credentials
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    DamagedError,
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._manifest import (
    Descriptor,
    digest_of,
)
from ansible_collections.gating.containers.plugins.module_utils._progress import Progress
from ansible_collections.gating.containers.plugins.module_utils._reference import Reference
from ansible_collections.gating.containers.plugins.module_utils._retry import RetryPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

ERROR = RegistryError("the source broke", 502)
_PARTS = st.lists(st.binary(min_size=1, max_size=9), max_size=20)


class Source:
    """A source that notes how many parts were read, and breaks where it is told to."""

    def __init__(self, parts: t.Sequence[bytes], breaks_at: int | None = None) -> None:
        self.parts = list(parts) or [b""]
        self.size = sum(map(len, parts))
        self.breaks_at = breaks_at
        self.opened = 0
        self.read = 0

    def __call__(self) -> t.Iterator[bytes]:
        self.opened += 1
        for number, part in enumerate(self.parts):
            if number == self.breaks_at:
                raise ERROR
            self.read += 1
            yield part


class Taker:
    """An upload that keeps what it gets; it may fail after some parts, or hold still until it is released."""

    def __init__(self, fails_at: int | None = None, holds_at: int | None = None, holds_answer: bool = False) -> None:
        self.fails_at = fails_at
        self.holds_at = holds_at
        self.holds_answer = holds_answer
        self.error = RegistryError("the upload failed", 403)
        self.release = threading.Event()
        self.parts: list[bytes] = []
        self.size = -1
        self.completed = False
        self.thread = threading.current_thread()

    def __call__(self, body: t.Any) -> None:
        self.thread = threading.current_thread()
        self.size = len(body)
        for number, part in enumerate(body):
            if number == self.fails_at:
                raise self.error
            if number == self.holds_at:
                self.release.wait(5)
            self.parts.append(part)
        if self.holds_answer:
            self.release.wait(5)
        self.completed = True

    @property
    def content(self) -> bytes:
        return b"".join(self.parts)

    def ended(self) -> bool:
        """Let go, and say whether its thread ends."""
        self.release.set()
        if self.thread is not threading.current_thread():
            self.thread.join(2)
            return not self.thread.is_alive()
        return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blobs, "_PATIENCE", 0.2)


# -- relay ---------------------------------------------------------------------------------------------------------------------


def test_one_upload_pulls_directly() -> None:
    events: list[str] = []

    def source() -> t.Iterator[bytes]:
        for number in range(3):
            events.append(f"read {number}")
            yield bytes([number])

    def upload(body: t.Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert len(body) == 3
        for part in body:
            events.append(f"sent {part[0]}")

    assert relay(source, 3, [upload]) == [None]
    assert events == ["read 0", "sent 0", "read 1", "sent 1", "read 2", "sent 2"]


@given(_PARTS, st.integers(1, 5))
def test_every_upload_gets_every_part_in_order(parts: list[bytes], number: int) -> None:
    source, takers = Source(parts), [Taker() for dummy in range(number)]
    assert relay(source, source.size, takers) == [None] * number
    assert source.opened == 1
    for taker in takers:
        assert (taker.size, taker.content, taker.completed) == (source.size, b"".join(parts), True)
        assert taker.ended()


@given(st.integers(1, 12), st.lists(st.none() | st.integers(0, 15), min_size=1, max_size=5))
def test_an_upload_that_fails_does_not_stop_the_others(number: int, fails: list[int | None]) -> None:
    source, takers = Source([bytes([index]) for index in range(number)]), [Taker(fails_at=place) for place in fails]
    found = relay(source, source.size, takers)
    for taker, place, error in zip(takers, fails, found):
        if place is not None and place < number:
            assert error is taker.error
            assert taker.content == bytes(range(place))
        else:
            assert (error, taker.content, taker.completed) == (None, bytes(range(number)), True)
        assert taker.ended()


@given(st.integers(1, 12), st.integers(1, 5), st.data())
def test_no_upload_completes_when_the_source_breaks(number: int, uploads: int, data: st.DataObject) -> None:
    source = Source([bytes([index]) for index in range(number)], data.draw(st.integers(0, number - 1)))
    takers = [Taker() for dummy in range(uploads)]
    found = relay(source, source.size, takers)
    assert all(error is ERROR for error in found)
    for taker in takers:
        assert not taker.completed
        assert taker.content == bytes(range(source.breaks_at or 0))
        assert taker.ended()


def test_an_upload_that_failed_before_the_source_keeps_its_own_error() -> None:
    # More parts than wait for it, so that it has failed by then.
    source, failing, other = Source([b"x"] * 20, 15), Taker(fails_at=0), Taker()
    assert relay(source, 20, [failing, other]) == [failing.error, ERROR]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_source_is_not_read_to_its_end_when_all_uploads_have_failed(number: int) -> None:
    source, takers = Source([b"x"] * 1000), [Taker(fails_at=2) for dummy in range(number)]
    assert relay(source, 1000, takers) == [taker.error for taker in takers]
    assert source.read <= 3 + _blobs._BEHIND + 2


@pytest.mark.parametrize("holds_at", [0, 2])
@pytest.mark.parametrize("number", [1, 3])
def test_an_upload_that_stops_taking_parts_is_ended(impatient: None, number: int, holds_at: int) -> None:
    parts = [bytes([index]) for index in range(holds_at + _blobs._BEHIND + 2)]
    source, slow, others = Source(parts), Taker(holds_at=holds_at), [Taker() for dummy in range(number)]
    first, *rest = relay(source, len(parts), [slow, *others])
    assert isinstance(first, LaggingError)
    assert rest == [None] * number
    assert [other.content for other in others] == [b"".join(parts)] * number
    assert slow.ended()
    assert not slow.completed
    assert len(slow.content) < len(parts)


@pytest.mark.parametrize("number", [1, 3])
def test_an_upload_that_does_not_answer_is_left_to_itself(impatient: None, number: int) -> None:
    source, slow, others = Source([b"a", b"b"]), Taker(holds_answer=True), [Taker() for dummy in range(number)]
    first, *rest = relay(source, 2, [slow, *others])
    assert isinstance(first, LaggingError)
    assert rest == [None] * number
    assert slow.ended()


def test_uploads_that_are_all_slow_are_waited_for(impatient: None) -> None:
    source, takers = Source([b"a", b"b"]), [Taker(holds_answer=True) for dummy in range(3)]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = pool.submit(relay, source, 2, takers)
        with pytest.raises(concurrent.futures.TimeoutError):
            found.result(timeout=0.4)
        assert [taker.ended() for taker in takers] == [True] * 3
        assert [taker.completed for taker in takers] == [True] * 3
        found.result(timeout=5)


def test_an_upload_that_is_a_bit_slower_is_waited_for() -> None:
    pause = threading.Event()

    class Slow(Taker):
        def __call__(self, body: t.Any) -> None:
            def slowly() -> t.Iterator[bytes]:
                for part in body:
                    pause.wait(0.002)
                    yield part

            self.parts = list(slowly())

    source, slow, other = Source([bytes([index]) for index in range(50)]), Slow(), Taker()
    assert relay(source, 50, [slow, other]) == [None, None]
    assert slow.content == other.content == bytes(range(50))


class Part(bytes):
    """A part that counts how many of its kind are in memory."""

    alive = 0
    most = 0
    lock = threading.Lock()

    def __init__(self, *dummy: t.Any) -> None:
        with Part.lock:
            Part.alive += 1
            Part.most = max(Part.most, Part.alive)

    def __del__(self) -> None:
        with Part.lock:
            Part.alive -= 1


@pytest.mark.parametrize("uploads", [1, 2, 4])
def test_a_blob_is_never_held_whole(monkeypatch: pytest.MonkeyPatch, uploads: int) -> None:
    monkeypatch.setattr(Part, "most", 0)
    pause = threading.Event()

    def source() -> t.Iterator[bytes]:
        for _number in range(100):
            yield Part(b"x")

    def upload(seconds: float) -> t.Callable[[t.Any], None]:
        def take(body: t.Any) -> None:
            for _part in body:
                if seconds:
                    pause.wait(seconds)

        return take

    # One is slower than the others.
    assert relay(source, 100, [upload(0.001 if number == 0 else 0) for number in range(uploads)]) == [None] * uploads
    # Those that wait for the slowest, the one that is being handed over, and one in each upload's hand.
    assert Part.most <= _blobs._BEHIND + 2 + uploads


# -- what may pass -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        LaggingError("slow"),
        DamagedError("damaged"),
        RegistryError("no answer"),
        *(RegistryError("x", status) for status in (401, 404, 408, 425, 429, 500, 502, 503, 504)),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status', '')}",
)
def test_what_may_pass(error: ContainersError) -> None:
    assert may_pass(error)


@pytest.mark.parametrize(
    "error",
    [ContainersError("x"), InputError("x"), *(RegistryError("x", status) for status in (202, 302, 400, 403, 405, 413, 416, 501, 505))],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status', '')}",
)
def test_what_does_not_pass(error: ContainersError) -> None:
    assert not may_pass(error)


# -- registries in memory --------------------------------------------------------------------------------------------------------

CONTENT = b"the content of a blob"
BLOB = Descriptor("application/octet-stream", digest_of(CONTENT), len(CONTENT))
SOURCE = Reference("source.example", "a", "1")


class Fake:
    """A registry in memory.

    ``shared`` is whether it has one store for all repositories.

    :param mounts: whether it mounts blobs from another repository.
    :param tells: whether it tells that a blob is there when it is to be mounted from the repository itself.
    """

    def __init__(self, name: str, mounts: bool = True, tells: bool = True) -> None:
        self.name = name
        self.mounts = mounts
        self.tells = tells
        self.shared = False
        self.has: set[tuple[str, str]] = set()
        self.asked: list[str] = []
        self.errors: dict[str, list[ContainersError]] = {}
        self.hooks: dict[str, t.Callable[[], object]] = {}
        self.contents = {BLOB.digest: CONTENT}

    def fail(self, asked: str, *errors: ContainersError) -> None:
        """Answer so, the next times that it is asked so."""
        self.errors.setdefault(asked, []).extend(errors)

    def _note(self, asked: str) -> None:
        self.asked.append(asked)
        self.hooks.get(asked, int)()
        if self.errors.get(asked):
            raise self.errors[asked].pop(0)

    def put(self, *repositories: str) -> None:
        """Have the blob."""
        self.has.update((repository, BLOB.digest) for repository in repositories)

    def has_blob(self, repository: Reference, digest: str) -> bool:
        self._note(f"HEAD {repository.repository}")
        return any(has == digest and (self.shared or name == repository.repository) for name, has in self.has)

    def place_blob(self, repository: Reference, digest: str, source: Reference | None = None) -> str:
        origin = (source or repository).repository
        self._note(f"POST {repository.repository} from {origin}")
        if (origin, digest) in self.has and (self.tells if origin == repository.repository else self.mounts):
            self.has.add((repository.repository, digest))
            return ""
        return f"https://{self.name}/upload/{repository.repository}"

    def upload_blob(self, repository: Reference, location: str, digest: str, body: t.Any) -> None:
        assert location in ("", f"https://{self.name}/upload/{repository.repository}")
        self._note(f"PUT {repository.repository}" + ("" if location else " anew"))
        content = b"".join(body)
        assert len(content) == len(body)
        assert digest_of(content) == digest
        self.has.add((repository.repository, digest))

    def read_blob(self, repository: Reference, digest: str, size: int) -> t.Iterator[bytes]:
        self._note(f"GET {repository.repository}")
        content = self.contents[digest]
        assert len(content) == size
        for start in range(0, size, 5):
            yield content[start : start + 5]


class FakeClient(Client):
    def __init__(self, *registries: Fake) -> None:
        super().__init__(Credentials(), ("pull",), parallel=4, retries=3)
        self.fakes = {registry.name: registry for registry in registries}

    def registry(self, image: Reference) -> t.Any:
        return self.fakes[image.registry]

    def policy(self) -> RetryPolicy:
        return RetryPolicy(total=3, backoff_factor=0)


class World:
    """A source, two registries, and the blobs of one run."""

    def __init__(self, streams: int = 4, **options: t.Any) -> None:
        self.source = Fake("source.example")
        self.source.put("a")
        self.one = Fake("one.example", **options)
        self.two = Fake("two.example", **options)
        self.client = FakeClient(self.source, self.one, self.two)
        self.blobs = Blobs(self.client, streams, Progress(0))

    def store(self, *names: str, wait: bool = True, patient: bool = False, blob: Descriptor = BLOB) -> t.Any:
        """What became of repositories such as ``one/a``; errors as they are."""
        found = self.blobs.store(SOURCE, blob, [repository(name) for name in names], wait, patient)
        return None if found is None else {f"{key.registry.partition('.')[0]}/{key.repository}": value for key, value in found.items()}

    def sent(self) -> list[str]:
        return [asked for fake in (self.one, self.two) for asked in fake.asked if asked.startswith("PUT")]


def repository(name: str) -> Reference:
    registry, dummy, path = name.partition("/")
    return Reference(f"{registry}.example", path)


SENT = Stored("sent", len(CONTENT))


# -- store ----------------------------------------------------------------------------------------------------------------------


def test_a_blob_goes_to_several_registries_in_one_reading() -> None:
    world = World()
    assert world.store("one/a", "two/b") == {"one/a": SENT, "two/b": SENT}
    assert world.source.asked == ["GET a"]
    assert world.one.has == {("a", BLOB.digest)}
    assert world.two.has == {("b", BLOB.digest)}


def test_nothing_is_to_be_done() -> None:
    world = World()
    assert world.store() == {}
    assert world.source.asked == []


def test_what_is_there_is_not_sent() -> None:
    world = World()
    world.one.put("a")
    assert world.store("one/a", "two/b") == {"one/a": Stored("there"), "two/b": SENT}
    assert world.sent() == ["PUT b anew"]


@pytest.mark.parametrize("names", [["one/a"], ["one/a", "two/b"]])
def test_a_signal_ends_a_blob_that_flows(names: list[str]) -> None:
    world = World()
    world.client.interrupted = True
    assert {str(error) for error in world.store(*names, patient=True).values()} == {"it was interrupted: run it again"}
    assert world.source.asked == ["GET a"], "it is not tried again"
    assert world.one.has | world.two.has == set()


def test_within_a_registry_it_is_mounted() -> None:
    world = World()
    assert world.store("source/b", "source/a") == {"source/b": Stored("mounted"), "source/a": Stored("mounted")}
    assert sorted(world.source.asked) == ["POST a from a", "POST b from a"]


def test_within_a_registry_that_does_not_mount_it_is_sent() -> None:
    world = World()
    world.source.mounts = False
    assert world.store("source/b") == {"source/b": SENT}
    assert world.source.asked[0] == "POST b from a"
    assert {"PUT b", "GET a"} < set(world.source.asked)


def test_a_registry_that_does_not_mount_but_has_one_store_for_all_repositories() -> None:
    world = World()
    world.source.mounts, world.source.shared = False, True
    assert world.store("source/b") == {"source/b": Stored("there")}
    world.one.mounts, world.one.tells, world.one.shared = False, False, True
    assert world.store("one/a", "one/b") == {"one/a": SENT, "one/b": Stored("there")}
    assert world.sent() == ["PUT a anew"]


def test_two_repositories_of_one_registry() -> None:
    world = World()
    assert world.store("one/b", "one/a", "one/c") == {"one/a": SENT, "one/b": Stored("mounted"), "one/c": Stored("mounted")}
    assert world.sent() == ["PUT a anew"]
    assert {"POST b from a", "POST c from a"} < set(world.one.asked)


def test_two_repositories_of_a_registry_that_does_not_mount() -> None:
    world = World(mounts=False)
    assert world.store("one/a", "one/b", "one/c") == {"one/a": SENT, "one/b": SENT, "one/c": SENT}
    assert world.source.asked == ["GET a"] * 3, "one after the other, so that no upload waits for another"


def test_what_this_run_has_sent_costs_nothing_there_and_a_mount_elsewhere() -> None:
    world = World()
    world.store("one/a")
    world.one.asked.clear()
    assert world.store("one/a") == {"one/a": Stored("there")}
    assert world.one.asked == []
    assert world.store("one/a", "one/b") == {"one/a": Stored("there"), "one/b": Stored("mounted")}
    assert world.one.asked == ["POST b from a"]


def test_other_blobs_are_not_taken_for_known() -> None:
    world = World()
    other = Descriptor("", digest_of(b"other"), 5)
    world.source.contents[other.digest] = b"other"
    assert world.store("one/a") == {"one/a": SENT}
    assert world.store("one/a", blob=other) == {"one/a": Stored("sent", 5)}


@pytest.mark.parametrize("there", [True, False])
def test_how_a_registry_tells_is_found_out_once(there: bool) -> None:
    world = World()
    if there:
        world.one.put("a")
    assert not world.blobs.is_known(repository("one/a"))
    world.store("one/a")
    assert world.one.asked == ["HEAD a", "POST a from a"] if there else ["HEAD a", "PUT a anew", "POST a from a"]
    assert world.blobs.is_known(repository("one/other"))
    assert not world.blobs.is_known(repository("two/a"))
    other = Descriptor("", digest_of(b"other"), 5)
    world.source.contents[other.digest] = b"other"
    world.one.asked.clear()
    assert world.store("one/a", blob=other) == {"one/a": Stored("sent", 5)}
    assert world.one.asked == ["POST a from a", "PUT a"], "asking and beginning are one request"


def test_a_registry_that_tells_that_a_blob_is_there() -> None:
    world = World()
    world.store("one/a")
    other = Descriptor("", digest_of(b"other"), 5)
    world.one.has.add(("b", other.digest))
    world.one.asked.clear()
    assert world.store("one/b", blob=other) == {"one/b": Stored("there")}
    assert world.one.asked == ["POST b from b"]


def test_a_registry_that_does_not_tell_is_asked_by_head() -> None:
    world = World(tells=False)
    world.store("one/a")
    assert world.one.asked == ["HEAD a", "PUT a anew", "POST a from a"]
    assert world.blobs.is_known(repository("one/a"))
    other = Descriptor("", digest_of(b"other"), 5)
    world.source.contents[other.digest] = b"other"
    world.one.asked.clear()
    world.store("one/a", blob=other)
    assert world.one.asked == ["HEAD a", "PUT a anew"]


def test_a_registry_that_fails_to_tell_is_asked_by_head() -> None:
    world = World()
    world.one.fail("POST a from a", RegistryError("no", 403))
    assert world.store("one/a") == {"one/a": SENT}
    assert world.blobs.is_known(repository("one/a"))
    other = Descriptor("", digest_of(b"other"), 5)
    world.one.has.add(("a", other.digest))
    assert world.store("one/a", blob=other) == {"one/a": Stored("there")}
    assert world.one.asked[-1] == "HEAD a"


def test_it_is_found_out_by_one_thread_at_a_time() -> None:
    world = World()
    assert world.blobs.learning("one.example") is world.blobs.learning("one.example")
    assert world.blobs.learning("one.example") is not world.blobs.learning("two.example")


# -- failures --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["HEAD a", "PUT a anew"])
def test_an_error_of_one_repository_is_not_one_of_the_others(asked: str) -> None:
    world, error = World(), RegistryError("no", 503)
    world.one.fail(asked, error)
    assert world.store("one/a", "two/a") == {"one/a": error, "two/a": SENT}
    assert not world.blobs.is_known(repository("one/a"))


def test_when_the_first_of_a_registry_fails_the_next_one_is_sent() -> None:
    world, error = World(), RegistryError("no", 403)
    world.one.fail("PUT a anew", error)
    assert world.store("one/a", "one/b", "one/c") == {"one/a": error, "one/b": SENT, "one/c": Stored("mounted")}


@pytest.mark.parametrize("asked", ["HEAD a", "PUT a anew"])
def test_what_failed_is_tried_again_when_it_is_wanted_again(asked: str) -> None:
    world, error = World(), RegistryError("no", 403)
    world.one.fail(asked, error)
    assert world.store("one/a") == {"one/a": error}
    assert world.store("one/a") == {"one/a": SENT}


def test_an_error_of_the_source_is_that_of_all() -> None:
    world, error = World(), RegistryError("no", 403)
    world.source.fail("GET a", error)
    assert world.store("one/a", "two/a") == {"one/a": error, "two/a": error}
    assert world.store("one/a", "two/a") == {"one/a": SENT, "two/a": SENT}


def test_a_mount_that_is_an_error() -> None:
    world, error = World(), RegistryError("no", 429)
    world.source.fail("POST b from a", error)
    assert world.store("source/b", "one/a") == {"source/b": error, "one/a": SENT}


@pytest.mark.parametrize("error", [RegistryError("x", 503), RegistryError("x", 401), RegistryError("x"), LaggingError("x")], ids=str)
def test_only_who_is_patient_tries_again(error: ContainersError) -> None:
    world = World()
    world.one.fail("PUT a anew", error, error, error)
    assert world.store("one/a") == {"one/a": error}
    assert world.store("one/a", patient=True) == {"one/a": SENT}
    assert world.sent() == ["PUT a anew"] * 4


def test_patience_has_an_end() -> None:
    world, errors = World(), [RegistryError(str(number), 503) for number in range(9)]
    world.one.fail("PUT a anew", *errors)
    assert world.store("one/a", patient=True) == {"one/a": errors[3]}
    assert world.sent() == ["PUT a anew"] * 4


@pytest.mark.parametrize("status", [400, 403, 405, 413, 501])
def test_what_does_not_pass_is_not_tried_again(status: int) -> None:
    world, error = World(), RegistryError("no", status)
    world.one.fail("PUT a anew", error)
    assert world.store("one/a", patient=True) == {"one/a": error}
    assert world.sent() == ["PUT a anew"]


def test_only_those_that_failed_are_sent_again() -> None:
    world = World()
    world.one.fail("PUT a anew", RegistryError("x", 503), RegistryError("x", 503))
    assert world.store("one/a", "two/a", patient=True) == {"one/a": SENT, "two/a": SENT}
    assert world.sent() == ["PUT a anew"] * 4
    # In the second try nothing was read before it failed.
    assert world.source.asked == ["GET a"] * 2


def test_each_repository_has_its_own_end_of_patience() -> None:
    world = World()
    final, passing = RegistryError("final", 403), RegistryError("x", 503)
    world.one.fail("PUT a anew", passing, final)
    world.two.fail("PUT a anew", *[passing] * 4)
    assert world.store("one/a", "two/a", patient=True) == {"one/a": final, "two/a": passing}
    assert sorted(world.sent()) == ["PUT a anew"] * 6


def test_a_mount_that_began_an_upload_is_begun_anew_after_a_failure() -> None:
    world = World()
    world.source.mounts = False
    world.source.fail("PUT b", RegistryError("x", 503))
    assert world.store("source/b", patient=True) == {"source/b": SENT}
    assert [asked for asked in world.source.asked if asked.startswith("PUT")] == ["PUT b", "PUT b anew"]


# -- several threads ---------------------------------------------------------------------------------------------------------------


class Held:
    """Holds back the first upload to one/a in a thread of its own."""

    def __init__(self, world: World, pool: concurrent.futures.Executor) -> None:
        self.began, self.go = threading.Event(), threading.Event()

        def hook() -> None:
            self.began.set()
            self.go.wait(5)

        world.one.hooks["PUT a anew"] = hook
        self.found = pool.submit(world.store, "one/a")
        assert self.began.wait(5)


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_under_way_is_not_sent_twice(fails: bool) -> None:
    world, error = World(), RegistryError("no", 403)
    if fails:
        world.one.fail("PUT a anew", error)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held = Held(world, pool)
        assert world.store("one/b", wait=False) is None
        assert world.store("one/a", wait=False) is None
        assert world.store("two/b", "one/b", wait=False) is None
        # What it had taken of the other registry is free again.
        assert world.store("two/b", wait=False) == {"two/b": SENT}
        waiting = pool.submit(world.store, "one/b")
        with pytest.raises(concurrent.futures.TimeoutError):
            waiting.result(timeout=0.02)
        held.go.set()
        assert held.found.result(timeout=5) == {"one/a": error if fails else SENT}
        assert waiting.result(timeout=5) == {"one/b": SENT if fails else Stored("mounted")}


def test_another_blob_does_not_wait() -> None:
    world = World()
    other = Descriptor("", digest_of(b"other"), 5)
    world.source.contents[other.digest] = b"other"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = Held(world, pool)
        assert world.store("one/b", wait=False, blob=other) == {"one/b": Stored("sent", 5)}
        held.go.set()


def test_many_threads_send_it_once() -> None:
    world = World()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        names = [[f"one/{number}", f"two/{number}"][:: 1 if number % 2 else -1] for number in range(20)]
        found = list(pool.map(lambda pair: world.store(*pair), names))
    assert len(world.sent()) == 2
    for number, outcomes in enumerate(found):
        assert set(outcomes) == {f"one/{number}", f"two/{number}"}
    assert sorted(outcome.how for outcomes in found for outcome in outcomes.values()) == ["mounted"] * 38 + ["sent"] * 2


@pytest.mark.parametrize("streams", [1, 2])
def test_no_more_blobs_under_way_than_streams(streams: int) -> None:
    world = World(streams)
    contents = [bytes([number]) * 7 for number in range(8)]
    world.source.contents.update((digest_of(content), content) for content in contents)
    lock, pause = threading.Lock(), threading.Event()
    now, most = [0], [0]

    def hook() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        pause.wait(0.005)
        with lock:
            now[0] -= 1

    world.one.hooks["PUT a anew"] = world.one.hooks["PUT a"] = hook
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: world.store("one/a", blob=Descriptor("", digest_of(content), 7)), contents))
    assert most == [streams]


# -- whatever happens ----------------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["one/a", "one/b", "one/c", "two/a", "two/b", "source/b"])


@settings(max_examples=60)
@given(st.lists(st.sets(_NAMES, min_size=1), min_size=1, max_size=4), st.sets(_NAMES), st.booleans(), st.booleans())
def test_every_repository_has_it_and_no_registry_got_it_twice(runs: list[set[str]], there: set[str], mounts: bool, tells: bool) -> None:
    world = World(mounts=mounts, tells=tells)
    fakes = {"one": world.one, "two": world.two, "source": world.source}
    for name in there:
        fakes[name.partition("/")[0]].put(name.partition("/")[2])
    for names in runs:
        found = world.store(*names)
        assert set(found) == names
        for name, stored in found.items():
            registry, dummy, path = name.partition("/")
            assert (path, BLOB.digest) in fakes[registry].has
            assert stored.how in ("sent", "mounted", "there")
            # A registry that tells, but does not mount, is not asked whether it had it.
            assert stored.how != "sent" or name not in there or (tells and not mounts)
    for fake in fakes.values():
        sent = [asked for asked in fake.asked if asked.startswith("PUT")]
        assert len(sent) == len(set(sent))
        assert len(sent) <= 1 or not mounts


# -- bugs that were ------------------------------------------------------------------------------------------------------------


def test_uploads_that_have_one_slot_between_them_end(impatient: None) -> None:
    slot = threading.Semaphore(1)

    def upload(body: t.Any) -> None:
        with slot:
            list(body)

    parts = [b"x"] * 40
    found = relay(lambda: iter(parts), len(parts), [upload, upload, upload])
    assert None in found
    assert all(error is None or isinstance(error, LaggingError) for error in found)


def test_a_body_is_read_once(impatient: None) -> None:
    def redirected(body: t.Any) -> None:
        list(body)
        list(body)

    for number in (1, 2):
        for error in relay(lambda: iter([b"x"]), 1, [redirected] * number):
            assert "redirected the upload" in str(error)


@pytest.mark.parametrize("number", [1, 2])
def test_a_bug_in_an_upload_is_no_success(number: int) -> None:
    def bug(body: t.Any) -> None:
        raise TypeError("bug")

    with pytest.raises(TypeError, match="^bug$"):
        relay(lambda: iter([b"x"]), 1, [bug] * number)


def test_a_bug_in_the_source_leaves_no_thread_waiting() -> None:
    def source() -> t.Iterator[bytes]:
        yield b"x"
        raise TypeError("bug")

    takers = [Taker(), Taker()]
    with pytest.raises(TypeError, match="^bug$"):
        relay(source, 2, takers)
    assert all(taker.ended() for taker in takers)


def test_who_answers_soon_after_another_does_not_lag(impatient: None) -> None:
    def answers_after(seconds: float) -> t.Callable[[t.Any], None]:
        def upload(body: t.Any) -> None:
            list(body)
            threading.Event().wait(seconds)

        return upload

    assert relay(lambda: iter([b"x"]), 1, [answers_after(0.35), answers_after(0.45)]) == [None, None]


def test_an_upload_that_is_alone_after_the_others_failed_does_not_lag(impatient: None) -> None:
    taker = Taker(holds_at=0)
    threading.Timer(0.4, taker.release.set).start()
    error = RegistryError("no", 403)

    def fails(body: t.Any) -> None:
        raise error

    parts = [b"x"] * 30
    assert relay(lambda: iter(parts), len(parts), [fails, taker]) == [error, None]
