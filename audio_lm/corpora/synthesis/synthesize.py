"""Synthesize a cut-set of dialogues: rows are written to a file of the format ``dialogues``, which is then imported.

The file stays beside the manifest, to be read, changed, or imported again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig
from audio_lm.common.errors import UserError
from audio_lm.common.files import write_text
from audio_lm.common.names import check_name
from audio_lm.common.progress import progress
from audio_lm.common.protocols import Report
from audio_lm.common.source_name import split_source, split_subset
from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports import dialogues
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.corpora.synthesis.by_model import RowsByModel
from audio_lm.corpora.synthesis.clips import read_pools
from audio_lm.corpora.synthesis.templates import Row, SynthesisConfig, template_rows


def synthesize(
    sources: Sequence[str],
    into: str,
    data_dir: Path,
    config: SynthesisConfig,
    report: Report,
    *,
    endpoint: EndpointConfig | None = None,
    overwrite: bool = False,
) -> Path:
    """Make dialogues about the clips of cut-sets.

    Args:
        sources: cut-sets, ``corpus/subset-split``.
        into: name of the new one; its split decides the wordings.
        endpoint: of a language model that writes the dialogues; without it, templates do. Answers are kept beside the
            manifest, so a run that was stopped continues where it was.

    Returns:
        Path of the manifest.

    Raises:
        DataError: no label answers a question, or a row cannot be imported.
        UserError: a name is invalid, the cut-set exists, or the endpoint does not answer.
    """
    corpus, subset_split = split_source(into)
    split = _check_target(corpus, subset_split, data_dir, overwrite)
    pools = read_pools(data_dir, sources, seed=config.seed)
    names = sorted(question.name for question in pools.table.questions if question.name in pools)
    report(f"questions that the labels answer: {', '.join(names)}")
    path, _, *answers = _files(corpus, subset_split, data_dir, by_model=endpoint is not None)
    if endpoint is None:
        _write(path, template_rows(pools, config, split))
    else:
        (cache,) = answers
        with ChatEndpoint(_with_cache(endpoint, cache)) as client:
            rows = RowsByModel(client, pools, config, split)
            made: list[Row] = []
            with progress("dialogues", total=config.num_rows, what="dialogues") as advance:
                for row in rows:
                    made.append(row)
                    advance(1)
        for reason, number in sorted(rows.num_refused.items()):
            report(f"{number} answers of the model were left out: an answer {reason}")
        _write(path, made)
    report(f"dialogues: {path}")
    return import_file(
        dialogues.NAME, path, data_dir, corpus, subset_split, ImportOptions(), report, overwrite=overwrite
    )


def files_of(into: str, data_dir: Path, *, overwrite: bool = False, by_model: bool = False) -> list[Path]:
    """Files that ``synthesize`` writes.

    Raises:
        UserError: a name is invalid, or the cut-set exists.
    """
    corpus, subset_split = split_source(into)
    _check_target(corpus, subset_split, data_dir, overwrite)
    return _files(corpus, subset_split, data_dir, by_model=by_model)


def _files(corpus: str, subset_split: str, data_dir: Path, *, by_model: bool) -> list[Path]:
    """Dialogues, manifest and, of a model, its answers."""
    kinds = ("dialogues.jsonl", "jsonl", *(("answers.jsonl",) if by_model else ()))
    return [data_dir / corpus / f"{subset_split}.{kind}" for kind in kinds]


def _check_target(corpus: str, subset_split: str, data_dir: Path, overwrite: bool) -> str:
    """Split of a new cut-set.

    Raises:
        UserError: the name is invalid, or taken.
    """
    parts = split_subset(subset_split)
    if not corpus or parts is None:
        raise UserError(
            f"{corpus}/{subset_split} -- expected corpus/subset-split with one of train, validation, test, such as "
            f"mine/dialogues-train; rename it"
        )
    check_name("corpus", corpus)
    if (data_dir / corpus / PREPARED).exists():
        raise UserError(
            f"corpus {corpus!r} was written by `audio-lm prepare`; choose another name for the dialogues"
        )
    manifest = data_dir / corpus / f"{subset_split}.jsonl"
    if manifest.exists() and not overwrite:
        raise UserError(f"{manifest} exists; choose another name, or overwrite it with --overwrite")
    return parts[1]


def _with_cache(endpoint: EndpointConfig, cache: Path) -> EndpointConfig:
    return replace(endpoint, cache=endpoint.cache or cache)


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    if not lines:
        raise UserError(
            "no dialogue was made -- expected at least one usable answer; try another model or seed"
        )
    write_text(path, "".join(lines))
