"""Guesses: which challenges a code is compared with, and on whom a wrong one is counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from ..errors import RateLimited
from ..guard import claimed, nobody, owned, reserved
from ..types import Account, Caller, Charge, Charged, Found, Identifier, Instant, Purpose, Renewed
from .parts import Parts

KEYS = 3
"""By which an account's challenges are looked up: what was typed, its key and its known clients."""

REACH = 4
"""A guess by identifier takes an attempt of so many times more challenges than it is compared with, and no more."""


def is_named(row: Charged | Renewed, identifier: Identifier, account: Account | None, *, linked: bool) -> bool:
    """
    Tell whether a challenge is of the user whom an identifier names: by what was typed when it began.

    By any of his identifiers where ``linked``, or where the challenge followed a proof.
    """
    data: dict[str, object] = json.loads(row.data)
    if claimed(identifier) in cast("list[str]", data.get("named", [])):
        return True
    return account is not None and account.id == row.user_id and (linked or bool(data["proved"]))


def keys_of(identifier: Identifier, account: Account | None, *, known: bool) -> list[str]:
    """
    Give what a challenge of an identifier may be found by: as many keys for nobody, so that the work is the same.

    Not by another name of the account: whoever begins a login by one and answers it by another would learn, even by a
    wrong code, that both are one user's. What followed a proof is found by any: nobody else can begin that.
    """
    keys = {claimed(identifier)}
    if account is not None:
        keys |= {owned(account.id), *((reserved(account.id),) if known else ())}
    return [*keys, *(f"{nobody(identifier)}:{number}" for number in range(len(keys), KEYS))]


def answerable(found: Sequence[Found], identifier: Identifier, account: Account | None, most: int) -> Sequence[Found]:
    """
    Give those that a code by identifier takes an attempt of; the first ``most`` of them are what it is compared with.

    Which they are hangs on what was typed alone, whatever of it is muted or an account's, since an attempt taken shows;
    but for what followed a proof or is a known client's: nobody else has begun that. The account's own codes come first
    among them, so that decoys by its names take no place from them: what a wrong one was compared with doesn't show.
    """
    typed, own = claimed(identifier), owned(account.id) if account is not None else None
    if sum(one.purpose is Purpose.CONFIRM for one in found) > 1:
        # One of them may be another's: its code, typed by the owner of the address, would make him that account. Muted,
        # spent or late, the owner's is one of them: a stranger may have made it so.
        found = [one for one in found if one.purpose is not Purpose.CONFIRM]
    open_ = [one for one in found if not (one.spent or one.late)]
    # Muted ones that whoever has the password began must not push out of reach what the owner was sent.
    taken = sorted(open_, key=lambda one: (one.alias == typed, one.alias != typed and one.muted))[: REACH * most]
    return sorted(taken, key=lambda one: (one.muted, one.account != own))


class Budgets:
    """
    Charges one guess: each account that it could open once, whatever the number of its challenges.

    Attributes:
        charges: What was charged.
        loud: Set when a budget is spent whose end may be told.
    """

    def __init__(
        self, parts: Parts, caller: Caller, now: Instant, known: Mapping[str | None, bool] | None = None
    ) -> None:
        """Take note; ``known`` says of users whether the caller is a known client of theirs, where that was asked."""
        self._parts = parts
        self._caller = caller
        self._now = now
        self._within: dict[tuple[str, bool], bool] = {}
        self._known: dict[str | None, bool] = dict(known or {})
        self.charges: list[Charge] = []
        self.loud: RateLimited | None = None

    def knows(self, charged: Charged) -> bool:
        """Tell whether a known client answers, or began the challenge: whoever has its id is the one who began it."""
        if charged.user_id not in self._known:
            self._known[charged.user_id] = self._parts.knows(self._caller, charged.user_id, self._now)
        return self._known[charged.user_id] or bool(json.loads(charged.data).get("known"))

    def admit(self, identifier: Identifier, account: Account | None, wanted: Sequence[Found], *, known: bool) -> bool:
        """
        Charge whom a guess by identifier is counted on, and tell whether it may be compared.

        What was typed is told aloud. That the account is spent is told only where one of its challenges followed a
        proof: where anybody may begin a login by one name and answer it by another, it would tell that they are of one
        account. A decoy of an account's name counts on the account, as one of nobody's name counts on nobody.
        """
        if known and account is not None:
            return self._take(owned(account.id), known=True, loud=True)
        within = True
        whole = owned(account.id) if account else nobody(identifier)
        for one, loud in ((claimed(identifier), True), (whole, any(each.alias == whole for each in wanted))):
            # What was typed may not be what the code was asked for by: its row is made here.
            self._parts.guard.open_codes(one, self._now)
            within &= self._take(one, known=False, loud=loud)
        self._within[nobody(identifier), False] = self._within[whole, False]
        return within

    def charge(self, charged: Charged) -> bool:
        """
        Charge all budgets of a challenge, and tell whether its code may be compared.

        Of an anonymous challenge only the claimed identifier's is loud: a 429 of the account's would tell that the
        identifier belongs to an account that is locked. A known client has a budget that no stranger spends.
        """
        known = self.knows(charged)
        proved = bool(json.loads(charged.data).get("proved"))
        if known or proved:
            return self._take(charged.account, known=known, loud=proved)
        loud = self._take(charged.alias, known=False, loud=True)
        return self._take(charged.account, known=False, loud=False) and loud

    def _take(self, account: str, *, known: bool, loud: bool) -> bool:
        key = (account, known)
        if key not in self._within:
            try:
                self.charges.append(self._parts.guard.charge_code(account, self._now, known=known))
            except RateLimited as error:
                self.loud = error if loud else self.loud
                self._within[key] = False
            else:
                self._within[key] = True
        return self._within[key]
