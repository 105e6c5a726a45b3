# tinamou-img; main() is the program's own (Makefile).

ifeq ($(CONFIG_SYSTEM),yes)
src-tools += tools/img/amend.c
src-tools += tools/img/args.c
src-tools += tools/img/bench.c
src-tools += tools/img/bitmap.c
src-tools += tools/img/check.c
src-tools += tools/img/commit.c
src-tools += tools/img/compare.c
src-tools += tools/img/convert.c
src-tools += tools/img/copy.c
src-tools += tools/img/create.c
src-tools += tools/img/dd.c
src-tools += tools/img/diff.c
src-tools += tools/img/info.c
src-tools += tools/img/journal.c
src-tools += tools/img/map.c
src-tools += tools/img/measure.c
src-tools += tools/img/open.c
src-tools += tools/img/pair.c
src-tools += tools/img/progress.c
src-tools += tools/img/rebase.c
src-tools += tools/img/resize.c
src-tools += tools/img/size.c
src-tools += tools/img/snapshot.c
endif
