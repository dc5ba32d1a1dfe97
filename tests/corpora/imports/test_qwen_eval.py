import pytest

from audio_lm.common.errors import DataError
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.questions import group_by_question

ROW = {"audio": "wavs/a.wav", "gt": "one two", "source": "librispeech_test_clean"}


def test_a_row_with_a_prompt_is_a_conversation(write_rows, import_cuts, render_example):
    row = ROW | {"prompt": "Detect the language and recognize the speech: <|en|>", "id": 7}
    (cut,) = import_cuts("qwen-eval", write_rows([row]), "all-test")
    text, num_samples = render_example(cut)
    assert cut.id == "7"
    assert num_samples == (6_400,)
    assert text.endswith(
        "<|audio_eos|>\nDetect the language and recognize the speech: <|en|><|im_end|>\n"
        "<|im_start|>assistant\none two<|im_end|>"
    )


def test_a_prompt_has_no_placeholders(write_rows, import_cuts, render_example):
    row = ROW | {"prompt": r"Is <audio> or \<audio> said?", "gt": "<audio>"}
    (cut,) = import_cuts("qwen-eval", write_rows([row]), "all-test")
    assert render_example(cut)[0].endswith(
        "<|audio_eos|>\nIs <audio> or \\<audio> said?<|im_end|>\n<|im_start|>assistant\n<audio><|im_end|>"
    )


def test_a_plain_row_is_a_transcript_and_one_with_a_question_an_answer(
    write_rows, import_cuts, render_example
):
    transcript, answer = import_cuts(
        "qwen-eval", write_rows([ROW, ROW | {"question": "How many?"}]), language="en"
    )
    assert render_example(transcript, "asr")[0].endswith("assistant\none two<|im_end|>")
    assert labels_of(answer)["question"] == "How many?"
    assert labels_of(answer)["answer"] == "one two"


def test_a_column_decides_the_label_of_the_answer(write_rows, import_cuts):
    rows = [ROW | {"gt": "happy", "prompt": "Which emotion?"}]
    (cut,) = import_cuts("qwen-eval", write_rows(rows), columns={"gt": "emotion"})
    assert labels_of(cut)["emotion"] == "happy"
    assert "conversation" not in labels_of(cut)


def test_a_translation_takes_its_languages_from_its_source(write_rows, import_cuts):
    rows = [ROW | {"gt": "eins zwei", "source": "covost2_en_de_test"}]
    (cut,) = import_cuts("qwen-eval", write_rows(rows), columns={"gt": "translation"})
    labels = labels_of(cut)
    assert (labels["language"], labels["target_language"], labels["translation"]) == ("en", "de", "eins zwei")


def test_errors_name_the_bad_rows(write_rows, import_cuts):
    rows = [ROW, {"audio": "wavs/a.wav", "source": "x"}, ROW | {"gt": ["a", "b"]}]
    with pytest.raises(
        DataError, match=r"(?s)rows.jsonl:2: .*'gt', 'text'.*rows.jsonl:3: 'gt' has 2 transcripts"
    ):
        import_cuts("qwen-eval", write_rows(rows))
    with pytest.raises(DataError, match="expected the languages of the translation"):
        import_cuts("qwen-eval", write_rows([ROW | {"source": "x"}]), columns={"gt": "translation"})
    with pytest.raises(DataError, match=r"\['source'\] are not read"):
        import_cuts("qwen-eval", write_rows([ROW]), columns={"source": "scene"})


def test_a_list_of_references_gives_a_cut_each_and_one_question(write_rows, import_cuts):
    rows = [
        ROW | {"gt": ["a bell", "a bell rings"], "source": "clotho_test", "id": 7},
        ROW | {"gt": ["rain"], "audio": "wavs/b.wav"},
    ]
    cuts = import_cuts("qwen-eval", write_rows(rows), "all-test", columns={"gt": "caption"})
    assert [(cut.id, labels_of(cut)["caption"]) for cut in cuts] == [
        ("7-1", "a bell"),
        ("7-2", "a bell rings"),
        ("all-test-000002", "rain"),
    ]
    assert [len(same) for same in group_by_question(cuts, "aac", "tags")] == [2, 1]
    prompted = [row | {"prompt": "What do you hear?"} for row in rows]
    cuts = import_cuts("qwen-eval", write_rows(prompted), "chat-test")
    assert [len(same) for same in group_by_question(cuts, "chat", "chatml")] == [2, 1]
    (cut,) = import_cuts(
        "qwen-eval", write_rows([ROW | {"gt": ["a", "b"]}]), "events-test", columns={"gt": "events"}
    )
    assert labels_of(cut)["events"] == ["a", "b"]
    with pytest.raises(DataError, match="'gt' is an empty list"):
        import_cuts("qwen-eval", write_rows([ROW | {"gt": []}]), "none-test")
    with pytest.raises(DataError, match=r"'gt' is \['a'\] -- expected a text"):
        import_cuts("qwen-eval", write_rows([ROW | {"gt": [["a"]]}]), "none-test", columns={"gt": "caption"})


def test_languages_of_a_translation_are_codes(write_rows, import_cuts):
    rows = [ROW | {"gt": "\u4e00", "source": "covost2_en_zh-CN_test"}]
    (cut,) = import_cuts("qwen-eval", write_rows(rows), columns={"gt": "translation"})
    assert cut.supervisions[0].custom["target_language"] == "zh"
    with pytest.raises(DataError, match="'xx' is unknown"):
        import_cuts(
            "qwen-eval",
            write_rows([rows[0] | {"source": "a_en_xx_b"}]),
            "b-test",
            columns={"gt": "translation"},
        )
