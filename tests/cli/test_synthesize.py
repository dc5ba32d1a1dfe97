import pytest

from audio_lm.cli.main import main
from audio_lm.data.manifest.cuts import read_cuts
from tests.corpora.synthesis.labelled_clips import SOURCE, write_clips


def test_the_command_writes_a_cut_set_and_prints_its_path(tmp_path, capsys):
    write_clips(tmp_path, num=6)
    main(["synthesize", SOURCE, "--into", "mine/talks-test", "--num", "5", "--data-dir", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[-1].endswith("mine/talks-test.jsonl")
    assert len(read_cuts(tmp_path, "mine/talks-test")) == 5


def test_a_model_without_endpoint_is_a_user_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["synthesize", SOURCE, "--model", "tiny"])
    assert ended.value.code == 2
    assert "--endpoint" in capsys.readouterr().err
