# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Authorization at a registry."""

from __future__ import annotations

import base64
import concurrent.futures
import threading
import typing as t
import urllib.parse

import pytest
from ansible_collections.gating.containers.plugins.module_utils._auth import (
    Authenticator,
    Challenge,
    actions_in_scope,
    parse_challenges,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Access,
    Login,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import RegistryError
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    Counter,
    Transport,
)
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "s3cr3t-Pa55w0rd"
ME = Login("me", PASSWORD)
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
ALL = ("pull", "push", "delete")


# -- challenges --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("BASIC Realm=x", [("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://auth.example/token", "service": "registry.example", "scope": "repository:a/b:pull,push"})],
        ),
        ('Bearer realm = "a" , service = b', [("bearer", {"realm": "a", "service": "b"})]),
        (r'Bearer realm="a\"b\\c"', [("bearer", {"realm": 'a"b\\c'})]),
        ('Bearer realm="a",error="insufficient_scope"', [("bearer", {"realm": "a", "error": "insufficient_scope"})]),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ('Bearer realm="b",service="s", Basic realm="a"', [("bearer", {"realm": "b", "service": "s"}), ("basic", {"realm": "a"})]),
        ('Negotiate, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
        ('Bearer realm="a, Basic realm=b"', [("bearer", {"realm": "a, Basic realm=b"})]),
        ('Bearer realm=""', [("bearer", {"realm": ""})]),
        ('Bearer realm="a",,service="s"', [("bearer", {"realm": "a", "service": "s"})]),
        ("=", []),
        ('"', []),
        ('Bearer realm="a', [("bearer", {})]),
    ],
)
def test_parse_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, dict(found.parameters)) for found in parse_challenges(header)] == expected


