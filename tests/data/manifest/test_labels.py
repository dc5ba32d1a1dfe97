import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from audio_lm.common.errors import DataError
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import read_cuts
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.labels import check_labels, labels_of, places_of
from tests.data.manifest.test_line import line

SECONDS = 20.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "m.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(16_000 * SECONDS)), 16_000)
    return Recording.from_file(path)


def supervision_of(number, start, seconds, text=None, *, words=None, **more):
    """Supervision; word times of Lhotse's alignment count from the start of the recording."""
    alignment = words and {"word": [AlignmentItem(*word) for word in words]}
    return SupervisionSegment(
        f"s{number}", "m", start, seconds, text=text, alignment=alignment, **{"language": "en", **more}
    )


def whole(recording, *supervisions):
    return MonoCut("m-0", 0.0, SECONDS, 0, recording=recording, supervisions=list(supervisions))


def through_a_file(cuts, folder):
    """Write cuts with Lhotse and read them again."""
    (folder / "mine").mkdir(exist_ok=True)
    CutSet.from_cuts(cuts).to_file(folder / "mine" / "all-train.jsonl")
    return read_cuts(folder, "mine/all-train")


def made_by(recording, start, seconds, before):
    """A segment of a recording, cut in every way that Lhotse offers."""
    words = [("one", start + 0.1 * seconds, 0.2 * seconds), ("two", start + 0.5 * seconds, 0.5 * seconds)]
    of_all = whole(recording, supervision_of(0, start, seconds, "one two", words=words))
    offset = max(0.0, start - before)
    longer = of_all.truncate(offset=offset)
    yield "trimmed", of_all.trim_to_supervisions()[0]
    yield "of a set", CutSet.from_cuts([of_all]).trim_to_supervisions(keep_overlapping=False)[0]
    yield "truncated", of_all.truncate(offset=start, duration=seconds)
    yield "in two steps", longer.trim_to_supervisions()[0]
    yield "by windows", longer.truncate(offset=start - offset).truncate(duration=seconds)
    yield "resampled", of_all.trim_to_supervisions()[0].resample(8_000)
    yield (
        "extended",
        of_all.trim_to_supervisions()[0].extend_by(duration=0.5, direction="right", pad_silence=False),
    )


@given(st.integers(0, 1500), st.integers(50, 400), st.integers(0, 300))
def test_word_times_count_from_the_clip_however_it_was_cut(
    recording, tmp_path_factory, start, length, before
):
    folder = tmp_path_factory.mktemp("data")
    start, seconds, before = start / 100, length / 100, before / 100
    wanted = [("one", 0.1 * seconds, 0.3 * seconds), ("two", 0.5 * seconds, seconds)]
    for name, cut in made_by(recording, start, seconds, before):
        (read,) = through_a_file([cut.with_id(name)], folder)
        found = labels_of(read)["units"]
        assert [symbol for symbol, _, _ in found] == ["one", "two"]
        np.testing.assert_allclose(
            [times for _, *times in found], [times for _, *times in wanted], atol=2e-3, err_msg=name
        )
        assert labels_of(cut)["units"] == found, name


def test_word_times_of_an_untrimmed_cut_are_unchanged(recording, tmp_path):
    words = [("one", 6.2, 0.4)]
    (cut,) = through_a_file([whole(recording, supervision_of(0, 6, 3, "one", words=words))], tmp_path)
    assert labels_of(cut)["units"] == [("one", 6.2, 6.6)]


@pytest.mark.parametrize("words", [[("one", 5.0, 0.5)], [("one", 8.9, 0.5)], [("one", 12.0, 0.5)]])
def test_words_outside_the_clip_are_refused_by_tasks_that_need_them(recording, vocabulary, words):
    (cut,) = whole(recording, supervision_of(0, 6.0, 3.0, "one", words=words)).trim_to_supervisions()
    labels = labels_of(cut)
    assert "units" not in labels
    assert labels["text"] == "one"
    maker = ExampleMaker(vocabulary, "tags")
    assert len(maker.example(cut, "asr"))
    with pytest.raises(
        DataError, match=r"cut 's0': task 'srwt-en' needs.*'units'.*word 'one'.*clip of 3.00 s"
    ):
        maker.example(cut, "srwt-en")
    with pytest.raises(DataError, match="cut 's0'"):
        maker.reference(cut, "srwt-en")


