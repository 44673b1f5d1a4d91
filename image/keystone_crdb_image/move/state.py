# SPDX-License-Identifier: Apache-2.0
"""How far a move has come: a table in the target, beside the rows.

A batch of rows and its line here are one transaction. So a move that was
ended at any moment goes on where it was, and a second one at the same time
fails before it has written anything.
"""

import collections.abc
import enum
import json
import typing

import sqlalchemy

from keystone_crdb_image import errors

TABLE = sqlalchemy.Table(
    'keystone_crdb_move',
    sqlalchemy.MetaData(),
    sqlalchemy.Column('name', sqlalchemy.String(64), primary_key=True),
    sqlalchemy.Column('place', sqlalchemy.Text, nullable=False),
)

#: The line of the move itself; tables have others.
_MOVE = '*'


class Stage(enum.Enum):
    """How far a move is."""

    NONE = 'not begun'
    BEGUN = 'begun'
    COPIED = 'copied'
    COMPARED = 'compared'


#: JSON's arrays and values.
Place = list[typing.Any]


def read(connection: sqlalchemy.Connection) -> dict[str, Place]:
    """Return the places by tables; the move's own has the source's name.

    :returns: nothing, where there was no move yet
    """
    if not sqlalchemy.inspect(connection).has_table(TABLE.name):
        return {}
    lines = connection.execute(sqlalchemy.select(TABLE))
    return {name: json.loads(place) for name, place in lines}


def source(places: collections.abc.Mapping[str, Place]) -> str | None:
    """Return the name of the database that the rows came from."""
    return places[_MOVE][0] if _MOVE in places else None


def rows(places: collections.abc.Mapping[str, Place]) -> int:
    """Return how many rows were copied."""
    return sum(place[2] for name, place in places.items() if name != _MOVE)


def stage(places: collections.abc.Mapping[str, Place]) -> Stage:
    """Return how far the move is."""
    return Stage(places[_MOVE][1]) if _MOVE in places else Stage.NONE


def begin(connection: sqlalchemy.Connection, name: str) -> None:
    """Note that a move begins.

    :param name: of the source
    """
    connection.execute(
        sqlalchemy.insert(TABLE).values(
            name=_MOVE, place=json.dumps([name, Stage.BEGUN.value])
        )
    )


def reach(
    connection: sqlalchemy.Connection, name: str, at: Stage
) -> None:
    """Note how far the move is.

    :param name: of the source
    """
    connection.execute(
        sqlalchemy.update(TABLE)
        .where(TABLE.c.name == _MOVE)
        .values(place=json.dumps([name, at.value]))
    )


def advance(
    connection: sqlalchemy.Connection,
    name: str,
    old: Place | None,
    new: Place,
) -> None:
    """Note how far a table has come.

    :param old: the place that it was at; None for a table's first
    :raises Problem: when it is elsewhere, as another command moves it too
    """
    if old is None:
        connection.execute(
            sqlalchemy.insert(TABLE).values(name=name, place=json.dumps(new))
        )
        return
    changed = connection.execute(
        sqlalchemy.update(TABLE)
        .where(TABLE.c.name == name, TABLE.c.place == json.dumps(old))
        .values(place=json.dumps(new))
    )
    if changed.rowcount != 1:
        raise errors.Problem(
            'another import or export writes to the same database: let one '
            'of them end'
        )
