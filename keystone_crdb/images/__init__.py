# SPDX-License-Identifier: Apache-2.0
"""The container image: engines, the base, wheels and the build."""
