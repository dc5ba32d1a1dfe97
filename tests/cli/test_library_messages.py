import logging
import subprocess
import sys
import warnings

import pytest

from audio_lm.cli.library_messages import LIGHTNING, silence_libraries
from tests.cli.command import run


@pytest.fixture(autouse=True)
def _restored():
    """Filters of loggers and warnings as they were."""
    kept = {name: list(logging.getLogger(name).filters) for name in LIGHTNING}
    with warnings.catch_warnings():
        yield
    for name, filters in kept.items():
        logging.getLogger(name).filters[:] = filters


@pytest.mark.parametrize(
    "name", ["lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"]
)
def test_known_messages_are_dropped_by_text_and_all_others_are_shown(name, caplog):
    silence_libraries()
    silence_libraries()
    log = logging.getLogger(name)
    log.setLevel(logging.INFO)
    with caplog.at_level(logging.INFO):
        for text in ("GPU available: False, used: False", "`Trainer.fit` stopped: `max_steps=6` reached."):
            log.info(text)
        log.info("something new")
        log.warning("The gradient is strange")
    assert [record.getMessage() for record in caplog.records] == ["something new", "The gradient is strange"]
    assert len(log.filters) == 1, "one filter, however often"


def test_warnings_are_dropped_by_text():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_libraries()
        warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)
        warnings.warn("Total length of `list` across ranks is zero.", stacklevel=1)
        warnings.warn(
            "It is recommended to use `self.log('val_loss/all', ..., sync_dist=True)` when logging",
            stacklevel=1,
        )
        warnings.warn("Precision is lost", stacklevel=1)
    assert [str(one.message) for one in seen] == ["Precision is lost"]


@pytest.mark.slow
def test_no_level_of_lightning_is_changed_by_an_import():
    program = (
        "import logging, audio_lm.run.train;"
        "print([logging.getLogger(name).getEffectiveLevel() for name in ('lightning.pytorch', 'lightning.fabric')])"
    )
    plain = "import logging, lightning, lightning.fabric;" + program.partition(";")[2]
    printed = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for text in (program, plain)
    ]
    assert printed[0] == printed[1]


def test_own_warnings_are_plain_lines_also_where_a_library_has_set_up_the_root_logger(
    tmp_path, monkeypatch, capsys
):
    root, own = logging.getLogger(), logging.getLogger("audio_lm")
    theirs = logging.StreamHandler(sys.stderr)
    theirs.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    root.addHandler(theirs)

    def warn(*_, **__):
        logging.getLogger("audio_lm.run.list_runs").warning("one run is damaged")

    monkeypatch.setattr("audio_lm.run.list_runs.print_runs", warn)
    try:
        warn()
        assert capsys.readouterr().err == "WARNING:audio_lm.run.list_runs:one run is damaged\n", "the control"
        assert run("runs", tmp_path) == 0
        assert capsys.readouterr().err == "one run is damaged\n"
    finally:
        root.removeHandler(theirs)
    assert own.propagate
    assert not own.handlers
