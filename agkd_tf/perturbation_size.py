"""Perturbation sizes as text, such as 8/255: fractions of 255, for images in [0, 1]."""


def parse_size(text: str) -> float:
    """Parses a fraction such as `8/255` or a decimal such as `0.031`.

    Raises:
        ValueError: if it is neither.
    """
    numerator, _, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a fraction such as 8/255 or a decimal such as 0.031, for images in [0, 1]") from None


def format_size(value: float) -> str:
    """Returns a perturbation size as text: k/255 if it is a whole multiple of 1/255, else a decimal."""
    whole = round(value * 255)
    return f"{whole}/255" if whole / 255 == value else repr(value)
