"""Ranks that really talk to each other, in processes forked from the one that has imported everything."""

import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback

import torch

from audio_lm.run.process_groups import ProcessGroups

MOST_SECONDS = 600  # a bound on what hangs; a busy machine takes its time


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


def _in_a_rank(number, count, port, work, answer):
    os.environ |= _environment(number, count, port)
    torch.set_num_threads(1)  # threads of the process it was forked from are not there
    try:
        answer.send(work(number))
    except BaseException:
        traceback.print_exc()
        answer.close()
        os._exit(1)  # no waiting at exit for ranks that are gone


def on_ranks(count, work, *, may_die=False):
    """What ``work(rank)`` gives on each of some processes; none for one that died, where that may happen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    running = [
        context.Process(target=_in_a_rank, args=(number, count, port, work, pipes[number][1]))
        for number in range(count)
    ]
    for one, (_, send) in zip(running, pipes, strict=True):
        one.start()
        send.close()
    try:
        answers = [_answer(receive, one) for one, (receive, _) in zip(running, pipes, strict=True)]
        for one in running:
            one.join(MOST_SECONDS)
    finally:
        for one in running:
            one.kill()
    assert may_die or [one.exitcode for one in running] == [0] * count, "a rank died; its error stands above"
    return answers


def in_parallel(count, work):
    """What ``work(number)`` gives in each of some processes that are no ranks; errors of all of them in one."""

    def alone(number):
        for name in _environment(0, 0, 0):
            os.environ.pop(name)
        try:
            return work(number), ""
        except BaseException:  # the output of a forked process may be captured, and lost
            return None, traceback.format_exc()

    answers = on_ranks(count, alone)
    errors = [error for _, error in answers if error]
    assert not errors, "\n".join(errors)
    return [answer for answer, _ in answers]


def _answer(receive, process):
    until = time.monotonic() + MOST_SECONDS
    while time.monotonic() < until:
        if receive.poll(0.1):
            try:
                return receive.recv()
            except EOFError:
                return None
    raise AssertionError(f"rank {process.name} said nothing in {MOST_SECONDS} s")


def killed_after(num_calls, work):
    """Work, and be killed at the start of such a call of a function, however fast the machine is."""
    left = num_calls

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    work()


def together(work):
    """The same work inside a group of all ranks, as ``train`` opens one."""

    def grouped(number):
        with ProcessGroups("cpu"):
            return work(number)

    return grouped
