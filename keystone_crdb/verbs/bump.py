# SPDX-License-Identifier: Apache-2.0
"""Raise a pin, and take the patches along.

Fetches PROJECT's release VERSION, rebases the series onto it in a scratch
repository in build/bump, with three-way merges where the context changed,
refreshes it, and renews pins.toml and the locks. Patches that upstream has
are dropped. At a conflict it stops and says what to do; the same command goes
on from there, and --abort throws the scratch repository away. Nothing outside
build/ changes before all of the series is rebased.

It leaves the draft of a release note, and a checklist of what is left to do.
"""

import argparse
import shutil

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import locks
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import bump


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument('project', metavar='PROJECT', help='in pins.toml')
    parser.add_argument('version', metavar='VERSION', help='to go to')
    parser.add_argument(
        '--abort', action='store_true', help='end a bump that is under way'
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: at a conflict, with what to do
    """
    project, version = args.project, args.version
    pinned = pins.load()
    old = pinned.source(project)
    scratch = paths.BUILD / 'bump' / project
    if args.abort:
        shutil.rmtree(scratch, ignore_errors=True)
        console.say(f'nothing of the bump is left in {scratch}')
        return
    system.require('source')
    system.require('bump')
    new = bump.under_way(scratch, project, version)
    if new is None:
        if old.version == version:
            raise errors.Failure(f'{project} is {version} already')
        new = bump.begin(pinned, old, version, scratch)
    if old.version != version:
        bump.go_on(old, new, scratch)
    _renew_locks()
    console.say(bump.checklist_file(project, version).read_text())
    shutil.rmtree(scratch)


def _renew_locks() -> None:
    try:
        locks.renew()
    except errors.Failure as exc:
        raise errors.Failure(
            f'the series and pins.toml are done, the locks are not: '
            f'{exc.what}',
            details=exc.details,
            remedy='the same command goes on with them',
        ) from exc
