"""Every metric, on whatever clips: cut into batches, dealt out to ranks, and put together by torchmetrics."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import Metric

from audio_lm.common.errors import DataError
from audio_lm.metrics.registry import METRICS
from tests.forked import on_ranks, together

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


def filled(name, batches):
    """The metric after some batches of clips."""
    metric = METRICS[name].build()
    for batch in batches:
        metric.update(*(zip(*batch, strict=True) if batch else ([], [], [])))
    return metric


def value_of(metric):
    """The value bit by bit, or why there is none."""
    try:
        value = metric.compute()
    except DataError as error:
        return str(error)
    assert value.dtype == torch.float64
    return float(value).hex()


def synced(ranks):
    """What the first rank has after torchmetrics' own gathering, the network left out."""
    gathered = []

    def exchange(metric, others):
        copy = metric.clone()
        copy.distributed_available_fn = lambda: True
        copy.dist_sync_fn = others
        return value_of(copy)

    for metric in ranks:
        exchange(metric, lambda state, group: gathered.append(state) or [state])
    return exchange(ranks[0], lambda state, group: gathered)


def merged(ranks):
    first, *others = ranks
    for metric in others:
        first.merge_state(metric)
    first.update([], [], [])
    return value_of(first)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25)
@given(data=st.data())
def test_batches_and_ranks_in_any_order_add_up_exactly(name, data):
    whole = data.draw(st.lists(clips, min_size=1, max_size=12))
    expected = value_of(filled(name, [whole]))
    dealt = data.draw(st.permutations(whole))
    num_ranks = data.draw(st.integers(1, 3))
    batches = [[[] for _ in range(2)] for _ in range(num_ranks)]
    for clip in dealt:
        batches[data.draw(st.integers(0, num_ranks - 1))][data.draw(st.integers(0, 1))].append(clip)
    ranks = [filled(name, of_rank) for of_rank in batches]
    assert synced(ranks) == expected
    assert merged(ranks) == expected


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", METRICS)
def test_a_rank_without_a_single_batch_adds_nothing(name):
    expected = value_of(filled(name, [CLIPS]))
    for ranks in ([[], [CLIPS]], [[CLIPS], []]):
        assert synced([filled(name, batches) for batches in ranks]) == expected


def test_two_processes_gather_what_one_would_have():
    """Over gloo, by torchmetrics' own gathering; the last rank may have nothing."""

    def values(number):
        mine = {"dealt": CLIPS[number::2], "one": CLIPS if number == 0 else []}
        return {
            (name, how): value_of(filled(name, [batch] if batch else []))
            for name in METRICS
            for how, batch in mine.items()
        }

    expected = {(name, how): value_of(filled(name, [CLIPS])) for name in METRICS for how in ("dealt", "one")}
    assert on_ranks(2, together(values)) == [expected] * 2


@pytest.mark.parametrize("row", METRICS.values(), ids=lambda row: row.name)
def test_every_metric_is_one_of_torchmetrics(row):
    metric = row.build(sync_on_compute=False)
    assert isinstance(metric, Metric)
    assert metric.check(["en"]) is None
    first = value_of(filled(row.name, [CLIPS]))
    metric.update(*zip(*CLIPS, strict=True))
    assert value_of(pickle.loads(pickle.dumps(metric))) == value_of(metric.clone()) == first
    metric.reset()
    metric.update(*zip(*CLIPS[:1], strict=True))
    assert value_of(metric) == value_of(filled(row.name, [CLIPS[:1]]))


def test_clips_that_do_not_pair_up_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        METRICS["wer"].build().update(["one"], ["one", "two"], ["en"])


def test_many_clips_are_not_rounded():
    """More than single precision can count, whose sums torchmetrics' own metrics keep."""
    metric = filled("acc", [[("a", "a", "en")]])
    metric.sums += torch.tensor([2**25 - 1, 2**25 - 1])
    metric.update(["a"], ["b"], ["en"])
    assert float(metric.compute()) == 2**25 / (2**25 + 1) != 1.0
