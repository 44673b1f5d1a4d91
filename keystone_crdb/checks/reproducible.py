# SPDX-License-Identifier: Apache-2.0
"""Build the image twice, without any cache, and compare the digests.

Both builds take the wheels of build/wheelhouse and build/wheels, the same
base, and the Debian packages that the mirror has at the moment. If the images
differ, the files that do are named. Only podman and buildah can give all files
a date. It takes two builds' time, and is not a part of CI.
"""

import argparse
import collections.abc
import hashlib
import json
import pathlib
import tarfile
import tempfile
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb.images import engine as engines
from keystone_crdb.images import image

#: Names of files that are printed, at the most.
_MOST = 20

#: What a layer has of a file, by the layer's number and the file's path.
Contents = dict[tuple[int, str], tuple[object, ...]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    image.add_engine_arguments(parser)


def _entries(
    archive: typing.IO[bytes],
) -> collections.abc.Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the path of each file of a layer, and what it is."""
    with tarfile.open(fileobj=archive, mode='r|*') as layer:
        for member in layer:
            content = layer.extractfile(member) if member.isfile() else None
            digest = (
                hashlib.file_digest(typing.cast(typing.Any, content), 'sha256')
                if content else None
            )
            yield member.name, (
                member.type, member.mode, member.uid, member.gid,
                member.mtime, member.linkname,
                digest.hexdigest() if digest else '',
            )


def contents(archive: pathlib.Path) -> Contents:
    """Return what the layers of a saved image hold.

    :param archive: what `docker save` or `podman save` has written
    :returns: type, mode, owner, group, date, target and digest of each file,
        by the number of its layer and its path
    """
    found = {}
    with tarfile.open(archive) as outer:

        def member(name: str) -> typing.IO[bytes]:
            opened = outer.extractfile(name)
            assert opened is not None
            return opened

        (manifest,) = json.load(member('manifest.json'))
        for number, name in enumerate(manifest['Layers']):
            for path, entry in _entries(member(name)):
                found[number, path] = entry
    return found


def differences(
    first: collections.abc.Mapping[tuple[int, str], object],
    second: collections.abc.Mapping[tuple[int, str], object],
) -> list[str]:
    """Name the files that two images do not have alike."""
    return [
        f'layer {number + 1}: /{path}'
        for number, path in sorted({*first, *second})
        if first.get((number, path)) != second.get((number, path))
    ]


def _saved(
    engine: engines.Engine, identity: str, folder: str
) -> Contents:
    archive = pathlib.Path(folder, 'image.tar')
    engine.call('save', '--output', str(archive), identity)
    found = contents(archive)
    archive.unlink()
    return found


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: if the engine cannot date files, or naming files that
        differ
    """
    engine = image.find_engine(args.engine, args.engine_option)
    if engine.name == 'docker':
        raise errors.Failure(
            "docker's builder gives each file the time of the build",
            remedy='name another engine: --engine podman',
        )
    built = image.make(engine)
    names = [f'{image.NAME}-{word}' for word in ('first', 'second')]
    try:
        return _compare(engine, built, names)
    finally:
        for name in names:
            engine.untag(name)


def _compare(
    engine: engines.Engine, built: image.Built, names: list[str]
) -> bool:
    first, second = (image.rebuild(engine, built, name) for name in names)
    console.say(f'first  {first}\nsecond {second}')
    if first == second:
        return True
    details = ''
    if engine.name == 'podman':
        with tempfile.TemporaryDirectory() as folder:
            found = differences(
                *(_saved(engine, each, folder) for each in (first, second))
            )
        details = '\n'.join(found[:_MOST]) or 'only the configuration differs'
    raise errors.Failure('the two images differ', details=details)
