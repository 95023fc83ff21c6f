"""What the row of a new user is made of, and what is told of one that can't be stored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.exc import StatementError

from ..errors import ConfigurationError, FieldError, IdentifierTaken, ValidationFailed
from ..types import Kind, NewAccount
from .mapping import IDENTIFIERS, AnyColumn, UserMap, is_unique
from .objects import first_of, is_refusal, session_on, truth_of

logger: logging.Logger = logging.getLogger("flask_otpauth")


def check(users: UserMap, new: NewAccount, asked: Mapping[str, str]) -> None:
    """
    Check the identifiers against the model, before its database sees them.

    ``asked`` are wire names, by name.

    Raises:
        ValidationFailed: One is longer than its column, or one that the model needs is missing.
        IdentifierTaken: One that the model needs was given, and another account has it.
    """
    errors: list[FieldError] = []
    claimed = _claimed(new)
    for name in IDENTIFIERS:
        value, most = getattr(new, name), users.length(name)
        if value is None and not users.nullable(name) and name != claimed:
            errors.append(FieldError(field=asked.get(name, name), message="This is required."))
        if value is not None and most is not None and len(value) > most:
            errors.append(FieldError(field=asked.get(name, name), message=f"This has more than {most} characters."))
    if errors:
        raise ValidationFailed(errors)
    if claimed is not None and not users.nullable(claimed):
        # It can't be hidden: there is no row for who names it too.
        raise IdentifierTaken(claimed)


def _claimed(new: NewAccount) -> str | None:
    if new.claimed is None:
        return None
    return Kind.EMAIL.value if "@" in new.claimed else Kind.PHONE.value


def values_of(users: UserMap, new: NewAccount) -> dict[str, object]:
    """Give the values that the model has attributes for, by attribute name; the rest is left to its defaults."""
    values: dict[str, object] = {name: getattr(new, name) for name in IDENTIFIERS}
    values["password_hash"] = new.password_hash if users.nullable("password_hash") else new.password_hash or ""
    for name, verified in (("email_verified", new.email_verified), ("phone_verified", new.phone_verified)):
        values[name] = truth_of(users.columns.get(name)) if verified else None
    attributes = users.attributes
    given = {attributes[name]: value for name, value in values.items() if value is not None and name in attributes}
    return {**new.extra, **given}


class Refused(Exception):
    """
    The model, a type or a constraint didn't take the row; the text is for the log and holds no value.

    Attributes:
        user: The object, as far as it was made.
    """

    def __init__(self, users: UserMap, user: object | None, cause: BaseException | None) -> None:
        self.user = user
        super().__init__(_named(users, cause))


def insert(connection: sa.Connection, users: UserMap, new: NewAccount) -> object:
    """
    Store the row of a new user, and give its object.

    Raises:
        Refused: For the caller to tell; the transaction goes on.
    """
    user: object | None = None
    try:
        user = users.model(**values_of(users, new))
        # A savepoint: PostgreSQL refuses every statement after a failed one until it is taken back.
        with session_on(connection, "create_savepoint") as session:
            session.add(user)
            session.commit()
    except StatementError as error:
        first = first_of(error)
        if not is_refusal(first):
            raise first from None
        # Not from the error, which holds the values of the row.
        raise Refused(users, user, first.orig) from None
    except ValueError as error:
        raise Refused(users, None, error) from None  # by a validator of the model
    return user


def refusal(
    connection: sa.Connection, users: UserMap, new: NewAccount, asked: Mapping[str, str], refused: Refused
) -> ValidationFailed | ConfigurationError:
    """
    Give what to raise for a refused row.

    ``asked`` are the wire names of all that registration asks for: what of it is missing, taken or not accepted, the
    caller can mend. A column that nobody asks for is the host's to fill. What the caller isn't told is logged.
    """
    missing = _unfilled(users, refused.user)
    left_out = [name for name in asked if users.column_of(name) in missing]
    if missing and not left_out:
        return _incomplete(users, missing)
    if left_out:
        return _told(asked, left_out, "This is required.")
    if taken := _taken(connection, users, new):
        return _told(asked, taken, "This is taken.")
    logger.warning("%s refused the values of a registration: %s", users.model.__name__, refused)
    given = [name for name in IDENTIFIERS if getattr(new, name) is not None]
    return _told(asked, [*given, *new.extra], "One of these values is not accepted.")


def _told(asked: Mapping[str, str], names: Iterable[str], message: str) -> ValidationFailed:
    return ValidationFailed(FieldError(field=asked.get(name, name), message=message) for name in names)


def _unfilled(users: UserMap, user: object | None) -> set[AnyColumn]:
    """Give the columns that stayed NULL against their will, after all that the host's own code has filled in."""
    if user is None:
        return set()
    names = (one.key for one in users.mapper.column_attrs)
    return set(users.unset(frozenset(name for name in names if getattr(user, name) is not None)))


def _taken(connection: sa.Connection, users: UserMap, new: NewAccount) -> list[str]:
    """Give the profile fields whose value another row has, where the database keeps them unique."""
    columns = {name: users.column_of(name) for name in new.extra}
    unique = {name: column for name, column in columns.items() if column is not None and is_unique(column)}
    wanted = {name: sa.select(sa.literal(1)).where(column == new.extra[name]) for name, column in unique.items()}
    return [name for name, find in wanted.items() if connection.execute(find).first() is not None]


def _incomplete(users: UserMap, missing: Iterable[AnyColumn]) -> ConfigurationError:
    names = ", ".join(sorted(column.name for column in missing))
    fault = (
        f"{users.model.__name__} can't be stored with the fields of a registration: {names} may not be NULL; "
        "give it a default, or name it in OTPAUTH_REGISTER_FIELDS."
    )
    return ConfigurationError([fault])


def _named(users: UserMap, cause: BaseException | None) -> str:
    """Name what refused a row: constraints of its table that the database speaks of, or else the class of the error."""
    text, table = str(cause), users.key.table
    names = [*(one.name for one in table.constraints), *(one.name for one in table.indexes)]
    return ", ".join(sorted(name for name in map(str, filter(None, names)) if name in text)) or type(cause).__name__
