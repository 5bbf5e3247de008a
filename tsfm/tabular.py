"""Tables as text for a terminal and as HTML for a notebook: what lists and scoreboards show of themselves."""

from collections.abc import Sequence
from html import escape

QUIET = "opacity:.65;font-size:12px"  # of what stands under a table
SCORE = "padding:2px 10px;text-align:right;border:none"


def as_text(heading: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns two blanks apart, those at the positions `right` pushed to the right."""
    table = [heading, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)


def as_html(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table element, every cell escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def as_scores(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Names and numbers for a notebook; inline styles only, because viewers of stored notebooks strip the rest."""
    number, name = SCORE, SCORE.replace("right", "left")
    head = "".join(f'<th style="{number if i else name}">{escape(cell)}</th>' for i, cell in enumerate(heading))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{number if i else name}">{escape(cell)}</td>' for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:6px 0;font-size:12px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
