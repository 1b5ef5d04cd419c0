"""What the Python driver programs share: naming scenarios, running them, saying how they went.

Each scenario prints `ok NAME` or `FAIL NAME: why`; a program ends with 1 when any failed.
A scenario that takes longer than TIMEOUT seconds has failed: a hang is a result, not a wait.
"""

import inspect
import signal
import sys
import traceback
import asyncio

TIMEOUT = 60
_scenarios = []


def scenario(function):
    _scenarios.append(function)
    return function


def check(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {shorten(expected)}, got {shorten(actual)}")


def shorten(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def _too_long(_signal, _frame):
    raise TimeoutError(f"not done after {TIMEOUT} s")


def _run(function):
    if inspect.iscoroutinefunction(function):
        asyncio.run(asyncio.wait_for(function(), TIMEOUT))
        return
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(TIMEOUT)
    try:
        function()
    finally:
        signal.alarm(0)


def main(version):
    """Runs the scenarios named on the command line, or all, and exits."""
    print(f"version {version}", flush=True)
    wanted = sys.argv[1:]
    failed = 0
    for function in _scenarios:
        name = function.__name__
        if wanted and name not in wanted:
            continue
        try:
            _run(function)
            print(f"ok {name}", flush=True)
        except (Exception, asyncio.CancelledError) as error:
            failed += 1
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"FAIL {name}: {why}", flush=True)
            traceback.print_exc(file=sys.stderr)
    sys.exit(1 if failed else 0)
