"""Components that misbehave on purpose, and runs laid out without Hydra: for the tests of workers and their records."""
