/*
 * bench: how fast requests to an image are.
 *
 * As many threads as requests shall be under way each take the number of the next request, whose
 * offset follows from it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/img/img.h"

enum { MAX_DEPTH = 1024, MAX_SIZE = 1 << 30 };

struct values {
    struct img_source source;
    const char *count, *depth, *flush, *aio, *offset, *pattern, *size, *step;
    bool native, no_drain, write;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'c', "count", IMG_TEXT, AT(count), "COUNT", 0},
    {'d', "depth", IMG_TEXT, AT(depth), "DEPTH", 0},
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {0, "flush-interval", IMG_TEXT, AT(flush), "COUNT", 0},
    {'i', "aio", IMG_TEXT, AT(aio), "ENGINE", 0},
    {'n', "native", IMG_FLAG, AT(native), NULL, 0},
    {0, "no-drain", IMG_FLAG, AT(no_drain), NULL, 0},
    {'o', "offset", IMG_TEXT, AT(offset), "OFFSET", 0},
    {0, "pattern", IMG_TEXT, AT(pattern), "BYTE", 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'s', "buffer-size", IMG_TEXT, AT(size), "SIZE", 0},
    {'S', "step-size", IMG_TEXT, AT(step), "SIZE", 0},
    {'t', "cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'w', "write", IMG_FLAG, AT(write), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

struct bench {
    struct block_node *node;
    uint64_t count, depth, flush, offset, pattern, size, step;
    bool write, drain;
    uint64_t next;            /* atomic */
    int err;                  /* atomic */
    pthread_rwlock_t drained; /* a flush waits for the requests before it, if that is wanted */
};

static int number(const char *text, const char *option, uint64_t low, uint64_t high,
                  uint64_t *value)
{
    if (!text) {
        return 0;
    }
    if (img_parse_size(text, value) || *value < low || *value > high) {
        return img_fail("bench: %s '%s': expected a number from %" PRIu64 " to %" PRIu64, option,
                        text, low, high);
    }
    return 0;
}

static int flush(struct bench *b)
{
    int err;

    if (b->drain) {
        pthread_rwlock_wrlock(&b->drained);
    }
    err = block_flush(b->node);
    if (b->drain) {
        pthread_rwlock_unlock(&b->drained);
    }
    return err;
}

static int request(struct bench *b, uint64_t index, uint8_t *buffer)
{
    uint64_t room = block_size(b->node) - b->size;
    uint64_t at = b->offset + index * b->step;
    int err;

    /* starts over at the beginning when the end is reached */
    at = room ? at % (room + 1) : 0;
    pthread_rwlock_rdlock(&b->drained);
    err = b->write ? block_pwrite(b->node, at, buffer, (size_t)b->size, 0)
                   : block_pread(b->node, at, buffer, (size_t)b->size);
    pthread_rwlock_unlock(&b->drained);
    return !err && b->flush && index % b->flush == b->flush - 1 ? flush(b) : err;
}

static void *work(void *opaque)
{
    struct bench *b = opaque;
    uint8_t *buffer;
    uint64_t index;
    int err = 0;

    if (posix_memalign((void **)&buffer, 4096, (size_t)b->size)) {
        err = -ENOMEM;
    } else {
        memset(buffer, (int)b->pattern, (size_t)b->size);
        while (!err && !__atomic_load_n(&b->err, __ATOMIC_RELAXED) &&
               (index = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED)) < b->count) {
            err = request(b, index, buffer);
        }
        free(buffer);
    }
    if (err) {
        __atomic_store_n(&b->err, err, __ATOMIC_RELAXED);
    }
    return NULL;
}

static int run_all(struct bench *b)
{
    pthread_t threads[MAX_DEPTH];
    unsigned started = 0;

    pthread_rwlock_init(&b->drained, NULL);
    for (; started < b->depth; started++) {
        if (pthread_create(&threads[started], NULL, work, b)) {
            b->err = started ? b->err : -EAGAIN;
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_rwlock_destroy(&b->drained);
    return b->err;
}

static int bench(struct bench *b, bool quiet)
{
    struct timespec from, to;
    int err;

    if (b->size > block_size(b->node)) {
        return img_fail("bench: the image is smaller than a request");
    }
    if (!quiet) {
        printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
               " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
               b->count, b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
        if (b->flush) {
            printf("Sending flush every %" PRIu64 " %srequests\n", b->flush,
                   b->drain ? "drained " : "");
        }
        fflush(stdout);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    err = run_all(b);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (err) {
        return img_fail("Failed request: %s", strerror(-err));
    }
    if (!quiet) {
        printf("Run completed in %3.3f seconds.\n",
               (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    }
    return 0;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct img_source source = v->source;
    struct bench b = {
        .count = 75000, .depth = 64, .size = 4096, .write = v->write, .drain = !v->no_drain};
    const char *aio = v->aio ? v->aio : v->native ? "native" : NULL;
    char engine[64] = "";
    int status;

    if (number(v->count, "-c", 1, INT32_MAX, &b.count) ||
        number(v->depth, "-d", 1, MAX_DEPTH, &b.depth) ||
        number(v->size, "-s", 1, MAX_SIZE, &b.size) ||
        number(v->flush, "--flush-interval", 1, INT32_MAX, &b.flush) ||
        number(v->offset, "-o", 0, INT64_MAX, &b.offset) ||
        number(v->pattern, "--pattern", 0, UINT8_MAX, &b.pattern)) {
        return 1;
    }
    b.step = b.size;
    if (number(v->step, "-S", 1, INT32_MAX, &b.step)) {
        return 1;
    }
    if (b.flush && !b.write) {
        return img_fail("--flush-interval is only available in write tests");
    }
    if (aio && strlen(aio) < sizeof(engine) - 8) {
        snprintf(engine, sizeof(engine), "aio=%s", aio);
    }
    if (img_open_with(&b.node, operands[0], &source, engine[0] ? engine : NULL,
                      b.write ? IMG_WRITE : 0)) {
        return 1;
    }
    status = bench(&b, v->source.quiet);
    block_unref(b.node);
    return status;
}

const struct img_command img_bench = {
    .name = "bench",
    .operands = "FILE",
    .summary = "measures how fast requests are; -w destroys what is in the image",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
