# SPDX-License-Identifier: Apache-2.0
"""Application of a series and its overlay to a tree of somebody else."""

import base64
import collections.abc
import csv
import dataclasses
import datetime
import hashlib
import io
import os
import pathlib

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import needs
from keystone_crdb.series import overlay
from keystone_crdb.series import presence
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree


@dataclasses.dataclass
class Plan:
    """What applying a series to a tree will change.

    :param placements: of each hunk, in the order of application
    :param commits: one for each patch, with the overlay's files that come with
        it
    :param skipped: (patch name, path) of what the tree has no place for
    :param laid: the overlay's files that are laid or taken away
    :param passed: patches that are there already; when patches are taken
        back, those that are not there
    """

    target: targets.Target
    reverse: bool
    placements: list[hunks.Placement] = dataclasses.field(default_factory=list)
    commits: list[git.Commit] = dataclasses.field(default_factory=list)
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    laid: list[str] = dataclasses.field(default_factory=list)
    passed: list[quilt.Patch] = dataclasses.field(default_factory=list)

    @property
    def texts(self) -> dict[str, str | None]:
        """Return the new text of each file by its path, None to delete."""
        result = {}
        for commit in self.commits:
            result.update(commit.files)
        return result


def plan(
    target: targets.Target, only: collections.abc.Sequence[str] = (),
    fuzz: int | None = hunks.EXACT, reverse: bool = False,
    skip: collections.abc.Sequence[str] = (),
) -> Plan:
    """Find out what applying a series to a tree will change.

    Patches that the tree has are passed over, and the others still have to
    make of it what the whole series makes.

    :param only: as for select()
    :param fuzz: as for keystone_crdb.series.hunks.each()
    :param skip: as for select()
    :returns: the plan, with no commits when all of it is already done
    :raises Failure: naming what does not apply
    """
    if target.kind is targets.Kind.CHECKOUT:
        git.check_clean(target.path)
    result = Plan(target, reverse)
    selected = select(target.project, only, skip)
    patches = _placeable(selected, result)
    laid = _overlay(target, result, selected)
    there, without = _there(target, patches)
    result.passed = [one for one in patches if (one in there) is not reverse]
    todo = [one for one in patches if one not in result.passed]
    if result.passed and todo and fuzz is hunks.EXACT:
        _place(todo, laid, result, 0)
        if not reverse:
            _check_whole(result, patches, without)
    elif todo:
        _place(todo, laid, result, fuzz)
    if laid:
        where = len(result.commits) if reverse else 0
        result.commits.insert(
            where, overlay_commit(laid, newest(patches), reverse)
        )
    return result


def _there(
    target: targets.Target, patches: list[quilt.Patch]
) -> tuple[list[quilt.Patch], hunks.Texts]:
    """Return the patches that a tree has, and its texts without them."""
    texts = hunks.Texts(target.read)
    if without := hunks.fit(patches, texts, reverse=True):
        return patches, without
    names = presence.take_back(patches, texts)
    return [one for one in patches if one.name in names], texts


def _check_whole(
    plan: Plan, patches: list[quilt.Patch], without: hunks.Texts
) -> None:
    """Check that a tree becomes what all patches make at their lines.

    :param without: the texts of the tree without those that it has
    """
    try:
        hunks.apply(patches, without)
    except hunks.DoesNotApply as exc:
        raise _explained(
            plan.target, patches, exc.placement, hunks.EXACT, False
        ) from exc
    owned = overlay.owners(patches)
    for path, text in plan.texts.items():
        if path not in owned and text != without[path]:
            raise errors.Failure(
                f'{plan.target}: {path} would not become what the series '
                'makes of it, because of patches that are there already',
                remedy='take these back first: ./build.sh apply --reverse '
                f'{plan.target.path}',
            )


def _place(
    patches: list[quilt.Patch], laid: dict[str, str | None], result: Plan,
    fuzz: int | None,
) -> None:
    """Apply patches, each with what it brings of the overlay.

    :param laid: the new text of the overlay's files; those that come with
        one of the patches are taken out
    """
    texts = hunks.Texts(result.target.read)
    owners = overlay.owners(patches)
    reverse = result.reverse
    try:
        for patch, placed in hunks.each(patches, texts, fuzz, reverse):
            result.placements += placed
            files = {
                path: laid.pop(path)
                for path, owner in owners.items()
                if owner is patch and path in laid
            }
            result.commits.append(commit(patch, texts, reverse, files))
    except hunks.DoesNotApply as exc:
        raise _explained(
            result.target, patches, exc.placement, fuzz, reverse
        ) from exc


