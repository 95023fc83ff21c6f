"""What a user agent calls itself, in words by which its owner recognises it."""

from __future__ import annotations

# In this order: most of them name those below too.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_of(user_agent: str) -> str:
    """Give the name of the browser; for another program what it calls itself first, "" where it says nothing."""
    return _named(user_agent, _BROWSERS) or user_agent.partition("/")[0].partition(" ")[0]


def system_of(user_agent: str) -> str:
    """Give the name of the system, "" where it isn't told."""
    return _named(user_agent, _SYSTEMS) or ""


def _named(user_agent: str, names: tuple[tuple[str, str], ...]) -> str | None:
    return next((name for mark, name in names if mark in user_agent), None)
