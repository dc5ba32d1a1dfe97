"""Build the documentation as a site: `make docs`, or `python scripts/docs.py`.

The pages are those of the repository: README.md, docs/, and every file that they link to. They are copied to
build/docs with links that fit there, then Zensical builds build/site strictly. The navigation is the tables of
docs/contents.md, so a page that is in none of them is an error. The finished site is checked again: every link
and picture has a target, and nothing is loaded from another host.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

ROOT = Path(__file__).parents[1]
CONTENTS, HOME, API = "docs/contents.md", "README.md", "api.md"
# Code, which is kept as it is, or the target of a link and its anchor.
CODE_OR_LINK = re.compile(
    r"(^```.*?^```$|`[^`\n]*`)|(?<=\]\()(?!\w+:)([^)#\s]*)(#[^)\s]*)?(?=\))", re.MULTILINE | re.DOTALL
)
ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)#]+)\) \|", re.MULTILINE)
PAGE_OF_CODE = {".yaml": "yaml", ".toml": "toml", ".py": "python", "": "text"}
LOADS = {"img": "src", "script": "src", "iframe": "src", "audio": "src", "video": "src", "source": "src"}
FOREIGN_IN_CSS = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')\s]+)")
LINKS_THAT_LOAD = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


class DocsError(Exception):
    """A problem of the pages; the message names page and remedy."""


def main() -> int:
    """Build and check the site; return the exit code."""
    try:
        pages = write_pages(ROOT, ROOT / "build" / "docs")
        config = write_config(ROOT, pages, ROOT / "build")
        build(config)
        problems = list(site_problems(ROOT / "build" / "site"))
    except DocsError as error:
        problems = [str(error)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        site = ROOT / "build" / "site"
        sys.stdout.write(f"{len(pages)} pages in {site / 'index.html'}; the search needs a server: ")
        sys.stdout.write(f"python -m http.server --bind 127.0.0.1 --directory {site}\n")
    return 1 if problems else 0


def place(path: str) -> str:
    """Path of a file of the repository below the folder of pages.

    >>> [place(path) for path in ("README.md", "docs/data.md", "audio_lm/data/README.md", "LICENSE")]
    ['index.md', 'data.md', 'code/audio_lm/data.md', 'code/LICENSE.md']
    """
    if path == HOME:
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith("/README.md"):
        return f"code/{path.removesuffix('/README.md')}.md"
    return f"code/{path}.md" if posixpath.splitext(path)[1] in PAGE_OF_CODE else f"code/{path}"


def links(text: str) -> Iterator[str]:
    """Relative targets of the links and pictures of a page."""
    yield from (match[2] for match in CODE_OR_LINK.finditer(text) if not match[1] and match[2])


def resolve(root: Path, page: str, target: str) -> str:
    """File of the repository that a link points to; of a folder its README, or the folder where it has none.

    Raises:
        DocsError: there is none.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    if (root / path / "README.md").is_file():
        path = posixpath.join(path, "README.md")
    if not (root / path).exists() or path.startswith(".."):
        raise DocsError(f"{page} links to {target}, which does not exist -- correct the link or add the file")
    return path


def reached(root: Path) -> list[str]:
    """README, the pages of docs/, and all files that they link to, directly or through another page."""
    waiting = [HOME, *sorted(f"docs/{path.name}" for path in (root / "docs").glob("*.md"))]
    found: dict[str, None] = dict.fromkeys(waiting)
    while waiting:
        page = waiting.pop(0)
        if not page.endswith(".md"):
            continue
        for target in links((root / page).read_text()):
            path = resolve(root, page, target)
            if path not in found:
                found[path] = None
                waiting.append(path)
    return list(found)


def rewritten(root: Path, page: str, text: str) -> str:
    """Text of a page with links that fit its place among the pages."""

    def replace(match: re.Match[str]) -> str:
        if match[1] or not match[2]:
            return match[0]
        target = place(resolve(root, page, match[2]))
        return posixpath.relpath(target, posixpath.dirname(place(page)) or ".") + (match[3] or "")

    return CODE_OR_LINK.sub(replace, text)


