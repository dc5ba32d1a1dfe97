"""Commands that make cut-sets: of a corpus, or of data in the format of another program."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, Overwrite, known_corpora, known_formats
from audio_lm.common.errors import UserError
from audio_lm.common.source_name import split_source

if TYPE_CHECKING:
    from audio_lm.corpora.imports.common import ImportOptions
    from audio_lm.corpora.imports.splitting import SplitBy


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Name of the corpus, such as synthetic or fsdd; see --list.", autocompletion=known_corpora
        ),
    ] = "",
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as seed=1 or clips.digits=100.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder of prepared corpora.")] = Path("data"),
    dry_run: DryRun = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the corpora.")] = False,
) -> None:
    """Synthesize a corpus, or read a published one, and write its cut-sets.

    Examples: `audio-lm prepare synthetic` · `audio-lm prepare synthetic seed=1 clips.digits=100` · `audio-lm prepare fsdd`
    · `audio-lm prepare librispeech --dry-run` · `audio-lm prepare --list`
    """
    if show_list or not corpus:
        _list_corpora()
        return
    from audio_lm.config.overrides import parse_settings

    table = parse_settings(settings or [])
    silence_libraries()
    from audio_lm.corpora.corpus import describe_preparation
    from audio_lm.corpora.corpus import prepare as prepare_corpus

    if dry_run:
        typer.echo(describe_preparation(corpus, data_dir, table))
        return
    typer.echo(prepare_corpus(corpus, data_dir, table, typer.echo))


FormatName = Annotated[
    str,
    typer.Argument(
        metavar="FORMAT",
        help="Name of the format, such as table, kaldi or ms-swift; see --list.",
        autocompletion=known_formats,
    ),
]
ImportPath = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="File, folder, pattern of shards, or name of a dataset, as the format takes."
    ),
]
AudioRoot = Annotated[Path | None, typer.Option(help="Folder that audio paths are relative to.")]
Language = Annotated[
    str | None, typer.Option(help="Spoken language, such as en or Portuguese, if the file does not state it.")
]
Channel = Annotated[
    str, typer.Option(help="For multi-channel audio: average, left, right, or both as separate clips.")
]
Columns = Annotated[list[str] | None, typer.Option(help="Column and label, such as transcription=text.")]
TextColumn = Annotated[str, typer.Option(help="Column of transcripts; the same as --column NAME=text.")]
AudioColumn = Annotated[str, typer.Option(help="Column of audio; the same as --column NAME=audio.")]
DatasetSplit = Annotated[str, typer.Option(help="hf: split to import, such as train.clean.100.")]
Config = Annotated[str, typer.Option(help="hf: configuration, such as a language.")]
Revision = Annotated[str, typer.Option(help="hf: branch, tag or commit.")]
SkipBad = Annotated[
    int, typer.Option(min=0, help="Bad rows that are left out and named, instead of stopping the import.")
]
SplitCriterion = Annotated[
    str | None,
    typer.Option(help="speaker or recording: write train, validation and test that have none in common."),
]
TestShare = Annotated[float, typer.Option(help="Share of the clips for test, with --split-by.")]
ValidationShare = Annotated[float, typer.Option(help="Share of the clips for validation, with --split-by.")]
Trim = Annotated[bool, typer.Option("--trim", help="lhotse: a clip of each supervision.")]
Supervisions = Annotated[
    Path | None, typer.Option(help="lhotse: supervisions of the recordings, if they have another name.")
]
Tools = Annotated[
    str,
    typer.Option(help="Of conversations: drop leaves out tool turns and counts them; else they are refused."),
]
Tars = Annotated[
    str, typer.Option(help="nemo: folder or pattern of the tars, such as tars/audio_{0..127}.tar.")
]


def import_(
    format_name: FormatName = "",
    path: ImportPath = Path(),
    into: Annotated[
        str, typer.Option(help="Name of the new cut-set, corpus/subset-split.")
    ] = "imported/all-train",
    data_dir: Annotated[Path, typer.Option(help="Folder of cut-sets.")] = Path("data"),
    audio_root: AudioRoot = None,
    language: Language = None,
    channel: Channel = "average",
    column: Columns = None,
    text_column: TextColumn = "",
    audio_column: AudioColumn = "",
    skip_bad: SkipBad = 0,
    split_by: SplitCriterion = None,
    test: TestShare = 0.0,
    validation: ValidationShare = 0.0,
    trim: Trim = False,
    supervisions: Supervisions = None,
    tars: Tars = "",
    tools: Tools = "",
    split: DatasetSplit = "",
    config: Config = "",
    revision: Revision = "",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the formats.")] = False,
) -> None:
    """Make a cut-set from data in the format of another program; audio files and tars stay in place.

    Examples: `audio-lm import table wavs/metadata.csv --language en --into mine/all-train` ·
    `audio-lm import kaldi data/train --language en` · `audio-lm import ms-swift train.jsonl` · `audio-lm import --list`
    · `audio-lm import hf openslr/librispeech_asr --config clean --split train.100 --language en --into mine/all-train`
    · `audio-lm import webdataset 'shards/{000000..000009}.tar' --language en --into mine/all-train`
    · `audio-lm import lhotse manifests/train_recordings.jsonl.gz --trim --into mine/all-train`
    · `audio-lm import table clips.csv --split-by speaker --test 0.1 --validation 0.1 --skip-bad 5 --into mine/all-train`
    """
    silence_libraries()
    from audio_lm.corpora.imports.common import ImportOptions

    if show_list or not format_name:
        _list_formats()
        return
    options = ImportOptions(
        audio_root=audio_root,
        language=language,
        columns=_columns(column or (), text_column, audio_column),
        channel=channel,
        skip_bad=skip_bad,
        split_by=_split_by(split_by, test, validation),
        trim=trim,
        supervisions=supervisions,
        tars=tars,
        tools=_check_tools(tools),
        dataset_split=split,
        config=config,
        revision=revision,
    )
    _import(format_name, path, data_dir, into, options, overwrite=overwrite, dry_run=dry_run)


def _import(
    format_name: str,
    path: Path,
    data_dir: Path,
    into: str,
    options: "ImportOptions",
    *,
    overwrite: bool,
    dry_run: bool,
) -> None:
    from audio_lm.corpora.imports.importing import import_file, manifests_of

    target = (format_name, path, data_dir, *split_source(into), options)
    if dry_run:
        for manifest in manifests_of(*target, overwrite=overwrite):
            typer.echo(f"would write {manifest}")
        return
    typer.echo(import_file(*target, typer.echo, overwrite=overwrite))


def _columns(pairs: Sequence[str], text_column: str, audio_column: str) -> dict[str, str]:
    """Column -> label, from ``name=label`` and the names of two columns."""
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UserError(
            f"--column {wrong[0]} -- expected name=label, such as transcription=text; add the label"
        )
    columns = dict(pair.split("=", 1) for pair in pairs)
    return columns | {name: label for name, label in ((text_column, "text"), (audio_column, "audio")) if name}


def _check_tools(tools: str) -> str:
    from audio_lm.corpora.imports.common import DROP_TOOLS

    if tools not in ("", DROP_TOOLS):
        raise UserError(f"--tools {tools} -- expected drop, or no option, which refuses them; correct it")
    return tools


def _split_by(criterion: str | None, test: float, validation: float) -> "SplitBy | None":
    from audio_lm.corpora.imports.splitting import SplitBy

    if criterion is not None:
        return SplitBy(criterion, test, validation)
    if test or validation:
        raise UserError(
            "--test and --validation need --split-by speaker or --split-by recording, which keeps clips of one speaker or "
            "recording in one split; add it"
        )
    return None


def _list_formats() -> None:
    from audio_lm.corpora.imports.registry import FORMATS

    for file_format in FORMATS.values():
        typer.echo(f"{file_format.name:16} {file_format.what}\n{'':16} {file_format.example}")


def _list_corpora() -> None:
    silence_libraries()
    from audio_lm.corpora.registry import CORPORA

    for name, corpus in sorted(CORPORA.items()):
        facts = corpus.facts
        hours = sum(subset.hours for subset in facts.subsets.values())
        amount = f", {hours:,.1f} h" if hours else ""
        typer.echo(f"{name:16} {facts.what}{amount}; {facts.licence}; {facts.url}")
