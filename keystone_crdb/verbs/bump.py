# SPDX-License-Identifier: Apache-2.0
"""Raise a pin, and take the patches along.

Fetches PROJECT's release VERSION, rebases the series onto it in a scratch
repository in build/bump, with three-way merges where the context changed,
refreshes it, and renews pins.toml and the locks. Patches that upstream has
are dropped. At a conflict it stops and says what to do; the same command goes
on from there, and --abort throws the scratch repository away. It does not end
while a function that opens a session is unprotected. Nothing outside build/
changes before all of the series is rebased.

A release of OpenStack is a pair, which is raised at once:

    ./build.sh bump keystone 30.1.0 oslo.db 18.2.0

VERSION may be REPOSITORY@REF, with the folder or URL of a git repository and a
branch, a tag, a full ref or a commit. Since pins.toml can't name a commit, the
series is then written to build/bump/PROJECT/patches, and nothing else changes.

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
    parser.add_argument(
        'words', nargs='+', metavar='PROJECT VERSION',
        help='a project in pins.toml, and the release to go to',
    )
    parser.add_argument(
        '--abort', action='store_true', help='end a bump that is under way'
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: at a conflict, with what to do
    """
    pinned = pins.load()
    moves = _moves(args.words, pinned)
    if args.abort:
        for move in moves:
            shutil.rmtree(move.scratch, ignore_errors=True)
            console.say(f'nothing of the bump is left in {move.scratch}')
        return
    system.require('source')
    system.require('bump')
    typed = bump.command(moves)
    for move in moves:
        move.new = bump.under_way(move, typed)
    if all(move.is_done and move.new is None for move in moves):
        raise errors.Failure(' and '.join(
            f'{move.old.project} is {move.version} already' for move in moves
        ))
    for move in moves:
        if move.new is None and not move.is_done:
            move.new = bump.begin(pinned, move)
    bump.go_on(moves)
    if not all(move.is_commit for move in moves):
        _renew_locks()
    for move in moves:
        if move.is_commit:
            console.say(f'{move.scratch / "patches"}: the series on '
                        f'{move.version}')
            shutil.rmtree(move.scratch / 'repository')
            (move.scratch / 'state.json').unlink()
        elif move.new:
            console.say(bump.checklist_file(
                move.old.project, move.version).read_text())
            shutil.rmtree(move.scratch)


def _moves(words: list[str], pinned: pins.Pins) -> list[bump.Move]:
    """Return the moves that pairs of words name.

    :raises Failure: when they are no pairs, or name no project of ours
    """
    projects, versions = words[::2], words[1::2]
    for project in projects:
        pinned.source(project)
    if len(projects) != len(versions) or len(projects) > len(set(projects)):
        raise errors.Failure(
            'name each PROJECT once, and the VERSION to go to after it'
        )
    return [
        bump.Move(pinned.source(project), version,
                  paths.BUILD / 'bump' / project)
        for project, version in zip(projects, versions, strict=True)
    ]


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
