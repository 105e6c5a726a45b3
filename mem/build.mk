# Guest memory: RAM blocks, regions, flat views, checked access.

src-mem += mem/access.c
src-mem += mem/dirty.c
src-mem += mem/ram.c
src-mem += mem/region.c
src-mem += mem/space.c
src-mem += mem/view.c
