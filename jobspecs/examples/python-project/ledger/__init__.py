"""A ledger small enough to have one fault."""


class Ledger:
    """Amounts by account."""

    def __init__(self) -> None:
        self._amounts: dict[str, int] = {}

    def deposit(self, account: str, amount: int) -> None:
        """Add to an account."""
        self._amounts[account] = amount

    def balance(self, account: str) -> int:
        """What an account holds; nothing if it is unknown."""
        return self._amounts.get(account, 0)
