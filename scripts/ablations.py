"""Train the small ablations with several seeds, and print their table.

    python scripts/ablations.py run            # all arms, in the order of ARMS; what is finished is skipped
    python scripts/ablations.py run without_srwt --seeds 1 2 3 --set data_dir=data
    python scripts/ablations.py run rates      # learning rates of both optimizers, with a seed that no arm has
    python scripts/ablations.py table          # means, paired differences to the base, 95 % intervals

Several processes may run at once: each takes the next run that nobody trains. Arms that change only the stage `digits`
start from the base's `pretrain` of the same seed, as that stage is the same.
"""

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.evaluation.predict import predictions_path, read_predictions
from audio_lm.evaluation.report import interval_text, metric_value, short_number
from audio_lm.evaluation.score import read_scores
from audio_lm.metrics.seeds import SeedMean, mean_over_seeds
from audio_lm.run.compare_runs import SEEDS, DifferingScore, compare_runs, verdict_of
from audio_lm.run.folder import RunFolder
from audio_lm.run.train import train

RECIPES = Path(__file__).parents[1] / "recipes" / "ablations"
BASE, PRETRAIN, DIGITS = "base", "pretrain", "digits"
ROWS = "+stages.digits.mixture.max_rows={{fsdd/strings_without_theo-train: {}}}"
NO_ORDER = {"yes", "no", "zero", "one", "two", "three", "four"}
"""Answers to other questions than which sound comes first or last."""


@dataclass(frozen=True)
class Ablation:
    """Recipe with overrides; the stages that it trains."""

    recipe: str
    stages: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    starts_from_base: bool = False
    """True if the stage before is that of the base, and is taken from there."""


def _on_digits(recipe: str, *overrides: str) -> Ablation:
    return Ablation(recipe, (DIGITS,), overrides, starts_from_base=True)


PRETRAIN_BENCHMARKS = ("asr", "srwt", "gender", "sound", "questions", "detection")


def _from_scratch(*overrides: str) -> Ablation:
    """`digits` from random weights: a recipe without `pretrain` and its benchmarks."""
    removed = (f"~stages.{PRETRAIN}", *(f"~evaluation.benchmarks.{name}" for name in PRETRAIN_BENCHMARKS))
    return Ablation("small_base", (DIGITS,), (*removed, *overrides))


ARMS = {
    BASE: Ablation("small_base", (PRETRAIN, DIGITS)),
    "without_srwt": Ablation("small_without_srwt", (PRETRAIN, DIGITS)),
    "natural": Ablation("small_natural", (PRETRAIN,)),
    "chatml": Ablation("small_chatml", (PRETRAIN,)),
    "frozen_encoder": _on_digits("small_frozen_encoder"),
    "frozen_language_model": _on_digits("small_frozen_language_model"),
    "projector_only": _on_digits("small_projector_only"),
    "rows_30": _on_digits("small_base", ROWS.format(30), "evaluation.baselines=[base]"),
    "rows_200": _on_digits("small_base", ROWS.format(200)),
    "rows_30_without_pretrain": _from_scratch(ROWS.format(30)),
    "rows_200_without_pretrain": _from_scratch(ROWS.format(200)),
    "without_pretrain": _from_scratch("evaluation.baselines=[untrained]"),
    "layer_decay": _on_digits("small_layer_decay"),
    "adamw": Ablation("small_adamw", (PRETRAIN,)),
    # The best of `rates`. A run of Muon takes 1.08 to 1.18 times the CPU time of AdamW here, so AdamW has a sixth more steps.
    "adamw_equal_time": Ablation(
        "small_adamw", (PRETRAIN,), ("stages.pretrain.parts.*.lr=2e-3", "stages.pretrain.steps=1400")
    ),
    "without_words": Ablation("small_without_words", (PRETRAIN,)),
    "frozen_new_tokens": Ablation("small_frozen_new_tokens", (PRETRAIN,)),
}
"""Name -> ablation, in the order of training."""

RATES, RATE_SEED = "rates", 4
RATE_ARMS = {
    f"{optimizer}_{rate}": Ablation(recipe, (PRETRAIN,), (f"stages.pretrain.parts.*.lr={rate}",))
    for optimizer, recipe, tried in (
        ("muon", "small_base", ("1e-3", "3e-3", "1e-2")),
        ("adamw", "small_adamw", ("5e-4", "1e-3", "2e-3", "3e-3", "1e-2")),
    )
    for rate in tried
}
"""Runs that choose a learning rate, the same for all parts; Muon's matrices have three times as much."""

ALL_ARMS = {**ARMS, **RATE_ARMS}


def folder_of(runs: Path, arm: str, seed: int) -> Path:
    """Folder of a run."""
    return runs / f"{arm}-{seed}"


def overrides_of(runs: Path, arm: str, seed: int) -> list[str]:
    """Overrides of a run beside its recipe."""
    ablation = ALL_ARMS[arm]
    overrides = [f"seed={seed}", "resume=auto", f"only=[{', '.join(ablation.stages)}]", *ablation.overrides]
    if ablation.starts_from_base:
        overrides.append(f"stages.digits.start_from={folder_of(runs, BASE, seed) / 'stages' / PRETRAIN}")
    return overrides


