"""CPU time and memory of processes, as counted by the kernel."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


def busy_share(seconds: float) -> float:
    """Return the share of all processors in use over this period, from 0 to 1."""

    def read() -> tuple[int, int]:
        # user, nice, system, idle, iowait, irq, softirq, steal
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = read()
    time.sleep(seconds)
    total, idle = read()[0] - total, read()[1] - idle
    return 1 - idle / max(1, total)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its threads, in seconds, with a resolution of 10 ms."""
    # The name in brackets may contain spaces; `utime` and `stime` are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def reset_peak_memory(pid: int) -> None:
    """Reset `peak_memory`, so that it excludes the start of the process."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc_pid_clear_refs(5)


def peak_memory(pid: int) -> float:
    """Return the peak resident set size of a process, in MB of 10^6 bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def backend_cpu_seconds(server: int, role: str) -> float:
    """Return the CPU time of a PostgreSQL server's open connections of a role."""
    title, total = f"postgres: {role} ".encode(), 0.0
    for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # a process that has ended meanwhile
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title):
                total += cpu_seconds(int(pid))
    return total
