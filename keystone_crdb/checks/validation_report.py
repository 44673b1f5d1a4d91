# SPDX-License-Identifier: Apache-2.0
"""The report of a validation: one HTML file without a network, and JSON."""

import collections.abc
import dataclasses
import html
import json
import pathlib
import re
import typing

from keystone_crdb.checks import evidence
from keystone_crdb.series import replace

if typing.TYPE_CHECKING:
    from keystone_crdb.checks import validation

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto;
       padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3em .8em .3em 0;
         border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
.failed { color: #a00; font-weight: bold }
svg { width: 100%; height: auto }
"""
_BAR = 18
_LABEL = 300
_WIDTH = 760

Outcomes = collections.abc.Mapping[str, 'validation.Outcome']


def write(folder: pathlib.Path, outcomes: Outcomes) -> None:
    """Write report.html and report.json.

    :param outcomes: of the validation's checks, by the names of their results
    """
    results = {
        name: evidence.read(path)
        for name in outcomes
        if (path := evidence.MADE / f'{name}.json').exists()
    }
    told = {
        name: {
            'passed': outcome.passed,
            'seconds': round(outcome.seconds, 1),
            'why': outcome.why,
            'result': dataclasses.asdict(results[name])
            if name in results
            else None,
        }
        for name, outcome in outcomes.items()
    }
    replace.files(
        folder,
        {
            'report.json': json.dumps(told, indent=1) + '\n',
            'report.html': page(outcomes, results),
        },
    )


def page(
    outcomes: Outcomes, results: collections.abc.Mapping[str, evidence.Result]
) -> str:
    """Return the report as HTML."""
    minutes = {
        name: outcome.seconds / 60 for name, outcome in outcomes.items()
    }
    sections = [
        '<h1>keystone-crdb: validation</h1>',
        _summary(outcomes, results),
        '<h2>Minutes that each check took</h2>',
        chart(minutes),
    ]
    for name, result in results.items():
        sections.append(f'<h2>{html.escape(name)}</h2>')
        sections.append(_figures(result))
        numbers = _numbers(result.figures)
        if len(numbers) > 1:
            sections.append(chart(numbers))
    body = '\n'.join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<title>keystone-crdb: validation</title><style>{_STYLE}</style>'
        f'</head>\n<body>\n{body}\n</body></html>\n'
    )


def _summary(
    outcomes: Outcomes, results: collections.abc.Mapping[str, evidence.Result]
) -> str:
    rows = []
    for name, outcome in outcomes.items():
        verdict = (
            'passed'
            if outcome.passed
            else f'<span class="failed">FAILED</span> '
            f'{html.escape(outcome.why)}'
        )
        database = results[name].database if name in results else ''
        rows.append(
            f'<tr><td>{html.escape(name)}</td><td>{verdict}</td>'
            f'<td>{html.escape(database)}</td></tr>'
        )
    head = '<tr><th>check</th><th>verdict</th><th>database</th></tr>'
    return f'<table>{head}{"".join(rows)}</table>'


def _figures(result: evidence.Result) -> str:
    rows = {
        'command': result.command,
        'version': result.version,
        'commit': result.commit or 'unknown',
        **result.figures,
    }
    return '<table>{}</table>'.format(
        ''.join(
            f'<tr><td>{html.escape(name)}</td>'
            f'<td>{html.escape(str(value))}</td></tr>'
            for name, value in rows.items()
        )
    )


def _numbers(figures: evidence.Figures) -> dict[str, float]:
    """Return the figures that can be drawn.

    That is a number, or of the text of a fault the seconds until a write
    succeeded again.
    """
    found = {}
    for name, value in figures.items():
        if isinstance(value, int | float):
            found[name] = float(value)
        elif match := re.search(r'first success after ([\d.]+) s', str(value)):
            found[f'{name}: seconds without a success'] = float(match[1])
    return found


def chart(numbers: collections.abc.Mapping[str, float]) -> str:
    """Return horizontal bars, as SVG.

    :param numbers: their lengths by their labels, none of them negative
    """
    most = max(numbers.values(), default=0) or 1
    lines = []
    for row, (name, number) in enumerate(numbers.items()):
        y = row * (_BAR + 6)
        length = (_WIDTH - _LABEL - 70) * number / most
        lines.append(
            f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">'
            f'{html.escape(name)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" '
            f'height="{_BAR}" fill="#3b73af"/>'
            f'<text x="{_LABEL + length + 5:.1f}" y="{y + 13}">'
            f'{number:.6g}</text>'
        )
    height = len(numbers) * (_BAR + 6)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" font-size="12" '
        f'role="img">{"".join(lines)}</svg>'
    )
