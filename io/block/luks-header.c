/*
 * The header of LUKS version 1. All numbers are big-endian; sectors are of 512 bytes.
 *
 *     offset  bytes  what
 *          0      6  "LUKS", 0xba, 0xbe
 *          6      2  version, 1
 *          8     32  cipher ("aes")
 *         40     32  mode ("xts-plain64", "cbc-essiv:sha256")
 *         72     32  hash ("sha256")
 *        104      4  sector where the data begins
 *        108      4  bytes of the master key
 *        112     20  digest of the master key, with ...
 *        132     32  ... this salt and ...
 *        164      4  ... so many iterations
 *        168     40  UUID
 *        208   8*48  key slots: state, iterations, salt (32), sector of the key material, stripes
 *
 * A slot holds the master key, blown up to many stripes of which each is needed (so that a slot can
 * be destroyed by overwriting any sector of it), encrypted with a key made from the password.
 * The images that are written lay slots at multiples of 4 KiB.
 */
#include "io/block/luks-internal.h"
#include "io/block/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_SIZE      48
#define MAX_STRIPES    16384
#define MAX_ITERATIONS 200000000u /* more takes minutes: an attack rather than a header */
#define SLOT_ACTIVE    0x00ac71f3u
#define SLOT_UNUSED    0x0000deadu
#define ALIGNMENT      4096

static int find_name(const char *const *names, const char *name, size_t size)
{
    for (int i = 0; names[i]; i++) {
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) {
            return i;
        }
    }
    return -1;
}

/* ---- splitting ---- */

/* Mixes a stripe: each piece as long as a digest becomes the digest of its number and itself. */
static void diffuse(enum crypto_hash hash, uint8_t *block, size_t size)
{
    size_t piece = crypto_digest_size(hash);
    uint8_t text[4 + CRYPTO_MAX_DIGEST], digest[CRYPTO_MAX_DIGEST];

    for (uint32_t i = 0; (size_t)i * piece < size; i++) {
        size_t n = size - i * piece < piece ? size - i * piece : piece;

        bytes_put_be32(text, i);
        memcpy(text + 4, block + i * piece, n);
        crypto_digest(hash, text, 4 + n, digest);
        memcpy(block + i * piece, digest, n);
    }
    crypto_wipe(text, sizeof(text));
    crypto_wipe(digest, sizeof(digest));
}

static void merge_stripes(enum crypto_hash hash, const uint8_t *split, size_t size,
                          uint32_t stripes, uint8_t *key)
{
    memset(key, 0, size);
    for (uint32_t s = 0; s < stripes; s++) {
        for (size_t i = 0; i < size; i++) {
            key[i] ^= split[s * size + i];
        }
        if (s + 1 < stripes) {
            diffuse(hash, key, size);
        }
    }
}

static int split_stripes(enum crypto_hash hash, const uint8_t *key, size_t size, uint32_t stripes,
                         uint8_t *split)
{
    uint8_t *last = split + (stripes - 1) * size;
    int err = crypto_random(split, (stripes - 1) * size);

    if (!err) {
        merge_stripes(hash, split, size, stripes - 1, last);
        diffuse(hash, last, size);
        for (size_t i = 0; i < size; i++) {
            last[i] ^= key[i];
        }
    }
    return err;
}

/* ---- reading ---- */

bool luks_probe(const uint8_t *head, size_t size)
{
    return size >= 8 && memcmp(head, "LUKS\xba\xbe\0\1", 8) == 0;
}

size_t luks_material_size(size_t key_size, uint32_t stripes)
{
    return (key_size * stripes + CRYPTO_SECTOR - 1) / CRYPTO_SECTOR * CRYPTO_SECTOR;
}

