/*
 * Devices of the host: block devices, and character devices that can be sought in. Like a file, but
 * its size is the device's, and discards and zeros go by whole sectors.
 */
#include "io/block/drivers.h"
#include "io/block/file.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int update_size(struct block_node *node)
{
    const struct file_state *s = node->state;
    uint64_t size;

    if (!s->device || ioctl(s->fd, BLKGETSIZE64, &size) < 0) {
        off_t end = lseek(s->fd, 0, SEEK_END);

        if (end < 0) {
            return -errno;
        }
        size = (uint64_t)end;
    }
    block_set_size(node, size);
    return 0;
}

static int device_open(struct block_node *node, char *error, size_t error_size)
{
    struct file_state *s = node->state;
    struct stat st;
    int sector = 512;
    int err = file_open_fd(node, error, error_size);

    if (err) {
        return err;
    }
    if (fstat(s->fd, &st) < 0 || !(S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))) {
        snprintf(error, error_size, "%s: expected a device; regular files need driver=file",
                 node->filename);
        close(s->fd);
        return -EINVAL;
    }
    s->device = S_ISBLK(st.st_mode);
    err = update_size(node);
    if (err) {
        snprintf(error, error_size, "%s: can't find out its size: %s", node->filename,
                 strerror(-err));
        close(s->fd);
        return err;
    }
    if (s->device) {
        ioctl(s->fd, BLKSSZGET, &sector); /* or it stays 512 */
    }
    file_set_alignment(node, (uint32_t)sector);
    node->discard_granularity = (uint32_t)sector;
    return 0;
}

static int device_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    const struct file_state *s = node->state;
    uint64_t range[2] = {offset, size};
    int err = -ENOTSUP;

    if (!s->device) {
        return -ENOTSUP;
    }
    if (flags & BLOCK_MAY_UNMAP) {
        err = file_allocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
    }
    if (err == -ENOTSUP && ioctl(s->fd, BLKZEROOUT, range) == 0) {
        err = 0;
    }
    return err || !(flags & BLOCK_FUA) || node->no_flush ? err : file_flush(node);
}

static int device_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    const struct file_state *s = node->state;
    uint64_t unit = node->discard_granularity;
    uint64_t start = (offset + unit - 1) / unit * unit, end = (offset + size) / unit * unit;
    uint64_t range[2] = {start, end - start};

    if (!s->device) {
        return -ENOTSUP;
    }
    if (end <= start || ioctl(s->fd, BLKDISCARD, range) == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL ? -ENOTSUP : -errno;
}

/* Devices are as large as they are: only what fits is possible, and only if that need not show. */
static int device_truncate(struct block_node *node, uint64_t size, bool exact,
                           enum block_preallocation preallocation, char *error, size_t error_size)
{
    uint64_t there;
    int err = update_size(node);

    if (err) {
        return err;
    }
    there = block_size(node);
    if (preallocation != BLOCK_PREALLOC_OFF || size > there || (exact && size != there)) {
        snprintf(error, error_size, "%s: can't change the size of a device, %" PRIu64 " bytes",
                 node->filename, there);
        return -ENOTSUP;
    }
    return 0;
}

const struct block_driver block_host_device = {
    .name = "host_device",
    .protocol = "host_device",
    .options = file_properties,
    .options_size = sizeof(struct file_options),
    .state_size = sizeof(struct file_state),
    .open = device_open,
    .close = file_close,
    .set_permissions = file_set_permissions,
    .read = file_read,
    .write = file_write,
    .zero = device_zero,
    .discard = device_discard,
    .flush = file_flush,
    .truncate = device_truncate,
    .update_size = update_size,
    .submit = file_submit,
};
