"""Training of all stages of a recipe, in one command.

Everything that can be wrong with a recipe or its data is found before the run folder exists. A run that was stopped
continues from its last checkpoint.
"""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from rich.console import Console
from transformers import PreTrainedTokenizerBase

from audio_lm.common.env import is_main
from audio_lm.config.load import ComposedRecipe
from audio_lm.pipeline.corpora import reading_corpora
from audio_lm.pipeline.plan_stage import manifests_of
from audio_lm.prompts.tokenizer import save_tokenizer
from audio_lm.run.console import run_console
from audio_lm.run.evaluator import Evaluator
from audio_lm.run.facts import facts_of_run
from audio_lm.run.folder import RunFolder
from audio_lm.run.goodput import goodput_of
from audio_lm.run.measure import measure_run
from audio_lm.run.prepare import Prepared, prepare
from audio_lm.run.session import RunSession
from audio_lm.run.stage import StageRunner
from audio_lm.run.stage_model import StageModels
from audio_lm.run.start import RunStart
from audio_lm.run.time_estimate import RunTime


def train(
    composed: ComposedRecipe,
    *,
    out: Path | None = None,
    console: Console | None = None,
    log_level: int = logging.INFO,
) -> RunFolder:
    """Train the stages of a recipe, evaluate them and print the table of scores.

    Args:
        out: the run's folder, instead of ``runs/<name>-<signature>``.
        log_level: of ``run.log``.

    Raises:
        UserError: something about the recipe, its data or its checkpoints is wrong.
        KeyboardInterrupt: Ctrl-C stopped it; a checkpoint is written.
        RunEndedError: a signal stopped it, with a checkpoint, or it must not be restarted.
    """
    start = RunStart(composed, out)
    with (
        RunSession(start.composed, start.folder, console or run_console(), log_level=log_level) as session,
        ExitStack() as stack,
    ):
        start.find_checkpoints(session)
        with session.main_first():
            prepared = prepare(start, session)
        stack.enter_context(reading_corpora(start.recipe))
        session.wait()  # no rank reads any more what the first one changes now
        _open(start, session, prepared)
        models = StageModels(start.recipe, prepared, session)
        evaluator = Evaluator(
            start.recipe, start.folder, prepared.vocabulary, session.console, session=session, models=models
        )
        times = RunTime() if start.is_restart else measure_run(start, prepared, session)
        with session.evaluating(is_collective=models.is_sharded):
            evaluator.evaluate_untrained(start.stages)
        for name in start.stages:
            StageRunner(name, session, start, prepared, models, evaluator, times).run()
        evaluator.finish()
        for line in times.report():
            session.print(line)
        _report_goodput(start, session)
    return start.folder


def _report_goodput(start: RunStart, session: RunSession) -> None:
    """Print and track the share of the time in steps that count."""
    session.ledger.write()
    if is_main() and (found := goodput_of(start.folder.path)) is not None:
        for line in found.lines():
            session.print(line)
        if session.tracking is not None:
            session.tracking.log_metrics(found.as_metrics())


def _open(start: RunStart, session: RunSession, prepared: Prepared) -> None:
    """Open the run folder and the tracking run; from here on things are written."""
    recipe = start.recipe
    if is_main():
        start.open_folder(prepared.vocabulary)
        session.claim(start.folder.progress(recipe))
        start.copy_extended()
        if recipe.model.tokenizer_source is None:
            # Training never reads the lighter tokenizer of the previews.
            save_tokenizer(
                cast(PreTrainedTokenizerBase, prepared.vocabulary.tokenizer), start.folder.tokenizer
            )
    session.wait()
    session.open()
    session.barrier()
    tracking = session.track(facts_of_run(start.composed, start.folder, prepared.plans))
    session.print(f"run folder {start.folder.path}; curves: {tracking.where}")
    tracking.log_inputs(manifests_of(recipe))
    if origin := start.origin():
        tracking.log_tags(origin)
