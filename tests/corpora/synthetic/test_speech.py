import numpy as np
import pytest
from lhotse import CutSet

from audio_lm.corpora.synthetic import speech
from audio_lm.corpora.synthetic.settings import SyntheticSettings
from audio_lm.corpora.synthetic.speech_clips import PLANNERS
from audio_lm.corpora.synthetic.speech_synthesis import has_synthesizer
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.labels import units_of

FOUR_EACH = SyntheticSettings(clips=dict.fromkeys(speech.CLIPS, 4), validation_clips=2, test_clips=3)
needs_speech = pytest.mark.skipif(not has_synthesizer(), reason="needs espeakng-loader")


def write_speech(folder, final_folder, settings=FOUR_EACH):
    lines = []
    writer = CutWriter(folder, final_folder)
    speech.write(writer, settings, lines.append)
    writer.close()
    return lines


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    write_speech(folder, folder)
    return folder


def test_every_subset_has_a_planner():
    assert speech.CLIPS.keys() == PLANNERS.keys()


def test_a_missing_synthesiser_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "has_synthesizer", lambda: False)
    (line,) = write_speech(tmp_path, tmp_path)
    assert "pip install 'audio-lm[speech]'" in line
    assert "asr" in line
    assert not list(tmp_path.glob("*.jsonl"))


@needs_speech
def test_every_subset_has_the_configured_clips_in_every_split(corpus):
    for subset in speech.CLIPS:
        for split, count in (("train", 4), ("validation", 2), ("test", 3)):
            cuts = list(CutSet.from_file(corpus / f"{subset}-{split}.jsonl"))
            assert len(cuts) == count, (subset, split)
            assert all(cut.load_audio().shape == (1, cut.num_samples) for cut in cuts), subset
    assert len(list(CutSet.from_file(corpus / "phrases_new-test.jsonl"))) == 3


@needs_speech
def test_the_first_word_starts_at_its_labelled_time(corpus):
    for name in ("digits-test", "mandarin-test"):
        for cut in CutSet.from_file(corpus / f"{name}.jsonl"):
            audio = abs(cut.load_audio()[0])
            onset = np.flatnonzero(audio > 0.05 * audio.max())[0] / 16_000
            (_, start, _), *_ = units_of(cut, cut.supervisions[0])
            assert abs(start - onset) < 0.06, cut.id


@needs_speech
def test_equal_seeds_give_equal_bytes(corpus, tmp_path):
    write_speech(tmp_path, corpus)
    files = [path.relative_to(corpus) for path in corpus.rglob("*") if path.is_file()]
    assert len(files) > 60
    for file in files:
        assert (corpus / file).read_bytes() == (tmp_path / file).read_bytes(), file


@needs_speech
def test_another_seed_gives_other_clips(tmp_path):
    digits_only = {"digits": 3}
    for seed in (0, 1):
        write_speech(
            tmp_path / str(seed), tmp_path, SyntheticSettings(clips=digits_only, seed=seed, test_clips=1)
        )
    assert (tmp_path / "0" / "digits-train.jsonl").read_bytes() != (
        tmp_path / "1" / "digits-train.jsonl"
    ).read_bytes()
    assert not (tmp_path / "0" / "phrases-train.jsonl").exists()
