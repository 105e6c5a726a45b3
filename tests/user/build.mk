check-tests += tests/user/run
