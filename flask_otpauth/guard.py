"""
Budgets of failures and messages, kept in the database: exact, whatever the limiter of the app does.

Charges are made before anything is compared or sent. What is right or was not sent takes back exactly the charge that
it made itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from .config import Settings
from .crypto import index
from .errors import RateLimited
from .types import Charge, GuardStore, Identifier, Instant, Purpose, Spent, UnitOfWork, Window, timestamp


def claimed(identifier: Identifier) -> str:
    """Name the account that a typed identifier claims, known or not: ``i:`` and 64 hexadecimal digits."""
    return "i:" + index("identifier", identifier.key).hex()


def nobody(identifier: Identifier) -> str:
    """Name the account that an unknown identifier has in place of one: a decoy's, with a row of budgets of its own."""
    return "d" + claimed(identifier)[1:]


def owned(user_id: str) -> str:
    """Name the account of a user."""
    return "u:" + user_id


def reserved(user_id: str) -> str:
    """Name what the known clients of a user have begun."""
    return "k:" + user_id


class Guard:
    """
    The budgets of one app.

    Raises:
        RateLimited: From every ``charge_*``: the budget is spent; nothing was charged.
    """

    def __init__(self, store: GuardStore, settings: Settings, unit: UnitOfWork) -> None:
        self._store = store
        self._settings = settings
        self._unit = unit

    def open_codes(self, account: str, now: Instant) -> None:
        """Make the row that ``charge_code`` needs: it treats a missing one as spent."""
        self._store.open(_codes(account, known=False), now)

    def charge_code(self, account: str, now: Instant, *, known: bool) -> Charge:
        """
        Count a failed code in advance.

        Known clients have a budget of the same size that strangers can't spend (lock-out is no weapon); its row is
        made when it is first needed, since nobody without an earlier login gets here.
        """
        return self._take(_codes(account, known=known), self._settings.failures, now, create=known)

    def charge_password(
        self, identifier: Identifier, network: str | None, account: str, now: Instant, *, known: bool
    ) -> tuple[list[Charge], bool]:
        """
        Count a failed password in advance: on the typed identifier with the address, and on the account, whichever of
        its identifiers was typed; for strangers also on the identifier alone.

        Known clients have a budget of the account that strangers can't spend, of the same size: a stolen token or
        cookie must not guess on. The second value is False when only the account's budget is spent. Not an error: a
        429 would tell that two identifiers belong to one account, so the caller must refuse as for a wrong password.
        """
        here = index("password", identifier.key, network or "")
        whole = index("password", account, "known") if known else index("password", account)
        limits = self._settings.login_account_limits

        def work() -> tuple[list[Charge], bool]:
            charges = [self._take(here, self._settings.login_limits, now, create=True, joined=True)]
            if not known:
                anywhere = index("password", identifier.key)
                charges.append(self._take(anywhere, limits, now, create=True, joined=True))
            try:
                charges.append(self._take(whole, limits, now, create=True, joined=True))
            except RateLimited:
                return charges, False
            return charges, True

        return self._unit(work)

    def charge_step_up(self, account: str, network: str | None, now: Instant) -> list[Charge]:
        """
        Count a failed password of a step-up in advance, by address and over all of them.

        On budgets of its own, under keys that no identifier has: nobody without the session may spend them.
        """
        here, whole = index("step-up password", account, network or ""), index("step-up password", account)
        here_limits, limits = self._settings.login_limits, self._settings.login_account_limits

        def work() -> list[Charge]:
            return [
                self._take(here, here_limits, now, create=True, joined=True),
                self._take(whole, limits, now, create=True, joined=True),
            ]

        return self._unit(work)

    def charge_send(self, destination: str, now: Instant, *, known: bool) -> Charge:
        """Count a message to a canonical destination (``kind:value``); joins the unit of work."""
        return self._take(index("send", destination), self._settings.sends(known=known), now, create=True, joined=True)

    def charge_ask(self, whom: str, network: str | None, now: Instant, *, known: bool) -> Charge:
        """
        Count a request for a code by what was typed and by where it comes from; joins the unit of work.

        It is told aloud, so nothing but the caller's own requests spends it: what the owner, or anybody else, has asked
        for must not show.
        """
        key = index("ask", whom, network or "")
        return self._take(key, self._settings.sends(known=known), now, create=True, joined=True)

    def forgives_failure(self, destination: str, now: Instant) -> bool:
        """Count a failed call of a gateway; False once the message counts as sent, so that calls have an end too."""
        key = index("failed call", destination)
        outcome = self._store.charge(key, self._settings.send_limits, now, create=True, joined=True)
        return not isinstance(outcome, Spent)

    def charge_cooldown(self, purpose: Purpose, whom: str, network: str | None, now: Instant, *, known: bool) -> Charge:
        """
        Count an anonymous request for a code, one per cooldown; joins the unit of work. Aloud, as ``charge_ask``.

        Known clients have a cooldown of their own: a stranger's requests must not keep an owner from his code.
        """
        key = index("cooldown", purpose.value, whom, network or "", *(("known",) if known else ()))
        outcome = self._store.charge(key, (self._cooldown,), now, create=True, joined=True)
        if isinstance(outcome, Spent):
            raise RateLimited(_seconds(outcome, now), resend_at=timestamp(outcome.retry_at, up=True))
        return outcome

    def rests(self, purpose: Purpose, destination: str, now: Instant, *, known: bool) -> bool:
        """
        Tell whether a destination got a code for that purpose within the cooldown, else count one; joins the unit.

        Whoever asked for it: in silence, since it would tell that somebody logs in there.
        """
        key = index("rest", purpose.value, destination, *(("known",) if known else ()))
        return isinstance(self._store.charge(key, (self._cooldown,), now, create=True, joined=True), Spent)

    def alarms(self, account: str, now: Instant) -> bool:
        """
        Count a wrong code after the right password, at an unknown client; tell whether the owner should hear of it.

        He should once a day has as many as a challenge has attempts, whatever the number of challenges. Not at the
        first: owners mistype, and who is warned of himself reads no warning any more.
        """
        forgiven = self._settings.max_attempts - 1
        if forgiven == 0:
            return True
        window = Window(limit=forgiven, seconds=86_400)
        return isinstance(self._store.charge(index("alarm", account), (window,), now, create=True), Spent)

    def charge_notice(self, name: str, user_id: str, now: Instant) -> Charge:
        """Count a notice to an owner: one of a kind per hour, so that an attack on him is no flood as well."""
        return self._take(index("notice", name, user_id), (Window(limit=1, seconds=3600),), now, create=True)

    def take_turn(self, account: str, now: Instant) -> None:
        """
        Keep others who do so of the account waiting until this unit of work has ended.

        For what must not happen at once: a login that looks whether a code is due, and the switch that makes it due.
        """
        self._store.turn(index("turn", account), now)

    def refund(self, *charges: Charge) -> None:
        """Give back these very charges."""
        for charge in charges:
            self._store.refund(charge)

    def forgive(self, account: str, identifiers: Sequence[Identifier] = ()) -> None:
        """
        Forget the failures of an account: codes, also those of known clients, and passwords over all addresses.

        ``identifiers`` are the account's: failures are also counted on what was typed. Those counted on an identifier
        together with one client address (``OTPAUTH_LOGIN_LIMITS``) stay until their window has passed.
        """
        accounts = (account, *(claimed(one) for one in identifiers))
        keys = [_codes(one, known=known) for one in accounts for known in (False, True)]
        keys += [index("password", account), index("password", account, "known"), index("step-up password", account)]
        keys += [index("password", one.key) for one in identifiers]

        def work() -> None:
            # In one order for all, so that two at once never wait in a circle.
            for key in sorted(keys):
                self._store.reset(key)

        self._unit(work)

    @property
    def _cooldown(self) -> Window:
        return Window(limit=1, seconds=self._settings.resend_cooldown)

    def _take(
        self, key: bytes, windows: Sequence[Window], now: Instant, *, create: bool, joined: bool = False
    ) -> Charge:
        outcome = self._store.charge(key, windows, now, create=create, joined=joined)
        if isinstance(outcome, Spent):
            raise RateLimited(_seconds(outcome, now))
        return outcome


def _seconds(spent: Spent, now: Instant) -> int:
    return ceil((spent.retry_at - now) / 1000)


def _codes(account: str, *, known: bool) -> bytes:
    return index("code", account, "known") if known else index("code", account)
