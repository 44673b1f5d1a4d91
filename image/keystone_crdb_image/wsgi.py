# SPDX-License-Identifier: Apache-2.0
"""Keystone's WSGI application, with the secrets that were handed over."""

from keystone_crdb_image import handover

handover.take()

from keystone.wsgi.api import application  # noqa: E402,F401
