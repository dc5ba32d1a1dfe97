import json
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from audio_lm.common.errors import DataError, UserError
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.lhotse_cuts import CutReader
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of


@pytest.fixture
def cut(folder):
    """Function that makes a cut of a clip, with supervisions of start, end and text."""

    def make(name="a", *segments, **more):
        recording = Recording.from_file(folder / "wavs" / f"{name}.wav")
        segments = segments or ((0.0, recording.duration, "one"),)
        supervisions = [
            SupervisionSegment(f"{name}-{n}", recording.id, start, end - start, text=text, language="en")
            for n, (start, end, text) in enumerate(segments)
        ]
        return MonoCut(f"cut-{name}", 0, recording.duration, 0, supervisions, recording=recording, **more)

    return make


@pytest.fixture
def import_tables(folder, import_cuts):
    """Function that imports the JSON of cuts."""

    def run(*tables, **options):
        path = folder / "cuts.jsonl"
        path.write_text(
            "".join(json.dumps(one if isinstance(one, dict) else one.to_dict()) + "\n" for one in tables)
        )
        return import_cuts("lhotse", path, **options)

    return run


def test_custom_fields_of_any_name_are_kept(cut, import_tables):
    given = cut(custom={"audio_filepath": "/elsewhere/a.wav", "audio_2": "text", "snr": 3.5})
    given.supervisions[0].custom = {"normalized": "uno", "dynamic": "loud"}
    (found,) = import_tables(given)
    assert found.custom == given.custom
    assert {"normalized": "uno", "dynamic": "loud"}.items() <= labels_of(found).items()


def test_further_clips_and_relative_paths_are_resolved(cut, import_tables, folder):
    table = cut(custom={"audio_2": Recording.from_file(folder / "wavs" / "c.wav")}).to_dict()
    table["recording"]["sources"][0]["source"] = "wavs/a.wav"
    table["custom"]["audio_2"]["sources"][0]["source"] = "wavs/c.wav"
    (found,) = import_tables(table)
    assert [len(wave) for wave in load_waves(found)] == [6_400, 12_800]


def test_commands_that_decode_a_file_are_that_file(cut, import_tables):
    table = cut().to_dict()
    for source in table["recording"]["sources"]:
        source |= {"type": "command", "source": f"sox {source['source']} -t wav -"}
    (found,) = import_tables(table)
    assert len(load_waves(found)[0]) == 6_400


def test_features_and_other_alignments_are_left_out_and_counted(cut, import_tables, import_cuts):
    given = cut()
    given.supervisions[0].alignment = {
        "word": [AlignmentItem("one", 0.1, 0.2)],
        "phone": [AlignmentItem("w", 0.1, 0.1)],
    }
    table = given.to_dict() | {"features": {"type": "fbank", "storage_path": "x"}}
    (found,) = import_tables(table, table | {"id": "bare", "supervisions": []})
    assert labels_of(found)["units"] == [("one", 0.1, 0.3)]
    (note,) = [line for line in import_cuts.lines if "left out" in line]
    assert note.endswith("1 alignments of kind 'phone', 1 cuts without supervisions, 1 features of cuts")


def test_languages_by_name_and_genders_are_normalised(cut, import_tables, import_cuts):
    tables = [cut(name).to_dict() for name in "abc"]
    for table, language in zip(tables, ("Portuguese", "zh-CN", None), strict=True):
        table["supervisions"][0] |= {"language": language, "gender": "F"}
    found = import_tables(*tables, language="German")
    assert [one.supervisions[0].language for one in found] == ["pt", "zh", "de"]
    assert {labels_of(one)["gender"] for one in found} == {"female"}
    assert any("languages without a tag" in line and "pt (1 clips)" in line for line in import_cuts.lines)


def test_trim_makes_a_clip_of_each_supervision_with_its_channel(folder, import_tables, import_cuts):
    wave = np.stack([np.full(16_000, 0.1), np.full(16_000, 0.3)], 1)
    soundfile.write(folder / "s.wav", wave, 16_000)
    recording = Recording.from_file(folder / "s.wav")
    supervisions = [
        SupervisionSegment(
            "left", "s", 0.0, 0.5, 0, "one", "en", alignment={"word": [AlignmentItem("one", 0.1, 0.2)]}
        ),
        SupervisionSegment(
            "right", "s", 0.25, 0.5, 1, "two", "en", alignment={"word": [AlignmentItem("two", 0.3, 0.2)]}
        ),
        SupervisionSegment("silence", "s", 0.75, 0.2, 1, " ", "en"),
        SupervisionSegment("click", "s", 0.95, 0.01, 1, "three", "en"),
    ]
    given = MultiCut("talk", 0, 1.0, [0, 1], supervisions, recording=recording)
    left, right = import_tables(given, trim=True)
    assert (left.id, left.channel, right.channel) == ("left", 0, 1)
    assert labels_of(right)["units"] == [("two", 0.05, 0.25)]
    assert [round(float(load_waves(one)[0].mean()), 3) for one in (left, right)] == [0.1, 0.3]
    (note,) = [line for line in import_cuts.lines if "left out" in line]
    assert note.endswith("1 supervisions under 30 ms, 1 supervisions without a label")
    with pytest.raises(DataError, match=r"cuts\.jsonl:1: .* are of single channels"):
        import_tables(given)


