"""Processes made from one that has imported everything, so that a test costs no start of Python."""

import os
import signal
import sys
import traceback


def forked(work):
    """Run something in a child and return its process id; it ends with 0, or with 1 and its traceback."""
    process_id = os.fork()
    if process_id:
        return process_id
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def ended(process_id):
    """How a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
