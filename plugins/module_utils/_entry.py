# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time.

"""How a module, or the action of its name, runs one of the collection's operations."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import traceback
import typing as t

from ansible.module_utils.basic import (
    AnsibleModule,
    missing_required_lib,
)
from ansible.module_utils.common.parameters import (
    remove_values,
)
from ansible_collections.gating.containers.plugins.module_utils._client import (
    Client,
)
from ansible_collections.gating.containers.plugins.module_utils._command import (
    allow,
    stop_all,
)
from ansible_collections.gating.containers.plugins.module_utils._credentials import (
    Credentials,
    secrets_of,
)
from ansible_collections.gating.containers.plugins.module_utils._errors import (
    ContainersError,
    InputError,
)
from ansible_collections.gating.containers.plugins.module_utils._transport import (
    REQUESTS_IMPORT_ERROR,
)

# Values that need not be secret, such as those of a build's environment, are none with fewer characters ("1", "chroot"), and
# would be found in every name.
_SHORT = 8
# What is no secret of Zuul's own registries.
_PUBLIC = ("host", "port", "username", "cert", "scheme")


@dataclasses.dataclass(frozen=True)
class Entry:
    """An operation: its arguments, and the function that runs it.

    :param arguments: an Ansible argument spec.
    :param run: gets the checked parameters and whether this is check mode, returns the result; raises
        ``ContainersError`` when it fails.
    """

    arguments: t.Mapping[str, t.Any]
    run: t.Callable[[t.Mapping[str, t.Any], bool], dict[str, t.Any]]


def client_arguments() -> dict[str, t.Any]:
    """The arguments of every operation that speaks to a registry; those of ``open_client``."""
    return {
        "credentials": {"type": "dict", "default": {}, "no_log": True},
        "parallel": {"type": "int", "default": 8},
        "timeout": {"type": "int", "default": 60},
        "retries": {"type": "int", "default": 5},
    }


@contextlib.contextmanager
def open_client(params: t.Mapping[str, t.Any], credentials: Credentials, actions: t.Sequence[str]) -> t.Iterator[Client]:
    """A client from the parameters of ``client_arguments``; an error inside gets the number of requests into its result.

    :param actions: what is to be done at registries, see ``Client``.
    :raises InputError: a number is out of its range.
    """
    for name, least in (("parallel", 1), ("timeout", 1), ("retries", 0)):
        if params[name] < least:
            raise InputError(f"{name} is to be at least {least}, not {params[name]}")
    options = {name: params[name] for name in ("parallel", "timeout", "retries")}
    with Client(credentials, actions, **options) as client:
        try:
            yield client
        except ContainersError as exc:
            exc.result["requests"] = client.requests
            raise


def execute(entry: Entry, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Run an operation and return its result, in which nothing is secret. It fails by ``failed`` in the result.

    It does not raise: ansible-core would print the exceptions that an error comes from.
    """
    # What is part of an image's name or of its other keys is no secret, and must stay readable.
    public = str(params.get("images"))
    environment = {str(value) for value in params.get("env", {}).values()}
    secrets = secrets_of(params.get("credentials")) | {value for value in environment if len(value) >= _SHORT and value not in public}
    for name in ("buildset_registry", "intermediate_registry"):
        given = (params.get(name) or {}).items()
        secrets |= secrets_of([value for key, value in given if key == "password" or (key not in _PUBLIC and len(str(value)) >= _SHORT)])
    if REQUESTS_IMPORT_ERROR is not None:
        return {"failed": True, "msg": missing_required_lib("requests"), "exception": REQUESTS_IMPORT_ERROR}
    # For a process whose own handler of a signal lets it go on.
    result: dict[str, t.Any] = {"changed": False, "failed": True, "msg": "interrupted"}
    try:
        with _orderly_end():
            result = entry.run(params, check_mode)
    except ContainersError as exc:
        result = {"changed": False, **exc.result, "failed": True, "msg": str(exc)}
    except Exception as exc:
        # A bug. What Ansible would print of it is not free of secrets.
        message = f"gating.containers has a bug, please report it: {type(exc).__name__}: {exc}"
        result = {"changed": False, "failed": True, "msg": message, "exception": traceback.format_exc()}
    return t.cast("dict[str, t.Any]", remove_values(result, secrets))


class _Interrupted(BaseException):
    """A signal came."""


@contextlib.contextmanager
def _orderly_end() -> t.Iterator[None]:
    """Let a signal end the process only after what is under way has removed its files: logins, copies of siblings.

    ansible-core's workers would end at once, and so would a module.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    allow()

    def handle(number: int, dummy: t.Any) -> None:
        # A second one must not disturb the cleaning up.
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        received.append(number)
        stop_all()
        raise _Interrupted()

    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.getsignal(number) for number in signals if signal.getsignal(number) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    except _Interrupted:
        pass
    finally:
        # One that comes now is for who was there before.
        signal.pthread_sigmask(signal.SIG_BLOCK, before)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        if received:
            os.kill(os.getpid(), received[0])


def run_module(entry: Entry) -> None:
    """Be the module of an operation."""
    module = AnsibleModule(argument_spec=dict(entry.arguments), supports_check_mode=True)
    params = dict(module.params)
    for name, argument in entry.arguments.items():
        if argument.get("no_log"):
            module.params[name] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    # "execute" takes out what is secret. To hide all values of the credentials, as no_log does, would put asterisks in
    # place of user names and schemes into the names of images.
    module.no_log_values = set()
    result = execute(entry, params, module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 tag", "2 tags"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
