"""Perturbation sizes as text: fractions of the 255 steps of a byte, for images in [0, 1]."""


def parse_size(text: str) -> float:
    """Returns the number that a fraction such as `8/255` or a decimal such as `0.031` says.

    Raises:
        ValueError: if it is neither.
    """
    numerator, _, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a fraction such as 8/255 or a decimal such as 0.031, for images in [0, 1]") from None


def format_size(value: float) -> str:
    """Returns a perturbation size as text: a fraction of 255 where it is a whole one."""
    whole = round(value * 255)
    return f"{whole}/255" if whole / 255 == value else repr(value)
