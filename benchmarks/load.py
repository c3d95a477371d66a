"""Requests, and `wrk` to send them."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16

# Reads requests that are written out in full, each after a line with its length, and sends them in turn.
_SCRIPT = """
local requests, turn = {}, 0
for file in io.lines("%(list)s") do end
local file = io.open("%(list)s", "rb")
while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
end
request = function()
    turn = turn %% #requests + 1
    return requests[turn]
end
done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
    io.write(string.format('\\nRESULT [%%d, %%d, %%d, %%d, %%d]\\n', summary.requests, summary.duration,
             latency:percentile(50), latency:percentile(99), failed))
end
"""
