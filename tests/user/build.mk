check-tests += tests/user/run tests/user/elf
