"""Tables as plain text."""

from collections.abc import Iterable, Sequence


def aligned(lines: Iterable[Sequence[str]]) -> str:
    """Returns rows of cells as a text table; the first column is left-aligned, the others right-aligned.

    Args:
        lines: rows with the same number of cells.
    """
    lines = list(lines)
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        f"{title:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, others, strict=True))
        for title, *cells in lines
    )
