import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_lm.common.errors import DataError, UserError
from audio_lm.data.manifest.cuts import load_waves, read_cuts
from audio_lm.evaluation.predict import read_predictions
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.run.ask import ClipOptions, open_model
from tests.model.originals import write_qwen2_audio


@pytest.fixture(scope="module")
def clips(small, tmp_path_factory):
    """Files with the clips of a benchmark."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for number, cut in enumerate(read_cuts(Path(small.data_dir), "synthetic/events-test")):
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], load_waves(cut)[0], 16_000, subtype="PCM_24")
    return paths


@pytest.fixture(scope="module")
def tagged(whole_run):
    return open_model(whole_run.path, task="sec")


@pytest.fixture(scope="module")
def chat(whole_run):
    return open_model(whole_run.path)


def texts(answers):
    return [answer.text for answer in answers]


def test_the_answers_are_those_of_the_benchmark_on_the_same_clips(tagged, whole_run, clips):
    predictions = read_predictions(whole_run.predictions / "events.jsonl")
    answers = list(tagged.ask(clips, task="sec", options=ClipOptions(max_new_tokens=4)))
    assert texts(answers) == [prediction.answer for prediction in predictions]
    assert [answer.paths for answer in answers] == [(str(path),) for path in clips]
    assert len({len(text) for text in texts(answers)}) >= 1


def test_an_exported_folder_answers_as_its_run(tagged, whole_run, clips, tmp_path):
    export_run(
        whole_run.path, tmp_path / "folder", ExportSettings(stage="pretrain"), report=lambda line: None
    )
    exported = open_model(tmp_path / "folder")
    options = ClipOptions(max_new_tokens=8)
    for task, prompt in (("sec", "tags"), ("sec", "natural"), ("mna", "chatml")):
        both = [
            list(model.ask(clips, task=task, prompt=prompt, options=options)) for model in (tagged, exported)
        ]
        assert texts(both[0]) == texts(both[1]), (task, prompt)
    assert any(texts(both[0]))


def test_a_chat_model_answers_the_clip_alone_and_questions_about_all_clips(chat, clips):
    options = ClipOptions(max_new_tokens=6)
    (alone,) = chat.ask(clips[:1], options=options)
    assert (alone.task, alone.prompt) == ("chat", "chatml")
    (answer,) = chat.ask(clips, question="Which one is louder?", options=options)
    assert answer.paths == tuple(map(str, clips))
    (other,) = chat.ask(clips[:1], question="Which one is louder?", options=options)
    assert len(other.paths) == 1


def test_the_question_of_a_published_model_is_in_its_tokens(tmp_path, clips, monkeypatch):
    """The prompt that reaches the model is that of the processor of transformers."""
    from transformers import AutoProcessor

    write_qwen2_audio(tmp_path)
    model = open_model(tmp_path)
    seen = []
    collate = model._collate

    def watch(cuts):
        seen.append(cuts[0].custom["example"].token_ids)
        return collate(cuts)

    monkeypatch.setattr(model, "_collate", watch)
    options = ClipOptions(max_new_tokens=1)
    list(model.ask(clips[:2], question="Which one?", options=options))
    processor = AutoProcessor.from_pretrained(tmp_path)
    content = [{"type": "audio"}, {"type": "audio"}, {"type": "text", "text": "Which one?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    waves = [soundfile.read(path, dtype="float32")[0] for path in clips[:2]]
    inputs = processor(text=text, audio=waves, sampling_rate=16_000)
    assert seen[0] == list(inputs["input_ids"][0])
    list(model.ask(clips[:1], task="asr", prompt="natural", labels={"language": "German"}, options=options))
    text = "<|audio_bos|><|AUDIO|><|audio_eos|>Detect the language and recognize the speech: <|de|>"
    assert seen[1] == list(processor(text=text, audio=waves[:1], sampling_rate=16_000)["input_ids"][0])


def test_the_language_of_tags_is_detected_where_it_is_not_given(tagged, clips):
    options = ClipOptions(max_new_tokens=2)
    (detected,) = tagged.ask(clips[:1], task="sgc", options=options)
    assert detected.language is not None
    (same,) = tagged.ask(clips[:1], task="sgc", labels={"language": detected.language}, options=options)
    assert (same.text, same.language) == (detected.text, None)
    (fixed,) = tagged.ask(clips[:1], task="srwt-en", options=options)
    assert fixed.language is None, "the task is for English alone"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "was trained with sec, mna; choose one with --task, such as --task sec"),
        ({"task": "ars"}, "Did you mean 'asr'"),
        ({"task": "asr", "question": "Who?"}, "give one of them"),
        ({"task": "asr", "prompt": "tag"}, "Did you mean 'tags'"),
        ({"task": "chat"}, "a chat needs prompt chatml"),
        ({"task": "s2tt"}, "needs target_language; give it with --label target_language"),
        ({"task": "asr", "labels": {"gender": "male"}}, "label 'gender' has no effect"),
        (
            {"question": "Who?", "labels": {"gender": "male"}},
            "label 'gender' has no effect beside a question",
        ),
        ({"task": "asr", "labels": {"language": "Klingonish"}}, "language 'Klingonish' is unknown"),
        ({"task": "sv"}, "task 'sv' is about 2 clips, and there are 1"),
    ],
)
def test_an_unclear_question_is_one_sentence(tagged, clips, options, words):
    with pytest.raises(UserError, match=words) as caught:
        list(tagged.ask(clips[:1], **options))
    assert "\n" not in str(caught.value)


def test_a_long_clip_is_refused_or_truncated(tagged, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(31 * 16_000), 16_000)
    with pytest.raises(DataError, match="--long-audio truncate"):
        list(tagged.ask([path], task="sec"))
    assert list(tagged.ask([path], task="sec", options=ClipOptions("truncate", max_new_tokens=1)))


def test_the_only_task_of_a_stage_needs_no_name(tagged, clips, monkeypatch):
    from dataclasses import replace

    from audio_lm.run.ask import AnsweringModel

    only = AnsweringModel(replace(tagged.loaded, tasks=("sec",)))
    options = ClipOptions(max_new_tokens=4)
    assert texts(only.ask(clips[:1], options=options)) == texts(
        tagged.ask(clips[:1], task="sec", options=options)
    )


def test_answers_are_plain_data(tagged, clips):
    from dataclasses import asdict

    (answer,) = tagged.ask(clips[:1], task="sec", options=ClipOptions(max_new_tokens=1))
    assert json.loads(json.dumps(asdict(answer)))["task"] == "sec"
