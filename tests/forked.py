"""Real ranks with collectives, in processes forked from the test process, so that nothing is imported again."""

import faulthandler
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback

import torch

from audio_lm.run import session
from audio_lm.run.process_groups import ProcessGroups
from audio_lm.tracking import run as tracking_run
from audio_lm.tracking.mlflow.supervisor import SyncProcess

TIMEOUT = 600  # seconds; only a bound on what hangs, as a busy machine is slow
STACK_SIGNAL = signal.SIGQUIT  # a rank that hangs prints its stack


def _environment(number, count, port):
    return {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }


def _run_rank(number, count, port, work, pipe):
    faulthandler.register(STACK_SIGNAL, file=sys.__stderr__)
    os.environ |= _environment(number, count, port)
    # A fork has no threads of its parent, and its OpenMP would wait for them: one thread, also where a rank that
    # evaluates alone takes all cores.
    torch.set_num_threads(1)
    session.num_cores = lambda: 1
    # MLflow of the parent may hold locks, which nobody releases in a fork.
    tracking_run.SyncProcess = SyncProcess
    try:
        pipe.send(work(number))
    except BaseException:
        traceback.print_exc()
        pipe.close()
        os._exit(1)  # without exit handlers, which would wait for ranks that are gone


def on_ranks(count, work, *, may_die=False, timeout=TIMEOUT):
    """Run ``work(rank)`` in ``count`` processes; returns the results, None for a rank that died.

    Args:
        may_die: a rank may die; otherwise its death fails the test.
        timeout: seconds after which the work counts as hung.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [
        context.Process(target=_run_rank, args=(number, count, port, work, pipes[number][1]))
        for number in range(count)
    ]
    for process, (_, send) in zip(processes, pipes, strict=True):
        process.start()
        send.close()
    try:
        results = [
            _receive(pipe, process, timeout) for process, (pipe, _) in zip(processes, pipes, strict=True)
        ]
        for process in processes:
            process.join(TIMEOUT)
    finally:
        for process in processes:
            process.kill()
    exit_codes = [process.exitcode for process in processes]
    assert may_die or exit_codes == [0] * count, "a rank died; its error is printed above"
    return results


def in_parallel(count, work, *, timeout=TIMEOUT):
    """Run ``work(number)`` in ``count`` processes without a process group; returns the results.

    The errors of all processes are raised together.

    Args:
        timeout: seconds after which the work counts as hung.
    """

    def run_alone(number):
        for name in _environment(0, 0, 0):
            os.environ.pop(name)
        try:
            return work(number), ""
        except BaseException:  # the output of a forked process may be lost
            return None, traceback.format_exc()

    results = on_ranks(count, run_alone, timeout=timeout)
    errors = [error for _, error in results if error]
    assert not errors, "\n".join(errors)
    return [result for result, _ in results]


def _receive(pipe, process, timeout):
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if pipe.poll(0.1):
            try:
                return pipe.recv()
            except EOFError:
                return None
    os.kill(process.pid, STACK_SIGNAL)
    process.join(1)
    raise AssertionError(f"rank {process.name} sent no result in {timeout} s")


def killed_after(num_calls, work):
    """Run ``work`` and kill this process at its n-th function call, which does not depend on the machine's speed."""
    left = num_calls

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    work()


def together(work):
    """Wrap work in a process group of all ranks, as ``train`` creates it."""

    def grouped(number):
        with ProcessGroups("cpu"):
            return work(number)

    return grouped
