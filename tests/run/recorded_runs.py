"""Folders of runs with a recipe, answers and scores, without training."""

import json
from pathlib import Path

from audio_lm.config.load import load_recipe
from audio_lm.run.folder import RunFolder

NUM_CLIPS = 40


def record_run(recipe: Path, folder: Path, num_right: int | None, *overrides: str) -> Path:
    """A run with the benchmark ``events``, whose first ``num_right`` of 40 answers are right; None: not evaluated."""
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.recipe.write_text(load_recipe(recipe, overrides).text)
    if num_right is None:
        return folder
    run.predictions.mkdir()
    answers = [
        {"id": f"clip-{number}", "task": "sec", "references": ["beep"], "language": "unknown"}
        | {"answer": "beep" if number < num_right else "siren"}
        for number in range(NUM_CLIPS)
    ]
    (run.predictions / "events.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    scores = {"events/acc": num_right / NUM_CLIPS, "untrained/events/acc": 0.0}
    run.scores.write_text(json.dumps(scores))
    return folder
