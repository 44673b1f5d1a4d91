# SPDX-License-Identifier: Apache-2.0
"""A pin that is raised: the series on the new release, and what names it."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import tempfile

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import origin
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import rebase
from keystone_crdb.series import replace
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree


@dataclasses.dataclass
class Move:
    """A project on its way from one release to another.

    :param version: to go to, as it was typed
    :param scratch: the folder of what is under way
    """

    old: pins.Source
    version: str
    scratch: pathlib.Path
    new: pins.Source | None = None

    @property
    def is_commit(self) -> bool:
        """Say whether it goes to a commit, which pins.toml can't name."""
        return '@' in self.version

    @property
    def is_done(self) -> bool:
        """Say whether pins.toml has the new release already."""
        return self.old.version == self.version


def command(moves: list[Move]) -> str:
    """Return what to type for moves."""
    words = [f'{one.old.project} {one.version}' for one in moves]
    return f'{paths.TYPED} bump {" ".join(words)}'


def under_way(move: Move, typed: str) -> pins.Source | None:
    """Return the release that a bump is under way to, or None.

    :param typed: the command
    :raises Failure: when it is another one, or of another series
    """
    project = move.old.project
    try:
        state = json.loads((move.scratch / 'state.json').read_text())
    except FileNotFoundError:
        return None
    new = pins.Source(**state['to'])
    known = state.get('typed', new.version)
    if known != move.version:
        raise errors.Failure(
            f'a bump of {project} to {known} is under way',
            remedy=f'{paths.TYPED} bump {project} {known} goes on with it, '
            'and --abort ends it',
        )
    if pins.load().sources[project] != new and state['series'] != _digest(
        project
    ):
        raise errors.Failure(
            f'patches/{project} changed since the bump began',
            remedy=f'{typed} --abort, and begin again',
        )
    return new


def _digest(project: str) -> str:
    digest = hashlib.sha256()
    for path in quilt.files(paths.PATCHES / project):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def begin(pinned: pins.Pins, move: Move) -> pins.Source:
    """Fetch the release and make the scratch repository."""
    project, scratch = move.old.project, move.scratch
    if (paths.ROOT / '.git').exists():
        git.check_clean(
            paths.ROOT, f'patches/{project}', 'pins.toml', 'requirements'
        )
    with console.step(f'Fetch of {project} {move.version}'):
        if move.is_commit:
            new = origin.as_source(move.version, project, pinned)
        else:
            new = pinned.find(project, move.version) or download.release(
                project, move.version
            )
        shutil.rmtree(scratch, ignore_errors=True)
        download.unpack(download.sdist(new), scratch / 'tree')
        overlay.check(project, scratch / 'tree')
        shutil.rmtree(scratch / 'tree')
    with console.step(f'Scratch repository {scratch / "repository"}'):
        rebase.begin(scratch / 'repository', move.old, new)
    (scratch / 'state.json').write_text(json.dumps({
        'to': dataclasses.asdict(new), 'typed': move.version,
        'series': _digest(project),
    }))
    return new


def go_on(moves: list[Move]) -> None:
    """Rebase the series, and write all that changes with them.

    A series on a commit is written to its scratch folder, as patches.

    :param moves: with what is new; nothing is written before all are rebased
    :raises Failure: at a conflict, or when a function is unprotected, with
        what to do; then nothing is written
    """
    texts: dict[pathlib.Path, str | None] = {}
    typed = command(moves)
    for move in moves:
        old, new = move.old, move.new
        if new is None or move.is_done:
            continue
        repository = move.scratch / 'repository'
        with console.step(
            f'Rebase of patches/{old.project} from {old.version} to '
            f'{new.version}'
        ):
            rebase.go_on(repository, typed)
        with console.step('Refresh'):
            result = rebase.result(repository, new)
        console.table(['patch', ''], result.outcomes.items())
        _check_protected(new, result, repository, typed)
        if move.is_commit:
            _write_series(new, result, move.scratch / 'patches')
            continue
        note = _note_file(new)
        texts[note] = _note(old, new, result.outcomes)
        texts[paths.PINS] = _new_pins(
            texts.get(paths.PINS) or paths.PINS.read_text(), old, new
        )
        for path in paths.REQUIREMENTS.glob('*.in'):
            before = texts.get(path) or path.read_text()
            after = _new_requirements(before, old, new)
            if after != before:
                texts[path] = after
        for name, text in result.texts.items():
            texts[paths.PATCHES / new.project / name] = text
        checklist = checklist_file(new.project, new.version)
        checklist.write_text(_checklist(old, new, result.outcomes, note))
    replace.files(
        paths.ROOT,
        {str(path.relative_to(paths.ROOT)): texts[path] for path in texts},
    )


