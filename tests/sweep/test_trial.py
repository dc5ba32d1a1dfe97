import json

from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.trial import FIRST, Trial

trials = st.builds(
    Trial,
    name=st.integers(0, 999).map("{:03}".format),
    purpose=st.sampled_from([*FIRST, "repeat", "design", "proposed"]),
    shares=st.dictionaries(st.text(), st.floats(0, 1)),
    settings=st.dictionaries(st.text(), st.text() | st.floats(-1e9, 1e9) | st.booleans()),
    seed=st.integers(0, 2**32 - 1),
    overrides=st.lists(st.text()).map(tuple),
)


@given(trials)
def test_a_trial_survives_its_line_in_the_ledger(trial):
    assert Trial.from_json(json.loads(json.dumps(trial.as_json()))) == trial
