"""``flask otpauth policy``: the odds of guessing that the running settings leave (NIST SP 800-63B-4, 3.2.2)."""

from __future__ import annotations

import click

from ..config import Settings, odds
from ..config.checks import WORST_CHANCE, Odds
from ..flows.parts import carries
from ..types import Window
from .tools import Tools, with_tools

_DAY = 86_400
_UNITS = ((_DAY, "d"), (3600, "h"), (60, "min"), (1, "s"))


@click.command("policy", help="Show the odds of guessing a code under the running settings.")
@with_tools
def policy(tools: Tools) -> None:
    settings = tools.parts.settings
    kinds = len({carries(channel) for channel in tools.post.channels}) or 1
    for line in (*_codes(settings), "", *_odds(settings, kinds), "", *_windows(settings)):
        click.echo(line)


def chance(value: float) -> str:
    """Write a chance as people read it: per cent where it is one in a thousand or more, else powers of ten."""
    return f"{value * 100:.3g} %" if value >= WORST_CHANCE else f"{value:.1e}"


def _codes(settings: Settings) -> list[str]:
    looked_up = "also named by identifier" if settings.challenge_lookup == "identifier" else "named by a secret id"
    return [
        f"A code has {settings.digits} digits and is good for {_time(settings.code_lifetime)}, once.",
        f"A challenge, {looked_up}, compares {settings.max_attempts} guesses.",
        f"With every resend it ends after {_time(settings.flow_lifetime)}.",
        f"An account has at most {settings.live_challenges} live challenges.",
        f"Failed passwords per identifier and client address: {_limits(settings.login_limits)}.",
        f"Failed passwords per account, for strangers: {_limits(settings.login_account_limits)}.",
        "Reset codes, authenticators and backup codes come with recovery.",
    ]


def _odds(settings: Settings, kinds: int) -> list[str]:
    # Each kind of address has a budget of messages of its own, and each message is a challenge at most.
    lines = [
        "P = 1 - (1 - w/N)^A with A = min(a*s*D, F*D), for one account in one year (D = 365):",
        f"{'':<15}{'N codes':>14}{'w':>4}{'a':>4}{'s a day':>9}{'F a day':>9}{'A':>9}{'P':>10}",
    ]
    for name, known in (("strangers", False), ("known clients", True)):
        sends = min(window.limit * _DAY / window.seconds for window in settings.sends(known=known))
        lines.append(_row(name, odds(settings, challenges=sends * kinds)))
    lines.append(f"More than {WORST_CHANCE:g} by the failed codes alone is refused at the start.")
    return lines


def _row(name: str, of: Odds) -> str:
    return (
        f"{name:<15}{of.codes:>14}{of.valid:>4}{of.attempts:>4}{of.challenges:>9.4g}{of.failures:>9.4g}"
        f"{of.guesses:>9.4g}{chance(of.chance):>10}"
    )


def _windows(settings: Settings) -> list[str]:
    shown = (f"{_limits((one,)):<15} {chance(odds(settings, [one]).chance)}" for one in settings.failures)
    return ["What each window of failed codes would leave alone:", *shown]


def _limits(windows: tuple[Window, ...]) -> str:
    return ", ".join(f"{one.limit} / {_time(one.seconds)}" for one in windows)


def _time(seconds: int) -> str:
    # A day is 24 hours, as in the limits of the settings; more are days.
    size, unit = next(one for one in _UNITS if seconds % one[0] == 0 and (one[0] < _DAY or seconds > _DAY))
    return f"{seconds // size} {unit}"
