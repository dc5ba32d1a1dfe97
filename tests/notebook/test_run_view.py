import shutil
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from audio_lm.common.errors import UserError
from audio_lm.notebook.run_view import RunView


@pytest.fixture
def view(whole_run):
    return RunView(whole_run.path)


def size_of(picture):
    return Image.open(BytesIO(picture._repr_png_())).size


def test_a_run_is_a_table_of_its_stages(view):
    lines = view._repr_markdown_().splitlines()
    assert "| pretrain | next_token | tags | sec, mna | 6 | yes |" in lines
    assert "| chat | next_token | chatml | chat | 3 | yes |" in lines
    table = view.stages().splitlines()
    assert table[0].split(" | ")[1:] == ["pretrain", "chat |"]
    assert "| encoder | 0.001 | frozen |" in table
    assert any("sec 50.0 %<br>mna 50.0 %" in line for line in table)


def test_curves_scores_and_answers_of_a_run_are_shown(view):
    assert size_of(view.curves("pretrain"))[0] > 600
    assert "| pretrain | events | sec | accuracy" in view.scores()
    assert size_of(view.answers("events", num=4))[1] > 1.5 * size_of(view.answers("events", num=2))[1]
    assert view.guard() == "The recipe has no `guard`."


def test_a_clip_is_a_wav_file_with_its_reference(view):
    first, second = view.clip("sec", 0), view.clip("sec", 1)
    assert first.cut_id == "events-test-00000"
    assert first.path != second.path
    samples, rate = soundfile.read(first.path)
    assert rate == 16_000
    np.testing.assert_allclose(samples, first.wave, atol=1e-4)
    prediction = view.predictions("events")[0]
    assert (first.cut_id, first.reference) == (prediction.id, prediction.reference)
    assert first.log_mel.shape == (-(-len(first.wave) // 160), 80)
    assert view.clip("sec", 4).cut_id == first.cut_id, "numbers go round"
    assert view.clip("mna").cut_id.startswith("notes-train"), "without a benchmark"


def test_a_recording_of_another_rate_is_a_clip(view, tmp_path):
    soundfile.write(tmp_path / "own.wav", np.zeros((22_050, 2)), 44_100)
    clip = view.file(tmp_path / "own.wav")
    assert len(clip.wave) == 8_000
    assert (clip.cut_id, clip.reference) == ("own.wav", "")


def test_relative_data_is_found_above_the_run(whole_run, small, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "moved"
    run.mkdir(parents=True)
    recipe = whole_run.recipe.read_text().replace(str(small.data_dir), "data")
    (run / "recipe.yaml").write_text(
        "\n".join(line for line in recipe.splitlines() if not line.startswith("#"))
    )
    for name in ("tokenizer", "tokens.json"):
        source = whole_run.path / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, run / name)
    shutil.copytree(small.data_dir, tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert RunView(run).recipe.data_dir == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda view: view.data("pretran"), "unknown stage 'pretran'. Did you mean 'pretrain'"),
        (
            lambda view: view.curves("pretrain", "los"),
            "has no curve of los -- expected some of loss; choose one",
        ),
        (lambda view: view.answers("event"), "unknown benchmark 'event'. Did you mean 'events'"),
        (lambda view: view.clip("asr"), "unknown task 'asr'"),
        (lambda view: view.pairs("chat"), "has the objective next_token and no pairs"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(view, ask, message):
    with pytest.raises(UserError, match=message):
        ask(view)
