# SPDX-License-Identifier: Apache-2.0
"""A process with Keystone in it, for drill.py.

It reads a JSON object from its standard input. If that names a user and a
project, it issues a token of them; otherwise it validates the token. What it
writes is a JSON object, with `problem` if Keystone refuses.
"""

import json
import sys
import typing

from keystone_crdb_image import handover


def _issue(
    providers: typing.Any, given: dict[str, typing.Any]
) -> dict[str, typing.Any]:
    """Issue a token that the user would get for a password."""
    user = providers.identity_api.get_user_by_name(given['user'], 'default')
    project = providers.resource_api.get_project_by_name(
        given['project'], 'default'
    )
    token = providers.token_provider_api.issue_token(
        user['id'], ['password'], project_id=project['id']
    )
    return {'token': token.id}


def _validate(
    providers: typing.Any, given: dict[str, typing.Any]
) -> dict[str, typing.Any]:
    token = providers.token_provider_api.validate_token(given['token'])
    return {
        'user': token.user['name'],
        'roles': ', '.join(sorted(role['name'] for role in token.roles)),
    }


def main() -> None:
    handover.take()
    from keystone import exception
    from keystone import server
    from keystone.common import provider_api
    from keystone.server.flask import core

    server.configure(config_files=core._get_config_files())
    server.setup_backends()
    given = json.load(sys.stdin)
    work = _issue if 'user' in given else _validate
    try:
        answer = work(provider_api.ProviderAPIs, given)
    except exception.Error as error:
        answer = {'problem': str(error)}
    print(json.dumps(answer))


if __name__ == '__main__':
    main()
