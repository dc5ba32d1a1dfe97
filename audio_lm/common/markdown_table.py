"""Tables in Markdown, for pages, notes and notebooks."""

from collections.abc import Sequence


def markdown_table(table: Sequence[Sequence[str]], *, num_text_columns: int | None = None) -> str:
    r"""Table in Markdown; empty without rows.

    Args:
        table: heading, then rows of cells.
        num_text_columns: columns on the left that are texts; the others are numbers, on the right. None makes all texts.

    >>> print(markdown_table([["a|b", "n"], ["x", "1"]], num_text_columns=1))
    | a\|b | n |
    | --- | ---: |
    | x | 1 |
    """
    heading, *rows = table
    if not rows:
        return ""
    num_texts = len(heading) if num_text_columns is None else num_text_columns
    rule = [*["---"] * num_texts, *["---:"] * (len(heading) - num_texts)]
    return "\n".join(f"| {' | '.join(map(markdown_cell, row))} |" for row in (heading, rule, *rows))


def markdown_cell(text: str) -> str:
    """Text on one line, whose bars do not end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
