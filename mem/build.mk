# Guest memory. User mode links guest.c; the rest is the system emulator's address spaces.

src-mem += mem/guest.c

src-mem += mem/access.c
src-mem += mem/dirty.c
src-mem += mem/ram.c
src-mem += mem/region.c
src-mem += mem/space.c
src-mem += mem/view.c
