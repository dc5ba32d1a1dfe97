import json
import shutil

import pytest

from audio_lm.common.chat_endpoint import EndpointConfig, EndpointError
from audio_lm.common.errors import UserError
from audio_lm.corpora.synthesis.synthesize import synthesize
from audio_lm.corpora.synthesis.templates import SynthesisConfig
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import load_waves, read_cuts
from audio_lm.data.manifest.labels import labels_of
from tests.chat_server import ChatServer, Fault
from tests.corpora.synthesis.labelled_clips import SOURCE
from tests.corpora.synthesis.test_by_model import write_dialogue


@pytest.fixture
def data(data_dir, tmp_path):
    """Copy of the data folder, to write to."""
    shutil.copytree(data_dir, tmp_path / "data")
    return tmp_path / "data"


def test_templates_make_a_cut_set_that_can_be_trained_on(data, vocabulary):
    lines = []
    config = SynthesisConfig(num_rows=30, pairs=0.5)
    manifest = synthesize([SOURCE], "mine/talks-train", data, config, lines.append)
    assert manifest == data.absolute() / "mine" / "talks-train.jsonl"
    cuts = read_cuts(data, "mine/talks-train")
    assert len(cuts) == 30
    assert 5 < sum("rejected" in labels_of(cut) for cut in cuts) < 25
    maker = ExampleMaker(vocabulary, "chatml")
    for cut in cuts:
        example = maker.example(cut, "chat")
        assert [len(wave) for wave in load_waves(cut)] == list(example.num_samples)
    assert any("num_events" in line for line in lines)
    rows = [json.loads(line) for line in (data / "mine" / "talks-train.dialogues.jsonl").open()]
    assert [row["made"]["by"] for row in rows] == ["templates"] * 30


def test_only_missing_answers_are_requested_again(data):
    config = SynthesisConfig(num_rows=70)
    with ChatServer(write_dialogue) as server:
        endpoint = EndpointConfig(server.url, num_retries=0)
        server.faults.append(Fault(500))
        with pytest.raises(EndpointError, match="HTTP 500"):
            synthesize([SOURCE], "mine/talks-train", data, config, print, endpoint=endpoint)
        num_before = len(server.requests)
        assert not (data / "mine" / "talks-train.jsonl").exists()
        synthesize([SOURCE], "mine/talks-train", data, config, print, endpoint=endpoint)
        assert len(server.requests) <= 70 + 1
        assert len(server.requests) > num_before
        synthesize([SOURCE], "mine/talks-train", data, config, print, endpoint=endpoint, overwrite=True)
        assert len(server.requests) <= 70 + 1
    assert len(read_cuts(data, "mine/talks-train")) == 70


def test_unusable_answers_are_reported_and_none_at_all_is_an_error(data):
    lines, config = [], SynthesisConfig(num_rows=3)
    with ChatServer("nothing") as server:
        endpoint = EndpointConfig(server.url)
        with pytest.raises(UserError, match="no dialogue was made"):
            synthesize([SOURCE], "mine/talks-train", data, config, lines.append, endpoint=endpoint)
    assert lines[-1] == "3 answers of the model were left out: an answer is no JSON of the requested form"


@pytest.mark.parametrize(
    ("into", "reason"),
    [
        ("mine/talks", "expected corpus/subset-split"),
        ("talks-train", "expected corpus"),
        ("made/clips-train", "exists"),
    ],
)
def test_a_name_that_is_taken_or_no_cut_set_is_refused(data, into, reason):
    with pytest.raises(UserError, match=reason):
        synthesize([SOURCE], into, data, SynthesisConfig(num_rows=2), print)
