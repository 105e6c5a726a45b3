/*
 * The luks format: a LUKS header (luks-header.c), and behind it the encrypted sectors, numbered
 * from 0.
 *
 * Reads are decrypted where they land, as far as the caller's buffers hold whole sectors; writes
 * go through a buffer of ours, since the caller's bytes stay as they are.
 */
#include "io/block/crypto.h"
#include "io/block/drivers.h"
#include "io/block/luks-header.h"
#include "io/block/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUNCE (1u << 20)

struct luks_options {
    char *key_secret;
};

struct luks {
    struct crypto *crypto;
    struct luks_info info;
};

static const struct property luks_properties[] = {
    PROPERTY(STRING, "key-secret", struct luks_options, key_secret,
             .help = "id of the secret that has the password"),
    PROPERTY_END,
};

static const struct block_child_rule luks_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {0},
};

/* ---- the header's place ---- */

static int header_read(void *opaque, uint64_t offset, void *data, size_t size)
{
    return block_pread(opaque, offset, data, size);
}

static int header_write(void *opaque, uint64_t offset, const void *data, size_t size)
{
    return block_pwrite(opaque, offset, data, size, 0);
}

static int header_flush(void *opaque)
{
    return block_flush(opaque);
}

static struct luks_io io_of(struct block_node *file)
{
    return (struct luks_io){
        .read = header_read, .write = header_write, .flush = header_flush, .opaque = file};
}

static int luks_probe_head(const uint8_t *head, size_t size, const char *filename)
{
    return luks_probe(head, size) ? 100 : 0;
}

static int luks_open_node(struct block_node *node, char *error, size_t error_size)
{
    const struct luks_options *options = node->options;
    struct luks *luks = node->state;
    struct luks_io io = io_of(node->file->node);
    uint64_t file_size = block_size(node->file->node);
    uint8_t *password = NULL;
    size_t password_size = 0;
    int err = 0;

    if (!node->no_io && !options->key_secret) {
        snprintf(error, error_size, "luks: option 'key-secret' is missing");
        return -EINVAL;
    }
    if (!node->no_io) {
        err = secret_get(options->key_secret, "luks", &password, &password_size, error, error_size);
    }
    if (!err) {
        err = luks_open(&io, node->filename, password, password_size, &luks->info, &luks->crypto,
                        error, error_size);
    }
    if (password) {
        crypto_wipe(password, password_size);
        free(password);
    }
    if (!err && luks->info.payload_offset > file_size) {
        snprintf(error, error_size, "%s: the data would begin behind the end of the file",
                 node->filename);
        crypto_destroy(luks->crypto);
        err = -EINVAL;
    }
    if (!err) {
        block_set_size(node,
                       (file_size - luks->info.payload_offset) / CRYPTO_SECTOR * CRYPTO_SECTOR);
        node->alignment = CRYPTO_SECTOR;
        node->write_flags = BLOCK_FUA;
        node->discard_granularity = CRYPTO_SECTOR;
    }
    return err;
}

static void luks_close(struct block_node *node)
{
    struct luks *luks = node->state;

    crypto_destroy(luks->crypto);
}

/* ---- requests ---- */

static int luks_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct luks *luks = node->state;
    struct block_vec left = *vec;
    int err;

    if (!luks->crypto) {
        return -EACCES;
    }
    err = block_read(node->file->node, luks->info.payload_offset + offset, vec);
    while (!err && left.size) {
        uint8_t sector[CRYPTO_SECTOR];
        struct iovec piece;
        size_t n;

        block_vec_export(&left, &piece, 1, &n);
        n -= n % CRYPTO_SECTOR;
        if (n) {
            crypto_decrypt(luks->crypto, offset / CRYPTO_SECTOR, piece.iov_base, n);
        } else {
            n = CRYPTO_SECTOR; /* a sector in several pieces */
            block_vec_get(&left, 0, sector, n);
            crypto_decrypt(luks->crypto, offset / CRYPTO_SECTOR, sector, n);
            block_vec_put(&left, 0, sector, n);
        }
        offset += n;
        left = block_vec_part(&left, n, left.size - n);
    }
    return err;
}

