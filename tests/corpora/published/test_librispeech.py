import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.librispeech import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "LibriSpeech"
    text(root / "SPEAKERS.TXT", ";ID |SEX| SUBSET |MINUTES| NAME\n84   | F | dev-clean | 8.02 | Christie\n")
    chapter = root / "dev-clean" / "84" / "121123"
    text(chapter / "84-121123.trans.txt", "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT\n")
    text(
        chapter / "84-121123.alignment.txt",
        '84-121123-0000 ",GO,,DO,YOU,HEAR," "0.04,0.08,0.10,0.14,0.2,0.28,0.3"\n',
    )
    for number in range(2):
        sound(chapter / f"84-121123-000{number}.flac")
    other = root / "train-other-500" / "9" / "1"
    text(other / "9-1.trans.txt", "9-1-0000 WELL\n")
    sound(other / "9-1-0000.flac")
    return root


def test_every_subset_has_a_manifest_with_text_speaker_and_gender(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "dev_clean-validation": 2,
        "train_other_500-train": 1,
    }
    first = manifests["dev_clean-validation"][0]
    assert labels_of(first) == {
        "language": "en",
        "text": "go do you hear",
        "speaker": "84",
        "gender": "female",
    }
    assert "gender" not in labels_of(manifests["train_other_500-train"][0])


def test_alignments_have_the_words_without_the_silences(source, tmp_path):
    aligned, plain = cuts_of(CORPUS, source, tmp_path / "out")["dev_clean-validation"]
    words = aligned["supervisions"][0]["alignment"]["word"]
    assert [(word[0], round(word[1], 2), round(word[1] + word[2], 2)) for word in words] == [
        ("go", 0.04, 0.08),
        ("do", 0.1, 0.14),
        ("you", 0.14, 0.2),
        ("hear", 0.2, 0.28),
    ]
    assert not plain["supervisions"][0].get("alignment")


def test_errors_name_bad_alignments_and_missing_files(source, tmp_path):
    path = text(
        source / "dev-clean" / "84" / "121123" / "84-121123.alignment.txt", '84-121123-0000 "GO," "0.1"\n'
    )
    with pytest.raises(DataError, match=rf"{path.name}:1: expected as many words as end times"):
        cuts_of(CORPUS, source, tmp_path / "out")
    path.unlink()
    (source / "dev-clean" / "84" / "121123" / "84-121123-0001.flac").unlink()
    with pytest.raises(DataError, match=r"84-121123-0001\.flac is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
    with pytest.raises(DataError, match="contain none of"):
        cuts_of(CORPUS, source / "dev-clean" / "84" / "121123", tmp_path / "out")