def select(
    project: str, only: collections.abc.Sequence[str],
    skip: collections.abc.Sequence[str] = (),
) -> list[quilt.Patch]:
    """Return the patches of a project, or those of them that are named.

    :param only: what is_called() takes; empty for all
    :param skip: what is_called() takes, of those that are left out
    :raises Failure: naming one that is not in the series
    """
    patches = quilt.load(project)
    for name in (*only, *skip):
        if not knows(project, name):
            raise errors.Failure(
                f'{name}: no patch of {project} is called that',
                details='\n'.join(patch.path.stem for patch in patches),
            )
    return [
        patch
        for patch in patches
        if (not only or any(is_called(patch, name) for name in only))
        and not any(is_called(patch, name) for name in skip)
    ]


def knows(project: str, name: str) -> bool:
    """Say whether a project has a patch that is_called() so."""
    return any(is_called(patch, name) for patch in quilt.load(project))


def is_called(patch: quilt.Patch, name: str) -> bool:
    """Say whether a name is one of a patch.

    :param name: that of the file, with or without .patch, the number that
        it begins with, the patch's Kind, or the series of its Forwarded
    """
    fields = header.parse(patch)
    series = header.series(fields)
    return name in (
        patch.path.name,
        patch.path.stem,
        patch.path.stem.partition('-')[0],
        fields.get('Kind'),
        series and series.name,
    )


def carry_out(plans: list[Plan]) -> None:
    """Change a tree: a checkout gets commits, others new files.

    :param plans: those of the projects in one tree
    :raises Failure: when it can't be; then nothing is changed
    """
    texts: dict[str, str | None] = {}
    for plan in plans:
        target = plan.target
        if target.kind is targets.Kind.CHECKOUT:
            git.advance(target.path, git.commit(target.path, plan.commits))
            continue
        texts.update(plan.texts)
        if target.kind is targets.Kind.INSTALLED:
            texts.update(_record(target, plan.texts))
    if texts:
        replace.files(plans[0].target.path, texts)


def recover(path: pathlib.Path) -> bool:
    """Take back what was killed while it changed a tree.

    :returns: whether there was anything
    """
    if not path.is_dir():
        return False
    found = replace.recover(path)
    if (path / '.git').exists():
        found = git.recover(path) or found
    return found


def _placeable(patches: list[quilt.Patch], result: Plan) -> list[quilt.Patch]:
    """Leave out the files that the tree has no place for, and note them."""
    target = result.target
    result.skipped += [
        (patch.path.name, file.path)
        for patch in patches
        for file in patch.files
        if not target.has_place_for(file.path)
    ]
    return [kept for patch in patches if (kept := target.placeable(patch))]


def _overlay(
    target: targets.Target, result: Plan, patches: list[quilt.Patch]
) -> dict[str, str | None]:
    """Return the new text of the overlay's files that patches need."""
    texts: dict[str, str | None] = {}
    kept = _needed_by_others(target, patches) if result.reverse else ()
    for path in overlay.owners(patches):
        if not target.has_place_for(path):
            result.skipped.append(('overlay', path))
            continue
        ours = tree.read(paths.OVERLAY / target.project / path)
        try:
            theirs = target.read(path)
        except FileNotFoundError:
            theirs = None
            if os.path.lexists(target.path / path):
                raise errors.Failure(
                    f'{target}: {path} is there and is not committed',
                    remedy='move it away',
                ) from None
        if theirs is not None and theirs != ours:
            raise errors.Failure(
                f'{target}: {path} is there and is not ours',
                remedy=f'compare it with overlay/{target.project}/{path}',
            )
        if result.reverse and theirs is not None and path not in kept:
            texts[path] = None
        elif not result.reverse and theirs is None:
            texts[path] = ours
    result.laid = list(texts)
    return texts


def _needed_by_others(
    target: targets.Target, patches: list[quilt.Patch]
) -> dict[str, quilt.Patch]:
    """Return the overlay's files that a tree's other patches need."""
    texts = hunks.Texts(target.read)
    names = {patch.name for patch in patches}
    there = []
    for patch in reversed(quilt.load(target.project)):
        patch = target.placeable(patch) or patch
        without = hunks.fit([patch], texts, reverse=True)
        if without is None:
            continue
        texts.update(without)
        if patch.name not in names:
            there.append(patch)
    return overlay.owners(there)


def commits(
    project: str, texts: hunks.Texts, with_overlay: bool
) -> list[git.Commit]:
    """Return a commit for each patch of a series, at exactly its lines.

    :param texts: the tree; changed in place
    :param with_overlay: whether each of the overlay's files comes with the
        first patch that needs it
    :raises Failure: naming a hunk that does not apply
    """
    patches = quilt.load(project)
    owners = overlay.owners(patches) if with_overlay else {}
    result = []
    for patch, _ in hunks.each(patches, texts):
        laid = {
            path: tree.read(paths.OVERLAY / project / path)
            for path, owner in owners.items()
            if owner is patch
        }
        result.append(commit(patch, texts, laid=laid))
    return result


