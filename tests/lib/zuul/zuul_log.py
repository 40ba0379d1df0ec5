# Copyright (c) 2026, gating.containers contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Zuul's callback does for its log: a logger of its own, which writes the job's output as it comes."""

from __future__ import annotations

import logging
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """The callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "zuul_log"

    def __init__(self) -> None:
        super().__init__()
        logger = logging.getLogger("zuul.executor.ansible.stream")
        logger.addHandler(logging.FileHandler(os.environ["ZUUL_JOB_LOG_CONFIG"]))
        logger.setLevel(logging.DEBUG)
