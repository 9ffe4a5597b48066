"""Typed settings. `config/default.toml` explains each key and holds each default; this file holds types and bounds.

Later sources win: the defaults, the file given with --config, environment variables, flags.
"""

import base64
import json
import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from streamsrv.layers import merge, read_toml
from streamsrv.values import MIN_SECRET, Host, HostNames, Networks, Port, PublicUrl, Secret


def shipped(name: str) -> Path:
    """Find a folder that ships with the package: beside it in a checkout, under share/streamsrv when installed."""
    checkout = Path(__file__).resolve().parent.parent / name
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data")) / "share" / "streamsrv" / name


def _or_cores(count: int) -> int:
    """0 is one for each processor core."""
    return count or os.cpu_count() or 1


class Section(BaseModel):
    """A table of the file. Unknown keys are errors, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def split_lists(cls, value: object, info: ValidationInfo) -> object:
        """Lists in variables are comma-separated or JSON."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if not isinstance(value, str) or get_origin(annotation) is not list:
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [item.strip() for item in value.split(",") if item.strip()]


class SlottedSection(Section):
    """A table of work of which so much goes on at the same time."""

    concurrency: int = Field(ge=0)

    @property
    def slots(self) -> int:
        return _or_cores(self.concurrency)


class ServerSettings(Section):
    hosts: Annotated[list[Host], NoDecode, Field(min_length=1)]
    ports: Annotated[list[Port], NoDecode, Field(min_length=1)]
    data_dir: Path
    public_url: PublicUrl
    hosts_allowed: HostNames
    secret: Secret
    allowed_origins: Annotated[list[str], NoDecode]
    shutdown_seconds: float = Field(ge=0)
    trusted_proxies: Networks
    header_seconds: float = Field(gt=0)
    idle_seconds: float = Field(gt=0)
    max_connections: int = Field(ge=1)
    max_connections_per_address: int = Field(ge=1)
    max_event_streams: int = Field(ge=1)


class LogSettings(Section):
    format: Literal["auto", "console", "json"]
    level: Literal["debug", "info", "warning", "error"]


class LimitSettings(Section):
    max_upload_bytes: int = Field(gt=0)
    max_duration_seconds: float = Field(gt=0)
    max_samples: int = Field(gt=0)
    reserve_bytes: int = Field(ge=0)
    max_parts: int = Field(gt=0)
    max_field_bytes: int = Field(gt=0)
    max_json_bytes: int = Field(gt=0)
    upload_idle_seconds: float = Field(gt=0)
    upload_min_bytes_per_second: int = Field(ge=0)
    upload_busy_bytes_per_second: int = Field(ge=0)
    download_idle_seconds: float = Field(gt=0)


class JobSettings(SlottedSection):
    ageing_seconds: float = Field(gt=0)
    max_attempts: int = Field(ge=1)
    max_restarts: int = Field(ge=0)
    lease_seconds: float = Field(gt=0)
    retention_days: float = Field(ge=0)
    max_waiting: int = Field(ge=1)


class HlsSettings(Section):
    segment_seconds: int = Field(ge=1, le=60)
    live_uploads: int = Field(ge=0)
    max_requests: int = Field(ge=1)
    cache_bytes: int = Field(ge=0)


class ConvertSettings(SlottedSection):
    live_uploads: int = Field(ge=0)
    max_requests: int = Field(ge=1)


class ExtractSettings(SlottedSection):
    media_roots: Annotated[list[Path], NoDecode]
    segment_seconds: float = Field(ge=0.1, le=3600)
    max_clips: int = Field(ge=1, le=10_000)
    max_requests: int = Field(ge=1)
    fresh_seconds: float = Field(ge=0)
    downloads: int = Field(ge=1)
    downloads_per_host: int = Field(ge=1)
    waiting: int = Field(ge=0)
    downloads_bytes: int = Field(gt=0)
    clips_bytes: int = Field(gt=0)
    results_bytes: int = Field(gt=0)
    retention_days: float = Field(ge=0)

    @field_validator("media_roots")
    @classmethod
    def take_absolute_roots(cls, roots: list[Path]) -> list[Path]:
        if any(not root.is_absolute() for root in roots):
            raise ValueError("A media root is an absolute path")
        return roots


