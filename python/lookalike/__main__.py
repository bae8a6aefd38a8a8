"""The program `lookalike`: `python -m lookalike train photos --out photos.safetensors`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the program with the arguments of this process.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong usage.
    """
    from ._lookalike import run_program

    # Python would only note an interruption and look at it when the program has ended. The program
    # sets handlers of its own where it can end in order.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    return run_program(["lookalike", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
