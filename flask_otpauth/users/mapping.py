"""What a model of the host has of the fields that we need, found out without configuring its mappers."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from ..errors import ConfigurationError
from ..types import Kind
from .fields import FIELDS

AnyColumn = sa.Column[Any]
Key = int | str | uuid.UUID

IDENTIFIERS = tuple(kind.value for kind in (Kind.USERNAME, Kind.EMAIL, Kind.PHONE))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMap:
    """
    How the fields lie in the model; all by canonical name, and only what the model has.

    Attributes:
        attributes: Attribute names.
        columns: Those that are plain columns of the model's own table.
        key: The primary key, one column.
        read_key: Turns the string of a key into its value; None for what can be no key.
        plain: Whether a SELECT of columns reads everything.
        unique: Identifiers that the database keeps unique.
    """

    model: type[Any]
    mapper: Mapper[Any]
    attributes: Mapping[str, str]
    columns: Mapping[str, AnyColumn]
    key: AnyColumn
    read_key: Callable[[str], Key | None]
    plain: bool
    unique: frozenset[str]

    def length(self, field: str) -> int | None:
        """Give how many characters the column of a field, or of a profile attribute, holds; None for any number."""
        column = self.columns.get(field) if field in FIELDS else self.column_of(field)
        length: int | None = getattr(column.type, "length", None) if column is not None else None
        return length

    def nullable(self, field: str) -> bool:
        """Tell whether a field may be missing; one that is no plain column may."""
        column = self.columns.get(field)
        return column is None or column.nullable is not False

    def column_of(self, attribute: str) -> AnyColumn | None:
        """Give the plain column of an attribute."""
        return _column(self.mapper, attribute)

    def unset(self, given: frozenset[str]) -> list[AnyColumn]:
        """Give the columns that an insert with only the ``given`` attributes would leave NULL against their will."""
        by_mapper = (self.mapper.version_id_col, self.mapper.polymorphic_on)
        filled = {column for name in given if (column := self.column_of(name)) is not None}
        return [
            column
            for column in self.key.table.columns
            if column not in filled and _obligatory(column) and not any(column is one for one in by_mapper)
        ]


def map_of(model: type[Any], fields: Mapping[str, str]) -> UserMap:
    """
    Look at the model.

    Raises:
        ConfigurationError: It is no model, or its primary key isn't one integer, UUID or string.
    """
    mapper = cast("Mapper[Any] | None", sa.inspect(model, raiseerr=False))
    if mapper is None:
        raise ConfigurationError([f"user_model is {model!r}; give a model class of your SQLAlchemy."])
    attributes = {name: fields.get(name, name) for name in FIELDS if has_attribute(model, fields.get(name, name))}
    found = {name: _column(mapper, attribute) for name, attribute in attributes.items()}
    columns = {name: column for name, column in found.items() if column is not None}
    # Of an inherited model the base table has rows that aren't its own: only the ORM knows which.
    own = mapper.inherits is None and isinstance(mapper.local_table, sa.Table)
    key = _key(mapper)
    return UserMap(
        model=model,
        mapper=mapper,
        attributes=attributes,
        columns=columns,
        key=key,
        read_key=_key_reader(model, key),
        plain=own and len(columns) == len(attributes),
        unique=frozenset(name for name in IDENTIFIERS if name in columns and is_unique(columns[name])),
    )


def has_attribute(model: type[Any], name: str) -> bool:
    """Tell whether instances have a value of that name: a mapped attribute, a hybrid or a property; no method."""
    found = inspect.getattr_static(model, name, None)
    return found is not None and not isinstance(found, FunctionType | classmethod | staticmethod)


def type_of(column: AnyColumn) -> type[object]:
    """Give the type of a column's values; text where a type of the host's own doesn't say."""
    try:
        kind: type[object] = column.type.python_type
    except NotImplementedError:
        return str
    return str if kind is object else kind


def is_unique(column: AnyColumn) -> bool:
    """Tell whether the database keeps the values of a column unique, by itself."""
    if column.unique or column.primary_key:
        return True
    table = column.table
    constraints = [one.columns for one in table.constraints if isinstance(one, sa.UniqueConstraint)]
    # A partial index doesn't hold for every row.
    indexes = [
        one.columns
        for one in table.indexes
        if one.unique and not any(option.endswith("_where") for option in one.dialect_kwargs)
    ]
    return any(len(columns) == 1 and columns[0] is column for columns in (*constraints, *indexes))


def _column(mapper: Mapper[Any], attribute: str) -> AnyColumn | None:
    column = mapper.columns.get(attribute)
    return column if isinstance(column, sa.Column) and column.table is mapper.local_table else None


def _key(mapper: Mapper[Any]) -> AnyColumn:
    key = mapper.primary_key
    if len(key) != 1 or not isinstance(key[0], sa.Column):
        names = ", ".join(column.name for column in key)
        raise ConfigurationError(
            [f"{mapper.class_.__name__} has the primary key ({names}); a user model needs one of a single column."]
        )
    return key[0]


def _key_reader(model: type[Any], key: AnyColumn) -> Callable[[str], Key | None]:
    kind = type_of(key)
    if issubclass(kind, int):
        return _integer
    if issubclass(kind, uuid.UUID):
        return _uuid
    if issubclass(kind, str):
        return _string
    fault = f"{model.__name__}.{key.name} is of type {key.type!r}; a user's key is an integer, a UUID or a string."
    raise ConfigurationError([fault])


def _integer(text: str) -> int | None:
    if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None


def _string(text: str) -> str | None:
    # PostgreSQL refuses NUL, and no driver encodes lone surrogates.
    return None if re.search("[\0\ud800-\udfff]", text) else text


def _obligatory(column: AnyColumn) -> bool:
    if column.nullable or column.computed is not None or column.identity is not None:
        return False
    if column.default is not None or column.server_default is not None:
        return False
    return column.table.autoincrement_column is not column
