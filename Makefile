# The commands of a day. `make` alone lists them.

DATA ?= ../shared/data# holds math500/, gsm8k/ and attempts/, for the benchmarks

.DEFAULT_GOAL := help
.PHONY: help install test test-slow lint format bench docs

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## install the package from this checkout, with what tests and linters need
	pip install -c constraints.txt -e ".[test]"

test: ## all but the slow tests: about ten minutes on two cores
	pytest -n 2

test-slow: ## the slow ones: weights from scratch, fuzzing, a killed client, a real vLLM server and engine, parity with TRL
	pytest -m slow

lint: ## style, format and types; changes nothing
	ruff check .
	ruff format --check .
	mypy

format: ## format the code and apply the linter's safe fixes
	ruff check --fix .
	ruff format .

bench: ## speed beside what you would use instead (DATA=FOLDER)
	python benchmarks/grading.py --data $(DATA)
	python benchmarks/outside_text.py
	python benchmarks/precision.py
	python benchmarks/selection.py
	python benchmarks/generation.py
	python benchmarks/rouge.py $(DATA)/gsm8k
	python benchmarks/client_throughput.py
	python benchmarks/launchers.py
	python benchmarks/sft_training.py
	python benchmarks/dpo_training.py

docs: ## check that every relative link in the pages leads to a file
	@broken=0; for page in *.md docs/*.md; do \
	  for link in $$(grep -o '](\([^):#]*\)[)#]' $$page | sed 's/^](//; s/[)#]$$//'); do \
	    test -e "$$(dirname $$page)/$$link" || { echo "$$page: no file $$link"; broken=1; }; \
	  done; \
	done; exit $$broken
