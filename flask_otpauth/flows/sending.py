"""Issuing challenges and bringing their codes on the way: the same for every use case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..challenges import Minted, Order
from ..crypto import digest
from ..errors import DeliveryFailed, RateLimited
from ..guard import claimed, reserved
from ..types import Account, Caller, Charge, Draft, Identifier, Instant, Issued, Kind, Purpose, SendRequest
from .hooks import consult
from .parts import Parts, Route, carries
from .refusals import note_silence

DOUBLE_TAP = 5_000
"""Milliseconds within which a second login with the right password is one tap too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the caller may see of where the code goes."""

    channel: str | None
    destination: str | None
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """
    Somebody asks for a code.

    Attributes:
        account: Whom failures count on. ``alias``: the claimed identifier; the same as ``account`` once proved.
        user: The account, where there is one.
        typed: What an anonymous caller typed; None when he has proved a password or a session.
        named: All that he typed, where that is more than ``typed``.
        route: Where the code goes; None for a decoy, which differs in nothing that the caller sees.
        data: For the completion: JSON values.
        replaces: Row id of the same initiator's earlier challenge; default: that of the one which his browser holds.
    """

    purpose: Purpose
    account: str
    alias: str
    user: Account | None
    typed: Identifier | None
    route: Route | None
    shown: Shown
    binding: str = ""
    named: tuple[Identifier, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict[str, object])
    min_gap: int = 0
    replaces: bytes | None = None

    @property
    def proved(self) -> bool:
        return self.typed is None


class Sending:
    """Issues challenges: budgets, row, message, and the code counts once its sender has returned."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def permit(self, request: SendRequest) -> None:
        """
        Let a request for a code pass, by the budget of its client address and by the host's hooks.

        Raises:
            RateLimited: The budget of the address is spent.
            OTPAuthError: A hook refused; see ``hooks.consult``.
        """
        self._parts.limits.hit("send", request.address)
        consult(self._parts.hooks.before_send, request)

    def request(
        self, purpose: Purpose, channel: str | None, destination: str | None, user_id: str | None, caller: Caller
    ) -> SendRequest:
        """Put a request for a code as the host's hooks see it."""
        users = self._parts.users
        return SendRequest(
            purpose=purpose.value,
            channel=str(channel),
            destination=destination,
            extra=caller.extra,
            address=caller.address,
            load_user=_nobody if user_id is None else partial(users.load, user_id),
        )

    def issue(
        self,
        ask: Ask,
        caller: Caller,
        refunds: Sequence[Charge] = (),
        *,
        permitted: bool = False,
        first: Callable[[Ask], Ask] | None = None,
    ) -> Issued:
        """
        Store a challenge and send its code: within the request for a caller who has proved something, off it for an
        anonymous one, so that neither time nor failure tells him anything.

        ``refunds`` are the charges of a proof that was right: they are given back in the same commit. ``permitted``
        says that the caller has asked ``permit`` already. ``first`` stores what belongs to the challenge, in the same
        commit, and gives what is asked for then.

        Raises:
            RateLimited: A budget, the cooldown or the double-tap rule; nothing was stored or sent.
            DeliveryFailed: Every sender failed, for a caller who has proved something.
            OTPAuthError: A hook of the host refused; nothing was counted, stored or sent.
        """
        parts, now = self._parts, self._parts.now()
        if not permitted:
            self.permit(self._asked(ask, caller))
        known = parts.knows(caller, ask.user.id if ask.user else None, now)

        minted, charge = parts.unit(
            lambda: self._store(first(ask) if first else ask, caller, refunds, now, known=known)
        )
        self.dispatch(minted, charge, caller, proved=ask.proved)
        return self.shown(minted, ask.shown, str(minted.secret), now, mfa=ask.purpose is Purpose.LOGIN and ask.proved)

    def _store(
        self, ask: Ask, caller: Caller, refunds: Sequence[Charge], now: Instant, *, known: bool
    ) -> tuple[Minted, Charge | None]:
        parts = self._parts
        parts.guard.refund(*refunds)
        destination, rests = _destination(ask), False
        if ask.typed is not None:
            parts.guard.charge_cooldown(ask.purpose, ask.typed.key, caller.network, now, known=known)
            parts.guard.charge_ask(ask.typed.key, caller.network, now, known=known)
            rests = parts.guard.rests(ask.purpose, destination, now, known=known)
        charge = None if rests else self.charge(destination, now, known=known, proved=ask.proved)
        for account in (ask.account,) if ask.proved else (ask.account, _alias(ask, known=known)):
            parts.guard.open_codes(account, now)
        minted = parts.challenges.begin(self._order(ask, caller, known=known), now)
        if caller.pending is not None and not ask.proved:
            # At once, not when the new code was sent: the end of the old one would tell that it was.
            parts.challenges.end(caller.pending, now)
        return minted, charge

    def charge(self, destination: str, now: Instant, *, known: bool, proved: bool) -> Charge | None:
        """
        Count a message to its destination; joins the unit of work. None when nothing may be sent.

        Raises:
            RateLimited: The budget is spent, and the caller has proved something. To an anonymous one a 429 would tell
                that somebody logs in with that address.
        """
        try:
            return self._parts.guard.charge_send(destination, now, known=known)
        except RateLimited:
            if proved:
                raise
            return None

    def dispatch(
        self, minted: Minted, charge: Charge | None, caller: Caller, *, proved: bool, unsent: bool = False
    ) -> None:
        """
        Bring a code on its way: within the request for a caller who has proved something, else off it.

        One that is ``unsent`` takes the place of the one before, as if it had been, and nobody gets it.

        Raises:
            DeliveryFailed, RateLimited: Within the request only.
        """
        real = minted.sendable and charge is not None and bool(minted.data.get("send"))
        if real and unsent:
            self._parts.courier.later(lambda: self._withhold(minted, caller))
        elif real and proved and charge is not None:
            self._bring(minted, charge, caller, proved=True)
        elif real and charge is not None:
            self._parts.courier.later(_quiet(lambda: self._bring(minted, charge, caller, proved=False)))
        elif proved:
            _note_silence(minted, charge)
        else:
            self._parts.courier.later(lambda: self._pretend(minted, charge, caller))

    def _asked(self, ask: Ask, caller: Caller) -> SendRequest:
        channel = ask.route.channel if ask.route else ask.shown.channel
        destination = ask.route.value if ask.route else _address(ask.typed)
        return self.request(ask.purpose, channel, destination, ask.user.id if ask.user else None, caller)

    def _order(self, ask: Ask, caller: Caller, *, known: bool) -> Order:
        target = ask.route
        typed = ask.typed.value if ask.typed else None
        data: dict[str, object] = {
            **ask.data,
            "proved": ask.proved,
            "named": [claimed(one) for one in ask.named or ([ask.typed] if ask.typed else [])],
            "known": known,
            "send": target is not None and not self._parts.is_claimed(ask.user, target),
            "shown": [ask.shown.destination, list(ask.shown.methods)],
        }
        return Order(
            purpose=ask.purpose,
            account=ask.account,
            alias=_alias(ask, known=known),
            user_id=ask.user.id if ask.user else None,
            channel=target.channel if target else str(ask.shown.channel),
            destination=target.value if target else typed,
            binding=ask.binding,
            data=data,
            stranger=not known,
            min_gap=ask.min_gap,
            replaces=ask.replaces or (digest(caller.pending) if caller.pending is not None else None),
        )

    def _bring(self, minted: Minted, charge: Charge, caller: Caller, *, proved: bool) -> None:
        parts, now = self._parts, self._parts.now()
        facts = {"channel": minted.channel, "purpose": minted.purpose.value}
        try:
            parts.limits.total()
            parts.courier.send(_draft(minted, now, caller.locale))
        except (DeliveryFailed, RateLimited) as error:
            parts.unit(lambda: self._undo(minted, charge, parts.now(), proved=proved))
            spent = isinstance(error, RateLimited)
            name = "sms_pumping_suspected" if spent else "otp_send_failed"
            parts.recorder.happened(parts.event(name, now, caller, minted.user_id, **facts))
            raise
        sent = parts.event("otp_sent", parts.now(), caller, minted.user_id, **facts)

        def count() -> None:
            parts.challenges.promote(minted, sent.at)
            parts.recorder.keep(sent)

        parts.unit(count)
        parts.recorder.announce(sent)

    def _pretend(self, minted: Minted, charge: Charge | None, caller: Caller) -> None:
        """Do the work of a code that is sent: the threads of real ones would slow down the answers to them alone."""
        _note_silence(minted, charge)
        self._parts.courier.rehearse(_draft(minted, self._parts.now(), caller.locale))
        self._parts.unit(lambda: self._parts.challenges.pretend(minted, self._parts.now()))

    def _withhold(self, minted: Minted, caller: Caller) -> None:
        """Do the work of a code that is sent to an address which isn't the user's, as he may not learn."""
        note_silence(minted.channel, minted.purpose, "that address is another user's")
        self._parts.courier.rehearse(_draft(minted, self._parts.now(), caller.locale))
        self._parts.unit(lambda: self._parts.challenges.promote(minted, self._parts.now()))

    def _undo(self, minted: Minted, charge: Charge, now: Instant, *, proved: bool) -> None:
        if proved:
            # An anonymous caller's challenge stays as a decoy's does: its end would tell that something was sent.
            self._parts.challenges.withdraw(minted, now)
        if self._parts.guard.forgives_failure(f"{carries(minted.channel).value}:{minted.destination}", now):
            self._parts.guard.refund(charge)

    @staticmethod
    def shown(minted: Minted, shown: Shown, secret: str, now: Instant, *, mfa: bool) -> Issued:
        """Give a challenge as its caller may see it."""
        return Issued(
            challenge_id=secret,
            purpose=minted.purpose,
            channel=shown.channel,
            destination=shown.destination,
            methods=shown.methods,
            expires_at=minted.expires_at,
            resend_at=minted.resend_at,
            attempts_left=minted.attempts_left,
            now=now,
            mfa_required=mfa,
        )


