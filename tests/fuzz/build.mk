# Fuzz targets; README.md says how to write one. Two lines each:
#
#   fuzz-targets += NAME                tests/fuzz/NAME.c
#   fuzz-libs-NAME := hw mem util       what it is linked with, as unit-libs-NAME
#   fuzz-syslibs-NAME := $(GLIB_LIBS)   perhaps, libraries of the system

fuzz-targets += property
fuzz-libs-property := util

fuzz-targets += fw-cfg
fuzz-libs-fw-cfg := hw mem util

fuzz-targets += devices
fuzz-libs-devices := hw mem util

check-tests += tests/fuzz/run
