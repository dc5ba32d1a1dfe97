"""The site of the documentation: links are rewritten, and every fault that a reader would meet is found."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "docs.py"


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("docs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """A repository of two pages, a package with a README and a recipe."""
    files = {
        "README.md": "# Home\n\n[a](docs/a.md#part) [licence](LICENSE) ![p](docs/pictures/p.png)\n",
        "LICENSE": "Apache\n",
        "docs/contents.md": "# All pages\n\n## Start\n\n| page | subject |\n|---|---|\n| [a](a.md) | a |\n\n## Reference\n",
        "docs/a.md": "# A\n\n## Part\n\n[home](../README.md) [code](../package) [r](../recipes/r.yaml) [all](../recipes)\n"
        "`[no](link.md)`\n\n```sh\n[no](link.md)\n```\n",
        "docs/pictures/p.png": "picture",
        "docs/site.css": "",
        "docs/site.yaml": "plugins: [search]\n",
        "package/README.md": "# package\n\n[a](../docs/a.md)\n",
        "recipes/r.yaml": "seed: 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_links_fit_the_places_of_the_pages(docs, tree):
    pages = docs.write_pages(tree, tree / "build" / "docs")
    assert {"index.md", "a.md", "code/package.md", "code/LICENSE.md", "code/recipes/r.yaml.md"} <= set(pages)
    copy = {name: (tree / "build" / "docs" / name).read_text() for name in pages}
    assert "[a](a.md#part) [licence](code/LICENSE.md) ![p](pictures/p.png)" in copy["index.md"]
    assert (
        "[home](index.md) [code](code/package.md) [r](code/recipes/r.yaml.md) [all](code/recipes.md)"
        in copy["a.md"]
    )
    assert "* `r.yaml`" in copy["code/recipes.md"]
    assert copy["a.md"].count("[no](link.md)") == 2
    assert "[a](../a.md)" in copy["code/package.md"]
    assert "seed: 1" in copy["code/recipes/r.yaml.md"]
    assert (tree / "build" / "docs" / "pictures" / "p.png").read_text() == "picture"


def test_a_link_without_a_target_is_found(docs, tree):
    (tree / "docs" / "a.md").write_text("[gone](gone.md)")
    with pytest.raises(docs.DocsError, match=r"docs/a.md links to gone.md, which does not exist"):
        docs.write_pages(tree, tree / "build")


def test_a_page_in_no_table_or_in_two_is_found(docs, tree):
    assert docs.navigation(tree) == {"Start": {"A": "a.md"}, "Reference": {}}
    (tree / "docs" / "new.md").write_text("# New")
    with pytest.raises(docs.DocsError, match=r"docs/new.md: in no table of docs/contents.md"):
        docs.navigation(tree)
    (tree / "docs" / "new.md").unlink()
    contents = tree / "docs" / "contents.md"
    contents.write_text(contents.read_text() + "\n| page | subject |\n|---|---|\n| [b](a.md) | a |\n")
    with pytest.raises(docs.DocsError, match=r"docs/a.md: in two rows"):
        docs.navigation(tree)


def test_every_page_of_this_repository_is_in_the_navigation(docs):
    groups = docs.navigation(ROOT)
    listed = [page for group in groups.values() for page in group.values()]
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= {*listed, "contents.md"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="other.html#there">', None),
        ('<a href="https://arxiv.org/abs/2311.07919">', None),
        ('<a href="gone.html">', "page.html links to gone.html, which does not exist"),
        ('<a href="other.html#gone">', "page.html links to other.html#gone, which has no such heading"),
        ('<a href="#gone">', "page.html links to #gone, which has no such heading"),
        ('<img src="gone.png">', "page.html links to gone.png, which does not exist"),
        ('<script src="https://cdn.host/x.js">', "page.html loads https://cdn.host/x.js from another host"),
        ('<link rel="stylesheet" href="//fonts.host/x">', "page.html loads //fonts.host/x from another host"),
        ('<link rel="preconnect" href="https://fonts.host">', "page.html loads https://fonts.host from another host"),
        ('<link rel="canonical" href="https://our.site/page.html">', None),
    ],
)  # fmt: skip
def test_faults_of_a_finished_site_are_found(docs, tmp_path, body, problem):
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "other.html").write_text('<h2 id="there">There</h2>')
    assert list(docs.site_problems(tmp_path)) == ([problem] if problem else [])


def test_a_style_sheet_that_loads_from_another_host_is_found(docs, tmp_path):
    (tmp_path / "x.css").write_text(
        "@import 'https://fonts.host/x.css'; a { background: url(data:image/png,) }"
    )
    assert list(docs.site_problems(tmp_path)) == ["x.css loads https://fonts.host/x.css from another host"]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning():
    pytest.importorskip("zensical", reason="needs the extra docs; make docs installs it")
    done = subprocess.run([sys.executable, SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "build" / "site" / "tasks.html").is_file()
