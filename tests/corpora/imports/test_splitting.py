import random
from collections import Counter

import pytest
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.splitting import SplitBy, assign_groups, split_cuts


def recording(name):
    return Recording(name, [AudioSource("file", [0], f"/wavs/{name}.wav")], 16_000, 16_000, 1.0)


def cut(cut_id, speakers, name=None, custom=None):
    supervisions = [
        SupervisionSegment(f"{cut_id}-{number}", cut_id, 0.0, 1.0, text="one", speaker=speaker)
        for number, speaker in enumerate(speakers)
    ]
    audio = None if name is None else recording(name)
    return MonoCut(cut_id, 0.0, 1.0, 0, supervisions=supervisions, recording=audio, custom=custom)


@pytest.mark.parametrize("seed", range(5))
def test_no_speaker_is_in_two_splits_and_shares_are_close(seed):
    draw = random.Random(seed)
    speakers = [f"s{draw.randrange(60)}" for _ in range(2_000)]
    cuts = [cut(f"c{number}", [speaker]) for number, speaker in enumerate(speakers)]
    divided, note = split_cuts(cuts, SplitBy("speaker", test=0.1, validation=0.05))
    found = {split: {one.supervisions[0].speaker for one in some} for split, some in divided.items()}
    assert sum(map(len, found.values())) == len(set(speakers))
    assert sum(map(len, divided.values())) == len(cuts)
    assert abs(len(divided["test"]) / len(cuts) - 0.1) < 0.02, note
    assert abs(len(divided["validation"]) / len(cuts) - 0.05) < 0.02, note
    assert f"of {len(set(speakers))} speakers" in note


def test_the_splits_depend_on_the_names_and_not_on_the_order():
    cuts = [cut(f"c{number}", [f"s{number % 20}"]) for number in range(200)]
    split_by = SplitBy("speaker", test=0.2)
    first = {one.id for one in split_cuts(cuts, split_by)[0]["test"]}
    assert first == {one.id for one in split_cuts(cuts[::-1], split_by)[0]["test"]}


def test_speakers_of_one_conversation_are_in_one_split():
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("e", "f"), ("g",), ("h",)]
    cuts = [cut(f"c{number}", pair) for number, pair in enumerate(pairs)]
    divided, note = split_cuts(cuts, SplitBy("speaker", test=0.3))
    split_of = {
        speaker: split for split, some in divided.items() for one in some for speaker in speakers_of(one)
    }
    assert len({split_of[speaker] for speaker in "abcd"}) == len({split_of[speaker] for speaker in "ef"}) == 1
    assert "of 4 speakers" in note


def speakers_of(one):
    return [supervision.speaker for supervision in one.supervisions]


def test_segments_of_a_recording_are_in_one_split_and_further_clips_count():
    cuts = [cut(f"{name}-{part}", ["x"], name) for name in "abcdef" for part in range(3)]
    cuts.append(cut("both", ["x"], "a", custom={"audio_2": recording("b")}))
    divided, _ = split_cuts(cuts, SplitBy("recording", test=0.3))
    split_of = {one.id: split for split, some in divided.items() for one in some}
    for name in "abcdef":
        assert len({split_of[f"{name}-{part}"] for part in range(3)}) == 1
    assert split_of["a-0"] == split_of["b-0"] == split_of["both"]


@pytest.mark.parametrize(("count", "test", "validation"), [(2, 0.1, 0), (3, 0.1, 0.1), (5, 0.01, 0.3)])
def test_every_split_has_a_group_even_if_that_is_more_than_its_share(count, test, validation):
    sizes = {f"s{number}": 10 * (number + 1) for number in range(count)}
    split_by = SplitBy("speaker", test, validation)
    assert set(assign_groups(sizes, split_by).values()) == {"train", *split_by.shares}


def test_a_large_group_stays_in_train():
    sizes = {"huge": 1_000} | {f"s{number}": 10 for number in range(20)}
    split_of = assign_groups(sizes, SplitBy("speaker", test=0.1))
    assert split_of["huge"] == "train"
    assert Counter(split_of.values())["test"] == 12


def test_too_few_groups_and_clips_without_a_speaker_are_one_clear_error():
    with pytest.raises(DataError, match=r"there are 2 speakers for 3 splits .* or split by recording"):
        split_cuts([cut("a", ["x"]), cut("b", ["y"])], SplitBy("speaker", 0.1, 0.1))
    with pytest.raises(DataError, match="1 of 2 clips have no speaker, such as 'b'"):
        split_cuts([cut("a", ["x"]), cut("b", [None])], SplitBy("speaker", 0.1))


@pytest.mark.parametrize(
    "given",
    [
        ("speakers", 0.1, 0),
        ("speaker", 0, 0),
        ("speaker", 0.5, 0.5),
        ("speaker", -0.1, 0.2),
        ("speaker", 10, 0),
    ],
)
def test_a_criterion_or_share_that_makes_no_sense_is_refused(given):
    with pytest.raises(UserError, match="expected"):
        SplitBy(*given)
