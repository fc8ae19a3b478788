"""How a served model is reached: its addresses, the NAME of the variable that holds the key, and how patient to be.

Place in the flow: an API teacher and a source of attempts behind an API make `ApiSettings` of their configuration; `client`
works by them. The key itself is read from the environment when a client is made, and stands in no configuration.

Example::

    ApiSettings(model="gpt-4o", budget_usd=20.0)
    ApiSettings(model="tiny", base_urls=addresses("http://127.0.0.1:8000/v1"), api_key_env="")
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from sei.errors import UserError
from sei.llm.prices import Price

Mode = Literal["live", "batch"]
StructuredMode = Literal["json_schema", "prompt"]


@dataclass(frozen=True)
class ApiSettings:
    """How to reach a served model. Keys are read from the environment variable named here, never from a configuration."""

    model: str
    base_urls: tuple[str, ...] = ()  # several are balanced; () is the openai package's default endpoint
    api_key_env: str = "OPENAI_API_KEY"  # "" where the endpoint takes no key
    mode: Mode = "live"
    structured: StructuredMode = "json_schema"  # falls back to "prompt" by itself where the server refuses a schema
    max_concurrency: int = 64  # calls in flight per endpoint at most; 429s narrow it
    timeout_s: float = 180.0  # for one attempt, from sending to the last byte
    patience_s: float = 900.0  # for one request, over all its attempts
    max_attempts: int = 16
    max_wait_s: float = 600.0  # a server that asks for a longer pause (`Retry-After`) ends the run
    budget_usd: float | None = None  # for one run, over all its processes and restarts
    price: Price | None = None  # overrides the table
    batch_poll_s: float = 30.0
    batch_lines: int = 10_000  # requests in one batch at most
    batch_rounds: int = 3  # times a line that expired or failed is submitted
    group: str = (
        "teacher"  # where its keys stand in the configuration; "" for a source of attempts, which has few of them
    )

    @property
    def who(self) -> str:
        """What a message calls the served model."""
        return f"{self.group or 'source of attempts'} '{self.model}'"

    def key(self, name: str) -> str:
        """What a message calls the key `name`."""
        return f"{self.group}.{name}" if self.group else f"{name} of this source of attempts"


def addresses(base_url: str | Sequence[str] | None) -> tuple[str, ...]:
    """`ApiSettings.base_urls` of a configuration's `base_url`: one URL, several, or None for the package's default."""
    return (base_url,) if isinstance(base_url, str) else tuple(base_url or ())


def address_complaints(group: str, base_url: str | Sequence[str] | None, api_key_env: str) -> list[str]:
    """What is wrong with the address and the key's name that `group` (as `teacher`) configures. Repeats no secret."""
    complaints = []
    if any(holds_password(url) for url in addresses(base_url)):
        complaints.append(
            f"{group}.base_url holds a user name or password, or a key, which would be written to files. Leave it out and put "
            f"the key into the environment variable that {group}.api_key_env names."
        )
    elif any(not _is_address(url) for url in addresses(base_url)):
        complaints.append(
            f"{group}.base_url: each must be an address such as http://127.0.0.1:8000/v1, with http:// or https://."
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*|", api_key_env):
        complaints.append(f"{group}.api_key_env: give the NAME of an environment variable, never the key itself.")
    return complaints


_SECRET_FIELDS = re.compile(
    r"(api|access|auth|subscription)?[-_]?(key|token|secret|signature|sig|password)", re.IGNORECASE
)


def holds_password(url: str) -> bool:
    """Whether a URL carries a user name, a password or, in its query, a key, which must reach no file."""
    rest = url.partition("://")[2] or url  # by hand: what is no URL to the library may hold a password all the same
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    names = (pair.partition("=")[0] for pair in url.partition("?")[2].split("&"))
    return "@" in host or any(_SECRET_FIELDS.fullmatch(name) for name in names)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def api_key(settings: ApiSettings) -> str:
    """The key from the environment. Raises UserError naming the variable to set; an own server may need none."""
    if key := os.environ.get(settings.api_key_env, "").strip() if settings.api_key_env else "":
        if not (key.isascii() and key.isprintable()):  # no HTTP header can carry it, and the library would print it
            raise UserError(
                f"{settings.who}: the environment variable {settings.api_key_env} holds characters that no key "
                "has (a line break, or letters outside ASCII). Set it anew, to the key alone."
            )
        return key
    own = bool(settings.base_urls) and all(_is_loopback(url) for url in settings.base_urls)
    if own or not settings.api_key_env:
        return "none"
    raise UserError(
        f"{settings.who}: the environment variable {settings.api_key_env} is not set. Set it to your API key "
        f"(it is never written to a file), or name another variable with {settings.key('api_key_env')}."
    )


def _is_loopback(url: str) -> bool:
    return _is_address(url) and urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