def write_pages(root: Path, folder: Path) -> dict[str, str]:
    """Copy all pages and their pictures; return the file of the repository of each page.

    Raises:
        DocsError: a link has no target.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = {}
    for path in reached(root):
        target = folder / place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = PAGE_OF_CODE.get(posixpath.splitext(path)[1])
        if path.endswith(".md"):
            target.write_text(rewritten(root, path, (root / path).read_text()))
        elif (root / path).is_dir():
            names = sorted(f"* `{one.name}`" for one in (root / path).iterdir())
            target.write_text("\n".join([f"# {path}", "", *names, ""]))
        elif kind:
            target.write_text(f"# {path}\n\n````{kind}\n{(root / path).read_text()}````\n")
        else:
            shutil.copy(root / path, target)
        if target.suffix == ".md":
            pages[place(path)] = path
    shutil.copy(root / "docs" / "site.css", folder)
    (folder / API).write_text(api_page())
    return pages


def api_page() -> str:
    """Page of the names of ``import audio_lm``; Zensical takes signatures and docstrings from the code."""
    import audio_lm

    names = "\n".join(f"::: {module}.{name}\n" for name, module in audio_lm._MODULE_OF_NAME.items())
    return f"# API\n\nNames of `import audio_lm`; [Python](python.md) has examples.\n\n{names}"


def navigation(root: Path) -> dict[str, dict[str, str]]:
    """Group -> title -> page, from the tables of docs/contents.md.

    Raises:
        DocsError: a page of docs/ is in none of them, or in two.
    """
    groups: dict[str, dict[str, str]] = {}
    listed = []
    for section in (root / CONTENTS).read_text().split("\n## ")[1:]:
        rows = [(title, resolve(root, CONTENTS, target)) for title, target in ROW.findall(section)]
        groups[section.partition("\n")[0]] = {
            title[0].upper() + title[1:]: place(path) for title, path in rows
        }
        listed += [path for _, path in rows]
    pages = {f"docs/{path.name}" for path in (root / "docs").glob("*.md")} - {CONTENTS}
    if missing := sorted(pages - set(listed)):
        raise DocsError(
            f"{', '.join(missing)}: in no table of {CONTENTS} -- add a row to the group it belongs to"
        )
    if twice := sorted({path for path in listed if listed.count(path) > 1}):
        raise DocsError(f"{', '.join(twice)}: in two rows of {CONTENTS} -- remove one")
    return groups


def write_config(root: Path, pages: dict[str, str], folder: Path) -> Path:
    """Write the settings of the site with its navigation; return their file."""
    groups = navigation(root)
    inside = {page for group in groups.values() for page in group.values()}
    groups["Reference"]["API"] = API
    nav: list[object] = [{"audio_lm": place(HOME)}, {"All pages": place(CONTENTS)}]
    nav += [{group: [{title: page} for title, page in rows.items()]} for group, rows in groups.items()]
    others = [page for page in pages if page not in inside and page.startswith("code/")]
    nav.append({"Code": [{pages[page].removesuffix("/README.md"): page} for page in sorted(others)]})
    config = yaml.safe_load((root / "docs" / "site.yaml").read_text())
    config |= {"docs_dir": "docs", "site_dir": "site", "nav": nav}
    for plugin in config["plugins"]:
        if "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root)]
    path = folder / "mkdocs.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def build(config: Path) -> None:
    """Build the site; warnings are errors.

    Raises:
        DocsError: Zensical has failed; its messages are on the terminal.
    """
    shutil.rmtree(config.parent / "site", ignore_errors=True)
    command = [
        str(Path(sys.executable).parent / "zensical"),
        "build",
        "--strict",
        "--clean",
        "-f",
        str(config),
    ]
    done = subprocess.run(
        command, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DocsError(
            f"{done.stdout}{done.stderr}\nthe pages of {config.parent / 'docs'} are copies; correct the originals"
        )


class Page(HTMLParser):
    """Names, links and loaded files of a page of the site."""

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect names, links and files."""
        values = {key: value or "" for key, value in attrs}
        self.names |= {values[key] for key in ("id", "name") if key in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values:
            self.loaded.append(values[LOADS[tag]])
        if tag == "link" and LINKS_THAT_LOAD & set(values.get("rel", "").split()):
            self.loaded.append(values.get("href", ""))


def site_problems(site: Path) -> Iterator[str]:
    """Problems of a finished site: links without a target, and files of other hosts."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        yield from (f"{name} loads {one} from another host" for one in page.loaded if urlsplit(one).netloc)
        if name.name != "404.html":  # its addresses start with that of the site
            yield from (f"{name} {problem}" for problem in dead_links(path, page, pages))
    for path in sorted(site.rglob("*.css")):
        for address in FOREIGN_IN_CSS.findall(path.read_text()):
            yield f"{path.relative_to(site)} loads {address} from another host"


def dead_links(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """Links of a page to files and headings that do not exist."""
    for address in [*page.links, *page.loaded]:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield f"links to {address}, which does not exist"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
            yield f"links to {address}, which has no such heading"


if __name__ == "__main__":
    sys.exit(main())
