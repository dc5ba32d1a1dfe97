"""Losses of the first 20 steps of recipes and checksums of the resulting weights, to compare two versions of the code.

    python tests/golden/loss_curves.py before.json            # with one version
    python tests/golden/loss_curves.py after.json             # with the other, on the same machine
    python tests/golden/loss_curves.py --compare before.json after.json

Runs: every stage of ``demo`` in two processes, every stage of ``spoken_digits`` (skipped without ``AUDIO_LM_DATA``), and
the stages of ``demo`` with FSDP2 over two processes. The numbers depend on the machine and on torch, so none are stored here.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL = (
    "{digits: 300, phrases: 300, commands: 100, events: 100, notes: 200, dialogues: 300, dialogues_text: 100}"
)
DEMO = (f"corpora.synthetic.clips={SMALL}", "stages.pretrain.validate_every=10")
RUNS = {
    "demo": ("recipes/demo.yaml", "hardware.precision=32", *DEMO),
    "spoken_digits": ("recipes/spoken_digits.yaml", "corpora.fsdd.strings=300"),
    "fsdp2": ("recipes/demo.yaml", "hardware.precision=32", "hardware.sharding=fsdp", *DEMO),
}
TWO_RANKS = ("demo", "fsdp2")
STAGES = ("language", "pretrain", "chat")
ROOT = Path(__file__).parents[2]


def curves(name: str, data: Path, out: Path) -> dict[str, dict[str, object]]:
    """Train the stages of one run; the loss of every step and the checksum of every file of weights.

    Args:
        data: folder of the prepared corpora.
        out: folder of the run.
    """
    recipe, *overrides = RUNS[name]
    stages = [stage for stage in STAGES if f"\n  {stage}:" in (ROOT / recipe).read_text()]
    steps = [f"stages.{stage}.steps=20" for stage in stages]
    paths = [f"data_dir={data / name}", f"tracking.uri=sqlite:///{out}.db"]
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node=2"] if name in TWO_RANKS else []
    command = [sys.executable, *ranks, __file__, "--train", recipe, "--out", str(out)]
    command += ["~evaluation.benchmarks", *steps, *paths, *overrides]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return {stage: curve(out / "stages" / stage) for stage in stages}


def curve(folder: Path) -> dict[str, object]:
    """Losses of every step by name, and checksums of the weights of a stage."""
    losses: dict[str, list[str]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        for key, value in json.loads(line).get("values", {}).items():
            if key.startswith(("train_loss/", "val_loss/")):
                losses.setdefault(key, []).append(float(value).hex())
    assert len(losses["train_loss/all"]) == 20, "one value per step"
    weights = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "model").glob("*.safetensors"))
    }
    return {"losses": losses, "weights": weights}


def train(arguments: list[str]) -> None:
    """Run ``audio-lm train`` with losses logged at every step."""
    import audio_lm.training as package

    here = Path(package.__file__).parent
    home = "next_token" if (here / "next_token.py").is_file() else "module"
    module = __import__(f"audio_lm.training.{home}", fromlist=["NextTokenModule"]).NextTokenModule
    module.__init__.__kwdefaults__["log_every"] = 1
    sys.argv = ["audio-lm", "train", *arguments]
    main = __import__(
        "audio_lm.cli.main" if (here.parent / "cli").is_dir() else "audio_lm.cli", fromlist=["main"]
    ).main
    sys.exit(main())


def compare(first: Path, second: Path) -> list[str]:
    """Entries in which two files of curves differ."""
    before, after = (json.loads(path.read_text()) for path in (first, second))
    found = [f"{run}: in one file only" for run in before.keys() ^ after.keys()]
    for run in before.keys() & after.keys():
        for stage in before[run].keys() | after[run].keys():
            for kind in ("losses", "weights"):
                left, right = before[run][stage][kind], after[run][stage][kind]
                found += [
                    f"{run}/{stage}: {key}"
                    for key in left.keys() | right.keys()
                    if left.get(key) != right.get(key)
                ]
    return sorted(found)


def main() -> None:
    if sys.argv[1:2] == ["--train"]:
        train(sys.argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="+", help="output file, or two files to compare")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--only", choices=sorted(RUNS), help="run only this one")
    options = parser.parse_args()
    if options.compare:
        found = compare(*options.file)
        print("\n".join(found) or "identical")
        sys.exit(bool(found))
    curves_of_run = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.only] if options.only else RUNS:
            if name == "spoken_digits" and not os.environ.get("AUDIO_LM_DATA"):
                print("spoken_digits: skipped, AUDIO_LM_DATA is not set")
                continue
            curves_of_run[name] = curves(name, Path(folder) / "data", Path(folder) / name)
    options.file[0].write_text(json.dumps(curves_of_run, indent=1))


if __name__ == "__main__":
    main()