def is_finished(runs: Path, arm: str, seed: int) -> bool:
    """True if all stages of a run are trained and evaluated."""
    folder = RunFolder(folder_of(runs, arm, seed))
    return all(folder.is_finished(stage) and folder.is_evaluated(stage) for stage in ALL_ARMS[arm].stages)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Lock of a run, which ends with this process; False if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def run(runs: Path, arms: Sequence[str], seeds: Sequence[int], overrides: Sequence[str]) -> int:
    """Train all runs that are not finished; returns the number of those that are still missing."""
    todo = [(arm, seed) for arm in arms for seed in seeds]
    for arm, seed in todo:
        folder = folder_of(runs, arm, seed)
        with claimed(runs / "locks" / folder.name) as is_mine:
            if not is_mine or is_finished(runs, arm, seed):
                continue
            if ALL_ARMS[arm].starts_from_base and not RunFolder(folder_of(runs, BASE, seed)).is_finished(
                PRETRAIN
            ):
                _say(f"{folder.name}: waits for {BASE}-{seed}; run the command again")
                continue
            _train(runs, arm, seed, overrides)
    return sum(not is_finished(runs, arm, seed) for arm, seed in todo)


def _train(runs: Path, arm: str, seed: int, overrides: Sequence[str]) -> None:
    folder = folder_of(runs, arm, seed)
    recipe = RECIPES / f"{ALL_ARMS[arm].recipe}.yaml"
    start, cpu = time.time(), time.process_time()
    with (runs / f"{folder.name}.log").open("a") as log:
        composed = load_recipe(recipe, [*overrides_of(runs, arm, seed), *overrides])
        train(composed, out=folder, console=Console(file=log, width=140))
    spent = {"cpu_seconds": time.process_time() - cpu, "seconds": time.time() - start}
    with (runs / "spent.jsonl").open("a") as file:
        file.write(json.dumps({"run": folder.name, **spent}) + "\n")
    _say(f"{folder.name}: {spent['cpu_seconds']:.0f} s of CPU, {spent['seconds']:.0f} s")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Lines of Markdown: scores of the base, and differences of each arm to the base with the same seed.

    With one seed the interval is a bootstrap interval over clips, with several a t-interval over seeds.
    """
    yield markdown_row("arm", "seeds", "score", "base", "arm", "arm - base", "95 % interval", "arm is")
    yield "|---|---|---|---|---|---|---|---|"
    for arm in [*ARMS][1:]:
        ours, others = finished_pairs(runs, arm, seeds)
        if not ours:
            yield markdown_row(arm, 0, "not run", "", "", "", "", "")
            continue
        (found,) = compare_runs(ours, others)
        for score in found.scores:
            if score.difference is not None:
                yield _row(arm, len(ours), f"{score.benchmark} {score.metric}", score)
        if PRETRAIN in ARMS[arm].stages:
            yield _row(arm, len(ours), "questions about order acc", _order_score(ours, others))


def finished_pairs(runs: Path, arm: str, seeds: Sequence[int]) -> tuple[list[Path], list[Path]]:
    """Folders of an arm, and of the base with the same seeds, of which both are finished."""
    done = [seed for seed in seeds if is_finished(runs, arm, seed) and is_finished(runs, BASE, seed)]
    return [folder_of(runs, arm, seed) for seed in done], [folder_of(runs, BASE, seed) for seed in done]


def _row(arm: str, num_seeds: int, name: str, score: DifferingScore) -> str:
    ours, other = (mean_text(mean, score.metric) for mean in (score.ours, score.other))
    interval = f"{interval_text(score.interval) or 'none'}, {score.kind}"
    return markdown_row(
        arm, num_seeds, name, other, ours, f"{score.difference:+.3f}", interval, score.verdict
    )


def _order_score(ours: Sequence[Path], others: Sequence[Path]) -> DifferingScore:
    """Questions about order in time: which sound comes first or last."""
    left, right = ([order_accuracy(folder) for folder in folders] for folders in (ours, others))
    paired = mean_over_seeds([mine - base for mine, base in zip(left, right, strict=True)])
    verdict = verdict_of(paired.mean, paired.interval, is_higher_better=True)
    means = mean_over_seeds(left), mean_over_seeds(right)
    return DifferingScore(
        "order", "acc", *means, paired.mean, paired.interval, SEEDS, paired.num_seeds, verdict
    )


@dataclass(frozen=True)
class Efficiency:
    """Word error rates on recorded strings of a new speaker after training on some of the strings of the others."""

    name: str
    strings: int
    """Strings of digits in the training data; 0 before training."""

    starts_from_pretrain: bool
    rates: list[float]
    """Of each seed."""

    minutes: float | None
    """CPU minutes of a run of `digits`, its evaluation included; None if it was trained together with `pretrain`."""


def efficiency_values(runs: Path, seeds: Sequence[int]) -> Iterator[Efficiency]:
    """Word error rates by the number of training strings."""
    spent = _cpu_seconds(runs)
    for name, strings, starts, arm, key in (
        ("none, random weights", 0, False, "without_pretrain", "untrained/strings/wer"),
        ("none, after `pretrain`", 0, True, "rows_30", "base/strings/wer"),
        ("30", 30, True, "rows_30", "strings/wer"),
        ("200", 200, True, "rows_200", "strings/wer"),
        ("2000", 2000, True, BASE, "strings/wer"),
        ("30, without `pretrain`", 30, False, "rows_30_without_pretrain", "strings/wer"),
        ("200, without `pretrain`", 200, False, "rows_200_without_pretrain", "strings/wer"),
        ("2000, without `pretrain`", 2000, False, "without_pretrain", "strings/wer"),
    ):
        done = [seed for seed in seeds if is_finished(runs, arm, seed)]
        scores = [read_scores(RunFolder(folder_of(runs, arm, seed)).scores) for seed in done]
        rates = [each[key] for each in scores if key in each]
        seconds = [spent[f"{arm}-{seed}"] for seed in done if f"{arm}-{seed}" in spent]
        is_known = seconds and strings and arm != BASE
        yield Efficiency(name, strings, starts, rates, sum(seconds) / len(seconds) / 60 if is_known else None)


def efficiency(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Lines of Markdown: word error rate on recorded strings of a new speaker by the number of training strings."""
    yield markdown_row("training strings", "seeds", "word error rate", "CPU minutes of a run of `digits`")
    yield "|---|---|---|---|"
    for each in efficiency_values(runs, seeds):
        mean = mean_text(mean_over_seeds(each.rates), "wer") if each.rates else "not run"
        cost = "" if each.minutes is None else f"{each.minutes:.1f}"
        yield markdown_row(each.name, len(each.rates), mean, cost)


