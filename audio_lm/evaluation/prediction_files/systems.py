"""Files of one list of answers: Qwen-Audio and Qwen2-Audio, Kimi-Audio-Evalkit, NeMo manifests, our own, and plain tables.

Source: Qwen-Audio, eval_audio/ at b50fb95; Qwen2-Audio, the same at 595360e; Kimi-Audio-Evalkit, almeval/datasets/ at
4080c49; NeMo, nemo/collections/asr/metrics/wer.py (``word_error_rate``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.languages import UNKNOWN_LANGUAGE, find_language
from audio_lm.evaluation.prediction_files.choice_sets import CLEAN as CHOICE_METRICS
from audio_lm.evaluation.prediction_files.format import (
    FileFormat,
    ReadOptions,
    check_predictions,
    group_rows,
)
from audio_lm.evaluation.prediction_files.records import Record
from audio_lm.evaluation.prediction_files.rows import (
    FileBenchmark,
    FileRow,
    Official,
    choices_of,
    lettered_choices,
    required_text,
    text_field,
)

STAMPS = re.compile(r"<\|\d+\.\d\d\|>")
LANGUAGE_OF_CORPUS = {"librispeech": "en", "gigaspeech": "en", "tedlium": "en"} | dict.fromkeys(
    ("aishell1", "aishell2", "aishell", "wenetspeech"), "zh"
)
SPEECH_CORPORA = re.compile(
    r"librispeech|aishell|common_?voice|^cv_?\d*_|fleurs|gigaspeech|tedlium|wenetspeech|asr", re.I
)
TRANSLATION_CORPORA = re.compile(r"covost|s2tt|_st_", re.I)
QUESTION_CORPORA = re.compile(r"aqa", re.I)
LABEL_CORPORA = re.compile(r"meld|vocal_?sound|cochl|tut|scene|emotion|ser\b", re.I)
CAPTION_CORPORA = re.compile(r"clotho|audiocaps|caption", re.I)
TRANSCRIBE = re.compile(r"transcri|recogni[sz]e|识别|轉|转|听写|轉寫", re.I)

ASR = ((Official("wer_qwen_audio"), Official("wer_qwen2_audio")), ("wer_spoken",))
LABELS = ((Official("acc"),), ("acc_loose",))
BINARY = ((Official("acc"), Official("acc_binary")), ("acc_loose",))
CAPTIONS = ((Official("cider_d"), Official("spice"), Official("spider")), ("rouge_l",))
TRANSLATION = ((Official("bleu_qwen_audio"),), ("bleu",))
STAMPED = ((Official("aas"), Official("wer_qwen_audio")), ("aas_matched", "wer"))
NOTES = (
    (Official("instrument_acc"), Official("quality_map"), Official("pitch_acc"), Official("velocity_acc")),
    (),
)

Metrics = tuple[tuple[Official, ...], tuple[str, ...]]


def read_qwen(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the result file of Qwen-Audio's or Qwen2-Audio's evaluation scripts, by source."""
    check_predictions(options, records, "response")
    rows = []
    for number, (place, fields) in enumerate(records):
        source = required_text(place, fields, "source")
        truth = fields.get("gt")
        references = (
            tuple(map(str, truth)) if isinstance(truth, list) else (required_text(place, fields, "gt"),)
        )
        row = FileRow(
            place=place,
            id=str(number),  # the scripts write no id, and a clip may have several questions
            references=references,
            answer=text_field(fields, "response"),
            language=language_of_source(source, options.language),
        )
        rows.append((source, row))
    return [_qwen_benchmark(source, kept, options) for source, kept in group_rows(rows).items()]


def _qwen_benchmark(source: str, rows: Sequence[FileRow], options: ReadOptions) -> FileBenchmark:
    official, clean = _metrics_of_source(source, rows, options)
    return FileBenchmark(source, rows, official=official, clean=clean, prediction_key="response")


def _metrics_of_source(source: str, rows: Sequence[FileRow], options: ReadOptions) -> Metrics:
    if options.metrics:
        return (), options.metrics
    truth = rows[0].references
    if STAMPS.search(truth[0]):
        return STAMPED
    if "<|pitch|>" in truth[0]:
        return NOTES
    if QUESTION_CORPORA.search(source):
        has_binary = any(row.references[0].lower() in ("yes", "no") for row in rows)
        return BINARY if has_binary else LABELS
    for corpora, metrics in (
        (TRANSLATION_CORPORA, TRANSLATION),
        (LABEL_CORPORA, LABELS),
        (CAPTION_CORPORA, CAPTIONS),
        (SPEECH_CORPORA, ASR),
    ):
        if corpora.search(source):
            return metrics
    raise DataError(
        f"{rows[0].place}: the source {source!r} does not tell the task -- expected the name of a data set of the scripts, "
        f"such as librispeech_test_clean or covost2_en_de_test -- name the metrics, such as --metrics wer"
    )