def _write_series(
    new: pins.Source, result: rebase.Result, folder: pathlib.Path
) -> None:
    """Write a series to a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(paths.PATCHES / new.project, folder)
    replace.files(folder, result.texts)


def _check_protected(
    new: pins.Source, result: rebase.Result, repository: pathlib.Path,
    typed: str,
) -> None:
    """Check that a retry protects each function that opens a session.

    :raises Failure: naming those that are not
    """
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as temporary:
        scratch = pathlib.Path(temporary)
        _write_series(new, result, scratch / 'patches' / new.project)
        download.unpack(download.sdist(new), scratch / 'tree')
        texts = hunks.Texts(lambda path: tree.read(scratch / 'tree' / path))
        hunks.apply(
            quilt.load(new.project, scratch / 'patches' / new.project), texts
        )
        for path in overlay.files(new.project):
            texts[str(path)] = tree.read(paths.OVERLAY / new.project / path)
        bare = [
            one for one in drift.openers(
                targets.Target(scratch / 'tree', new.project, new.version,
                               targets.Kind.SDIST), texts)
            if one.problem
        ]
    if bare:
        raise errors.Failure(
            f'on {new.project} {new.version} no retry protects '
            f'{len(bare)} functions that open a session',
            details='\n'.join(f'{one} {one.problem}' for one in bare),
            remedy=f'protect them in a commit of {repository}, whose branch '
            'is series: git commit --amend, or one with a trailer Patch-Name; '
            f'docs/retries.rst shows how. Then go on with: {typed}',
        )


def _new_pins(text: str, old: pins.Source, new: pins.Source) -> str:
    """Return pins.toml with the new release; the old one is kept for drift."""
    if paths.LINE:
        return _new_pins_of_a_line(text, old, new)
    for name in ('version', 'sdist', 'sha256'):
        text = re.sub(
            rf'^{name} = "{re.escape(getattr(old, name))}"$',
            f'{name} = "{getattr(new, name)}"', text, flags=re.MULTILINE,
        )
    text = re.sub(
        rf'^"{re.escape(new.version)}" = "{new.sha256}"\n', '', text,
        flags=re.MULTILINE,
    )
    section = re.compile(
        rf'^\[releases\."?{re.escape(old.project)}"?\]\n(".*\n)*', re.MULTILINE
    )
    return section.sub(
        lambda found: f'{found[0]}"{old.version}" = "{old.sha256}"\n', text
    )


def _new_pins_of_a_line(
    text: str, old: pins.Source, new: pins.Source
) -> str:
    """Return pins.toml with the new release of the line, and its hash."""
    line, project = re.escape(paths.LINE), re.escape(old.project)
    text = re.sub(
        rf'^(\[lines\."?{line}"?\.releases\]\n(?:.+\n)*?"?{project}"? = )'
        rf'"{re.escape(old.version)}"$',
        rf'\g<1>"{new.version}"', text, flags=re.MULTILINE,
    )
    if pins.load().find(new.project, new.version):
        return text
    return re.sub(
        rf'^(\[releases\."?{project}"?\]\n(?:".*\n)*)',
        rf'\g<1>"{new.version}" = "{new.sha256}"\n', text,
        flags=re.MULTILINE,
    )


def _new_requirements(text: str, old: pins.Source, new: pins.Source) -> str:
    """Return a requirements file that names the new release."""
    pinned = re.compile(
        rf'^({re.escape(old.project)}(\[.*\])?==){re.escape(old.version)}$',
        re.MULTILINE,
    )
    return pinned.sub(rf'\g<1>{new.version}', text)


def _note_file(new: pins.Source) -> pathlib.Path:
    # NOTE: reno wants 16 hexadecimal digits, that no other note has.
    unique = hashlib.sha256(f'{new.project} {new.version}'.encode())
    slug = f'{new.project}-{new.version}'.replace('.', '-')
    name = f'{slug}-{unique.hexdigest()[:16]}.yaml'
    return paths.ROOT / 'releasenotes/notes' / name


def _note(old: pins.Source, new: pins.Source, outcomes: dict[str, str]) -> str:
    on = f', on {paths.LINE}' if paths.LINE else ''
    lines = [
        '---',
        'upgrade:',
        '  - |',
        f'    The patches for {new.project} are for {new.version}, and no '
        'longer for',
        f'    {old.version}{on}.',
    ]
    for wanted, text in (
        (rebase.DROPPED, 'Dropped, since upstream has them'),
        (rebase.SKIPPED, 'Dropped, although upstream does not have them'),
        ('merged', 'Changed to fit the new release'),
    ):
        names = [
            name.removesuffix('.patch')
            for name, outcome in outcomes.items()
            if outcome.startswith(wanted)
        ]
        if names:
            lines += ['other:'] * ('other:' not in lines)
            lines += ['  - |', f'    {text}:']
            lines += ['', *(f'    * ``{name}``' for name in names)]
    return '\n'.join(lines) + '\n'


def checklist_file(project: str, version: str) -> pathlib.Path:
    """Return where the list of what is left to do is written."""
    return paths.BUILD / 'bump' / f'{project}-{version}.rst'


def _checklist(
    old: pins.Source, new: pins.Source, outcomes: dict[str, str],
    note: pathlib.Path,
) -> str:
    merged, dropped, skipped = (
        [name for name, one in outcomes.items() if one == wanted]
        for wanted in ('merged', rebase.DROPPED, rebase.SKIPPED)
    )
    numbers = ' '.join(name.partition('-')[0] for name in merged)
    items = [
        f'read the patches that were merged: {name}' for name in merged
    ] + [f'make sure that upstream has all of {name}' for name in dropped] + [
        f'say in the release note why {name} was skipped' for name in skipped
    ] + ([
        f'run their tests: {paths.TYPED} check proof {numbers}'
    ] if merged and new.project in header.TESTED else []) + [
        f'finish the release note {note.relative_to(paths.ROOT)}',
        f'{old.version} is still named in: '
        f'{", ".join(_mentions(old.version)) or "no document"}',
        "raise pins.toml's revision for the next release",
        'read what upstream says of the upgrade, its new migrations above '
        f'all: ChangeLog and releasenotes/notes in build/src/{new.project}',
        f'{paths.TYPED} test',
        './build.sh drift --csv docs/drift.csv',
        'git add --all && git commit',
    ]
    title = f'{new.project} {old.version} -> {new.version}: left to do'
    return '\n'.join([title, '=' * len(title), '',
                      *(f'* {item}' for item in items), ''])


def _mentions(version: str) -> list[str]:
    """Return the documents that name a version."""
    return sorted(
        str(path.relative_to(paths.ROOT))
        for folder in ('.', 'docs')
        for path in (paths.ROOT / folder).glob('*.rst')
        if version in path.read_text()
    )
