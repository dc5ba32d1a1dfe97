"""Command that writes the starter folder of a project: recipe, mixture, tasks, a metric and a corpus of one's own."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.options import DryRun
from audio_lm.common.errors import UserError

STARTER = Path(__file__).parent / "starter"
FILES = {
    "README.md": "README.md.txt",
    "pyproject.toml": "pyproject.toml.txt",
    ".gitignore": "gitignore.txt",
    "recipes/{name}.yaml": "recipe.yaml.txt",
    "conf/mixture/{name}.yaml": "mixture.yaml.txt",
    "conf/benchmarks/{name}.yaml": "benchmarks.yaml.txt",
    "conf/task/{module}_height.yaml": "task.yaml.txt",
    "{module}/__init__.py": "package.py.txt",
    "{module}/metrics.py": "metrics.py.txt",
    "{module}/corpus.py": "corpus.py.txt",
}
"""File of the new folder -> its template."""

NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the project: small letters, digits, - and _.")
    ],
    out: Annotated[Path | None, typer.Option(help="New folder; default `NAME`.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Write the starter folder of a project of your own: recipe, mixture, benchmarks, tasks, a metric, a corpus.

    Examples: `audio-lm new mine` · `audio-lm new bird-songs --out projects/birds` · `audio-lm new mine --dry-run`
    """
    folder = out or Path(name)
    files = starter_files(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists -- expected a new or an empty folder -- choose another with --out")
    for path, text in files.items():
        typer.echo(f"{'would write' if dry_run else 'wrote'} {folder / path}")
        if not dry_run:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    if not dry_run:
        typer.echo(f"next: cd {folder} && pip install -e . && audio-lm train {name}")


def starter_files(name: str) -> Mapping[str, str]:
    """Path and text of every file of a project.

    Raises:
        UserError: the name is invalid, or that of a module that exists.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"project {name!r} -- expected small letters, digits, - and _, a letter first -- choose another name"
        )
    module = name.replace("-", "_")
    if find_spec(module) is not None:
        raise UserError(
            f"project {name!r}: Python has a module {module!r} already, which this one would hide -- choose another name"
        )
    return {
        path.format(name=name, module=module): (STARTER / template)
        .read_text(encoding="utf-8")
        .replace("{{name}}", name)
        .replace("{{module}}", module)
        for path, template in FILES.items()
    }