def language_of_source(source: str, given: str) -> str:
    """Language of a data set by its name; of a translation, the language of the text.

    >>> language_of_source("covost2_en_de_test", "unknown"), language_of_source("librispeech_test_clean", "unknown")
    ('de', 'en')
    """
    if given != UNKNOWN_LANGUAGE:
        return given
    parts = source.lower().split("_")
    if TRANSLATION_CORPORA.search(source) and len(parts) > 2:
        return find_language(parts[-2]) or UNKNOWN_LANGUAGE
    if parts[0] in LANGUAGE_OF_CORPUS:
        return LANGUAGE_OF_CORPUS[parts[0]]
    named = [code for part in parts[1:] if 2 <= len(part) <= 3 and (code := find_language(part))]
    return named[0] if named else UNKNOWN_LANGUAGE


def read_kimi(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read a result file of Kimi-Audio-Evalkit, by subset; it writes ``null`` where there is no prediction."""
    check_predictions(options, records, "prediction")
    rows = []
    for place, fields in records:
        answer, question = text_field(fields, "prediction"), text_field(fields, "question") or ""
        row = FileRow(
            place=place,
            id=required_text(place, fields, "index"),
            references=(required_text(place, fields, "answer"),),
            answer=None if answer == "null" else answer,
            choices=tuple(lettered_choices(question)),
            language=options.language,
        )
        rows.append((text_field(fields, "subset") or "all", row))
    is_speech = all(TRANSCRIBE.search(str(fields.get("question") or "transcribe")) for _, fields in records)
    return [_kimi_benchmark(name, kept, options, is_speech) for name, kept in group_rows(rows).items()]


def _kimi_benchmark(
    name: str, rows: Sequence[FileRow], options: ReadOptions, is_speech: bool
) -> FileBenchmark:
    if options.metrics:
        return FileBenchmark(name, rows, clean=options.metrics)
    if all(row.choices for row in rows):
        reason = "Kimi-Audio-Evalkit uses a language model of an API, or draws letters without a seed"
        return FileBenchmark(
            name, rows, clean=CHOICE_METRICS, not_computed={"Kimi-Audio-Evalkit's accuracy": reason}
        )
    if not is_speech:
        raise DataError(
            f"{rows[0].place}: its question is neither a transcription nor one with choices -- expected ASR or MQA of "
            f"Kimi-Audio-Evalkit -- name the metrics, such as --metrics acc_loose"
        )
    named = [replace_language(row, _language(name, row, options)) for row in rows]
    official = (Official("wer_kimi_audio", leaves_out_missing=True),)
    return FileBenchmark(name, named, official=official, clean=("wer_spoken",))


def _language(name: str, row: FileRow, options: ReadOptions) -> str:
    return language_of_source(f"{name}_".replace("-", "_"), options.language)


def replace_language(row: FileRow, language: str) -> FileRow:
    """The same row in another language."""
    return replace(row, language=language)


def read_nemo(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read a NeMo manifest with ``text`` and ``pred_text`` as they were transcribed."""
    check_predictions(options, records, "pred_text")
    if not any(record.fields.get("text") for record in records):
        raise DataError(
            f"{options.path}: no row has 'text' -- expected the reference as it was transcribed -- add it, before normalization"
        )
    rows = [
        FileRow(
            place=place,
            id=f"{required_text(place, fields, 'audio_filepath')} {fields.get('offset', 0)}",
            references=(text,) if (text := text_field(fields, "text")) is not None else (),
            answer=text_field(fields, "pred_text"),
            language=_named_language(fields, options),
            speaker=text_field(fields, "speaker"),
            recording=text_field(fields, "audio_filepath"),
        )
        for place, fields in records
    ]
    check_raw(options, rows)
    clean = options.metrics or ("wer_spoken", "cer")
    return [
        FileBenchmark(
            "manifest", rows, official=(Official("wer_nemo"),), clean=clean, prediction_key="pred_text"
        )
    ]


def _named_language(fields: Mapping[str, Any], options: ReadOptions) -> str:
    if options.language != UNKNOWN_LANGUAGE:
        return options.language
    named = next((fields[key] for key in ("target_lang", "lang", "language") if fields.get(key)), "")
    return find_language(str(named)) or UNKNOWN_LANGUAGE


MIN_EVIDENCE_WORDS = 500


def check_raw(options: ReadOptions, rows: Sequence[FileRow]) -> None:
    """Check that references are not the output of Whisper's normalizer, as in manifests of leaderboards.

    Such texts have digits but no number words, contractions, capitals or punctuation; only over enough words is that evidence.

    Raises:
        DataError: they are.
    """
    from audio_lm.metrics.published_text import normalize_spoken_english

    texts = [text for row in rows for text in (*row.references, row.answer or "") if text.strip()]
    words = " ".join(texts)
    if len(words.split()) < MIN_EVIDENCE_WORDS or not re.search(r"\d", words) or not words.isascii():
        return
    if re.search(r"[A-Z,.!?;:']", words) or any(normalize_spoken_english(text) != text for text in texts):
        return
    raise DataError(
        f"{options.path}: all texts are the output of a normalizer (digits, but no number words, contractions, capitals or "
        f"punctuation) -- expected raw texts, because what it removed cannot be scored -- write the texts before normalization"
    )


def read_own(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read the answers that `audio-lm evaluate` saves, by task."""
    check_predictions(options, records, "answer")
    rows = []
    for place, fields in records:
        given = fields["reference"] if "reference" in fields else fields.get("references")
        references = (given,) if isinstance(given, str) else tuple(map(str, given or ()))
        row = FileRow(
            place=place,
            id=required_text(place, fields, "id"),
            references=references,
            answer=text_field(fields, "answer"),
            choices=tuple(map(str, fields.get("choices") or ())),
            language=find_language(str(fields.get("language") or "")) or options.language,
            speaker=text_field(fields, "speaker"),
            recording=text_field(fields, "path"),
        )
        rows.append((required_text(place, fields, "task"), row))
    return [
        FileBenchmark(task, kept, clean=_own_metrics(task, kept, options), prediction_key="answer")
        for task, kept in group_rows(rows).items()
    ]


def _own_metrics(task: str, rows: Sequence[FileRow], options: ReadOptions) -> tuple[str, ...]:
    from audio_lm.metrics.registry import packaged
    from audio_lm.tasks.registry import TASKS

    if options.metrics:
        return options.metrics
    if all(row.choices for row in rows):
        return CHOICE_METRICS
    if task not in TASKS:
        raise DataError(
            f"{rows[0].place}: {task!r} is no task of this program -- expected metrics for it -- add --metrics acc"
        )
    return tuple(packaged(TASKS[task].metrics))


def read_table(records: Sequence[Record], options: ReadOptions) -> list[FileBenchmark]:
    """Read a table with the columns audio, question, answer, choices and prediction; audio and question are the id."""
    check_predictions(options, records, "prediction")
    rows = []
    for number, (place, fields) in enumerate(records):
        given = fields.get("choices")
        answer = text_field(fields, "answer")
        name = [text_field(fields, key) or "" for key in ("audio", "question")]
        row = FileRow(
            place=place,
            id=text_field(fields, "id") or " ".join(filter(None, name)) or str(number),
            references=(answer,) if answer and answer.strip() else (),
            answer=text_field(fields, "prediction") or None,
            choices=choices_of(place, given) if given else (),
            language=_named_language(fields, options),
        )
        rows.append((text_field(fields, "benchmark") or "table", row))
    return [_table_benchmark(name, kept, options) for name, kept in group_rows(rows).items()]


def _table_benchmark(name: str, rows: Sequence[FileRow], options: ReadOptions) -> FileBenchmark:
    with_choices = [row for row in rows if row.choices]
    if options.metrics:
        return FileBenchmark(name, rows, clean=options.metrics)
    if not with_choices:
        raise DataError(
            f"{rows[0].place}: no choices, so the file does not tell how answers are scored -- expected a column 'choices', or "
            f"metrics -- name them, such as --metrics wer,acc"
        )
    if len(with_choices) < len(rows):
        bare = next(row for row in rows if not row.choices)
        raise DataError(
            f"{bare.place}: no choices, which other rows have -- expected them in every row -- repair it"
        )
    return FileBenchmark(name, rows, clean=CHOICE_METRICS)


FORMATS = (
    FileFormat("qwen", "Qwen-Audio or Qwen2-Audio, eval_audio", frozenset({"gt", "source"}), read_qwen),
    FileFormat(
        "kimi",
        "Kimi-Audio-Evalkit",
        frozenset({"index", "answer"}),
        read_kimi,
        any_of=frozenset({"subset", "real_prompt", "audio_path"}),
    ),
    FileFormat("nemo", "NeMo manifest", frozenset({"audio_filepath"}), read_nemo),
    FileFormat(
        "audio_lm",
        "audio-lm evaluate",
        frozenset({"id", "task", "answer"}),
        read_own,
        any_of=frozenset({"references", "reference"}),
    ),
    FileFormat(
        "table",
        "table",
        frozenset({"answer"}),
        read_table,
        any_of=frozenset({"audio", "question", "prediction"}),
    ),
)
