"""What talking to Nomad's agents and to Consul's has in common: the token and TLS."""

from __future__ import annotations

import ssl

import requests

from rock_nomad.config import AgentConfig, ConfigError, read_token

__all__ = ["AgentToken", "describe_failure", "ssl_context"]


class AgentToken:
    """The token to show an agent; its file is read again when it changes."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._seen: tuple[int, int] | None = None
        self._token: str | None = None

    def __repr__(self) -> str:
        return f"AgentToken({self._config.url})"

    def get(self) -> str | None:
        """The token now, or None.

        Raises ConfigError: its file cannot be read, and never could.
        """
        file = self._config.token_file
        if file is None:
            return read_token(self._config)
        try:
            facts = file.stat()
            if (facts.st_mtime_ns, facts.st_ino) != self._seen:
                self._token = read_token(self._config)
                self._seen = (facts.st_mtime_ns, facts.st_ino)
        except (OSError, ConfigError) as error:
            # While the file is being replaced the token from before is as good as any.
            if self._token is None:
                raise ConfigError(f"{file}: cannot be read: {error}") from error
        return self._token


def describe_failure(error: object, config: AgentConfig) -> str:
    """Why an agent could not be reached, and what to do if it is its certificate."""
    # requests wraps what happened in three texts, of which the last says it.
    why = str(error).rpartition(": ")[2].strip("\"')") if isinstance(error, requests.RequestException) else str(error)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        signers = f"ca_file ({config.ca_file})" if config.ca_file else "the system's CAs, since no ca_file is set"
        return f"its certificate is not verified by {signers}: {why}; set ca_file to the CA that signed it"
    return why or type(error).__name__


def ssl_context(config: AgentConfig) -> ssl.SSLContext:
    """How the agent's certificate is verified, and ours is shown."""
    context = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
    if config.cert_file is not None:
        context.load_cert_chain(str(config.cert_file), str(config.key_file) if config.key_file else None)
    return context
