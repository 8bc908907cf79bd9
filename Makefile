# Two commands: `make demo` makes pictures, `make test` runs every test. Both make .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DISTRIBUTIONS := core $(sort $(wildcard plugins/mezzotint-*))
EDITABLE := $(foreach folder,$(DISTRIBUTIONS),--editable $(folder))

.PHONY: help demo test check format clean

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(STAMP) ## make pictures from text and print where they are
	$(BIN)/python -m mezzotint generate \
		"flat icon of a red apple" "3d render of strawberry" "3d render of cactus" "3d render of a rocket" \
		"3d render of panda" "3d render of doughnut" "3d render of bus" "3d render of rainbow" \
		"flat icon of ghost" "cartoon emoji of crying face" "3d render of sunflower" "red heart" \
		--scheduler dpmpp-2m --spacing karras --seed 7 --grid --output demo/

test: $(STAMP) ## run every test
	$(BIN)/python -m pytest --numprocesses auto

check: $(STAMP) ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cd core && ../$(BIN)/mypy --config-file ../pyproject.toml
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the virtual environment and what the demo made
	rm -rf $(VENV) demo

$(STAMP): constraints.txt requirements-dev.txt $(foreach folder,$(DISTRIBUTIONS),$(folder)/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("mezzotint needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EDITABLE) --requirement requirements-dev.txt
	touch $(STAMP)
