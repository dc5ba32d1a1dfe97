from pathlib import Path

from tests.cli.command import run

ROOT = Path(__file__).parents[2]


def test_a_column_without_a_label_is_refused(capsys, tmp_path):
    assert run("import", "table", str(tmp_path), "--column", "transcription") == 2
    assert "--column transcription -- expected name=label" in capsys.readouterr().err


def test_shares_need_a_criterion_and_options_their_format(capsys, tmp_path):
    (tmp_path / "rows.csv").write_text("file_name,text\n")
    for options, reason in (
        (("--test", "0.1"), "--test and --validation need --split-by"),
        (("--split-by", "gender", "--test", "0.1"), "expected speaker or recording"),
        (("--split-by", "speaker"), "expected shares such as 0.1"),
        (("--trim",), "trim was given, which format 'table' does not read"),
        (("--tars", "x"), "it is an option of nemo"),
    ):
        assert run("import", "table", str(tmp_path / "rows.csv"), *options) == 2
        assert reason in capsys.readouterr().err
