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

"""What is wrong with a request because of a value in it.

A value that the database refuses is the client's mistake: it is answered with
400 where it came in the body, with 404 where it is an id of the path, and with
401 where a client wants to be authenticated, who must not learn from it who
is there.
"""

import json
import re

import flask
from flask.json import provider
import sqlalchemy

from keystone.common.sql import odd_values
from keystone import exception
from keystone.i18n import _
from keystone.server.flask import common

# What is stored in an object's extra attributes is copied and rendered by
# recursive functions, again and again.
MAX_DEPTH = 100

_AUTHENTICATES = re.compile(
    r'/v3/(auth/tokens|auth/OS-FEDERATION/.*|ec2tokens|s3tokens'
    r'|OS-FEDERATION/identity_providers/[^/]+/protocols/[^/]+/auth'
    r'|OS-OAUTH1/(request|access)_token|OS-OAUTH2/token'
    r'|users/[^/]+/password)'
)
# How databases refuse NULL in a column that has to have a value
_NULL = re.compile(
    'NOT NULL constraint failed|not-null constraint|cannot be null'
)
# How JSON, and UTF-8 that is not quite right, write half of a surrogate pair
_SURROGATE = re.compile(rb'\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]')


def _refuse_constant(name):
    raise ValueError(f'{name} is not JSON')


def _finite(text):
    number = float(text)
    if number in (float('inf'), float('-inf')):
        raise ValueError('a number is out of range')
    return number


def _short(text):
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError('a number is out of range')
    return number


def _depth(value):
    """Return how deep a value is nested, which json has decoded."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            each
            for container in level
            if isinstance(container, (dict, list))
            for each in (
                container.values()
                if isinstance(container, dict)
                else container
            )
        ]
    return depth


class JSONProvider(provider.DefaultJSONProvider):
    """Flask's JSON, without what can't be answered as JSON again."""

    def loads(self, s, **kwargs):
        kwargs.setdefault('parse_constant', _refuse_constant)
        kwargs.setdefault('parse_float', _finite)
        # The cache has no larger numbers
        kwargs.setdefault('parse_int', _short)
        try:
            value = super().loads(s, **kwargs)
        except RecursionError as e:
            raise ValueError('nested too deeply') from e
        if _depth(value) > MAX_DEPTH:
            raise ValueError('nested too deeply')
        return value


def refuse_surrogates():
    """Refuse a body with a lone surrogate, before each request."""
    if not _SURROGATE.search(flask.request.get_data()):
        return
    body = flask.request.get_json(force=True, silent=True)
    if not odd_values.is_text(json.dumps(body, ensure_ascii=False), nul=True):
        common.set_unenforced_ok()
        raise refused()


def is_null(error):
    """Tell whether a database refused NULL in a column that has a value.

    :param error: an exception of oslo.db or SQLAlchemy
    :rtype: bool
    """
    cause = getattr(error, 'inner_exception', error)
    return isinstance(cause, sqlalchemy.exc.IntegrityError) and bool(
        _NULL.search(str(cause))
    )


def refused():
    """Return the exception that answers a value which was refused.

    :rtype: keystone.exception.Error
    """
    if _AUTHENTICATES.fullmatch(flask.request.path) and (
        flask.request.method in ('GET', 'POST')
    ):
        return exception.Unauthorized()
    ids = (flask.request.view_args or {}).values()
    if not all(map(odd_values.is_text, ids)):
        return exception.NotFound(target=flask.request.path)
    return exception.ValidationError(
        message=_('A value in the request is one that cannot be stored.')
    )
