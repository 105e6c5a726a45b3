# Tests of the project's own tools and set-up.

check-tests += tests/project/check-tools
check-tests += tests/project/check-setup
check-tests += tests/project/check-docs
check-tests += tests/project/check-boot-files
