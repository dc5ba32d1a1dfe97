"""Command that makes dialogues and preference pairs from labelled clips."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import DryRun, Overwrite
from audio_lm.common.errors import UserError


def synthesize(
    sources: Annotated[list[str], typer.Argument(help="Cut-sets with labels, such as fsdd/single-train.")],
    into: Annotated[
        str, typer.Option(help="Name of the new cut-set, corpus/subset-split.")
    ] = "synthesized/dialogues-train",
    num: Annotated[int, typer.Option(min=1, help="Number of dialogues.")] = 1000,
    pairs: Annotated[
        float, typer.Option(min=0, max=1, help="Share of dialogues with a rejected last answer.")
    ] = 0.0,
    several: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the others about two or three clips.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0,
    endpoint: Annotated[
        str, typer.Option(help="URL of an OpenAI-compatible endpoint whose model writes the dialogues.")
    ] = "",
    model: Annotated[str, typer.Option(help="Model of the endpoint, if it has several.")] = "",
    data_dir: Annotated[Path, typer.Option(help="Folder of cut-sets.")] = Path("data"),
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Make dialogues and preference pairs from the labels of clips, by templates or by a language model.

    Examples: `audio-lm synthesize fsdd/single-train --into mine/dialogues-train --num 2000` ·
    `audio-lm synthesize fsdd/single-train --into mine/pairs-train --pairs 1` ·
    `audio-lm synthesize clotho/all-train --endpoint http://127.0.0.1:8000/v1 --model qwen --into mine/written-train`
    """
    if model and not endpoint:
        raise UserError("--model was given without --endpoint -- expected the URL of its server; add it")
    silence_libraries()
    from audio_lm.common.chat_endpoint import EndpointConfig
    from audio_lm.corpora.synthesis.synthesize import files_of
    from audio_lm.corpora.synthesis.synthesize import synthesize as make
    from audio_lm.corpora.synthesis.templates import SynthesisConfig

    config = SynthesisConfig(num, pairs, several, seed)
    if dry_run:
        for path in files_of(into, data_dir, overwrite=overwrite, by_model=bool(endpoint)):
            typer.echo(f"would write {path}, up to {num} dialogues")
        return
    server = EndpointConfig(endpoint, model) if endpoint else None
    typer.echo(make(sources, into, data_dir, config, typer.echo, endpoint=server, overwrite=overwrite))
