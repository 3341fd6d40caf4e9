"""Benchmarks: what a call costs, beside what the machine itself charges for it, in one run.  `make bench` runs them.

Times are of this machine on this day; ratios are what to compare.  No test asserts any of them.
"""
