"""`Sandbox.fs`, at ROCK's path."""

from rock._absent import absent_names
from rock._file_system import FileSystem, LinuxFileSystem

__all__ = ["FileSystem", "LinuxFileSystem"]

__getattr__ = absent_names(__name__)
