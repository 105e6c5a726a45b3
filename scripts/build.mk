# Checks of the tree itself.

check-tests += scripts/check-style
check-tests += scripts/check-layers
check-tests += scripts/check-headers
