import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.labels import labels_of


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


TURNS = [turn("user", "<audio>What do you hear?"), turn("assistant", "one two")]


def test_a_conversation_with_clips_has_the_turns_of_the_file(write_rows, import_cuts, render_example):
    row = {
        "messages": [
            turn("system", "Be brief."),
            turn("user", "<audio><audio>Which is longer?"),
            turn("assistant", "two"),
            turn("user", "And now?<audio>"),
            turn("assistant", "three"),
        ],
        "audios": ["wavs/a.wav", "wavs/c.wav", "wavs/b.wav"],
    }
    (cut,) = import_cuts("ms-swift", write_rows([row]), language="en")
    text, num_samples = render_example(cut)
    assert num_samples == (6_400, 12_800, 9_600)
    assert [len(wave) for wave in load_waves(cut)] == [6_400, 12_800, 9_600]
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nAudio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "Which is longer?<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n<|im_start|>user\n"
        "And now?Audio 3: <|audio_bos|><|AUDIO|><|audio_eos|>\n<|im_end|>\n"
        "<|im_start|>assistant\nthree<|im_end|>"
    )
    assert labels_of(cut)["language"] == "en"
    assert set(labels_of(cut)["honesty"].values()) == {"declared"}


def test_audio_inside_turns_and_audio_without_a_placeholder_are_read(write_rows, import_cuts, render_example):
    inside = [
        turn("user", [{"type": "audio", "audio": "wavs/a.wav"}, {"type": "text", "text": "What?"}]),
        turn("assistant", "one"),
    ]
    without = [turn("system", "Be brief."), turn("user", "What?"), turn("assistant", "one")]
    first, second = import_cuts(
        "ms-swift", write_rows([{"messages": inside}, {"messages": without, "audio": "wavs/b.wav"}])
    )
    for cut, num_samples in ((first, 6_400), (second, 9_600)):
        text, num_samples_found = render_example(cut)
        assert num_samples_found == (num_samples,)
        assert "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat?<|im_end|>" in text, text


def test_clips_stay_inside_their_turn_and_an_escaped_placeholder_is_text(
    write_rows, import_cuts, render_example
):
    as_text = [turn("user", r"A: <audio> is \<audio>, B: <audio>?"), turn("assistant", r"\<audio>")]
    parts = [
        {"type": "text", "text": r"A: \\"},
        {"type": "audio", "audio": "wavs/a.wav"},
        {"type": "text", "text": "B"},
    ]
    rows = [
        {"messages": as_text, "audios": ["wavs/a.wav", "wavs/b.wav"]},
        {"messages": [turn("user", parts), turn("assistant", "one")]},
    ]
    first, second = import_cuts("ms-swift", write_rows(rows))
    assert render_example(first)[0].endswith(
        "user\nA: Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n is <audio>, "
        "B: Audio 2: <|audio_bos|><|AUDIO|><|audio_eos|>\n?<|im_end|>\n<|im_start|>assistant\n<audio><|im_end|>"
    )
    assert (
        "user\nA: \\\\Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nB<|im_end|>" in render_example(second)[0]
    )


def test_a_row_of_text_only_has_no_clip(write_rows, import_cuts, render_example):
    (cut,) = import_cuts(
        "ms-swift", write_rows([{"messages": [turn("user", "Hi"), turn("assistant", "Hello")]}])
    )
    text, num_samples = render_example(cut)
    assert num_samples == ()
    assert text.endswith("user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>")


@pytest.mark.parametrize("rejected", ["three", [turn("assistant", "three")]])
def test_a_rejected_answer_is_a_text(write_rows, import_cuts, rejected):
    row = {"messages": TURNS, "audios": ["wavs/a.wav"], "rejected_response": rejected}
    (cut,) = import_cuts("ms-swift", write_rows([row]))
    assert labels_of(cut)["rejected"] == "three"
    assert labels_of(cut)["conversation"][-1]["content"] == [{"text": "one two"}]


def test_rejected_messages_become_a_text_if_audio_and_question_are_equal(write_rows, import_cuts):
    def row(question, audio):
        messages = [turn("user", f"<audio>{question}"), turn("assistant", "three")]
        rejected = {"rejected_messages": messages, "rejected_audios": [audio]}
        return {"messages": TURNS, "audios": ["wavs/a.wav"], **rejected}

    rows = [row("What do you hear?", "wavs/a.wav"), row("Who?", "wavs/a.wav"), row("Who?", "wavs/c.wav")]
    same, other_question, other_audio = import_cuts("ms-swift", write_rows(rows))
    other = [
        {"role": "user", "content": [{"audio": 1}, {"text": "Who?"}]},
        {"role": "assistant", "content": [{"text": "three"}]},
    ]
    assert labels_of(same)["rejected"] == "three"
    assert labels_of(other_question)["rejected"] == labels_of(other_audio)["rejected"] == other
    assert not other_question.custom
    assert other_audio.custom["rejected_audio_1"].load_audio().shape == (1, 12_800)


def test_rejected_audio_alone_gives_the_same_conversation_on_another_clip(
    write_rows, import_cuts, render_example
):
    row = {"messages": TURNS, "audios": ["wavs/a.wav"], "rejected_audios": ["wavs/b.wav"]}
    (cut,) = import_cuts("ms-swift", write_rows([row]))
    assert labels_of(cut)["rejected"] == labels_of(cut)["conversation"]
    assert cut.custom["rejected_audio_1"].duration == 0.6
    assert render_example(cut)[1] == (6_400,), "the rejected clip is none of the conversation's"


