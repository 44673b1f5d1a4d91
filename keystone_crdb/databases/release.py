# SPDX-License-Identifier: Apache-2.0
"""A release of CockroachDB, taken from its maker's container images.

One node runs in the image. Several nodes, which a check may kill, are
processes of the program that is copied out of the image.
"""

import contextlib
import pathlib
import shutil

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.databases import providers
from keystone_crdb.images import engine

#: Where the image has its program and the libraries that go with it.
_INSIDE = '/cockroach'


def reference(release: str) -> str:
    """Return the image of a release's newest patch.

    :param release: such as '26.2', of those in pins.toml
    """
    repository = pins.load().cockroachdb.image.rpartition(':')[0]
    return f'{repository}:latest-v{release}'


def settings(release: str, nodes: int = 1) -> dict[str, str]:
    """Return the environment that has every check take a release.

    :param nodes: 1, or as many as databases.cluster runs
    :raises Failure: when the image can't be had
    """
    image = reference(release)
    if nodes == 1:
        return {
            providers.PROVIDER_SETTING: 'container',
            providers.IMAGE_SETTING: image,
        }
    program = _copy_program(image, paths.BUILD / 'cockroach' / release)
    return {
        providers.PROVIDER_SETTING: 'binary',
        providers.NODES_SETTING: str(nodes),
        'COCKROACH_BIN': str(program),
    }


def _copy_program(image: str, folder: pathlib.Path) -> pathlib.Path:
    """Copy the program out of an image."""
    found = providers.find_engine(image)
    name = engine.unique_name()
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        found.call('create', '--name', name, image)
        stack.callback(found.call, 'rm', '--force', name)
        found.call('cp', f'{name}:{_INSIDE}', str(folder))
    return folder / 'cockroach'
