import unittest

from ledger import Ledger


class LedgerTest(unittest.TestCase):
    def test_an_unknown_account_is_empty(self) -> None:
        self.assertEqual(Ledger().balance("nobody"), 0)

    def test_two_deposits_add_up(self) -> None:
        ledger = Ledger()
        ledger.deposit("alice", 3)
        ledger.deposit("alice", 4)
        self.assertEqual(ledger.balance("alice"), 7)
