"""Take the pictures of ``docs/`` from a finished run, with a real browser.

    pip install playwright && playwright install chromium
    python scripts/pictures.py runs/demo-6e044984 docs/pictures --curves http://127.0.0.1:5000

``--curves`` is the address of ``mlflow ui`` on the run's store; without it only the audio report is taken. ``--only``
names one picture, such as ``mlflow_runs``, for which the store should have several runs of the recipe.
``--browser`` is the path of an installed Chromium. Playwright is not a dependency of the project, so it is imported
where it is used.
"""

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from audio_lm.tracking.mlflow.view import runs_address

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ("audio_report", "mlflow", "mlflow_runs")
MAX_BYTES = 200_000
NUM_COLORS = 128


def main() -> None:
    """Take the pictures that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--stage", default="pretrain", help="stage of the audio report")
    parser.add_argument("--find", default="00001", help="text that the shown clips contain")
    parser.add_argument("--curves", help="address of mlflow ui")
    parser.add_argument("--only", choices=PICTURES, help="take only this picture")
    parser.add_argument("--browser", help="path of a Chromium")
    options = parser.parse_args()

    chosen = [options.only] if options.only else [*PICTURES] if options.curves else ["audio_report"]

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 840})
        if "audio_report" in chosen:
            report = options.run / "stages" / options.stage / "report" / "samples.html"
            page.goto(report.resolve().as_uri())
            page.fill("input[type=search]", options.find)
            page.wait_for_timeout(1000)
            write_small(page.screenshot(), options.out / "audio_report.png")
        content = {"x": 198, "y": 0, "width": 1202}  # without the sidebar
        if "mlflow" in chosen:
            open_mlflow(
                page,
                f"{options.curves}/#/experiments/1/runs/{run_id(options.run, options.stage)}/model-metrics",
            )
            page.get_by_placeholder("Search metric charts").fill("train_loss")
            page.wait_for_timeout(4000)
            write_small(page.screenshot(clip={**content, "height": 840}), options.out / "mlflow.png")
        if "mlflow_runs" in chosen:
            open_mlflow(page, f"{options.curves}/{runs_address('1')}")
            write_small(page.screenshot(clip={**content, "height": 460}), options.out / "mlflow_runs.png")
        browser.close()


def open_mlflow(page: "Page", address: str) -> None:
    """Open a page of MLflow, and close the introduction that it shows to a new browser."""
    page.goto(address)
    page.wait_for_timeout(9000)
    page.keyboard.press("Escape")
    for button in page.get_by_role("button", name="Close").all():
        button.click(timeout=1000)
    page.wait_for_timeout(1000)


def run_id(run: Path, stage: str) -> str:
    """MLflow's id of a stage, from ``mlflow.txt``."""
    lines = (run / "mlflow.txt").read_text().splitlines()
    return dict(line.split(": ") for line in lines)[f"stages/{stage}"]


def write_small(png: bytes, path: Path) -> None:
    """Write a picture with few colors, under the size that the repository allows."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(NUM_COLORS)
    picture.save(path, optimize=True)
    assert path.stat().st_size <= MAX_BYTES, f"{path} has {path.stat().st_size} bytes, over {MAX_BYTES}"


if __name__ == "__main__":
    main()
