"""Numbers with their units, as people read them."""


def petaflop(value: float | None) -> str:
    """Return an amount of arithmetic with three digits (``0.607``, ``9,216``), or ``-``."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
