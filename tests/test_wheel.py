"""The wheel works outside the repository, and so does a project that `audio-lm new` has written."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITES_A_WHEEL = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Folder with an environment that has the wheel, and sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("hatchling")
    build = [sys.executable, "-c", WRITES_A_WHEEL, str(folder)]
    wheel = subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[-1]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install(folder, "--ignore-installed", str(folder / wheel))
    return folder


def install(folder, *arguments):
    """Install into the environment, without the network."""
    pip = [sys.executable, "-m", "pip", "--python", folder / "env" / "bin" / "python", "install", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, *offline, *arguments], cwd=folder, check=True, env=clean())


def clean():
    """Environment variables without the repository."""
    hidden = ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    return {name: value for name, value in os.environ.items() if name not in hidden} | {
        "OMP_NUM_THREADS": "1"
    }


def audio_lm(folder, *arguments, where):
    """Output of a command of the installed program."""
    program = folder / "env" / "bin" / "audio-lm"
    done = subprocess.run(
        [program, *arguments], cwd=where, env=clean(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_program_finds_its_recipes_and_trains_the_demo(environment, tmp_path):
    python = environment / "env" / "bin" / "python"
    place = "import audio_lm, pathlib; print(pathlib.Path(audio_lm.__file__).parent)"
    found = subprocess.run(
        [python, "-c", place], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=True
    )
    assert found.stdout.strip().startswith(str(environment)), "not that of the repository"
    assert "conf/model/demo.yaml:" in audio_lm(environment, "describe", "demo", "--where", where=tmp_path)
    assert "scores: runs/demo-" in audio_lm(environment, "demo", "use.scale=tiny", where=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mlartifacts", "mlflow.db", "runs"]


@pytest.mark.slow
def test_a_project_of_ones_own_is_trained_with_its_task_its_metric_and_its_mixture(environment, tmp_path):
    output = audio_lm(environment, "new", "my-birds", where=tmp_path)
    project = tmp_path / "my-birds"
    assert f"next: cd {project.name}" in output
    install(environment, "--editable", str(project))
    small = ("use.scale=tiny", "corpora.my_birds_tones.clips=24", "--out", "runs/one")
    output = audio_lm(environment, "train", "my-birds", *small, where=project)
    assert "tones: train, 24 clips" in output
    scores = json.loads((project / "runs" / "one" / "scores.json").read_text())
    assert {"height/acc", "height/my_birds_first_letter", "tone/acc"} <= set(scores)
    shares = json.loads((project / "runs" / "one" / "stages" / "train" / "mixture.json").read_text())
    assert {leaf["task"] for leaf in shares["leaves"]} == {"my_birds_height", "my_birds_tone"}
    assert "my_birds_first_letter" in audio_lm(environment, "report", "runs/one", "--json", where=project)
