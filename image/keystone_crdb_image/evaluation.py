# SPDX-License-Identifier: Apache-2.0
"""Running without a database: on SQLite, to look at Keystone."""

import os
import secrets

from keystone_crdb_image import errors
from keystone_crdb_image import files
from keystone_crdb_image import log
from keystone_crdb_image import settings as settings_module


def prepare(settings: settings_module.Settings) -> None:
    """Say what this is, and give the admin a password.

    A password that was made up lies in a file of the volume, as a log is no
    place for it.

    :raises Problem: when the volume can't be written to
    """
    state = settings_module.STATE
    if not os.access(state, os.W_OK):
        raise errors.Problem(
            'there is no KEYSTONE_DATABASE_URL, and no place for an '
            f'evaluation on SQLite: user {os.geteuid()} can not write to '
            f'{state}'
        )
    log.say(
        'there is no KEYSTONE_DATABASE_URL: this is an evaluation on SQLite '
        f'in {state}, not for production'
    )
    if 'OS_BOOTSTRAP_PASSWORD' in settings.bootstrap:
        return
    file = state / 'admin-password'
    try:
        files.create(file, secrets.token_urlsafe(18).encode())
    except OSError as error:
        raise errors.Problem(
            f'{file} can not be made: {error.strerror}'
        ) from error
    settings.bootstrap['OS_BOOTSTRAP_PASSWORD'] = file.read_text()
    log.say(
        f"the password of {settings.bootstrap['OS_BOOTSTRAP_USERNAME']} is "
        f'in {file}: docker exec CONTAINER cat {file}'
    )
