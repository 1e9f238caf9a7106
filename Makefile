# make demo    six emulated boards learn together (installs what is missing first)
# make test    all tests; make test-fast those without emulator and TensorFlow
# make fuzz    the fuzzers, longer (MINUTES=5 each); make sizes  flash and RAM of the firmware
# make budgets what inference costs, into tests/budgets.toml
# make costs   what the compiler expects of layers, into tinyfl/compiler/cost.toml
# make methods learning methods compared, into docs/METHODS.md: what was run is kept in build/methods
# make setup   only install what is missing; silent when nothing is

PY = .venv/bin/python
TINYFL = .venv/bin/tinyfl
PYTEST = $(PY) -m pytest -q
BOTH_CORES = -n 2 --dist loadfile
MINUTES ?= 5
SETUP ?= sh tools/setup.sh
export PYTHON

.PHONY: setup setup-dev demo test test-fast fuzz sizes budgets costs methods lint clean

setup:
	@$(SETUP) demo

setup-dev:
	@$(SETUP) dev

demo: setup
	@$(TINYFL) run models/har --on emu:qemu-m4 --boards 6
	@$(TINYFL) report

test: setup-dev
	$(PYTEST) $(BOTH_CORES) -m "not slow and not emulated and not hardware"
	$(PYTEST) $(BOTH_CORES) -m "(slow or emulated) and not hardware"

test-fast: setup-dev
	$(PYTEST) $(BOTH_CORES) -m "not slow and not emulated and not hardware"

fuzz: setup-dev
	TINYFL_FUZZ_SECONDS=$$(($(MINUTES) * 60)) $(PYTEST) -k fuzz --timeout 0

sizes: setup
	@$(PY) tools/sizes.py

budgets: setup
	@$(PY) tools/budgets.py

costs: setup
	@$(PY) tools/costs.py

methods: setup
	@$(PY) tools/bench/methods.py --write

lint: setup-dev
	$(PYTEST) tests/unit/test_lint.py

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
