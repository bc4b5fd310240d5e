"""Everything `sheaf up` can be told, checked once: options, then `SHEAF_…` variables, then defaults.

The only place with pydantic outside the API's schemas. Knows no adapter; `compose` reads it.
"""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sheaf.core.base.errors import UsageError, WireError
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.data_dir import default_data_dir

DEFAULT_PORT: Final = 7411
DEFAULT_LAN: Final = "0.0.0.0:0"

Addresses = Annotated[tuple[str, ...], NoDecode]


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """What `compose` tells its caller once the local door listens and the database is checked."""

    port: int
    launch_link: str
    lan_listening: str | None


_REPEATED: Final = {"peers": "peer", "relays": "relay"}
"""Settings whose option is given once for each value, and what the option is called."""


class Settings(BaseSettings):
    """The settings of one daemon. Lists in variables are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="SHEAF_", frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=default_data_dir)
    port: Annotated[int, Field(ge=0, le=65_535)] = DEFAULT_PORT
    """The local door; 0 picks a free port."""
    lan: str = DEFAULT_LAN
    """HOST:PORT of the signalling listener; port 0 picks a free one."""
    mdns: bool = True
    peers: Addresses = ()
    """HOST:PORT of other daemons' signalling listeners, for networks without multicast."""
    relays: Annotated[tuple[str, ...], NoDecode, Field(repr=False)] = ()
    """wss://[TOKEN@]HOST[:PORT][/PATH] of relays, for all spaces; the text may hold tokens."""
    stun: Addresses = ()
    """HOST:PORT of STUN servers besides those of the relays."""
    open_browser: bool = True
    accept_shared_files: bool = False
    """Keep keys and documents where the file system has no permissions (decision 0065)."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    user_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Used when the profile is made; None takes the operating system's."""
    device_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    webui_dir: Path | None = None
    """Another build of the web editor, for development."""

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("peers", "relays", "stun", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("lan")
    @classmethod
    def _listening_address(cls, value: str) -> str:
        split_address(value, port_min=0)
        return value

    @field_validator("relays")
    @classmethod
    def _relay_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                RelayUrl.parse(text)
            except WireError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("peers", "stun")
    @classmethod
    def _peer_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            split_address(address, port_min=1)
        return value

    @property
    def bundle_dir(self) -> Path:
        """Where the built web editor is looked for."""
        if self.webui_dir is not None:
            return self.webui_dir
        return Path(str(importlib.resources.files("sheaf"))) / "webui_dist"

    @classmethod
    def load(cls, **options: Any) -> Settings:
        """Settings from command-line options (None means: not given), variables and defaults.

        Raises:
            UsageError: a value does not fit; the text names the option and the reason.
        """
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return cls(**(_singular_variables(given) | given))
        except ValidationError as error:
            raise UsageError(_explain(error, given)) from error


def split_address(text: str, *, port_min: int) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` in its parts.

    Raises:
        ValueError: it is not; the text says what is expected.
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not separator or not host or (":" in host and not text.startswith("[")):
        raise ValueError(f"{text!r} is not HOST:PORT")
    if not (port.isascii() and port.isdigit() and port_min <= int(port) <= 65_535):
        raise ValueError(f"{port!r} is not a port between {port_min} and 65535")
    return host, int(port)


def _singular_variables(given: Mapping[str, Any]) -> dict[str, str]:
    """`SHEAF_RELAY` and `SHEAF_PEER`: the options are called so, and people try it.

    Raises:
        UsageError: the plural is set too, and it cannot be both.
    """
    found = {}
    for name, option in _REPEATED.items():
        plural = f"SHEAF_{name.upper()}"
        singular = f"SHEAF_{option.upper()}"
        if name in given or not (text := os.environ.get(singular)):
            continue
        if os.environ.get(plural):
            raise UsageError(f"{singular} and {plural} are both set; put everything into {plural}")
        found[name] = text
    return found


def _explain(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Each mistake by the name it was given under: an option's or a variable's."""
    parts = []
    for item in error.errors():
        field = str(item["loc"][0]) if item["loc"] else "settings"
        option = _REPEATED.get(field, field).replace("_", "-")
        name = f"--{option}" if field in given else f"SHEAF_{field.upper()}"
        parts.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)
