# SPDX-License-Identifier: Apache-2.0
"""Move what the API made by the commands of docs/move.rst."""

import re

import sqlalchemy

from keystone_crdb import paths
from keystone_crdb.checks.moves import answers
from keystone_crdb.checks.moves import stage as stages

_DOCUMENT = paths.ROOT / 'docs/move.rst'

#: Of 48 tables, so many have not changed between the passes at least.
_UNCHANGED = 30

#: The heads of Keystone's migrations in the release 2025.1.
_OLDER = ('47147121', 'c88cdce8f248')


def commands(text: str) -> list[list[str]]:
    """Return the words of the commands that a document lets operators type.

    :param text: reStructuredText
    """
    return [
        line.split()[1:]
        for line in text.splitlines()
        if re.match(r' +keystone-crdb ', line)
    ]


def _refuse_older(stage: stages.Stage, source: str, target: str) -> None:
    """Move from the schema of an older release, and raise it as it says."""
    stage.upgrade(stage.stock, source, _OLDER)
    process = stage.start(target, 'import', '--check', source)
    output, _ = process.communicate()
    found = re.search('`keystone-manage (.+?)` of Keystone', output)
    stage.expect(
        process.returncode == stages.REFUSED
        and found is not None and found[1] == 'db_sync',
        f'an older schema: {process.returncode}, {output}',
    )
    stage.sync(stage.stock, source)


def move(
    stage: stages.Stage, source: str, target: str, back: str, odd: str,
    spell: dict[str, str],
) -> None:
    """Move what the API made by the commands of the document.

    :param odd: characters that the source can store
    :param spell: spellings of references, by those of their parents
    """
    _refuse_older(stage, source, target)
    stage.keystone(stage.stock, source, 'make', odd=odd, spell=spell)
    stage.sync(stage.stock, back)
    urls = {
        '@/run/secrets/source-url': source, '@/run/secrets/target-url': back,
    }
    old: list[answers.Answers] = []
    new: list[answers.Answers] = []
    done = []
    for words in commands(_DOCUMENT.read_text()):
        given = [urls.get(word, word) for word in words]
        done.append(words[0])
        if words[:2] == ['import', '--check'] and spell:
            found = stage.run(target, *given, status=stages.FOUND)['found']
            spellings = {line['row'] for line in found}
            stage.expect(
                all(
                    any(spelt in one for one in spellings)
                    for spelt in spell.values()
                ),
                f'not all spellings are named: {spellings}',
            )
        elif '--in-use' in words:
            with (
                stages.connecting(source) as engine,
                engine.connect() as connection,
            ):
                connection.execute(sqlalchemy.text('SELECT 1'))
                stage.run(target, *given)
            old = stage.keystone(stage.stock, source, 'more old', 'ask')
        elif words[0] in ('import', 'export'):
            report = stage.run(target, *given)
            if '--changes' in words:
                stage.expect(
                    report['unchanged'] > _UNCHANGED,
                    f'only {report["unchanged"]} tables have equal sums',
                )
        else:
            process = stage.start(target, *given)
            output, _ = process.communicate()
            stage.expect(not process.returncode, f'{words[0]}:\n{output}')
        if words[0] == 'check':
            new = stage.keystone(
                stage.ours, target, 'ask', 'more new', 'ask'
            )
            stage.compare('stock, then ours', old[0], new[0], spell)
    stage.expect(
        done == ['db-sync', *3 * ['import'], 'check', *2 * ['export']],
        f'the document has other commands: {done}',
    )
    last = stage.keystone(stage.stock, back, 'ask')
    stage.compare('ours, then stock', new[1], last[0], {})
