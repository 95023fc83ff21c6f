"""Answering a challenge, and asking for another code for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from ..crypto import digest
from ..errors import ChallengeGone, CodeExpired, WrongCode
from ..guard import claimed
from ..types import (
    Account,
    Caller,
    Charge,
    Charged,
    Found,
    Identifier,
    Instant,
    Issued,
    LoggedIn,
    Purpose,
    Registered,
    Renewed,
    SendRequest,
)
from .completion import Completion
from .guesses import Budgets, answerable, is_named, keys_of
from .hooks import consult
from .notices import Notices
from .parts import Parts, Route, carries
from .sending import Sending, Shown

ANSWERABLE = frozenset(Purpose) - {Purpose.RESET}
"""What ``verify`` takes: a reset code is good for ``/password/reset`` alone."""

BY_IDENTIFIER = frozenset({Purpose.LOGIN, Purpose.CONFIRM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """
    What a renewal takes: the challenge, where its code goes, what is shown of that, and what was charged for it.

    Attributes:
        trusted: Whether the caller has proved something, and the address is as good as his own.
        unsent: Whether the address is somebody else's, see ``Parts.is_claimed``: the code counts, and nobody gets it.
    """

    renewed: Renewed
    route: Route
    shown: Shown
    charge: Charge | None
    trusted: bool
    unsent: bool


class _TakenBack(Exception):
    """Ends a unit of work that was to change nothing."""


class Codes:
    """The two things that can be done with a challenge."""

    def __init__(self, parts: Parts, sending: Sending, completion: Completion, notices: Notices) -> None:
        self._parts = parts
        self._sending = sending
        self._completion = completion
        self._notices = notices

    def verify(self, challenge_id: str, otp: str, caller: Caller) -> LoggedIn | Registered:
        """
        Answer a challenge by its secret id.

        Raises:
            WrongCode: The code is wrong; ``attempts_left`` is told.
            CodeExpired: It is too late, right or wrong.
            ChallengeGone: There is nothing to answer, whatever the reason.
            RateLimited: The budget of the account or of the address is spent; nothing was compared.
        """
        self._parts.limits.hit("verify", caller.address)
        now = self._parts.now()
        return self._answer(self._parts.challenges.charge(digest(challenge_id), ANSWERABLE, now), otp, caller, now)

    def verify_held(self, challenge_id: str, identifier: Identifier, otp: str, caller: Caller) -> LoggedIn | Registered:
        """
        Answer the challenge that the caller's browser holds, for the user whom he names beside it.

        Where that is another user, the code is wrong whatever it is, and counts where any wrong code would: on what
        the browser holds, and nothing of the other user's. A held challenge that is over stands in nobody's way: the
        identifier alone finds what is answered then.

        Raises:
            WrongCode, CodeExpired, ChallengeGone, RateLimited: As ``verify``.
        """
        parts, now = self._parts, self._parts.now()
        parts.limits.hit("verify", caller.address)
        account = parts.users.by_identifier(identifier)
        try:
            charged = parts.challenges.charge(digest(challenge_id), ANSWERABLE, now)
        except (ChallengeGone, CodeExpired) as over:
            try:
                return self._find(identifier, account, otp, caller, now)
            except ChallengeGone:
                raise over from None
        # Another name of the same user will do: only a right code shows that it is one.
        return self._answer(charged, otp, caller, now, named=is_named(charged, identifier, account, linked=True))

    def _answer(
        self, charged: Charged, otp: str, caller: Caller, now: Instant, *, named: bool = True
    ) -> LoggedIn | Registered:
        budgets = Budgets(self._parts, caller, now)
        try:
            return self._compare([charged], otp, caller, budgets, named=named)
        except WrongCode:
            after_password = charged.purpose is Purpose.LOGIN and json.loads(charged.data).get("proved")
            if after_password and not budgets.knows(charged) and self._parts.guard.alarms(charged.account, now):
                self._notices.wrong_code(charged.user_id, caller, now)
            raise

    def verify_for(self, identifier: Identifier, otp: str, caller: Caller) -> LoggedIn | Registered:
        """
        Answer whichever live challenge of an identifier the code fits; each of them is charged.

        Raises:
            WrongCode, CodeExpired, ChallengeGone, RateLimited: As ``verify``.
        """
        parts, now = self._parts, self._parts.now()
        parts.limits.hit("verify", caller.address)
        return self._find(identifier, parts.users.by_identifier(identifier), otp, caller, now)

    def _find(
        self, identifier: Identifier, account: Account | None, otp: str, caller: Caller, now: Instant
    ) -> LoggedIn | Registered:
        parts = self._parts
        user_id = account.id if account else None
        known = parts.knows(caller, user_id, now)
        found = parts.challenges.find(keys_of(identifier, account, known=known), BY_IDENTIFIER, now)
        wanted = answerable(found, identifier, account, parts.settings.live_challenges)
        if not wanted:
            # What became of the newest one is told: an older one may have come to another end.
            raise CodeExpired if found and found[0].late and not found[0].spent else ChallengeGone
        # Of nobody it isn't asked again: an account's registrations would cost a statement that nobody's don't (G4).
        budgets = Budgets(parts, caller, now, {None: False, user_id: known})
        # Before any attempt is taken: whom his budget stops aloud must use up nobody's. In silence it looks like any
        # wrong code, which takes one.
        if not budgets.admit(identifier, account, wanted, known=known) and budgets.loud is not None:
            parts.unit(lambda: parts.guard.refund(*budgets.charges))
            self._locked(user_id, caller, now)
            raise budgets.loud
        charged = self._charge_each(wanted, now)
        if not charged:
            parts.unit(lambda: parts.guard.refund(*budgets.charges))
            raise ChallengeGone
        return self._compare(charged, otp, caller, budgets)

    def _charge_each(self, wanted: Sequence[Found], now: Instant) -> list[Charged]:
        charged: list[Charged] = []
        for one in wanted:
            with suppress(ChallengeGone, CodeExpired):  # used, spent or too late since it was found
                charged.append(self._parts.challenges.charge(one.id, BY_IDENTIFIER, now))
        return charged

    def resend(self, challenge_id: str, channel: str | None, caller: Caller) -> Issued:
        """
        Send another code for a challenge; the one before counts until the new one was sent.

        Raises:
            ChallengeGone: There is nothing to renew.
            RateLimited: The cooldown runs, or a budget is spent.
            ValidationFailed: The channel isn't one of the challenge's methods.
            DeliveryFailed: Every sender failed, for a caller who had proved something.
        """
        return self.renew(digest(challenge_id), challenge_id, channel, caller)

    def resend_held(
        self, challenge_id: str, identifier: Identifier, channel: str | None, caller: Caller
    ) -> Issued | None:
        """
        Send another code for the challenge that the caller's browser holds, if it is of the user whom he names.

        None, and nothing changed or sent, where it is another's or over.

        Raises:
            RateLimited, ValidationFailed, DeliveryFailed: As ``resend``.
        """
        account = self._parts.users.by_identifier(identifier)
        # To an anonymous caller it must not show that two identifiers are of one account.
        with suppress(ChallengeGone):
            return self.renew(
                digest(challenge_id),
                challenge_id,
                channel,
                caller,
                wanted=lambda renewed: is_named(renewed, identifier, account, linked=False),
            )
        return None

    def confirmation(self, identifier: Identifier) -> bytes | None:
        """Find the one registration of an identifier that waits for its code; None where there are none or several."""
        keys, purposes = [claimed(identifier)], frozenset({Purpose.CONFIRM})
        found = self._parts.challenges.find(keys, purposes, self._parts.now())
        # As for an answer: muted or spent, another one is the one that its owner means.
        return found[0].id if len(found) == 1 and not found[0].spent else None

    def renew(
        self,
        row: bytes,
        secret: str,
        channel: str | None,
        caller: Caller,
        *,
        wanted: Callable[[Renewed], bool] | None = None,
    ) -> Issued:
        """
        Send another code for the challenge of that row; see ``resend``. ``secret`` is what the caller calls it.

        One that isn't ``wanted`` stays as it is: ChallengeGone.
        """
        parts, now = self._parts, self._parts.now()
        parts.check_channel(channel, parts.courier.channels)
        parts.limits.hit("send", caller.address)

        def reserve() -> Reserved:
            renewed = parts.challenges.renew(row, frozenset(Purpose), now)
            if wanted is not None and not wanted(renewed):
                raise ChallengeGone
            data: dict[str, object] = json.loads(renewed.data)
            proved = bool(data["proved"])
            route = self._target(renewed, data, channel)
            destination, methods = cast("tuple[str | None, list[str]]", data["shown"])
            shown = Shown(
                channel=route.channel, destination=route.masked if proved else destination, methods=tuple(methods)
            )
            known = parts.knows(caller, renewed.user_id, now)
            # Of an anonymous caller's nothing is read: it would take time for an account only (G4).
            account = parts.users.by_id(renewed.user_id) if proved and renewed.user_id else None
            elsewhere = parts.is_claimed(account, route)
            key = route.key if data["send"] and route.value else f"decoy:{renewed.account}"
            key = f"claim:{renewed.account}" if elsewhere else key
            trusted = proved and (account is None or parts.vouches(account, route))
            if proved and not trusted:
                # Aloud by his own requests only; the address may be another's, who is kept from nothing by them.
                parts.guard.charge_ask(f"{renewed.account} {route.key}", None, now, known=False)
            counted_as_known = known and (trusted or not proved)
            rests = not proved and parts.guard.rests(renewed.purpose, key, now, known=known)
            charge = None if rests else self._sending.charge(key, now, known=counted_as_known, proved=trusted)
            return Reserved(
                renewed=renewed,
                route=route,
                shown=shown,
                charge=charge if route.value else None,
                trusted=trusted,
                unsent=elsewhere,
            )

        if parts.hooks.before_send:
            consult(parts.hooks.before_send, self._foreseen(reserve, caller))
        held = parts.unit(reserve)
        channel, destination = held.route.channel, held.route.value or None
        minted = parts.challenges.remint(held.renewed, now, channel=channel, destination=destination)
        self._sending.dispatch(minted, held.charge, caller, proved=held.trusted, unsent=held.unsent)
        return self._sending.shown(minted, held.shown, secret, now, mfa=False)

    def _foreseen(self, reserve: Callable[[], Reserved], caller: Caller) -> SendRequest:
        """
        Find out what a renewal would send, and take it back, before the host's hooks are asked.

        They may be slow and use up a token of their own, so they run in no transaction that might be run again.
        """
        found: list[Reserved] = []

        def foresee() -> None:
            found[:] = [reserve()]
            raise _TakenBack

        with suppress(_TakenBack):
            self._parts.unit(foresee)
        renewed, route = found[0].renewed, found[0].route
        # A decoy has for its address whatever was typed: a username is none.
        real = json.loads(renewed.data)["send"] or found[0].shown.destination is not None
        destination = route.value or None if real else None
        return self._sending.request(renewed.purpose, route.channel, destination, renewed.user_id, caller)

    def _target(self, renewed: Renewed, data: dict[str, object], channel: str | None) -> Route:
        """
        Find where the next code goes; a route without an address where there is none to send to.

        An anonymous caller gets no code to an address that nobody has proved, and isn't told whether there is one.
        """
        now = Route(channel=renewed.channel, kind=carries(renewed.channel), value=renewed.destination or "")
        if channel is None or channel == now.channel:
            return now
        methods = cast("list[list[str]]", data["shown"])[1]
        self._parts.check_channel(channel, methods)
        if carries(channel) is now.kind:
            return Route(channel=channel, kind=now.kind, value=now.value)
        account = self._parts.users.by_id(renewed.user_id) if renewed.user_id else None
        routes = self._parts.routes(account, verified=not data["proved"]) if account else []
        nowhere = Route(channel=channel, kind=carries(channel), value="")
        return next((route for route in routes if route.channel == channel), nowhere)

    def _compare(
        self, charged: list[Charged], otp: str, caller: Caller, budgets: Budgets, *, named: bool = True
    ) -> LoggedIn | Registered:
        parts, now = self._parts, self._parts.now()
        comparable = [one for one in charged if budgets.charge(one)]
        if not comparable and budgets.loud is not None:
            self._locked(charged[0].user_id, caller, now)
            raise budgets.loud
        # Every one is compared, whatever the first gave: time must not tell which. No more than the odds are told for.
        compared = comparable[: parts.settings.live_challenges]
        right = [one for one in compared if parts.challenges.matches(one, otp)]
        if right and named:
            data: dict[str, object] = json.loads(right[0].data)
            return self._completion.by_code(right[0], data, budgets.charges, caller, known=budgets.knows(right[0]))
        left = max(one.attempts_left for one in charged)
        first = charged[0]
        facts = {"channel": first.channel, "purpose": first.purpose.value, "attempts_left": left}
        parts.recorder.happened(parts.event("otp_failed", now, caller, first.user_id, **facts))
        if not comparable:
            self._notices.locked(first.user_id, caller, now)
        raise WrongCode(attempts_left=left)

    def _locked(self, user_id: str | None, caller: Caller, now: Instant) -> None:
        self._parts.recorder.happened(self._parts.event("otp_locked", now, caller, user_id))
        self._notices.locked(user_id, caller, now)
