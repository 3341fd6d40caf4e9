"""ROCK's requests, at ROCK's path."""

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
    "UploadMode",
    "UploadRequest",
    "WriteFileRequest",
]
