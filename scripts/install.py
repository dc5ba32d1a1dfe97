"""Install this project into the environment that runs it: with uv, or with pip where uv fails.

    .venv/bin/python scripts/install.py '.[speech]'
    .venv/bin/python scripts/install.py --dry-run '.[speech]'

uv takes a fraction of pip's time and does not read pip's configuration, so indexes, links, certificates and
constraints are translated for it. A setting of pip that uv has no counterpart for means that pip installs.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
PIP_INSTALL = (*PIP, "--quiet", "--quiet", "install")  # errors only
UV_INSTALL = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable)
CONSTRAINTS = ("-c", "constraints.txt")
SECTIONS = ("global", "install", ":env:")  # of pip's configuration; later sections override earlier ones

INDEXES = ("index-url", "extra-index-url")
# pip's setting -> uv's variable, and the separator of several values there
VARIABLES = {
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
}
SWITCHES = {"no-index": ("UV_NO_INDEX", "true"), "pre": ("UV_PRERELEASE", "allow")}
WITHOUT_EFFECT = {
    "break-system-packages", "cache-dir", "disable-pip-version-check", "no-cache-dir", "no-color", "no-input",
    "no-python-version-warning", "no-warn-script-location", "progress-bar", "quiet", "require-virtualenv", "retries",
    "root-user-action", "verbose",
}  # fmt: skip


class NoCounterpartError(Exception):
    """A setting of pip without a counterpart in uv."""


def main(arguments: list[str]) -> int:
    """Install with uv, or with pip where uv fails; return the exit code of the installer."""
    requirements = [*CONSTRAINTS, *arguments[:-1], "-e", arguments[-1]]
    try:
        return with_uv(requirements)
    except (ImportError, NoCounterpartError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"uv did not install it ({error}); falling back to pip, which takes some minutes\n")
    return subprocess.run([*PIP_INSTALL, *requirements], cwd=ROOT, check=False).returncode


def with_uv(requirements: list[str]) -> int:
    """Install uv, then the requirements with it.

    Raises:
        NoCounterpartError: a setting of pip has no counterpart in uv.
        CalledProcessError: uv, or a requirement, could not be installed.
    """
    settings = pip_settings(_output(*PIP, "config", "list"))
    variables, constraints = for_uv(settings)
    subprocess.run([*PIP_INSTALL, *CONSTRAINTS, "uv"], cwd=ROOT, check=True)
    options = [] if sys.stderr.isatty() else ["--quiet"]
    if sys.dont_write_bytecode:  # otherwise every start of Python compiles again; pip always compiles
        options.append("--compile-bytecode")
    subprocess.run(
        [*UV_INSTALL, *options, *constraints, *requirements],
        cwd=ROOT,
        env={**variables, **os.environ},
        check=True,
    )
    return 0


def pip_settings(listed: str) -> dict[str, str]:
    """Setting -> value of ``pip config list``, for the sections that ``pip install`` reads."""
    settings: dict[str, str] = {}
    rows = [line.partition("=") for line in listed.splitlines()]
    for section in SECTIONS:
        for name, _, value in rows:
            place, _, key = name.rpartition(".")
            if place == section:
                settings[key] = str(ast.literal_eval(value))
    return settings


def for_uv(settings: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Environment variables and arguments of uv for settings of pip.

    pip takes the best version, then the best file, of all indexes. uv with ``unsafe-best-match`` takes the best
    version too, but its file from the first index that has it, so the main index is the first. uv names the last
    index the default.

    Raises:
        NoCounterpartError: names the settings without a counterpart.
    """
    known = {*INDEXES, *VARIABLES, *SWITCHES, *WITHOUT_EFFECT, "constraint"}
    if unknown := sorted(settings.keys() - known):
        raise NoCounterpartError(f"it has no counterpart of pip's {', '.join(unknown)}")
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    *before, last = [settings.get("index-url") or pypi(), *settings.get("extra-index-url", "").split()]
    variables["UV_DEFAULT_INDEX"] = last
    if before:
        variables["UV_INDEX"] = " ".join(before)
    for key, (variable, between) in VARIABLES.items():
        if settings.get(key):
            variables[variable] = between.join(settings[key].split())
    for key, (variable, value) in SWITCHES.items():
        if settings.get(key, "").lower() in ("1", "true", "yes", "on"):
            variables[variable] = value
    constraints = [word for path in settings.get("constraint", "").split() for word in ("-c", path)]
    return variables, constraints


def pypi() -> str:
    """The index that pip uses when none is configured."""
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
