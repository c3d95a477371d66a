"""Send prepared requests with `wrk`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.requests import Request

CONNECTIONS = 16

# The file contains each request, preceded by a line with its length.
_SCRIPT = """
local requests, turn = {}, 0
local list = io.open("%s", "rb")
while true do
    local length = list:read("*n")
    if not length then break end
    list:read(1)
    requests[#requests + 1] = list:read(length)
end
request = function()
    turn = turn + 1
    return requests[(turn - 1) %% #requests + 1]
end
done = function(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT [%%d, %%d, %%d, %%d, %%d]", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """The result of a run. Latencies are in milliseconds; `failed` counts statuses from 400 and missing responses."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def send(port: int, requests: Sequence[Request], seconds: int, connections: int = CONNECTIONS) -> Load:
    """Send the requests repeatedly, in order; each connection waits for its response."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is required: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="tessera-load-") as folder:
        script, listed = Path(folder, "requests.lua"), Path(folder, "requests")
        listed.write_bytes(b"".join(b"%d\n%b" % (len(raw), raw) for raw in (one.serialise(port) for one in requests)))
        script.write_text(_SCRIPT % listed)
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return parse(output)


def parse(output: str) -> Load:
    """Parse the line that the script prints at the end; its times are in microseconds."""
    found = re.search(r"RESULT (\[.*\])", output)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {output}")
    requests, duration, p50, p99, failed = json.loads(found[1])
    return Load(requests, duration / 1e6, p50 / 1e3, p99 / 1e3, failed)
