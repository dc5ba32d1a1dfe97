"""Ranks as forked processes, so that many scenarios pay once for the imports."""

import multiprocessing
import os
import queue
import socket
import traceback

import torch

from audio_lm.run.ranks import Ranks

MOST_SECONDS = 600


def _in_a_rank(number, num_ranks, port, work, answers):
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)  # threads of the process it was forked from are not there
    try:
        with Ranks("cpu"):
            answers.put((number, work(number), None))
    except BaseException:
        answers.put((number, None, traceback.format_exc()))
        raise


def on_ranks(num_ranks, work):
    """What ``work(rank)`` gives on each of so many processes, all of which have to come to their end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    running = [
        context.Process(target=_in_a_rank, args=(number, num_ranks, port, work, answers))
        for number in range(num_ranks)
    ]
    for one in running:
        one.start()
    try:
        found = dict(_answer_of(running, answers) for _ in running)
        for one in running:
            one.join(MOST_SECONDS)
        assert [one.exitcode for one in running] == [0] * num_ranks
    finally:
        for one in running:
            one.kill()
    return [found[number] for number in range(num_ranks)]


def _answer_of(running, answers):
    for _ in range(MOST_SECONDS):
        try:
            number, answer, error = answers.get(timeout=1)
        except queue.Empty:
            assert not any(one.exitcode for one in running), "a rank died"
            continue
        assert error is None, f"rank {number}:\n{error}"
        return number, answer
    raise AssertionError(f"no answer in {MOST_SECONDS} s")
