# Every target starts from a bare clone with Python 3.11 or newer and does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q -c constraints.txt
SCREEN = xvfb-run -a -n $(or $(SERVER),99) -s "-screen 0 1920x1080x24 +extension GLX"
# A display of its own: the tests open real windows and press real keys.
export LIBGL_ALWAYS_SOFTWARE ?= 1
export OMP_NUM_THREADS ?= 2

.PHONY: demo test test-qt5 test-qt6 test-slow check bench setup clean

$(VENV)/.ready: pyproject.toml constraints.txt hatch_build.py
	scripts/system-packages
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e ".[pyqt5,test,dev]"
	$(PIP) PyQt6 PyQt6-Qt6
	touch $@

setup: $(VENV)/.ready

demo: setup
	if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then $(BIN)/seedlab demo; \
	else $(SCREEN) $(BIN)/seedlab demo --autoplay --screenshots demo-pictures --json; fi

# Without a window two processes share the cores; windows need a keyboard, and so a display, for themselves.
test: setup
	QT_API=pyqt5 OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --ignore tests/ui
	$(MAKE) -j 2 --output-sync=target test-qt5 test-qt6

test-qt5 test-qt6: SERVER = 1$*0  # two that start at once do not look for the same free number
test-qt5 test-qt6: test-qt%: setup
	QT_API=pyqt$* OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest -q -m "not slow" -o qt_api=pyqt$* tests/ui

# Windows in a process of their own, as in the app: no worker's libraries beside Qt and OpenGL.
test-slow: setup
	QT_API=pyqt5 $(SCREEN) $(BIN)/python -m pytest -q -m slow --timeout 3600 -s --ignore tests/ui
	QT_API=pyqt5 $(SCREEN) $(BIN)/python -m pytest -q -m slow --timeout 3600 -s tests/ui

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_sizes.py

bench: setup
	$(SCREEN) $(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build dist demo-pictures
