# SPDX-License-Identifier: Apache-2.0
"""DEP-3 headers: what a patch says of itself.

The fields are those of https://dep-team.pages.debian.net/deps/dep3/, and
these of this project's own: Kind, Risk, Test, Overlay, Release-Note and
Drop-When.
"""

import dataclasses
import datetime
import email.parser
import re

from keystone_crdb import errors
from keystone_crdb.series import quilt

REQUIRED = (
    'Description', 'Origin', 'Last-Update', 'Kind', 'Risk', 'Drop-When',
)
#: What a patch may be, in the order in which a series has them.
KINDS = ('upstream bug', 'cockroachdb', 'performance')
#: The projects whose patches have to name their tests.
TESTED = ('keystone',)
#: One of these says whether upstream has been asked.
UPSTREAM = ('Forwarded', 'Upstream-Status')

_SERIES = re.compile(r'\bseries ([a-z0-9-]+), (\d+) of (\d+)\b')


@dataclasses.dataclass(frozen=True)
class Series:
    """The series of commits that a bug's patch is to be proposed in.

    :param position: in that series, from 1
    :param count: how many commits it has
    :param private: whether the vulnerability team has to see it first
    """

    name: str
    position: int
    count: int
    private: bool


def parse(patch: quilt.Patch) -> dict[str, str]:
    """Return the fields of a patch's header.

    :returns: the text of each field by its name
    """
    message = email.parser.Parser().parsestr(patch.header, headersonly=True)
    return {name: value.strip() for name, value in message.items()}


def check(patch: quilt.Patch) -> dict[str, str]:
    """Check a patch's header.

    :raises Failure: naming the patch and the field
    """
    fields = parse(patch)
    tested = patch.path.parent.name in TESTED
    for name in (*REQUIRED, *(('Test',) if tested else ())):
        if not fields.get(name):
            raise errors.Failure(
                f'{patch.name}: its header has no {name}',
                remedy='HACKING.rst shows a header',
            )
    if not any(fields.get(name) for name in UPSTREAM):
        raise errors.Failure(
            f'{patch.name}: its header has no {" or ".join(UPSTREAM)}',
            remedy='HACKING.rst shows a header',
        )
    _check_kind(patch, fields)
    if '\n' not in fields['Description']:
        raise errors.Failure(
            f'{patch.name}: its Description is a title without a why'
        )
    try:
        datetime.date.fromisoformat(fields['Last-Update'])
    except ValueError as exc:
        raise errors.Failure(
            f'{patch.name}: its Last-Update is no date: {exc}'
        ) from exc
    return fields


def _check_kind(patch: quilt.Patch, fields: dict[str, str]) -> None:
    if fields['Kind'] not in KINDS:
        raise errors.Failure(
            f'{patch.name}: its Kind is {fields["Kind"]}',
            remedy=f'one of: {", ".join(KINDS)}',
        )
    if 'Overlay' in fields and not fields['Overlay']:
        raise errors.Failure(
            f'{patch.name}: its Overlay is empty',
            remedy='name a file a line, or leave the field out',
        )
    if (
        fields['Kind'] == 'upstream bug'
        and series(fields) is None
        and 'https://' not in _forwarded(fields)
    ):
        raise errors.Failure(
            f'{patch.name}: it mends a bug of upstream, and its Forwarded '
            'has neither an address nor a series',
            remedy='say: Forwarded: no; series NAME, 1 of 1',
        )


def _forwarded(fields: dict[str, str]) -> str:
    return ' '.join(
        ' '.join(fields.get(name, '') for name in UPSTREAM).split()
    )


def series(fields: dict[str, str]) -> Series | None:
    """Return the series that Forwarded names, or None."""
    text = _forwarded(fields)
    found = _SERIES.search(text)
    if not found:
        return None
    name, position, count = found.groups()
    return Series(
        name, int(position), int(count), 'vulnerability team' in text
    )


def check_series(patches: list[quilt.Patch]) -> None:
    """Check that each series of commits is whole.

    :raises Failure: naming a series whose patches are not numbered from 1
    """
    found: dict[tuple[str, int], list[int]] = {}
    for patch in patches:
        if one := series(parse(patch)):
            found.setdefault((one.name, one.count), []).append(one.position)
    for (name, count), positions in found.items():
        if sorted(positions) != list(range(1, count + 1)):
            raise errors.Failure(
                f'the series {name} of {count} commits has the numbers '
                f'{", ".join(map(str, positions))}',
                remedy='put Forwarded right in the headers of its patches',
            )


def title(patch: quilt.Patch) -> str:
    """Return the first line of the Description."""
    return check(patch)['Description'].partition('\n')[0]


def message(patch: quilt.Patch) -> str:
    """Return a patch's header as the message of a commit.

    :returns: title, body, and the other fields as trailers; Patch-Name has
        the name in the series
    """
    fields = check(patch)
    first, _, body = fields.pop('Description').partition('\n')
    body = paragraphs(body)
    trailers = [f'{name}: {value}' for name, value in fields.items()]
    trailers.append(f'Patch-Name: {patch.path.name}')
    return '\n\n'.join([first, body, '\n'.join(trailers)]) + '\n'


def paragraphs(text: str) -> str:
    """Return the lines of a field without what DEP-3 puts before them."""
    return '\n'.join(
        '' if line.strip() == '.' else line.removeprefix(' ')
        for line in text.splitlines()
    )


def escaped(text: str) -> str:
    """Return a text as reStructuredText that reads the same."""
    return re.sub(r'([\\*`|_])', r'\\\1', text)
