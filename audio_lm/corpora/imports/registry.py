"""Registry of the formats that can be imported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.errors import UserError, unknown
from audio_lm.corpora.imports import (
    dialogues,
    hf,
    kaldi,
    lhotse_cuts,
    llama_factory,
    ms_swift,
    nemo,
    qwen_eval,
    salmonn,
    table,
    trl,
    webdataset,
)
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.writer import ImportWriter


@dataclass(frozen=True)
class Format:
    """Data format of another project."""

    name: str

    what: str
    """Description in one line."""

    example: str
    """Example of the content."""

    read: Callable[[Path, ImportWriter, ImportOptions], None]
    """Add all rows of a file, or a folder, to the writer."""

    finds_files: bool = False
    """The path may be a name or a pattern of shards, such as ``manifest_{0..127}.json``, which the format looks up."""

    own_options: tuple[str, ...] = ()
    """Fields of ``ImportOptions`` that only this format reads."""


FORMATS: dict[str, Format] = {
    data_format.name: data_format
    for data_format in (
        Format(
            name=dialogues.NAME,
            what="dialogues, JSONL: turns, audios by path, span or cut, learn: false, rejected answers; see docs/dialogues.md",
            example='{"audios": ["a.wav"], "turns": [{"role": "user", "content": "<audio>Transcribe the speech."}, '
            '{"role": "assistant", "content": "Good morning.", "rejected": "Good evening."}]}',
            read=dialogues.read,
            own_options=("tools",),
        ),
        Format(
            name=ms_swift.NAME,
            what="ms-swift's messages, sharegpt, query-response or alpaca rows with audios, JSONL; also rejected answers",
            example='{"messages": [{"role": "user", "content": "<audio>Transcribe the speech."}, '
            '{"role": "assistant", "content": "Good morning."}], "audios": ["a.wav"]}',
            read=ms_swift.read,
            own_options=("tools",),
        ),
        Format(
            name=llama_factory.NAME,
            what="LLaMA-Factory's sharegpt, JSON described by dataset_info.json; chosen and rejected are read",
            example='[{"conversations": [{"from": "human", "value": "<audio>Transcribe the speech."}, '
            '{"from": "gpt", "value": "Good morning."}], "audios": ["a.wav"]}]',
            read=llama_factory.read,
            own_options=("tools",),
        ),
        Format(
            name=trl.NAME,
            what="trl's rows, JSONL: prompt, chosen and rejected, prompt and completion, or messages, with audios",
            example='{"prompt": [{"role": "user", "content": "<audio>Transcribe the speech."}], "chosen": "Good morning.", '
            '"rejected": "Good evening.", "audios": ["a.wav"]}',
            read=trl.read,
            own_options=("tools",),
        ),
        Format(
            name="nemo",
            what="NeMo's manifest of transcribed clips, JSONL, also tarred, and Canary's of transcribed or translated clips",
            example='{"audio_filepath": "a.wav", "offset": 0.0, "duration": 1.5, "text": "good morning", "lang": "en"}',
            read=nemo.read,
            finds_files=True,
            own_options=("tars",),
        ),
        Format(
            name=nemo.CONVERSATIONS,
            what="NeMo's conversations, JSONL, of share_gpt or with turns of text and audio",
            example='{"id": "1", "sound": "a.wav", "conversations": '
            '[{"from": "human", "value": "<sound>Transcribe the speech."}, {"from": "gpt", "value": "Good morning."}]}',
            read=nemo.read_conversations,
            own_options=("tools",),
        ),
        Format(
            name="qwen-eval",
            what="the evaluation files of Qwen-Audio and Qwen2-Audio, JSONL; the column gt may have a label",
            example='{"audio": "a.wav", "prompt": "Transcribe the speech.", "gt": "Good morning.", "source": "mine_test"}',
            read=qwen_eval.read,
        ),
        Format(
            name="salmonn",
            what="SALMONN's annotations, JSON; columns map tasks to labels",
            example='{"annotation": [{"path": "a.wav", "text": "good morning", "task": "asr"}]}',
            read=salmonn.read,
        ),
        Format(
            name=kaldi.NAME,
            what="a Kaldi data directory: wav.scp, text, and segments, utt2spk, spk2gender, utt2lang, utt2dur if they exist",
            example="wav.scp: utt1 wavs/a.wav",
            read=kaldi.read,
        ),
        Format(
            name=lhotse_cuts.NAME,
            what="Lhotse's cuts, or recordings beside their supervisions, JSONL(.gz) or JSON; or a folder of Shar",
            example="audio-lm import lhotse manifests/train_recordings.jsonl.gz --trim",
            read=lhotse_cuts.read,
            own_options=("trim", "supervisions"),
        ),
        Format(
            name=hf.NAME,
            what="a dataset of the Hugging Face Hub, or a folder in one of its formats, such as parquet with audio",
            example="audio-lm import hf openslr/librispeech_asr --config clean --split train.100 --language en",
            read=hf.read,
            finds_files=True,
            own_options=("dataset_split", "config", "revision"),
        ),
        Format(
            name=webdataset.NAME,
            what="WebDataset: tars of samples such as key.flac, key.json and key.txt; a folder or a pattern",
            example="audio-lm import webdataset 'shards/{000000..000009}.tar' --language en",
            read=webdataset.read,
            finds_files=True,
        ),
        Format(
            name="table",
            what="CSV, TSV or JSONL with a column audio, file_name, path or audio_filepath; or a folder with metadata.csv",
            example="file_name,text,language",
            read=table.read,
        ),
    )
}


def check_options(data_format: Format, options: ImportOptions) -> None:
    """Refuse options that a format does not read.

    Raises:
        UserError: names the option and the formats that read it.
    """
    defaults = ImportOptions()
    for name in dict.fromkeys(name for known in FORMATS.values() for name in known.own_options):
        if name not in data_format.own_options and getattr(options, name) != getattr(defaults, name):
            readers = [known.name for known in FORMATS.values() if name in known.own_options]
            raise UserError(
                f"{name} was given, which format {data_format.name!r} does not read -- it is an option of "
                f"{', '.join(readers)}; omit it"
            )


def find_format(name: str) -> Format:
    """Look up a format by name.

    Raises:
        UserError: the name is unknown.
    """
    if name not in FORMATS:
        raise UserError(unknown("format", name, FORMATS, see="audio_lm/corpora/imports/"))
    return FORMATS[name]