def _address(typed: Identifier | None) -> str | None:
    return typed.value if typed is not None and typed.kind is not Kind.USERNAME else None


def _nobody() -> None:
    return None


def _destination(ask: Ask) -> str:
    # A decoy's budget is its own, so that it takes the same work.
    return ask.route.key if ask.route is not None else f"decoy:{ask.account}"


def _alias(ask: Ask, *, known: bool) -> str:
    # Begun by a known client, it is found by nobody who names an identifier only: he could use up the owner's attempts.
    # A step-up has the name of its session, which nobody types.
    by_name = ask.purpose is not Purpose.STEP_UP
    return reserved(ask.user.id) if known and ask.user is not None and by_name else ask.alias


def _draft(minted: Minted, now: Instant, locale: str | None) -> Draft:
    return Draft(
        template=minted.purpose.value,
        channel=minted.channel,
        to=str(minted.destination),
        code=minted.code,
        purpose=minted.purpose.value,
        lifetime=max(1, (minted.expires_at - now) // 1000),
        expires_at=minted.expires_at,
        locale=locale,
        user_id=minted.user_id,
    )


def _note_silence(minted: Minted, charge: Charge | None) -> None:
    if not minted.data.get("send"):
        why = "no account has that address proved, or at a registration one has it already"
    elif charge is None:
        why = "that address gets no further message for now (OTPAUTH_SEND_LIMITS, OTPAUTH_RESEND_COOLDOWN)"
    else:
        why = "the account has enough live challenges (OTPAUTH_LIVE_CHALLENGES)"
    note_silence(minted.channel, minted.purpose, why)


def _quiet(job: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            job()
        except (DeliveryFailed, RateLimited):
            return  # recorded where it happened; the anonymous caller is told nothing

    return run
