"""Every metric on random clips: split into batches, distributed over ranks, and combined by torchmetrics."""

import pickle
from math import log
from zlib import crc32

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import Metric

from audio_lm.common.errors import DataError
from audio_lm.metrics.choices import ChoiceReference
from audio_lm.metrics.closed import ClosedScores
from audio_lm.metrics.registry import METRICS as ALL
from tests.forked import on_ranks, together

METRICS = {name: row for name, row in ALL.items() if not row.needs_program}

PIECES = [
    *(
        "one",
        "two three",
        "don't",
        "Yes.",
        "no",
        "yes",
        "<sc>",
        "<|0.00|>",
        "<|0.37|>",
        "<|1.07|>",
        "\n",
        ",",
    ),
    *(
        "0.00-1.07 beep",
        "0.37-2.10 hum",
        "speaker 1",
        "今天",
        "오늘",
        "<|en|>",
        "age: twenties",
        "forties",
        "a: b",
    ),
    *("[Ada: person]", "pitch 60", "velocity 96", "instrument organ", "qualities bright, dark", "\ud800"),
    *("<|startofword|>beep<|endofword|><|0.00|><|0.37|>", "<|0.00|>she<|0.37|>sells<|1.07|>"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map(" ".join)
clips = st.tuples(texts, texts, st.sampled_from(["en", "zh", "ko", "unknown"]))
CLIPS = [
    ("one two", "one two three", "en"),
    ("yes", "no", "en"),
    ("", "yes", "zh"),
    ("forties", "age: twenties", "en"),
]


def updated(name, batches):
    """Metric updated with batches of clips."""
    metric = METRICS[name].build()
    for batch in batches:
        metric.update(*inputs_of(name, batch))
    return metric


def inputs_of(name, batch):
    """Answers, references and languages of clips, as a metric takes them."""
    answers, references, languages = ([clip[field] for clip in batch] for field in range(3))
    if METRICS[name].needs_choices:
        texts = [reference or "none" for reference in references]
        places = [crc32(repr(clip).encode()) for clip in batch]  # no two different clips at one position
        references = [
            ChoiceReference(text, (text, "other", "else"), place)
            for text, place in zip(texts, places, strict=True)
        ]
    if METRICS[name].reads_logprobs:
        shares = [(1 + crc32(repr(answer).encode()) % 100) / 102 for answer in answers]
        answers = [ClosedScores(("yes", "no"), (log(share), log(1 - share))) for share in shares]
        references = [("yes", "no")[len(reference) % 2] for reference in references]
    return answers, references, languages


def value_of(metric):
    """Value as a hexadecimal float, to compare all bits, or the error message."""
    try:
        value = metric.compute()
    except DataError as error:
        return str(error)
    assert value.dtype == torch.float64
    return float(value).hex()


def value_after_sync(ranks):
    """Value on rank 0 after torchmetrics' synchronization, with a simulated network."""
    states = []

    def compute_with(metric, sync):
        copy = metric.clone()
        copy.distributed_available_fn = lambda: True
        copy.dist_sync_fn = sync
        return value_of(copy)

    for metric in ranks:
        compute_with(metric, lambda state, group: states.append(state) or [state])
    return compute_with(ranks[0], lambda state, group: states)


def value_after_merge(ranks):
    first, *others = ranks
    for metric in others:
        first.merge_state(metric)
    first.update([], [], [])
    return value_of(first)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25)
@given(data=st.data())
def test_batches_and_ranks_in_any_order_give_identical_values(name, data):
    drawn = data.draw(st.lists(clips, min_size=1, max_size=12))
    expected = value_of(updated(name, [drawn]))
    shuffled = data.draw(st.permutations(drawn))
    num_ranks = data.draw(st.integers(1, 3))
    batches = [[[] for _ in range(2)] for _ in range(num_ranks)]
    for clip in shuffled:
        batches[data.draw(st.integers(0, num_ranks - 1))][data.draw(st.integers(0, 1))].append(clip)
    ranks = [updated(name, rank_batches) for rank_batches in batches]
    assert value_after_sync(ranks) == expected
    assert value_after_merge(ranks) == expected


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", METRICS)
def test_a_rank_without_batches_changes_nothing(name):
    expected = value_of(updated(name, [CLIPS]))
    for ranks in ([[], [CLIPS]], [[CLIPS], []]):
        assert value_after_sync([updated(name, batches) for batches in ranks]) == expected


def test_two_processes_compute_the_value_of_one():
    """With torchmetrics' synchronization over gloo; in one case the last rank has no clips."""

    def values(rank):
        clips_of_case = {"split": CLIPS[rank::2], "on rank 0": CLIPS if rank == 0 else []}
        return {
            (name, case): value_of(updated(name, [batch] if batch else []))
            for name in METRICS
            for case, batch in clips_of_case.items()
        }

    cases = ("split", "on rank 0")
    expected = {(name, case): value_of(updated(name, [CLIPS])) for name in METRICS for case in cases}
    assert on_ranks(2, together(values)) == [expected] * 2


@pytest.mark.parametrize("row", METRICS.values(), ids=lambda row: row.name)
def test_every_metric_is_a_torchmetrics_metric(row):
    metric = row.build(sync_on_compute=False)
    assert isinstance(metric, Metric)
    assert metric.check(["en"]) is None
    first = value_of(updated(row.name, [CLIPS]))
    metric.update(*inputs_of(row.name, CLIPS))
    assert value_of(pickle.loads(pickle.dumps(metric))) == value_of(metric.clone()) == first
    metric.reset()
    metric.update(*inputs_of(row.name, CLIPS[:1]))
    assert value_of(metric) == value_of(updated(row.name, [CLIPS[:1]]))


def test_answers_and_references_of_different_number_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        METRICS["wer"].build().update(["one"], ["one", "two"], ["en"])


def test_counts_of_many_clips_are_exact():
    """Counts beyond the exact range of single precision, in which torchmetrics' own metrics sum."""
    metric = updated("acc", [[("a", "a", "en")]])
    metric.sums += torch.tensor([2**25 - 1, 2**25 - 1])
    metric.update(["a"], ["b"], ["en"])
    assert float(metric.compute()) == 2**25 / (2**25 + 1) != 1.0
