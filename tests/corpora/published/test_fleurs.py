import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.fleurs import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "data"
    for folder, split, sentence in (("en_us", "train", 'He said "no".'), ("cmn_hans_cn", "dev", "你好。")):
        row = ["12", "1001.wav", sentence, sentence.lower(), "h e", "4800", "FEMALE"]
        text(root / folder / f"{split}.tsv", "\t".join(row) + "\n")
        sound(root / folder / "audio" / split / "1001.wav")
    return root


def test_tables_without_headings_are_read_in_eight_languages(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert list(manifests) == ["en-train", "zh-validation"]
    assert labels_of(manifests["en-train"][0]) == {
        "language": "en",
        "text": 'He said "no".',
        "gender": "female",
    }
    assert labels_of(manifests["zh-validation"][0])["text"] == "你好。"


def test_the_error_for_a_truncated_row_names_it(source, tmp_path):
    text(source / "en_us" / "train.tsv", "12\t1001.wav\n")
    with pytest.raises(DataError, match=r"train\.tsv:1"):
        cuts_of(CORPUS, source, tmp_path / "out")
