"""Folder that an endpoint serves: a given one, or a run's, exported once and kept in the run."""

import hashlib
import json
from pathlib import Path

from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.common.protocols import Report
from audio_lm.endpoint.request import ServedModel
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.run.folder import MODEL_SEALS, RunFolder
from audio_lm.run.load_model import choose_stage
from audio_lm.run.open import open_run

KEPT = "exported"
MODEL_TYPE = "qwen2_audio"


def find_model(
    path: Path, *, stage: str | None = None, name: str = "", trusts_code: bool = False, report: Report = print
) -> ServedModel:
    """Find the model to serve; a run is exported first.

    Args:
        path: folder of a run, or a Qwen2-Audio folder of transformers.
        stage: of a run; None takes the last one with weights.
        name: of the model in requests; empty takes that of the folder.

    Raises:
        UserError: there is neither a run nor such a folder.
    """
    if RunFolder(path).recipe.is_file():
        folder = export_once(path, stage=stage, trusts_code=trusts_code, report=report)
        name = name or path.resolve().name
    elif stage is not None:
        raise UserError(
            f"--stage {stage} -- expected a run, and {path} is none -- leave --stage out, or name the run's folder"
        )
    else:
        folder = path.absolute()
    config = _read(folder, "config.json")
    if config.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{folder / 'config.json'}: the model type is {config.get('model_type')!r} -- expected {MODEL_TYPE!r} -- "
            f"give a run, or a folder of `audio-lm export`"
        )
    if "@" in str(folder):
        raise UserError(
            f"{folder} has an '@' in its path, which `transformers serve` takes for a revision -- expected none -- move it"
        )
    return ServedModel(name or folder.name, str(folder), _read(folder, "generation_config.json"))


def export_once(run: Path, *, stage: str | None, trusts_code: bool, report: Report) -> Path:
    """Export a stage of a run into the run's own folder, unless these weights are there already.

    The folder's name has a hash of the weights, so a stage that was trained further is exported again.
    """
    recipe, run_folder = open_run(run, trusts_code=trusts_code)
    chosen = choose_stage(recipe, run_folder, stage)
    folder = (run / KEPT / f"{chosen}-{_weights_hash(run_folder, chosen)}").absolute()
    if not (folder / "config.json").is_file():
        export_run(run, folder, ExportSettings(stage=chosen), trusts_code=trusts_code, report=report)
    return folder


def _weights_hash(folder: RunFolder, stage: str) -> str:
    """8 hexadecimal digits, of the checksums of the weights or, for an earlier release, of size and time."""
    files = sorted(folder.model(stage).iterdir())
    times = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    seals = folder.status(stage).get(MODEL_SEALS) or times
    return hashlib.sha256(json.dumps(seals, sort_keys=True).encode()).hexdigest()[:8]


def _read(folder: Path, name: str) -> dict[str, object]:
    try:
        table = json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{folder / name} cannot be read ({error.strerror}) -- expected a run or an exported folder -- "
            f"name one, or make it with `audio-lm export`"
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{folder / name} is no JSON ({error}) -- expected that of an exported folder -- export it again"
        ) from None
    return table if isinstance(table, dict) else {}
