import json

import pytest
from lhotse import CutSet

from audio_lm.common.errors import RecipeError
from audio_lm.corpora.corpus import prepare
from audio_lm.corpora.synthetic import speech, synthetic
from audio_lm.corpora.synthetic.synthetic import CLIPS, WORD_SUBSETS, read_settings

SMALL = {
    "clips": {"events": 3, "notes": 3, "dialogues": 3, "dialogues_text": 2},
    "validation_clips": 2,
    "test_clips": 2,
}


def test_all_subsets_are_made_by_default():
    assert read_settings({}).clips == CLIPS
    assert read_settings({"clips": {"digits": 5}}).clips == {"digits": 5}
    assert set(WORD_SUBSETS) <= CLIPS.keys()


def test_the_error_for_an_unknown_subset_suggests_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'digits'"):
        read_settings({"clips": {"digit": 5}})


def test_sounds_and_music_are_made_without_the_synthesiser(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "has_synthesizer", lambda: False)
    monkeypatch.setattr(synthetic, "has_synthesizer", lambda: False)
    lines = []
    folder = prepare("synthetic", tmp_path, SMALL, lines.append)
    assert sum("espeakng-loader" in line for line in lines) == 1
    for name, count in (
        ("events-train", 3),
        ("notes-test", 2),
        ("dialogues-train", 3),
        ("words_notes-train", 3),
    ):
        assert len(list(CutSet.from_file(folder / f"{name}.jsonl"))) == count, name
    cut = next(iter(CutSet.from_file(folder / "events-train.jsonl")))
    assert cut.load_audio().shape == (1, cut.num_samples)
    assert json.loads((folder / "prepared.json").read_text())["conditions"] == {"speech": False}


def test_the_corpus_is_prepared_again_once_the_synthesiser_is_installed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(synthetic.speech, "write", lambda *arguments: calls.append(arguments))
    for has_speech in (False, False, True):
        monkeypatch.setattr(synthetic, "has_synthesizer", lambda has_speech=has_speech: has_speech)
        prepare(
            "synthetic", tmp_path, {"clips": {"events": 1}, "validation_clips": 0, "test_clips": 0}, print
        )
    assert len(calls) == 2
