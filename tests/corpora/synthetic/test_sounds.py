from itertools import pairwise

import numpy as np
import pytest

from audio_lm.common.audio_units import samples_in
from audio_lm.common.source_name import SPLITS
from audio_lm.corpora.synthetic.events import EVENTS, SCENES
from audio_lm.corpora.synthetic.sounds import (
    NUMBERS,
    SOUND_SUBSETS,
    TimedEvent,
    caption_of,
    events_question,
    write_sounds,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.waves import root_mean_square
from audio_lm.corpora.synthetic.writing import CutWriter

CLIPS = {"events": 40, "detection": 24, "scenes": 10, "sound_questions": 24, "validation": 10, "test": 12}


def labels_of(cut):
    return cut.supervisions[0].custom


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    writer = CutWriter(folder, folder)
    write_sounds(writer, clips=CLIPS, seed=3)
    return writer


def test_every_split_has_the_configured_number_of_clips(writer):
    for subset in SOUND_SUBSETS:
        for split in SPLITS:
            expected = CLIPS[subset] if split == "train" else CLIPS[split]
            assert len(writer.cuts(f"{subset}-{split}")) == expected, f"{subset}-{split}"


def test_a_subset_without_clips_is_not_written(tmp_path):
    writer = CutWriter(tmp_path, tmp_path)
    write_sounds(writer, clips={"events": 3, "scenes": 0, "validation": 2, "test": 2}, seed=0)
    assert writer.subset_splits == ["events-train", "events-validation", "events-test"]


def test_equal_seeds_give_equal_clips_and_others_do_not(tmp_path, writer):
    waves = {}
    for seed in (3, 4):
        again = CutWriter(tmp_path / str(seed), tmp_path / str(seed))
        write_sounds(again, clips={"events": 4, "validation": 0, "test": 0}, seed=seed)
        waves[seed] = [cut.load_audio()[0] for cut in again.cuts("events-train")]
    for cut, same, other in zip(writer.cuts("events-train"), waves[3], waves[4], strict=False):
        np.testing.assert_array_equal(cut.load_audio()[0], same)
        assert len(other) != len(same) or np.any(other != same)


def test_every_split_has_all_classes(writer):
    for split in SPLITS:
        assert {labels_of(cut)["events"][0] for cut in writer.cuts(f"events-{split}")} == set(EVENTS)
        assert {labels_of(cut)["scene"] for cut in writer.cuts(f"scenes-{split}")} == set(SCENES)


@pytest.mark.parametrize("subset", ["events", "detection", "sound_questions"])
def test_sounds_are_at_their_labelled_times_with_silence_between(writer, subset):
    for split in SPLITS:
        for cut in writer.cuts(f"{subset}-{split}"):
            wave = cut.load_audio()[0]
            is_silent = np.ones(len(wave), dtype=bool)
            for _, start, end in labels_of(cut)["event_times"]:
                first, last = samples_in(start), samples_in(end)
                is_silent[first:last] = False
                for part in (wave[first : first + 480], wave[last - 480 : last]):
                    assert np.max(np.abs(part)) > 0.007, f"{cut.id}: late or early at {start} - {end}"
            assert root_mean_square(wave[is_silent]) < 0.0014, f"{cut.id}: silence is loud"


def test_sounds_of_one_clip_do_not_overlap(writer):
    for cut in writer.cuts("detection-train"):
        times = labels_of(cut)["event_times"]
        assert len(times) in (2, 3)
        for (_, _, end), (_, start, _) in pairwise(times):
            assert start - end >= 0.099, cut.id
        assert times[-1][2] <= cut.duration + 1e-6


def test_captions_describe_order_counts_and_silences():
    beep, chirp, chirp_again = (
        TimedEvent("beep", 0.3, 0.8),
        TimedEvent("chirp up", 1, 1.4),
        TimedEvent("chirp up", 1.6, 1.9),
    )
    assert caption_of([beep], 0.9) == "silence, then a beep"
    assert caption_of([beep, chirp, chirp_again], 1.95) == "silence, then a beep, then two chirps up"
    assert caption_of([beep._replace(start=0.1), chirp], 3.0) == "a beep, then a chirp up, then silence"


def test_captions_name_the_events_in_order(writer):
    for cut in writer.cuts("detection-test"):
        labels = labels_of(cut)
        events = [part for part in labels["caption"].split(", then ") if part != "silence"]
        heads = [name.split(" ")[0] for name in labels["events"]]
        assert [part.split(" ")[1].rstrip("s") for part in events] == [head.rstrip("s") for head in heads], (
            cut.id
        )


@pytest.mark.parametrize("split", SPLITS)
def test_answers_follow_from_the_events(split):
    placed = [TimedEvent("beep", 0, 1), TimedEvent("crackle", 1.2, 2), TimedEvent("bell tone", 2.2, 3)]
    answers = set()
    for number in range(120):
        question, answer = events_question(placed, SplitRandom(split, number))
        answers.add(answer)
        if answer in ("yes", "no"):
            named = [name for name in EVENTS if name in question]
            assert (named[0] in ("beep", "crackle", "bell tone")) == (answer == "yes"), question
        elif answer in NUMBERS:
            assert answer == "three", question
        else:
            assert answer == ("beep" if "first" in question else "bell tone"), question
    assert answers == {"yes", "no", "three", "beep", "bell tone"}


def test_scenes_are_proxies_and_everything_else_is_exact(writer):
    for subset in SOUND_SUBSETS:
        for cut in writer.cuts(f"{subset}-train"):
            labels = labels_of(cut)
            assert labels["honesty"].keys() == {"language", *labels} - {"honesty"}
            proxies = {key for key, value in labels["honesty"].items() if value != "exact"}
            assert proxies == ({"scene"} if subset == "scenes" else set())
