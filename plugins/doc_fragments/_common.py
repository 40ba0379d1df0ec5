# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection: it may change at any time.

"""What the modules' documentation shares."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments."""

    # Every module has an action of its name.
    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.9 or newer and C(requests) on the host on which the module runs
notes:
  - When the connection of the task is local, the work is done in the process of the task, on the controller; over any
    other connection it is done on the host.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  action:
    description: There is an action of the same name, which does the work itself when the connection of the task is local.
    support: full
  idempotent:
    description: When run twice in a row, the second run changes nothing.
    support: full
"""

    LIMITS = r"""
options:
  parallel:
    description: How many requests may be under way at one registry.
    type: int
    default: 8
  timeout:
    description: Seconds to wait for a connection, and for each part of an answer.
    type: int
    default: 60
  retries:
    description:
      - How often a request is made again when it failed in a way that may pass, such as a broken connection or one of the statuses
        408, 425, 429 and 5xx.
      - The pauses grow, unless the registry says how long to wait. If that is more than five minutes, it is an error.
    type: int
    default: 5
"""

    CLIENT = r"""
options:
  credentials:
    description:
      - How to reach registries, and as whom. Keys are names of registries, with their port if any, such as V(quay.io) or
        V(localhost:5000).
      - Values are dictionaries with C(username) and C(password); C(repository), a regular expression that the name of a
        repository, registry included, must match (searched) to be written to; C(scheme) (V(https) or V(http)),
        C(tls_verify), C(ca_cert) (PEM text or a path), C(client_cert), C(client_key); C(type), C(api_url) and C(api_token).
      - For Amazon ECR the login is an AWS access key and its secret, with C(api_token) for the session token of temporary ones, or none, for
        the AWS credentials of the machine; that needs C(botocore). For Azure Container Registry C(api_token) may be an access token of
        Microsoft Entra ID, instead of a login.
      - A registry without an entry is reached with the login that the auth files of podman and docker or their
        credential helpers have, else anonymously. If there are entries at all, nothing is written to a registry without one.
      - A registry on the loopback interface without a C(scheme) is tried by https, then by http.
    type: dict
    default: {}
"""
