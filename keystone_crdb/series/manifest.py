# SPDX-License-Identifier: Apache-2.0
"""The list of applied patches that the image carries."""

import json

from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb import pins as pins_module
from keystone_crdb.series import header
from keystone_crdb.series import quilt

FILE = paths.BUILD / 'patches.json'


def entries(pins: pins_module.Pins) -> list[dict[str, str]]:
    """Return what is known of each patch, in the order of application."""
    return [
        {
            'project': project,
            'version': pins.local_version(project),
            'patch': patch.path.name,
            'sha256': download.sha256(patch.path),
            **{
                name.lower().replace('-', '_'): value
                for name, value in header.check(patch).items()
            },
        }
        for project in pins.sources
        for patch in quilt.load(project)
    ]


def write(pins: pins_module.Pins) -> None:
    """Write the list to build/patches.json."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(entries(pins), indent=2) + '\n')