def test_word_times_of_our_corpora_agree_with_lhotse(tmp_path):
    writer = CutWriter(tmp_path / "mine", tmp_path / "mine")
    units = [("one", 0.1, 0.3003), ("two", 0.505, 0.9)]
    for _ in range(3):
        wave = np.zeros(16_001, dtype=np.float32)
        writer.add("all-train", wave, {"language": "en", "text": "one two"}, units=units)
    writer.close()
    ours = writer.cuts("all-train")
    theirs = list(CutSet.from_file(tmp_path / "mine" / "all-train.jsonl"))
    read = read_cuts(tmp_path, "mine/all-train")
    assert ours[2].start == 32_002 / 16_000
    for cuts in (ours, theirs, read):
        assert all(labels_of(cut)["units"] == units for cut in cuts)
        assert all(set(labels_of(cut)) == {"language", "text", "units"} for cut in cuts)
    (first, second) = theirs[2].trim_to_alignments("word")
    assert first.start - theirs[2].start == pytest.approx(0.1)
    assert second.duration == pytest.approx(0.395)
    for cut in theirs:
        assert cut.supervisions[0].recording_id == cut.recording.id


def test_word_times_are_correct_in_shar(tmp_path):
    test_word_times_of_our_corpora_agree_with_lhotse(tmp_path)
    folder = tmp_path / "packed" / "all-train"
    folder.mkdir(parents=True)
    cuts = CutSet.from_file(tmp_path / "mine" / "all-train.jsonl")
    cuts.to_shar(folder, fields={"recording": "wav"}, verbose=False)
    for cut in read_cuts(tmp_path, "packed/all-train"):
        assert cut.start == 0
        assert labels_of(cut)["units"] == [("one", 0.1, 0.3003), ("two", 0.505, 0.9)]


def test_word_times_of_corpora_of_earlier_releases_are_correct(recording):
    supervision = supervision_of(0, 0.0, 2.0, "one", words=[("one", 0.2, 0.4)])
    supervision.recording_id = supervision.id = "of-old"
    cut = MonoCut("of-old", 7.0, 2.0, 0, recording=recording, supervisions=[supervision])
    assert labels_of(cut)["units"] == [("one", 0.2, 0.6)]


def test_several_texts_are_refused_with_the_remedy(recording, vocabulary):
    cut = whole(
        recording,
        supervision_of(0, 2, 3, "one"),
        supervision_of(1, 6, 3, "two"),
        supervision_of(2, 12, 4, "three"),
    )
    maker = ExampleMaker(vocabulary, "tags")
    for task in ("asr", "ser"):
        with pytest.raises(
            DataError, match=r"cut 'm-0'.*'text': 3 of its 3 supervisions.*trim_to_supervisions"
        ):
            maker.example(cut, task)
    for trimmed in cut.trim_to_supervisions(keep_overlapping=False):
        assert len(maker.example(trimmed, "asr"))
    twice = whole(recording, supervision_of(0, 2, 3, "one"), supervision_of(1, 6, 3, "one"))
    with pytest.raises(DataError, match="trim_to_supervisions"):
        maker.example(twice, "asr")


def test_turns_are_joined_for_tasks_about_turns(recording, vocabulary):
    cut = whole(
        recording,
        supervision_of(1, 6.0, 3.0, "two", speaker="b"),
        supervision_of(0, 2.0, 3.0, "one", speaker="a"),
        supervision_of(2, 18.0, 4.0, "three", speaker="a"),
    )
    labels = labels_of(cut)
    assert labels["texts"] == ["one three", "two"]
    assert labels["turns"] == [["a", 2.0, 5.0], ["b", 6.0, 9.0], ["a", 18.0, 20.0]]
    maker = ExampleMaker(vocabulary, "tags")
    assert maker.reference(cut, "osr") == "one three <sc> two"
    assert maker.reference(cut, "sd").startswith("<|2.00|>speaker 1<|5.00|><|6.00|>speaker 2<|9.00|>")
    with pytest.raises(DataError, match="trim_to_supervisions"):
        maker.example(cut, "asr")


def test_turns_without_speakers_are_refused_by_name(recording, vocabulary):
    cut = whole(recording, supervision_of(0, 2, 3, "one", speaker="a"), supervision_of(1, 6, 3, "two"))
    for task in ("osr", "sd"):
        with pytest.raises(DataError, match=r"cut 'm-0'.*name the speakers"):
            ExampleMaker(vocabulary, "tags").example(cut, task)


def test_a_label_of_a_single_supervision_is_used(recording, vocabulary):
    given = {"caption": "a meeting", "texts": ["a b", "c"], "turns": [["x", 0.0, 1.0]]}
    cut = whole(
        recording,
        supervision_of(0, 2, 3, "one", speaker="a", custom=given),
        supervision_of(1, 6, 3, None, speaker="b"),
        supervision_of(2, 9, 3, None, speaker="b", custom={"caption": None}),
    )
    labels = labels_of(cut)
    assert labels["text"] == "one"
    assert {key: labels[key] for key in given} == given
    assert labels.unclear.keys() == {"speaker"}
    assert len(ExampleMaker(vocabulary, "tags").example(cut, "aac"))


