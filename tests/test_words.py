"""Plain words: no idiom in names, prose and messages; docstrings open with a noun phrase or an imperative."""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# "Judge" is the field's term for a model that scores answers.
IDIOMS = re.compile(
    r"\b(heard|hears|told|tells|begun|(begin|begins|began) again|(taken|takes|took) up|lets? go|hearts?"
    r"|shelf|shelves|asks|asked|asking|shared? out|shares out|sharing out|alike|looks? on"
    r"|whoever|whomever|thaws?|thawed|thawing|said)\b",
    re.IGNORECASE,
)
OPENINGS = re.compile(r"(What|Who|Whose|Whether|How|Where|When|Which|That|As|So)\b")
EARLIER = "earlier release"  # a line with these words may have keys of old state files
DATA = (  # questions, prompts and texts to train on: people's sentences
    "audio_lm/corpora/synthetic/",
    "audio_lm/corpora/published/",
    "audio_lm/tasks/",
    "audio_lm/prompts/",
    "tests/corpora/",
    "tests/tasks/",
    "tests/prompts/",
    "tests/golden/",
    "tests/test_words.py",
    "docs/words.md",
)


def tracked(*patterns):
    """Files that git tracks or would add; all matching files where git is missing."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()] or [
        str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.rglob(pattern)
    ]


def docstrings(text):
    """Line and text of every docstring."""
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for statement in body:
                value = getattr(statement, "value", None)
                if (
                    isinstance(statement, ast.Expr)
                    and isinstance(value, ast.Constant)
                    and isinstance(value.value, str)
                ):
                    yield statement.lineno, value.value


def words_of(name):
    """Words of a Python file with their lines: all but data, and keys that a comment calls those of an earlier release."""
    text = (ROOT / name).read_text()
    lines = text.splitlines()
    is_data = name.startswith(DATA)
    prose = {line for line, _ in docstrings(text)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if EARLIER in lines[min(token.start[0], len(lines)) - 1]:
            continue
        if (
            token.type == tokenize.NAME
            or token.type == tokenize.COMMENT
            or (token.type == tokenize.STRING and (not is_data or token.start[0] in prose))
        ):
            yield token.start[0], token.string.replace("_", " ")


@pytest.mark.parametrize("name", sorted(tracked("*.py")))
def test_names_comments_and_messages_use_no_idiom(name):
    if name == "tests/test_words.py":
        return
    found = [f"{name}:{line}: {hit[0]!r}" for line, words in words_of(name) for hit in IDIOMS.finditer(words)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(tracked("*.md", "*.yaml", "*.ipynb", "Makefile")))
def test_pages_and_recipes_use_no_idiom(name):
    if name.startswith(DATA):
        return
    lines = enumerate((ROOT / name).read_text().splitlines(), start=1)
    found = [f"{name}:{number}: {hit[0]!r}" for number, line in lines for hit in IDIOMS.finditer(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(name for name in tracked("*.py") if name.startswith("audio_lm/")))
def test_docstrings_open_with_a_noun_phrase_or_an_imperative(name):
    lines = docstrings((ROOT / name).read_text())
    found = [f"{name}:{line}: {text[:60]!r}" for line, text in lines if OPENINGS.match(text)]
    assert not found, "\n".join(found)


def test_an_idiom_is_found():
    for text in ("the clips heard", "begun again", "who looks on", "Shared out", "it is told"):
        assert IDIOMS.search(text), text
    assert not IDIOMS.search("retold untold sharing")


def rows_of_names():
    """Rows of `docs/words.md`: class or function of today, and its module; modules of today."""
    names, modules = (ROOT / "docs" / "words.md").read_text().split("Modules of `audio_lm/`:")
    yield from re.findall(r"^\| `\w+` \| `(\w+)` \| `([\w/]+)` \|$", names, flags=re.MULTILINE)
    yield from (
        ("", name) for name in re.findall(r"^\| `[\w/]+` \| `([\w/]+)` \|$", modules, flags=re.MULTILINE)
    )


@pytest.mark.parametrize(("name", "module"), list(rows_of_names()))
def test_a_new_name_in_the_table_of_names_exists(name, module):
    text = (ROOT / "audio_lm" / f"{module}.py").read_text()
    assert not name or re.search(rf"^ *(class |def |){name}\b", text, flags=re.MULTILINE), name