static int luks_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                      unsigned flags)
{
    struct luks *luks = node->state;
    size_t chunk = vec->size < BOUNCE ? vec->size : BOUNCE;
    uint8_t *buffer;
    int err = 0;

    if (!luks->crypto) {
        return -EACCES;
    }
    if (posix_memalign((void **)&buffer, 4096, chunk)) {
        return -ENOMEM;
    }
    for (size_t at = 0; at < vec->size && !err; at += chunk) {
        size_t n = vec->size - at < chunk ? vec->size - at : chunk;

        block_vec_get(vec, at, buffer, n);
        crypto_encrypt(luks->crypto, (offset + at) / CRYPTO_SECTOR, buffer, n);
        err = block_pwrite(node->file->node, luks->info.payload_offset + offset + at, buffer, n,
                           flags & BLOCK_FUA);
    }
    free(buffer);
    return err;
}

static int luks_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    const struct luks *luks = node->state;
    uint64_t start = (offset + CRYPTO_SECTOR - 1) / CRYPTO_SECTOR * CRYPTO_SECTOR;
    uint64_t end = (offset + size) / CRYPTO_SECTOR * CRYPTO_SECTOR;

    /* What reads as zeros below reads as noise here: discarded contents are undefined. */
    return end > start
               ? block_discard(node->file->node, luks->info.payload_offset + start, end - start)
               : 0;
}

static int luks_truncate(struct block_node *node, uint64_t size, bool exact,
                         enum block_preallocation preallocation, char *error, size_t error_size)
{
    const struct luks *luks = node->state;
    int err;

    if (size > INT64_MAX - luks->info.payload_offset || size % CRYPTO_SECTOR) {
        snprintf(error, error_size,
                 "%s: size %" PRIu64 ": expected a multiple of %d, not too large", node->filename,
                 size, CRYPTO_SECTOR);
        return -EINVAL;
    }
    err = block_truncate(node->file->node, size + luks->info.payload_offset, exact, preallocation,
                         error, error_size);
    if (!err) {
        block_set_size(node, size);
    }
    return err;
}

/* ---- facts ---- */

static int luks_get_info(struct block_node *node, struct block_info *info)
{
    info->encrypted = true;
    return 0;
}

json_t *luks_describe(const struct luks_info *info)
{
    json_t *slots = json_array();
    json_t *data = json_object();

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *slot = &info->slot[i];
        json_t *s = json_pack("{s:b, s:I}", "active", slot->active, "key-offset",
                              (json_int_t)slot->key_offset);

        if (slot->active) {
            json_object_set_new(s, "iters", json_integer(slot->iterations));
            json_object_set_new(s, "stripes", json_integer(slot->stripes));
        }
        json_array_append_new(slots, s);
    }
    json_object_set_new(data, "ivgen-alg", json_string(crypto_ivgen_names[info->spec.ivgen]));
    if (info->spec.ivgen == CRYPTO_ESSIV) {
        json_object_set_new(data, "ivgen-hash-alg",
                            json_string(crypto_hash_names[info->spec.ivgen_hash]));
    }
    json_object_set_new(data, "hash-alg", json_string(crypto_hash_names[info->hash]));
    json_object_set_new(data, "cipher-alg", json_string(crypto_cipher_names[info->spec.cipher]));
    json_object_set_new(data, "cipher-mode", json_string(crypto_mode_names[info->spec.mode]));
    json_object_set_new(data, "uuid", json_string(info->uuid));
    json_object_set_new(data, "payload-offset", json_integer((json_int_t)info->payload_offset));
    json_object_set_new(data, "master-key-iters", json_integer(info->master_iterations));
    json_object_set_new(data, "slots", slots);
    return data;
}

static json_t *luks_info_specific(struct block_node *node)
{
    const struct luks *luks = node->state;

    return json_pack("{s:s, s:o}", "type", "luks", "data", luks_describe(&luks->info));
}

/* ---- creation ---- */

struct luks_create_properties {
    char *key_secret;
    int cipher, mode, ivgen, ivgen_hash, hash, preallocation;
    uint64_t iter_time;
};