static int parse_mode(struct crypto_spec *spec, const char *mode)
{
    size_t n = strcspn(mode, "-");

    spec->mode = find_name(crypto_mode_names, mode, n);
    if (spec->mode < 0) {
        return -EINVAL;
    }
    if (!mode[n]) {
        spec->ivgen = CRYPTO_PLAIN;
        return spec->mode == CRYPTO_ECB ? 0 : -EINVAL;
    }
    mode += n + 1;
    n = strcspn(mode, ":");
    spec->ivgen = find_name(crypto_ivgen_names, mode, n);
    if (spec->ivgen < 0) {
        return -EINVAL;
    }
    if (spec->ivgen == CRYPTO_ESSIV) {
        if (!mode[n]) {
            return -EINVAL;
        }
        spec->ivgen_hash = find_name(crypto_hash_names, mode + n + 1, strlen(mode + n + 1));
    }
    return spec->ivgen_hash < 0 ? -EINVAL : 0;
}

/* The variant of a cipher is in the size of the key. */
static int parse_cipher(struct crypto_spec *spec, const char *name, uint32_t key_size)
{
    for (int i = 0; crypto_cipher_names[i]; i++) {
        const char *candidate = crypto_cipher_names[i];
        size_t n = strcspn(candidate, "-");

        spec->cipher = i;
        if (strlen(name) == n && strncmp(candidate, name, n) == 0 &&
            crypto_key_size(spec) == key_size) {
            return 0;
        }
    }
    return -EINVAL;
}

static int bad(const char *who, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: LUKS header: %s", who, what);
    return -EINVAL;
}

static int parse_slots(const uint8_t *raw, const char *who, struct luks_header *h, size_t key_size,
                       char *error, size_t error_size)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const uint8_t *at = raw + 208 + i * SLOT_SIZE;
        struct luks_slot *slot = &h->info.slot[i];
        uint32_t state = bytes_be32(at);

        if (state != SLOT_ACTIVE && state != SLOT_UNUSED) {
            return bad(who, "a key slot is neither used nor unused", error, error_size);
        }
        *slot = (struct luks_slot){.active = state == SLOT_ACTIVE,
                                   .iterations = bytes_be32(at + 4),
                                   .stripes = bytes_be32(at + 44),
                                   .key_offset = (uint64_t)bytes_be32(at + 40) * CRYPTO_SECTOR};
        memcpy(h->slot_salt[i], at + 8, LUKS_SALT_SIZE);
        if (!slot->active) {
            continue;
        }
        if (!slot->stripes || slot->stripes > MAX_STRIPES) {
            return bad(who, "the stripes of a key slot are not plausible", error, error_size);
        }
        if (!slot->iterations || slot->iterations > MAX_ITERATIONS) {
            return bad(who, "the iterations of a key slot are not plausible", error, error_size);
        }
        uint64_t end = slot->key_offset + luks_material_size(key_size, slot->stripes);

        if (slot->key_offset < LUKS_HEADER_SIZE ||
            (h->info.payload_offset && end > h->info.payload_offset)) {
            return bad(who, "a key slot overlaps something else", error, error_size);
        }
    }
    return 0;
}

static int parse(const uint8_t *raw, const char *who, struct luks_header *h, char *error,
                 size_t error_size)
{
    char cipher[33] = "", mode[33] = "", hash[33] = "";
    uint32_t key_size = bytes_be32(raw + 108);

    if (!luks_probe(raw, LUKS_HEADER_SIZE)) {
        return bad(who, "expected a header of version 1", error, error_size);
    }
    memcpy(cipher, raw + 8, 32);
    memcpy(mode, raw + 40, 32);
    memcpy(hash, raw + 72, 32);
    memcpy(h->info.uuid, raw + 168, 40);
    h->info.hash = find_name(crypto_hash_names, hash, strlen(hash));
    if (h->info.hash < 0) {
        return bad(who, "a hash that is not known", error, error_size);
    }
    if (parse_mode(&h->info.spec, mode)) {
        return bad(who, "a cipher mode that is not known", error, error_size);
    }
    if (parse_cipher(&h->info.spec, cipher, key_size)) {
        return bad(who, "a cipher that is not known, or a key size that it does not have", error,
                   error_size);
    }
    memcpy(h->digest, raw + 112, LUKS_DIGEST_SIZE);
    memcpy(h->digest_salt, raw + 132, LUKS_SALT_SIZE);
    h->info.master_iterations = bytes_be32(raw + 164);
    if (!h->info.master_iterations || h->info.master_iterations > MAX_ITERATIONS) {
        return bad(who, "the iterations of the digest are not plausible", error, error_size);
    }
    h->info.payload_offset = (uint64_t)bytes_be32(raw + 104) * CRYPTO_SECTOR;
    return parse_slots(raw, who, h, key_size, error, error_size);
}

