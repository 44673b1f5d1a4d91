# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Values that no column can have.

JSON can write a lone surrogate, which no encoding of text has, and a NUL,
which PostgreSQL and CockroachDB have in no text, and a request may have a list
or an object where it should have a string. Drivers raise for all of these,
some of them exceptions that no one expects of a statement.
"""

from oslo_db import exception as db_exception
import sqlalchemy

_WITHOUT_NUL = frozenset(('cockroachdb', 'postgresql'))


def is_text(value, nul=False):
    """Tell whether a string can be encoded.

    :param str value: to look at
    :param bool nul: whether a NUL may be in it
    """
    if not nul and '\0' in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def watch(engine):
    """See to it that no statement of an engine has such a value.

    What is looked up by one is not there: SQL's NULL takes its place, which
    is equal to nothing. What would be written is refused, and so is an
    update by one.

    :param engine: the engine, or the class of all
    """
    sqlalchemy.event.listen(
        engine, 'before_cursor_execute', _replace, retval=True
    )


def _replace(conn, cursor, statement, parameters, context, executemany):
    nul = conn.dialect.name not in _WITHOUT_NUL

    def is_odd(value):
        if isinstance(value, str):
            return not is_text(value, nul)
        return isinstance(value, (dict, list))

    # SQLAlchemy writes several rows as one, too
    several = isinstance(parameters, list)
    rows = parameters if several else [parameters]
    if any(map(is_odd, _values(rows))):
        if context.isinsert or context.isupdate:
            raise db_exception.DBDataError()
        rows = [_without(row, is_odd) for row in rows]
        parameters = rows if several else rows[0]
    return statement, parameters


def _values(rows):
    for row in rows:
        yield from row.values() if isinstance(row, dict) else row


def _without(row, is_odd):
    if isinstance(row, dict):
        return {
            name: None if is_odd(value) else value
            for name, value in row.items()
        }
    return tuple(None if is_odd(value) else value for value in row)
