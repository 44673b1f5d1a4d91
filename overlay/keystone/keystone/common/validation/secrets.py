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

"""Keep secrets out of what a validator says.

jsonschema puts the value that does not fit into its message, which is both
logged and answered. With the value comes all that it contains: where the
name of a user is missing, that is the user with its password.
"""

_SECRETS = frozenset(
    (
        'access_key',
        'blob',
        'client_secret',
        'original_password',
        'passcode',
        'password',
        'secret',
    )
)
_HIDDEN = '***'


def _is_secret(key, within, value):
    # The method of authentication has the name of the secret in it.
    if key == 'password' and within == 'identity':
        return not isinstance(value, dict)
    if key == 'id' and within == 'token':
        return True
    return key in _SECRETS


def _mask(value, within=None):
    """Return a value in which secrets are hidden, itself if it has none.

    :param value: to look at
    :param within: the key that has led to it
    """
    if isinstance(value, dict):
        masked = {
            key: (
                _HIDDEN
                if each is not None and _is_secret(key, within, each)
                else _mask(each, key)
            )
            for key, each in value.items()
        }
        return value if masked == value else masked
    if isinstance(value, list):
        masked = [_mask(each, within) for each in value]
        return value if masked == value else masked
    return value


def hide(error, whole):
    """Hide the secrets in an error of jsonschema.

    :param jsonschema.ValidationError error: that is going to be told
    :param whole: the value that was validated
    """
    masked = _mask(error.instance, error.path[-1] if error.path else None)
    within = None
    for key in error.path:
        whole = whole[key]
        if isinstance(key, str):
            if _is_secret(key, within, whole):
                masked = _HIDDEN
            within = key
    if masked is not error.instance and error.instance is not None:
        error.message = error.message.replace(
            repr(error.instance), repr(masked)
        )
        error.instance = masked
