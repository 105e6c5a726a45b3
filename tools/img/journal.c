/*
 * The journal of a conversion, so that an interrupted one can go on.
 *
 * It is JSON, of some hundred bytes: how much is done, what the sources are (every host file below
 * them, with inode, size and time of change), which file the target is, and the settings. It is
 * replaced by renaming, after the target was flushed, so it never claims more than is there.
 *
 * Nothing in it is trusted for its own sake. The contents before the place where the conversion
 * goes on are compared with the source, and some more in between: a target that was touched since,
 * or a file system that lost writes, is found with good probability.
 */
#include "tools/img/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

enum {
    VERSION = 1,
    SAMPLE = 64 << 10,
    SAMPLES = 64,
    TAIL = 16 << 20, /* bytes before the end that are all compared */
};

int img_journal_init(struct img_journal *journal, const char *target, const char *settings)
{
    *journal = (struct img_journal){.target = target, .settings = settings};
    if (asprintf(&journal->path, "%s.tinamou-resume", target) < 0) {
        journal->path = NULL;
        return -ENOMEM;
    }
    return 0;
}

void img_journal_clear(struct img_journal *journal)
{
    free(journal->path);
    journal->path = NULL;
}

bool img_journal_exists(const struct img_journal *journal)
{
    return access(journal->path, F_OK) == 0;
}

void img_journal_remove(const struct img_journal *journal)
{
    unlink(journal->path);
}

/* ---- what has to be the same ---- */

/* Adds the host files below a node. */
static void add_files(json_t *list, const struct block_node *node)
{
    const struct block_child *const children[] = {node->file, node->data, node->backing};
    struct stat st;

    for (unsigned i = 0; i < 3; i++) {
        if (children[i]) {
            add_files(list, children[i]->node);
        }
    }
    if (!node->file && stat(node->filename, &st) == 0) {
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", node->filename,
                                              "inode", (json_int_t)st.st_ino, "size",
                                              (json_int_t)st.st_size, "seconds",
                                              (json_int_t)st.st_mtim.tv_sec, "nanoseconds",
                                              (json_int_t)st.st_mtim.tv_nsec));
    }
}

static json_t *describe_sources(const struct img_copy *copy)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < copy->source_count; i++) {
        add_files(list, copy->sources[i]);
    }
    return list;
}

static json_t *describe_target(const struct img_journal *journal)
{
    struct stat st = {0};

    if (stat(journal->target, &st) < 0) {
        return json_null();
    }
    return json_pack("{s:I, s:I}", "inode", (json_int_t)st.st_ino, "device", (json_int_t)st.st_dev);
}

/* ---- writing ---- */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), err = 0;
    size_t size = strlen(text);

    if (fd < 0) {
        return -errno;
    }
    if (write(fd, text, size) != (ssize_t)size || fsync(fd) < 0) {
        err = errno ? -errno : -EIO;
    }
    close(fd);
    return err;
}

int img_journal_write(const struct img_journal *journal, const struct img_copy *copy, uint64_t done)
{
    json_t *o = json_pack("{s:i, s:s, s:I, s:I, s:I, s:o, s:o}", "version", VERSION, "settings",
                          journal->settings, "done", (json_int_t)done, "total",
                          (json_int_t)copy->total, "zero-from",
                          (json_int_t)(copy->zero_from > INT64_MAX ? INT64_MAX : copy->zero_from),
                          "target", describe_target(journal), "sources", describe_sources(copy));
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL, *path = NULL;
    int err = -ENOMEM;

    if (text && asprintf(&path, "%s.new", journal->path) >= 0) {
        err = write_file(path, text);
        if (!err && rename(path, journal->path) < 0) {
            err = -errno;
        }
        if (err) {
            unlink(path);
        }
        free(path);
    }
    free(text);
    json_decref(o);
    return err;
}

/* ---- reading ---- */

static int refuse(const struct img_journal *journal, const char *why, char *error,
                  size_t error_size)
{
    snprintf(error, error_size,
             "%s: %s; without --resume the conversion begins anew and overwrites '%s'",
             journal->path, why, journal->target);
    return -EINVAL;
}

/* A part of both; -EBADMSG: they differ. */
static int compare_part(const struct img_copy *copy, uint64_t at, uint8_t *a, uint8_t *b)
{
    size_t n = copy->start - at < SAMPLE ? (size_t)(copy->start - at) : SAMPLE;
    int err = img_copy_read(copy, at, a, n);

    if (!err) {
        err = block_pread(copy->target, at, b, n);
    }
    return err ? err : memcmp(a, b, n) == 0 ? 0 : -EBADMSG;
}

static int verify(const struct img_copy *copy)
{
    uint64_t tail = copy->start > TAIL ? copy->start - TAIL : 0;
    uint8_t *a = malloc(SAMPLE), *b = malloc(SAMPLE);
    int err = a && b ? 0 : -ENOMEM;

    for (unsigned i = 0; i < SAMPLES && tail && !err; i++) {
        err = compare_part(copy, tail / SAMPLES * i / SAMPLE * SAMPLE, a, b);
    }
    for (uint64_t at = tail; at < copy->start && !err; at += SAMPLE) {
        err = compare_part(copy, at, a, b);
    }
    free(a);
    free(b);
    return err;
}

static const char *mismatch(const struct img_journal *journal, const struct img_copy *copy,
                            const json_t *o)
{
    json_t *sources = describe_sources(copy), *target = describe_target(journal);
    const char *settings = json_string_value(json_object_get(o, "settings"));
    const char *why = NULL;
    json_int_t done = json_integer_value(json_object_get(o, "done"));

    if (json_integer_value(json_object_get(o, "version")) != VERSION || done < 0 ||
        (uint64_t)done > copy->total) {
        why = "is no journal of this program";
    } else if (!settings || strcmp(settings, journal->settings) != 0) {
        why = "the conversion had other options";
    } else if ((uint64_t)json_integer_value(json_object_get(o, "total")) != copy->total ||
               !json_equal(json_object_get(o, "sources"), sources)) {
        why = "the source has changed since";
    } else if (!json_equal(json_object_get(o, "target"), target)) {
        why = "the target is another file";
    }
    json_decref(sources);
    json_decref(target);
    return why;
}

int img_journal_read(const struct img_journal *journal, struct img_copy *copy, char *error,
                     size_t error_size)
{
    json_t *o = json_load_file(journal->path, 0, NULL);
    const char *why = o ? mismatch(journal, copy, o) : "can't be read as a journal";
    json_int_t zero_from;

    if (!why) {
        zero_from = json_integer_value(json_object_get(o, "zero-from"));
        copy->zero_from =
            zero_from < 0 || zero_from == INT64_MAX ? UINT64_MAX : (uint64_t)zero_from;
        copy->start = (uint64_t)json_integer_value(json_object_get(o, "done"));
        copy->start -= copy->start % (2 << 20); /* a boundary of pieces and clusters */
    }
    json_decref(o);
    return why ? refuse(journal, why, error, error_size) : 0;
}

int img_journal_verify(const struct img_journal *journal, const struct img_copy *copy, char *error,
                       size_t error_size)
{
    return verify(copy) ? refuse(journal, "what was copied is not the same as in the source", error,
                                 error_size)
                        : 0;
}
