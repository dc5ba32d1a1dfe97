from pathlib import Path

from tests.cli.command import run

ROOT = Path(__file__).parents[2]


def test_a_column_without_a_label_is_refused(capsys, tmp_path):
    assert run("import", "table", str(tmp_path), "--column", "transcription") == 2
    assert "--column transcription -- expected name=label" in capsys.readouterr().err
