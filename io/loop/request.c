/* The engine of workers: each request is one job, done by blocking system calls. */
#include "io/loop/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct workers {
    struct loop_engine engine;
    struct loop_pool *pool;
};

/* One buffer; a short transfer is continued, since only an error or the end explains it. */
static int transfer(const struct loop_request *r, uint8_t *at, size_t left, uint64_t offset)
{
    while (left) {
        ssize_t n = r->kind == LOOP_REQUEST_READ ? pread(r->fd, at, left, (off_t)offset)
                                                 : pwrite(r->fd, at, left, (off_t)offset);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (n == 0) {
            if (r->kind == LOOP_REQUEST_WRITE) {
                return -ENOSPC;
            }
            memset(at, 0, left);
            return 0;
        }
        at += n;
        offset += (uint64_t)n;
        left -= (size_t)n;
    }
    return 0;
}

static int flush(int fd)
{
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int change_range(const struct loop_request *r, int mode)
{
    while (fallocate(r->fd, mode, (off_t)r->offset, (off_t)r->size) < 0) {
        if (errno != EINTR) {
            return errno == EOPNOTSUPP || errno == ENODEV ? -ENOTSUP : -errno;
        }
    }
    return 0;
}

int loop_request_perform(const struct loop_request *r)
{
    uint64_t offset = r->offset;
    int err = 0;

    switch (r->kind) {
    case LOOP_REQUEST_READ:
    case LOOP_REQUEST_WRITE:
        for (unsigned i = 0; i < r->iov_count && !err; i++) {
            err = transfer(r, r->iov[i].iov_base, r->iov[i].iov_len, offset);
            offset += r->iov[i].iov_len;
        }
        return err || r->kind == LOOP_REQUEST_READ || !r->fua ? err : flush(r->fd);
    case LOOP_REQUEST_FLUSH:
        return flush(r->fd);
    case LOOP_REQUEST_DISCARD:
        return change_range(r, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    case LOOP_REQUEST_ZERO:
        return change_range(r, r->keep_allocated ? FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
                                                 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    }
    return -EINVAL;
}

static struct loop_request *request_of(struct loop_job *job)
{
    return (struct loop_request *)((char *)job - offsetof(struct loop_request, job));
}

static void work(struct loop_job *job)
{
    request_of(job)->result = loop_request_perform(request_of(job));
}

static void done(struct loop_job *job)
{
    request_of(job)->done(request_of(job));
}

static void submit(struct loop_engine *engine, struct loop_request *request)
{
    request->job = (struct loop_job){.work = work, .done = done, .loop = request->loop};
    loop_pool_submit(((struct workers *)engine)->pool, &request->job);
}

static void destroy(struct loop_engine *engine)
{
    free(engine);
}

static const struct loop_engine_ops workers_ops = {
    .name = "workers", .submit = submit, .destroy = destroy};

struct loop_engine *loop_engine_create_workers(struct loop_pool *pool)
{
    struct workers *workers = calloc(1, sizeof(*workers));

    if (!workers) {
        return NULL;
    }
    workers->engine.ops = &workers_ops;
    workers->pool = pool;
    return &workers->engine;
}
