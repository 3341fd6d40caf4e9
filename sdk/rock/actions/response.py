"""The envelope of ROCK's wire, at ROCK's path."""

from rock._responses import BaseResponse, ResponseStatus, RockResponse

__all__ = ["BaseResponse", "ResponseStatus", "RockResponse"]
