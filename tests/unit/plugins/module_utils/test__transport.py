# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP to one registry."""

from __future__ import annotations

import concurrent.futures
import contextlib
import email.utils
import pathlib
import socket
import stat
import threading
import time
import typing as t

import pytest
import requests
import urllib3
from ansible_collections.gating.containers.plugins.module_utils._credentials import Access
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    InputError,
    RegistryError,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    TlsFiles,
    Transport,
    same_origin,
)

BODY = b"x" * 1000


class Made(t.NamedTuple):
    transport: Transport
    counter: Counter

    def get(self, url: str, **options: t.Any) -> t.Any:
        return self.transport.request("GET", url, what="GET it", **options)


@pytest.fixture
def make() -> t.Iterator[t.Callable[..., Made]]:
    made: list[Made] = []

    def transport(access: Access | None = None, **options: t.Any) -> Made:
        counter = Counter()
        made.append(Made(Transport(access or Access("registry.example"), **{"parallel": 4, "timeout": 5, "retries": 3, **options}, counter=counter), counter))
        return made[-1]

    yield transport
    for one in made:
        one.transport.close()


# -- one request ---------------------------------------------------------------------------------------------------------


def test_sends_what_it_is_told(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("PUT", "/a?x=1&y=%2F", 201, "done", {"X-Header": "h"})
    response = make().transport.request(
        "PUT", f"{server.url}/a", what="PUT it", authorization="Bearer token", headers={"X-Mine": "m"}, params=[("x", "1"), ("y", "/")], data=b"body"
    )
    assert (response.status_code, response.text, response.headers["x-header"]) == (201, "done", "h")
    request = server.requests[0]
    assert (request.body, request.authorization, request.headers["X-Mine"]) == (b"body", "Bearer token", "m")
    assert (request.headers["User-Agent"], request.headers["Accept-Encoding"]) == ("gating.containers", "identity")


def test_uses_a_connection_again(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/", 200, BODY, times=5)
    client = make()
    for _again in range(5):
        client.get(server.url)
    assert (server.connections, client.counter.value) == (1, 5)


def test_an_answer_that_is_not_asked_for_again(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    client = make()
    statuses = [200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 413, 416, 499, 501, 505]
    for status in statuses:
        server.on("GET", f"/{status}", status)
        assert client.get(f"{server.url}/{status}").status_code == status
    assert (client.counter.value, pauses) == (len(statuses), [])


# -- bodies that the caller reads ----------------------------------------------------------------------------------------------


def test_the_body_of_a_stream_is_not_read(http_server: t.Any, make: t.Any) -> None:
    server, content = http_server(), bytes(range(256)) * 40
    server.on("GET", "/", 200, content)
    response = make().get(server.url, stream=True)
    with contextlib.closing(response):
        assert response.raw.read(10) == content[:10]
        assert response.raw.read() == content[10:]


def test_a_body_that_breaks_is_the_callers_matter(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    server.on("GET", "/", 200, BODY, cut="body")
    client = make()
    with contextlib.closing(client.get(server.url, stream=True)) as response:
        assert response.status_code == 200
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            # An older urllib3 does not tell.
            assert len(response.raw.read()) < len(BODY)
    assert (client.counter.value, pauses) == (1, [])


def test_a_stream_does_not_count_as_under_way(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/stream", 200, BODY, times=3)
    server.on("GET", "/other", 200, BODY)
    client = make(parallel=1)
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(contextlib.closing(client.get(f"{server.url}/stream", stream=True))) for dummy in range(3)]
        assert client.get(f"{server.url}/other").content == BODY
        assert [stream.raw.read() for stream in streams] == [BODY] * 3


def test_a_stream_is_opened_while_all_places_are_taken(http_server: t.Any, make: t.Any) -> None:
    """An upload that reads from the same registry waits for it."""
    server, client = http_server(), make(parallel=1)
    server.on("GET", "/source", 200, BODY)
    server.on("PUT", "/target", 201)

    class Body:
        def __len__(self) -> int:
            return len(BODY)

        def __iter__(self) -> t.Iterator[bytes]:
            with contextlib.closing(client.get(f"{server.url}/source", stream=True)) as response:
                yield response.raw.read()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        put = pool.submit(client.transport.request, "PUT", f"{server.url}/target", what="PUT it", data=Body(), retries=0)
        assert put.result(timeout=5).status_code == 201
    assert server.of("PUT", "/target")[0].body == BODY


@pytest.mark.parametrize("status", [429, 500, 503])
def test_answers_that_pass_are_closed_before_the_next_try(
    http_server: t.Any, make: t.Any, monkeypatch: pytest.MonkeyPatch, pauses: list[float], status: int
) -> None:
    server, client = http_server(), make()
    server.on("GET", "/", status, BODY, times=2)
    server.on("GET", "/", 200, BODY)
    closed: list[t.Any] = []
    states: list[list[int]] = []
    once = client.transport._once

    def watched(*args: t.Any) -> t.Any:
        states.append([response.status_code for response in closed])
        response = once(*args)
        close = response.close

        def note() -> None:
            closed.append(response)
            close()

        response.close = note
        return response

    monkeypatch.setattr(client.transport, "_once", watched)
    with contextlib.closing(client.get(server.url, stream=True)) as response:
        assert response.raw.read() == BODY
        assert states == [[], [status], [status, status]]
        assert response not in closed


def test_the_last_answer_of_a_stream_is_left_open(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    server.on("GET", "/", 503, BODY, times=2)
    with contextlib.closing(make(retries=1).get(server.url, stream=True)) as response:
        assert (response.status_code, response.content) == (503, BODY)


# -- again ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_asks_again_after_a_status_that_may_pass(http_server: t.Any, make: t.Any, pauses: list[float], method: str, status: int) -> None:
    server = http_server()
    server.on(method, "/", status, BODY, times=2)
    server.on(method, "/", 200, "done")
    client = make()
    response = client.transport.request(method, server.url, what="it", data=b"body")
    assert (response.status_code, response.text) == (200, "done")
    assert [request.body for request in server.requests] == [b"body"] * 3
    assert client.counter.value == 3
    # The first pause is none, the second half a second and a quarter of it more or less.
    assert len(pauses) == 1
    assert 0.375 <= pauses[0] <= 0.625


def test_gives_the_last_answer_when_its_retries_are_used_up(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    server.on("GET", "/", 503, "busy", times=4)
    client = make()
    response = client.get(server.url)
    assert (response.status_code, response.text, client.counter.value) == (503, "busy", 4)
    assert len(pauses) == 2


def test_retries_of_one_request(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/", 503)
    assert make().get(server.url, retries=0).status_code == 503


@pytest.mark.parametrize("cut", ["before", "headers", "body"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_asks_again_after_a_broken_connection(http_server: t.Any, make: t.Any, method: str, cut: str) -> None:
    server = http_server()
    server.on(method, "/", 200, BODY, cut=cut, times=2)
    server.on(method, "/", 200, BODY)
    client = make()
    response = client.transport.request(method, server.url, what="it", data=b"body")
    assert response.content == BODY
    assert [request.body for request in server.requests] == [b"body"] * 3
    assert client.counter.value == 3


@pytest.mark.parametrize("cut", ["before", "headers", "body"])
def test_tells_that_the_connection_breaks(http_server: t.Any, make: t.Any, cut: str) -> None:
    server = http_server()
    server.on("GET", "/", 200, BODY, cut=cut, times=4)
    client = make()
    with pytest.raises(RegistryError, match="^GET it: no answer in 4 tries, the connection broke: check the registry and the network$") as caught:
        client.get(server.url)
    assert caught.value.status is None
    assert client.counter.value == 4


@pytest.mark.parametrize("end", [0, 17, 18, 28, 40, 44, 57, 68, 69])
@pytest.mark.parametrize("status", [200, 202, 404])
def test_headers_that_end_with_the_connection_are_no_headers(make: t.Any, pauses: list[float], status: int, end: int) -> None:
    text = f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nLocation: http://127.0.0.1/a\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            for content in (text[:end], text):
                with listening.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threading.Thread(target=answer, daemon=True).start()
        made = make()
        response = made.transport.request("HEAD", f"http://127.0.0.1:{listening.getsockname()[1]}/", what="HEAD it")
    assert (response.status_code, response.headers["Location"]) == (status, "http://127.0.0.1/a")
    assert made.counter.value == 2


@pytest.mark.parametrize("cut", ["", "headers"])
def test_through_a_proxy_headers_are_whole_too(http_server: t.Any, make: t.Any, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    server = http_server()
    server.on("GET", "http://registry.example/", 200, BODY, cut=cut)
    if cut:
        server.on("GET", "http://registry.example/", 200, BODY)
    monkeypatch.setenv("http_proxy", server.url)
    assert make().get("http://registry.example/").content == BODY


def test_tells_that_nobody_listens(make: t.Any, pauses: list[float]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = make()
        with pytest.raises(RegistryError, match="^GET it: no answer in 4 tries, connection refused: check the registry's name and port$"):
            client.get(f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert client.counter.value == 4


def test_tells_that_the_name_is_unknown(make: t.Any, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    def unknown(*dummy: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RegistryError, match="^GET it: no answer in 1 tries, name or service not known: check the registry's name and port$"):
        make(retries=0).get("http://nosuch.example/")


def test_tells_that_no_answer_came_in_time(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/", hook=lambda: threading.Event().wait(0.5))
    with pytest.raises(RegistryError, match="^GET it: no answer in 1 tries, no answer in time: raise timeout$"):
        make(timeout=0.1, retries=0).get(server.url)


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/", "no url", "http://[::1/", "http://127.0.0.1:99999/"])
def test_a_url_that_is_none_is_asked_for_once(make: t.Any, pauses: list[float], url: str) -> None:
    client = make()
    with pytest.raises(RegistryError, match="^GET it: Invalid|^GET it: Missing"):
        client.get(url)
    assert (client.counter.value, pauses) == (1, [])


# -- bodies ----------------------------------------------------------------------------------------------------------------

LARGE = bytes(range(256)) * 1000


@pytest.mark.parametrize("cut", ["", "before", "body"])
def test_a_body_is_sent_again_with_each_try(http_server: t.Any, make: t.Any, cut: str) -> None:
    server = http_server()
    server.on("PUT", "/", 503, BODY, times=2, cut=cut)
    server.on("PUT", "/", 201, "done")
    response = make().transport.request("PUT", server.url, what="it", data=LARGE)
    assert (response.status_code, response.text) == (201, "done")
    assert [request.body == LARGE for request in server.requests] == [True] * 3
    assert [(request.headers["Content-Length"], request.headers["Transfer-Encoding"]) for request in server.requests] == [(str(len(LARGE)), None)] * 3


def test_a_body_goes_along_with_a_redirect(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("PUT", "/a", 307, "", {"Location": "/b"})
    server.on("PUT", "/b", 201)
    assert make().transport.request("PUT", f"{server.url}/a", what="it", data=LARGE).status_code == 201
    assert [request.body == LARGE for request in server.requests] == [True, True]


# -- pauses that a registry asks for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("Retry-After", lambda now: "7", 7),
        ("Retry-After", lambda now: email.utils.formatdate(now + 60, usegmt=True), 60),
        ("X-Retry-After", lambda now: str(int(now + 42)), 42),
        ("Retry-After", lambda now: "300", 300),
    ],
)
def test_waits_as_long_as_it_is_asked_to(
    http_server: t.Any, make: t.Any, pauses: list[float], monkeypatch: pytest.MonkeyPatch, header: str, value: t.Any, expected: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    server = http_server()
    server.on("GET", "/", 429, "", {header: value(1_800_000_000)})
    server.on("GET", "/", 200)
    assert make().get(server.url).status_code == 200
    assert pauses == [expected]


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "", "-", "Fri, 99 Foo 2027"])
def test_garbage_is_no_pause(http_server: t.Any, make: t.Any, pauses: list[float], value: str) -> None:
    server = http_server()
    server.on("GET", "/", 429, "", {"Retry-After": value}, times=2)
    server.on("GET", "/", 200)
    assert make().get(server.url).status_code == 200
    assert [0.375 <= pause <= 0.625 for pause in pauses] == [True]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "301"},
        {"Retry-After": "Fri, 15 Jan 2027 09:00:00 GMT"},
        {"X-Retry-After": "1800021600"},
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_long_pause_is_the_answer(
    http_server: t.Any, make: t.Any, pauses: list[float], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    server = http_server()
    server.on("GET", "/", status, "limit", headers)
    response = make().get(server.url)
    assert (response.status_code, response.text, pauses) == (status, "limit", [])


# -- redirects -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_the_authorization_goes_to_no_other_host_or_port(http_server: t.Any, make: t.Any, status: int, host: str) -> None:
    server, other = http_server(), http_server(host=host)
    server.on("GET", "/a", status, "", {"Location": f"{other.url}/b"})
    other.on("GET", "/b", 200, "there")
    client = make()
    assert client.get(f"{server.url}/a", authorization="Basic c2VjcmV0").text == "there"
    assert [request.authorization for request in server.requests] == ["Basic c2VjcmV0"]
    assert [request.authorization for request in other.requests] == [None]
    assert client.counter.value == 2


def test_the_authorization_does_not_come_back_after_a_detour(http_server: t.Any, make: t.Any) -> None:
    server, other = http_server(), http_server()
    server.on("GET", "/a", 307, "", {"Location": f"{other.url}/b"})
    other.on("GET", "/b", 307, "", {"Location": f"{server.url}/c"})
    server.on("GET", "/c", 200)
    make().get(f"{server.url}/a", authorization="Basic c2VjcmV0")
    assert [request.authorization for request in server.requests + other.requests] == ["Basic c2VjcmV0", None, None]


def test_the_authorization_goes_along_within_a_server(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/a", 307, "", {"Location": "/b"})
    server.on("GET", "/b", 307, "", {"Location": f"{server.url}/c"})
    server.on("GET", "/c", 200)
    client = make()
    client.get(f"{server.url}/a", authorization="Basic c2VjcmV0")
    assert [request.authorization for request in server.requests] == ["Basic c2VjcmV0"] * 3
    assert client.counter.value == 3


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_keeps_method_and_body(http_server: t.Any, make: t.Any, status: int) -> None:
    server = http_server()
    server.on("PUT", "/a", status, "", {"Location": "/b"})
    server.on("PUT", "/b", 201)
    assert make().transport.request("PUT", f"{server.url}/a", what="it", data=b"body").status_code == 201
    assert server.requests[1].body == b"body"


@pytest.mark.parametrize(("method", "status"), [("PUT", 302), ("DELETE", 302), ("POST", 302), ("POST", 301)])
def test_a_redirect_makes_no_get_of_a_request_that_writes(http_server: t.Any, make: t.Any, method: str, status: int) -> None:
    server = http_server()
    server.on(method, "/a", status, "", {"Location": "/b"})
    server.on("GET", "/b", 200, "please log in", times=None)
    server.on(method, "/b", 201, times=None)
    assert make().transport.request(method, f"{server.url}/a", what="it", data=b"body").status_code != 200


def test_a_circle_of_redirects(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    server.on("GET", "/a", 307, "", {"Location": "/a"}, times=None)
    with pytest.raises(RegistryError, match="^GET it: too many redirects$"):
        make().get(f"{server.url}/a")
    assert pauses == []


def test_retries_and_redirects_are_counted(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/a", 307, "", {"Location": "/b"}, times=2)
    server.on("GET", "/b", 503)
    server.on("GET", "/b", 200)
    client = make()
    assert client.get(f"{server.url}/a").status_code == 200
    assert client.counter.value == len(server.requests) == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a/x", "https://a/y?z", True),
        ("https://a", "https://A:443/", True),
        ("http://a", "http://a:80", True),
        ("https://user@a", "https://a", True),
        ("https://a", "http://a", False),
        ("https://a", "https://a:444", False),
        ("https://a", "https://b", False),
        ("https://a.b", "https://b", False),
        ("http://[::1]:5/", "http://[::1]:5/a", True),
        ("https://a@b/", "https://a/", False),
    ],
)
def test_same_origin(one: str, other: str, same: bool) -> None:
    assert [same_origin(*pair) for pair in ((one, other), (other, one))] == [same, same]


@pytest.mark.parametrize("url", ["http://a:99999/x", "http://a:port/x", "http://[::1/x"])
def test_a_redirect_to_no_url(http_server: t.Any, make: t.Any, pauses: list[float], url: str) -> None:
    server = http_server()
    server.on("GET", "/a", 307, "", {"Location": url})
    with pytest.raises(RegistryError, match="^GET it: (it was redirected to a malformed URL|InvalidURL)"):
        make().get(f"{server.url}/a")
    assert pauses == []


# -- what must not be sent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["HOME", "NETRC"])
def test_logins_of_netrc_are_never_sent(http_server: t.Any, make: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, place: str) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\nmachine 127.0.0.2 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv(place, str(tmp_path if place == "HOME" else netrc))
    server, other = http_server(), http_server(host="127.0.0.2")
    server.on("GET", "/check", 200)
    requests.get(f"{server.url}/check", timeout=5)
    assert server.requests[0].authorization is not None, "this test tests nothing: requests would not send the login either"
    server.on("GET", "/a", 307, "", {"Location": f"{other.url}/b"})
    other.on("GET", "/b", 307, "", {"Location": "/c"})
    other.on("GET", "/c", 200)
    make().get(f"{server.url}/a")
    assert [request.authorization for request in server.requests[1:] + other.requests] == [None] * 3


def test_cookies_are_not_kept(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/", 200, "", {"Set-Cookie": "sid=1; Path=/"}, times=2)
    client = make()
    client.get(server.url)
    client.get(server.url)
    assert [request.headers["Cookie"] for request in server.requests] == [None, None]


def test_cookies_are_not_kept_by_redirects(http_server: t.Any, make: t.Any) -> None:
    server = http_server()
    server.on("GET", "/a", 307, "", {"Location": "/b", "Set-Cookie": "sid=1; Path=/"})
    server.on("GET", "/b", 200)
    make().get(f"{server.url}/a")
    assert [request.headers["Cookie"] for request in server.requests] == [None, None]


# -- limits ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_requests_at_once_than_parallel(http_server: t.Any, make: t.Any, parallel: int) -> None:
    server = http_server()
    server.on("GET", "/", 200, BODY, times=12, hook=server.crowd(parallel))
    client = make(parallel=parallel)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda dummy: client.get(server.url).content, range(12)))
    assert answers == [BODY] * 12
    assert server.most_at_once == parallel
    assert server.connections <= parallel
    assert client.counter.value == 12


def test_a_pause_takes_no_place(http_server: t.Any, make: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one request waits to be made again, another one is made."""
    server = http_server()
    server.on("GET", "/a", 429, "", {"Retry-After": "5"})
    server.on("GET", "/a", 200)
    server.on("GET", "/b", 200)
    client = make(parallel=1)
    inside: list[int] = []

    def sleep(seconds: float) -> None:
        # Would hang if the slot were still taken; a thread, because a test that hangs is worse than one that fails.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            inside.append(pool.submit(client.get, f"{server.url}/b").result(timeout=5).status_code)

    monkeypatch.setattr(time, "sleep", sleep)
    assert client.get(f"{server.url}/a").status_code == 200
    assert inside == [200]


def test_counts_in_many_threads() -> None:
    counter = Counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda dummy: [counter.add() for dummy in range(1000)], range(8)))
    counter.add(5)
    assert counter.value == 8005


# -- TLS ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "path"])
def test_a_ca_that_is_given_is_trusted(http_server: t.Any, make: t.Any, certificate: t.Any, form: str) -> None:
    server = http_server(context=certificate.context)
    server.on("GET", "/", 200, "done")
    ca = certificate.cert if form == "text" else str(certificate.cert_file)
    assert make(Access(server.name, ca_cert=ca)).get(server.url).text == "done"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_does_not_override_the_ca(
    http_server: t.Any, make: t.Any, certificate: t.Any, make_certificate: t.Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    other = make_certificate()
    server = http_server(context=certificate.context)
    server.on("GET", "/", 200, "done", times=2)
    monkeypatch.setenv(variable, str(other.cert_file))
    assert make(Access(server.name, ca_cert=certificate.cert)).get(server.url).text == "done"
    # And the other way round: what is given is all that is trusted.
    monkeypatch.setenv(variable, str(certificate.cert_file))
    with pytest.raises(RegistryError, match="not trusted"):
        make(Access(server.name, ca_cert=other.cert)).get(server.url)
    # Where nothing is given the environment counts, as in every tool.
    assert make(Access(server.name)).get(server.url).text == "done"


def test_tls_verify_false(http_server: t.Any, make: t.Any, certificate: t.Any, monkeypatch: pytest.MonkeyPatch, recwarn: t.Any) -> None:
    server = http_server(context=certificate.context)
    server.on("GET", "/", 200, "done")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert make(Access(server.name, tls_verify=False)).get(server.url).text == "done"
    # By name: anything else that the garbage collector warns of just now is not of this request.
    assert [warning for warning in recwarn if "Insecure" in warning.category.__name__] == []


def test_a_certificate_that_is_not_trusted_is_asked_for_once(http_server: t.Any, make: t.Any, certificate: t.Any, pauses: list[float]) -> None:
    server = http_server(context=certificate.context)
    client = make()
    with pytest.raises(RegistryError, match="^GET it: its TLS certificate is not trusted: give the registry's ca_cert in container_registry_credentials$"):
        client.get(server.url)
    assert (client.counter.value, pauses) == (1, [])


def test_a_server_without_tls_is_asked_once(http_server: t.Any, make: t.Any, pauses: list[float]) -> None:
    server = http_server()
    client = make()
    with pytest.raises(
        RegistryError, match="^GET it: no TLS connection: if the registry speaks plain HTTP, set scheme to http in container_registry_credentials$"
    ):
        client.get(server.url.replace("http:", "https:"))
    assert (client.counter.value, pauses) == (1, [])


def test_a_client_certificate_is_shown(http_server: t.Any, make: t.Any, make_certificate: t.Any) -> None:
    import ssl

    mine = make_certificate()
    theirs = make_certificate()
    theirs.context.verify_mode = ssl.CERT_REQUIRED
    theirs.context.load_verify_locations(cadata=mine.cert)
    server = http_server(context=theirs.context)
    server.on("GET", "/", 200, "done")
    with pytest.raises(RegistryError):
        make(Access(server.name, ca_cert=theirs.cert), retries=0).get(server.url)
    assert make(Access(server.name, ca_cert=theirs.cert, client_cert=mine.cert, client_key=mine.key)).get(server.url).text == "done"


def test_tls_texts_are_private_files_until_close(certificate: t.Any) -> None:
    files = TlsFiles(Access("a.b", ca_cert=certificate.cert, client_cert=certificate.cert, client_key=certificate.key))
    paths = [pathlib.Path(path) for path in (files.ca, files.cert, files.key) if path]
    assert [path.read_text() for path in paths] == [certificate.cert, certificate.cert, certificate.key]
    directory = paths[0].parent
    assert {path.parent for path in paths} == {directory}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files.close()
    assert not directory.exists()
    files.close()


def test_tls_paths_are_used_as_they_are(certificate: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_text(certificate.cert)
    files = TlsFiles(Access("a.b", ca_cert="~/ca.pem"))
    files.close()
    assert (files.ca, files.cert, files.key) == (str(tmp_path / "ca.pem"), None, None)
    assert (tmp_path / "ca.pem").exists()


def test_a_tls_path_that_is_not_there(certificate: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match="container_registry_credentials.a.b.: client_key is neither PEM text nor a file that is there$") as caught:
        TlsFiles(Access("a.b", ca_cert=certificate.cert, client_cert=certificate.cert, client_key="/nonexistent/secret"))
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["~no-such-user/ca.pem", "x" * 5000, "a\0b"])
def test_a_certificate_that_is_no_path(path: str) -> None:
    with pytest.raises(InputError, match="neither PEM text nor a file that is there"):
        TlsFiles(Access("quay.io", ca_cert=path))