class SeparateSettings(Section):
    model: str = Field(min_length=1)
    model_repo: str
    download: bool
    devices: Literal["auto"] | list[str]
    batch: int = Field(ge=1, le=64)
    overlap: float = Field(ge=0, le=0.95)
    shifts: int = Field(ge=0, le=20)
    precision: Literal["float32", "bfloat16"]
    clip: Literal["clamp", "tanh", "none"]
    songs: int = Field(ge=1)
    max_passes: float = Field(ge=1)
    max_requests: int = Field(ge=1)
    downloads_bytes: int = Field(gt=0)

    @field_validator("devices", mode="before")
    @classmethod
    def split_devices(cls, devices: object) -> object:
        """In a variable: auto, or a list with commas or as JSON."""
        if not isinstance(devices, str) or devices == "auto":
            return devices
        if devices.lstrip().startswith("["):
            return json.loads(devices)
        return [name.strip() for name in devices.split(",") if name.strip()]

    @property
    def repo(self) -> Path | None:
        return Path(self.model_repo).resolve() if self.model_repo else None


class CallbackSettings(Section):
    secret: str
    retry_seconds: Annotated[list[float], NoDecode]
    timeout_seconds: float = Field(gt=0)
    concurrency: int = Field(ge=1)

    @field_validator("secret")
    @classmethod
    def take_keys_in_base64(cls, secret: str) -> str:
        key = secret.removeprefix("whsec_")
        try:
            good = not secret or (secret != key and len(base64.b64decode(key, validate=True)) >= MIN_SECRET)
        except ValueError:
            good = False
        if not good:
            raise ValueError(f'A secret of callbacks is "whsec_" and at least {MIN_SECRET} bytes in base64')
        return secret


class OutboundSettings(Section):
    allow: Annotated[list[str], NoDecode]
    connect_seconds: float = Field(gt=0)
    idle_seconds: float = Field(gt=0)
    min_bytes_per_second: int = Field(ge=0)
    grace_seconds: float = Field(gt=0)
    max_download_bytes: int = Field(gt=0)
    max_download_seconds: float = Field(gt=0)


class WorkerSettings(Section):
    processes: int = Field(ge=0, le=1024)

    @property
    def count(self) -> int:
        return _or_cores(self.processes)


class FfmpegSettings(Section):
    ffmpeg: str
    ffprobe: str
    sandbox: Literal["auto", "require", "off"]


class Config(BaseSettings):
    """All settings of one server. Read it with `load_config`."""

    model_config = SettingsConfigDict(env_prefix="STREAMSRV_", env_nested_delimiter="__", extra="forbid", frozen=True)

    server: ServerSettings
    log: LogSettings
    limits: LimitSettings
    jobs: JobSettings
    hls: HlsSettings
    convert: ConvertSettings
    extract: ExtractSettings
    separate: SeparateSettings
    callbacks: CallbackSettings
    outbound: OutboundSettings
    workers: WorkerSettings
    ffmpeg: FfmpegSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # load_config merges; nothing is read behind its back


def load_config(file: Path | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Merge all sources. `flags` are nested like the file and win over all others.

    Raises OSError for a file that can't be read and ValueError, in words, for what can't be a setting.
    """
    layers: list[Mapping[str, Any]] = [read_toml(shipped("config") / "default.toml")]
    if file is not None:
        layers.append(read_toml(file))
    layers.append(_read_environment())
    if "ALLOWED_ORIGINS" in os.environ:
        layers.append({"server": {"allowed_origins": os.environ["ALLOWED_ORIGINS"]}})
    layers.append(flags or {})
    return Config(**merge(layers))


def _read_environment() -> dict[str, Any]:
    """Variables like STREAMSRV_JOBS__CONCURRENCY. One of an unknown section is a mistake, too."""
    for name in os.environ:
        section, separator, _ = name.removeprefix("STREAMSRV_").partition("__")
        if name.startswith("STREAMSRV_") and separator and section.lower() not in Config.model_fields:
            raise ValueError(f"{name}: there is no section {section.lower()!r}")
    return EnvSettingsSource(Config)()
