# SPDX-License-Identifier: Apache-2.0
"""Values: what drivers give and take, and the form in which rows compare.

No type of SQLAlchemy works on them, as one that meets an odd value fails for
all rows that were fetched with it.
"""

import collections.abc
import datetime
import enum
import typing

import sqlalchemy
from sqlalchemy.dialects import mysql

_Moment = typing.TypeVar('_Moment', bound=datetime.date)

#: A row, or the key of one; in the form in which rows compare.
Row = tuple[typing.Any, ...]


class Kind(enum.Enum):
    """What a column holds, whatever the database calls it."""

    BOOLEAN = 'boolean'
    DATE = 'date'
    INTEGER = 'integer'
    TEXT = 'text'
    TIME = 'time'


class Odd(Exception):
    """A value that a column of its kind can't have.

    Its text does not quote the value.
    """


def kind(type_: sqlalchemy.types.TypeEngine[typing.Any]) -> Kind:
    """Return the kind of a column that was reflected.

    :raises LookupError: when there is none
    """
    if isinstance(type_, mysql.TINYINT) and type_.display_width == 1:
        return Kind.BOOLEAN
    for class_, found in (
        (sqlalchemy.Boolean, Kind.BOOLEAN),
        (sqlalchemy.DateTime, Kind.TIME),
        (sqlalchemy.Date, Kind.DATE),
        (sqlalchemy.Integer, Kind.INTEGER),
        (sqlalchemy.String, Kind.TEXT),
    ):
        if isinstance(type_, class_):
            return found
    raise LookupError(repr(type_))


def _boolean(value: object) -> bool:
    if isinstance(value, int):
        return bool(value)
    raise Odd('is no boolean')


def _integer(value: object) -> int:
    if isinstance(value, int):
        return int(value)
    raise Odd('is no integer')


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Odd('is no text')
    return value


def _moment(value: object, kind: type[_Moment], name: str) -> _Moment:
    # SQLite has text, and PyMySQL gives it for the zero date.
    if isinstance(value, str):
        try:
            return kind.fromisoformat(value)
        except ValueError as error:
            raise Odd(f'is no {name} that exists') from error
    if not isinstance(value, kind):
        raise Odd(f'is no {name}')
    return value


def _time(value: object) -> datetime.datetime:
    return _moment(value, datetime.datetime, 'time').replace(tzinfo=None)


def _second(value: object) -> datetime.datetime:
    return _time(value).replace(microsecond=0)


def _date(value: object) -> datetime.date:
    return _moment(value, datetime.date, 'date')


#: What reads a value that a driver gave.
Reader = collections.abc.Callable[[object], object]

_READERS: dict[Kind, Reader] = {
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.TIME: _time,
}


def reader(of: Kind, seconds: bool) -> Reader:
    """Return what reads a driver's value of a kind, which is not None.

    :param seconds: whether fractions of a second are left out, as one of the
        two databases has none
    """
    if of is Kind.TIME and seconds:
        return _second
    return _READERS[of]


def for_sqlite(value: object) -> object:
    """Return a value as Keystone stores it in SQLite."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(' ', 'microseconds')
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def size(row: Row) -> int:
    """Return about how many bytes a row has."""
    return sum(
        len(value) if isinstance(value, str) else 8 for value in row
    )
