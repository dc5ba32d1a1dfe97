"""README, CONTRIBUTING and docs: commands are accepted by the programs, keys of recipes exist, links have targets."""

import ast
import re
import shlex
import subprocess
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
import typer
import yaml
from torch.distributed.run import get_args_parser

from audio_lm.cli.main import app
from audio_lm.cli.sweep import DEFAULT
from audio_lm.config.build import build_config
from audio_lm.config.load import load_recipe, override_keys
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.config.yaml_layers import Layer
from audio_lm.corpora.imports.registry import FORMATS
from audio_lm.corpora.registry import CORPORA
from audio_lm.data.config import MixtureConfig, TemperatureConfig
from audio_lm.data.mixture.weights import piecewise_weights
from audio_lm.sweep.checks import own_problems
from audio_lm.sweep.config import SweepConfig
from audio_lm.sweep.load import sweep_names
from tests.run.command import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT_OF_PAGE = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}
README = TEXT_OF_PAGE["README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
OTHER_PROGRAMS = {
    "mlflow",
    "pip",
    "python",
    "transformers",
    "ls",
    "sleep",
    "kill",
    "vllm-environment/bin/pip",
    "vllm-environment/bin/vllm",
}
MAX_README_LINES, MAX_PICTURE_BYTES = 60, 200_000
FILE_SUFFIXES = (".py", ".yaml", ".json", ".jsonl", ".sent", ".log", ".lock")


def blocks(*kinds):
    """Page and content of every fenced block of these kinds."""
    found = [(page, *block) for page, text in TEXT_OF_PAGE.items() for block in FENCE.findall(text)]
    return [(page, content) for page, kind, content in found if kind in kinds]


def lines_of_commands():
    """Page and line of everything that a reader is to type; of a session, the lines behind a ``$``."""
    for kind in ("sh", "console"):
        for page, content in blocks(kind):
            for line in content.replace("\\\n", " ").splitlines():
                if kind == "sh" or line.startswith("$ "):
                    yield page, line.removeprefix("$ ")


def commands():
    """Page and words of every command, variables left out."""
    for page, line in lines_of_commands():
        words = shlex.shlex(line, posix=True, punctuation_chars=";&")
        words.whitespace_split = True
        command = []
        for word in [*words, ";"]:
            if set(word) <= set(";&"):
                if command:
                    yield page, command
                command = []
            elif command or not re.match(r"[A-Z_]+=", word):
                command.append(word)


PAGE_OF_COMMAND = {tuple(words): page for page, words in commands()}


def parsed(arguments):
    """Values of the options and arguments of an ``audio-lm`` command; none where it prints help."""
    command = typer.main.get_command(app)
    while arguments and hasattr(command, "commands") and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    with suppress(typer.Exit):
        return command.make_context("audio-lm", [*arguments]).params
    return {}


def check_recipe(recipe, overrides, **options):
    made_before = "model.load="  # a folder that an earlier command of the page writes
    kept = [override for override in overrides if not override.startswith(made_before)]
    assert load_recipe(recipe, kept, **options).recipe.stages


@pytest.mark.parametrize("command", PAGE_OF_COMMAND, ids=" ".join)
def test_every_command_is_accepted_by_its_program(command):
    program, *arguments = command
    if program == "audio-lm":
        check_values(parsed(arguments))
    elif program == "torchrun":
        options = get_args_parser().parse_args(arguments)
        assert options.training_script == "train.py"
        check_recipe(options.training_script_args[0], options.training_script_args[1:])
    else:
        assert program in OTHER_PROGRAMS, f"{PAGE_OF_COMMAND[command]} has the unknown program {program}"


def commands_in_sentences():
    """Page and words of every ``audio-lm`` command in a sentence or a table; ``...`` stands for further arguments."""
    for page, text in TEXT_OF_PAGE.items():
        for command in re.findall(r"`(audio-lm [^`]+)`", FENCE.sub("", text)):
            yield page, tuple(word for word in shlex.split(command)[1:] if word != "...")


@pytest.mark.parametrize(("page", "arguments"), sorted(set(commands_in_sentences())))
def test_every_command_in_a_sentence_has_a_known_name_and_known_options(page, arguments):
    command = typer.main.get_command(app)
    while arguments and hasattr(command, "commands") and not arguments[0].startswith("--"):
        if arguments[0] not in command.commands:
            assert command.name == "sweep", f"{page}: {' '.join(arguments)}"
            arguments = (DEFAULT, *arguments)  # of a sweep file
        command, arguments = command.commands[arguments[0]], arguments[1:]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert used <= {*known, "--help", "--install-completion"}, f"{page}: {sorted(used - known)}"


def check_values(params):
    overrides = params.get("overrides") or []
    if "sweep" in params:
        assert Path(params["sweep"]).stem in sweep_names()
    elif "recipe" in params:
        check_recipe(params["recipe"], overrides, trusts_code=bool(params.get("trust_code")))
    elif overrides:  # of `evaluate`, which needs no + for new benchmarks and tasks
        check_recipe(
            "demo",
            [
                f"+{text}" if text.startswith(("evaluation.benchmarks.", "tasks.")) else text
                for text in overrides
            ],
        )
    if params.get("corpus"):
        assert params["corpus"] in CORPORA
        assert all("=" in setting for setting in params["settings"] or [])
    if params.get("format_name"):
        assert params["format_name"] in FORMATS


CHEAP = ("describe demo --where", "import --list", "prepare --list", "submit demo --dry-run --nodes 2")


@pytest.mark.parametrize("arguments", CHEAP)
def test_a_cheap_command_runs_and_prints_what_its_page_shows(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments.split()) == 0
    output = capsys.readouterr().out
    assert any(f"audio-lm {arguments}" in line for _, line in lines_of_commands()), "it is on no page"
    for _, content in blocks("console"):
        for session in content.split("$ ")[1:]:
            command, _, shown = session.partition("\n")
            if command == f"audio-lm {arguments}":
                assert [
                    line for line in shown.splitlines() if line not in ("...", *output.splitlines())
                ] == []


def with_fragment(shown):
    """The demo recipe with the keys that a page shows."""
    recipe = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text())
    for name, stage in shown.pop("stages", {}).items():
        recipe["stages"][name] = recipe["stages"].get(name, {}) | stage
    return recipe | shown


