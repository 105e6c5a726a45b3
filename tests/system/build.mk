check-tests += tests/system/run
