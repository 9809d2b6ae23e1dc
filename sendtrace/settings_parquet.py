"""`[parquet]`: where `sendtrace sink parquet` and `sendtrace export` write, and when a file is closed.

There is no key for credentials: those of S3 come from the standard variables of AWS.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from sendtrace.settings_table import SettingsTable

_MIB: Final = 1024 * 1024
_LONGEST_ROLL_S: Final = 24 * 60 * 60
_MOST_ROWS: Final = 100_000_000


class ParquetSettings(SettingsTable):
    """`[parquet]`: a file is closed by age, bytes or rows, whichever comes first."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=4_096)] | None = Field(
        default=None, description="a directory, or s3://BUCKET/PREFIX"
    )
    roll_seconds: int = Field(
        default=900, ge=1, le=_LONGEST_ROLL_S, description=f"a number of seconds from 1 to {_LONGEST_ROLL_S} (a day)"
    )
    roll_bytes: int = Field(
        default=128 * _MIB,
        ge=_MIB,
        le=4096 * _MIB,
        description=f"a number of bytes from {_MIB} (1 MiB) to {4096 * _MIB} (4 GiB)",
    )
    roll_rows: int = Field(
        default=5_000_000, ge=1, le=_MOST_ROWS, description=f"a number of rows from 1 to {_MOST_ROWS}"
    )
    s3_endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$")] | None = Field(
        default=None, description="http://HOST:PORT or https://HOST of a store that speaks S3; without it, AWS"
    )
