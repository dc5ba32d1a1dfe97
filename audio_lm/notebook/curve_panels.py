"""Panels of curves: training and validation values of metrics, by task."""

from collections.abc import Iterable, Mapping, Sequence

from audio_lm.tracking.report.curve_figures import Curve

ALL = "all"
KINDS = {"train": "training", "val": "validation"}
TITLES = {
    "loss": "loss, nats",
    "accuracy": "share of pairs with the larger reward for the chosen answer",
    "margin": "margin of the rewards, nats",
    "logp_chosen": "log p(chosen answer), nats",
    "logp_rejected": "log p(rejected answer), nats",
}


def curve_panels(
    curves: Mapping[str, Sequence[tuple[int, float]]], metrics: Sequence[str]
) -> dict[str, dict[str, Curve]]:
    """Title -> name -> curve; of several tasks, training and validation have a panel each.

    Args:
        curves: as logged: ``train_loss/asr``, ``val_loss/all`` ...
        metrics: without kind and task, such as ``loss``.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for metric in metrics:
        title = TITLES.get(metric, metric)
        found = {word: _of_tasks(curves, f"{kind}_{metric}/") for kind, word in KINDS.items()}
        found = {word: of_task for word, of_task in found.items() if of_task}
        if all(len(of_task) == 1 for of_task in found.values()):
            panel = {word: curve for word, of_task in found.items() for curve in of_task.values()}
            panels |= {title: panel} if panel else {}
        else:
            panels |= {f"{word} {title}": of_task for word, of_task in found.items()}
    return panels


def metrics_of(names: Iterable[str]) -> list[str]:
    """Metrics of logged names, without kind and task.

    >>> metrics_of(["train_loss/asr", "val_loss/all", "train_margin/chat", "lr"])
    ['loss', 'margin']
    """
    return sorted(
        {
            name.split("/")[0].removeprefix(f"{kind}_")
            for name in names
            for kind in KINDS
            if name.startswith(f"{kind}_") and "/" in name
        }
    )


def _of_tasks(curves: Mapping[str, Sequence[tuple[int, float]]], prefix: str) -> dict[str, Curve]:
    """Task -> curve; that of all tasks only where there are several."""
    found = {name.removeprefix(prefix): curve for name, curve in curves.items() if name.startswith(prefix)}
    if len(found) == 2:
        found.pop(ALL, None)
    return {task: found[task] for task in sorted(found, key=lambda task: (task == ALL, task))}
