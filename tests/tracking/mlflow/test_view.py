import base64
import json
import zlib

from audio_lm.tracking.mlflow.view import MAX_COLUMNS, RunColumns, columns_of, experiment_note, view_of


def state_of(view):
    """State of a view as MLflow's page unpacks it: an envelope, and in it base64 of a zlib stream."""
    envelope = json.loads(view)
    assert isinstance(envelope["name"], str)
    assert isinstance(envelope["createdAt"], int)
    prefix, packed = envelope["state"].split(";")
    assert prefix == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def run(sgc, **others):
    params = {"model": "whisper", "weight/train/asr": "2", "weight/train/sgc": str(sgc), **others}
    return RunColumns(
        f"emodb sgc={sgc}",
        params,
        {
            "digits/wer": 0.5, "gender/acc": 0.5, "share/train/asr": 0.3, "share/train/sgc": 0.7, "untrained/gender/acc": 0.1,
            "tracking/dropped_points": 1.0, "nonfinite/srwt/aas": 1.0,
        },
        {"digits": "asr", "gender": "sgc"},
    )  # fmt: skip


def test_the_columns_are_weights_that_differ_their_shares_and_scores_of_these_tasks_first():
    columns = columns_of([run(2), run(4), run(6)])
    state = state_of(view_of(columns, time_ms=7))
    assert state["selectedColumns"] == [
        "params.`weight/train/sgc`",
        "metrics.`share/train/sgc`",
        "metrics.`gender/acc`",
        "metrics.`digits/wer`",
    ]
    assert state["columnOrder"] == state["selectedColumns"]
    assert state["columnWidths"].keys() == set(state["selectedColumns"])


def test_a_setting_that_one_run_changes_is_a_column():
    assert columns_of([run(2), run(2, steps="40")]) == [
        "params.`steps`",
        "metrics.`digits/wer`",
        "metrics.`gender/acc`",
    ]


def test_without_scores_and_differences_there_are_no_columns():
    assert columns_of([RunColumns("emodb", {"model": "whisper"}, {}, {})]) == []
    assert columns_of([]) == []


def test_the_description_of_an_experiment_has_the_first_score_in_its_line_and_a_table():
    runs = [run(6), run(4)]
    lines = experiment_note("3", columns_of(runs), runs).splitlines()
    assert lines[0].startswith("[Mixtures beside scores](#/experiments/3/runs?")
    assert lines[0].endswith("): gender/acc of emodb sgc=6 **0.5**, emodb sgc=4 **0.5**")
    assert lines[2] == "| run | weight/train/sgc | share/train/sgc | gender/acc | digits/wer |"
    assert lines[4] == "| emodb sgc=6 | 6 | 0.7 | 0.5 | 0.5 |"


def test_the_description_of_an_experiment_of_many_runs_fits_into_a_tag():
    runs = [run(sgc) for sgc in range(300)]
    note = experiment_note("3", columns_of(runs), runs)
    assert 4000 < len(note) < 5000
    assert note.endswith(" |"), "whole rows"


def test_a_view_of_many_columns_fits_into_a_tag_of_an_experiment():
    scores = {f"benchmark_with_a_long_name_{number}/acc": 0.5 for number in range(100)}
    view = view_of(columns_of([RunColumns("emodb", {}, scores, {})]), time_ms=7)
    assert len(state_of(view)["selectedColumns"]) == MAX_COLUMNS
    assert len(view) < 5000, "limit of mlflow 3"