static int digest_of_key(const struct luks_header *h, const uint8_t *key, uint8_t *digest)
{
    return crypto_pbkdf2((enum crypto_hash)h->info.hash, key, crypto_key_size(&h->info.spec),
                         h->digest_salt, LUKS_SALT_SIZE, h->info.master_iterations, digest,
                         LUKS_DIGEST_SIZE);
}

int luks_try_slot(const struct luks_io *io, const struct luks_header *h, unsigned number,
                  const uint8_t *password, size_t password_size, uint8_t *key, char *error,
                  size_t error_size)
{
    const struct luks_slot *slot = &h->info.slot[number];
    size_t key_size = crypto_key_size(&h->info.spec);
    size_t size = luks_material_size(key_size, slot->stripes);
    uint8_t slot_key[CRYPTO_MAX_KEY], digest[LUKS_DIGEST_SIZE];
    uint8_t *material = malloc(size);
    struct crypto *crypto = NULL;
    int err = material ? 0 : -ENOMEM;

    if (!err) {
        err = crypto_pbkdf2((enum crypto_hash)h->info.hash, password, password_size,
                            h->slot_salt[number], LUKS_SALT_SIZE, slot->iterations, slot_key,
                            key_size);
    }
    if (!err) {
        err = io->read(io->opaque, slot->key_offset, material, size);
    }
    if (!err) {
        crypto = crypto_create(&h->info.spec, slot_key, error, error_size);
        err = crypto ? 0 : -EINVAL;
    }
    if (!err) {
        crypto_decrypt(crypto, 0, material, size);
        merge_stripes((enum crypto_hash)h->info.hash, material, key_size, slot->stripes, key);
        err = digest_of_key(h, key, digest);
    }
    if (!err && crypto_differ(digest, h->digest, LUKS_DIGEST_SIZE)) {
        err = -EPERM;
    }
    crypto_destroy(crypto);
    crypto_wipe(slot_key, sizeof(slot_key));
    if (material) {
        crypto_wipe(material, size);
        free(material);
    }
    return err;
}

int luks_read_header(const struct luks_io *io, const char *who, struct luks_header *h, char *error,
                     size_t error_size)
{
    uint8_t raw[LUKS_HEADER_SIZE];
    int err = io->read(io->opaque, 0, raw, sizeof(raw));

    *h = (struct luks_header){0};
    if (err) {
        snprintf(error, error_size, "%s: can't read the LUKS header: %s", who, strerror(-err));
        return err;
    }
    return parse(raw, who, h, error, error_size);
}

int luks_unlock(const struct luks_io *io, const char *who, const struct luks_header *h,
                const uint8_t *password, size_t password_size, uint8_t *key, char *error,
                size_t error_size)
{
    int err = -EPERM;

    error[0] = 0;
    for (unsigned i = 0; i < LUKS_SLOTS && err == -EPERM; i++) {
        if (h->info.slot[i].active) {
            err = luks_try_slot(io, h, i, password, password_size, key, error, error_size);
        }
    }
    if (err && !error[0]) {
        snprintf(error, error_size, "%s: %s", who,
                 err == -EPERM ? "the password opens no key slot" : strerror(-err));
    }
    return err;
}

