"""Requests, at the path that ROCK's documents use."""

from rock._requests import (
    Action,
    BashAction,
    ChmodRequest,
    ChownRequest,
    CloseBashSessionRequest,
    CloseSessionRequest,
    Command,
    CreateBashSessionRequest,
    CreateSessionRequest,
    ReadFileRequest,
    RunMode,
    UploadMode,
    UploadRequest,
    WriteFileRequest,
)

__all__ = [
    "Action",
    "BashAction",
    "ChmodRequest",
    "ChownRequest",
    "CloseBashSessionRequest",
    "CloseSessionRequest",
    "Command",
    "CreateBashSessionRequest",
    "CreateSessionRequest",
    "ReadFileRequest",
    "RunMode",
    "UploadMode",
    "UploadRequest",
    "WriteFileRequest",
]
