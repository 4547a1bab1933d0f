# `make quickstart` runs the main job, `make test` the whole suite; both set up .venv first.
# .venv is Python 3.11 with Reverb and TensorFlow, .venv-modern is Python 3.13 without them.

# The first of some interpreters that runs; pyenv's shims may not.
first_that_runs = $(shell for python in $(1); do \
  $$python -c '' 2>/dev/null && command -v $$python && break; done)
PYTHON ?= $(call first_that_runs,python3.11 python3)
PYTHON_MODERN ?= $(call first_that_runs,python3.13 ~/.pyenv/versions/3.13.*/bin/python)
UV_VERSION := 0.13.8
BIN := .venv/bin

.PHONY: setup setup-modern check-modern quickstart emulators test test-modern lint docs bench lock clean

setup: .venv/.installed
setup-modern: .venv-modern/.installed

# $(call check,interpreter,its version,the variable that names it)
define check
@'$(1)' -c 'import sys; sys.exit(sys.version_info[:2] != tuple(map(int, "$(2)".split("."))))' 2>/dev/null || \
  { echo "error: there is no Python $(2) here; install it, or name it: make $(3)=/path/to/python$(2)"; exit 1; }
endef

# $(call install,interpreter,environment,lock)
define install
$(1) -m venv --clear $(2)
$(2)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
$(2)/bin/uv pip sync --quiet --system-certs --compile-bytecode --python $(2)/bin/python --require-hashes $(3)
$(2)/bin/python -m ensurepip --default-pip >/dev/null
$(2)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
@touch $(2)/.installed
endef

.venv/.installed: requirements.lock setup.py
	$(call check,$(PYTHON),3.11,PYTHON)
	$(call install,$(PYTHON),.venv,requirements.lock)

check-modern:
	$(call check,$(PYTHON_MODERN),3.13,PYTHON_MODERN)

.venv-modern/.installed: requirements-modern.lock setup.py | check-modern
	$(call install,$(PYTHON_MODERN),.venv-modern,requirements-modern.lock)

quickstart: setup
	$(BIN)/rl-datasets quickstart

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A server of Google Cloud Storage for the tests; where it cannot be built they are skipped.
emulators: .bin/fake-gcs-server
.bin/fake-gcs-server:
	@mkdir -p .bin
	-@command -v go >/dev/null && \
	  GOBIN='$(CURDIR)/.bin' GOFLAGS= timeout 300 go install github.com/fsouza/fake-gcs-server@v1.56.1 2>/dev/null || \
	  echo "no fake-gcs-server: Go cannot build it here, so tests with gs:// are skipped"

test: lint emulators
	$(BIN)/pytest -n 2 --dist worksteal

test-modern: setup-modern emulators
	.venv-modern/bin/pytest -n 2 --dist worksteal

docs: setup
	$(BIN)/mkdocs build --strict
	@echo "read build/site/index.html"

bench: setup
	$(BIN)/python -m benchmarks.speed

COMPILE := uv pip compile --quiet setup.py --extra dev --python-platform x86_64-manylinux_2_28 \
  --generate-hashes --no-annotate --custom-compile-command 'make lock'
lock:
	$(COMPILE) --extra all --python-version 3.11 --output-file requirements.lock
	$(COMPILE) --extra train --extra publish --extra collect --extra stores --python-version 3.13 --output-file requirements-modern.lock

clean:
	rm -rf .venv .venv-* .data .runs build *.egg-info
