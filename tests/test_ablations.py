"""Small ablations: recipes that differ from their base in one line, and the script that runs them."""

import importlib.util
import json
from pathlib import Path

import pytest

from audio_lm.common.files import write_json
from audio_lm.config.load import changed_settings, load_recipe
from audio_lm.prompts.natural import evaluation_prompts
from audio_lm.tasks.registry import find_task
from tests.run.recorded_runs import record_run

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "recipes" / "ablations"
ARMS = sorted(path for path in FOLDER.glob("small_*.yaml") if path.stem != "small_base")
spec = importlib.util.spec_from_file_location("ablations", ROOT / "scripts" / "ablations.py")
ablations = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ablations)


@pytest.mark.parametrize("path", ARMS, ids=lambda path: path.stem)
def test_an_arm_is_its_base_but_for_one_line(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "use: {recipe: small_base}"
    assert len(lines) == 2
    changed = changed_settings(load_recipe(FOLDER / "small_base.yaml"), load_recipe(path))
    assert changed, "the line changes the result"
    assert path.read_text().startswith(f"# recipes/ablations/{path.name}\n")


def test_every_arm_of_the_script_is_a_recipe_and_the_other_way_round():
    named = {ablation.recipe for ablation in ablations.ARMS.values()}
    assert named == {path.stem for path in FOLDER.glob("small_*.yaml")}


@pytest.mark.parametrize("arm", ablations.ARMS)
def test_every_run_of_the_script_has_valid_settings(arm, tmp_path):
    ablation = ablations.ARMS[arm]
    overrides = [*ablations.overrides_of(tmp_path, arm, 3), "resume=never"]
    recipe = load_recipe(FOLDER / f"{ablation.recipe}.yaml", overrides).recipe
    assert recipe.seed == 3
    assert tuple(recipe.only) == ablation.stages


@pytest.mark.parametrize("prompt", ["natural", "chatml"])
def test_benchmarks_have_the_prompt_of_the_arm(prompt):
    benchmarks = load_recipe(FOLDER / f"small_{prompt}.yaml").recipe.evaluation.benchmarks
    assert benchmarks["asr"].prompt == prompt
    assert benchmarks["strings"].prompt == "tags", "its stage is the same in all arms"


@pytest.mark.parametrize(
    ("arm", "stage"),
    [
        (arm, it.stages[0])
        for arm, it in ablations.ARMS.items()
        if len(it.stages) == 1 and not arm.endswith("without_pretrain")
    ],
)
def test_an_arm_changes_the_stage_that_it_trains_and_no_other(arm, stage):
    """Runs of one stage stand beside the base's runs of two, which is fair only if the other stage is the same."""
    ablation = ablations.ARMS[arm]
    ours = load_recipe(FOLDER / f"{ablation.recipe}.yaml", ablation.overrides).recipe.stages
    base = load_recipe(FOLDER / "small_base.yaml").recipe.stages
    (other,) = base.keys() - {stage}
    assert ours[stage] != base[stage]
    assert ours[other] == base[other]


def finish(folder, stages):
    for stage in stages:
        (folder / "stages" / stage / "model").mkdir(parents=True)
        write_json(folder / "stages" / stage / "status.json", {"finished": True, "evaluated": True})


@pytest.fixture
def runs(small_recipe, tmp_path):
    """Two seeds of the base, of `without_srwt` and of `rows_30`, with answers to questions."""
    folder = tmp_path / "runs"
    for arm, right in (("base", 10), ("without_srwt", 20), ("rows_30", 5)):
        for seed in (1, 2):
            path = record_run(small_recipe, folder / f"{arm}-{seed}", right + seed, f"seed={seed}")
            kept = path / "predictions" / "questions.jsonl"
            rows = [
                {"id": f"q-{number}", "task": "aqa", "references": [reference], "language": "en"}
                | {"answer": "beep" if number < right / 5 else "no"}
                for number, reference in enumerate(["beep", "beep", "beep", "beep", "no", "two"])
            ]
            kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
            finish(path, ablations.ARMS[arm].stages)
    for seed, rate in ((1, 0.9), (2, 1.1)):
        (folder / f"rows_30-{seed}" / "scores.json").write_text(
            json.dumps({"base/strings/wer": rate, "events/acc": 0.1})
        )
        scores = {"strings/wer": 0.5, "events/acc": (10 + seed) / 40}
        (folder / f"base-{seed}" / "scores.json").write_text(json.dumps(scores))
    return folder


def cells(lines, *start):
    return next(
        row
        for line in lines
        if (row := [cell.strip() for cell in line.split("|")[1:-1]])[: len(start)] == [*start]
    )


def test_the_table_has_paired_differences_and_names_what_was_not_run(runs):
    lines = [*ablations.table(runs, [1, 2, 3])]
    row = cells(lines, "without_srwt", "2", "events acc")
    assert row[3:6] == ["0.287 +- 0.159", "0.538 +- 0.159", "+0.250"]
    assert row[6:] == ["0.250 to 0.250, t over seeds", "better"]
    assert cells(lines, "natural")[1:3] == ["0", "not run"]
    order = cells(lines, "without_srwt", "2", "questions about order acc")
    assert order[3:6] == ["0.500 +- 0.000", "1.000 +- 0.000", "+0.500"], "yes, no and numbers are left out"


def test_the_table_of_data_efficiency_has_all_sizes(runs):
    (runs / "spent.jsonl").write_text(
        '{"run": "rows_30-1", "cpu_seconds": 60}\n{"run": "rows_30-1", "cpu_seconds": 30}\n'
    )
    lines = [*ablations.efficiency(runs, [1, 2, 3])]
    assert cells(lines, "none, random weights")[1:3] == ["0", "not run"]
    assert cells(lines, "none, after `pretrain`")[2].startswith("1.000 +- 1.27")
    assert cells(lines, "200")[1:3] == ["0", "not run"]
    assert cells(lines, "2000")[2] == "0.500 +- 0.000"
    assert cells(lines, "30")[3] == "1.5"


def test_what_is_finished_or_taken_or_waits_for_the_base_is_not_trained(runs, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(ablations, "_train", lambda runs, arm, seed, overrides: trained.append((arm, seed)))
    with ablations.claimed(runs / "locks" / "natural-1") as is_mine:
        assert is_mine
        missing = ablations.run(runs, ["without_srwt", "natural", "rows_30", "frozen_encoder"], [1, 2, 3], [])
    assert trained[:3] == [("without_srwt", 3), ("natural", 2), ("natural", 3)]
    assert trained[3:] == [("frozen_encoder", 1), ("frozen_encoder", 2)]
    assert "rows_30-3: waits for base-3" in capsys.readouterr().out
    assert missing == 8


def test_both_pictures_are_drawn_from_what_is_finished(runs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    pictures = importlib.import_module("ablation_pictures")
    differences = pictures.differences_figure(runs, [1, 2])
    names = [label.get_text() for label in differences.axes[0].get_yticklabels()]
    assert names == ["without srwt"], "arms that were not run have no row"
    curves = pictures.efficiency_figure(runs, [1, 2]).axes[0]
    points = {float(x) for line in curves.get_lines() for x in line.get_xdata()}
    assert points == {0.0, 2000.0}


def test_the_wordings_of_training_are_not_those_of_the_evaluation(runs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    wordings = importlib.import_module("ablation_wordings")
    base = load_recipe(FOLDER / "small_base.yaml").recipe.evaluation.benchmarks
    for name, (source, task, metric, max_new_tokens) in wordings.QUESTIONS.items():
        assert wordings.trained_wording(task) not in evaluation_prompts(find_task(task))
        assert (source, task, max_new_tokens) == (
            base[name].source,
            base[name].task,
            base[name].max_new_tokens,
        )
        assert metric in base[name].metrics
    lines = [*wordings.table(runs, [1, 2])]
    assert cells(lines, "asr wer")[1:] == ["not run"] * 7
