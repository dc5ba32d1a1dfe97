import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from audio_lm.tracking.event_log.names import MAX_PARAM_LENGTH, finite_values, flatten_params, safe_name


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_mlflow_takes(name):
    safe = safe_name(name)
    _validate_metric_name(safe)
    assert safe_name(safe) == safe


@given(st.text(max_size=300), st.text(max_size=300))
def test_two_names_never_become_one(one, other):
    assert (safe_name(one) == safe_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("loss(db)", "loss[db]"), ("\u00e9", "\u00e8"), ("a" * 251, "a" * 252)]
)
def test_names_that_differ_where_mlflow_cuts_stay_apart(one, other):
    assert safe_name(one) != safe_name(other)


@pytest.mark.parametrize("name", ["loss/asr", "val/fsdd/test/wer", "lr encoder", "a-b_c.d"])
def test_our_own_names_stay_as_they_are(name):
    assert safe_name(name) == name


def test_what_is_no_finite_number_is_told_and_not_stored():
    told, strange = finite_values(
        {"loss": float("nan"), "norm": 10**400, "lr": 1e-4, "word": "a", "many": torch.ones(2)}
    )
    assert told == {"nonfinite/loss": 1.0, "nonfinite/norm": 1.0, "lr": 1e-4}
    assert strange == ["word", "many"]


def test_nested_settings_get_dotted_names():
    assert flatten_params({"a": {"b": 1, "c": {}}}) == {"a.b": "1", "a.c": "{}"}


def test_a_long_setting_fits_and_a_change_behind_the_cut_still_shows():
    one, other = (flatten_params({"text": "x" * 9000 + end})["text"] for end in "ab")
    _validate_param("text", one)
    assert len(one) == MAX_PARAM_LENGTH
    assert one != other
