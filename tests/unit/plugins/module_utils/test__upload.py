# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of what podman is told of a registry."""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
from ansible_collections.gating.containers.plugins.module_utils._credentials import Access, Login
from ansible_collections.gating.containers.plugins.module_utils._upload import tool_options

PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"


def options_of(tmp_path: pathlib.Path, registry: str = "quay.io", **more: t.Any) -> list[str]:
    return tool_options(Access(registry, **more), tmp_path)


def test_a_login_is_in_a_private_file_and_not_among_the_arguments(tmp_path: pathlib.Path) -> None:
    options = options_of(tmp_path, login=Login("me", "s3cr3t"))
    path = pathlib.Path(options[options.index("--authfile") + 1])
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"auths": {"quay.io": {"auth": base64.b64encode(b"me:s3cr3t").decode()}}}
    assert "s3cr3t" not in " ".join(options)


def test_without_a_login_the_tool_uses_its_own(tmp_path: pathlib.Path) -> None:
    assert options_of(tmp_path) == []


@pytest.mark.parametrize(
    ("registry", "more", "verified"),
    [
        ("quay.io", {}, True),
        ("quay.io", {"tls_verify": False}, False),
        ("quay.io", {"scheme": "http"}, False),
        ("localhost:5000", {}, False),
        ("127.0.0.1:5000", {}, False),
        ("localhost:5000", {"scheme": "https"}, True),
        ("localhost:5000", {"ca_cert": PEM}, True),
    ],
)
def test_tls_is_verified_but_on_loopback(tmp_path: pathlib.Path, registry: str, more: dict[str, t.Any], verified: bool) -> None:
    assert ("--tls-verify=false" not in options_of(tmp_path, registry, **more)) is verified


def test_certificates_are_files_of_the_names_that_podman_looks_for(tmp_path: pathlib.Path) -> None:
    given = tmp_path / "given.pem"
    given.write_text("from a file")
    private = tmp_path / "private"
    private.mkdir()
    options = options_of(private, ca_cert=PEM, client_cert=str(given), client_key=PEM.replace("CERTIFICATE", "PRIVATE KEY"))
    directory = pathlib.Path(options[options.index("--cert-dir") + 1])
    assert sorted(path.name for path in directory.iterdir()) == ["ca.crt", "client.cert", "client.key"]
    assert (directory / "ca.crt").read_text() == PEM
    assert (directory / "client.cert").read_text() == "from a file"
    assert (directory / "client.key").stat().st_mode & 0o777 == 0o600
