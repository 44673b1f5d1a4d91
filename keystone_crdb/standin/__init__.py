# SPDX-License-Identifier: Apache-2.0
"""The stand-in: PostgreSQL that answers as the cockroachdb dialect expects.

It is a test tool only. README.rst in this folder tells how a connection goes
through the modules, and docs/stand-in.rst what the stand-in imitates.
"""
