"""A printed table, headings and cells as text, in Markdown and in LaTeX."""

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
    DASH: "--",
}


def tex(text: str) -> str:
    """Text as LaTeX sets it."""
    return "".join(_TEX.get(character, character) for character in text)


def markdown_lines(headings: list[str], body: list[list[str]], numbers: bool = True) -> list[str]:
    """The lines of a Markdown table.

    Args:
        headings: of the columns, of which the first names the row.
        body: cells, row by row.
        numbers: the further columns hold numbers, which are set to the right.
    """
    rule = ["---", *(["---:" if numbers else "---"] * (len(headings) - 1))]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (headings, rule, *body)]


def tabular(headings: list[str], body: list[list[str]]) -> list[str]:
    """The lines of a LaTeX tabular; needs the package booktabs."""

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