def test_cuts_of_text_and_cuts_with_rejected_clips_can_be_indexed(write_rows, import_cuts, tmp_path):
    rows = [
        {"messages": TURNS, "audios": ["wavs/a.wav"], "rejected_audios": ["wavs/b.wav"]},
        {"messages": [turn("user", "Hi"), turn("assistant", "Hello")], "rejected_response": "No"},
    ]
    cuts = import_cuts("ms-swift", write_rows(rows))
    manifest = tmp_path / "data" / "mine" / "all-train.jsonl"
    index = compile_source(manifest, "mine/all-train", IndexRules(), cache=tmp_path / "cache")
    assert len(index) == 2
    assert labels_of(cuts[1])["rejected"] == "No"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"audios": []}, "1 placeholders for audio .* 0 audio files"),
        ({"audios": ["wavs/gone.wav"]}, "gone.wav is missing"),
        ({"audios": ["cat wavs/a.wav |"]}, "commands are not run"),
        ({"audios": ["https://example.org/a.wav"]}, "URLs are not downloaded"),
        ({"audios": {"path": "wavs/a.wav"}}, "expected a list of paths"),
        ({"audios": ["wavs/a.wav"] * 10}, "10 clips"),
        ({"messages": None}, "the row has none of messages"),
        ({"messages": [turn("user", "<audio>?")]}, "without an answer"),
        ({"messages": [turn("tool", "<audio>?"), turn("assistant", "x")]}, "turn 1 calls a tool or is"),
        ({"messages": [*TURNS, *TURNS[1:]]}, "alternating user"),
        ({"messages": [TURNS[0], turn("assistant", "one", loss=False)]}, "no answer is learned"),
        ({"messages": [TURNS[0], turn("assistant", "one", loss_scale=0.5)]}, "turn 2 has the loss"),
        (
            {"messages": [turn("user", "?"), turn("assistant", "<audio>")]},
            "turn 2 is the assistant's and contains audio",
        ),
        ({"messages": [TURNS[0], turn("assistant", None)]}, "content of turn 2 is None"),
        ({"images": ["a.png"]}, "'images'"),
        ({"tools": '[{"name": "off"}]'}, "'tools' describes or calls tools"),
        (
            {"messages": [TURNS[0], turn("assistant", "I do.", tool_calls=[{"id": 1}])]},
            "turn 2 calls a tool",
        ),
        (
            {"messages": [TURNS[0], turn("assistant", None, function_call={"name": "off"})]},
            "turn 2 calls a tool",
        ),
        (
            {"rejected_messages": [TURNS[0], turn("assistant", "x", tool_calls=[{"id": 1}])]},
            "turn 2 calls a tool",
        ),
        ({"messages": [*TURNS, turn("tool_call", "{}"), turn("assistant", "x")]}, "turn 3 calls a tool"),
        ({"label": False}, "KTO"),
        ({"rejected_response": "one two"}, "rejected answer equals the chosen one"),
    ],
)
def test_the_error_names_a_row_that_cannot_be_trained_on(write_rows, import_cuts, changed, reason, tmp_path):
    good = {"messages": TURNS, "audios": ["wavs/a.wav"]}
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{reason}"):
        import_cuts("ms-swift", write_rows([good, good | changed]))
    assert not (tmp_path / "data").exists()


def test_unread_keys_of_rows_and_turns_are_reported(write_rows, import_cuts):
    messages = [TURNS[0], turn("assistant", "one two", name="Ada", tool_calls=[])]
    import_cuts(
        "ms-swift",
        write_rows([{"messages": messages, "audios": ["wavs/a.wav"], "channel": "news", "tools": "[]"}]),
    )
    assert "mine: columns not read: channel (1 rows), messages[].name (1 rows)" in import_cuts.lines


def test_a_json_array_in_one_line_is_imported_with_row_numbers_as_ids(folder, import_cuts):
    rows = [{"messages": TURNS, "audios": [f"wavs/{name}.wav"]} for name in "abc"]
    (folder / "chats.json").write_text(json.dumps(rows))
    cuts = import_cuts("ms-swift", folder / "chats.json")
    assert [cut.id for cut in cuts] == ["all-train-000001", "all-train-000002", "all-train-000003"]
    (folder / "chats.json").write_text(json.dumps([rows[0], {"messages": []}]))
    with pytest.raises(DataError, match=r"chats\.json:1: row 2: 'messages' is \[\]"):
        import_cuts("ms-swift", folder / "chats.json", "other-train")


def test_turns_without_loss_are_not_learned(write_rows, import_cuts):
    rows = [
        {"messages": [*TURNS, turn("user", "And?"), turn("assistant", "three")], "audios": ["wavs/a.wav"]}
        for _ in range(2)
    ]
    rows[0]["messages"][1] = turn("assistant", "one two", loss=False)
    rows[1]["messages"][1] = turn("assistant", "one two", loss_scale=0)
    for cut in import_cuts("ms-swift", write_rows(rows)):
        flags = [row.get("learn", True) for row in labels_of(cut)["conversation"]]
        assert flags == [True, False, True, True]


def test_dropped_tool_turns_are_counted(write_rows, import_cuts):
    call = turn("assistant", None, tool_calls=[{"id": 1}])
    with_tools = [TURNS[0], call, turn("tool", "42"), TURNS[1]]
    rows = [
        {"messages": with_tools, "audios": ["wavs/a.wav"], "tools": [{"name": "off"}]},
        {"messages": TURNS, "audios": ["wavs/a.wav"]},
    ]
    first, second = import_cuts("ms-swift", write_rows(rows), tools="drop")
    assert labels_of(first)["conversation"] == labels_of(second)["conversation"]
    assert "mine: 2 tool turns of 1 conversations were dropped" in import_cuts.lines
