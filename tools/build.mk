# tinamou-img; main() is the program's own (Makefile).

ifeq ($(CONFIG_SYSTEM),yes)
src-tools += tools/img/args.c
src-tools += tools/img/check.c
src-tools += tools/img/convert.c
src-tools += tools/img/copy.c
src-tools += tools/img/create.c
src-tools += tools/img/info.c
src-tools += tools/img/journal.c
src-tools += tools/img/map.c
src-tools += tools/img/open.c
src-tools += tools/img/progress.c
src-tools += tools/img/size.c
src-tools += tools/img/snapshot.c
endif
