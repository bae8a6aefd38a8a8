"""Running one contestant: what it printed, how long it took, how much memory it had."""
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

# ru_maxrss is in KiB, but on macOS in bytes.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class Outcome:
    """What a process that succeeded left behind."""

    output: str
    seconds: float
    peak_bytes: int
    others: float  # share of the machine's processor time that went elsewhere meanwhile; 0 if unknown


class Failed(Exception):
    """A process that did not; the text says why."""


def run(command, environment, limit, cwd):
    """Runs `command` to its end, at most `limit` seconds; raises Failed if it does not succeed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        busy = busy_seconds()
        start = time.perf_counter()
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                     env=environment, cwd=cwd, start_new_session=True)
        except OSError as error:
            raise Failed(str(error)) from None
        late = threading.Event()

        def stop():
            late.set()
            end(child)

        timer = threading.Timer(limit, stop)
        timer.daemon = True
        timer.start()
        try:
            # Of this child alone: getrusage(RUSAGE_CHILDREN) is the largest of all so far.
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            end(child)
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - start
        elsewhere = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
        others = max(0.0, elsewhere) / (seconds * (os.cpu_count() or 1))
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if late.is_set():
            raise Failed(f"not done after {limit} s")
        if child.returncode:
            raise Failed(last_line(err.read()) or f"exit code {child.returncode}")
        return Outcome(out.read().decode(errors="replace"), seconds, usage.ru_maxrss * RSS_UNIT, others)


def busy_seconds():
    """Processor time spent since the machine began, by everybody (and, in a virtual machine, by its
    neighbours in our stead); 0 where there is no /proc/stat."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def end(child):
    """Ends the child and what it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def last_line(text):
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
