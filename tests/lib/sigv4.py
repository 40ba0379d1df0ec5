# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWS does with the signature of a request ("Signature Version 4 signing process"), worked out without botocore."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import typing as t
import urllib.parse

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def signature(method: str, target: str, headers: t.Mapping[str, str], names: t.Sequence[str], body: bytes, secret: str, scope: tuple[str, str, str]) -> str:
    """The signature that a request must have.

    :param headers: by their names in lower case.
    :param names: of those that are signed, in order.
    :param scope: day, region and service.
    """
    path, dummy, query = target.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [
            method,
            urllib.parse.quote(path or "/", safe="/-_.~"),
            "&".join(f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}" for name, value in pairs),
            *(f"{name}:{re.sub(' +', ' ', headers[name].strip())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    day, region, service = scope
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], f"{day}/{region}/{service}/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def verify(method: str, target: str, headers: t.Mapping[str, str], body: bytes, secrets: t.Mapping[str, str], region: str, service: str) -> str:
    """What is wrong with a request, an empty text if nothing is.

    :param headers: by their names in lower case, as they came.
    :param secrets: access key ID to secret access key.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if not found:
        return "IncompleteSignatureException"
    key, day, for_region, for_service, signed, given = found.groups()
    names = signed.split(";")
    if key not in secrets:
        return "UnrecognizedClientException"
    if (for_region, for_service) != (region, service):
        return f"Credential should be scoped to {region}/{service}"
    needed = {"host", *(name for name in headers if name.startswith("x-amz-"))} | ({"content-type"} & set(headers))
    if names != sorted(names) or not needed <= set(names) or not set(names) <= set(headers):
        return f"these headers are to be signed: {sorted(needed)}"
    moment = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if abs((datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds()) > 300 or day != headers["x-amz-date"][:8]:
        return "Signature expired"
    right = signature(method, target, headers, names, body, secrets[key], (day, region, service))
    return "" if hmac.compare_digest(right, given) else "InvalidSignatureException"
