from dataclasses import replace

import pytest

from audio_lm.chat import grounding_score
from audio_lm.chat.editing import MARGIN
from audio_lm.chat.grounding import Grounding, Span, words_in
from audio_lm.chat.grounding_score import format_grounding, score_grounding
from audio_lm.common.errors import DataError
from audio_lm.data.audio.decode import measure


class Perfect:
    """A model that knows the words of ``make_cuts``: "one" from 0 to 0.2 s and "two" to 0.4 s; shifted by ``shift``."""

    shift = 0.0
    finds = True

    def ask(self, paths, **_):
        (path,) = paths
        is_whole = "edited" not in path.name
        wanted = self.wanted
        text = "one two" if is_whole else " ".join(word for word in ("one", "two") if word != wanted)
        self.lengths.append(measure(str(path)).seconds)
        yield type("Answer", (), {"text": text})

    def ground(self, _, path, wanted):
        self.wanted, self.lengths = wanted, []
        start = 0.0 if wanted == "one" else 0.2
        spans = (Span(wanted, start, start + 0.2 + self.shift),) if self.finds else ()
        return Grounding(str(path), wanted, (), spans)


@pytest.fixture
def model(monkeypatch):
    perfect = Perfect()
    monkeypatch.setattr(grounding_score, "ground", perfect.ground)
    return perfect


def test_a_perfect_model_finds_and_deletes_every_word(model, make_cuts):
    figures = score_grounding(model, make_cuts(3))
    assert (figures.num_clips, figures.num_occurrences, figures.num_found) == (3, 3, 3)
    assert figures.median_s == pytest.approx(0.0, abs=1e-6)
    assert (figures.num_deletions, figures.num_removed, figures.num_intact) == (3, 3, 3)
    assert 0.2 < model.lengths[0] - model.lengths[1] < 0.2 + 2 * MARGIN + 0.02
    assert "3 of 3 occurrences found" in format_grounding(figures)


def test_an_error_is_the_larger_one_of_start_and_end(model, make_cuts):
    model.shift = 0.1
    assert score_grounding(model, make_cuts(3)).median_s == pytest.approx(0.1)


def test_a_word_that_is_not_found_has_an_infinite_error(model, make_cuts):
    model.finds = False
    figures = score_grounding(model, make_cuts(3))
    assert (figures.num_found, figures.num_deletions) == (0, 0)
    assert figures.median_s == float("inf")


def test_clips_without_times_are_refused(model, make_cuts):
    cuts = [cut.with_custom("x", 1) for cut in make_cuts(2)]
    for cut in cuts:
        cut.supervisions = [replace(supervision, alignment=None) for supervision in cut.supervisions]
    with pytest.raises(DataError, match="none of 2 clips has the times of its words"):
        score_grounding(model, cuts)


def test_words_are_compared_without_case():
    assert words_in("One, TWO") == ["one", "two"]