_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,7}", fullmatch=True)
_CHALLENGES = st.builds(
    Challenge,
    st.sampled_from(["bearer", "basic", "negotiate", "digest"]),
    st.dictionaries(_NAMES, st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f\x85"), max_size=12), max_size=3),
)


def written(challenge: Challenge) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{challenge.scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in challenge.parameters.items())


@given(st.lists(_CHALLENGES, max_size=3))
def test_challenges_are_what_is_written(challenges: list[Challenge]) -> None:
    assert parse_challenges(", ".join(written(challenge).strip() for challenge in challenges)) == challenges


@given(st.text() | st.text(alphabet='Bearer realm="\\,= \t'))
def test_any_header_can_be_parsed(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()


def test_a_header_of_blanks_is_parsed_at_all() -> None:
    # In quadratic time this would take an hour.
    assert parse_challenges("\xa0" * 500000 + '"') == []


@pytest.mark.parametrize(
    ("scope", "actions"),
    [
        ("repository:a/b:pull", ("pull",)),
        ("repository:a/b:pull,push,delete", ("pull", "push", "delete")),
        ("repository:a/b:*", ("*",)),
        ("repository:a/b:pull repository:c:push repository:a/b:push", ("pull", "push")),
        ("repository:other:pull", ()),
        ("repository:a:pull", ()),
        ("registry:catalog:*", ()),
        ("read", ()),
        ("write", ()),
        ("", ()),
        (":", ()),
        ("repository:a/b:", ()),
        ("repository:a/b:,pull,", ("pull",)),
    ],
)
def test_actions_in_scope(scope: str, actions: tuple[str, ...]) -> None:
    assert actions_in_scope(scope, "a/b") == actions


def test_actions_in_the_scope_of_a_registry_with_a_port() -> None:
    assert actions_in_scope("repository:host:5000/a/b:pull", "host:5000/a/b") == ("pull",)


# -- tokens ------------------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Auth:
    """An authenticator that talks to a server, with a clock that is set by hand."""

    def __init__(self, server: t.Any, login: Login | None, actions: t.Sequence[str] = ALL, registry: str = "registry.example", **options: t.Any) -> None:
        self.server = server
        self.clock = Clock()
        self.lookups: list[str] = []
        self.transport = Transport(Access(registry), parallel=4, timeout=5, retries=1, counter=Counter())

        def find_login(repository: str, refused: Login | None) -> Login | None:
            self.lookups.append(repository)
            return login

        self.grants: dict[str, tuple[t.Sequence[str], t.Sequence[str]]] = {}
        self.it = Authenticator(registry, options.get("base_url", server.url), find_login, self.transport.request, actions, self.clock, self.grants)

    def challenge(self, scope: str = "", scheme: str = "Bearer", service: str = "registry.example") -> str:
        return f'{scheme} realm="{self.server.url}/token"' + (f',service="{service}"' if service else "") + (f',scope="{scope}"' if scope else "")

    def scopes(self) -> list[list[str]]:
        return [[value for name, value in request.query if name == "scope"] for request in self.server.of("GET", "/token")]


@pytest.fixture
def auth(http_server: t.Any) -> t.Iterator[t.Callable[..., Auth]]:
    made: list[Auth] = []

    def make(*args: t.Any, **kwargs: t.Any) -> Auth:
        made.append(Auth(http_server(), *args, **kwargs))
        made[-1].it.learn(made[-1].challenge())
        return made[-1]

    yield make
    for one in made:
        one.transport.close()


def test_nothing_is_sent_before_a_challenge(http_server: t.Any) -> None:
    one = Auth(http_server(), ME)
    assert one.it.authorization("a") is None
    assert one.lookups == []
    one.transport.close()


@pytest.mark.parametrize("header", ["", "Negotiate", "Bearer", 'Bearer service="x"', 'Bearer realm=""', "%%%"])
def test_learns_nothing_from_a_useless_challenge(http_server: t.Any, header: str) -> None:
    one = Auth(http_server(), ME)
    assert one.it.learn(header) is False
    assert one.it.authorization("a") is None
    one.transport.close()


def test_basic_beside_a_useless_bearer(http_server: t.Any) -> None:
    one = Auth(http_server(), ME)
    try:
        assert one.it.learn('Bearer service="x", Basic realm="y"') is True
        assert one.it.authorization("a") == BASIC
    finally:
        one.transport.close()


@pytest.mark.parametrize(("login", "expected"), [(ME, BASIC), (None, None), (Login(identity_token="refresh"), None)])
def test_basic(auth: t.Any, login: Login | None, expected: str | None) -> None:
    one = auth(login)
    one.it.learn('Basic realm="x"')
    assert one.it.authorization("a") == expected
    assert one.it.authorization("a") == expected
    assert one.lookups == ["a"]


def test_basic_of_letters_beyond_ascii(auth: t.Any) -> None:
    one = auth(Login("mé", "pä:ß"))
    one.it.learn('Basic realm="x"')
    assert base64.b64decode(one.it.authorization("a").split()[1]).decode("utf-8") == "mé:pä:ß"


def test_bearer_goes_before_basic(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.it.learn(f'{one.challenge()}, Basic realm="x"')
    assert one.it.authorization("a") == "Bearer t"


def test_one_token_for_each_repository_with_all_actions(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    assert [one.it.authorization(name) for name in ("a/b", "a/b", "c", "a/b", "c")] == ["Bearer one", "Bearer one", "Bearer two", "Bearer one", "Bearer two"]
    assert [request.query for request in one.server.requests] == [
        [("service", "registry.example"), ("scope", "repository:a/b:pull,push,delete")],
        [("service", "registry.example"), ("scope", "repository:c:pull,push,delete")],
    ]
    assert [request.authorization for request in one.server.requests] == [BASIC, BASIC]


def test_no_more_actions_than_needed(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull"]]


def test_many_threads_ask_for_one_token(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300}, hook=lambda: threading.Event().wait(0.05))
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert set(pool.map(one.it.authorization, ["a"] * 10)) == {"Bearer t"}
    assert len(one.server.requests) == 1


def test_tokens_of_several_repositories_are_asked_for_at_once(auth: t.Any) -> None:
    one = auth(ME)
    together = threading.Barrier(3, timeout=5)
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 300}, times=3, hook=together.wait)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert set(pool.map(one.it.authorization, "abc")) == {"Bearer t"}


@pytest.mark.parametrize(
    "answer",
    [{"token": "t"}, {"access_token": "t"}, {"token": "t", "access_token": "t"}, {"token": "", "access_token": "t"}, {"token": None, "access_token": "t"}],
)
def test_forms_of_a_token(auth: t.Any, answer: dict[str, str]) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, answer)
    assert one.it.authorization("a") == "Bearer t"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"token": ""},
        {"token": 5},
        {"token": ["t"]},
        [],
        "t",
        b"no json",
        b"",
        b"<html>",
        {"token": "t", "expires_in": "soon"},
        {"token": "t", "expires_in": [1]},
    ],
)
def test_an_answer_that_is_no_token(auth: t.Any, answer: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, answer)
    with pytest.raises(RegistryError, match="^registry.example/a: the token server 127.0.0.1:[0-9]+ answered 200 without a token"):
        one.it.authorization("a")


