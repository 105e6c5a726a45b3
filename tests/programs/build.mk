check-tests += tests/programs/run
