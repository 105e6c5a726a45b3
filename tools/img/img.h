/*
 * What the commands of tinamou-img share.
 *
 * A command is a table of options, whose values land in a struct of its own, and a function that
 * gets that struct and the operands. It returns the exit status. Usage texts come from the tables.
 */
#ifndef TINAMOU_TOOLS_IMG_IMG_H
#define TINAMOU_TOOLS_IMG_IMG_H

#include <signal.h>

#include "io/block/driver.h"

struct json_t;

/* ---- options (args.c) ---- */

enum img_option_kind {
    IMG_FLAG,    /* bool */
    IMG_TEXT,    /* const char *; the last one counts */
    IMG_LIST,    /* char *, joined with commas */
    IMG_OBJECT,  /* --object: made at once */
    IMG_OUTPUT,  /* --output=human|json: bool json */
    IMG_ACTION,  /* int, the code, and a const char * behind it; only one may be given */
    IMG_ACTIONS, /* char *, lines of one action each: the code and the value */
};

struct img_option {
    char letter; /* 0: none */
    const char *name;
    enum img_option_kind kind;
    size_t offset;
    const char *value; /* name of the value in usage texts; NULL: takes none */
    int code;          /* of actions: not 0 */
};

struct img_command {
    const char *name, *operands, *summary;
    const struct img_option *options; /* ends with a zeroed one */
    size_t values_size;
    int min_operands, max_operands; /* max -1: any number */
    int (*run)(void *values, int count, char **operands);
};

/* Options that nearly every command has, as members of its struct. */
struct img_source {
    const char *format, *cache;
    bool image_opts, share, quiet;
};

/* Runs a command; its exit status. */
int img_command_run(const struct img_command *command, int argc, char **argv);
void img_command_usage(const struct img_command *command);

/* ---- messages ---- */

/* One line, "tinamou-img: ..."; 1. */
int img_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- images (open.c) ---- */

enum { IMG_READ = 0, IMG_WRITE = 1, IMG_NO_BACKING = 2, IMG_NO_IO = 4, IMG_REPAIR = 8 };

/* Opens an image; a message is printed on failure, -errno. */
int img_open(struct block_node **node, const char *filename, const struct img_source *source,
             unsigned flags);
/* The same with options of one's own behind ("a=b,c=d"). */
int img_open_with(struct block_node **node, const char *filename, const struct img_source *source,
                  const char *options, unsigned flags);

/* A name that stands in an image, which is relative to the image's folder. malloc()ed, or NULL. */
char *img_resolve(const char *image, const char *name);

/* ---- snapshots (snapshot.c) ---- */

/* The table of `info` and `snapshot -l`. */
void img_snapshots_print(const struct block_snapshot *list, int count);

/* ---- creation (create.c) ---- */

/* Lists the creation options of a format; the exit status. */
int img_options_help(const char *format);
/* Does a list given to -o ask for that? */
bool img_asks_for_help(const char *list);

/* ---- numbers (size.c) ---- */

/* "10G", "1.5M", "512": 0 or -EINVAL. */
int img_parse_size(const char *text, uint64_t *size);
/* "10 GiB" */
const char *img_size_text(uint64_t size, char text[32]);

/* ---- progress and interruption (progress.c) ---- */

struct img_progress {
    bool asked; /* -p: qemu-img's style */
    bool bar;   /* a terminal is there to draw on */
    bool drawn;
    uint64_t done, total, start, drawn_at;
};
void img_progress_begin(struct img_progress *p, bool asked, bool quiet, uint64_t total);
/* `done` of total; cheap when called often. One thread at a time. */
void img_progress_at(struct img_progress *p, uint64_t done);
/* `complete`: the last line says 100%. */
void img_progress_end(struct img_progress *p, bool complete);
/* Sleeps as long as what is done was done faster than this, in bytes per second; 0: any rate. */
void img_pace(const struct img_progress *p, uint64_t rate);
/* The SIGINT or SIGTERM that has come, or 0. Commands that write for long end in order then. */
int img_interrupted(void);
/* From now on the first of these signals is only noted. */
void img_catch_interrupts(void);

/* ---- commands ---- */

extern const struct img_command img_amend, img_bench, img_bitmap, img_check, img_commit,
    img_compare, img_convert, img_create, img_dd, img_diff, img_info, img_map, img_measure,
    img_rebase, img_resize, img_snapshot;

#endif
