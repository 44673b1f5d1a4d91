# SPDX-License-Identifier: Apache-2.0
"""What uWSGI's workers serve of a tree that is not ours, such as stock's.

The first worker answers /healthcheck as the image's does, by modules that
need the patched trees. The others serve Keystone as the tree has it, without
the image's metrics, which listen to what our patches add.
"""

from keystone_crdb_image import handover
import uwsgi

from keystone_crdb.keystone import tree_path

handover.take()

if uwsgi.worker_id() == 1:
    from keystone_crdb_image.internal import application
else:
    tree_path.prepend()

    from keystone.wsgi import api
    from keystone_crdb_image import chunked

    application = chunked.Chunked(api.application)
