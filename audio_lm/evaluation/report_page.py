"""The report of runs as Markdown, and as one HTML file without links to other files."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from audio_lm.common.markdown_table import markdown_table

PICTURE = "radar.png"


@dataclass(frozen=True)
class Table:
    """Heading, then rows of cells."""

    title: str
    cells: Sequence[Sequence[str]]
    num_text_columns: int
    """Columns on the left that are texts; the others are numbers."""


@dataclass(frozen=True)
class Page:
    """Content of a report."""

    title: str
    tables: Sequence[Table]
    notes: Mapping[str, Sequence[str]]
    """Heading -> lines."""

    picture: bytes | None = None
    """PNG of the radar."""


def markdown_of(page: Page) -> str:
    """Markdown of a report; the picture is the file ``radar.png`` beside it."""
    parts = [f"# {page.title}"]
    if page.picture:
        parts.append(f"![Scores of each benchmark; further out is better]({PICTURE})")
    for table in page.tables:
        parts += [f"## {table.title}", markdown_table(table.cells, num_text_columns=table.num_text_columns)]
    for title, notes in page.notes.items():
        if notes:
            parts += [f"## {title}", "\n".join(f"* {line}" for line in notes)]
    return "\n\n".join(parts) + "\n"


def html_of(page: Page) -> str:
    """HTML of a report, its picture included."""
    body = [f"<h1>{escape(page.title)}</h1>"]
    if page.picture:
        data = base64.b64encode(page.picture).decode()
        body.append(
            f'<img alt="Scores of each benchmark; further out is better" src="data:image/png;base64,{data}">'
        )
    for table in page.tables:
        body += [f"<h2>{escape(table.title)}</h2>", _html_table(table)]
    for title, lines in page.notes.items():
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            body += [f"<h2>{escape(title)}</h2>", f"<ul>{items}</ul>"]
    return TEMPLATE.replace("@@TITLE@@", escape(page.title)).replace("@@BODY@@", "\n".join(body))


def _html_table(table: Table) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if number < table.num_text_columns else ' class=number'}>{escape(cell)}</{tag}>"
            for number, cell in enumerate(row)
        )

    heading, *rows = table.cells
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<div><table><thead><tr>{cells(heading, 'th')}</tr></thead>\n<tbody>{body}</tbody></table></div>"


TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>@@TITLE@@</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#e1e4ea, #31353e); --dim: light-dark(#667085, #98a1b3) }
body { margin: 24px auto; max-width: 1400px; padding: 0 20px; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
  background: light-dark(#fff, #14161a); color: light-dark(#1b1f27, #e7e9ee) }
h1 { font-size: 22px } h2 { font-size: 16px; margin: 28px 0 8px }
img { max-width: min(100%, 860px); background: #fff; border-radius: 8px }
div { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap }
th { color: var(--dim); font-weight: 600 }
li { white-space: pre-wrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
</style>
</head>
<body>
@@BODY@@
</body>
</html>
"""
