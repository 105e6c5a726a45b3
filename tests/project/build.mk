# Tests of the project's own tools.

check-tests += tests/project/check-tools
