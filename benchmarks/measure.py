"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used with all its threads, in seconds; counted in steps of 10 ms."""
    # The name, in brackets, may hold spaces; `utime` and `stime` are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def peak_memory(pid: int) -> float:
    """The most memory that a process has held at once (resident set), in MB of 10^6 bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6
