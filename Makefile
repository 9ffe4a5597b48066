# The two commands are `make serve` and `make test`; both set up what they need, and quickly the second time.

# Python's compiled files are kept, whatever this shell says: some two hundred servers and processes read them in the tests.
unexport PYTHONDONTWRITEBYTECODE

comma  := ,
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# What serving installs besides: separation needs Demucs and torch, which are large. Without: make serve EXTRAS=
EXTRAS ?= separate

# What takes seconds runs first and stops the rest where it fails. The rest is shared by two processes more than there are
# cores, since many of these tests wait: a file stays together, since its tests share what is dear to make, and folders
# of long files come first, so that the short ones fill up the end.
QUICK_TESTS := tests/house tests/unit
OTHER_TESTS := tests/browser tests/chaos tests/acceptance tests/http tests/tools
WORKERS     ?= $(shell echo $$(( $$(nproc) < 4 ? $$(nproc) + 2 : 5 )))
QUICKLY     := -n $(shell echo $$(( $$(nproc) < 4 ? $$(nproc) : 4 )))
SHARED      := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# In the whole browser, too, with all that people have of it.
PLAYING_TESTS := tests/browser/test_playing.py tests/browser/test_mixer.py tests/browser/test_heard_stems.py
# More of what other tests try: `make test` does without, `make test-all` runs it, too.
SOME        := -m 'not thorough'
SLOWEST     := --durations=20 --durations-min=0.5
# What building and checking leave in a project's folder.
BUILT       := build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
# pytest's status where ARGS leave no test.
NO_TEST     := 5

# System packages by the program, library or file that shows they are there: name=debian-package.
# libatomic is what the Node.js inside playwright needs. Training's tests do with the smaller soundfont.
SOUNDFONTS     := /usr/share/sounds/sf2
SERVE_PROGRAMS := ffmpeg=ffmpeg
TEST_PROGRAMS  := ffmpeg=ffmpeg bwrap=bubblewrap mount=mount chromium=chromium \
                  chromium-headless-shell=chromium-headless-shell node=nodejs npm=npm curl=curl strace=strace unshare=util-linux \
                  libatomic.so.1=libatomic1
TRAIN_TEST_PROGRAMS := ffmpeg=ffmpeg fluidsynth=fluidsynth espeak-ng=espeak-ng \
                  $(SOUNDFONTS)/TimGM6mb.sf2=timgm6mb-soundfont
TRAIN_PROGRAMS := $(TRAIN_TEST_PROGRAMS) $(SOUNDFONTS)/FluidR3_GM.sf2=fluid-soundfont-gm
BENCH_PROGRAMS := ffmpeg=ffmpeg nginx=nginx-light wrk=wrk curl=curl

.DEFAULT_GOAL := help
.PHONY: help serve test test-all test-rest lint bench setup training test-training clean \
        system-serve system-test system-bench system-train system-train-test

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: system-serve $(VENV)/.serve static/vendor/hls.min.js ## Set up what is missing and serve on http://localhost:8080 (ARGS="--port 9000")
	@exec $(BIN)/python -m streamsrv serve $(ARGS)

test: setup lint ## Set up what is missing and run the server's tests (ARGS="-k upload")
ifeq (,$(findstring tests/,$(ARGS)))
	@began=$$(date +%s); \
	$(BIN)/python -m pytest -o 'testpaths=$(QUICK_TESTS)' $(SOME) $(QUICKLY) $(ARGS); quick=$$?; \
	case $$quick in 0|$(NO_TEST)) ;; *) exit $$quick;; esac; \
	$(BIN)/python -m pytest -o 'testpaths=$(OTHER_TESTS)' $(SOME) $(SHARED) $(SLOWEST) $(ARGS); others=$$?; \
	echo "all tests took $$(( $$(date +%s) - began )) s"; \
	if [ $$others = $(NO_TEST) ]; then exit $$quick; else exit $$others; fi
else
	@$(BIN)/python -m pytest $(ARGS)
endif

test-all: test test-rest ## Run all tests, with those that take longer and training's own

