import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from audio_lm.common.errors import DataError, RecipeError, UserError
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.evaluation.definitions import read_definitions
from audio_lm.evaluation.predict import read_predictions
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.run.evaluate_model import evaluate_model
from audio_lm.run.folder import RunFolder
from audio_lm.run.named_benchmarks import BenchmarkOptions
from audio_lm.run.scores import report
from tests.cli.command import run
from tests.model import qwen_audio
from tests.model.originals import write_qwen2_audio
from tests.run.test_load_model import base64_of_bytes

SOURCE = "made/words-test"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Four clips of two speakers, with text, gender and emotion."""
    folder = tmp_path_factory.mktemp("data")
    writer = CutWriter(folder / "made", folder / "made")
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = {
            "language": "en",
            "text": "one two",
            "emotion": ("happy", "sad")[number % 2],
            "speaker": f"s{number // 2}",
        }
        writer.add("words-test", rng.normal(0, 0.1, 4_000 + 700 * number).astype(np.float32), labels)
    writer.close()
    return folder, writer.cuts("words-test")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "tiny-qwen2-audio"
    folder.mkdir()
    return folder, write_qwen2_audio(folder)


def amplify(model, folder):
    """Multiply all weights, here and in the folder, so that other clips have other answers."""
    for parameter in model.parameters():
        parameter.data.mul_(4)
    weights = {name: tensor * 4 for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return model


def options(**changes):
    return BenchmarkOptions(**{"sources": [SOURCE], "tasks": ["asr"], "max_new_tokens": 6, **changes})


@pytest.mark.parametrize("layout", [4, 5])
def test_a_published_model_answers_as_transformers_with_its_published_prompt(
    data_dir, layout, tmp_path, console
):
    folder, (data, cuts) = tmp_path / "model", data_dir
    folder.mkdir()
    theirs = amplify(write_qwen2_audio(folder, layout=layout), folder)
    out = tmp_path / "out"
    scores = evaluate_model(
        folder, options(prompts=["natural"], metrics=["wer"]), data_dir=str(data), out=out, console=console
    )
    assert scores.keys() == {f"{SOURCE}/asr/natural/wer"}
    answers = read_predictions(out / "predictions" / "made-words-test-asr-natural.jsonl")
    processor = AutoProcessor.from_pretrained(folder)
    text = "<|audio_bos|><|AUDIO|><|audio_eos|>Detect the language and recognize the speech: <|en|>"
    for cut, answer in zip(cuts, answers, strict=True):
        inputs = processor(text=text, audio=load_waves(cut), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            generated = theirs.generate(**inputs, max_new_tokens=6, do_sample=False)[0]
        expected = generated[inputs["input_ids"].shape[1] :]
        assert answer.answer == processor.decode(expected, skip_special_tokens=False), cut.id
        assert answer.speaker == cut.supervisions[0].speaker
        assert answer.path
    assert len({answer.answer for answer in answers}) > 1


def test_benchmarks_of_the_same_model_share_a_folder_and_a_table(
    data_dir, published, tmp_path, console, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data, model = str(data_dir[0]), published[0]
    evaluate_model(model, options(), data_dir=data, console=console)
    evaluate_model(
        model,
        options(tasks=["er"], metrics=["acc"], question="Is it happy?", name="moods"),
        data_dir=data,
        console=console,
    )
    (folder,) = (tmp_path / "evaluations").iterdir()
    assert folder.name.startswith("tiny-qwen2-audio-")
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["majority/moods/acc"] == 0.5
    assert scores.keys() == {f"{SOURCE}/asr/{metric}" for metric in ("wer", "cer")} | {
        "moods/acc",
        "majority/moods/acc",
    }
    assert read_definitions(folder / "predictions")["moods"].benchmark.question == "Is it happy?"
    shown = type(console)(record=True, width=160)
    report(folder, shown)
    assert "majority of moods: 'happy', 2 of 4 in the benchmark" in shown.export_text()
    other = tmp_path / "other"
    other.mkdir()
    write_qwen2_audio(other, seed=1)
    with pytest.raises(UserError, match=r"holds the evaluation of .*tiny-qwen2-audio; name another folder"):
        evaluate_model(other, options(), data_dir=data, out=folder, console=console)
    with pytest.raises(UserError, match="holds other files; name another folder"):
        evaluate_model(other, options(), data_dir=data, out=other, console=console)


def test_a_qwen_audio_is_evaluated_with_its_tags(data_dir, tmp_path, console):
    folder = tmp_path / "qwen_audio"
    folder.mkdir()
    (folder / "qwen.tiktoken").write_text(
        "".join(f"{token} {rank}\n" for rank, token in enumerate(base64_of_bytes()))
    )
    start = 256 + 209 + 3311
    qwen_audio.write(folder, num_rows=start + 10, start_id=start)
    evaluate_model(folder, options(), data_dir=str(data_dir[0]), out=tmp_path / "out", console=console)
    (definition,) = read_definitions(tmp_path / "out" / "predictions").values()
    assert definition.benchmark.prompt == "tags"
    with pytest.raises(RecipeError, match="was not trained with prompt: natural"):
        evaluate_model(
            folder,
            options(prompts=["natural"]),
            data_dir=str(data_dir[0]),
            out=tmp_path / "out",
            console=console,
        )


def test_a_run_and_its_export_give_the_same_answers(data_dir, whole_run, tmp_path, console):
    shutil.copytree(whole_run.path, tmp_path / "run")
    copy = RunFolder(tmp_path / "run")
    export_run(copy.path, tmp_path / "exported", ExportSettings(stage="pretrain"), report=lambda line: None)
    both = options(tasks=["er"], prompts=["tags", "natural"], question=None)
    before = json.loads(copy.scores.read_text())
    evaluate_model(copy.path, both, stage="pretrain", data_dir=str(data_dir[0]), console=console)
    evaluate_model(
        tmp_path / "exported", both, data_dir=str(data_dir[0]), out=tmp_path / "out", console=console
    )
    mine = read_predictions(copy.predictions / "made-words-test-er.jsonl")
    theirs = read_predictions(tmp_path / "out" / "predictions" / "made-words-test-er.jsonl")
    assert [one.answer for one in mine] == [one.answer for one in theirs]
    scores = json.loads(copy.scores.read_text())
    assert scores.items() >= before.items(), "the run's own scores stay"
    assert {f"{SOURCE}/er/acc", f"{SOURCE}/er/natural/acc"} <= scores.keys(), "two prompts on the same clips"


def test_missing_clips_labels_and_tokens_are_refused_before_the_weights_are_read(
    data_dir, published, tmp_path, console
):
    model, out = published[0], tmp_path / "out"
    for changes, error, words in (
        ({"sources": ["made/gone-test"]}, DataError, "benchmark 'made/gone-test/asr': cut-set"),
        ({"tasks": ["sgc"]}, DataError, r"benchmark 'made/words-test/sgc': cut .*: no label 'gender'"),
        ({"tasks": ["chat"], "metrics": ["acc"]}, DataError, "needs the label 'conversation'"),
        ({"prompts": ["tags"]}, RecipeError, "lacks <audio>, </audio> -- expected natural or chatml"),
        ({"metrics": ["werr"]}, RecipeError, "Did you mean 'wer'"),
        (
            {"question": "Which?", "prompts": ["tags"]},
            RecipeError,
            "has no effect, because tags are not words",
        ),
    ):
        with pytest.raises(error, match=words):
            evaluate_model(model, options(**changes), data_dir=str(data_dir[0]), out=out, console=console)
    assert not out.exists()


def test_options_that_belong_to_the_other_kind_of_model_are_refused(whole_run, published, tmp_path):
    with pytest.raises(UserError, match=r"--out .* has no effect"):
        evaluate_model(whole_run.path, options(), out=tmp_path)
    with pytest.raises(UserError, match="is no run, so it has no stage 'chat'"):
        evaluate_model(published[0], options(), stage="chat")


def test_the_command_evaluates_a_published_folder_without_a_recipe(
    data_dir, published, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", published[0], "--source", SOURCE, "--task", "asr,er", "--data-dir", data_dir[0]]
    assert run(*command, "--max-new-tokens", 4) == 0
    assert "word error rate" in capsys.readouterr().out
    assert run("evaluate", published[0]) == 2
    assert run("evaluate", tmp_path / "gone") == 2
    assert run(*command, "seed=1") == 2
    messages = capsys.readouterr().err.splitlines()
    expected = ("--source is missing", "does not exist", "belongs to the recipe of a run")
    for words, message in zip(expected, messages, strict=True):
        assert message.startswith("audio-lm: ")
        assert words in message


@pytest.mark.parametrize("layout", [4, 5])
def test_a_suite_is_evaluated_with_a_published_folder_and_sets_that_are_not_here_are_named(
    small, layout, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_qwen2_audio(folder, layout=layout)
    command = ["evaluate", folder, "--max-clips", 2, "--data-dir", small.data_dir, "--out", tmp_path / "out"]
    assert run(*command, "--benchmarks", "synthetic,multiple_choice") == 0
    printed = capsys.readouterr().out
    for name in ("mmau_test_mini", "mmar", "mmau_pro_closed", "asr_digits"):
        assert f"left out: benchmark '{name}': cut-set" in printed
    assert "audio-lm prepare mmau" in printed
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {"sound_events/acc", "silence/notes/pitch_acc", "dialogues/acc"} <= scores.keys()
    kept = read_definitions(tmp_path / "out" / "predictions")
    clips = {name: entry.num_clips for name, entry in kept.items()}
    assert clips == {"sound_events": 2, "notes": 2, "dialogues": 2}
    assert kept["notes"].benchmark.prompt == "chatml", "it has no embeddings of tags"
    answers = (tmp_path / "out" / "predictions" / "notes.jsonl").read_bytes()
    assert run(*command, "--benchmarks", "synthetic") == 0
    assert "notes: kept, answered before" in capsys.readouterr().out
    assert (tmp_path / "out" / "predictions" / "notes.jsonl").read_bytes() == answers
    assert run(*command, "--benchmarks", "multiple_choice") == 2
    message = capsys.readouterr().err
    assert (
        "none of 3 benchmarks can be evaluated: benchmark 'mmau_test_mini': cut-set 'mmau/test_mini-test'"
        in message
    )
