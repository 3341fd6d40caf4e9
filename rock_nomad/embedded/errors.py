"""What a request can be refused with; everything else that goes wrong is a fault of ours."""


class Refused(Exception):
    """An answer other than 200: the caller sent something that Nomad or Consul would refuse too."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Unsupported(Refused):
    """Beyond what this agent imitates; the real one might well do it.  Always 501, and names itself."""

    def __init__(self, what: str) -> None:
        super().__init__(501, f"rock-nomad-embedded does not imitate {what}")
