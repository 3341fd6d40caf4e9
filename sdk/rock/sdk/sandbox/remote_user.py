"""`Sandbox.remote_user`, at ROCK's path."""

from rock._remote_user import LinuxRemoteUser, RemoteUser

__all__ = ["LinuxRemoteUser", "RemoteUser"]
