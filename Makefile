# make run    everything, from a bare machine: set up, start the embedded cluster, run the examples, stop
# make test   every check and every test that this machine can run; with ROCK_TEST_TRUE_TIMES=1, commands of minutes too
# make check  ruff (its formatter, too), mypy, vermin and import-linter alone
# make bench  what calls cost, side by side with their floors; PEERS=1 measures SWE-ReX and ROCK along
# make dev    the embedded cluster and a gateway, until Ctrl-C

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# The tests wait more than they compute.
WORKERS ?= 6

.PHONY: run test check bench dev setup clean

run: setup
	@$(BIN)/rock-nomad dev --port 0 --simulate-gpus "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1" --submit jobspecs/examples

# What fails where tests share the machine is tried once more, alone: what fails twice has failed, and the end names the
# rest.  Exit code 1 is pytest's for failed tests; any other means that not all have run.  Thousands of Pythons are
# started on the way, so what one has compiled has to serve the next.
test: export PYTHONDONTWRITEBYTECODE :=
test: check
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal || { \
		[ $$? -eq 1 ] && echo "once more, alone:" && \
		$(BIN)/pytest -q -rpfE --last-failed --last-failed-no-failures=none --maxfail=20; }

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy sdk/rock rocklet rock_nomad tests
	@$(BIN)/vermin --quiet --no-tips --eval-annotations --target=3.10- --violations sdk
	@$(BIN)/lint-imports --no-cache

bench: setup
	@$(BIN)/python -m tests.bench $(if $(PEERS),--peers)

dev: setup
	@$(BIN)/rock-nomad dev

# GEM's environments have a Python of their own; where it cannot be had, everything else still works.
setup: $(READY)
	-@$(BIN)/rock-nomad setup-gem --once > /dev/null

# Once set up, nothing here needs a network.  The wheels serve the tests that install the client in clean venvs.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rock-nomad needs Python 3.11 or later, but $(PYTHON) is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "setting up .venv (one to two minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m tests.pythons .cache/wheels
	@touch $(READY)

clean:
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
