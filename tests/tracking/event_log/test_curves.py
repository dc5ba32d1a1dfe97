from audio_lm.tracking.event_log.curves import read_curves
from audio_lm.tracking.event_log.journal import VALUES, MetricsWriter


def test_curves_have_ascending_steps_and_skip_damaged_lines(tmp_path):
    writer = MetricsWriter(tmp_path / VALUES, journal_id="run", resume=False)
    writer.write({"train_loss/asr": 3.0}, 1)
    writer.write({"train_loss/asr": 2.0, "lr": 0.1}, 3)
    writer.sync()
    with (tmp_path / VALUES).open("a") as file:
        file.write('{"time": 1, "st\n')
    assert read_curves(tmp_path) == {"train_loss/asr": [(1, 3.0), (3, 2.0)], "lr": [(3, 0.1)]}


def test_a_stage_that_logged_nothing_has_no_curves(tmp_path):
    assert read_curves(tmp_path) == {}
