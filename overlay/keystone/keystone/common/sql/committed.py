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

"""Whether the request that is being answered has committed something.

A request may take several transactions. When a later one fails, what the
earlier ones wrote stays, and the client must not be told that it may simply
send the request again: the project that it deletes is gone, say, but not what
belongs to it.

This is noted in :data:`flask.g`, which each request has one of, whatever
thread serves it. It is not there yet when AuthContextMiddleware validates the
token: the middleware writes nothing that another attempt would meet.
"""

import contextlib

import flask
import sqlalchemy
from sqlalchemy import orm

_WROTE = 'keystone_wrote'


# SQLAlchemy calls these only when there is something to write, so they cost
# a transaction that only reads nothing.
@sqlalchemy.event.listens_for(orm.Session, 'after_flush')
def _note_flush(session, flush_context):
    if (
        session.new
        or session.deleted
        or any(map(session.is_modified, session.dirty))
    ):
        session.info[_WROTE] = True


@sqlalchemy.event.listens_for(orm.Session, 'after_bulk_update')
@sqlalchemy.event.listens_for(orm.Session, 'after_bulk_delete')
def _note_bulk(context):
    if context.result.rowcount:
        context.session.info[_WROTE] = True


def note(session):
    """Note that a transaction has been committed, or may have been.

    One that wrote nothing doesn't count.

    :param session: of the transaction
    :type session: sqlalchemy.orm.Session
    """
    if flask.has_app_context() and session.info.get(_WROTE):
        flask.g.committed = True


@contextlib.contextmanager
def repeatable(session):
    """Don't count what is written inside.

    That is for what does no harm when the request is sent again, and tells
    the client nothing.

    :param session: of the transaction
    :type session: sqlalchemy.orm.Session
    """
    session.flush()
    wrote = session.info.get(_WROTE, False)
    yield
    session.info[_WROTE] = wrote


def in_request():
    """Tell whether the request has committed something.

    :rtype: bool
    """
    return flask.has_app_context() and flask.g.get('committed', False)
