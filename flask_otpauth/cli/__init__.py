"""The commands ``flask otpauth ...``."""

from .commands import commands_for
from .tools import Tools

__all__ = ["Tools", "commands_for"]
