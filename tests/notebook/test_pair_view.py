from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from audio_lm.evaluation.predict import Prediction
from audio_lm.notebook.pair_view import changed_answers
from audio_lm.notebook.run_view import RunView
from audio_lm.tracking.event_log.curves import read_curves


@pytest.fixture(scope="module")
def view(preference_run):
    return RunView(preference_run)


@pytest.fixture(scope="module")
def pairs(view):
    return view.pairs("prefer")


def test_pairs_are_shown_with_question_and_both_answers(pairs):
    heading, _, *rows = pairs.table(num=3).splitlines()
    assert heading == "| pair | question | chosen | rejected |"
    assert len(rows) == 3
    for row in rows:
        _, question, chosen, rejected = row.strip("| ").split(" | ")
        assert chosen != rejected
        assert question
        assert "im_start" not in row


def test_margins_after_the_stage_are_those_of_its_last_validation(view, pairs):
    logged = {name: values[-1][1] for name, values in read_curves(view.folder.stage("prefer")).items()}
    mean = pairs.margins.after.mean(axis=0)
    np.testing.assert_allclose(mean[0], logged["val_logp_chosen/chat"], rtol=1e-4)
    np.testing.assert_allclose(mean[1], logged["val_logp_rejected/chat"], rtol=1e-4)
    gained = pairs.margins.difference_after - pairs.margins.difference_before
    beta = view.recipe.stages["prefer"].dpo_loss.beta
    np.testing.assert_allclose(beta * gained.mean(), logged["val_margin/chat"], rtol=1e-3)


def test_margins_are_summed_up_and_drawn(view, pairs):
    share = 100 * (pairs.margins.difference_after > 0).mean()
    assert f"in {share:.0f} % after" in pairs.summary()
    for picture in (pairs.picture(), pairs.distribution(), view.curves("prefer", "accuracy", "margin")):
        assert Image.open(BytesIO(picture._repr_png_())).size[0] > 500


def prediction(number, answer):
    return Prediction(str(number), "chat", ("yes",), answer)


def test_changed_answers_are_counted_with_their_probability():
    before = [prediction(number, "no" if number < 6 else "yes") for number in range(10)]
    after = [prediction(number, "yes") for number in range(10)]
    text = changed_answers(before, after)
    assert "6 of 10 answers have changed: 6 from wrong to right, 0 from right to wrong." in text
    assert "probability 0.031 by chance: more than noise" in text, "2 / 2 ** 6"
    assert "| 0 | yes | no (wrong) | yes (right) |" in text
    mixed = changed_answers(before, [prediction(n, "yes" if n < 3 else "no") for n in range(10)])
    assert "3 from wrong to right, 4 from right to wrong" in mixed
    assert "within noise" in mixed


def test_equal_answers_have_no_table():
    same = [prediction(0, "yes")]
    assert (
        changed_answers(same, same).strip()
        == "0 of 1 answers have changed: 0 from wrong to right, 0 from right to wrong."
    )
