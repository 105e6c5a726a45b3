/*
 * Encryption of guest data ("Data encryption", "Full disk encryption header pointer").
 *
 * LUKS: the header has clusters of its own, the sector number is that of the image file. AES, the
 * old method: the key is the password's first 16 bytes, the sector number is that of the disk; such
 * images are only read, to get data out of them.
 */
#include "io/block/qcow2/qcow2.h"

#include "io/block/luks-header.h"
#include "io/block/secret.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AES_KEY 16

struct qcow2_crypto {
    struct luks_info info;
    struct crypto *cipher; /* NULL: no key was given */
};

/* The LUKS header's clusters, as luks_io sees them. */
static int luks_read(void *opaque, uint64_t offset, void *data, size_t size)
{
    struct qcow2 *q = opaque;

    if (offset > q->header.luks_size || size > q->header.luks_size - offset) {
        return -EINVAL;
    }
    return qcow2_pread(q, q->header.luks_offset + offset, data, size);
}

static int luks_write(void *opaque, uint64_t offset, const void *data, size_t size)
{
    struct qcow2 *q = opaque;

    if (offset > q->header.luks_size || size > q->header.luks_size - offset) {
        return -EINVAL;
    }
    return qcow2_pwrite(q, 0, q->header.luks_offset + offset, data, size);
}

static int luks_flush(void *opaque)
{
    return block_flush(((struct qcow2 *)opaque)->file);
}

static struct luks_io io_of(struct qcow2 *q)
{
    return (struct luks_io){
        .read = luks_read, .write = luks_write, .flush = luks_flush, .opaque = q};
}

static int open_aes(struct qcow2 *q, const uint8_t *password, size_t size, char *error,
                    size_t error_size)
{
    struct crypto_spec spec = {
        .cipher = CRYPTO_AES_128, .mode = CRYPTO_CBC, .ivgen = CRYPTO_PLAIN64};
    uint8_t key[AES_KEY] = {0};

    if (!password) {
        return 0;
    }
    memcpy(key, password, size < sizeof(key) ? size : sizeof(key));
    q->crypto->cipher = crypto_create(&spec, key, error, error_size);
    crypto_wipe(key, sizeof(key));
    return q->crypto->cipher ? 0 : -EINVAL;
}

static int open_with(struct qcow2 *q, const uint8_t *password, size_t size, char *error,
                     size_t error_size)
{
    struct luks_io io = io_of(q);

    q->crypto = calloc(1, sizeof(*q->crypto));
    if (!q->crypto) {
        snprintf(error, error_size, "qcow2: out of memory");
        return -ENOMEM;
    }
    return q->header.crypt == QCOW2_CRYPT_AES
               ? open_aes(q, password, size, error, error_size)
               : luks_open(&io, q->node->filename, password, size, &q->crypto->info,
                           &q->crypto->cipher, error, error_size);
}

int qcow2_crypto_open(struct qcow2 *q, char *error, size_t error_size)
{
    static const char *const names[] = {"", "aes", "luks"};
    const char *format = q->options->encrypt_format, *id = q->options->key_secret;
    uint8_t *password = NULL;
    size_t size = 0;
    int err;

    if (format && *format && strcmp(format, names[q->header.crypt]) != 0) {
        snprintf(error, error_size, "qcow2: encrypt.format=%s: expected %s, which the header says",
                 format, names[q->header.crypt]);
        return -EINVAL;
    }
    if (q->header.crypt == QCOW2_CRYPT_AES && q->writable) {
        snprintf(error, error_size,
                 "qcow2: %s: AES images are only read (read-only=on); copy it to a LUKS image",
                 q->node->filename);
        return -ENOTSUP;
    }
    if (!id || !*id) {
        if (!q->node->no_io && !q->options->repair) {
            snprintf(error, error_size,
                     "qcow2: Parameter 'encrypt.key-secret' is required for cipher");
            return -EINVAL;
        }
        return open_with(q, NULL, 0, error, error_size);
    }
    err = secret_get(id, "qcow2: encrypt.key-secret", &password, &size, error, error_size);
    if (err == 0) {
        err = open_with(q, password, size, error, error_size);
        crypto_wipe(password, size);
        free(password);
    }
    return err;
}

void qcow2_crypto_close(struct qcow2 *q)
{
    if (q->crypto) {
        crypto_destroy(q->crypto->cipher);
        free(q->crypto);
        q->crypto = NULL;
    }
}