def test_equal_labels_are_used_and_different_ones_are_refused(recording, vocabulary):
    cut = whole(
        recording,
        supervision_of(0, 2, 3, gender="male", custom={"emotion": "sad"}),
        supervision_of(1, 6, 3, gender="female", custom={"emotion": "sad"}),
    )
    maker = ExampleMaker(vocabulary, "tags")
    assert maker.reference(cut, "er") == "sad"
    assert labels_of(cut)["language"] == "en"
    with pytest.raises(DataError, match="'gender': 2 of its 2"):
        maker.example(cut, "sgc")
    mixed = whole(recording, supervision_of(0, 2, 3, language="en"), supervision_of(1, 6, 3, language="de"))
    with pytest.raises(DataError, match="'language': 2 of its 2"):
        maker.example(mixed, "lid")


def test_places_are_words_and_counts():
    assert places_of({}) is None
    assert places_of({"places": [["a", 2]]}) == [("a", 2)]


WRONG = [
    {"text": {"a": 1}},
    {"text": 5},
    {"text": float("nan")},
    {"language": ["en"]},
    {"speaker": 7},
    {"gender": True},
    {"custom": {"gender": 1}},
    {"custom": {"caption": {"a": "b"}}},
    {"custom": {"caption": ["a", 1]}},
    {"custom": {"emotion": ["sad"]}},
    {"custom": {"emotion": True}},
    {"custom": {"age": float("nan")}},
    {"custom": {"texts": "one two"}},
    {"custom": {"events": [["dog"]]}},
    {"custom": {"pitch": "high"}},
    {"custom": {"pitch": 60.5}},
    {"custom": {"velocity": 10**4000}},
    {"custom": {"turns": [["a", 0.0]]}},
    {"custom": {"turns": [["a", "0", 1.0]]}},
    {"custom": {"turns": {"a": 1}}},
    {"custom": {"event_times": [["dog", float("inf"), 1.0]]}},
    {"custom": {"entities": [["Ada"]]}},
    {"custom": {"slots": [[1, "a"]]}},
    {"custom": {"places": [["a", 10**9]]}},
    {"custom": {"places": [["a", 5_000], ["b", 5_001]]}},
    {"custom": {"places": [["a", -1]]}},
    {"custom": {"places": [["a", 1.5]]}},
    {"custom": {"conversation": "hello"}},
    {"custom": {"conversation": [{"role": "user"}]}},
    {"custom": {"conversation": [{"role": "user", "content": "hello"}]}},
    {"custom": {"conversation": [{"role": "user", "content": [{"audio": "1"}]}]}},
    {"custom": {"conversation": [{"role": 1, "content": []}]}},
    {"custom": {"conversation": [{"role": "assistant", "content": [{"text": "a"}], "learn": "no"}]}},
    {"alignment": {"word": [["one", 0.0]]}},
    {"alignment": {"word": [["one", 0.0, 0.1, 1.0, 2]]}},
    {"alignment": {"word": [[1, 0.0, 0.1]]}},
    {"alignment": {"word": [["one", "0", 0.1]]}},
    {"alignment": {"word": [["one", 0.0, -0.1]]}},
    {"alignment": {"word": [["one", float("nan"), 0.1]]}},
    {"alignment": {"word": [["one", 0.0, True]]}},
    {"alignment": {"word": "one"}},
    {"alignment": {"word": [None]}},
    {"alignment": {"word": {"one": 1}}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong)[:40])
def test_a_label_of_another_type_is_named(wrong):
    with pytest.raises(InvalidLineError, match="expected"):
        check_labels(wrong)


def test_labels_of_the_right_type_and_unknown_labels_are_accepted():
    check_labels({})
    check_labels({"text": None, "custom": None, "alignment": None})
    custom = {
        "caption": ["a dog", "a barking dog"],
        "answer": "yes",
        "age": 30,
        "pitch": "60",
        "turns": [["a", 0, 1.5]],
        "places": [["", 3]],
        "conversation": [{"role": "user", "content": [{"audio": 1}, {"text": "?"}]}],
        "mos": float("nan"),
        "array": {"array": {"shape": [1]}},
        "emotion": None,
    }
    words = {"word": [["one", 0, 0.1], ["two", 0.2, 0.1, None], {"symbol": "a", "start": 1, "duration": 2}]}
    check_labels({"text": "", "custom": custom, "alignment": words | {"phone": "anything"}})
    assert line(supervisions=[{"duration": 2.0, "custom": {"mos": 1e3}}])
