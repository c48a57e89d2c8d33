"""The base of what is written to JSON files and read again, also from files of other versions."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of the records: read-only; unknown keys are attributes like any other.

    Files of earlier versions open too: a key that they lack has a default, and a key that is
    unknown here is kept. Only the keys that were given are written again.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_dict(self) -> dict[str, Any]:
        """Return the keys that were given, as JSON types."""
        return self.model_dump(exclude_unset=True)