struct json_t *qcow2_crypto_describe(const struct qcow2 *q)
{
    bool luks = q->header.crypt == QCOW2_CRYPT_LUKS;
    json_t *encrypt = luks && q->crypto ? luks_describe(&q->crypto->info) : json_object();

    json_object_set_new(encrypt, "format", json_string(luks ? "luks" : "aes"));
    return encrypt;
}

/* The first sector's number. */
static uint64_t sector_of(const struct qcow2 *q, uint64_t guest, uint64_t host)
{
    return (q->header.crypt == QCOW2_CRYPT_AES ? guest : host) / CRYPTO_SECTOR;
}

int qcow2_encrypt(struct qcow2 *q, uint64_t guest, uint64_t host, uint8_t *data, size_t size)
{
    if (!q->crypto || !q->crypto->cipher) {
        return -EIO;
    }
    crypto_encrypt(q->crypto->cipher, sector_of(q, guest, host), data, size);
    return 0;
}

int qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, uint8_t *data, size_t size)
{
    if (!q->crypto || !q->crypto->cipher) {
        return -EIO;
    }
    crypto_decrypt(q->crypto->cipher, sector_of(q, guest, host), data, size);
    return 0;
}

int qcow2_crypto_amend(struct qcow2 *q, const struct luks_amend *amend, bool force, char *error,
                       size_t error_size)
{
    struct luks_io io = io_of(q);

    if (q->header.crypt != QCOW2_CRYPT_LUKS) {
        snprintf(error, error_size, "qcow2: encrypt: expected an image with encrypt.format=luks");
        return -ENOTSUP;
    }
    return luks_amend(&io, q->node->filename, q->options->key_secret, amend, force,
                      &q->crypto->info, error, error_size);
}

/* ---- new images ------------------------------------------------------------------------------ */

static struct luks_create_options luks_options(const struct qcow2_create_options *o)
{
    return (struct luks_create_options){
        .spec = {.cipher = o->cipher_alg,
                 .mode = o->cipher_mode,
                 .ivgen = o->ivgen_alg,
                 .ivgen_hash = o->ivgen_hash_alg},
        .hash = o->hash_alg,
        .iter_time = (unsigned)o->iter_time,
    };
}

int qcow2_crypto_measure(const struct qcow2_create_options *options, uint64_t *bytes, char *error,
                         size_t error_size)
{
    struct luks_create_options luks = luks_options(options);

    *bytes = luks_header_size(&luks);
    if (*bytes == 0) {
        snprintf(error, error_size, "qcow2: encrypt: there is no such cipher");
        return -EINVAL;
    }
    return 0;
}

/* Clusters for the header, filled with zeros. */
static int make_room(struct qcow2 *q, uint64_t bytes)
{
    uint64_t offset, room = qcow2_clusters(q, bytes) << q->cluster_bits;
    uint8_t *zeros = calloc(1, room);
    int err = zeros ? qcow2_alloc_bytes(q, room, &offset) : -ENOMEM;

    if (err == 0) {
        err = qcow2_pwrite(q, 0, offset, zeros, room);
        q->header.luks_offset = offset;
        q->header.luks_size = bytes;
    }
    free(zeros);
    return err;
}

int qcow2_crypto_create(struct qcow2 *q, const struct qcow2_create_options *options, char *error,
                        size_t error_size)
{
    struct luks_create_options luks = luks_options(options);
    struct luks_io io = io_of(q);
    uint8_t *password = NULL;
    size_t size = 0;
    uint64_t bytes;
    int err = qcow2_crypto_measure(options, &bytes, error, error_size);

    if (err == 0 && (!options->key_secret || !*options->key_secret)) {
        snprintf(error, error_size, "qcow2: Parameter 'encrypt.key-secret' is required for cipher");
        err = -EINVAL;
    }
    if (err == 0) {
        err = secret_get(options->key_secret, "qcow2: encrypt.key-secret", &password, &size, error,
                         error_size);
    }
    if (err == 0) {
        err = make_room(q, bytes);
        if (err == 0) {
            err =
                luks_create(&io, q->node->filename, &luks, password, size, NULL, error, error_size);
        }
        crypto_wipe(password, size);
        free(password);
    }
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        q->header.crypt = QCOW2_CRYPT_LUKS;
        err = qcow2_write_header(q);
    }
    return err;
}
