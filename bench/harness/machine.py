"""The machine, in the words that a figure needs beside it."""
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from . import setup

# What decides how fast such programs can be.
SIMD = ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16",
        "asimd", "asimdhp", "bf16", "sve", "sve2"]


def describe(python):
    """A dict, in the order of reading."""
    cpu = cpu_info()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "lookalike": commit(),
        "processor": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "SIMD": " ".join(flag for flag in SIMD if flag in cpu.get("flags", cpu.get("Features", "")).split()),
        "memory": memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "rustc": said(["rustc", "--version"]),
        "python": said([str(python), "--version"]) or platform.python_version(),
        "peers": versions(python),
        "load before": load(),
    }


def load():
    """How many processes wanted a core in the last minute, before we did."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def busy():
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.2 * (os.cpu_count() or 1)


def cpu_info():
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {"model name": said(["sysctl", "-n", "machdep.cpu.brand_string"])}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def memory():
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        return "unknown"


def commit():
    name = said(["git", "describe", "--always", "--dirty"]) or "no git"
    version = re.search(r'^version = "(.*)"', (setup.ROOT / "Cargo.toml").read_text(), re.M)
    return f"{version.group(1) if version else '?'} ({name})"


def versions(python):
    """The installed versions of what requirements.txt asks for."""
    names = [line.split("==")[0] for line in setup.requirements()]
    ask = ("import sys, importlib.metadata as m\n"
           "for n in sys.argv[1:]:\n"
           "    try: print(n, m.version(n))\n"
           "    except m.PackageNotFoundError: print(n, 'missing')")
    return ", ".join(said([str(python), "-c", ask, *names]).splitlines()) or "missing"


def said(command):
    try:
        return subprocess.run(command, cwd=setup.ROOT, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
