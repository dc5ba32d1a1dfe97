"""Every format is imported by the command line, and one run takes two steps on all of them."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from tests.corpora.imports.hf_data import write_parquet, write_saved
from tests.run.command import run

TEXTS = ("one two", "three", "four five six", "seven")
PARTS = ("encoder", "projector", "new_tokens", "language_model")


def stage(task, source):
    """Two steps on one source."""
    return {
        "prompt": "chatml",
        "mixture": {"sources": {task: [source]}, "weights": {task: 1}},
        "parts": {part: {"lr": 1e-3} for part in PARTS},
        "schedule": {"kind": "cosine", "min_lr": 1e-5, "warmup_steps": 1},
        "steps": 2,
        "pack_tokens": 800,
        "packs_per_step": 1,
    }


@pytest.fixture
def wavs(tmp_path, monkeypatch):
    """Folder ``wavs`` of four clips, in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "wavs"
    folder.mkdir()
    for number in range(4):
        soundfile.write(
            folder / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 16_000), 16_000
        )
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(wavs, clip, text, **more):
    return [{clip: str(wavs / f"{number}.wav"), text: one, **more} for number, one in enumerate(TEXTS)]


def table(wavs):
    rows = "".join(f"{number}.wav,{text}\n" for number, text in enumerate(TEXTS))
    (wavs / "metadata.csv").write_text("file_name,text\n" + rows)
    return "table", wavs


def kaldi_with_pipes(wavs):
    folder = wavs.parent / "kaldi"
    folder.mkdir()
    (folder / "wav.scp").write_text("".join(f"u{n} sox {wavs}/{n}.wav -t wav - |\n" for n in range(4)))
    (folder / "text").write_text("".join(f"u{n} {text}\n" for n, text in enumerate(TEXTS)))
    return "kaldi", folder


def nemo(wavs):
    return "nemo", lines(wavs.parent / "nemo.json", rows_of(wavs, "audio_filepath", "text", duration=1.0))


def nemo_of_canary(wavs):
    more = {"source_lang": "en", "target_lang": "en", "taskname": "asr", "pnc": "yes"}
    return "nemo", lines(wavs.parent / "canary.json", rows_of(wavs, "audio_filepath", "answer", **more))


def nemo_in_tars(wavs):
    folder = wavs.parent / "tarred"
    folder.mkdir()
    with tarfile.open(folder / "audio_0.tar", "w") as tar:
        for number in range(4):
            content = (wavs / f"{number}.wav").read_bytes()
            info = tarfile.TarInfo(f"{number}.wav")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    rows = [{"audio_filepath": f"{n}.wav", "text": text, "shard_id": 0} for n, text in enumerate(TEXTS)]
    return "nemo", lines(folder / "tarred_audio_manifest.json", rows)


def recordings_of(wavs):
    return RecordingSet.from_recordings(Recording.from_file(wavs / f"{number}.wav") for number in range(4))


def lhotse_recordings(wavs):
    folder = wavs.parent / "manifests"
    folder.mkdir()
    recordings_of(wavs).to_file(folder / "mine_recordings_train.jsonl.gz")
    SupervisionSet.from_segments(
        SupervisionSegment(f"s{number}-{part}", str(number), part / 2, 0.5, text=text)
        for number, text in enumerate(TEXTS)
        for part in range(2)
    ).to_file(folder / "mine_supervisions_train.jsonl.gz")
    return "lhotse", folder, "--trim"


def cuts_of(wavs):
    return CutSet.from_cuts(
        MonoCut(
            f"c{one.id}", 0, 1.0, 0, [SupervisionSegment(one.id, one.id, 0, 1.0, text=text)], recording=one
        )
        for one, text in zip(recordings_of(wavs), TEXTS, strict=True)
    )


def lhotse_cuts(wavs):
    cuts_of(wavs).to_file(wavs.parent / "cuts.json")
    return "lhotse", wavs.parent / "cuts.json"


def lhotse_shar(wavs):
    (wavs.parent / "shar").mkdir()
    cuts_of(wavs).to_shar(wavs.parent / "shar", fields={"recording": "flac"}, shard_size=2)
    return "lhotse", wavs.parent / "shar"


def qwen_eval(wavs):
    rows = rows_of(wavs, "audio", "gt", source="mine")
    return "qwen-eval", lines(wavs.parent / "eval.jsonl", rows), "--column", "gt=text"


def salmonn(wavs):
    rows = rows_of(wavs, "path", "text", task="asr")
    (wavs.parent / "salmonn.json").write_text(json.dumps({"annotation": rows}))
    return "salmonn", wavs.parent / "salmonn.json"


