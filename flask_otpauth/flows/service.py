"""The service object of an app: what blueprints, decorators and commands work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..config import Settings
from ..sessions import Sessions
from ..types import Clock, Courier, Users
from .account import AccountFlow
from .administration import Administration, Directory, Logins, Trail
from .codes import Codes
from .completion import Completion
from .hooks import Shaper
from .login import Login
from .looking import Looking
from .mfa import Mfa
from .notices import Notices
from .parts import Parts
from .registration import Registration
from .sending import Sending
from .step_up import StepUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    Everything of one app, frozen, in ``app.extensions["otpauth"]``.

    Attributes:
        ping: Raises ``ServiceUnavailable`` when the database or the store is away.
        shapers: Functions of the host that reshape JSON answers, in the order of their registration.
    """

    settings: Settings
    clock: Clock
    users: Users
    courier: Courier
    sessions: Sessions
    registration: Registration
    login: Login
    codes: Codes
    looking: Looking
    step_up: StepUp
    account: AccountFlow
    mfa: Mfa
    administration: Administration
    ping: Callable[[], None]
    shapers: list[Shaper] = field(default_factory=list[Shaper])


def assemble(
    parts: Parts,
    *,
    ping: Callable[[], None],
    directory: Directory | None,
    logins: Logins,
    trail: Trail,
) -> Service:
    """Join the use cases of one app."""
    notices = Notices(parts)
    sending = Sending(parts)
    completion = Completion(parts, notices)
    codes = Codes(parts, sending, completion, notices)
    return Service(
        settings=parts.settings,
        clock=parts.clock,
        users=parts.users,
        courier=parts.courier,
        sessions=parts.sessions,
        registration=Registration(parts, sending, notices),
        login=Login(parts, sending, completion, codes),
        codes=codes,
        looking=Looking(parts),
        step_up=StepUp(parts, sending, completion),
        account=AccountFlow(parts),
        mfa=Mfa(parts, notices),
        administration=Administration(parts, directory, logins, trail),
        ping=ping,
        shapers=parts.hooks.shapers,
    )
