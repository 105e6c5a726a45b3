/*
 * bench: how fast requests to an image are.
 *
 * They take the way of a disk's requests in a machine: block_submit() on a loop, with as many under
 * way as is asked for; each that is done makes room for the next. Offsets advance by the step,
 * modulo the last place that a request has, as in qemu-img: with a large step they come to lie all
 * over the image.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/img/img.h"

enum { MAX_DEPTH = 1024, MAX_SIZE = 1 << 30 };

struct bench;

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

struct request {
    struct block_request io;
    struct bench *bench;
    struct iovec iov;
    struct request *next; /* of those that are not under way */
};

struct bench {
    struct block_node *node;
    struct loop *loop;
    uint64_t count, depth, flush, offset, pattern, size, step;
    bool write, drain;
    uint64_t started, unflushed; /* requests, and those after the last flush */
    unsigned under_way, flushing;
    int err;
    struct request *spare, *spare_flush;
    struct timespec began, ended;
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

static struct request *request_of(struct block_request *io)
{
    return (struct request *)((char *)io - offsetof(struct request, io));
}

static void submit(struct request *r, struct request **spare)
{
    *spare = r->next;
    block_submit(r->bench->node, &r->io);
}

static void go_on(struct bench *b);

static void request_done(struct block_request *io)
{
    struct request *r = request_of(io);
    struct bench *b = r->bench;

    b->err = b->err ? b->err : io->result;
    b->under_way--;
    r->next = b->spare;
    b->spare = r;
    go_on(b);
}

static void flush_done(struct block_request *io)
{
    struct request *r = request_of(io);
    struct bench *b = r->bench;

    b->err = b->err ? b->err : io->result;
    b->flushing--;
    r->next = b->spare_flush;
    b->spare_flush = r;
    go_on(b);
}

/* Starts what may be started now. */
static void go_on(struct bench *b)
{
    uint64_t room = block_size(b->node) - b->size;

    while (!b->err && !(b->drain && b->flushing)) {
        if (b->flush && b->unflushed == b->flush) {
            /* between requests, or next to them */
            if (!b->spare_flush || (b->drain && b->under_way)) {
                return;
            }
            b->unflushed = 0;
            b->flushing++;
            submit(b->spare_flush, &b->spare_flush);
        } else if (b->started < b->count && b->spare) {
            b->spare->io.offset = b->offset;
            b->offset += b->step;
            if (b->offset > room) {
                b->offset = room ? b->offset % room : 0;
            }
            b->started++;
            b->unflushed++;
            b->under_way++;
            submit(b->spare, &b->spare);
        } else {
            return;
        }
    }
}

/* `n` requests like `model`, linked; NULL when out of memory. */
static struct request *make_requests(uint64_t n, const struct request *model)
{
    struct request *all = calloc(n, sizeof(*all));

    for (uint64_t i = 0; all && i < n; i++) {
        all[i].bench = model->bench;
        all[i].io.kind = model->io.kind;
        all[i].io.done = model->io.done;
        all[i].io.loop = model->bench->loop;
        all[i].next = i + 1 < n ? &all[i + 1] : NULL;
    }
    return all;
}

static int run_all(struct bench *b)
{
    struct request io = {.bench = b,
                         .io = {.kind = b->write ? BLOCK_WRITE : BLOCK_READ, .done = request_done}};
    struct request flush = {.bench = b, .io = {.kind = BLOCK_FLUSH, .done = flush_done}};
    struct request *requests = make_requests(b->depth, &io);
    struct request *flushes = make_requests(b->depth, &flush);
    void *buffer = NULL;
    size_t bytes = b->depth * b->size;

    if (!requests || !flushes || posix_memalign(&buffer, 4096, bytes)) {
        b->err = -ENOMEM;
    } else {
        memset(buffer, (int)b->pattern, bytes);
        for (uint64_t i = 0; i < b->depth; i++) {
            struct request *r = &requests[i];

            r->iov = (struct iovec){(uint8_t *)buffer + i * b->size, (size_t)b->size};
            r->io.iov = &r->iov;
            r->io.iov_count = 1;
            r->io.size = b->size;
        }
        b->spare = requests;
        b->spare_flush = flushes;
    }
    clock_gettime(CLOCK_MONOTONIC, &b->began);
    go_on(b);
    while (b->under_way || b->flushing) {
        loop_iterate(b->loop, true);
    }
    clock_gettime(CLOCK_MONOTONIC, &b->ended);
    free(buffer);
    free(requests);
    free(flushes);
    return b->err;
}

static int bench(struct bench *b, bool quiet)
{
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
    b->loop = loop_create();
    if (!b->loop) {
        return img_fail("bench: the host gives no event loop");
    }
    err = run_all(b);
    block_drain(b->node);
    block_loop_gone(b->loop);
    loop_destroy(b->loop);
    if (err) {
        return img_fail("Failed request: %s", strerror(-err));
    }
    if (!quiet) {
        printf("Run completed in %3.3f seconds.\n",
               (double)(b->ended.tv_sec - b->began.tv_sec) +
                   (double)(b->ended.tv_nsec - b->began.tv_nsec) / 1e9);
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
