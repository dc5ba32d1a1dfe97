import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.aishell2 import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


def part(folder, rows):
    """Write one channel of one split; rows are (id, speaker, text)."""
    for name, speaker, _ in rows:
        sound(folder / "wav" / speaker / f"{name}.wav")
    text(folder / "wav.scp", "".join(f"{name}\twav/{speaker}/{name}.wav\n" for name, speaker, _ in rows))
    text(folder / "trans.txt", "".join(f"{name}\t{words}\n" for name, _, words in rows if words))


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "corpora"
    train = [
        ("IC0001W0061", "C0001", "听流年"),
        ("IC0001W0065", "C0001", "听Yesterday Once More"),
        ("IC0001W0099", "C0001", ""),
    ]
    part(root / "AISHELL-2" / "iOS" / "data", train)
    for channel in ("iOS", "Android", "Mic"):
        evaluated = root / "AISHELL-DEV-TEST-SET" / channel
        part(evaluated / "dev", [("T0001W0001", "D0001", "换一首歌")])
        part(evaluated / "test", [("T0011W0001", "T0011", "换一首歌"), ("T0011W0002", "T0011", "打开灯")])
    return root


def test_every_channel_has_cut_sets_and_only_ios_has_training_clips(source, tmp_path):
    manifests = cuts_of(CORPUS, source, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "android-test": 2,
        "android-validation": 1,
        "ios-test": 2,
        "ios-train": 2,
        "ios-validation": 1,
        "mic-test": 2,
        "mic-validation": 1,
    }
    assert manifests["mic-test"][0]["recording"]["sources"][0]["source"].endswith(
        "Mic/test/wav/T0011/T0011W0001.wav"
    )


def test_english_words_keep_their_spaces_and_files_without_a_text_are_skipped(source, tmp_path):
    first, second = cuts_of(CORPUS, source / "AISHELL-2", tmp_path / "out")["ios-train"]
    assert labels_of(first) == {"language": "zh", "text": "听流年", "speaker": "C0001"}
    assert labels_of(second)["text"] == "听Yesterday Once More"
    assert second["duration"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        ("trans.txt", "IC0001W0061\n", r"trans\.txt:1: expected an id and a text"),
        ("trans.txt", "IC0001W0061\t听\n\n", r"trans\.txt:2: expected an id and a text"),
        ("trans.txt", "IC0001W0061\t听\nIC0001W0061\t说\n", r"trans\.txt:2: duplicate 'IC0001W0061'"),
        ("trans.txt", "IC0009W0001\t听\n", r"wav\.scp has no 'IC0009W0001'"),
        ("wav.scp", "IC0001W0061\n", r"wav\.scp:1: expected an id and a path"),
    ],
)
def test_the_error_for_a_bad_line_names_it(source, tmp_path, table, lines, message):
    text(source / "AISHELL-2" / "iOS" / "data" / table, lines)
    with pytest.raises(DataError, match=message):
        cuts_of(CORPUS, source, tmp_path / "out")


def test_errors_name_missing_files_and_packed_archives(source, tmp_path):
    data = source / "AISHELL-2" / "iOS" / "data"
    (data / "wav" / "C0001" / "IC0001W0061.wav").unlink()
    with pytest.raises(DataError, match=r"IC0001W0061\.wav is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
    (data / "wav.scp").unlink()
    with pytest.raises(DataError, match=r"wav\.scp is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
    data.rename(data.with_name("elsewhere"))
    data.with_name("data.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"data\.tar\.gz is still packed"):
        cuts_of(CORPUS, source, tmp_path / "out")
