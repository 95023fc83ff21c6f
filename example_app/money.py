"""Amounts as people write them, and as the bank counts them: whole cents."""

from __future__ import annotations

import re

# ASCII digits only: int() takes those of any script, underscores and blanks. Two decimals at most and no thousands
# marks, so that nobody's 1,500 becomes 1.50.
_AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,2}))?")

MINUS = "\N{MINUS SIGN}"


def to_cents(text: str) -> int | None:
    """Read "25", "25.5" or "25.50"; None for anything else."""
    found = _AMOUNT.fullmatch(text)
    return None if found is None else int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))


def from_cents(cents: int) -> str:
    """Write "1,234.50"; a debt begins with a minus sign."""
    units, rest = divmod(abs(cents), 100)
    return f"{MINUS if cents < 0 else ''}{units:,}.{rest:02}"
