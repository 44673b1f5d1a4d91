# SPDX-License-Identifier: Apache-2.0
"""The image's base: pulled, or made of the distribution's packages."""

import collections.abc
import dataclasses
import hashlib
import os
import pathlib
import select
import shutil
import subprocess

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.images import engine as engines

#: Seconds without a word after which a pull is given up.
SILENCE = 120

#: What is left out of a base of our own, as Debian's slim images do.
_EXCLUDED = (
    '/usr/share/doc/*',
    '/usr/share/info/*',
    '/usr/share/locale/*',
    '/usr/share/man/*',
)
_INCLUDED = ('/usr/share/doc/*/copyright',)

#: Debian's keys, which apt trusts on Debian only.
_KEYRING = pathlib.Path('/usr/share/keyrings/debian-archive-keyring.gpg')


@dataclasses.dataclass(frozen=True)
class Base:
    """A base image that the engine has.

    :param reference: what the build starts from
    :param name: what the label org.opencontainers.image.base.name says
    :param identity: the engine's ID of it
    """

    reference: str
    name: str
    identity: str

    @property
    def digest(self) -> str:
        """The digest that the reference is pinned to, or ''."""
        return self.reference.partition('@')[2]


def pull(engine: engines.Engine, reference: str) -> str | None:
    """Pull an image, as long as something is heard of it.

    :returns: None when it is there, else why not, in one line
    """
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        engine.command('pull', reference), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    output = process.stdout
    assert output is not None
    heard = b''
    try:
        with open(paths.LOGS / 'base-pull.log', 'wb', buffering=0) as log:
            while select.select([output], [], [], SILENCE)[0]:
                piece = os.read(output.fileno(), 65536)
                if not piece:
                    break
                log.write(piece)
                heard += piece
            else:
                return f'no progress for {SILENCE} s'
        if process.wait() == 0:
            return None
    finally:
        process.kill()
        process.wait()
        output.close()
    lines = heard.decode(errors='replace').strip().splitlines()
    return lines[-1] if lines else f'{engine.name} ended with an error'


def _bootstrap_command(
    image: pins.Image, target: pathlib.Path | str
) -> list[str]:
    suite, mirror = image.suite, image.mirror.rstrip('/')
    return [
        'mmdebstrap',
        '--variant=minbase',
        '--format=tar',
        *(f'--dpkgopt=path-exclude={path}' for path in _EXCLUDED),
        *(f'--dpkgopt=path-include={path}' for path in _INCLUDED),
        suite,
        str(target),
        f'deb {mirror} {suite} main',
        f'deb {mirror} {suite}-updates main',
        f'deb {mirror}-security {suite}-security main',
    ]


def recipe(image: pins.Image) -> str:
    """Name, in short, what a bootstrapped base is made of and how."""
    text = ' '.join(_bootstrap_command(image, ''))
    return f'{image.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}'


def bootstrap(
    image: pins.Image, epoch: int,
    require: collections.abc.Callable[[], object],
) -> pathlib.Path:
    """Make a root file system of the distribution's packages.

    It is kept in the cache and made once.

    :param image: suite and mirror
    :param epoch: date of what is made, in seconds since 1970
    :param require: installs mmdebstrap and Debian's keys where it may, or
        raises Failure
    :returns: a tar
    :raises Failure: if mmdebstrap is missing or fails
    """
    folder = paths.CACHE / 'base'
    archive = folder / f'{recipe(image)}.tar'
    if archive.exists():
        return archive
    if shutil.which('mmdebstrap') is None or not _KEYRING.exists():
        require()
    folder.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(f'{archive}.part')
    with console.step(f'Making a base image of Debian {image.suite}'):
        console.run(
            [*_bootstrap_command(image, partial), f'--keyring={_KEYRING}'],
            log='base-bootstrap',
            env=dict(os.environ, SOURCE_DATE_EPOCH=str(epoch)),
        )
        partial.rename(archive)
    return archive


def _found(engine: engines.Engine, reference: str, name: str) -> Base | None:
    image = engine.inspect(reference)
    return Base(reference, name, image.identity) if image else None


def _made(engine: engines.Engine, reference: str, name: str) -> Base:
    return Base(reference, name, engine.must_have(reference).identity)


def ensure(
    engine: engines.Engine, pinned: pins.Pins, wanted: str | None = None,
    require: collections.abc.Callable[[], object] = lambda: None,
) -> Base:
    """Make sure that the engine has the base image.

    :param wanted: reference of an image to take instead of the pinned one
    :param require: installs mmdebstrap and Debian's keys where it may, or
        raises Failure
    :raises Failure: when it can neither be pulled nor made
    """
    image = pinned.image
    reference = wanted or image.base
    found = _found(engine, reference, reference.partition('@')[0])
    if found:
        return found
    made = f'localhost/keystone-crdb-base:{recipe(image)}'
    name = f'{image.mirror} {image.suite}'
    if not wanted:
        found = _found(engine, made, name)
        if found:
            console.note(f'base image: {made}, made of {name}')
            return found
    with console.step(f'Pulling {reference}'):
        why = pull(engine, reference)
    if why is None:
        return _made(engine, reference, reference.partition('@')[0])
    if wanted:
        raise errors.Failure(
            f'the base image {wanted} can not be pulled: {why}',
            remedy='its log is build/logs/base-pull.log',
        )
    console.warn(
        f'the base image can not be pulled: {why}\n'
        f'         making one of the packages of {name} instead'
    )
    archive = bootstrap(image, pinned.source_date_epoch, require)
    engine.import_root(archive, made, pinned.source_date_epoch)
    return _made(engine, made, name)
