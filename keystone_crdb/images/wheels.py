# SPDX-License-Identifier: Apache-2.0
"""The wheels of the patched trees, in build/wheels."""

import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import sources
from keystone_crdb.series import tree

WHEELS = paths.BUILD / 'wheels'


def make() -> dict[str, pathlib.Path]:
    """Build the wheels that are not up to date.

    :returns: the wheels by project
    :raises Failure: when a build fails, or a file of the package is not in
        its wheel
    """
    trees = sources.make()
    pinned = pins.load()
    made = {}
    for project, folder in trees.items():
        with console.step(f'Wheel of {project}'):
            made[project] = make_one(pinned, project, folder, WHEELS)
    return made


def make_one(
    pinned: pins.Pins, project: str, folder: pathlib.Path, wheels: pathlib.Path
) -> pathlib.Path:
    """Build one wheel, unless it is up to date.

    :raises Failure: as build() does
    """
    inputs = _inputs(pinned, project, folder)
    record = wheels / f'.{project}.json'
    try:
        recorded = json.loads(record.read_text())
        wheel = wheels / recorded['wheel']
        if recorded['inputs'] == inputs and (
            download.sha256(wheel) == recorded['sha256']
        ):
            console.note(f'{wheel.name}: up to date')
            return wheel
        wheel.unlink()
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        pass
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        built = build(pinned, project, folder, pathlib.Path(scratch))
        wheel = pathlib.Path(shutil.move(built, wheels / built.name))
    made = {
        'inputs': inputs, 'wheel': wheel.name,
        'sha256': download.sha256(wheel),
    }
    record.write_text(json.dumps(made))
    console.note(f'{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB')
    return wheel


def _inputs(pinned: pins.Pins, project: str, folder: pathlib.Path) -> str:
    digest = hashlib.sha256()
    digest.update(pinned.local_version(project).encode())
    digest.update(str(pinned.source_date_epoch).encode())
    digest.update((paths.REQUIREMENTS / 'tools.txt').read_bytes())
    for path in tree.tracked_files(folder):
        digest.update(path.encode() + (folder / path).read_bytes())
    return digest.hexdigest()


def build(
    pinned: pins.Pins, project: str, folder: pathlib.Path,
    scratch: pathlib.Path,
) -> pathlib.Path:
    """Build one wheel in a scratch folder, and check its content.

    :param scratch: an empty folder
    :raises Failure: when the build fails, or a file of the package is not
        in it
    """
    copy = scratch / 'tree'
    _copy(folder, copy)
    _list_sources(copy, project)
    env = dict(
        os.environ,
        PBR_VERSION=pinned.local_version(project),
        SOURCE_DATE_EPOCH=str(pinned.source_date_epoch),
        PYTHONHASHSEED='0',
        # NOTE: pbr asks git for the files and the change log of whatever
        # checkout surrounds it; here there is none to find.
        GIT_CEILING_DIRECTORIES=str(scratch),
    )
    previous = os.umask(0o022)
    try:
        console.run(
            [
                sys.executable, '-m', 'build', '--wheel', '--no-isolation',
                '--outdir', scratch / 'dist', copy,
            ],
            log=f'wheel-{project}', env=env,
        )
    finally:
        os.umask(previous)
    (wheel,) = (scratch / 'dist').glob('*.whl')
    check_content(wheel, tree.tracked_files(folder), project.replace('.', '_'))
    return wheel


def _copy(folder: pathlib.Path, copy: pathlib.Path) -> None:
    for path in tree.tracked_files(folder):
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, target)
        executable = os.access(folder / path, os.X_OK)
        target.chmod(0o755 if executable else 0o644)


def _list_sources(copy: pathlib.Path, project: str) -> None:
    """Write SOURCES.txt, where pbr looks for the files without a git.

    The one in the sdist does not know the overlay.
    """
    listing = copy / f'{project}.egg-info' / 'SOURCES.txt'
    listing.parent.mkdir()
    files = sorted(path for path in copy.rglob('*') if path.is_file())
    listing.write_text(
        ''.join(f'{path.relative_to(copy)}\n' for path in files)
    )


def check_content(
    wheel: pathlib.Path, tree_files: list[str], package: str
) -> None:
    """Check that all of a tree's package is in its wheel.

    :param tree_files: the tree's files, relative to it
    :param package: the folder that is the Python package
    :raises Failure: naming a file that is not
    """
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    absent = [
        path
        for path in tree_files
        if path.startswith(f'{package}/') and path not in packed
    ]
    if absent:
        raise errors.Failure(
            f'{wheel.name} lacks {len(absent)} files of the patched tree',
            details='\n'.join(absent[:10]),
        )
