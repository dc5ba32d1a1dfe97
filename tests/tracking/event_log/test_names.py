import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from audio_lm.tracking.event_log.names import MAX_PARAM_LENGTH, finite_values, flatten_params, safe_name


@given(st.text(max_size=400))
def test_any_name_becomes_valid_for_mlflow(name):
    safe = safe_name(name)
    _validate_metric_name(safe)
    assert safe_name(safe) == safe


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_names_stay_different(name, other):
    assert (safe_name(name) == safe_name(other)) == (name == other)


@pytest.mark.parametrize(
    ("name", "other"), [("loss(db)", "loss[db]"), ("\u00e9", "\u00e8"), ("a" * 251, "a" * 252)]
)
def test_names_that_mlflow_would_merge_stay_different(name, other):
    assert safe_name(name) != safe_name(other)


@pytest.mark.parametrize("name", ["loss/asr", "val/fsdd/test/wer", "lr encoder", "a-b_c.d"])
def test_valid_names_are_unchanged(name):
    assert safe_name(name) == name


def test_values_that_are_not_finite_numbers_are_reported_separately():
    numbers, invalid = finite_values(
        {"loss": float("nan"), "norm": 10**400, "lr": 1e-4, "word": "a", "many": torch.ones(2)}
    )
    assert numbers == {"nonfinite/loss": 1.0, "nonfinite/norm": 1.0, "lr": 1e-4}
    assert invalid == ["word", "many"]


def test_nested_params_get_dotted_names():
    assert flatten_params({"a": {"b": 1, "c": {}}}) == {"a.b": "1", "a.c": "{}"}


def test_a_long_param_is_truncated_and_its_changes_remain_visible():
    name, other = (flatten_params({"text": "x" * 9000 + end})["text"] for end in "ab")
    _validate_param("text", name)
    assert len(name) == MAX_PARAM_LENGTH
    assert name != other
