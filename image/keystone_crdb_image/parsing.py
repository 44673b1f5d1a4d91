# SPDX-License-Identifier: Apache-2.0
"""Keystone's configuration, read from an environment and keystone.conf."""

import collections.abc
import contextlib
import os

from oslo_config import cfg
from oslo_config import iniparser

from keystone_crdb_image import errors


def _files(environ: dict[str, str]) -> list[str] | None:
    """Return the files that Keystone's variables name, as it reads them."""
    folder = environ.get('OS_KEYSTONE_CONFIG_DIR', '').strip()
    text = environ.get('OS_KEYSTONE_CONFIG_FILES', '')
    files = [name.strip() for name in text.split(';') if name.strip()]
    if folder:
        files = [os.path.join(folder, n) for n in files or ['keystone.conf']]
    return files or None


def _reason(error: Exception) -> str:
    """Say why a file can't be read, without quoting a line of it."""
    if isinstance(error, UnicodeDecodeError):
        return 'it is not UTF-8 text'
    inner = error.__context__
    if isinstance(inner, iniparser.ParseError):
        return f'line {inner.lineno}: {inner.msg}'
    return getattr(error, 'strerror', None) or str(error)


@contextlib.contextmanager
def environment(environ: dict[str, str]) -> collections.abc.Iterator[None]:
    """Let os.environ be another one for a while."""
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def parse(conf: cfg.ConfigOpts, environ: dict[str, str]) -> None:
    """Parse keystone.conf, as a process that serves does.

    :param conf: has its options, which are looked up in os.environ
    :raises Problem: when a file can't be read
    """
    try:
        conf(
            [], project='keystone', prog='keystone',
            default_config_files=_files(environ),
        )
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        raise errors.Problem(f'keystone.conf: {_reason(error)}') from error