def reverberated(cut):
    return cut("a").reverb_rir(affix_id=False)


def mixed(cut):
    return cut("a").mix(cut("b").resample(16_000))


def in_memory(cut):
    table = cut("a").to_dict()
    table["recording"]["sources"] = [{"type": "memory", "channels": [0], "source": "UklGRg=="}]
    return table


def of_a_url(cut):
    table = cut("a").to_dict()
    table["recording"]["sources"] = [{"type": "url", "channels": [0], "source": "https://host/a.wav"}]
    return table


def without_a_recording(cut):
    return cut("a").to_dict() | {"recording": None, "features": {"type": "fbank"}}


def with_a_supervision_beyond_its_end(cut):
    return cut("a", (0.0, 9.0, "one"))


def with_an_effect(cut):
    table = cut("a").to_dict()
    table["recording"]["sources"] = [
        {"type": "command", "channels": [0], "source": "sox a.wav -t wav - speed 2"}
    ]
    return table


def of_another_length(cut):
    table = cut("a").to_dict()
    table["recording"] |= {"num_samples": 32_000, "duration": 2.0}
    return table


def of_another_rate(cut):
    table = cut("a").to_dict()
    table["recording"] |= {"sampling_rate": 8_000, "num_samples": 3_200}
    return table


def of_no_known_language(cut):
    table = cut("a").to_dict()
    table["supervisions"][0]["language"] = "Martian"
    return table


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (reverberated, r"a transform 'ReverbWithImpulseResponse' .*lhotse's CutSet\.save_audios\(folder\)"),
        (mixed, r"type 'MixedCut' .*lhotse's CutSet\.save_audios\(folder\)"),
        (in_memory, r"audio of type 'memory' .*; write files"),
        (of_a_url, "is not read"),
        (without_a_recording, "add its recording"),
        (with_a_supervision_beyond_its_end, "supervision ends at 9.00 s"),
        (with_an_effect, "is a command that .*run it and write its output to a file"),
        (of_another_length, r"has 0\.40 s -- its recording states 2\.00 s"),
        (of_another_rate, "channels at 16000 Hz -- its recording states"),
        (of_no_known_language, "language 'Martian' is unknown"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_or_left_out(
    cut, import_tables, import_cuts, make, reason
):
    with pytest.raises(DataError, match=rf"cuts\.jsonl:2: .*{reason}"):
        import_tables(cut("c"), make(cut))
    assert [one.id for one in import_tables(cut("c"), make(cut), skip_bad=1)] == ["cut-c"]
    assert any("1 bad lines were left out:\n" in line for line in import_cuts.lines)


def test_speed_and_volume_are_applied_when_the_audio_is_read(cut, import_tables):
    (found,) = import_tables(cut("a").perturb_speed(0.5).perturb_volume(0.5))
    assert len(load_waves(found)[0]) == 12_800


def test_a_compressed_file_gets_its_counted_length(folder, import_tables, import_cuts, cut):
    pytest.importorskip("av")
    soundfile.write(folder / "wavs" / "d.mp3", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    table = cut("a").to_dict()
    table["recording"] |= {"num_samples": 17_000, "duration": 17_000 / 16_000}
    table["recording"]["sources"][0]["source"] = "wavs/d.mp3"
    table["duration"] = table["supervisions"][0]["duration"] = 17_000 / 16_000
    (found,) = import_tables(table)
    assert found.duration == found.recording.duration < 17_000 / 16_000
    assert len(load_waves(found)[0]) == round(found.duration * 16_000)
    assert any("1 files have another length" in line for line in import_cuts.lines)


def test_ids_are_unique_and_the_channel_option_has_no_effect(cut, import_tables):
    with pytest.raises(DataError, match="duplicate id 'cut-a'"):
        import_tables(cut("a"), cut("a"))
    with pytest.raises(UserError, match="cuts of Lhotse name their channels"):
        import_tables(cut("a"), channel="left")


def places(value, path=()):
    """Paths of all values in JSON."""
    if path:
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("junk", [None, True, 5, -1, 1e300, "x", [], {}, [5], {"a": 5}], ids=repr)
def test_a_cut_with_any_value_replaced_gives_a_clip_or_one_error(cut, folder, junk, trim):
    given = cut(
        "a",
        (0.0, 0.2, "one"),
        (0.2, 0.4, "two"),
        custom={"audio_2": Recording.from_file(folder / "wavs" / "c.wav")},
    )
    given.supervisions[0].alignment = {"word": [AlignmentItem("one", 0.1, 0.1)]}
    whole = json.dumps(given.perturb_volume(0.5).to_dict())
    for *path, last in places(json.loads(whole)):
        table = json.loads(whole)
        inner = table
        for key in path:
            inner = inner[key]
        inner[last] = junk
        with suppress(UserError):
            list(CutReader(folder, ImportOptions(trim=trim)).clips(table))
