"""What a right code leads to, by the purpose of its challenge. Sessions are opened here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar, cast

from ..crypto import digest, new_id
from ..errors import ChallengeGone, IdentifierTaken, InvalidCredentials
from ..guard import owned
from ..types import (
    Account,
    Caller,
    Charge,
    Charged,
    Credentials,
    Event,
    Identifier,
    Instant,
    Kind,
    LoggedIn,
    NewAccount,
    Purpose,
    Registered,
    via,
)
from .notices import Notices
from .parts import Parts, carries, yields

R = TypeVar("R")

KNOWN_CLIENT = 400 * 86_400_000
"""Milliseconds for which a client stays known: as long as browsers keep a cookie."""

POSSESSION = frozenset({"otp", "sms", "mfa"})


class Completion:
    """Finishes what was begun, in one unit of work with the consumption of the code."""

    def __init__(self, parts: Parts, notices: Notices) -> None:
        self._parts = parts
        self._notices = notices

    def login(self, account: Account, amr: Sequence[str], caller: Caller, charges: Sequence[Charge]) -> LoggedIn:
        """
        Open a session without a code, and give the charges back; the caller has seen that no code is due.

        Raises:
            InsufficientAuthentication: The user has switched it on meanwhile; nothing was done.
            InvalidCredentials: He was disabled meanwhile.
        """
        parts, now = self._parts, self._parts.now()
        known = parts.knows(caller, account.id, now)
        events = [parts.event("user_logged_in", now, caller, account.id)]

        def work() -> LoggedIn:
            parts.guard.refund(*charges)
            user = account
            if parts.settings.second_factor == "opt-in":
                # Looked at once more, in turn with the switch: it ends the sessions that it finds, and no later one.
                parts.guard.take_turn(owned(account.id), now)
                user = parts.users.by_id(account.id) or replace(account, active=False)
            if not user.active:
                raise InvalidCredentials
            return self._open(user, tuple(amr), caller, events, now, code=False, known=known)

        return self._logged_in(self._done(work, events), caller, now, known=known)

    def by_code(
        self, charged: Charged, data: dict[str, object], charges: Sequence[Charge], caller: Caller, *, known: bool
    ) -> LoggedIn | Registered:
        """
        Consume the challenge whose code was right, take back this guess's charges, and do what it was for.

        ``known`` says whether the caller is a known client of the user.

        Raises:
            ChallengeGone: Another caller was first, the code was replaced, or the user or session is gone.
            IdentifierTaken: Another registration of the same name or address was proved first.
        """
        try:
            if charged.purpose is Purpose.STEP_UP:
                return self._step_up(charged, data, charges, caller)
            if "pending" in data:
                return self._registration(charged, data, charges, caller)
            return self._login(charged, data, charges, caller, known=known)
        except (ChallengeGone, IdentifierTaken):
            # The code was right: whatever was in its way, it is no failure of the account. Sent twice, it would be one.
            self._parts.unit(lambda: self._parts.guard.refund(*charges))
            raise

    def _login(
        self, charged: Charged, data: dict[str, object], charges: Sequence[Charge], caller: Caller, *, known: bool
    ) -> LoggedIn:
        now = self._parts.now()
        account = self._active(charged.user_id)
        kind = carries(charged.channel)
        proved_before = account.email_verified if kind is Kind.EMAIL else account.phone_verified
        held = account.email if kind is Kind.EMAIL else account.phone
        if held != charged.destination:
            raise ChallengeGone  # the address was changed meanwhile: what it got is good for nothing
        adopts = not proved_before and bool(data.get("adopt"))
        events = self._events(("otp_verified", "user_logged_in"), charged, caller, account.id, now, adopted=adopts)

        def work() -> LoggedIn:
            self._use_up(charged, charges, now)
            if not proved_before:
                self._parts.users.set_verified(account.id, kind, str(charged.destination))
            if adopts:
                self._adopt(account, kind, now)
            return self._open(account, _methods(data, charged.channel), caller, events, now, code=True, known=known)

        return self._logged_in(self._done(work, events), caller, now, known=known)

    def _logged_in(self, done: LoggedIn, caller: Caller, now: Instant, *, known: bool) -> LoggedIn:
        if not known and self._parts.settings.notices:
            self._notices.new_device(done.account.id, caller, now)
        return done

    def _registration(
        self, charged: Charged, data: dict[str, object], charges: Sequence[Charge], caller: Caller
    ) -> LoggedIn | Registered:
        parts, now = self._parts, self._parts.now()
        fields = parts.keyring.unseal(str(data["pending"]))
        if fields is None:
            raise ChallengeGone
        kind = carries(charged.channel)
        new = NewAccount(
            username=cast("str | None", fields.get("username")),
            email=cast("str | None", fields.get("email")),
            phone=cast("str | None", fields.get("phone")),
            password_hash=cast("str | None", fields.get("password_hash")),
            email_verified=kind is Kind.EMAIL,
            phone_verified=kind is Kind.PHONE,
            extra=cast("dict[str, object]", fields.get("extra", {})),
        )
        login = parts.settings.login_on_confirm
        names = ("otp_verified", "user_registered", *(("user_logged_in",) if login else ()))
        events: list[Event] = []

        def work() -> LoggedIn | Registered:
            self._use_up(charged, charges, now)
            account = parts.add_user(self._with_free_addresses(new, kind))
            events[:] = self._events(names, charged, caller, account.id, now)
            if login:
                return self._open(account, _methods(data, charged.channel), caller, events, now, code=True, known=False)
            for event in events:
                parts.recorder.keep(event)
            return Registered(account=account)

        try:
            return self._done(work, events)
        except IdentifierTaken as error:
            if error.field == Kind.USERNAME.value:
                raise
            # Somebody got one of the addresses at this very moment: settled once more, now that it can be seen.
            return self._done(work, events)

    def _adopt(self, account: Account, kind: Kind, now: Instant) -> None:
        """
        Take away what was set before anybody had proved an address of the account.

        Whoever registered it may have been a stranger: nothing of his may open it, now or after a recovery, nor stand
        in the owner's profile. The username stays: it names the account, and nothing else.
        """
        parts, users = self._parts, self._parts.users
        users.set_password(account.id, None)
        if profile := set(parts.settings.register_fields or ()) - {*Kind, "password"}:
            users.clear_profile(account.id, profile)
        other, value, verified = (
            (Kind.PHONE, account.phone, account.phone_verified)
            if kind is Kind.EMAIL
            else (Kind.EMAIL, account.email, account.email_verified)
        )
        if value is not None and not verified:
            users.clear_address(account.id, other)
        parts.challenges.void(owned(account.id), now)

    def _with_free_addresses(self, new: NewAccount, proved: Kind) -> NewAccount:
        """
        Settle who has the addresses of a new account, now that one of them is proved.

        An account that named the proved one beside its own without proving it gives it up; of the other one, which
        nobody has proved here, whoever has it keeps it. Neither is told: each goes on to be shown what he named.
        """
        users = self._parts.users
        addresses = {Kind.EMAIL: new.email, Kind.PHONE: new.phone}
        claimed = None
        for kind, value in addresses.items():
            holder = users.by_identifier(Identifier(kind=kind, value=value)) if value is not None else None
            if holder is None:
                continue
            if kind is not proved:
                addresses[kind], claimed = None, value
            elif yields(holder, kind):
                users.clear_address(holder.id, kind, claim=value)
        return replace(new, email=addresses[Kind.EMAIL], phone=addresses[Kind.PHONE], claimed=claimed)

    def _step_up(
        self, charged: Charged, data: dict[str, object], charges: Sequence[Charge], caller: Caller
    ) -> LoggedIn:
        parts, now = self._parts, self._parts.now()
        account = self._active(charged.user_id)
        held = parts.keyring.unseal(str(data["session"])) or {}
        events = self._events(("otp_verified",), charged, caller, account.id, now)

        def work() -> LoggedIn:
            self._use_up(charged, charges, now)
            credentials = self.raise_assurance(held, account, _methods(data, charged.channel), caller, code=True)
            for event in events:
                parts.recorder.keep(event)
            return LoggedIn(credentials=credentials, account=account, purpose=charged.purpose)

        try:
            return self._done(work, events)
        except ChallengeGone:
            # Where it is the session that is over, the code is used up all the same.
            with suppress(ChallengeGone):
                parts.challenges.consume(charged, now)
            raise

    def raise_assurance(
        self, held: dict[str, object], account: Account, amr: tuple[str, ...], caller: Caller, *, code: bool
    ) -> Credentials:
        """
        Note a fresh proof in the session that ``held`` names, and give new credentials of it.

        Raises:
            ChallengeGone: That session is over.
        """
        sid = held.get("sid")
        credentials = self._parts.sessions.raise_assurance(
            None if sid is None else str(sid),
            bytes.fromhex(str(held.get("key", ""))),
            account,
            amr=amr,
            code=code,
            caller=caller,
            kinds=caller.kinds,
        )
        if credentials is None:
            raise ChallengeGone
        return credentials

    def _active(self, user_id: str | None) -> Account:
        account = self._parts.users.by_id(user_id) if user_id is not None else None
        if account is None or not account.active:
            raise ChallengeGone
        return account

    def _use_up(self, charged: Charged, charges: Sequence[Charge], now: Instant) -> None:
        self._parts.challenges.consume(charged, now)
        self._parts.guard.refund(*charges)

    def _open(
        self,
        account: Account,
        amr: tuple[str, ...],
        caller: Caller,
        events: Sequence[Event],
        now: Instant,
        *,
        code: bool,
        known: bool,
    ) -> LoggedIn:
        parts = self._parts
        credentials = parts.sessions.open(account, amr=amr, code=code, caller=caller, kinds=caller.kinds)
        client = None
        if not known:
            client = new_id()
            parts.clients.remember(digest(client), account.id, now, now + KNOWN_CLIENT)
        for event in events:
            parts.recorder.keep(event)
        return LoggedIn(credentials=credentials, account=account, purpose=Purpose.LOGIN, client=client)

    def _events(
        self,
        names: Sequence[str],
        charged: Charged,
        caller: Caller,
        user_id: str,
        now: Instant,
        *,
        adopted: bool = False,
    ) -> list[Event]:
        facts: dict[str, object] = {"channel": charged.channel, "purpose": charged.purpose.value}
        facts |= {"adopted": True} if adopted else {}
        return [self._parts.event(name, now, caller, user_id, **facts) for name in names]

    def _done(self, work: Callable[[], R], events: list[Event]) -> R:
        result = self._parts.unit(work)
        for event in events:
            self._parts.recorder.announce(event)
        return result


def _methods(data: dict[str, object], channel: str) -> tuple[str, ...]:
    """Give the RFC 8176 methods of a proof: those before it, the code, and "mfa" when both kinds are there."""
    before = tuple(cast("list[str]", data.get("amr", [])))
    methods = (*before, "otp", via(channel))
    if any(method not in POSSESSION for method in before):
        methods = (*methods, "mfa")
    return tuple(dict.fromkeys(methods))
