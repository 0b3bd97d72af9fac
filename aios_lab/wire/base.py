"""What all wire types are, and those that every area has."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]  # beyond it neither a browser nor a float counts in ones


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Wire):
    """The body of every 4xx answer."""

    message: str = Field(description="What was asked and why it cannot be done.")
    reason: str = Field(description="A short stable word, such as 'too_large'.")
    hint: str = Field(description="What to do about it.")


class Amounts(Wire):
    cpus: float = 0
    memory: int = Field(0, description="bytes")
    gpus: float = 0
    gpu_memory: int = Field(0, description="bytes")