@pytest.mark.parametrize(("page", "content"), blocks("yaml"), ids=lambda text: text.partition("\n")[0])
def test_every_piece_of_a_recipe_is_valid(page, content, tmp_path):
    shown = yaml.safe_load(content)
    if "vary" in shown:
        problems = []
        config = build_config(SweepConfig, Layer({"name": "shown", **shown}), problems)
        assert not problems
        assert not list(own_problems(config, []))
    elif set(shown) <= set(Recipe.__dataclass_fields__):
        (tmp_path / "shown.yaml").write_text(yaml.safe_dump(with_fragment(shown), sort_keys=False))
        check_recipe(str(tmp_path / "shown.yaml"), [])
    else:
        assert set(shown) <= set(MixtureConfig.__dataclass_fields__), page
        mixture = MixtureConfig(**shown | {"temperature": TemperatureConfig(**shown["temperature"])})
        assert piecewise_weights(mixture, steps=20_000)[-1][1]["mna"] == 1.0


def test_the_recipe_that_is_explained_line_by_line_is_the_recipe():
    shown = yaml.safe_load(next(content for page, content in blocks("yaml") if page == "docs/recipes.md"))
    demo = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text())
    assert shown["use"] == demo["use"]
    for name, stage in shown["stages"].items():
        assert set(stage) <= set(StageConfig.__dataclass_fields__)
        for key, value in stage.items():
            assert demo["stages"][name][key] == value, key


@pytest.fixture(scope="session")
def keys():
    """Keys and tables of a recipe, ``*`` for the name of a stage."""
    leaves = {re.sub(r"^stages\.[^.]+", "stages.*", key) for key in override_keys("demo")}
    return {key[:end] for key in leaves for end, letter in enumerate(f"{key}.") if letter == "."}


