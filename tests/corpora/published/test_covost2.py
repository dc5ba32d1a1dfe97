import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.covost2 import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text

HEADING = "path\tsentence\ttranslation\tclient_id\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "covost"
    text(root / "covost_v2.en_de.train.tsv", HEADING + "a.mp3\tGood morning\tGuten Morgen\tc0ffee\n")
    text(root / "covost_v2.zh-CN_en.test.tsv", HEADING + "b.mp3\t早上好\tGood morning\tbeef\n")
    text(root / "covost_v2.en_sl.train.tsv", HEADING + "a.mp3\tGood morning\tDobro jutro\tc0ffee\n")
    sound(root / "en" / "clips" / "a.mp3", seconds=0.5)
    sound(root / "zh-CN" / "clips" / "b.mp3", seconds=0.5)
    return root


def test_pairs_of_languages_with_tags_are_cut_sets(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert list(manifests) == ["en_de-train", "zh_en-test"]
    assert labels_of(manifests["zh_en-test"][0]) == {
        "language": "zh",
        "text": "早上好",
        "target_language": "en",
        "translation": "Good morning",
    }


def test_escape_characters_of_the_publisher_are_removed(source, tmp_path):
    row = 'a.mp3\tHe said \\"good\\"\tEr sagte \\"gut\\"\tc0ffee\n'
    text(source / "covost_v2.en_de.train.tsv", HEADING + row)
    (cut,) = cuts_of(CORPUS, source, tmp_path / "out")["en_de-train"]
    assert labels_of(cut)["text"] == 'He said "good"'
    assert labels_of(cut)["translation"] == 'Er sagte "gut"'


def test_the_error_for_a_row_without_a_translation_names_it(source, tmp_path):
    text(source / "covost_v2.en_de.train.tsv", HEADING + "a.mp3\tGood morning\t\tc0ffee\n")
    with pytest.raises(DataError, match=r"en_de\.train\.tsv:2"):
        cuts_of(CORPUS, source, tmp_path / "out")
