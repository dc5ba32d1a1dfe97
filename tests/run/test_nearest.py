import os

import pytest

from audio_lm.common.files import write_json
from audio_lm.config.load import load_recipe
from audio_lm.run.folder import RunFolder, folder_for, open_folder
from audio_lm.run.nearest import MOST_RUNS, note_on_nearest


@pytest.fixture
def make_run(small_recipe, tmp_path, monkeypatch):
    """Function that makes the folder of a run with a step, without training."""
    monkeypatch.chdir(tmp_path)

    def make(name, *overrides, step=4):
        folder = RunFolder(tmp_path / "runs" / f"small-{name}")
        open_folder(folder, load_recipe(small_recipe, overrides))
        folder.stage("pretrain").mkdir(parents=True)
        write_json(folder.stage("pretrain") / "status.json", {"step": step})
        return folder

    return make


def note(small_recipe, *overrides):
    composed = load_recipe(small_recipe, ["resume=auto", *overrides])
    return note_on_nearest(composed, folder_for(composed), None)


def test_a_resume_that_finds_no_run_names_the_nearest_with_its_steps_and_values(small_recipe, make_run):
    assert note(small_recipe) == []
    make_run("0000aaaa", "stages.pretrain.schedule.min_lr=1e-5")
    make_run("0000bbbb", "seed=3", "stages.chat.steps=5", step=6)
    make_run("0000cccc", "seed=4", step=0)
    (text,) = note(small_recipe, "stages.pretrain.schedule.min_lr=1e-6")
    assert text.endswith(
        "starts at step 0: runs/small-0000aaaa has 4 of 9 steps of this recipe; it differs in "
        "stages.pretrain.schedule.min_lr: 1e-05 there, 1e-06 here"
    )
    (text,) = note(small_recipe, "seed=3")
    assert "runs/small-0000bbbb has 6 of 11 steps" in text
    assert text.endswith("it differs in stages.chat.steps: 5 there, 3 here")


def test_a_new_start_and_a_named_folder_get_no_note(small_recipe, make_run, tmp_path):
    make_run("0000aaaa", "seed=3")
    fresh, resumed = load_recipe(small_recipe), load_recipe(small_recipe, ["resume=auto"])
    assert note_on_nearest(fresh, folder_for(fresh), None) == []
    assert note_on_nearest(resumed, folder_for(resumed), tmp_path) == []
    extending = load_recipe(small_recipe, ["resume=auto", "extends=runs/small-0000aaaa"])
    assert note_on_nearest(extending, folder_for(extending), None) == []
    (tmp_path / "own").mkdir()
    assert note_on_nearest(resumed, RunFolder(tmp_path / "own"), None) == []


def test_broken_folders_are_left_out(small_recipe, make_run):
    good = make_run("0000aaaa", "seed=3")
    for number, content in enumerate((b"", b"\xff\xfe\0", b"a: [", b"[1, 2]", b"stages: 3", b"{" * 5000)):
        make_run(f"0000bbb{number}").recipe.write_bytes(content)
    directory = make_run("0000cccc").recipe
    directory.unlink()
    directory.mkdir()
    (make_run("0000dddd", "seed=4").stage("pretrain") / "status.json").write_text('{"step": "many"}')
    link = make_run("0000eeee").recipe
    link.unlink()
    os.symlink(link, link)
    (text,) = note(small_recipe)
    assert f"{good.path.relative_to(good.path.parents[1])} has 4 of 9 steps" in text


@pytest.mark.slow
def test_a_bounded_number_of_runs_is_compared(small_recipe, make_run):
    for number in range(MOST_RUNS):
        os.utime(make_run(f"0000{number:04x}", "seed=3", "stages.chat.steps=5").path, (100, 100))
    os.utime(make_run("0000aaaa", "seed=3").path, (1, 1))  # nearer, and too old
    assert "stages.chat.steps" in note(small_recipe)[0]
