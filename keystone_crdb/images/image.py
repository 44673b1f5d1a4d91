# SPDX-License-Identifier: Apache-2.0
"""The container image: what it is built of, and the build itself."""

import argparse
import collections.abc
import dataclasses
import datetime
import hashlib
import pathlib
import shutil

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.images import anonymous
from keystone_crdb.images import base
from keystone_crdb.images import engine
from keystone_crdb.images import wheelhouse
from keystone_crdb.images import wheels
from keystone_crdb.series import git

NAME = 'keystone-crdb'

#: What its test stage installs besides.
TEST_LOCK = 'keystone-test.txt'
TEST_WHEELHOUSE = paths.BUILD / 'test-wheelhouse'

#: The label that holds what an image was built of.
LABEL = 'keystone-crdb.inputs'

#: The label that holds the day of its Debian packages.
PACKAGES_LABEL = 'keystone-crdb.packages'

#: What the Dockerfile copies that each line shares with the newest one.
SHARED = (
    'Dockerfile', '.dockerignore', 'image', 'keystone_crdb/__init__.py',
    'keystone_crdb/keystone/__init__.py', 'keystone_crdb/keystone/worker.py',
)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose an engine."""
    parser.add_argument(
        '--engine',
        metavar='NAME',
        help='docker, podman or buildah; also by KEYSTONE_CRDB_ENGINE '
        '(default: the first that works)',
    )
    parser.add_argument(
        '--engine-option',
        action='append',
        default=[],
        metavar='WORD',
        help="a word that follows the engine's name in every call; may be "
        'given several times, as --engine-option=--runtime '
        '--engine-option=runc',
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    add_engine_arguments(parser)
    parser.add_argument(
        '--base-image', metavar='REF',
        help='build on this image instead of the one that pins.toml names',
    )
    parser.add_argument(
        '--refresh', action='store_true',
        help="fetch Debian's packages anew, with their security fixes, "
        'instead of keeping those of the day that the image names',
    )


def find_engine(
    wanted: str | None = None, options: collections.abc.Iterable[str] = ()
) -> engine.Engine:
    """Find a container engine; root gets one installed."""
    found = engine.find(
        wanted, options, install=lambda: system.require('image-engine')
    )
    console.note(f'container engine: {found}')
    return found


@dataclasses.dataclass(frozen=True)
class Built:
    """The image, and what is known of it.

    :param size: bytes, uncompressed, as the engine reports them
    :param base: what it is built on
    :param packages: day of its Debian packages, such as 2026-11-29
    :param inputs: digest of everything that it is built of
    """

    reference: str
    size: int
    base: base.Base
    packages: str
    inputs: str


def version(pinned: pins.Pins) -> str:
    """Return the image's version, which is also its tag.

    A tag may hold no "+".
    """
    return pinned.local_version('keystone').replace('+', '-')


def tags(pinned: pins.Pins) -> list[str]:
    """Return the references of the image: of its version, and of its line."""
    return [
        f'{NAME}:{version(pinned)}', f'{NAME}:{paths.LINE or "latest"}',
    ]


def _digest(files: collections.abc.Iterable[pathlib.Path]) -> str:
    """Return a digest of files and their names."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(paths.ROOT)).encode() + b'\0')
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        path
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    )


def packages(
    with_engine: engine.Engine, reference: str, refresh: bool
) -> str:
    """Return the day whose Debian packages an image is to have.

    :param reference: of the image that the engine may have already
    :param refresh: whether to fetch packages anew
    :returns: the day that the image names, or today, as YYYY-MM-DD in UTC
    """
    found = None if refresh else with_engine.inspect(reference)
    named = found.labels.get(PACKAGES_LABEL) if found else None
    return named or f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d}'


def _inputs(pinned: pins.Pins, built_on: base.Base, day: str) -> str:
    """Return a digest of everything that the image is built of."""
    files = _digest([
        paths.ROOT / 'Dockerfile',
        paths.ROOT / '.dockerignore',
        paths.BUILD / 'patches.json',
        *(paths.REQUIREMENTS / name for name in wheelhouse.IMAGE_LOCKS),
        *sorted((paths.BUILD / 'wheels').glob('*.whl')),
        *_files(paths.ROOT / 'image'),
    ])
    text = f'{built_on.identity} {day} {pinned} {files}'
    return hashlib.sha256(text.encode()).hexdigest()


def _test_inputs(built: Built) -> str:
    """Return a digest of everything that the test stage is built of."""
    tree = paths.SOURCES / 'keystone'
    files = _digest([
        paths.REQUIREMENTS / TEST_LOCK,
        paths.ROOT / 'keystone_crdb' / 'keystone' / 'worker.py',
        *(
            path
            for folder in ('doc/source/getting-started', 'etc', 'examples')
            for path in _files(tree / folder)
        ),
    ])
    return f'{built.inputs}-{files}'


