import re
from dataclasses import replace

import pytest

from audio_lm.common.errors import UserError
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.report.write import SweepReport, write_report

MIXTURE = MixtureConfig(sources={"asr": ["a/b-train"]}, weights={"asr": 1.0})


@pytest.fixture(scope="module")
def written(fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, write_report(SweepReport(fit, "demo", MIXTURE), folder)


def test_a_report_has_summary_page_pictures_tables_and_the_best_mixture(written):
    folder, paths = written
    names = {path.name for path in paths}
    pictures = {"ternary.png", "parallel.png", "slices.png", "transfer.png", "pareto.png"}
    assert names == {
        "report.md",
        "report.html",
        "best_mixture.yaml",
        "ratios.csv",
        "metrics.csv",
        "trials.csv",
        *pictures,
    }
    assert all(path.stat().st_size for path in paths)
    assert {path.name for path in folder.iterdir()} == names


def test_the_summary_shows_every_picture_and_every_trial(written, fit):
    folder, _ = written
    text = (folder / "report.md").read_text()
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert all((folder / name).is_file() for name in linked)
    assert sum(name.endswith(".png") for name in linked) == 5
    assert all(f"| {run} |" in text for run in fit.table.runs)


def test_the_mixture_says_where_it_comes_from(written, fit):
    folder, _ = written
    text = (folder / "best_mixture.yaml").read_text()
    assert "Best mixture of the sweep demo" in text
    assert f"trust {fit.trust:.2f}" in text


def test_files_that_a_report_no_longer_has_are_removed(fit, tmp_path):
    for name in ("ternary.png", "best_mixture.yaml"):
        (tmp_path / name).write_text("# Written by `audio-lm sweep report`")
    one = {name: fit.surfaces[name] for name in list(fit.surfaces)[:1]}
    doubtful = replace(fit, best=None, why_none="too little trust", surfaces=one)
    names = {path.name for path in write_report(SweepReport(doubtful, "demo"), tmp_path)}
    assert "best_mixture.yaml" not in names
    assert "pareto.png" not in names
    assert not (tmp_path / "best_mixture.yaml").exists()


def test_a_mixture_that_cannot_be_written_is_refused_with_the_reason(fit, tmp_path):
    doubtful = replace(fit, best=None, why_none="too little trust")
    with pytest.raises(UserError, match="too little trust"):
        write_report(SweepReport(doubtful, "demo"), tmp_path / "report", mixture=tmp_path / "best.yaml")
    assert not (tmp_path / "report").exists(), "nothing is half written"


def test_a_notebook_shows_sentences_tables_and_pictures(fit):
    report = SweepReport(fit, "demo")
    assert report.answers._repr_markdown_().startswith("### Best mixture\n")
    assert report.table()._repr_markdown_().startswith("| trial |")
    assert report.picture("transfer")._repr_png_().startswith(b"\x89PNG")


def test_a_picture_that_a_report_does_not_have_is_named(fit):
    with pytest.raises(UserError, match=r"unknown picture 'ternery'\. Did you mean 'ternary'"):
        SweepReport(fit, "demo").picture("ternery")
