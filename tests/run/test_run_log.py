import logging
import sys
import warnings

import pytest
import torch
from rich.console import Console

from audio_lm.common.files import write_text
from audio_lm.config.load import load_recipe
from audio_lm.run.run_log import RunLog, param_groups, settings_given
from audio_lm.run.train import train
from audio_lm.training.param_groups import Rate


def test_records_and_warnings_are_appended_with_a_time_and_handlers_are_removed(tmp_path):
    before = {name: list(logging.getLogger(name).handlers) for name in ("audio_lm", "py.warnings")}
    write_text(tmp_path / "run.log", "of an earlier start\n")
    with pytest.raises(KeyError):
        log_and_fail(tmp_path)
    logging.getLogger("audio_lm.data").warning("afterwards")
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines[0] == "of an earlier start"
    assert lines[1].endswith("INFO    audio_lm.data: a pack of 3 clips")
    assert any("WARNING py.warnings" in line and "of a library" in line for line in lines)
    assert "ends with KeyError: 'boom'" in lines[-1]
    assert not any("too fine" in line or "afterwards" in line for line in lines)
    assert {name: list(logging.getLogger(name).handlers) for name in before} == before


def test_a_warning_is_printed_once_although_a_library_has_added_a_handler_to_the_root_logger(
    tmp_path, capsys
):
    printer = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(printer)
    try:
        with RunLog(tmp_path), warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("of a library", stacklevel=1)
    finally:
        logging.getLogger().removeHandler(printer)
    assert (tmp_path / "run.log").read_text().count("UserWarning: of a library") == 1
    assert capsys.readouterr().err.count("UserWarning: of a library") == 1
    assert logging.getLogger("py.warnings").propagate, "as before"


def log_and_fail(folder):
    with RunLog(folder):
        logging.getLogger("audio_lm.data").info("a pack of 3 clips")
        logging.getLogger("audio_lm.data").debug("too fine")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("of a library", stacklevel=1)
        raise KeyError("boom")


def test_a_start_that_lost_the_folder_writes_nothing(tmp_path):
    allowed = [True]
    with RunLog(tmp_path, may_write=lambda: allowed[0]):
        logging.getLogger("audio_lm.run").info("ours")
        allowed[0] = False
        logging.getLogger("audio_lm.run").warning("theirs")
    assert "ours" in (tmp_path / "run.log").read_text()
    assert "theirs" not in (tmp_path / "run.log").read_text()


def test_a_log_that_cannot_be_written_is_only_a_warning(tmp_path, caplog):
    (tmp_path / "run.log").mkdir()
    with RunLog(tmp_path):
        pass
    assert "run.log cannot be written" in caplog.text


def test_only_settings_of_the_command_line_are_listed(small_recipe):
    composed = load_recipe(small_recipe, ["seed=3", "stages.chat.steps=2"])
    assert sorted(settings_given(composed)) == ["seed=3", "stages.chat.steps=2"]


def test_groups_have_sizes_and_rates():
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 3), "projector": torch.nn.Linear(3, 4)})
    rates = {name: Rate(1e-3 if "weight" in name else 2e-3) for name, _ in model.named_parameters()}
    rates["projector.weight"] = None
    lines = list(param_groups(model, rates))
    assert lines == [
        "encoder: 9 parameters at lr 0.001 to 0.002",
        "projector: 4 parameters at lr 0.002, 12 frozen",
    ]


@pytest.mark.slow
def test_a_run_keeps_its_settings_groups_and_resumes(small_recipe, tmp_path):
    for overrides in ([], ["resume=auto"]):
        composed = load_recipe(small_recipe, ["only=[pretrain]", *overrides])
        train(composed, out=tmp_path / "run", console=Console(quiet=True))
    text = (tmp_path / "run" / "run.log").read_text()
    assert "start 1 of" in text
    assert "start 2 of" in text
    assert "command line: resume=auto" in text
    assert "pretrain: encoder: " in text
    assert "pretrain: finished before, 6 steps" in text
