# SPDX-License-Identifier: Apache-2.0
"""Application of a series and its overlay to a tree of somebody else."""

import base64
import csv
import dataclasses
import datetime
import hashlib
import io

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree


@dataclasses.dataclass
class Plan:
    """What applying a series to a tree will change.

    :type target: keystone_crdb.series.target.Target
    :type reverse: bool
    :param placements: of each hunk, in the order of application
    :type placements: list
    :param commits: keystone_crdb.series.git.Commit objects: one for the
        overlay, one for each patch
    :type commits: list
    :param skipped: (patch name, path) of what the tree has no place for
    :type skipped: list
    :param laid: the overlay's files that are laid or taken away
    :type laid: list
    """

    target: targets.Target
    reverse: bool
    placements: list = dataclasses.field(default_factory=list)
    commits: list = dataclasses.field(default_factory=list)
    skipped: list = dataclasses.field(default_factory=list)
    laid: list = dataclasses.field(default_factory=list)

    @property
    def texts(self):
        """Return the new text of each file by its path, None to delete."""
        result = {}
        for commit in self.commits:
            result.update(commit.files)
        return result


def plan(target, only=(), fuzz=hunks.EXACT, reverse=False):
    """Find out what applying a series to a tree will change.

    :type target: keystone_crdb.series.target.Target
    :param only: names of patches; empty for all, and the overlay
    :type only: list
    :param fuzz: as for keystone_crdb.series.hunks.apply()
    :type fuzz: int
    :param reverse: take the series back
    :type reverse: bool
    :returns: the plan, with no commits when all of it is already done
    :rtype: Plan
    :raises Failure: naming what does not apply
    """
    if target.kind is targets.Kind.CHECKOUT:
        git.check_clean(target.path)
    result = Plan(target, reverse)
    patches = _placeable(select(target.project, only), result)
    laid = _overlay(target, result, keep=bool(only))
    if not _fits(target, patches, reverse=not reverse):
        _place(patches, result, fuzz)
    if laid:
        where = len(result.commits) if reverse else 0
        result.commits.insert(
            where, overlay_commit(laid, newest(patches), reverse)
        )
    return result


def _place(patches, result, fuzz):
    texts = hunks.Texts(result.target.read)
    reverse = result.reverse
    for patch in reversed(patches) if reverse else patches:
        placed = hunks.attempt(patch, texts, fuzz, reverse)
        if any(placement.problem for placement in placed):
            raise _explained(result.target, patches, placed, fuzz, reverse)
        result.placements += placed
        result.commits.append(commit(patch, texts, reverse))


def select(project, only):
    """Return the patches of a project, or those of them that are named.

    :type project: str
    :param only: file names, with or without .patch
    :type only: list
    :rtype: list
    :raises Failure: naming one that is not in the series
    """
    patches = quilt.load(project)
    if not only:
        return patches
    wanted = {name.removesuffix('.patch') for name in only}
    unknown = wanted - {patch.path.stem for patch in patches}
    if unknown:
        raise errors.Failure(
            f'{", ".join(sorted(unknown))}: no patch of {project} is called '
            'that',
            details='\n'.join(patch.path.stem for patch in patches),
        )
    return [patch for patch in patches if patch.path.stem in wanted]


def carry_out(plans):
    """Change a tree: a checkout gets commits, others new files.

    :param plans: those of the projects in one tree
    :type plans: list
    :raises Failure: when it can't be; then nothing is changed
    """
    texts = {}
    for plan in plans:
        target = plan.target
        if target.kind is targets.Kind.CHECKOUT:
            last = git.commit(target.path, plan.commits)
            git.run(target.path, 'merge', '--ff-only', '--quiet', last)
            continue
        texts.update(plan.texts)
        if target.kind is targets.Kind.INSTALLED:
            texts.update(_record(target, plan.texts))
    replace.files(plans[0].target.path, texts)


def _placeable(patches, result):
    """Leave out the files that the tree has no place for, and note them."""
    target = result.target
    result.skipped += [
        (patch.path.name, file.path)
        for patch in patches
        for file in patch.files
        if not target.has_place_for(file.path)
    ]
    return [kept for patch in patches if (kept := target.placeable(patch))]


def _overlay(target, result, keep):
    """Return the new text of the overlay's files.

    :param keep: leave the files where other patches may need them
    """
    texts = {}
    for path in overlay.files(target.project):
        if not target.has_place_for(str(path)):
            result.skipped.append(('overlay', str(path)))
            continue
        ours = tree.read(paths.OVERLAY / target.project / path)
        try:
            theirs = target.read(str(path))
        except FileNotFoundError:
            theirs = None
        if theirs is not None and theirs != ours:
            raise errors.Failure(
                f'{target}: {path} is there and is not ours',
                remedy=f'compare it with overlay/{target.project}/{path}',
            )
        if result.reverse and theirs is not None and not keep:
            texts[str(path)] = None
        elif not result.reverse and theirs is None:
            texts[str(path)] = ours
    result.laid = list(texts)
    return texts


def commit(patch, texts, reverse=False):
    """Return the commit that applies a patch or takes it back.

    :type patch: keystone_crdb.series.quilt.Patch
    :param texts: the tree after that
    :type texts: keystone_crdb.series.hunks.Texts
    :type reverse: bool
    :rtype: keystone_crdb.series.git.Commit
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
        files={file.path: texts[file.path] for file in patch.files},
    )


def overlay_commit(texts, date, reverse=False):
    """Return the commit that lays the overlay or takes it away.

    :param texts: the new text of each file by its path
    :type texts: dict
    :param date: as YYYY-MM-DD
    :type date: str
    :type reverse: bool
    :rtype: keystone_crdb.series.git.Commit
    """
    verb = 'Remove' if reverse else 'Add'
    return git.Commit(
        message=f'{verb} the files that the CockroachDB patches need\n\n'
        'Origin: vendor, keystone-crdb\nPatch-Name: overlay\n',
        author=git.AUTHOR,
        date=date,
        files=texts,
    )


def newest(patches):
    """Return the newest Last-Update of patches.

    :type patches: list
    :returns: as YYYY-MM-DD; today when there are no patches
    :rtype: str
    """
    return max(
        (header.check(patch)['Last-Update'] for patch in patches),
        default=datetime.date.today().isoformat(),
    )


def _fits(target, patches, reverse):
    """Say whether patches fit at any line, all of them."""
    try:
        hunks.apply(patches, hunks.Texts(target.read), 0, reverse)
    except errors.Failure:
        return False
    return True


def _explained(target, patches, placed, fuzz, reverse):
    """Say why a patch does not apply: by the state of the tree, if it can."""
    there = _applied(target, patches)
    if there and len(there) < len(patches):
        return errors.Failure(
            f'{target}: the series is half applied: {len(there)} of '
            f'{len(patches)} patches are there',
            details='\n'.join(patch.path.stem for patch in there),
            remedy=_remedy_half(there, reverse),
        )
    first = next(one for one in placed if one.problem)
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


def _remedy_half(there, reverse):
    names = ' '.join(f'--only {patch.path.stem}' for patch in there)
    if reverse:
        return f'take back those only: --reverse {names}'
    return f'take them back first: apply --reverse {names}'


def _applied(target, patches):
    """Return the patches that a tree has: the first ones, or single ones."""
    for count in range(len(patches) - 1, 0, -1):
        if _fits(target, patches[:count], reverse=True):
            return patches[:count]
    return [
        patch for patch in patches if _fits(target, [patch], reverse=True)
    ]


def _record(target, texts):
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
