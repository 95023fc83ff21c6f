"""What the threat model says is held by tests: each of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(test_[a-z0-9_]+(?:::test_[a-z0-9_]+)?)`", PAGE)))


@cache
def functions(module: str) -> frozenset[str]:
    """Give the names of the tests in the file of that name, wherever it lies."""
    files = [path for path in TESTS.rglob(f"{module}.py") if "__pycache__" not in path.parts]
    assert len(files) == 1, f"{module}: {files}"
    tree = ast.parse(files[0].read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("name", NAMES)
def test_a_test_that_is_named_exists(name: str) -> None:
    module, _, function = name.partition("::")
    found = functions(module)
    assert function in found if function else any(one.startswith("test_") for one in found)


@pytest.mark.parametrize("number", range(1, 11))
def test_each_guarantee_names_its_file(number: int) -> None:
    row = re.search(rf"^\| G{number} \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    assert f"`test_g{number}_" in row[1]


def test_each_threat_names_its_test() -> None:
    threats = PAGE.partition("## Threats")[2].partition("## What is not promised")[0]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    unheld = [row for row in rows if "`test_" not in row.split(" | ")[2] and "come with" not in row]
    assert (len(rows) > 50, unheld) == (True, [])
