# SPDX-License-Identifier: Apache-2.0
"""Upstream's own check of style, as its .pre-commit-config.yaml has it.

pre-commit clones each hook from GitHub. Here the same releases of the same
tools come from the Python index instead, and look at the same files.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import textwrap

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb.series import git

_PYTHON = r'\.py$'
#: What a hook runs: the package it is in, the command, and the names of the
#: files that it looks at, where the settings do not say.
TOOLS = {
    'ruff': ('ruff', ['ruff', 'check'], _PYTHON),
    'ruff-format': ('ruff', ['ruff', 'format', '--check'], _PYTHON),
    'hacking': ('hacking', ['flake8'], _PYTHON),
    'bandit': (
        'bandit[toml]', ['bandit', '--quiet', '-c', 'pyproject.toml'],
        r'^(?!.*/tests/).*\.py$',
    ),
    'pyupgrade': ('pyupgrade', ['pyupgrade'], _PYTHON),
    'bashate': ('bashate', ['bashate'], r'\.sh$'),
    'mypy': (
        'mypy', ['mypy', '--ignore-missing-imports', '--scripts-are-modules'],
        _PYTHON,
    ),
    **{
        name: ('pre-commit-hooks', [command], pattern)
        for name, command, pattern in (
            ('trailing-whitespace', 'trailing-whitespace-fixer', ''),
            ('mixed-line-ending', 'mixed-line-ending', ''),
            ('check-byte-order-marker', 'fix-byte-order-marker', ''),
            ('fix-byte-order-marker', 'fix-byte-order-marker', ''),
            ('check-merge-conflict', 'check-merge-conflict', ''),
            ('debug-statements', 'debug-statement-hook', _PYTHON),
            ('check-yaml', 'check-yaml', r'\.ya?ml$'),
        )
    },
}
#: Those whose settings are for mending, where only to look is asked for.
MENDING = ('ruff', 'bandit')


@dataclasses.dataclass(frozen=True)
class Hook:
    """A hook of pre-commit.

    :param revision: the tag of its repository, without a v, or nothing
    :param text: its settings
    """

    name: str
    revision: str
    text: str

    def listed(self, key: str) -> list[str]:
        """Return the words of a list in its settings."""
        if found := re.search(rf'{key}: \[(.*)\]', self.text):
            words = found[1].split(',')
        else:
            found = re.search(rf'{key}:\n((?: +- .*\n)+)', self.text)
            words = found[1].replace('- ', '').splitlines() if found else []
        return [word.strip(' \'"') for word in words if word.strip(' \'"')]

    def matches(self, name: str) -> bool:
        """Say whether it looks at a file."""
        wanted = self._pattern('files') or TOOLS[self.name][2]
        excluded = self._pattern('exclude')
        return bool(re.search(wanted, name)) and not (
            excluded and re.search(excluded, name)
        )

    def _pattern(self, key: str) -> str | None:
        """Return a regular expression: that of its line, or of its block."""
        if found := re.search(rf'{key}: \|\n((?:  .*\n)+)', self.text):
            return textwrap.dedent(found[1])
        found = re.search(rf'{key}: (.+)', self.text)
        return found and found[1].strip('\'"')


def hooks(text: str) -> list[Hook]:
    """Return the hooks of a .pre-commit-config.yaml."""
    text = re.sub(r'^ *#.*\n', '', text, flags=re.MULTILINE)
    result = []
    for repository in re.split(r'^ *- repo: ', text, flags=re.MULTILINE)[1:]:
        revision = re.search(r'rev: [\'"]?v?([^\s\'"]+)', repository)
        for one in re.split(r'- id: ', repository)[1:]:
            result.append(
                Hook(
                    one.split()[0], revision[1] if revision else '', one + '\n'
                )
            )
    return result


def check(
    repository: pathlib.Path, base: str, commit: str
) -> tuple[list[str], list[str]]:
    """Check the files that one commit changes.

    :param repository: with that commit in its work tree
    :param base: the commit before
    :returns: what ran, and what can't be had here
    :raises Failure: with what does not please a tool
    """
    git.run(repository, 'checkout', '--quiet', '--detach', commit)
    names = git.run(
        repository, 'diff', '--name-only', '--diff-filter=d', base, commit
    ).decode().splitlines()
    ran, missing, problems = [], [], []
    text = (repository / '.pre-commit-config.yaml').read_text()
    for hook in hooks(text):
        if hook.name not in TOOLS:
            missing.append(hook.name)
            continue
        if files := list(filter(hook.matches, names)):
            ran.append(f'{hook.name} {hook.revision}')
            if complaint := _run(repository, hook, files):
                problems.append(f'{ran[-1]}:\n{complaint}')
    if problems:
        raise errors.Failure(
            f"{commit[:12]} does not please upstream's check of style",
            details='\n'.join(problems),
        )
    return ran, missing


def check_all(
    repository: pathlib.Path, commits: list[str], branch: str
) -> None:
    """Check the style of each commit, also after one that is refused.

    :param commits: the one below them first
    :param branch: to check out at the end
    :raises Failure: with what does not please a tool
    """
    complaints = []
    try:
        for base, commit in zip(commits, commits[1:], strict=False):
            subject = git.run(
                repository, 'show', '--no-patch', '--format=%s', commit
            ).decode().strip()
            try:
                ran, missing = check(repository, base, commit)
            except errors.Failure as exc:
                complaints.append(f'{subject}: {exc}')
                continue
            console.say(f'{subject}: pleases {", ".join(ran)}')
            if missing:
                console.note(f'not to be had here: {", ".join(missing)}')
    finally:
        git.run(repository, 'checkout', '--quiet', branch)
    if complaints:
        raise errors.Failure(
            f'{repository}: {len(complaints)} of {len(commits) - 1} commits '
            "do not please upstream's check of style",
            details='\n'.join(complaints),
        )


def _run(repository: pathlib.Path, hook: Hook, files: list[str]) -> str | None:
    """Run a hook, and return what it says against the files, or None."""
    package, command, _files = TOOLS[hook.name]
    words = [
        word
        for more in hook.listed('additional_dependencies')
        if not more.startswith('.')
        for word in ('--with', more)
    ]
    if hook.name not in MENDING:
        command = [*command, *hook.listed('args')]
    done = subprocess.run(
        [
            sys.executable, '-m', 'uv', 'tool', 'run', '--quiet', *words,
            '--from', f'{package}=={hook.revision}', *command, *files,
        ],
        cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE='1'),
    )
    changed = git.run(repository, 'diff', '--name-only').decode().split()
    if not done.returncode and not changed:
        return None
    git.run(repository, 'checkout', '--quiet', '--', '.')
    return errors.tail(done.stdout or '\n'.join(changed))
