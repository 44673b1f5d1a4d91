# SPDX-License-Identifier: Apache-2.0
"""The options that several checks have."""

import argparse


def add_regexes(parser: argparse.ArgumentParser) -> None:
    """Declare which tests to run."""
    parser.add_argument(
        'regexes', nargs='*', metavar='REGEX',
        help='run the tests whose ids one of them matches',
    )


def add_workers(parser: argparse.ArgumentParser, default: int = 0) -> None:
    """Declare how many processes run tests."""
    parser.add_argument(
        '--workers', type=int, default=default, metavar='N',
        help='processes that run tests; 0 for as many as CPUs (default: '
        '%(default)s)',
    )


def add_part(parser: argparse.ArgumentParser) -> None:
    """Declare --part: pairs of a number and a count."""
    parser.add_argument(
        '--part', type=_part, default=(1, 1), metavar='I/N',
        help='run only the I-th of N parts of the tests',
    )


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition('/')
    if not (
        number.isdecimal()
        and count.isdecimal()
        and 1 <= int(number) <= int(count)
    ):
        raise argparse.ArgumentTypeError(f'{text} is not like 1/4')
    return int(number), int(count)


def add_load(
    parser: argparse.ArgumentParser, clients: int, think: float = 0
) -> None:
    """Declare how many clients there are, and how busy each is."""
    parser.add_argument(
        '--clients', type=int, default=clients,
        help='that work at the same time (default: %(default)s)',
    )
    parser.add_argument(
        '--think', type=float, default=think, metavar='SECONDS',
        help='between two operations of a client, on average (default: '
        '%(default)s)',
    )
