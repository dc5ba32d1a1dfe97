import base64
import json
import zlib

from audio_lm.tracking.mlflow.view import MAX_COLUMNS, Columns, view_of_runs


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
    return Columns(
        params,
        {
            "digits/wer": 0.5, "gender/acc": 0.5, "share/train/asr": 0.3, "share/train/sgc": 0.7, "untrained/gender/acc": 0.1,
            "tracking/dropped_points": 1.0, "nonfinite/srwt/aas": 1.0,
        },
        {"digits": "asr", "gender": "sgc"},
    )  # fmt: skip


def test_the_columns_are_weights_that_differ_their_shares_and_scores_of_these_tasks_first():
    view = view_of_runs([run(2), run(4), run(6)], time_ms=7)
    state = state_of(view)
    assert state["selectedColumns"] == [
        "params.`weight/train/sgc`",
        "metrics.`share/train/sgc`",
        "metrics.`gender/acc`",
        "metrics.`digits/wer`",
    ]
    assert state["columnOrder"] == state["selectedColumns"]
    assert state["columnWidths"].keys() == set(state["selectedColumns"])


def test_a_setting_that_one_run_changes_is_a_column():
    state = state_of(view_of_runs([run(2), run(2, steps="40")], time_ms=7))
    assert state["selectedColumns"] == ["params.`steps`", "metrics.`digits/wer`", "metrics.`gender/acc`"]


def test_without_scores_and_differences_there_is_no_view():
    assert view_of_runs([Columns({"model": "whisper"}, {}, {})], time_ms=7) is None
    assert view_of_runs([], time_ms=7) is None


def test_a_view_of_many_columns_fits_into_a_tag_of_an_experiment():
    scores = {f"benchmark_with_a_long_name_{number}/acc": 0.5 for number in range(100)}
    view = view_of_runs([Columns({}, scores, {})], time_ms=7)
    assert len(state_of(view)["selectedColumns"]) == MAX_COLUMNS
    assert len(view) < 5000, "limit of mlflow 3"
