"""
Signals (blinker), sent with the app as sender after what they tell of was committed. None carries a code.

Each is sent with ``event`` (``types.Event``) and ``user`` (the host's own object, or None where there is no account).
A receiver that raises is logged and changes no decision.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_namespace = Namespace()


def _signal(name: str, doc: str) -> NamedSignal:
    return _namespace.signal(name, doc=doc)


user_registered: NamedSignal = _signal("user_registered", "An account exists now.")
otp_sent: NamedSignal = _signal("otp_sent", "A sender took a message with a code.")
otp_send_failed: NamedSignal = _signal(
    "otp_send_failed", "Every sender of the channel failed; ``details`` has the reason."
)
otp_verified: NamedSignal = _signal("otp_verified", "A code was right, and is used up.")
otp_failed: NamedSignal = _signal("otp_failed", "A code was compared and is wrong; ``details`` has ``attempts_left``.")
otp_locked: NamedSignal = _signal("otp_locked", "A budget of codes is spent: nothing is compared until it frees.")
user_logged_in: NamedSignal = _signal("user_logged_in", "A session was opened.")
login_failed: NamedSignal = _signal("login_failed", "A password was wrong, or there is no such user.")
user_logged_out: NamedSignal = _signal("user_logged_out", "A session was ended by its owner.")
session_revoked: NamedSignal = _signal("session_revoked", "A session was ended by somebody or something else.")
token_reuse_detected: NamedSignal = _signal(
    "token_reuse_detected", "A refresh token came again; its whole family was ended."
)
password_changed: NamedSignal = _signal("password_changed", "A password was changed or reset.")
contact_changed: NamedSignal = _signal("contact_changed", "A phone number or an e-mail address was changed.")
mfa_changed: NamedSignal = _signal("mfa_changed", "The second factor was switched on or off.")
backup_code_used: NamedSignal = _signal("backup_code_used", "A backup code was used up.")
device_trusted: NamedSignal = _signal("device_trusted", "A device is trusted now.")
sms_pumping_suspected: NamedSignal = _signal(
    "sms_pumping_suspected", "The budget of messages of the whole app is spent."
)


def by_name(name: str) -> NamedSignal:
    """Give the signal of that name."""
    return _namespace.signal(name)
