"""Values and curves of finished trials, from files as runs write them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.results import curves_of, left_out, table_of, values_of
from audio_lm.sweep.trial import Trial
from audio_lm.tracking.event_log.journal import MetricsWriter
from tests.sweep.test_ledger import NOBODY
from tests.sweep.toy_sweep import FACTS

FACTS = replace(FACTS, metrics={"val_loss/srwt-en": MetricConfig(), "digits/wer": MetricConfig()})


def write_run(folder, losses=(), **scores):
    """Files of a run: losses from step 3 on, every third step, among other metrics."""
    stage = folder / "stages" / FACTS.stage
    stage.mkdir(parents=True)
    writer = MetricsWriter(stage / "metrics.jsonl", journal_id="j", resume=False)
    for number, loss in enumerate(losses, 1):
        writer.write({"train_loss/all": 1.0}, 3 * number - 1)
        writer.write({"val_loss/srwt-en": loss, "val_loss/all": 7.0}, 3 * number)
    writer.write({"summary/value": 1.0}, 0)
    (folder / "scores.json").write_text(json.dumps(scores))


@pytest.fixture
def ledger(tmp_path):
    """Five trials: two finished, one failed, one of another scale, one not started."""
    purposes = ("uniform", "repeat", "design", "verify", "design")
    trials = [
        Trial(f"{at:03d}", purpose, {"a": 0.25 * at, "b": 1 - 0.25 * at}, {"stages.x": at}, seed=at)
        for at, purpose in enumerate(purposes)
    ]
    ledger = Ledger(tmp_path / "sweep")
    ledger.open(FACTS, trials)
    for at, losses in enumerate(([3.0, 2.0], [3.0], [], [1.0])):
        claim = ledger.claim("w", NOBODY)
        write_run(ledger.run_folder(claim.trial), losses, **({"digits/wer": 0.5} if at == 0 else {}))
        values = values_of(ledger.run_folder(claim.trial), FACTS)
        if at == 2:
            ledger.end(claim, "failed", "out of memory", {})
        else:
            ledger.end(claim, "finished", "", values)
    return ledger


def test_curves_and_last_values_are_those_of_the_watched_metrics(tmp_path):
    write_run(tmp_path / "run", [3.0, 2.5, 2.0], **{"digits/wer": 0.5, "digits/cer": 0.1})
    assert curves_of(tmp_path / "run", FACTS) == {"val_loss/srwt-en": [(3, 3.0), (6, 2.5), (9, 2.0)]}
    assert values_of(tmp_path / "run", FACTS) == {"val_loss/srwt-en": 2.0, "digits/wer": 0.5}


def test_a_value_that_is_not_finite_is_missing(tmp_path):
    write_run(tmp_path / "run", [float("inf")], **{"digits/wer": None})
    assert values_of(tmp_path / "run", FACTS) == {}
    assert values_of(tmp_path / "none", FACTS) == {}


def test_damaged_scores_are_refused_with_a_remedy(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "scores.json").write_text('{"digits/wer": 0.')
    with pytest.raises(DataError, match=r"contains no scores .*audio-lm score"):
        values_of(tmp_path / "run", FACTS)


def test_the_table_has_the_finished_trials_in_order_with_gaps_as_nan(ledger):
    table = table_of(ledger)
    assert table.runs == ("000", "001")
    assert table.tasks == ("a", "b")
    np.testing.assert_array_equal(table.shares, [[0, 1], [0.25, 0.75]])
    np.testing.assert_array_equal(table.metrics["digits/wer"], [0.5, np.nan])
    np.testing.assert_array_equal(table.metrics["val_loss/srwt-en"], [2, 3])
    assert (table.purposes, table.seeds, table.settings) == (
        ("uniform", "repeat"),
        (0, 1),
        {"stages.x": [0, 1]},
    )
    assert table.curves == {"val_loss/srwt-en": [[(3, 3.0), (6, 2.0)], [(3, 3.0)]]}


def test_every_trial_that_is_left_out_is_named_with_its_reason(ledger):
    assert left_out(ledger.state()) == [
        "trial 004 has not ended",
        "trial 002 was failed: out of memory",
        "trial 003 (verify) is not comparable with the others",
    ]


def test_a_metric_that_is_watched_later_is_read_from_the_runs(ledger):
    other = MetricConfig("max")
    ledger.open(replace(FACTS, metrics={**FACTS.metrics, "digits/cer": other, "val_loss/all": other}), [])
    (ledger.folder / "trials" / "000" / "scores.json").write_text('{"digits/cer": 0.125, "digits/wer": 9}')
    table = table_of(ledger)
    np.testing.assert_array_equal(table.metrics["digits/cer"], [0.125, np.nan])
    np.testing.assert_array_equal(table.metrics["val_loss/all"], [7, 7])
    np.testing.assert_array_equal(table.metrics["digits/wer"], [0.5, np.nan])
