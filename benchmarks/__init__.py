"""Load on a whole installation, and what it costs. `python -m benchmarks --help`; README.md says what each figure means."""
