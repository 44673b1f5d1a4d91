# SPDX-License-Identifier: Apache-2.0
"""What gates a change: each check is a module of one shape."""
