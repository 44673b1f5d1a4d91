# SPDX-License-Identifier: Apache-2.0
"""One number for what the patches do, by which results are told apart.

It covers the pins of the sources, the order of each series, the hunks of each
patch and the files of the overlay, of the line that is worked on. The prose of
a header is left out, since it does not run.
"""

import collections.abc
import functools
import hashlib
import io
import pathlib
import tarfile
import tomllib

from keystone_crdb import paths
from keystone_crdb.series import composition
from keystone_crdb.series import git

#: What the digest is of, as paths in the repository.
COVERED = ('overlay', 'patches', 'pins.toml')


def of_files(files: collections.abc.Mapping[str, bytes]) -> str:
    """Return the digest of a project's files.

    :param files: contents by their paths in the repository; those that the
        digest does not cover are passed over
    :returns: SHA-256, in hexadecimal
    """
    digest = hashlib.sha256()
    for path, content in sorted(_of_the_line(files).items()):
        folder, _, name = path.partition('/')
        if path == 'pins.toml':
            data = tomllib.loads(content.decode())
            if paths.LINE:
                data['sources'] = data['lines'][paths.LINE]['releases']
            content = repr(data['sources']).encode()
        elif folder == 'patches':
            content = _what_runs(name, content)
        elif folder != 'overlay' or path.endswith('/.gitkeep'):
            continue
        digest.update(path.encode() + b'\0')
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _of_the_line(
    files: collections.abc.Mapping[str, bytes]
) -> dict[str, bytes]:
    texts = {
        path: content.decode(errors='surrogateescape')
        for path, content in files.items()
    }
    # The first results are of commits from before there were lines.
    lines = tomllib.loads(texts['pins.toml']).get('lines', {})
    of = composition.layers(lines, paths.LINE)
    return {
        path: text.encode(errors='surrogateescape')
        for path, text in composition.compose(texts, of).items()
    }


def _what_runs(name: str, content: bytes) -> bytes:
    """Return the hunks of a patch, or the names in a series."""
    if name.endswith('/series'):
        rows = (row.partition(b'#')[0] for row in content.splitlines())
        return b'\n'.join(filter(None, map(bytes.strip, rows)))
    return content.partition(b'\n--- ')[2]


def of_checkout(root: pathlib.Path) -> str:
    """Return the digest of what is checked out, changed or not."""
    files = {}
    for name in COVERED:
        for path in [root / name, *(root / name).rglob('*')]:
            if path.is_file() and '__pycache__' not in path.parts:
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    return of_files(files)


@functools.cache
def of_commit(root: pathlib.Path, commit: str) -> str:
    """Return the digest of a commit of the project.

    :raises Failure: when git does not know the commit
    """
    packed = git.run(root, 'archive', '--format=tar', commit, *COVERED)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return of_files(
            {
                member.name: file.read()
                for member in archive
                if (file := archive.extractfile(member))
            }
        )
