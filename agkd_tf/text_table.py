"""Tables as plain text."""

from collections.abc import Iterable, Sequence


def aligned(lines: Iterable[Sequence[str]]) -> str:
    """Returns rows of cells as text, the first column to the left and the others to the right.

    Args:
        lines: rows of as many cells each.
    """
    lines = list(lines)
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        f"{title:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, others, strict=True))
        for title, *cells in lines
    )
