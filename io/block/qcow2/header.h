/*
 * The header of a qcow2 image, as numbers: parsing and writing, without any input or output.
 *
 * Clause names are those of the published description of the format ("QCOW2 image format":
 * Header, Header extensions). Everything that comes out of qcow2_header_parse() has been checked
 * as far as the header alone allows; offsets are aligned, counts are inside of the limits below.
 */
#ifndef TINAMOU_IO_BLOCK_QCOW2_HEADER_H
#define TINAMOU_IO_BLOCK_QCOW2_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

/* incompatible_features */
#define QCOW2_INCOMPAT_DIRTY       1u
#define QCOW2_INCOMPAT_CORRUPT     2u
#define QCOW2_INCOMPAT_DATA_FILE   4u
#define QCOW2_INCOMPAT_COMPRESSION 8u
#define QCOW2_INCOMPAT_EXTL2       16u
#define QCOW2_INCOMPAT_KNOWN       31u
/* compatible_features */
#define QCOW2_COMPAT_LAZY_REFCOUNTS 1u
/* autoclear_features */
#define QCOW2_AUTOCLEAR_BITMAPS  1u
#define QCOW2_AUTOCLEAR_DATA_RAW 2u
#define QCOW2_AUTOCLEAR_KNOWN    3u

/* Limits of what is opened: bounds of memory and time for hostile images, the same as QEMU's. */
#define QCOW2_MIN_CLUSTER_BITS       9
#define QCOW2_MAX_CLUSTER_BITS       21
#define QCOW2_MIN_EXTL2_CLUSTER_BITS 14
#define QCOW2_MAX_L1_BYTES           (32u << 20)
#define QCOW2_MAX_REFTABLE_BYTES     (8u << 20)
#define QCOW2_MAX_SNAPSHOTS          65536u
#define QCOW2_MAX_SNAPSHOTS_BYTES    (64u << 20)
#define QCOW2_MAX_SNAPSHOT_EXTRA     1024u
#define QCOW2_MAX_BITMAPS            65535u
#define QCOW2_MAX_BITMAP_DIR_BYTES   (64u << 20)
#define QCOW2_MAX_BACKING_NAME       1023u

#define QCOW2_HEADER_SIZE_V2  72u
#define QCOW2_HEADER_SIZE_V3  104u
#define QCOW2_HEADER_SIZE_NOW 112u /* with compression_type and its padding */

enum qcow2_crypt {
    QCOW2_CRYPT_NONE,
    QCOW2_CRYPT_AES,
    QCOW2_CRYPT_LUKS,
};

enum qcow2_compression {
    QCOW2_ZLIB,
    QCOW2_ZSTD,
};

/* A header extension that this program does not know, kept as it is. */
struct qcow2_unknown {
    uint32_t type, size;
    uint8_t *data;
    struct qcow2_unknown *next;
};

struct qcow2_header {
    uint32_t version;
    unsigned cluster_bits;
    uint64_t size;
    uint32_t crypt; /* enum qcow2_crypt */
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    unsigned refcount_order;
    uint32_t header_length;
    uint32_t compression; /* enum qcow2_compression */

    /* Bytes of the header behind those known here; kept when it is written again. */
    uint8_t *tail;
    uint32_t tail_size;

    char *backing;        /* NULL: none */
    char *backing_format; /* NULL: not said */
    char *data_file;      /* name in the image, or NULL */
    bool has_bitmaps;
    uint32_t bitmap_count;
    uint64_t bitmap_dir_size, bitmap_dir_offset;
    uint64_t luks_offset, luks_size; /* of the encryption header */
    struct qcow2_unknown *unknown;   /* in their order */
};

/* How many bytes of the image qcow2_header_parse() needs; `head` has the first 72. 0: no qcow2
 * header, or one whose cluster size is not supported. */
size_t qcow2_header_bytes(const uint8_t *head);

/*
 * Parses `size` bytes (at least what qcow2_header_bytes() said, or as much as the file has, with
 * zeros behind it). 0, or -EINVAL, -ENOTSUP, -EFBIG, -ENOMEM with a line in error[]; then nothing
 * has to be freed. Unknown incompatible features are named from the feature name table.
 */
int qcow2_header_parse(struct qcow2_header *header, const uint8_t *bytes, size_t size, char *error,
                       size_t error_size);

/*
 * Writes header, extensions and backing name into one cluster. `old` is the header cluster that is
 * on the medium, or NULL. When extensions fit into the first sector, as they do unless names are
 * very long, the others keep all that `old` needs: so the first one alone, which is written at
 * once, decides between old and new. 0, or -ENOSPC when it does not fit.
 */
int qcow2_header_write(const struct qcow2_header *header, const uint8_t *old, uint8_t *cluster);

/* Frees what it points to. */
void qcow2_header_free(struct qcow2_header *header);

/* Entries of an L1 table that covers `size` bytes. May be more than the limit allows. */
uint64_t qcow2_header_l1_entries(uint64_t size, unsigned cluster_bits, bool extended);

#endif
