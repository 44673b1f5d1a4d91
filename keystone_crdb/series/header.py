# SPDX-License-Identifier: Apache-2.0
"""DEP-3 headers: what a patch says of itself.

The fields are those of https://dep-team.pages.debian.net/deps/dep3/, and
Drop-When, which is this project's own.
"""

import datetime
import email.parser

from keystone_crdb import errors

REQUIRED = ('Description', 'Origin', 'Last-Update', 'Drop-When')
#: One of these says whether upstream has been asked.
UPSTREAM = ('Forwarded', 'Upstream-Status')


def parse(patch):
    """Return the fields of a patch's header.

    :type patch: keystone_crdb.series.quilt.Patch
    :returns: the text of each field by its name
    :rtype: dict
    """
    message = email.parser.Parser().parsestr(patch.header, headersonly=True)
    return {name: value.strip() for name, value in message.items()}


def check(patch):
    """Check a patch's header.

    :type patch: keystone_crdb.series.quilt.Patch
    :returns: the fields, as parse() gives them
    :rtype: dict
    :raises Failure: naming the patch and the field
    """
    fields = parse(patch)
    for name in REQUIRED:
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


def title(patch):
    """Return the first line of the Description.

    :type patch: keystone_crdb.series.quilt.Patch
    :rtype: str
    """
    return check(patch)['Description'].partition('\n')[0]


def message(patch):
    """Return a patch's header as the message of a commit.

    :type patch: keystone_crdb.series.quilt.Patch
    :returns: title, body, and the other fields as trailers; Patch-Name has
        the name in the series
    :rtype: str
    """
    fields = check(patch)
    first, _, body = fields.pop('Description').partition('\n')
    body = '\n'.join(
        '' if line.strip() == '.' else line.removeprefix(' ')
        for line in body.splitlines()
    )
    trailers = [f'{name}: {value}' for name, value in fields.items()]
    trailers.append(f'Patch-Name: {patch.path.name}')
    return '\n\n'.join([first, body, '\n'.join(trailers)]) + '\n'
