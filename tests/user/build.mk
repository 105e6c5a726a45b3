check-tests += tests/user/run tests/user/elf tests/user/perf tests/user/stats