def commit(
    patch: quilt.Patch, texts: hunks.Texts, reverse: bool = False,
    laid: collections.abc.Mapping[str, str | None] | None = None,
) -> git.Commit:
    """Return the commit that applies a patch or takes it back.

    :param texts: the tree after that
    :param laid: the new text of the overlay's files that come with it
    """
    message = header.message(patch)
    if reverse:
        message = (
            f'Revert "{header.title(patch)}"\n\n'
            f'Patch-Name: {patch.path.name}\n'
        )
    fields = header.check(patch)
    return git.Commit(
        message=message,
        author=fields.get('Author') or fields.get('From') or git.AUTHOR,
        date=fields['Last-Update'],
        files={
            **{file.path: texts[file.path] for file in patch.files},
            **(laid or {}),
        },
    )


def overlay_commit(
    texts: dict[str, str | None], date: str, reverse: bool = False
) -> git.Commit:
    """Return the commit of overlay files whose patches are there already.

    :param date: as YYYY-MM-DD
    """
    verb = 'Remove' if reverse else 'Add'
    return git.Commit(
        message=f'{verb} the files that the CockroachDB patches need\n\n'
        'Origin: vendor, keystone-crdb\nPatch-Name: overlay\n',
        author=git.AUTHOR,
        date=date,
        files=texts,
    )


def newest(patches: list[quilt.Patch]) -> str:
    """Return the newest Last-Update of patches.

    :returns: as YYYY-MM-DD; today when there are no patches
    """
    return max(
        (header.check(patch)['Last-Update'] for patch in patches),
        default=datetime.date.today().isoformat(),
    )


def _fits(
    target: targets.Target, patches: list[quilt.Patch], reverse: bool
) -> bool:
    """Say whether patches fit a tree at any line, all of them."""
    return hunks.fit(patches, hunks.Texts(target.read), reverse) is not None


def _explained(
    target: targets.Target, patches: list[quilt.Patch], first: hunks.Placement,
    fuzz: int | None, reverse: bool,
) -> errors.Failure:
    """Say why a patch does not apply: by the state of the tree, if it can."""
    missing = [] if reverse else _missing(target, patches)
    if missing:
        return errors.Failure(
            f'{target}: {missing[0].name} does not apply without '
            f'{", ".join(one.path.stem for one in missing[1:])}',
            remedy='name these as well: '
            f'--only {",".join(one.path.stem for one in missing[1:])}',
        )
    pinned = pins.load().sources[target.project].version
    remedy = f'./build.sh drift {target.path} shows all that does not apply'
    if fuzz is hunks.EXACT and _fits(target, patches, reverse):
        remedy = '--fuzz 0 takes hunks that only moved'
    what = f'{first.where} {first.problem}; {target.path} is as it was'
    if target.version != pinned:
        what = (
            f'{target.path} is {target.project} '
            f'{target.version or "of no known version"}, the series is for '
            f'{pinned}: {what}'
        )
    return errors.Failure(what, details=first.details, remedy=remedy)


def _missing(
    target: targets.Target, patches: list[quilt.Patch]
) -> list[quilt.Patch]:
    """Return the first patch that needs others, and these, or nothing."""
    series = [
        kept
        for patch in quilt.load(target.project)
        if (kept := target.placeable(patch))
    ]
    try:
        found = needs.find(patches, series, target.read)
    except errors.Failure:
        return []
    return needs.missing(patches, found)


def _record(
    target: targets.Target, texts: dict[str, str | None]
) -> dict[str, str | None]:
    """Return the RECORD of an installed package with the new hashes.

    The format is that of
    https://packaging.python.org/specifications/recording-installed-packages
    """
    path = target.metadata and target.metadata / 'RECORD'
    if not path or not path.exists():
        return {}
    text = tree.read(path)
    rows = {row[0]: row for row in csv.reader(io.StringIO(text))}
    for name, content in texts.items():
        if content is None:
            rows.pop(name, None)
            continue
        digest = base64.urlsafe_b64encode(
            hashlib.sha256(content.encode()).digest()
        )
        value = f'sha256={digest.decode().rstrip("=")}'
        rows[name] = [name, value, str(len(content.encode()))]
    output = io.StringIO()
    csv.writer(
        output, lineterminator='\r\n' if '\r\n' in text else '\n'
    ).writerows(rows.values())
    return {str(path.relative_to(target.path)): output.getvalue()}