@pytest.mark.parametrize(
    ("answer", "good_for"),
    [
        ({}, 50),  # 60 seconds where the server does not say, ten of them in reserve
        ({"expires_in": None}, 50),
        ({"expires_in": 300}, 290),
        ({"expires_in": "300"}, 290),
        ({"expires_in": 20}, 10),
        ({"expires_in": 4}, 2),  # of a very short life a half
    ],
)
def test_a_token_is_renewed_before_it_expires(auth: t.Any, answer: dict[str, t.Any], good_for: float) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "one", **answer})
    one.server.on("GET", "/token", 200, {"token": "two", **answer})
    assert one.it.authorization("a") == "Bearer one"
    one.clock.now += good_for - 0.1
    assert one.it.authorization("a") == "Bearer one"
    one.clock.now += 0.2
    assert one.it.authorization("a") == "Bearer two"
    one.clock.now += good_for - 0.1
    assert one.it.authorization("a") == "Bearer two"


@pytest.mark.parametrize("lifetime", [-5, -100])
def test_a_token_that_is_born_dead_is_not_kept(auth: t.Any, lifetime: int) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": lifetime}, times=2)
    assert [one.it.authorization("a") for dummy in range(2)] == ["Bearer t"] * 2


def test_an_anonymous_token(auth: t.Any) -> None:
    one = auth(None, ("pull",))
    one.server.on("GET", "/token", 200, {"token": "anonymous"})
    assert one.it.authorization("a") == "Bearer anonymous"
    assert one.server.requests[0].authorization is None
    assert one.scopes() == [["repository:a:pull"]]


