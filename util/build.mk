
src-util += util/error.c
src-util += util/log.c
src-util += util/arena.c
src-util += util/lock.c
src-util += util/disas.c
src-util += util/ending.c
src-util += util/epoch.c
src-util += util/idlist.c
src-util += util/property.c
src-util += util/state.c
