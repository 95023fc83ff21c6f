"""``OTPAuth``: the only place where the parts of one app are put together."""

from .otpauth import OTPAuth

__all__ = ["OTPAuth"]
