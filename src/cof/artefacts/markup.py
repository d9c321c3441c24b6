"""Tables of text as Markdown and as LaTeX."""

DASH = "–"

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    DASH: "--",
}


def tex(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


def markdown_lines(headings: list[str], body: list[list[str]], numbers: bool = True) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        headings: headings of the columns; the first column names the rows.
        body: cells, row by row.
        numbers: whether all other columns hold numbers and are right-aligned.
    """
    rule = ["---", *(["---:" if numbers else "---"] * (len(headings) - 1))]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (headings, rule, *body)]


def tabular(headings: list[str], body: list[list[str]]) -> list[str]:
    """Return the lines of a LaTeX tabular, which needs the package booktabs."""

    def line(cells: list[str]) -> str:
        return " & ".join(map(tex, cells)) + r" \\"

    return [
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        line(headings),
        r"\midrule",
        *map(line, body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
