"""The client that openapi-python-client makes."""

import json
import sys
from base64 import b64encode
from typing import Any, TypeVar

import httpx
from check import Refused, check
from lingpai_client import AuthenticatedClient, Client
from lingpai_client.api.token import create_token, inspect_token, refresh_token
from lingpai_client.models import ApiError, CreateToken, RefreshToken, TokenInfo, TokenPair
from lingpai_client.types import UNSET, Response

T = TypeVar("T")


def parsed(response: Response[ApiError | T]) -> T:
    """The result; an error is a result too, and a status that the document does not have is None."""
    if isinstance(response.parsed, ApiError):
        error = (response.parsed.name, response.parsed.message)
        raise Refused(response.status_code, error, httpx.Headers(response.headers))
    if response.parsed is None:
        raise Refused(response.status_code, None, httpx.Headers(response.headers))
    return response.parsed


class Connection:
    def __init__(self, address: str) -> None:
        self.address = address

    def bearing(self, token: str, prefix: str = "Bearer") -> AuthenticatedClient:
        return AuthenticatedClient(base_url=self.address, token=token, prefix=prefix)

    def create(self, order: dict[str, Any], secret: str | None = None) -> TokenPair:
        body = CreateToken.from_dict(order)
        if secret is None:
            # It takes no notice of the `{}` in `security`, but anonymous works.
            anonymous: Any = Client(base_url=self.address)
            return parsed(create_token.sync_detailed(client=anonymous, body=body))
        basic = self.bearing(b64encode(f"demo:{secret}".encode()).decode(), prefix="Basic")
        return parsed(create_token.sync_detailed(client=basic, body=body))

    def inspect(self, token: str, scope: list[str]) -> tuple[TokenInfo, dict[str, Any]]:
        info = parsed(inspect_token.sync_detailed(client=self.bearing(token), scope=scope or UNSET))
        return info, info.claims.additional_properties

    def refresh(self, token: str, scope: list[str]) -> TokenPair:
        body = RefreshToken(scope=scope) if scope else UNSET
        return parsed(refresh_token.sync_detailed(client=self.bearing(token), body=body))


check(sys.argv[1], Connection, unclear=json.JSONDecodeError)
