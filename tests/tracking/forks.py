"""Forked child processes: they share the imports of the test, so that starting them is fast."""

import os
import signal
import sys
import traceback


def forked(function):
    """Run a function in a child and return its process id; the exit code is 0, or 1 after a traceback."""
    process_id = os.fork()
    if process_id:
        return process_id
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        function()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def exit_code_of(process_id):
    """Wait for a child; returns its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
