# SPDX-License-Identifier: Apache-2.0
"""Build the container image.

It is made of the wheels in build/wheels, their locked dependencies in
build/wheelhouse and a Debian base image. docker, podman and buildah will do;
the first one that works is taken. Where the pinned base can't be pulled, one
is made of Debian's packages with mmdebstrap. A second run does nothing.
"""

import argparse

from keystone_crdb import console
from keystone_crdb.images import image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    image.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run this verb."""
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine, args.base_image, args.refresh)
    console.say(f'{built.reference}: {built.size / 1e6:.0f} MB')
