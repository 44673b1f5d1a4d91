# SPDX-License-Identifier: Apache-2.0
"""A pin that is raised: the series on the new release, and what names it."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import git
from keystone_crdb.series import overlay
from keystone_crdb.series import rebase
from keystone_crdb.series import replace


def _command(project: str, version: str) -> str:
    return f'./build.sh bump {project} {version}'


def under_way(
    scratch: pathlib.Path, project: str, version: str
) -> pins.Source | None:
    """Return the release that a bump is under way to, or None.

    :raises Failure: when it is another one, or of another series
    """
    try:
        state = json.loads((scratch / 'state.json').read_text())
    except FileNotFoundError:
        return None
    new = pins.Source(**state['to'])
    command = _command(project, new.version)
    if new.version != version:
        raise errors.Failure(
            f'a bump of {project} to {new.version} is under way',
            remedy=f'{command} goes on with it, and --abort ends it',
        )
    if pins.load().sources[project] != new and state['series'] != _digest(
        project
    ):
        raise errors.Failure(
            f'patches/{project} changed since the bump began',
            remedy=f'{command} --abort, and begin again',
        )
    return new


def _digest(project: str) -> str:
    digest = hashlib.sha256()
    for path in sorted((paths.PATCHES / project).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def begin(
    pinned: pins.Pins, old: pins.Source, version: str, scratch: pathlib.Path
) -> pins.Source:
    """Fetch the release and make the scratch repository."""
    project = old.project
    if (paths.ROOT / '.git').exists():
        git.check_clean(
            paths.ROOT, f'patches/{project}', 'pins.toml', 'requirements'
        )
    with console.step(f'Fetch of {project} {version}'):
        new = pinned.find(project, version) or download.release(
            project, version
        )
        shutil.rmtree(scratch, ignore_errors=True)
        download.unpack(download.sdist(new), scratch / 'tree')
        overlay.check(project, scratch / 'tree')
        shutil.rmtree(scratch / 'tree')
    with console.step(f'Scratch repository {scratch / "repository"}'):
        rebase.begin(scratch / 'repository', old, new)
    (scratch / 'state.json').write_text(
        json.dumps({'to': dataclasses.asdict(new), 'series': _digest(project)})
    )
    return new


def go_on(old: pins.Source, new: pins.Source, scratch: pathlib.Path) -> None:
    """Rebase the series, and write all that changes with it.

    :raises Failure: at a conflict, with what to do; then nothing is written
    """
    repository = scratch / 'repository'
    with console.step(
        f'Rebase of patches/{old.project} from {old.version} to {new.version}'
    ):
        rebase.go_on(repository, _command(old.project, new.version))
    with console.step('Refresh'):
        result = rebase.result(repository, new)
    console.table(['patch', ''], result.outcomes.items())
    note = _note_file(new)
    texts = {
        paths.PINS: _new_pins(old, new),
        note: _note(old, new, result.outcomes),
        **_new_requirements(old, new),
        **{
            paths.PATCHES / new.project / name: text
            for name, text in result.texts.items()
        },
    }
    checklist = checklist_file(new.project, new.version)
    checklist.write_text(_checklist(old, new, result.outcomes, note))
    replace.files(
        paths.ROOT,
        {str(path.relative_to(paths.ROOT)): texts[path] for path in texts},
    )


def _new_pins(old: pins.Source, new: pins.Source) -> str:
    """Return pins.toml with the new release; the old one is kept for drift."""
    text = paths.PINS.read_text()
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


def _new_requirements(
    old: pins.Source, new: pins.Source
) -> dict[pathlib.Path, str]:
    """Return the requirements that name the release, with the new one."""
    pinned = re.compile(
        rf'^({re.escape(old.project)}(\[.*\])?==){re.escape(old.version)}$',
        re.MULTILINE,
    )
    texts = {}
    for path in paths.REQUIREMENTS.glob('*.in'):
        text = pinned.sub(rf'\g<1>{new.version}', path.read_text())
        if text != path.read_text():
            texts[path] = text
    return texts


def _note_file(new: pins.Source) -> pathlib.Path:
    # NOTE: reno wants 16 hexadecimal digits, that no other note has.
    unique = hashlib.sha256(f'{new.project} {new.version}'.encode())
    slug = f'{new.project}-{new.version}'.replace('.', '-')
    name = f'{slug}-{unique.hexdigest()[:16]}.yaml'
    return paths.ROOT / 'releasenotes/notes' / name


def _note(old: pins.Source, new: pins.Source, outcomes: dict[str, str]) -> str:
    lines = [
        '---',
        'upgrade:',
        '  - |',
        f'    The patches for {new.project} are for {new.version}, and no '
        'longer for',
        f'    {old.version}.',
    ]
    for wanted, text in (
        ('dropped', 'Dropped, since upstream has them'),
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
    merged = [name for name, one in outcomes.items() if one == 'merged']
    dropped = [
        name for name, one in outcomes.items() if one.startswith('dropped')
    ]
    items = [
        f'read the patches that were merged: {name}' for name in merged
    ] + [f'make sure that upstream has all of {name}' for name in dropped] + [
        f'finish the release note {note.relative_to(paths.ROOT)}',
        f'{old.version} is still named in: '
        f'{", ".join(_mentions(old.version)) or "no document"}',
        "raise pins.toml's revision for the next release",
        'read what upstream says of the upgrade, its new migrations above '
        f'all: ChangeLog and releasenotes/notes in build/src/{new.project}',
        './build.sh test',
        './build.sh drift',
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