def _revision() -> str:
    """Return the commit that is checked out, or '' where git can't tell."""
    words = ('describe', '--always', '--abbrev=40', '--dirty')
    try:
        return git.run(paths.ROOT, *words).decode().strip()
    except errors.Failure:
        return ''


def make(
    with_engine: engine.Engine | None = None, base_image: str | None = None,
    refresh: bool = False,
) -> Built:
    """Build the image, if anything that it is built of changed.

    :param base_image: reference of a base image, or None for the pinned one
    :param refresh: whether to fetch today's Debian packages
    :raises Failure: naming the step that failed
    """
    pinned = pins.load()
    with_engine = with_engine or find_engine()
    wheels.make()
    _fill(
        'dependencies', paths.WHEELHOUSE, wheelhouse.IMAGE_LOCKS,
        pinned.image.python,
    )
    built_on = base.ensure(
        with_engine, pinned, base_image, lambda: system.require('image')
    )
    reference = tags(pinned)[0]
    day = packages(with_engine, reference, refresh)
    built = Built(
        reference, 0, built_on, day, _inputs(pinned, built_on, day)
    )
    found = _build(
        with_engine, pinned, built, tags(pinned), 'keystone',
        built.inputs, built_on.reference,
    )
    return dataclasses.replace(built, size=found.size)


def rebuild(
    with_engine: engine.Engine, built: Built, reference: str
) -> str:
    """Build the image again, with no layer of any earlier build.

    :param with_engine: podman or buildah
    :param reference: what the new one is called
    :returns: its ID
    """
    pinned = pins.load()
    command = _build_command(
        with_engine, pinned, built, [reference], 'keystone', built.inputs,
        cache=False,
    )
    with console.step(f'Image {reference}'):
        console.run(command, log='image-again')
        anonymous.replace(with_engine, [reference])
    return with_engine.must_have(reference).identity


def make_test(with_engine: engine.Engine) -> str:
    """Build the image and its test stage, if anything of it changed.

    :returns: reference of the test stage
    :raises Failure: naming the step that failed
    """
    pinned = pins.load()
    built = make(with_engine)
    _fill('tests', TEST_WHEELHOUSE, (TEST_LOCK,), pinned.image.python)
    reference = f'{NAME}-test:{version(pinned)}'
    _build(
        with_engine, pinned, built, [reference], 'test', _test_inputs(built),
        built.reference,
    )
    return reference


def context() -> pathlib.Path:
    """Return the folder that an image is built from.

    It is the checkout; for an older line, what was made for it, which gets a
    copy of what the line shares.
    """
    for name in SHARED if paths.LINE else ():
        source, copy = paths.ROOT / name, paths.MADE / name
        if source.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    return paths.MADE


def _build_command(
    with_engine: engine.Engine, pinned: pins.Pins, built: Built,
    tagged: list[str], stage: str, inputs: str, cache: bool = True,
) -> list[str]:
    """Return the call that builds a stage; see engine.build_command()."""
    arguments = {
        'BASE': built.base.reference,
        'BASE_NAME': built.base.name,
        'BASE_DIGEST': built.base.digest,
        'INPUTS': built.inputs,
        'PACKAGES': built.packages,
        'SHIPPED': built.reference,
        'TEST_INPUTS': inputs,
        'REVISION': _revision(),
        'SOURCE_DATE_EPOCH': pinned.source_date_epoch,
        'VERSION': version(pinned),
    }
    return with_engine.build_command(
        context(), tagged, arguments, target=stage,
        epoch=pinned.source_date_epoch, cache=cache,
    )


def _build(
    with_engine: engine.Engine, pinned: pins.Pins, built: Built,
    tagged: list[str], stage: str, inputs: str, below: str,
) -> engine.Image:
    """Build a stage, unless the engine has it of these inputs.

    :param below: the reference of what it is built on, for people
    """
    command = _build_command(with_engine, pinned, built, tagged, stage, inputs)
    with console.step(f'Image {tagged[0]}'):
        found = with_engine.inspect(tagged[0])
        if found and found.labels.get(LABEL) == inputs:
            console.note('up to date')
        else:
            console.run(command, log=f'image-{stage}')
            if stage == 'keystone' and with_engine.name != 'docker':
                anonymous.replace(with_engine, tagged)
            found = with_engine.must_have(tagged[0])
        console.note(f'{found.size / 1e6:.0f} MB on {below}')
    return found


def _fill(
    title: str, folder: pathlib.Path, locks: tuple[str, ...], python: str
) -> None:
    with console.step(f'Wheelhouse of the {title}'):
        if not wheelhouse.ensure(folder, locks, python):
            console.note('up to date')
