# Unit tests: one C file each, TAP on stdout.

