"""Credentials for schemathesis, and the refusals that no schema can announce."""

import os
import re

import schemathesis
from requests.auth import _basic_auth_str

# What the environment has is sent: nothing, all three, or only the client's secret.
WRITTEN = {
    "createToken": ("LINGPAI_TEST_SECRET", lambda secret: _basic_auth_str("demo", secret)),
    "inspectToken": ("LINGPAI_TEST_ACCESS", lambda token: f"Bearer {token}"),
    "refreshToken": ("LINGPAI_TEST_REFRESH", lambda token: f"Token {token}"),
}


class Credentials:
    def get(self, case, context):
        name, written = WRITTEN[case.operation.definition.raw["operationId"]]
        return written(os.environ[name])

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": data}


for operation, (name, _) in WRITTEN.items():
    if name in os.environ:
        schemathesis.auth().apply_to(operation_id=operation)(Credentials)

# Valid data that is answered with 400 all the same, because OpenAPI 3.0 has no words for the rule.
UNSAID = re.compile(
    # One member depends on another, or on a header.
    r"client_secret is required with client_id|client_id is required with client_secret"
    r"|client_id and client_secret must not be in the body together with an Authorization header"
    # It depends on the client.
    r"|lifetime must be at most \d+ seconds"
    # Names of members: some are reserved, and none is empty or longer than 255.
    r"|claims must be an object of at most 16 members with unreserved names; .*"
    # A form: a parameter without a value is absent, and the rest depends on other parameters.
    r"|(grant_type|refresh_token|token|client_assertion|client_assertion_type) is missing"
    r"|(grant_type|client_assertion_type|scope) must be .*|audience and resource must name .*"
    r"|client_id is missing; client_secret needs it|use one method of client authentication"
    r"|client_id must be the client that authenticates"
    # They come together, and are said in words: a pattern would give each generated client types of its own for them.
    r"|htm must be .*|htu must be .*|htm and htu .*"
    # What a schema may not say of parameters without a name in it: an array is sent as one that is repeated.
    r"|(a parameter|[a-z_]+) is repeated(; it is one value, .*)?"
)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    said = response.json()
    return UNSAID.fullmatch(said.get("message") or said["error_description"]) is None
