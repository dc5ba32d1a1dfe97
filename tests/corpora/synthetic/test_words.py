import numpy as np
import pytest

from audio_lm.common.rng import random_for
from audio_lm.corpora.synthetic.words import facts_of, scatter_facts, stretch_units, text_row, write_words
from audio_lm.corpora.synthetic.writing import CutWriter

UNITS = [("one", 0.1, 0.4), ("one", 0.4, 0.7), ("two", 0.9, 1.2)]


@pytest.fixture
def writer(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    for number in range(5):
        wave = random_for("test", number).normal(0, 0.1, 24_000).astype(np.float32)
        labels = {"language": "en", "text": "one one two", "gender": "female"}
        writer.add("digits-train", wave, labels, units=UNITS)
    return writer


def test_every_word_has_positions_at_its_time(writer):
    for cut in writer.cuts("digits-train"):
        labels, units = text_row(cut, random_for("test", cut.id))
        places = [text for text, count in labels["places"] for _ in range(count)]
        for symbol, start, end in units:
            inside = places[round(start * 25) : round(end * 25)]
            assert f" {symbol}" in inside, (symbol, start, end, places)


def test_the_transcript_can_be_read_from_the_positions(writer):
    for seed, cut in enumerate(writer.cuts("digits-train") * 10):
        labels, _ = text_row(cut, random_for("test", seed))
        words, before = [], ""
        for text in [text for text, _ in labels["places"] if text not in (" female", "<|en|>")]:
            words += [text.strip()] if text not in ("", before) else []
            before = text
        assert words == ["one", "one", "two"]


def test_facts_are_scattered_and_the_starts_of_words_do_not_move():
    places = ["", " one", " one", " one", ""]
    for seed in range(20):
        changed = scatter_facts(places, [" female"], np.random.default_rng(seed))
        assert changed[1] == " one"
        assert " female" in changed


def test_facts_are_single_words_or_markup():
    labels = {"language": "de", "gender": "male", "pitch": 60, "events": ["beep"], "text": "eins"}
    assert facts_of(labels) == [" male", " beep", "<|de|>", "<|midi_pitch_60|>"]
    assert facts_of({"language": "unknown"}) == []


def test_stretching_keeps_the_order_of_words_and_the_10_ms_grid():
    for seed in range(20):
        units = stretch_units(UNITS, np.random.default_rng(seed))
        assert [symbol for symbol, _, _ in units] == ["one", "one", "two"]
        times = [time for _, start, end in units for time in (start, end)]
        assert times == sorted(times)
        assert all(round(time * 100) == pytest.approx(time * 100) for time in times)


def test_rows_have_the_labels_of_their_clips_and_no_audio(writer):
    write_words(writer, subsets=["digits", "absent"], copies=2, seed=0)
    rows = writer.cuts("words_digits-train")
    assert len(rows) == 10
    assert not any(row.has_recording for row in rows)
    assert {row.supervisions[0].text for row in rows} == {"one one two"}
    assert rows[0].supervisions[0].custom["places"] != rows[1].supervisions[0].custom["places"]