static const struct property luks_create_table[] = {
    PROPERTY(STRING, "key-secret", struct luks_create_properties, key_secret,
             .help = "id of the secret that has the password"),
    PROPERTY(ENUM, "cipher-alg", struct luks_create_properties, cipher,
             .names = crypto_cipher_names, .number = CRYPTO_AES_256, .help = "cipher"),
    PROPERTY(ENUM, "cipher-mode", struct luks_create_properties, mode, .names = crypto_mode_names,
             .number = CRYPTO_XTS, .help = "mode of the cipher"),
    PROPERTY(ENUM, "ivgen-alg", struct luks_create_properties, ivgen, .names = crypto_ivgen_names,
             .number = CRYPTO_PLAIN64, .help = "how sector numbers become initial vectors"),
    PROPERTY(ENUM, "ivgen-hash-alg", struct luks_create_properties, ivgen_hash,
             .names = crypto_hash_names, .number = CRYPTO_SHA256, .help = "hash of essiv"),
    PROPERTY(ENUM, "hash-alg", struct luks_create_properties, hash, .names = crypto_hash_names,
             .number = CRYPTO_SHA256, .help = "hash of the key slots"),
    PROPERTY(U64, "iter-time", struct luks_create_properties, iter_time, .number = 2000, .min = 1,
             .max = 600000, .help = "milliseconds that one attempt at the password takes"),
    PROPERTY(ENUM, "preallocation", struct luks_create_properties, preallocation,
             .names = block_preallocation_names, .help = "what is allocated at once"),
    PROPERTY_END,
};

static int luks_create_image(const struct block_create *create, const void *options, char *error,
                             size_t error_size)
{
    const struct luks_create_properties *o = options;
    struct luks_create_options luks = {
        .spec = {.cipher = o->cipher,
                 .mode = o->mode,
                 .ivgen = o->ivgen,
                 .ivgen_hash = o->ivgen_hash},
        .hash = o->hash,
        .iter_time = (unsigned)o->iter_time,
    };
    struct luks_io io = io_of(create->file);
    uint8_t *password;
    size_t password_size;
    int err;

    if (!o->key_secret) {
        snprintf(error, error_size, "luks: option 'key-secret' is missing");
        return -EINVAL;
    }
    if (create->size > INT64_MAX - luks_header_size(&luks)) {
        snprintf(error, error_size, "luks: size %" PRIu64 ": too large", create->size);
        return -EFBIG;
    }
    err = secret_get(o->key_secret, "luks", &password, &password_size, error, error_size);
    if (err) {
        return err;
    }
    err = block_truncate(create->file, create->size + luks_header_size(&luks), true,
                         (enum block_preallocation)o->preallocation, error, error_size);
    if (!err) {
        err = luks_create(&io, create->file->filename, &luks, password, password_size, NULL, error,
                          error_size);
    }
    crypto_wipe(password, password_size);
    free(password);
    return err;
}

static int luks_measure(uint64_t size, struct block_node *from, const void *options,
                        struct block_measure *measure, char *error, size_t error_size)
{
    const struct luks_create_properties *o = options;
    struct luks_create_options luks = {.spec = {.cipher = o->cipher, .mode = o->mode}};

    measure->required = measure->fully_allocated = size + luks_header_size(&luks);
    return 0;
}

static int luks_amend_image(struct block_node *node, const char *options, bool force,
                            void (*progress)(void *opaque, uint64_t done, uint64_t total),
                            void *opaque, char *error, size_t error_size)
{
    const struct luks_options *o = node->options;
    struct luks_io io = io_of(node->file->node);
    struct luks *luks = node->state;
    struct luks_amend amend;
    int err = property_set_defaults(luks_amend_properties, &amend);

    if (!err) {
        err = property_set_list(luks_amend_properties, &amend, "luks", options, NULL, NULL, error,
                                error_size);
    }
    if (!err) {
        err = luks_amend(&io, node->filename, o->key_secret, &amend, force, &luks->info, error,
                         error_size);
    }
    property_clear(luks_amend_properties, &amend);
    return err;
}

const struct block_driver block_luks = {
    .name = "luks",
    .is_format = true,
    .options = luks_properties,
    .options_size = sizeof(struct luks_options),
    .state_size = sizeof(struct luks),
    .children = luks_children,
    .create_options = luks_create_table,
    .create_options_size = sizeof(struct luks_create_properties),
    .create = luks_create_image,
    .probe = luks_probe_head,
    .open = luks_open_node,
    .close = luks_close,
    .read = luks_read,
    .write = luks_write,
    .discard = luks_discard,
    .truncate = luks_truncate,
    .info = luks_get_info,
    .info_specific = luks_info_specific,
    .amend = luks_amend_image,
    .amend_options = luks_amend_properties,
    .measure = luks_measure,
};
