"""Score the arms with questions in words on a wording that training has seen, beside the one that is held out.

    python scripts/ablation_wordings.py --runs runs/ablations

Arms `natural` and `chatml` of ``scripts/ablations.py`` have to be trained. An evaluation uses the last wording of a
task, which training never draws; tags have one wording only. Scores are added to each run; kept answers are not computed again.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ablations import BASE, folder_of, is_finished, markdown_row, mean_text
from rich.console import Console

from audio_lm.evaluation.report import interval_text
from audio_lm.evaluation.score import read_scores
from audio_lm.metrics.seeds import SeedMean, mean_over_seeds
from audio_lm.prompts.natural import training_prompts
from audio_lm.run.evaluate_model import evaluate_model
from audio_lm.run.folder import RunFolder
from audio_lm.run.named_benchmarks import BenchmarkOptions
from audio_lm.tasks.registry import find_task

ARMS = ("natural", "chatml")
QUESTIONS = {
    "asr": ("synthetic/digits-test", "asr", "wer", 16),
    "srwt": ("synthetic/digits-test", "srwt-en", "wer", 40),
    "gender": ("synthetic/digits-test", "sgc", "acc", 12),
    "sound": ("synthetic/events-test", "sec", "acc", 16),
    "questions": ("synthetic/sound_questions-test", "aqa", "acc", 12),
}
"""Benchmark -> clips, task, metric, maximum length of an answer, as in the base; `detection` has one wording only."""


def trained_wording(task: str) -> str:
    """Last wording of a task that training draws, without the language tag that one for Chinese would have."""
    return training_prompts(find_task(task))[-1].replace("{language}", "en")


def evaluate_arm(folder: Path, console: Console) -> None:
    """Answer all benchmarks with a wording of training; scores are ``trained_<benchmark>/<metric>``."""
    for name, (source, task, metric, max_new_tokens) in QUESTIONS.items():
        options = BenchmarkOptions(
            sources=[source],
            tasks=[task],
            metrics=[metric],
            question=trained_wording(task),
            name=f"trained_{name}",
            max_new_tokens=max_new_tokens,
        )
        evaluate_model(folder, options, console=console)


def table(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Lines of Markdown: each arm with both wordings, beside the base with tags; differences are between runs of equal seed."""
    columns = [(arm, kind) for arm in ARMS for kind in ("trained", "trained - tags", "held out")]
    yield markdown_row("score", BASE, *(", ".join(column) for column in columns))
    yield f"|{'---|' * (2 + len(columns))}"
    for name, (_, _, metric, _) in QUESTIONS.items():
        key, trained = f"{name}/{metric}", f"trained_{name}/{metric}"
        base = _scores(runs, BASE, key, seeds)
        cells = [_mean(base, metric)]
        for arm in ARMS:
            ours = _scores(runs, arm, trained, seeds)
            paired = [ours[seed] - base[seed] for seed in ours.keys() & base.keys()]
            difference = _interval(mean_over_seeds(paired)) if paired else "not run"
            cells += [_mean(ours, metric), difference, _mean(_scores(runs, arm, key, seeds), metric)]
        yield markdown_row(f"{name} {metric}", *cells)


def _scores(runs: Path, arm: str, key: str, seeds: Sequence[int]) -> dict[int, float]:
    """Seed -> score of the finished runs that have it."""
    finished = {
        seed: read_scores(RunFolder(folder_of(runs, arm, seed)).scores)
        for seed in seeds
        if is_finished(runs, arm, seed)
    }
    return {seed: scores[key] for seed, scores in finished.items() if key in scores}


def _mean(scores: Mapping[int, float], metric: str) -> str:
    return mean_text(mean_over_seeds([*scores.values()]), metric) if scores else "not run"


def _interval(mean: SeedMean) -> str:
    return f"{mean.mean:+.3f} ({interval_text(mean.interval) or 'one seed'})"


def main() -> None:
    """Evaluate, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    console = Console(file=sys.stderr, width=140)
    for arm in ARMS:
        for seed in given.seeds:
            if is_finished(given.runs, arm, seed):
                evaluate_arm(folder_of(given.runs, arm, seed), console)
    for line in table(given.runs, given.seeds):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
