import json
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


def test_tool_turns_are_dropped_by_an_option(capsys, tmp_path):
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "tool", "content": "2"}]
    row = {"turns": [*turns, {"role": "assistant", "content": "two"}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(row))
    command = ("import", "dialogues", str(tmp_path / "chats.jsonl"), "--into", "mine/chats-train")
    options = ("--data-dir", str(tmp_path / "data"))
    assert run(*command, *options) == 2
    assert "chats.jsonl:1: turn 2 calls a tool or is a tool's" in capsys.readouterr().err
    assert run(*command, *options, "--tools", "drop") == 0
    assert "1 tool turns of 1 conversations were dropped" in capsys.readouterr().out
    assert run(*command, *options, "--tools", "keep") == 2
    assert "--tools keep -- expected drop" in capsys.readouterr().err
