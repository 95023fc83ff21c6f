"""Registration: proved first (``confirm``), logged in by a first code (``login-code``), or at once (``open``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import FieldError, IdentifierTaken, ValidationFailed
from ..guard import claimed, nobody, owned
from ..types import Account, Caller, Identifier, Issued, Kind, NewAccount, Purpose, Registered
from .notices import Notices
from .parts import Parts, Route, carries, yields
from .sending import Ask, Sending, Shown


class Registration:
    """Takes the fields of a new account."""

    def __init__(self, parts: Parts, sending: Sending, notices: Notices) -> None:
        self._parts = parts
        self._sending = sending
        self._notices = notices

    def register(
        self, fields: Mapping[str, str], caller: Caller, *, faults: Sequence[FieldError] = ()
    ) -> Issued | Registered:
        """
        Begin or finish a registration, as ``OTPAUTH_REGISTRATION`` says.

        An address that is taken is answered like any other where a code has to prove it, and its owner is told.

        Args:
            faults: What is wrong with fields that aren't among ``fields``: told together with what is found here.

        Raises:
            ValidationFailed: One entry per field.
            IdentifierTaken: A username; an address where the kind of registration can't hide it.
            RateLimited: A budget or the cooldown.
        """
        parts, settings = self._parts, self._parts.settings
        parts.limits.hit("login", caller.address)
        identifiers = self._judged(fields, faults)
        password = fields.get("password")
        # Hashed before anything is looked up, so that time doesn't tell what is taken.
        password_hash = parts.passwords.hash(password) if password is not None else None
        values = {kind: one.value for kind, one in identifiers.items()}
        new = NewAccount(
            username=values.get(Kind.USERNAME),
            email=values.get(Kind.EMAIL),
            phone=values.get(Kind.PHONE),
            password_hash=password_hash,
            extra={name: value for name, value in fields.items() if name not in {*Kind, "password"}},
        )
        self._refuse_taken_name(identifiers)
        if settings.registration == "open":
            self._refuse_taken(identifiers)
            return Registered(account=self._add(new, caller))
        if settings.registration == "login-code" and password is not None:
            self._refuse_taken(identifiers)
        return self._prove(new, identifiers, caller)

    def _judged(self, fields: Mapping[str, str], faults: Sequence[FieldError]) -> dict[Kind, Identifier]:
        """Read the identifiers and judge the password; all that is wrong is told at once."""
        found, errors = self._read(fields)
        errors = [*faults, *errors, *self._password_faults(fields, found)]
        if errors:
            raise ValidationFailed(errors)
        return found

    def _read(self, fields: Mapping[str, str]) -> tuple[dict[Kind, Identifier], list[FieldError]]:
        found: dict[Kind, Identifier] = {}
        errors: list[FieldError] = []
        for kind in Kind:
            if kind.value not in fields:
                continue
            try:
                found[kind] = self._fitting(self._parts.identifiers.read(kind, fields[kind.value], new=True))
            except ValueError as error:
                errors.append(FieldError(field=self._parts.settings.wire(kind.value), message=str(error)))
        return found, errors

    def _fitting(self, identifier: Identifier) -> Identifier:
        longest = self._parts.users.length(identifier.kind.value)
        if longest is not None and len(identifier.value) > longest:
            raise ValueError(f"This must have at most {longest} characters.")
        return identifier

    def _password_faults(
        self, fields: Mapping[str, str], identifiers: Mapping[Kind, Identifier]
    ) -> Iterator[FieldError]:
        if "password" not in fields:
            return
        names = {kind.value: identifiers[kind].value for kind in (Kind.USERNAME, Kind.EMAIL) if kind in identifiers}
        faults = self._parts.passwords.faults(fields["password"], **names)
        if faults:
            yield FieldError(field=self._parts.settings.wire("password"), message=" ".join(faults))

    def _refuse_taken_name(self, identifiers: Mapping[Kind, Identifier]) -> None:
        """Tell at once that a username is taken: usernames are public."""
        username = identifiers.get(Kind.USERNAME)
        if username is not None and self._parts.users.by_identifier(username) is not None:
            raise IdentifierTaken(Kind.USERNAME.value)

    def _refuse_taken(self, identifiers: Mapping[Kind, Identifier]) -> None:
        """Tell that an address is taken, where this kind of registration can't hide it."""
        for kind in (Kind.PHONE, Kind.EMAIL):
            if kind in identifiers and self._parts.users.by_identifier(identifiers[kind]) is not None:
                raise IdentifierTaken(kind.value)

    def _add(self, new: NewAccount, caller: Caller) -> Account:
        parts, now = self._parts, self._parts.now()
        account = parts.unit(lambda: parts.add_user(new))
        parts.recorder.happened(parts.event("user_registered", now, caller, account.id))
        return account

    def _prove(self, new: NewAccount, identifiers: Mapping[Kind, Identifier], caller: Caller) -> Issued:
        """
        Send a code to the first of the addresses.

        Only that one can stand in the way: what becomes of the other is settled when the code is proved, so that a
        stranger's own phone tells him nothing of somebody's e-mail address.
        """
        parts, confirm = self._parts, self._parts.settings.registration == "confirm"
        typed, route, methods = self._target(identifiers)
        purpose = Purpose.CONFIRM if confirm else Purpose.LOGIN
        # Before anybody is told or stored; and as if there were no account, known or not.
        self._sending.permit(self._sending.request(purpose, route.channel, route.value, None, caller))
        holder = parts.users.by_identifier(typed)
        # An account that is made before its proof can take no address from another one.
        taken = holder is not None and not (confirm and yields(holder, typed.kind))
        self._notices.address_taken(holder if taken else None, route, caller, parts.now())
        data: dict[str, object] = {"amr": ["pwd"] if new.password_hash is not None else [], "adopt": False}
        if confirm:
            data["pending"] = parts.keyring.seal(_plain(new))
        ask = Ask(
            purpose=purpose,
            account=nobody(typed),
            alias=claimed(typed),
            user=None,
            typed=typed,
            named=tuple(identifiers.values()),
            route=None if taken else route,
            shown=Shown(channel=route.channel, destination=route.masked, methods=methods),
            data=data,
        )
        if taken or confirm:
            return self._sending.issue(ask, caller, permitted=True)
        return self._prove_added(self._without_taken(new, typed.kind), ask, caller)

    def _prove_added(self, new: NewAccount, ask: Ask, caller: Caller) -> Issued:
        """Add the account together with its first challenge: whose request is refused has not taken a name by it."""
        parts, now = self._parts, self._parts.now()
        added: list[Account] = []
        # Where a password alone will open the account, only who registered may answer, by the id that he has: the owner
        # of the address would make it good for whoever has set that password.
        by_name = parts.settings.passwordless or parts.settings.second_factor == "always"
        alias = ask.alias if by_name else ask.account

        def add(asked: Ask) -> Ask:
            added[:] = [parts.add_user(replace(new, registered=True))]
            return replace(asked, account=owned(added[0].id), user=added[0], alias=alias)

        issued = self._sending.issue(ask, caller, permitted=True, first=add)
        parts.recorder.happened(parts.event("user_registered", now, caller, added[0].id))
        return issued

    def _without_taken(self, new: NewAccount, proving: Kind) -> NewAccount:
        """Leave out the address beside the one to be proved, if somebody has it: a refusal would tell so."""
        other, value = (Kind.PHONE, new.phone) if proving is Kind.EMAIL else (Kind.EMAIL, new.email)
        if value is None or self._parts.users.by_identifier(Identifier(kind=other, value=value)) is None:
            return new
        left = replace(new, claimed=value)
        return replace(left, phone=None) if other is Kind.PHONE else replace(left, email=None)

    def _target(self, identifiers: Mapping[Kind, Identifier]) -> tuple[Identifier, Route, tuple[str, ...]]:
        for channel in self._parts.courier.channels:
            kind = carries(channel)
            if kind in identifiers:
                typed = identifiers[kind]
                methods = tuple(one for one in self._parts.courier.channels if carries(one) is kind)
                return typed, Route(channel=channel, kind=kind, value=typed.value), methods
        wire = self._parts.settings.wire
        missing = dict.fromkeys(wire(carries(channel).value) for channel in self._parts.courier.channels)
        message = "An address that can get a code is needed."
        raise ValidationFailed([FieldError(field=field, message=message) for field in missing])


def _plain(new: NewAccount) -> dict[str, object]:
    return {
        "username": new.username,
        "email": new.email,
        "phone": new.phone,
        "password_hash": new.password_hash,
        "extra": dict(new.extra),
    }