test-rest: setup ## Run what make test leaves out (make test-all runs both)
	@began=$$(date +%s); \
	$(BIN)/python -m pytest -o 'testpaths=$(QUICK_TESTS) $(OTHER_TESTS)' -m thorough $(SHARED) $(SLOWEST) $(ARGS) && \
	STREAMSRV_CHROMIUM=/usr/bin/chromium $(BIN)/python -m pytest $(PLAYING_TESTS) $(SHARED) $(ARGS) && \
	echo "the rest of the tests took $$(( $$(date +%s) - began )) s"
	@$(MAKE) --no-print-directory test-training

lint: $(VENV)/.test ## ruff, mypy and the import contracts
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: system-bench $(VENV)/.test static/vendor/hls.min.js ## Run us and a peer side by side and print ratios
	@for bench in bench/*_bench.py; do echo "== $$bench"; PYTHONPATH=.:tests $(BIN)/python $$bench $(ARGS) || exit 1; done

setup: system-test $(VENV)/.test static/vendor/hls.min.js node_modules/.dev ## Install all that serving and testing need

training: system-train $(VENV)/.training ## Install what making songs and training a model on them needs: see training/README.md
	@echo "next: training/README.md"

test-training: system-train-test $(VENV)/.training ## Set up what is missing, lint training and run its own tests (ARGS="-k voice")
	@$(BIN)/ruff check -q training && $(BIN)/ruff format -q --check training
	@$(BIN)/mypy --config-file training/pyproject.toml
ifeq (,$(findstring tests/,$(ARGS)))
	@$(BIN)/python -m pytest training $(SHARED) $(ARGS)
else
	@$(BIN)/python -m pytest $(ARGS)
endif

clean: ## Remove what was installed and built; the data directory stays
	rm -rf $(VENV) node_modules static/vendor $(BUILT) $(addprefix training/,$(BUILT))

# $(call missing,programs): the packages whose program isn't there. As root they are installed, else the line to run is printed.
define install_missing
	@missing=""; for pair in $(1); do name=$${pair%%=*}; \
	  case $$name in \
	    *.so.*) /sbin/ldconfig -p | grep -qF $$name;; \
	    /*) test -e $$name;; \
	    *) command -v $$name >/dev/null 2>&1;; \
	  esac || missing="$$missing $${pair##*=}"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing system packages:$$missing"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "These system packages are missing. Run this once:  sudo apt-get install -y$$missing" >&2; exit 1; fi
endef

system-serve:
	$(call install_missing,$(SERVE_PROGRAMS))

system-test:
	$(call install_missing,$(TEST_PROGRAMS))

system-train:
	$(call install_missing,$(TRAIN_PROGRAMS))

system-train-test:
	$(call install_missing,$(TRAIN_TEST_PROGRAMS))

system-bench:
	$(call install_missing,$(BENCH_PROGRAMS))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV) || { echo "Run this once:  sudo apt-get install -y python3-venv" >&2; exit 1; }

$(VENV)/.serve: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Python packages$(if $(EXTRAS),; torch$(comma) which separation needs$(comma) is large: make serve EXTRAS= goes without)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Python packages, with what tests need"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[separate,test]'
	@touch $@ $(VENV)/.serve

$(VENV)/.training: training/pyproject.toml setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Python packages, with what training and its tests need"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[separate]' -e './training[test]'
	@touch $@ $(VENV)/.serve

# The page plays through hls.js. Without npm it uses the browser's own HLS, so its absence is no error when serving.
static/vendor/hls.min.js: package.json package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
	  echo "installing the page's scripts"; npm ci --omit=dev --silent && mkdir -p static/vendor && cp node_modules/hls.js/dist/hls.min.js static/vendor/ && touch $@; \
	else echo "npm is missing: the page will use the browser's own HLS"; fi

node_modules/.dev: package.json package-lock.json
	@npm ci --silent && mkdir -p static/vendor && cp node_modules/hls.js/dist/hls.min.js static/vendor/ && touch $@ static/vendor/hls.min.js
