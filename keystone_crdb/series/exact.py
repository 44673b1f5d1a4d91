# SPDX-License-Identifier: Apache-2.0
"""Application of patches in memory, each hunk at exactly its line.

`patch --fuzz=0`, `git apply` and `quilt push --fuzz=0` all take a hunk that
is some lines off; here fuzz and offset are both errors.
"""

import difflib
import io

from unidiff import constants

from keystone_crdb import errors


def apply(patches, read):
    """Apply patches one after the other.

    :param patches: keystone_crdb.series.quilt.Patch objects in order
    :type patches: list
    :param read: called with a path relative to the tree, returns the text of
        that file with its line ends, raises FileNotFoundError
    :type read: callable
    :returns: the new text of each changed file by its path, None for a file
        that the patches delete
    :rtype: dict
    :raises Failure: naming patch, file, hunk and the nearest match
    """
    texts = {}
    for patch in patches:
        for file in patch.files:
            if file.path not in texts:
                try:
                    texts[file.path] = read(file.path)
                except FileNotFoundError:
                    texts[file.path] = None
            text = texts[file.path]
            if text is None:
                raise errors.Failure(
                    f'{patch.name}: {file.path}: there is no such file'
                )
            result = _apply_file(patch, file, text)
            texts[file.path] = None if file.is_removed_file else result
    return texts


def _apply_file(patch, file, text):
    source = io.StringIO(text, newline='\n').readlines()
    result = []
    done = 0
    for number, hunk in enumerate(file, 1):
        before, after = _sides(hunk)
        start = hunk.source_start - (1 if before else 0)
        where = f'{patch.name}: {file.path}: hunk {number}'
        if start < done or source[start : start + len(before)] != before:
            raise errors.Failure(
                f'{where} does not match at line {hunk.source_start}',
                details=_nearest(source, before),
                remedy='refresh the patch with quilt in build/src',
            )
        result.extend(source[done:start])
        target = len(result) + (1 if after else 0)
        if hunk.target_start != target:
            raise errors.Failure(
                f'{where} says that it lands on line {hunk.target_start}, '
                f'but it lands on line {target}',
                remedy='refresh the patch with quilt in build/src',
            )
        result.extend(after)
        done = start + len(before)
    result.extend(source[done:])
    return ''.join(result)


def _sides(hunk):
    """Return the lines that a hunk expects, and those it leaves."""
    before = []
    after = []
    last = ()
    for line in hunk:
        if line.line_type == constants.LINE_TYPE_NO_NEWLINE:
            for side in last:
                side[-1] = side[-1].rstrip('\n')
            continue
        last = {
            constants.LINE_TYPE_CONTEXT: (before, after),
            constants.LINE_TYPE_REMOVED: (before,),
            constants.LINE_TYPE_ADDED: (after,),
        }[line.line_type]
        for side in last:
            side.append(line.value)
    return before, after


def _nearest(source, wanted):
    """Say where a hunk's lines stand, or stand most alike.

    :rtype: str
    """
    size = len(wanted)
    matches = [
        start + 1
        for start in range(len(source) - size + 1)
        if source[start : start + size] == wanted
    ]
    if matches:
        lines = ', '.join(str(line) for line in matches)
        return f'its lines stand at line {lines}: the patch has an offset'
    best = max(
        range(max(len(source) - size, 0) + 1),
        key=lambda start: _alike(source, wanted, start),
        default=0,
    )
    rows = [
        f'the nearest match is at line {best + 1}: '
        f'{_alike(source, wanted, best)} of {size} lines agree'
    ]
    difference = difflib.unified_diff(
        wanted, source[best : best + size], 'the hunk', 'the file', n=0
    )
    rows.extend(line.rstrip('\n') for line in list(difference)[:8])
    return '\n'.join(rows)


def _alike(source, wanted, start):
    window = source[start : start + len(wanted)]
    return sum(a == b for a, b in zip(window, wanted, strict=False))
