import json

import pytest

from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig
from audio_lm.corpora.synthesis.by_model import RowsByModel, row_of
from audio_lm.corpora.synthesis.templates import SynthesisConfig
from tests.chat_server import ChatServer


def write_dialogue(body):
    """Model that obeys: one exchange about the first fact of the first clip."""
    wanted = json.loads(body["messages"][1]["content"])
    name, value = next(iter(wanted["clips"]["audio 1"].items()))
    turns = [
        {"user": f"What is the {name}?", "assistant": f"It is {value}.", "facts": [["audio 1", name]]}
    ] * wanted["exchanges"]
    table = {"turns": turns}
    if "rejected" in body["messages"][0]["content"]:
        table["rejected"] = "It is something else."
    return f"Sure:\n```json\n{json.dumps(table)}\n```"


@pytest.fixture
def rows(pools, tmp_path):
    """Function that makes rows with a model, and the rows it kept."""

    def make(answer, **more):
        config = SynthesisConfig(num_rows=12, **more)
        with ChatServer(answer) as server:
            settings = EndpointConfig(server.url, cache=tmp_path / "answers.jsonl", num_retries=0)
            with ChatEndpoint(settings) as client:
                make.maker = RowsByModel(client, pools, config, "train")
                found = list(make.maker)
        return found

    return make


def test_a_row_records_prompt_answer_and_model(rows):
    made = rows(write_dialogue)
    assert len(made) == 12
    for row in made:
        assert row["made"]["by"] == "tiny"
        facts = json.loads(row["made"]["prompt"][1]["content"])["clips"]
        assert len(facts) == len(row["audios"])
        assert "It is" in row["made"]["answer"]
        assert row["turns"][0]["content"].startswith("<audio>" * len(facts) + "What is the ")


def test_the_prompt_states_only_what_the_labels_state(rows, pools):
    for row in rows(write_dialogue):
        facts = json.loads(row["made"]["prompt"][1]["content"])["clips"]
        for number, audio in enumerate(row["audios"], start=1):
            name = audio["cut"].rsplit("/", 1)[-1]
            (clip,) = {
                id(clip): clip
                for pool in pools.clips.values()
                for clips in pool.values()
                for clip in clips
                if clip.cut.id == name
            }.values()
            assert set(facts[f"audio {number}"].values()) <= set(clip.answers.values())


def test_pairs_have_the_rejected_answer_of_the_model(rows):
    for row in rows(write_dialogue, pairs=1.0):
        assert row["turns"][-1]["rejected"] == "It is something else."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("no", "is no JSON of the requested form"),
        ('{"turns": [{"user": "?"}]}', "is no JSON of the requested form"),
        ('{"turns": []}', "is no JSON of the requested form"),
        (
            '{"turns": [{"user": "?", "assistant": "A dog.", "facts": [["audio 1", "text"]]}]}',
            "contains no value of a fact it cites",
        ),
        (
            '{"turns": [{"user": "?", "assistant": "A dog.", "facts": [["audio 9", "dog"]]}]}',
            "contains no value of a fact it cites",
        ),
    ],
)
def test_answers_that_the_labels_do_not_support_are_counted_by_reason(rows, answer, reason):
    assert rows(answer) == []
    assert rows.maker.num_refused == {reason: 12}


def test_a_placeholder_in_the_text_of_a_model_is_text(rows):
    rows(write_dialogue)
    request = rows.maker.request(0)
    name, value = next(iter(request.facts["audio 1"].items()))
    turn = {"user": "<audio>?", "assistant": value, "facts": [["audio 1", name]]}
    row, reason = row_of(request, json.dumps({"turns": [turn]}))
    assert reason == ""
    assert row["turns"][0]["content"] == "<audio>" * len(request.clips) + "\\<audio>?"
