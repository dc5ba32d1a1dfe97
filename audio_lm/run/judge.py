"""Open answers of a run, of an evaluation or of a file, scored by a judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig
from audio_lm.common.errors import RecipeError, UserError, unknown
from audio_lm.evaluation.judge.ask import SAMPLING, judge_questions
from audio_lm.evaluation.judge.exchange import export_requests, import_replies
from audio_lm.evaluation.judge.questions import OpenQuestion, read_questions
from audio_lm.evaluation.judge.verdicts import (
    FOLDER,
    Judgement,
    Verdict,
    judge_scores,
    judgement_of,
    record_path,
    write_judgement,
)
from audio_lm.evaluation.predict import predictions_path, read_predictions
from audio_lm.evaluation.score import read_scores, write_scores
from audio_lm.metrics.registry import JUDGE_SCORE
from audio_lm.pipeline.open_questions import open_questions
from audio_lm.run.console import run_console
from audio_lm.run.folder import RunFolder
from audio_lm.run.scores import open_results
from audio_lm.tasks.registry import CHAT
from audio_lm.tracking.attach import attach

REPLIES = "replies.jsonl"
"""File of all replies, beside the verdicts."""


@dataclass(frozen=True)
class JudgeOptions:
    """Options of ``audio-lm judge``."""

    benchmarks: tuple[str, ...] = ()
    """Of a run; empty: all conversations, and all questions of one's own words."""

    judge: str = ""
    """Name of the model; empty takes the only one that the server lists."""

    endpoint: EndpointConfig | None = None
    exports: Path | None = None
    """File that the requests are written to, without an endpoint."""

    imports: tuple[Path, ...] = ()
    """Files of replies, without an endpoint."""

    num_parallel: int = 4
    out: Path | None = None
    """Folder of verdicts and scores of a file; by default beside it."""

    data_dir: str | None = None
    """Folder of cut-sets, instead of that of the run."""


def judge(path: Path, options: JudgeOptions, console: Console | None = None) -> dict[str, Judgement]:
    """Score open answers, or export them; prints the scores.

    Returns:
        Scores of each benchmark; empty where they are exported.

    Raises:
        UserError: the answers or the replies cannot be used, or the endpoint fails; replies so far are kept.
    """
    console = console or run_console()
    _check_options(options)
    folder, questions = _questions(path, options)
    if options.exports is not None:
        every = [question for some in questions.values() for question in some]
        count = export_requests(options.exports, every, judge=options.judge)
        console.print(
            f"{options.exports}: {count} requests about {len(every)} answers; the replies to them are read with --import",
            soft_wrap=True, markup=False,
        )  # fmt: skip
        return {}
    found = {}
    for name, verdicts, place in _verdicts(folder, questions, options, console):
        some = questions[name]
        found[name] = judgement_of(some, verdicts, endpoint=place, sampling=SAMPLING.as_request())
        write_judgement(folder, name, found[name], verdicts)
        for line in found[name].lines(name):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if path.is_dir():
        results = RunFolder(path).scores
        write_scores(results, read_scores(results) | judge_scores(path))
        _log(path, folder, found, console)
    console.print(f"verdicts: {folder}/", markup=False, soft_wrap=True)
    return found


def _log(run: Path, folder: Path, found: Mapping[str, Judgement], console: Console) -> None:
    """Log the scores of the judged benchmarks, and the records of the judge, in the MLflow run."""
    scores: dict[str, float] = {}
    for name, judgement in found.items():
        scores |= judgement.as_scores(name)
    records = [path for name in found if (path := record_path(folder, name)).is_file()]
    attach(run, console.print, what="the judgement", files=records, place=FOLDER, scores=scores)


def _check_options(options: JudgeOptions) -> None:
    ways = [options.endpoint is not None, options.exports is not None, bool(options.imports)]
    if sum(ways) != 1:
        raise UserError(
            f"{'several' if any(ways) else 'none'} of --endpoint, --export and --import -- expected one of them -- "
            f"give the URL of a judge, a file for the requests, or files with the replies"
        )
    if options.exports is not None and not options.judge:
        raise UserError(
            "--export without --judge -- expected the name of the model that will reply -- add it"
        )


def _questions(path: Path, options: JudgeOptions) -> tuple[Path, dict[str, list[OpenQuestion]]]:
    """Folder of the verdicts, and the questions of each benchmark."""
    if path.is_file():
        if options.benchmarks:
            raise UserError(f"--benchmarks has no effect on the file {path}; leave it out")
        return options.out or path.with_name(f"{path.stem}-{FOLDER}"), {path.stem: read_questions(path)}
    if options.out is not None:
        raise UserError(
            f"--out has no effect on the run {path}, whose verdicts are in {path / FOLDER}; leave it out"
        )
    recipe, folder = open_results(path)
    if options.data_dir is not None:
        recipe = replace(recipe, data_dir=options.data_dir)
    benchmarks = recipe.evaluation.benchmarks
    for name in options.benchmarks:
        if name not in benchmarks:
            raise RecipeError(unknown("benchmark", name, benchmarks, see=str(folder.predictions)))
    names = options.benchmarks or tuple(
        name
        for name, each in benchmarks.items()
        if each.task == CHAT or each.question is not None or JUDGE_SCORE in each.metrics
    )
    if not names:
        raise UserError(
            f"{path} has no benchmark of conversations or of questions in words -- expected open answers -- "
            f"name benchmarks with --benchmarks: {', '.join(benchmarks)}"
        )
    predictions = {name: read_predictions(predictions_path(folder.predictions, name)) for name in names}
    return folder.path / FOLDER, {
        name: open_questions(recipe, name, benchmarks[name], predictions[name]) for name in names
    }


def _verdicts(
    folder: Path, benchmarks: Mapping[str, Sequence[OpenQuestion]], options: JudgeOptions, console: Console
) -> Iterator[tuple[str, list[Verdict], str]]:
    """Yield the verdicts of each benchmark, from the endpoint or from files, and where they are from."""
    if options.endpoint is None:
        imported, num_other = import_replies(options.imports, benchmarks, judge=options.judge)
        if num_other:
            console.print(f"{num_other} replies are to other questions or answers", markup=False)
        for name, verdicts in imported.items():
            yield name, verdicts, ", ".join(map(str, options.imports))
        return
    config = replace(options.endpoint, cache=folder / REPLIES)
    with ChatEndpoint(config) as endpoint:
        for name, questions in benchmarks.items():
            console.print(
                f"judge {endpoint.model} at {config.base_url}: {2 * len(questions)} requests about {name}",
                markup=False, soft_wrap=True,
            )  # fmt: skip
            found = judge_questions(
                endpoint, questions, num_parallel=options.num_parallel, place=str(config.cache)
            )
            yield name, list(found), config.base_url
