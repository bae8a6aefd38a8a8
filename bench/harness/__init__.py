"""The benchmark behind `bench/run`: Python's standard library only."""
