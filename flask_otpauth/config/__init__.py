"""Settings of an app: typed, checked, told with their cures."""

from .checks import Odds, capped, check, check_secret, odds, weighed, yearly_chance
from .parsing import ROUTE
from .settings import Settings, read, reference

__all__ = [
    "ROUTE",
    "Odds",
    "Settings",
    "capped",
    "check",
    "check_secret",
    "odds",
    "read",
    "reference",
    "weighed",
    "yearly_chance",
]
