# SPDX-License-Identifier: Apache-2.0
"""A process that loads Keystone as those that serve do, and ends.

It finds what the types of options do not tell, such as a driver that is not
there or a log file in a folder that is not.
"""

import errno
import os
import signal
import sys
import typing

from keystone_crdb_image import configuration

#: Where the keys of tokens are looked for: any folder that is not empty will
#: do, as keys are looked at apart, and may not be there yet.
_FOLDER = {
    'OS_FERNET_RECEIPTS__KEY_REPOSITORY': '/',
    'OS_FERNET_TOKENS__KEY_REPOSITORY': '/',
}


def _why(error: BaseException, environ: dict[str, str]) -> str:
    text = ' '.join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename:
        text = f'{error.filename}: {error.strerror}'
        if option := configuration.that_names(error.filename, environ):
            text = f'{option} leads to {text}'
    return text


def _load() -> None:
    """Load Keystone and its policies, which the first request would load."""
    from keystone.common.rbac_enforcer import policy
    import keystone.conf
    from keystone.server import wsgi

    wsgi.initialize_public_application()
    policy.get_enforcer().load_rules()
    # oslo.policy takes the defaults if there is no such file.
    conf = keystone.conf.CONF
    place = conf.get_location('policy_file', 'oslo_policy').location
    file = conf.oslo_policy.policy_file
    if place.is_user_controlled and not conf.find_file(file):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)


def _child(answer: int, environ: dict[str, str]) -> typing.NoReturn:
    """Load Keystone and end this process, writing what was wrong."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        # Keystone would take the words of this command line for its own.
        sys.argv[1:] = []
        os.environ.clear()
        os.environ.update(environ | _FOLDER)
        _load()
        os._exit(0)
    except BaseException as error:
        os.write(answer, _why(error, environ).encode())
    finally:
        os._exit(1)


def problem(environ: dict[str, str]) -> str | None:
    """Load Keystone once.

    :param environ: of the processes that serve
    :returns: in one line what they would end with, or None
    """
    # A second of work, which is not done again by who needs it later.
    import keystone.server.wsgi  # noqa: F401

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(writer, environ)
    os.close(writer)
    with os.fdopen(reader) as answer:
        why = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return None
    return f'Keystone can not be loaded: {why or f"it ended with {code}"}'
