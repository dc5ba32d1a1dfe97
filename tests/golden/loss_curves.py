"""Losses of the first 20 steps of recipes, and checksums of the weights after them, to hold two versions of the code together.

    python tests/golden/loss_curves.py before.json            # with the one version
    python tests/golden/loss_curves.py after.json             # with the other, on the same machine
    python tests/golden/loss_curves.py --compare before.json after.json

Runs: every stage of ``demo`` in two processes, every stage of ``spoken_digits`` (skipped without ``AUDIO_LM_DATA``), and
the stages of ``demo`` with FSDP2 over two processes. The figures hold on one machine and one torch: none are kept.
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
        data: where its corpora are prepared, once.
        out: its folder.
    """
    recipe, *overrides = RUNS[name]
    known = [stage for stage in STAGES if f"\n  {stage}:" in (ROOT / recipe).read_text()]
    steps = [f"stages.{stage}.steps=20" for stage in known]
    places = [f"data_dir={data / name}", f"tracking.uri=sqlite:///{out}.db"]
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node=2"] if name in TWO_RANKS else []
    command = [sys.executable, *ranks, __file__, "--train", recipe, "--out", str(out)]
    command += ["~evaluation.benchmarks", *steps, *places, *overrides]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return {stage: curve(out / "stages" / stage) for stage in known}


def curve(folder: Path) -> dict[str, object]:
    """What a stage has left: losses by name, one a step, and checksums."""
    losses: dict[str, list[str]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        for key, value in json.loads(line).get("values", {}).items():
            if key.startswith(("train_loss/", "val_loss/")):
                losses.setdefault(key, []).append(float(value).hex())
    assert len(losses["train_loss/all"]) == 20, "a value every step"
    weights = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "model").glob("*.safetensors"))
    }
    return {"losses": losses, "weights": weights}


def train(arguments: list[str]) -> None:
    """The command line's ``train``, with losses logged at every step, on one rank."""
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


def compare(one: Path, other: Path) -> list[str]:
    """Places in which two files of curves are not the same."""
    before, after = (json.loads(path.read_text()) for path in (one, other))
    found = [f"{run}: in one of them only" for run in before.keys() ^ after.keys()]
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
    parser.add_argument(
        "file", type=Path, nargs="+", help="where curves are written, or two files to compare"
    )
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--only", choices=sorted(RUNS), help="one of the runs")
    options = parser.parse_args()
    if options.compare:
        found = compare(*options.file)
        print("\n".join(found) or "identical")
        sys.exit(bool(found))
    done = {}
    with tempfile.TemporaryDirectory() as place:
        for name in [options.only] if options.only else RUNS:
            if name == "spoken_digits" and not os.environ.get("AUDIO_LM_DATA"):
                print("spoken_digits: left out, AUDIO_LM_DATA is not set")
                continue
            done[name] = curves(name, Path(place) / "data", Path(place) / name)
    options.file[0].write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
