# SPDX-License-Identifier: Apache-2.0
"""The image's health check: whether Keystone's /healthcheck answers 200."""

import http.client
import os
import sys

from keystone_crdb_image import listen


def main() -> int:
    setting = os.environ.get('KEYSTONE_LISTEN') or listen.DEFAULT
    host, port = listen.parse(setting)
    address = listen.LOCAL.get(host, host).strip('[]')
    connection = http.client.HTTPConnection(address, port, timeout=4)
    connection.request('GET', '/healthcheck')
    response = connection.getresponse()
    print(response.status, response.reason)
    return response.status != 200


if __name__ == '__main__':
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f'no answer: {error}')
