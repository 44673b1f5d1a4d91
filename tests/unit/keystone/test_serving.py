# SPDX-License-Identifier: Apache-2.0
from keystone_crdb.keystone import serving
from tests.unit import base

LINE = (
    '[pid: 9|app: 0|req: 1/2] 127.0.0.1 () {{30 vars in 373 bytes}} [Sun Nov '
    '22 19:46:28 2026] GET /v3/users/500 => generated 500 bytes in 500 msecs '
    '(HTTP/1.1 {}) 6 headers in 364 bytes (1 switches on core 0)\n'
)


class ServedTest(base.TestCase):
    def test_server_errors(self):
        log = self.write(
            'keystone.log', ''.join(map(LINE.format, (200, 404, 500, 503)))
        )
        served = serving.Served(None, None, log)
        self.assertEqual(
            [LINE.format(500).strip(), LINE.format(503).strip()],
            served.server_errors(),
        )
