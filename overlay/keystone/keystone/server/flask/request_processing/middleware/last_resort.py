# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""An answer to each request, whatever is raised."""

from oslo_context import context as oslo_context
from oslo_log import log

from keystone import exception
from keystone.server.flask.request_processing.middleware import auth_context

LOG = log.getLogger(__name__)


class LastResortMiddleware:
    """Answer with 500 what nothing else has answered.

    Without it the WSGI server closes the connection, and the client has
    neither an answer nor the id by which the request is found in the log.
    """

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        try:
            return self.app(environ, start_response)
        except Exception as e:
            LOG.exception('Nothing has handled this exception')
            response = auth_context.render_exception(
                exception.UnexpectedError(exception=e)
            )
            response.headers['x-openstack-request-id'] = (
                environ.get('openstack.request_id')
                or oslo_context.generate_request_id()
            )
            return response(environ, start_response)
