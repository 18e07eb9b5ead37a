# make check is what CI runs after the tests; make bench prints the figures of the README.
.PHONY: install check test lint format bench

install:
	uv sync

check: lint test

test:
	uv run pytest

lint:
	uv run ruff format --check .
	uv run ruff check .
	uv run mypy

format:
	uv run ruff format .
	uv run ruff check --fix .

bench:
	uv run python tests/bench/start.py
	uv run python tests/bench/overhead.py
	uv run python tests/bench/balance.py
	uv run python tests/bench/resume.py
	uv run python tests/bench/scoring.py
	uv run python tests/bench/chaos.py