int luks_open(const struct luks_io *io, const char *who, const uint8_t *password,
              size_t password_size, struct luks_info *info, struct crypto **crypto, char *error,
              size_t error_size)
{
    uint8_t key[CRYPTO_MAX_KEY];
    struct luks_header h;
    int err = luks_read_header(io, who, &h, error, error_size);

    *crypto = NULL;
    if (err) {
        return err;
    }
    *info = h.info;
    if (!password) {
        return 0;
    }
    err = luks_unlock(io, who, &h, password, password_size, key, error, error_size);
    if (!err) {
        *crypto = crypto_create(&h.info.spec, key, error, error_size);
        err = *crypto ? 0 : -EINVAL;
    }
    crypto_wipe(key, sizeof(key));
    return err;
}

/* ---- creating ---- */

static size_t slot_room(const struct crypto_spec *spec)
{
    return (luks_material_size(crypto_key_size(spec), LUKS_STRIPES) + ALIGNMENT - 1) / ALIGNMENT *
           ALIGNMENT;
}

uint64_t luks_header_size(const struct luks_create_options *options)
{
    return ALIGNMENT + (uint64_t)LUKS_SLOTS * slot_room(&options->spec);
}

static int make_uuid(char *uuid)
{
    uint8_t b[16];
    int err = crypto_random(b, sizeof(b));

    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 4122: version 4, random */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(uuid, 41, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
    return err;
}

static void serialise(const struct luks_header *h, uint8_t *raw)
{
    const struct crypto_spec *spec = &h->info.spec;
    char text[64];

    memset(raw, 0, LUKS_HEADER_SIZE);
    bytes_put_text(raw, "LUKS\xba\xbe", 6);
    bytes_put_be16(raw + 6, 1);
    bytes_put_text(raw + 8, crypto_cipher_names[spec->cipher],
                   strcspn(crypto_cipher_names[spec->cipher], "-"));
    if (spec->mode == CRYPTO_ECB) {
        snprintf(text, sizeof(text), "ecb");
    } else if (spec->ivgen == CRYPTO_ESSIV) {
        snprintf(text, sizeof(text), "%s-essiv:%s", crypto_mode_names[spec->mode],
                 crypto_hash_names[spec->ivgen_hash]);
    } else {
        snprintf(text, sizeof(text), "%s-%s", crypto_mode_names[spec->mode],
                 crypto_ivgen_names[spec->ivgen]);
    }
    bytes_put_text(raw + 40, text, 32);
    bytes_put_text(raw + 72, crypto_hash_names[h->info.hash], 32);
    bytes_put_be32(raw + 104, (uint32_t)(h->info.payload_offset / CRYPTO_SECTOR));
    bytes_put_be32(raw + 108, (uint32_t)crypto_key_size(spec));
    memcpy(raw + 112, h->digest, LUKS_DIGEST_SIZE);
    memcpy(raw + 132, h->digest_salt, LUKS_SALT_SIZE);
    bytes_put_be32(raw + 164, h->info.master_iterations);
    bytes_put_text(raw + 168, h->info.uuid, 40);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        uint8_t *at = raw + 208 + i * SLOT_SIZE;
        const struct luks_slot *slot = &h->info.slot[i];

        bytes_put_be32(at, slot->active ? SLOT_ACTIVE : SLOT_UNUSED);
        bytes_put_be32(at + 4, slot->iterations);
        memcpy(at + 8, h->slot_salt[i], LUKS_SALT_SIZE);
        bytes_put_be32(at + 40, (uint32_t)(slot->key_offset / CRYPTO_SECTOR));
        bytes_put_be32(at + 44, slot->stripes);
    }
}

int luks_write_header(const struct luks_io *io, const struct luks_header *h)
{
    uint8_t raw[LUKS_HEADER_SIZE];

    serialise(h, raw);
    return io->write(io->opaque, 0, raw, sizeof(raw));
}

