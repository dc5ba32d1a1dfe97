import json

import pytest

from tests.cli.command import run


@pytest.mark.parametrize("option", ["--json", "--watch", None])
def test_status_is_printed_as_a_table_or_as_json(tmp_path, capsys, option):
    (tmp_path / "recipe.yaml").write_text("stages: {chat: {steps: 5}}")
    (tmp_path / "exit_reason.json").write_text('{"reason": "finished", "sentence": "done"}')
    assert run("status", tmp_path, *filter(None, (option,))) == 0
    output = capsys.readouterr().out
    assert (json.loads(output)["state"] == "ended") if option == "--json" else "finished: done" in output


def test_status_of_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert run("status", tmp_path) == 2
    assert "holds no run" in capsys.readouterr().err
