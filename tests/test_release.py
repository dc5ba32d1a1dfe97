"""The files of a release agree with each other."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_version_is_the_newest_of_the_changes_and_that_of_the_citation():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", text, flags=re.MULTILINE)
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=lambda name: [*map(int, name.split("."))], reverse=True)
    assert "## Unreleased" in text
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    released = re.search(rf"^## {re.escape(VERSION)} - (\S+)", text, flags=re.MULTILINE)
    assert released[1] == citation["date-released"]


def test_templates_of_issues_have_a_name_and_a_purpose():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"):
        _, heading, body = path.read_text().split("---\n", 2)
        assert {"name", "about"} <= set(yaml.safe_load(heading))
        assert body.strip()
    assert "Numerics:" in (ROOT / ".github" / "pull_request_template.md").read_text()
