src-mem += mem/guest.c
