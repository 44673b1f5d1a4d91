# SPDX-License-Identifier: Apache-2.0
"""Build all: the sources, the wheels and the image; then issue a token.

What is there already is not made again. The database of the proof is the
first that can be had; see ./build.sh run --help.
"""

import argparse

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import process
from keystone_crdb.images import image
from keystone_crdb.keystone import container
from keystone_crdb.keystone import smoke
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    image.add_arguments(parser)
    databases.add_empty_arguments(parser)
    parser.add_argument(
        '--port',
        type=int,
        default=0,
        help='for Keystone to listen on while it is proved (default: a free '
        'one)',
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb."""
    port = process.free_port(args.port)
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine, args.base_image, args.refresh)
    with databases.empty(args) as (description, url):
        console.say(description)
        proof = smoke.prove(
            container.Keystone(
                engine, built.reference, {'KEYSTONE_DATABASE_URL': url},
                port=port, log='keystone',
            )
        )
    for line in summary(pins.load(), built, description, proof):
        console.say(line)


def summary(
    pinned: pins.Pins, built: image.Built, description: str, proof: smoke.Proof
) -> list[str]:
    """Say what was built from what, and what to do with it.

    :param description: the database of the proof, for people
    :returns: lines
    """
    lines = ['', 'Built']
    for project, source in pinned.sources.items():
        patches = quilt.names(paths.PATCHES / project)
        lines.append(
            f'    {project} {pinned.local_version(project)}: '
            f'{source.sdist}, {len(patches)} patches, '
            f'{len(overlay.files(project))} overlay files'
        )
    lines.append(
        f'    {built.reference}: {built.size / 1e6:.0f} MB, '
        f'on {built.base.name}'
    )
    lines += ['', 'Proved', f'    {description}']
    lines += [f'    {fact}' for fact in proof.facts]
    lines += ['', 'Time']
    lines += [
        f'    {seconds:7.1f} s  {title}'
        for title, seconds in console.finished_steps
    ]
    lines += [
        '',
        'Next',
        '    ./build.sh run     serve on a database, until Ctrl-C',
        "    ./build.sh test    run all checks that gate a change",
        f'    {paths.ROOT / "docs" / "run.rst"}: the settings of the image',
    ]
    return lines
