# The template's own menu: `make help`. A rendered project has another one.

.DEFAULT_GOAL := help
.PHONY: help demo story test mutants check format docs bench release lock clean

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Where bytecode is forbidden, every process compiles every library again.
unexport PYTHONDONTWRITEBYTECODE
# Threads of OpenMP that wait would keep the processors busy.
export OMP_WAIT_POLICY ?= passive

help: ## this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: .venv/ready ## render the default project to build/demo, train it, show what came of it
	@python tests/demo.py

story: .venv/ready ## let the world change around a served model, and draw what happens
	@PYTHONPATH=tests python -m story

# Three processes, for tests wait for one another or for a clock; those of a file go to one of them, and all share the
# trained projects.
test: .venv/ready build/node/ready ## the suite; ARGS="-k name" for a part, ARGS=--exhaustive for every case
	python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

mutants: .venv/ready build/node/ready ## put faults in, which the suite's default size must catch
	python tests/mutants.py $(ARGS)

check: .venv/ready ## format, lint and types of the template itself
	ruff format --check
	ruff check
	mypy

format: .venv/ready ## put the code into shape
	ruff format
	ruff check --fix

docs: .venv/ready ## the pages as a site, to build/site; a link that leads nowhere ends it
	@python tests/website.py

bench: .venv/ready ## time and memory beside others, to docs/benchmarks.md; ARGS="idle" for one
	PYTHONPATH=tests:hooks python -m benchmarks $(ARGS)

release: .venv/ready ## check and write VERSION=0.4.0; ARGS=--dry-run shows it only
	@python hooks/release.py $(VERSION) $(ARGS)

lock: .venv/ready ## compile requirements.txt anew, with the newest versions
	@mkdir -p build
	sed -n '/^dependencies = \[/,/^\]/p; /^rules = \[/,/^\]/p; /^train = \[/,/^\]/p' template/pyproject.toml.jinja \
		| sed -n '/^  "dvc-/d; s/^  "\(.*\)",.*/\1/p' > build/project.in
	uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.txt requirements.in build/project.in

clean: ## take away everything that was set up or rendered here
	rm -rf .venv build

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." \
		if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.txt)"
	uv pip install --quiet --requirement requirements.txt
	@touch $@

build/node/ready: tests/package.json .venv/ready
	@mkdir -p build/node
	cp tests/package.json build/node/
	npm install --prefix build/node --no-audit --no-fund --no-package-lock --loglevel error
	@touch $@
