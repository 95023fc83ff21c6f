"""What a check of the running configuration finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from .tools import Tools


class Level(Enum):
    """How bad it is."""

    FAULT = "fault"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    Something that is not as production wants it.

    Attributes:
        asvs: Number of the requirement in OWASP ASVS 5.0.
        cure: What to do, one sentence.
    """

    level: Level
    asvs: str
    told: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the app; without a finding it is well."""

    name: str
    look: Callable[[Tools], Iterable[Finding]]


def fault(asvs: str, told: str, cure: str) -> Finding:
    """Find something that nobody should run in production."""
    return Finding(level=Level.FAULT, asvs=asvs, told=told, cure=cure)


def warning(asvs: str, told: str, cure: str) -> Finding:
    """Find something that somebody should have decided."""
    return Finding(level=Level.WARNING, asvs=asvs, told=told, cure=cure)
