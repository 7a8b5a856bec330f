"""What a value looks like on the page: names made safe to read, numbers made easy to compare.

Escaping for HTML is the template's work (Jinja autoescape) and that of ``svg.py``; here is what escaping leaves open:
characters that no page can show, characters that turn the reading direction round, and the number of digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

MINUS = "−"
MISSING = "–"

# C0 and C1 controls but tab and newline, lone surrogates (undecodable bytes of a file name), bidirectional overrides
# and isolates (they can make "gpj.exe" read as "exe.jpg"), and code points that XML and HTML forbid.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def visible_text(text: str) -> str:
    """The text with every character that cannot be shown, or that misleads, replaced by U+FFFD."""
    return _UNSHOWABLE.sub("\ufffd", text)


def slugify(text: str) -> str:
    """Lower-case letters, digits and hyphens only: fit for an id, a fragment or a file name; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def choose_decimals(values: Sequence[float]) -> int:
    """Decimals, in [0, 4], that give the largest value three significant digits and most values two.

    One number for a whole column, so that its decimal points stand below each other.
    """
    sizes = sorted(abs(value) for value in values if math.isfinite(value) and value != 0)
    if not sizes:
        return 0
    largest, small = _exponent(sizes[-1]), _exponent(sizes[len(sizes) // 4])
    return min(max(2 - largest, 1 - small, 0), 4)


def format_number(value: float, decimals: int) -> str:
    """The number with a true minus sign; scientific when huge, or where ``decimals`` would show it as zero.

    Thousands are set apart by a narrow space from five digits on; an undefined value is a dash.
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size >= 1e9 or (size > 0 and float(f"{size:.{decimals}f}") == 0):
        mantissa, exponent = f"{size:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        text = f"{size:,.{decimals}f}" if size >= 10_000 else f"{size:.{decimals}f}"
    sign = "-" if value < 0 else ""
    return f"{sign}{text}".replace("-", MINUS).replace(",", "\u202f")


def _exponent(size: float) -> int:
    return math.floor(math.log10(size))