def rates(runs: Path) -> Iterator[str]:
    """Lines of Markdown: scores of both optimizers by learning rate, one seed each."""
    scored = ("asr/wer", "questions/acc", "sound/acc", "detection/event_f1")
    yield markdown_row("run", *(key.replace("/", " ") for key in scored), "CPU seconds")
    yield f"|---|{'---|' * (len(scored) + 1)}"
    spent = _cpu_seconds(runs)
    for arm in RATE_ARMS:
        if not is_finished(runs, arm, RATE_SEED):
            yield markdown_row(arm, "not run", *[""] * len(scored))
            continue
        scores = read_scores(RunFolder(folder_of(runs, arm, RATE_SEED)).scores)
        values = (metric_value(scores[key], key.split("/")[1]) for key in scored)
        yield markdown_row(arm, *values, f"{spent.get(f'{arm}-{RATE_SEED}', 0):.0f}")


def _cpu_seconds(runs: Path) -> dict[str, float]:
    """Run -> CPU seconds of all its starts."""
    path, spent = runs / "spent.jsonl", dict[str, float]()
    for line in path.read_text().splitlines() if path.is_file() else ():
        entry = json.loads(line)
        spent[entry["run"]] = spent.get(entry["run"], 0.0) + entry["cpu_seconds"]
    return spent


def markdown_row(*cells: object) -> str:
    """Line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def mean_text(mean: SeedMean | None, metric: str) -> str:
    """Mean over seeds +- half width of its 95 % interval; empty without a score."""
    if mean is None:
        return ""
    half = "" if mean.half_width is None else f" +- {short_number(mean.half_width)}"
    return metric_value(mean.mean, metric) + half


def order_accuracy(folder: Path) -> float:
    """Accuracy of the answers to questions for the first or last sound."""
    predictions = read_predictions(predictions_path(RunFolder(folder).predictions, "questions"))
    right = [each.answer.strip() == each.reference for each in predictions if each.reference not in NO_ORDER]
    return sum(right) / len(right)


def _tables(runs: Path, seeds: Sequence[int]) -> Iterator[str]:
    yield from table(runs, seeds)
    yield ""
    yield from efficiency(runs, seeds)
    yield ""
    yield from rates(runs)


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument(
        "arms", nargs="*", default=[*ARMS], help=f"of {', '.join(ARMS)}; default all; or {RATES}"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every recipe")
    given = parser.parse_args()
    if given.arms == [RATES]:
        given.arms, given.seeds = [*RATE_ARMS], [RATE_SEED]
    if unknown := [arm for arm in given.arms if arm not in ALL_ARMS]:
        parser.error(f"unknown arm {unknown[0]!r}; known: {', '.join(ALL_ARMS)}")
    try:
        if given.command == "table":
            for line in _tables(given.runs, given.seeds):
                _say(line)
        elif missing := run(given.runs, given.arms, given.seeds, given.set):
            sys.exit(f"{missing} runs are not finished; run the command again")
    except UserError as error:
        sys.exit(f"ablations: {error}")


if __name__ == "__main__":
    main()
