# SPDX-License-Identifier: Apache-2.0
"""Images without the names of the containers that they were built in.

podman and buildah write the ID and the host name of the last of these into an
image of Docker's format, and into its history the IDs of the images of all
steps before, which have the same. These are made up for each build, so no two
builds had the same digest.
"""

import collections.abc
import hashlib
import json
import pathlib
import tempfile
import typing

from keystone_crdb import paths
from keystone_crdb.images import engine as engines


def _forget(configuration: dict[str, typing.Any]) -> None:
    """Remove what is made up from the configuration of an image."""
    for name in ('container', 'parent'):
        configuration.pop(name, None)
    for name in ('config', 'container_config'):
        configuration[name]['Hostname'] = ''
    for step in configuration['history']:
        if step.get('comment', '').startswith('FROM '):
            del step['comment']


def rewrite(folder: pathlib.Path) -> None:
    """Rewrite the configuration of an image, and what its manifest says of it.

    :param folder: of an image, as the transport `dir` of the engines has it
    """
    manifest = json.loads((folder / 'manifest.json').read_text())
    named = manifest['config']
    old = folder / named['digest'].removeprefix('sha256:')
    configuration = json.loads(old.read_text())
    old.unlink()
    _forget(configuration)
    content = json.dumps(configuration).encode()
    digest = hashlib.sha256(content).hexdigest()
    (folder / digest).write_bytes(content)
    named |= {'digest': f'sha256:{digest}', 'size': len(content)}
    (folder / 'manifest.json').write_text(json.dumps(manifest))


def replace(
    engine: engines.Engine, references: collections.abc.Sequence[str]
) -> None:
    """Let names be those of the same image without what is made up.

    :param engine: podman or buildah
    :param references: all names of an image that was built
    :raises Failure: if the engine does not do its part
    """
    with tempfile.TemporaryDirectory(dir=paths.BUILD) as folder:
        engine.call('push', '--quiet', references[0], f'dir:{folder}')
        rewrite(pathlib.Path(folder))
        identity = engine.call('pull', '--quiet', f'dir:{folder}').split()[-1]
    for reference in references:
        engine.call('tag', identity, reference)