def test_a_challenge_without_service(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.it.learn(one.challenge(service=""))
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.it.authorization("a")
    assert one.server.requests[0].query == [("scope", "repository:a:pull")]


def test_a_realm_with_a_query(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.it.learn(f'Bearer realm="{one.server.url}/token?account=x",service="s"')
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.it.authorization("a")
    assert one.server.requests[0].query == [("account", "x"), ("service", "s"), ("scope", "repository:a:pull")]


def test_the_login_is_looked_up_once_for_each_repository(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "t", "expires_in": 4}, times=4)
    for _again in range(2):
        one.it.authorization("a")
        one.it.authorization("b")
        one.clock.now += 100
    assert one.lookups == ["a", "b"]


# -- other actions on one repository ----------------------------------------------------------------------------------------------


def tokens(one: Auth, *values: str) -> None:
    for value in values:
        one.server.on("GET", "/token", 200, {"token": value, "expires_in": 300})


def test_a_grant_is_for_one_repository(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.grants["a"] = (("pull", "push"), [])
    tokens(one, "one", "two")
    assert one.it.authorization("a") == "Bearer one"
    assert one.it.authorization("b") == "Bearer two"
    assert one.scopes() == [["repository:a:pull,push"], ["repository:b:pull"]]


def test_a_grant_that_asks_for_less(auth: t.Any) -> None:
    one = auth(ME)
    one.grants["a"] = (("pull",), [])
    tokens(one, "one")
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull"]]


def test_the_sources_of_mounts_are_scopes_of_the_same_token(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.grants["a"] = (("pull", "push"), ["b", "c/d"])
    tokens(one, "one")
    # One token for all requests on it, whether they mount or not.
    assert [one.it.authorization("a", source) for source in ("", "b", "c/d", "")] == ["Bearer one"] * 4
    assert one.scopes() == [["repository:a:pull,push", "repository:b:pull", "repository:c/d:pull"]]


@pytest.mark.parametrize("granted", [True, False])
def test_a_source_that_was_not_granted_has_a_token_of_its_own(auth: t.Any, granted: bool) -> None:
    one = auth(ME, ("pull",))
    if granted:
        one.grants["a"] = (("pull", "push"), ["b"])
    tokens(one, "usual", "mount", "other mount")
    assert [one.it.authorization("a", source) for source in ("", "x", "y", "x", "", "y")] == [
        *["Bearer usual", "Bearer mount", "Bearer other mount"],
        *["Bearer mount", "Bearer usual", "Bearer other mount"],
    ]
    usual = ["repository:a:pull,push", "repository:b:pull"] if granted else ["repository:a:pull"]
    assert one.scopes() == [usual, [*usual, "repository:x:pull"], [*usual, "repository:y:pull"]]


@pytest.mark.parametrize("rejected", ["", "x"])
def test_a_rejected_token_of_either_kind_is_dropped(auth: t.Any, rejected: str) -> None:
    one = auth(ME, ("pull", "push"))
    tokens(one, "usual", "mount", "new")
    used = {source: one.it.authorization("a", source) for source in ("", "x")}
    assert one.it.rejected(one.challenge(), "a", used[rejected]) is True
    again = {source: one.it.authorization("a", source) for source in ("", "x")}
    assert again == {**used, rejected: "Bearer new"}


def test_one_value_for_both_tokens_is_dropped_for_both(auth: t.Any) -> None:
    """Some token servers give the same token until it expires."""
    one = auth(ME, ("pull", "push"))
    tokens(one, "same", "same", "new", "newer")
    assert one.it.authorization("a") == one.it.authorization("a", "x") == "Bearer same"
    one.it.rejected(one.challenge(), "a", "Bearer same")
    assert [one.it.authorization("a"), one.it.authorization("a", "x")] == ["Bearer new", "Bearer newer"]


def test_actions_of_a_challenge_are_added_to_those_granted(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.grants["a"] = (("pull", "push"), ["b"])
    tokens(one, "one", "two")
    one.it.rejected(one.challenge("repository:a:pull,push,delete repository:b:pull"), "a", one.it.authorization("a"))
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull,push", "repository:b:pull"], ["repository:a:pull,push,delete", "repository:b:pull"]]


def test_a_server_that_does_not_know_an_action_is_asked_for_the_sources_as_well(auth: t.Any) -> None:
    one = auth(ME)
    one.grants["a"] = (ALL, ["b"])
    one.server.on("GET", "/token", 400, times=2)
    tokens(one, "one")
    assert one.it.authorization("a") == "Bearer one"
    assert one.scopes() == [[f"repository:a:{actions}", "repository:b:pull"] for actions in ("pull,push,delete", "pull,push", "*")]


def test_an_identity_token_is_posted_with_all_scopes(auth: t.Any) -> None:
    one = auth(Login("", "", identity_token="identity"))
    one.grants["a"] = (("pull", "push"), ["b"])
    one.server.on("POST", "/token", 200, {"access_token": "one"})
    assert one.it.authorization("a") == "Bearer one"
    form = dict(urllib.parse.parse_qsl(one.server.requests[0].body.decode()))
    assert form["scope"] == "repository:a:pull,push repository:b:pull"


def test_many_threads_ask_for_one_token_of_each_kind(auth: t.Any) -> None:
    one = auth(ME)
    tokens(one, "one", "two")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda number: one.it.authorization("a", "x" if number % 2 else ""), range(20)))
    assert len(set(found[::2])) == len(set(found[1::2])) == 1
    assert found[0] != found[1]


# -- after a 401 ---------------------------------------------------------------------------------------------------------------


def test_a_rejected_token_is_replaced(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    used = one.it.authorization("a")
    assert one.it.rejected(one.challenge(), "a", used) is True
    assert one.it.authorization("a") == "Bearer two"
    # Another thread that was rejected with the old token gets the new one, and costs no request.
    assert one.it.rejected(one.challenge(), "a", used) is True
    assert one.it.authorization("a") == "Bearer two"


def test_a_rejected_token_of_one_repository_leaves_the_others(auth: t.Any) -> None:
    one = auth(ME)
    for token in ("one", "two", "three"):
        one.server.on("GET", "/token", 200, {"token": token, "expires_in": 300})
    used = one.it.authorization("a")
    assert one.it.authorization("b") == "Bearer two"
    one.it.rejected(one.challenge(), "a", used)
    assert one.it.authorization("b") == "Bearer two"
    assert one.it.authorization("a") == "Bearer three"


@pytest.mark.parametrize("header", ["", "Negotiate"])
def test_a_rejection_without_a_challenge(auth: t.Any, header: str) -> None:
    """gcr.io leaves it out of real requests: what the ping told still counts."""
    one = auth(ME)
    one.server.on("GET", "/token", 200, {"token": "one", "expires_in": 300})
    one.server.on("GET", "/token", 200, {"token": "two", "expires_in": 300})
    assert one.it.rejected(header, "a", one.it.authorization("a")) is True
    assert one.it.authorization("a") == "Bearer two"


def test_actions_of_the_challenge_are_added(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.server.on("GET", "/token", 200, {"token": "one"}, times=2)
    used = one.it.authorization("a")
    one.it.rejected(one.challenge("repository:a:pull,metadata_read"), "a", used)
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull"], ["repository:a:pull,metadata_read"]]


@pytest.mark.parametrize("scope", ["read", "write", "repository:other:pull,admin", "registry:catalog:*"])
def test_junk_in_the_scope_is_not_echoed(auth: t.Any, scope: str) -> None:
    one = auth(None, ("pull",))
    one.it.learn(one.challenge(scope))
    one.server.on("GET", "/token", 200, {"token": "one"}, times=2)
    used = one.it.authorization("a")
    one.it.rejected(one.challenge(scope), "a", used)
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull"]] * 2


def test_a_rejection_of_nothing(http_server: t.Any) -> None:
    """Whether another try is worth it after a request without authorization."""
    for header, login, worth in [
        ('Basic realm="x"', ME, True),
        ('Basic realm="x"', None, False),
        ('Bearer realm="http://127.0.0.1/"', ME, True),
        ('Bearer realm="http://127.0.0.1/"', None, True),
        ("", ME, False),
        ("Negotiate", ME, False),
    ]:
        one = Auth(http_server(), login)
        assert one.it.rejected(header, "a", None) is worth
        one.transport.close()


def test_a_rejected_basic_login_is_not_sent_again(auth: t.Any) -> None:
    one = auth(ME)
    one.it.learn('Basic realm="x"')
    assert one.it.rejected('Basic realm="x"', "a", BASIC) is False
    assert one.it.rejected("", "a", BASIC) is False
    assert one.it.rejected(one.challenge(), "a", BASIC) is True


# -- servers that know other actions ----------------------------------------------------------------------------------------------


def test_delete_that_a_server_does_not_know(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 400, {"error": "Unable to decode repository and actions"})
    one.server.on("GET", "/token", 200, {"token": "t"})
    assert one.it.authorization("a") == "Bearer t"
    assert one.scopes() == [["repository:a:pull,push,delete"], ["repository:a:pull,push"]]


def test_delete_and_push_that_a_server_does_not_know(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 400, times=2)
    one.server.on("GET", "/token", 200, {"token": "t"})
    assert one.it.authorization("a") == "Bearer t"
    assert one.scopes() == [["repository:a:pull,push,delete"], ["repository:a:pull,push"], ["repository:a:*"]]


def test_quay_is_not_asked_for_delete(auth: t.Any) -> None:
    one = auth(ME, registry="quay.io")
    one.server.on("GET", "/token", 200, {"token": "t"})
    one.it.authorization("a")
    assert one.scopes() == [["repository:a:pull,push"]]


@pytest.mark.parametrize(
    ("actions", "scopes"), [(("pull",), ["repository:a:pull"]), (ALL, ["repository:a:pull,push,delete", "repository:a:pull,push", "repository:a:*"])]
)
def test_a_server_that_knows_no_actions_at_all(auth: t.Any, actions: tuple[str, ...], scopes: list[str]) -> None:
    one = auth(ME, actions)
    one.server.on("GET", "/token", 400, times=len(scopes))
    with pytest.raises(RegistryError, match="answered 400") as caught:
        one.it.authorization("a")
    assert caught.value.status == 400
    assert one.scopes() == [[scope] for scope in scopes]


def test_check_mode_never_asks_for_everything(auth: t.Any) -> None:
    one = auth(ME, ("pull",))
    one.server.on("GET", "/token", 400)
    with pytest.raises(RegistryError):
        one.it.authorization("a")
    assert "*" not in str(one.scopes())
    assert "push" not in str(one.scopes())


# -- identity and registry tokens -----------------------------------------------------------------------------------------------------


def test_an_identity_token_is_posted(auth: t.Any) -> None:
    one = auth(Login(identity_token="refresh"))
    one.server.on("POST", "/token", 200, {"access_token": "t"})
    assert one.it.authorization("a/b") == "Bearer t"
    (request,) = one.server.requests
    assert dict(urllib.parse.parse_qsl(request.body.decode())) == {
        "grant_type": "refresh_token",
        "service": "registry.example",
        "scope": "repository:a/b:pull,push,delete",
        "client_id": "gating.containers",
        "refresh_token": "refresh",
    }
    assert (request.authorization, request.headers["Content-Type"], request.query) == (None, "application/x-www-form-urlencoded", [])


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_server_that_takes_no_post_is_asked_by_get(auth: t.Any, status: int) -> None:
    one = auth(Login("me", PASSWORD, "refresh"))
    one.server.on("POST", "/token", status)
    one.server.on("GET", "/token", 200, {"token": "t"})
    assert one.it.authorization("a") == "Bearer t"
    assert one.server.requests[1].authorization == BASIC


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_rejected_identity_token_does_not_make_an_anonymous_request(auth: t.Any, status: int) -> None:
    one = auth(Login(identity_token="refresh"))
    one.server.on("POST", "/token", status)
    with pytest.raises(RegistryError, match=f"answered {status} to the login"):
        one.it.authorization("a")


@pytest.mark.parametrize("status", [307, 308])
def test_an_identity_token_goes_to_no_other_server_by_a_redirect(auth: t.Any, http_server: t.Any, status: int) -> None:
    one, other = auth(Login(identity_token="refresh")), http_server()
    one.server.on("POST", "/token", status, b"", {"Location": f"{other.url}/token"})
    with pytest.raises(RegistryError, match=f"answered {status}"):
        one.it.authorization("a")
    assert other.requests == []


def test_a_registry_token_is_sent_as_it_is(auth: t.Any) -> None:
    one = auth(Login(registry_token="as-it-is"))
    assert one.it.authorization("a") == "Bearer as-it-is"
    one.clock.now += 10**9
    assert one.it.authorization("a") == "Bearer as-it-is"
    assert one.it.clean("as-it-is") == "********"


# -- logins that expire ---------------------------------------------------------------------------------------------------------------


class Changing:
    """Gives another login whenever one was refused, as a credential helper may; the last one for ever."""

    def __init__(self, *logins: Login) -> None:
        self.logins = list(logins)
        self.asked: list[tuple[str, Login | None]] = []

    def __call__(self, repository: str, refused: Login | None) -> Login | None:
        self.asked.append((repository, refused))
        if refused == self.logins[0] and len(self.logins) > 1:
            self.logins.pop(0)
        return self.logins[0]


OTHER = Login("me", "another")
OTHER_BASIC = "Basic " + base64.b64encode(b"me:another").decode()


def changing(auth: t.Any, *logins: Login) -> tuple[Auth, Changing]:
    one = auth(None)
    one.it._find_login = find_login = Changing(*logins)
    return one, find_login


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_the_token_server_refuses_is_looked_up_anew(auth: t.Any, status: int) -> None:
    one, find_login = changing(auth, ME, OTHER)
    one.server.on("GET", "/token", status)
    one.server.on("GET", "/token", 200, {"token": "t"})
    assert one.it.authorization("a") == "Bearer t"
    assert [request.authorization for request in one.server.requests] == [BASIC, OTHER_BASIC]
    assert find_login.asked == [("a", None), ("a", ME)]


def test_the_same_login_is_not_sent_to_the_token_server_again(auth: t.Any) -> None:
    one, find_login = changing(auth, ME)
    one.server.on("GET", "/token", 401)
    with pytest.raises(RegistryError, match="answered 401 to the login 'me'"):
        one.it.authorization("a")
    assert find_login.asked == [("a", None), ("a", ME)]


def test_a_new_login_that_is_refused_too(auth: t.Any) -> None:
    one, dummy = changing(auth, ME, OTHER, Login("me", "third"))
    one.server.on("GET", "/token", 401, {"errors": [{"message": f"not {PASSWORD} and not another"}]}, times=2)
    with pytest.raises(RegistryError, match=r'"not \*\*\*\*\*\*\*\* and not \*\*\*\*\*\*\*\*"'):
        one.it.authorization("a")


def test_a_refresh_token_that_has_expired(auth: t.Any) -> None:
    one, dummy = changing(auth, Login(identity_token="one"), Login(identity_token="two"))
    one.server.on("POST", "/token", 401)
    one.server.on("POST", "/token", 200, {"access_token": "t"})
    assert one.it.authorization("a") == "Bearer t"
    assert [dict(urllib.parse.parse_qsl(request.body.decode()))["refresh_token"] for request in one.server.requests] == ["one", "two"]


@pytest.mark.parametrize("way", ["rejected", "renewed"])
def test_a_basic_login_that_is_refused_is_looked_up_anew(auth: t.Any, way: str) -> None:
    one, find_login = changing(auth, ME, OTHER)
    one.it.learn('Basic realm="x"')

    def refuse(used: str | None) -> bool:
        return bool(one.it.rejected('Basic realm="x"', "a", used) if way == "rejected" else one.it.renewed("a", used))

    assert one.it.authorization("a") == BASIC
    assert refuse(BASIC) is True
    assert one.it.authorization("a") == OTHER_BASIC
    # Another thread, which was refused with the old one, needs no look.
    assert refuse(BASIC) is True
    assert len(find_login.asked) == 2
    assert refuse(OTHER_BASIC) is False


@pytest.mark.parametrize("used", [None, "Bearer t"])
def test_without_a_basic_login_nothing_is_renewed(auth: t.Any, used: str | None) -> None:
    one, find_login = changing(auth, ME, OTHER)
    assert one.it.renewed("a", used) is False
    assert find_login.asked == []


def test_a_login_is_renewed_in_time(auth: t.Any) -> None:
    one = auth(None)
    logins = [Login("me", "one", renew_at=2000.0), Login("me", "two", renew_at=3000.0)]
    one.it._find_login = lambda *dummy: logins.pop(0)
    one.it.learn('Basic realm="x"')
    first = one.it.authorization("a")
    one.clock.now = 1999.0
    assert one.it.authorization("a") == first
    one.clock.now = 2000.0
    assert base64.b64decode(one.it.authorization("a").split()[1]) == b"me:two"
    assert logins == []
    assert one.it.clean("one two") == "******** ********"


# -- refusals ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "status", "words"),
    [
        (ME, 401, ['answered 401 DENIED "no token for ', "\" to the login 'me'", "check username and password for registry.example"]),
        (ME, 403, ["answered 403 DENIED ", "\" to the login 'me'", "check username and password"]),
        (Login(identity_token="refresh"), 401, ['answered 401 DENIED "no token for ********" to the login', "check username and password"]),
        (None, 401, ['answered 401 DENIED "no token" to an anonymous request', "give a login for registry.example in container_registry_credentials"]),
        (None, 403, ["an anonymous request", "give a login"]),
        (ME, 429, ["answered 429", "rate"]),
        (ME, 500, ["answered 500", "try later"]),
        (ME, 404, ["answered 404"]),
    ],
)
def test_a_token_server_that_refuses(auth: t.Any, login: Login | None, status: int, words: list[str]) -> None:
    one = auth(login)
    echo = f"no token for {PASSWORD} {BASIC}" if login and login.password else "no token for refresh" if login else "no token"
    for method in ("GET", "POST"):
        one.server.on(method, "/token", status, {"errors": [{"code": "DENIED", "message": echo}]}, times=None)
    with pytest.raises(RegistryError) as caught:
        one.it.authorization("a/b")
    message = str(caught.value)
    assert message.startswith("registry.example/a/b: ")
    assert [word for word in words if word not in message] == []
    assert [secret for secret in (PASSWORD, BASIC, "refresh ") if secret in message] == []
    assert len(message.splitlines()) == 1
    assert caught.value.status == status


def test_a_refusal_is_not_remembered(auth: t.Any) -> None:
    one = auth(ME)
    one.server.on("GET", "/token", 403)
    one.server.on("GET", "/token", 200, {"token": "t"})
    with pytest.raises(RegistryError):
        one.it.authorization("a")
    assert one.it.authorization("a") == "Bearer t"


def test_everything_that_was_sent_is_known_as_a_secret(auth: t.Any) -> None:
    one = auth(Login("me", PASSWORD, "refresh"))
    one.server.on("POST", "/token", 404)
    one.server.on("GET", "/token", 200, {"token": "bearer"})
    words = f"{PASSWORD} refresh bearer {BASIC.split()[1]} me"
    assert one.it.clean(words) == words
    one.it.authorization("a")
    assert one.it.clean(words) == "******** ******** ******** ******** me"


# -- realms that must not get the login ---------------------------------------------------------------------------------------------------


class Ok:
    status_code = 200

    @staticmethod
    def json() -> dict[str, str]:
        return {"token": "t"}


def ask(base_url: str, realm: str, login: Login | None = ME) -> list[str]:
    """The URLs that are asked for a token."""
    asked: list[str] = []

    def request(method: str, url: str, **dummy: object) -> t.Any:
        asked.append(url)
        return Ok()

    it = Authenticator("registry.example", base_url, lambda *dummy: login, request, ("pull",))
    assert it.learn(f'Bearer realm="{realm}"')
    try:
        assert it.authorization("a") == "Bearer t"
    except RegistryError as exc:
        assert asked == []
        assert "to which no login is sent" in str(exc)
        assert str(exc).startswith("registry.example: it names the token server ")
    return asked


@pytest.mark.parametrize(
    ("base_url", "realm"),
    [
        ("https://registry.example", "https://registry.example/token"),
        ("https://registry.example", "https://auth.example:8443/token?x=y"),
        ("https://registry.example", "https://10.0.0.1/token"),
        ("https://registry.example", "https://localhost.example/token"),
        ("https://registry.example", "https://[2001:db8::1]/token"),
        ("http://registry.example", "http://auth.example/token"),
        ("http://registry.example", "https://auth.example/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://localhost:5000", "http://127.0.0.1:5001/token"),
        ("http://[::1]:5000", "http://localhost:5001/token"),
        ("https://127.0.0.1:5000", "https://auth.example/token"),
    ],
)
def test_a_realm_that_may_get_the_login(base_url: str, realm: str) -> None:
    assert ask(base_url, realm) == [realm]


@pytest.mark.parametrize(
    "realm",
    [
        "http://registry.example/token",
        "http://auth.example/token",
        "HTTP://auth.example/",
        "ftp://auth.example/",
        "file:///etc/passwd",
        "//auth.example/token",
        "/token",
        "token",
    ],
)
@pytest.mark.parametrize("login", [ME, Login(identity_token="refresh"), None])
def test_a_realm_that_is_not_https_gets_no_login_from_https(realm: str, login: Login | None) -> None:
    assert ask("https://registry.example", realm, login) == []


@pytest.mark.parametrize("realm", ["ftp://auth.example/", "file:///etc/passwd", "/token"])
def test_a_realm_that_is_not_http_gets_no_login(realm: str) -> None:
    assert ask("http://registry.example", realm) == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.9.9.9",
        "localhost",
        "localhost:8080",
        "[::1]",
        "[::1]:8080",
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "[::]",
        "user@127.0.0.1",
        "registry.example@127.0.0.1",
        "LOCALHOST",
        "a.localhost",
        "localhost.",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        # Where the host ends: requests looks at 127.0.0.1 in all of them.
        "127.0.0.1?@auth.example",
        "127.0.0.1#@auth.example",
        "127.0.0.1\\\\@auth.example",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_realm_inside_this_machine_gets_no_login_from_outside(scheme: str, host: str) -> None:
    assert ask(f"{scheme}://registry.example", f"{scheme}://{host}/token") == []
