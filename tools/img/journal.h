/* How far an interrupted conversion came, in a file next to its target. */
#ifndef TINAMOU_TOOLS_IMG_JOURNAL_H
#define TINAMOU_TOOLS_IMG_JOURNAL_H

#include "tools/img/copy.h"

struct img_journal {
    char *path;           /* TARGET.tinamou-resume */
    const char *target;   /* file name */
    const char *settings; /* what has to be the same for going on */
};

/* 0 or -ENOMEM. */
int img_journal_init(struct img_journal *journal, const char *target, const char *settings);
void img_journal_clear(struct img_journal *journal);

/* Writes it: everything of the copy below `done` is on the medium. 0 or -errno. */
int img_journal_write(const struct img_journal *journal, const struct img_copy *copy,
                      uint64_t done);

bool img_journal_exists(const struct img_journal *journal);

/*
 * Reads it, and believes it only if sources, target and settings are what they were. Sets
 * copy->start and copy->zero_from. 0, or -errno with a line in error[].
 */
int img_journal_read(const struct img_journal *journal, struct img_copy *copy, char *error,
                     size_t error_size);
/* When the target is open: compares parts of what was copied with the source. Likewise. */
int img_journal_verify(const struct img_journal *journal, const struct img_copy *copy, char *error,
                       size_t error_size);

/* The conversion is complete. */
void img_journal_remove(const struct img_journal *journal);

#endif
