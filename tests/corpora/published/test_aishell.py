import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.aishell import CORPUS
from tests.corpora.tree import cuts_of, labels_of, sound, text


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "data_aishell"
    names = {"train": "BAC009S0002W0122", "dev": "BAC009S0724W0121", "test": "BAC009S0764W0121"}
    lines = [f"{name} 而 对 楼市\n" for name in names.values()]
    text(root / "transcript" / "aishell_transcript_v0.8.txt", "".join(lines))
    for split, name in names.items():
        sound(root / "wav" / split / name[6:11] / f"{name}.wav")
    sound(root / "wav" / "train" / "S0002" / "BAC009S0002W0999.wav")
    return root


def test_files_with_a_transcript_are_cuts_with_texts_without_spaces(source, tmp_path):
    manifests = cuts_of(CORPUS, source.parent, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in manifests.items()} == {
        "all-train": 1,
        "all-validation": 1,
        "all-test": 1,
    }
    assert labels_of(manifests["all-train"][0]) == {"language": "zh", "text": "而对楼市", "speaker": "S0002"}


def test_the_error_for_a_missing_or_bad_transcript_names_it(source, tmp_path):
    path = text(source / "transcript" / "aishell_transcript_v0.8.txt", "BAC009S0002W0122\n")
    with pytest.raises(DataError, match=r"aishell_transcript_v0\.8\.txt:1"):
        cuts_of(CORPUS, source, tmp_path / "out")
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        cuts_of(CORPUS, source, tmp_path / "out")
