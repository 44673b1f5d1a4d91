# SPDX-License-Identifier: Apache-2.0
"""What was validated, on which database, and README's table of it.

Each validation command writes its result to build/reports. This one,

    python -m keystone_crdb.checks.reports

takes these into validated/, which is committed, and makes README's table of
all that is there.
"""

import datetime
import json
import pathlib
import re
import sys
import textwrap

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins

MADE = paths.BUILD / 'reports'
KEPT = paths.ROOT / 'validated'
README = paths.ROOT / 'README.rst'

_BEGIN = '.. begin of the table that keystone_crdb/checks/reports.py makes'
_END = '.. end of the table'


def write(
    name: str,
    database: str,
    figures: dict[str, str | int],
    command: str | None = None,
) -> pathlib.Path:
    """Write the result of one validation.

    :param name: what was run, such as `tempest`
    :param database: the database's description of itself, of which the
        address is left out
    :param figures: what was counted, in the order to show
    :param command: what runs it again; `tox -e NAME` where it is not given
    :returns: the file, in build/reports
    """
    MADE.mkdir(parents=True, exist_ok=True)
    result = {
        'command': command or f'tox -e {name}',
        'version': pins.load().local_version('keystone'),
        'database': re.sub(
            r'^database: (.*) \(.*\)$', r'\1', database
        ),
        'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
        'figures': figures,
    }
    path = MADE / f'{name}.json'
    path.write_text(json.dumps(result, indent=4) + '\n')
    return path


def keep() -> list[str]:
    """Take the results of build/reports into validated/.

    :returns: their names
    """
    KEPT.mkdir(exist_ok=True)
    made = sorted(MADE.glob('*.json'))
    for path in made:
        (KEPT / path.name).write_text(path.read_text())
    return [path.stem for path in made]


def table() -> str:
    """Return the list-table of all that is in validated/."""
    kept = sorted(KEPT.glob('*.json'))
    if not kept:
        return 'Nothing was kept yet.'
    lines = ['.. list-table::', '   :header-rows: 1', '']
    lines += _row('what', 'database', 'result', 'with')
    for path in kept:
        result = json.loads(path.read_text())
        lines += _row(
            f'``{result["command"]}``',
            result['database'],
            '; '.join(f'{k}: {v}' for k, v in result['figures'].items()),
            f'{result["version"]}, {result["date"]}',
        )
    return '\n'.join(lines)


def _row(*cells):
    lines = []
    for number, cell in enumerate(cells):
        lines += textwrap.wrap(
            cell,
            width=79,
            initial_indent='     - ' if number else '   * - ',
            subsequent_indent='       ',
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def with_table(text: str) -> str:
    """Return README's text with the table of today.

    :raises Failure: when the lines round the table are not there
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise errors.Failure(
            f'{README.name} has no place for the table of what was validated',
            remedy=f'put the lines "{_BEGIN}" and "{_END}" into it',
        )
    return f'{before}{begin}\n\n{table()}\n\n{end}{after}'


def main() -> None:
    """Keep the results and write the table."""
    for name in keep():
        print(f'validated/{name}.json')
    README.write_text(with_table(README.read_text()))


if __name__ == '__main__':
    sys.exit(main())
