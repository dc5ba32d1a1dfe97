import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "install.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Replaces Python: logs its arguments, and fails as its variables say.
PYTHON = """#!/bin/bash
echo "$UV_DEFAULT_INDEX|$*" >> "$0.log"
case "$*" in
  *"config list"*) echo "global.index-url='https://me:secret@index/simple'"; [ -z "$EXTRA" ] || echo "$EXTRA" ;;
  *" pip install "*) exit "${UV_FAILS:-0}" ;;
  *" install "*" uv") exit "${NO_UV:-0}" ;;
esac
"""


def load(name="install"):
    spec = importlib.util.spec_from_file_location(name, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Run the script with environment variables; return its exit code and the commands it ran."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*arguments, **variables):
        monkeypatch.setattr(sys, "executable", str(python))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = load().main(list(arguments))
        return code, (tmp_path / "python.log").read_text().splitlines()

    return run


def test_uv_installs_the_requirements_from_the_indexes_of_pip(installed, capfd):
    code, commands = installed(".[speech]")
    assert code == 0
    assert commands[-1].startswith("https://me:secret@index/simple|-m uv pip install ")
    assert commands[-1].endswith(" -c constraints.txt -e .[speech]")
    assert "secret" not in "".join(capfd.readouterr()) + commands[-1].partition("|")[2]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NO_UV": "1"}, "returned non-zero"),
        ({"UV_FAILS": "2"}, "returned non-zero"),
        ({"EXTRA": "global.no-binary=':all:'"}, "no counterpart of pip's no-binary"),
    ],
)
def test_pip_installs_the_requirements_where_uv_fails(installed, capfd, variables, words):
    code, commands = installed(".[speech]", **variables)
    assert code == 0
    assert commands[-1].endswith(
        "-m pip --disable-pip-version-check --quiet --quiet install -c constraints.txt -e .[speech]"
    )
    assert words in capfd.readouterr().err


def test_a_variable_of_uv_in_the_environment_is_kept(installed):
    _, commands = installed(".", UV_DEFAULT_INDEX="https://mine/simple")
    assert commands[-1].startswith("https://mine/simple|-m uv")


def test_the_configuration_of_pip_is_read_as_pip_reads_it(tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a/simple\nfind-links =\n  /links\n  /more\ntimeout = 9\n"
        "[install]\nno-index = true\n[download]\nno-binary = :all:\n"
    )
    known = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env=known | {"PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": "https://b/simple"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    install = load()
    settings = install.pip_settings(listed)
    variables, constraints = install.for_uv(
        {key: settings[key] for key in ("index-url", "find-links", "timeout", "no-index")}
    )
    assert variables == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://b/simple",
        "UV_FIND_LINKS": "/links,/more",
        "UV_HTTP_TIMEOUT": "9",
        "UV_NO_INDEX": "true",
    }
    assert constraints == []
    assert "no-binary" not in settings


def test_the_main_index_precedes_the_others():
    """Of one version in two indexes uv takes the file of the first, which may have no compiled wheels."""
    variables, _ = load().for_uv({"extra-index-url": "file:///b/simple\nfile:///c/simple"})
    assert variables["UV_INDEX"].split() == [load().pypi(), "file:///b/simple"]
    assert variables["UV_DEFAULT_INDEX"] == "file:///c/simple"


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_requirement_is_pinned_within_its_bounds(extra):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    for text in PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]:
        requirement = Requirement(text)
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, text