@pytest.mark.parametrize("page", TEXT_OF_PAGE)
def test_every_key_in_the_text_exists(page, keys):
    tables = "hardware|fault_tolerance|tracking|evaluation|model|stages"
    for key in re.findall(rf"`((?:{tables})\.[^`=/:\s]+)", TEXT_OF_PAGE[page]):
        if not key.endswith(FILE_SUFFIXES):
            assert re.sub(r"^stages\.[^.]+", "stages.*", key) in keys, key


@pytest.mark.parametrize("page", TEXT_OF_PAGE)
def test_every_recipe_and_make_target_in_the_text_exists(page):
    text = TEXT_OF_PAGE[page]
    for path in re.findall(r"\b((?:recipes(?:/\w+)?|conf/\w+)/\w+\.yaml)", text):
        assert (ROOT / path).is_file(), path
    for target in re.findall(r"(?:`|^    )make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), target


def pages_of_the_tree():
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return sorted({*listed.stdout.splitlines(), *TEXT_OF_PAGE})


def anchors(text):
    """Names that GitHub gives to the headings of a page."""
    text = FENCE.sub("", text)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages_of_the_tree())
def test_every_relative_link_has_a_target(page):
    path = ROOT / page
    if not path.is_file():
        return
    for target, _, anchor in re.findall(
        r"\]\(((?!\w+:)[^)#\s]*)(#([^)]*))?\)", FENCE.sub("", path.read_text())
    ):
        file = path.parent / target if target else path
        assert file.exists(), f"{page} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file.read_text()), (
                f"{page} links to {target}#{anchor}, which has no heading"
            )


@pytest.mark.parametrize("page", pages_of_the_tree())
def test_every_row_of_a_table_has_the_cells_of_its_head(page):
    """GitHub divides cells at every bar, also within code."""
    if not (ROOT / page).is_file():
        return
    for table in re.findall(r"(?:^\|.*\n)+", FENCE.sub("", (ROOT / page).read_text()), flags=re.MULTILINE):
        head, *rows = table.splitlines()
        wrong = [row for row in rows if len(re.findall(r"(?<!\\)\|", row)) != head.count("|")]
        assert not wrong, "\n".join(wrong)


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(README.splitlines()) <= MAX_README_LINES
    assert "](docs/contents.md)" in README
    contents = TEXT_OF_PAGE["docs/contents.md"]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"contents.md"}
    assert not [name for name in pages if f"]({name})" not in contents]


def extras():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_every_extra_is_on_the_page_of_the_installation():
    rows = re.findall(r"^\| (`.*?`) \|", TEXT_OF_PAGE["docs/install.md"], flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(extras())


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").iterdir()), ids=lambda path: path.name)
def test_every_picture_is_small_and_shown_on_a_page(path):
    assert path.stat().st_size <= MAX_PICTURE_BYTES
    assert any(f"pictures/{path.name})" in text for text in TEXT_OF_PAGE.values())


def test_a_dead_link_and_a_wrong_option_are_found():
    assert "no-such-heading" not in anchors(README)
    with pytest.raises(Exception, match="No such option"):
        parsed(["train", "demo", "--no-such-option"])


def texts_of_the_code():
    """Every text in the package as its constant pieces, with a gap for each value that is filled in."""
    for path in sorted((ROOT / "audio_lm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                pieces = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                yield "".join(map(str, pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def is_shortened(message, text):
    """True if the pieces between the gaps of a shown message are in a text of the code, in this order."""
    place = 0
    for piece in filter(None, (part.strip(" ;,") for part in message.split("..."))):
        found = text.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def messages_that_are_shown():
    text = TEXT_OF_PAGE["docs/troubleshooting.md"].partition("## Recipes")[2]
    for section in text.partition("## Without a message")[0].split("\n## "):
        yield from re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)


def test_every_message_of_the_troubleshooting_page_is_one_of_the_code():
    texts = set(texts_of_the_code())
    missing = [
        shown for shown in messages_that_are_shown() if not any(is_shortened(shown, one) for one in texts)
    ]
    assert not missing, "\n".join(missing)
    assert len(list(messages_that_are_shown())) > 40
    assert not is_shortened("a ... c", "c of a")
