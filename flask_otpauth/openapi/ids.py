"""Ids of operations, each of which may be in a document once."""

from __future__ import annotations

from collections.abc import Container, Iterable

PREFIX = "otpauth_"
"""Before the id of an operation of ours where the host has one of that name."""


def own_id(name: str, taken: Container[str]) -> str:
    """Give the id of an operation of ours, in a document where the host has taken some."""
    while name in taken:
        name = PREFIX + name
    return name


def distinct(names: Iterable[str]) -> list[str]:
    """Give the names in their order, with a number where one was there before: ``pets``, ``pets_2``."""
    found: dict[str, None] = {}
    for name in names:
        free, number = name, 1
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found[free] = None
    return list(found)
