"""The client that openapi-generator's python makes."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from check import Refused, check
from lingpai import ApiClient, ApiError, Configuration, CreateToken, RefreshToken, TokenApi, TokenInfo, TokenPair
from lingpai.exceptions import ApiException
from pydantic import ValidationError

T = TypeVar("T")


def call(operation: Callable[[], T]) -> T:
    """The result; an error's exception has what the document says of its body."""
    try:
        return operation()
    except ApiException as reason:
        error = (reason.data.name, reason.data.message) if isinstance(reason.data, ApiError) else None
        raise Refused(reason.status, error, reason.headers or {}) from reason


class Connection:
    def __init__(self, address: str) -> None:
        self.address = address

    def api(self, username: str | None = None, password: str | None = None, access_token: str | None = None) -> TokenApi:
        configuration = Configuration(self.address, username=username, password=password, access_token=access_token)
        return TokenApi(ApiClient(configuration))

    def create(self, order: dict[str, Any], secret: str | None = None) -> TokenPair:
        api = self.api() if secret is None else self.api("demo", secret)
        return call(lambda: api.create_token(CreateToken(**order)))

    def inspect(self, token: str, scope: list[str]) -> tuple[TokenInfo, dict[str, Any]]:
        info = call(lambda: self.api(access_token=token).inspect_token(scope=scope or None))
        return info, info.claims

    def refresh(self, token: str, scope: list[str]) -> TokenPair:
        body = RefreshToken(scope=scope) if scope else None
        return call(lambda: self.api(access_token=token).refresh_token(body))


check(sys.argv[1], Connection, unclear=ValidationError)
