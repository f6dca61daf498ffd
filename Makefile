# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT := examples/filetype/out
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench format clean

demo: $(STAMP)
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/filetype/demo.sh

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cat templates/site/*.sh | $(BIN)/shellcheck --severity=warning -
	$(BIN)/shellcheck --severity=warning .ci/run docs/apply-delta.sh examples/filetype/demo.sh tests/peers/*.sh

bench: $(STAMP)
	$(BIN)/python -m benchmarks

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(OUT) examples/filetype/keys build dist

# --group needs pip 25.1, which a fresh virtual environment may not have yet.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[local]' --group dev
# It asks for an ONNX Runtime that reports home, and runs with ours as well: docs/adr/0071.
	$(BIN)/pip install --quiet --no-deps 'onnxruntime-genai==0.18.0'
	@touch $@
