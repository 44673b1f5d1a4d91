# SPDX-License-Identifier: Apache-2.0
"""The image, running, judged from outside by OpenStack's own tools."""