int luks_write_slot(const struct luks_io *io, const struct luks_header *h, unsigned number,
                    const uint8_t *key, const uint8_t *password, size_t password_size, char *error,
                    size_t error_size)
{
    enum crypto_hash hash = (enum crypto_hash)h->info.hash;
    const struct luks_slot *slot = &h->info.slot[number];
    size_t key_size = crypto_key_size(&h->info.spec);
    size_t size = luks_material_size(key_size, LUKS_STRIPES);
    uint8_t slot_key[CRYPTO_MAX_KEY];
    uint8_t *material = calloc(1, size);
    struct crypto *crypto = NULL;
    int err = material ? 0 : -ENOMEM;

    if (!err) {
        err = split_stripes(hash, key, key_size, LUKS_STRIPES, material);
    }
    if (!err) {
        err = crypto_pbkdf2(hash, password, password_size, h->slot_salt[number], LUKS_SALT_SIZE,
                            slot->iterations, slot_key, key_size);
    }
    if (!err) {
        crypto = crypto_create(&h->info.spec, slot_key, error, error_size);
        err = crypto ? 0 : -EINVAL;
    }
    if (!err) {
        crypto_encrypt(crypto, 0, material, size);
        err = io->write(io->opaque, slot->key_offset, material, size);
    }
    crypto_destroy(crypto);
    crypto_wipe(slot_key, sizeof(slot_key));
    if (material) {
        crypto_wipe(material, size);
        free(material);
    }
    return err;
}

static int fill_header(struct luks_header *h, const struct luks_create_options *options,
                       const uint8_t *key)
{
    unsigned time = options->iter_time ? options->iter_time : 2000;
    enum crypto_hash hash = (enum crypto_hash)options->hash;
    size_t room = slot_room(&options->spec);
    int err = make_uuid(h->info.uuid);

    h->info.spec = options->spec;
    h->info.hash = options->hash;
    h->info.payload_offset = luks_header_size(options);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        h->info.slot[i] =
            (struct luks_slot){.stripes = LUKS_STRIPES, .key_offset = ALIGNMENT + i * room};
    }
    h->info.slot[0].active = true;
    h->info.slot[0].iterations =
        crypto_pbkdf2_iterations(hash, crypto_key_size(&options->spec), time);
    h->info.master_iterations = crypto_pbkdf2_iterations(hash, LUKS_DIGEST_SIZE, time / 8 + 1);
    if (!err) {
        err = crypto_random(h->digest_salt, LUKS_SALT_SIZE);
    }
    if (!err) {
        err = crypto_random(h->slot_salt[0], LUKS_SALT_SIZE);
    }
    return err ? err : digest_of_key(h, key, h->digest);
}

int luks_create(const struct luks_io *io, const char *who,
                const struct luks_create_options *options, const uint8_t *password,
                size_t password_size, struct crypto **crypto, char *error, size_t error_size)
{
    uint8_t key[CRYPTO_MAX_KEY];
    struct crypto *data;
    struct luks_header h = {0};
    int err = crypto_random(key, crypto_key_size(&options->spec));

    error[0] = 0;
    if (!err) {
        err = fill_header(&h, options, key);
    }
    /* First the key, then the header that says it is there. */
    if (!err) {
        err = luks_write_slot(io, &h, 0, key, password, password_size, error, error_size);
    }
    if (!err) {
        err = luks_write_header(io, &h);
    }
    if (!err && crypto) {
        data = crypto_create(&options->spec, key, error, error_size);
        err = data ? 0 : -EINVAL;
        *crypto = data;
    }
    crypto_wipe(key, sizeof(key));
    if (err && !error[0]) {
        snprintf(error, error_size, "%s: can't create the LUKS header: %s", who, strerror(-err));
    }
    return err;
}