def swift_in_five_shapes(wavs):
    question, answer = "<audio>Which words are these?", "One two."
    shapes = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]},
        {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]},
        {"conversation": [{"human": question, "assistant": answer}], "system": "Be short."},
        {"query": question, "response": answer, "history": [["Hello", "Hello!"]]},
        {"instruction": "Listen.", "input": question, "output": answer},
    ]
    return "ms-swift", lines(
        wavs.parent / "swift.jsonl", [row | {"audios": [str(wavs / "0.wav")]} for row in shapes]
    )


def llama_factory(wavs):
    turns = [{"from": "human", "value": "<audio>Which words are these?"}, {"from": "gpt", "value": "One."}]
    (wavs.parent / "llama.json").write_text(json.dumps([{"conversations": turns, "audios": ["wavs/0.wav"]}]))
    entry = {"file_name": "llama.json", "formatting": "sharegpt", "columns": {"audios": "audios"}}
    (wavs.parent / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    return "llama-factory", wavs.parent / "llama.json"


def nemo_share_gpt(wavs):
    turns = [{"from": "human", "value": "<sound>Which words are these?"}, {"from": "gpt", "value": "One."}]
    row = {"id": "1", "sound": str(wavs / "0.wav"), "conversations": turns}
    return "nemo-share-gpt", lines(wavs.parent / "share.jsonl", [row])


def hf_rows(wavs):
    return [
        {
            "audio": {"bytes": (wavs / f"{number}.wav").read_bytes(), "path": f"{number}.wav"},
            "sentence": text,
            "emotion": 0,
            "id": f"row-{number}",
        }
        for number, text in enumerate(TEXTS)
    ]


def hf_parquet(wavs):
    folder = write_parquet(wavs.parent / "parquet", hf_rows(wavs))
    return "hf", folder, "--text-column", "sentence", "--split", "train"


def hf_saved(wavs):
    return "hf", write_saved(wavs.parent / "saved", hf_rows(wavs)), "--text-column", "sentence"


def hf_audio_folder(wavs):
    folder = wavs.parent / "audiofolder"
    shutil.copytree(wavs, folder / "train")
    rows = "".join(f"{number}.wav,{text}\n" for number, text in enumerate(TEXTS))
    (folder / "train" / "metadata.csv").write_text("file_name,text\n" + rows)
    return "hf", folder


def webdataset(wavs):
    (wavs.parent / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(wavs.parent / "shards" / f"{shard:06d}.tar", "w") as tar:
            for number in (2 * shard, 2 * shard + 1):
                tar.add(wavs / f"{number}.wav", f"{number}.wav")
                info = tarfile.TarInfo(f"{number}.txt")
                info.size = len(TEXTS[number])
                tar.addfile(info, io.BytesIO(TEXTS[number].encode()))
    return "webdataset", wavs.parent / "shards" / "{000000..000001}.tar"


TRANSCRIBED = (
    table,
    kaldi_with_pipes,
    nemo,
    nemo_of_canary,
    nemo_in_tars,
    lhotse_recordings,
    lhotse_cuts,
    lhotse_shar,
    qwen_eval,
    salmonn,
    hf_parquet,
    hf_saved,
    hf_audio_folder,
    webdataset,
)
CONVERSATIONS = (swift_in_five_shapes, llama_factory, nemo_share_gpt)


@pytest.mark.slow
def test_every_format_is_imported_and_trained_for_two_steps(wavs, tmp_path):
    pytest.importorskip("datasets")
    stages, formats = {}, set()
    for task, makers in (("asr", TRANSCRIBED), ("chat", CONVERSATIONS)):
        for make in makers:
            format_name, path, *more = make(wavs)
            source = f"{make.__name__.replace('_', '-')}/all-train"
            language = () if format_name == "salmonn" else ("--language", "en")
            assert run("import", format_name, path, *more, *language, "--into", source) == 0, make.__name__
            stages[make.__name__] = stage(task, source)
            formats.add(format_name)
    assert formats >= {
        "table",
        "kaldi",
        "nemo",
        "lhotse",
        "qwen-eval",
        "salmonn",
        "ms-swift",
        "llama-factory",
        "hf",
        "webdataset",
    }
    recipe = {
        "use": {"model": "tiny", "hardware": "cpu"},
        "stages": stages,
        "tracking": {"uri": "sqlite:///mlflow.db"},
        "hardware": {"num_workers": 0},
    }
    (tmp_path / "formats.yaml").write_text(json.dumps(recipe))
    assert run("train", tmp_path / "formats.yaml", "--out", tmp_path / "run") == 0
    for name in stages:
        folder = tmp_path / "run" / "stages" / name
        assert json.loads((folder / "status.json").read_text())["step"] == 2
        (leaf,) = json.loads((folder / "mixture.json").read_text())["leaves"]
        assert leaf["clips"] >= 4, name
