src-mem += mem/guest.c

unit-tests += mem_guest
unit-libs-mem_guest := mem util
