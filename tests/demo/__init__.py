"""`python -m tests.demo` (`make demo`): what isolates and limits containers, shown and checked."""
