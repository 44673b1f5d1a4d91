# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole, or not at all."""

import os
import pathlib
import tempfile


def create(path: pathlib.Path, content: bytes) -> None:
    """Make a file of mode 0400, unless there is one or another was faster.

    :raises OSError: when it can't be made; nothing is left then
    """
    handle, scratch = tempfile.mkstemp(prefix='.new-', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        os.chmod(scratch, 0o400)
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(scratch)
