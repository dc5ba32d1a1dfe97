import json

from hypothesis import given
from hypothesis import strategies as st

from audio_lm.sweep.config import MetricConfig, PruningConfig
from audio_lm.sweep.facts import SweepFacts

texts = st.lists(st.text(max_size=8), max_size=3).map(tuple)
metrics = st.builds(MetricConfig, st.sampled_from(["min", "max"]), st.floats(0, 10))
facts = st.builds(
    SweepFacts,
    name=st.text(),
    recipe=st.text(),
    stage=st.text(),
    tasks=texts,
    metrics=st.dictionaries(st.text(max_size=8), metrics, max_size=3),
    overrides=texts,
    typed=texts,
    pruning=st.none() | st.builds(PruningConfig, st.floats(0, 1), st.integers(2, 9), st.floats(0, 1)),
    num_sampled=st.integers(0, 99),
)


@given(facts)
def test_facts_survive_the_first_line_of_the_ledger(made):
    assert SweepFacts.from_json(json.loads(json.dumps(made.as_json()))) == made
