"""``flask otpauth doctor``: is this configuration fit for production?"""

from __future__ import annotations

import sys

import click
from sqlalchemy.exc import SQLAlchemyError

from ..errors import OTPAuthError
from . import service_checks, settings_checks
from .findings import Finding, Level
from .tools import Tools, with_tools


@click.command("doctor", help="Check the running configuration for production; exit 1 on a fault.")
@with_tools
def doctor(tools: Tools) -> None:
    found: list[Finding] = []
    for check in (*settings_checks.CHECKS, *service_checks.CHECKS):
        try:
            findings = list(check.look(tools))
        except (OTPAuthError, SQLAlchemyError):
            # Whatever keeps it from looking is a fault that another check tells.
            click.echo(f"{'skipped':<8} {check.name}")
            continue
        if not findings:
            click.echo(f"{'ok':<8} {check.name}")
        for one in findings:
            click.echo(f"{one.level.value:<8} {check.name}: {one.told} (ASVS {one.asvs})")
            click.echo(f"{'':<8} {one.cure}")
        found += findings
    faults = sum(one.level is Level.FAULT for one in found)
    click.echo(f"{_count(faults, 'fault')}, {_count(len(found) - faults, 'warning')}.")
    if faults:
        sys.exit(1)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
