/* Secrets are a list by id; what they hold is wiped wherever it was. */
#include "io/block/secret.h"
#include "io/block/crypto.h"
#include "io/block/options.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/aes.h>
#include <nettle/base64.h>
#include <nettle/cbc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE (1u << 20)
#define KEY_SIZE 32
#define BLOCK    16

struct secret {
    char *id;
    uint8_t *data;
    size_t size;
    struct secret *next;
};

static struct secret *secrets;

static struct secret *find(const char *id)
{
    struct secret *s = secrets;

    while (s && strcmp(s->id, id) != 0) {
        s = s->next;
    }
    return s;
}

static void free_bytes(uint8_t *data, size_t size)
{
    if (data) {
        crypto_wipe(data, size);
        free(data);
    }
}

static int read_file(const char *path, uint8_t **data, size_t *size, char *error, size_t error_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    uint8_t *buffer = malloc(MAX_FILE + 1);
    ssize_t n = 0;
    size_t total = 0;

    if (fd >= 0 && buffer) {
        while (total <= MAX_FILE && (n = read(fd, buffer + total, MAX_FILE + 1 - total)) > 0) {
            total += (size_t)n;
        }
    }
    int err = !buffer ? -ENOMEM : fd < 0 || n < 0 ? -errno : total > MAX_FILE ? -EFBIG : 0;

    if (fd >= 0) {
        close(fd);
    }
    if (err) {
        free_bytes(buffer, total);
        snprintf(error, error_size, "secret: file=%s: %s", path, strerror(-err));
        return err;
    }
    buffer[total] = 0; /* there is room: not more than MAX_FILE */
    *data = buffer;
    *size = total;
    return 0;
}

/* In place: what is decoded is shorter. */
static int decode(uint8_t *data, size_t *size)
{
    struct base64_decode_ctx context;
    size_t n = *size;
    uint8_t *plain = malloc(BASE64_DECODE_LENGTH(n) + 1);
    int good;

    if (!plain) {
        return -ENOMEM;
    }
    base64_decode_init(&context);
    n = BASE64_DECODE_LENGTH(n);
    good = base64_decode_update(&context, &n, plain, *size, (const char *)data) &&
           base64_decode_final(&context);
    if (good) {
        memcpy(data, plain, n);
        crypto_wipe(data + n, *size - n);
        data[n] = 0;
        *size = n;
    }
    free_bytes(plain, good ? n : 0);
    return good ? 0 : -EINVAL;
}

static int decrypt(uint8_t *data, size_t *size, const char *keyid, const char *iv_text, char *error,
                   size_t error_size)
{
    struct CBC_CTX(struct aes256_ctx, BLOCK) context;
    const struct secret *key = find(keyid);
    uint8_t iv[64] = {0};
    size_t iv_size = iv_text ? strlen(iv_text) : 0;

    if (!key || key->size != KEY_SIZE) {
        snprintf(error, error_size, "secret: keyid=%s: expected the id of a secret of %d bytes",
                 keyid, KEY_SIZE);
        return -EINVAL;
    }
    if (!iv_text || iv_size >= sizeof(iv)) {
        iv_size = 0;
    } else {
        memcpy(iv, iv_text, iv_size + 1);
    }
    if (!iv_size || decode(iv, &iv_size) || iv_size != BLOCK) {
        snprintf(error, error_size, "secret: iv=%s: expected base64 of %d bytes",
                 iv_text ? iv_text : "", BLOCK);
        return -EINVAL;
    }
    if (decode(data, size) || !*size || *size % BLOCK) {
        snprintf(error, error_size, "secret: data: expected base64 of blocks of %d bytes", BLOCK);
        return -EINVAL;
    }
    aes256_set_decrypt_key(&context.ctx, key->data);
    CBC_SET_IV(&context, iv);
    CBC_DECRYPT(&context, aes256_decrypt, *size, data, data);
    crypto_wipe(&context, sizeof(context));

    uint8_t padding = data[*size - 1]; /* PKCS #7 */

    if (!padding || padding > BLOCK) {
        snprintf(error, error_size, "secret: data: does not decrypt with keyid=%s", keyid);
        return -EINVAL;
    }
    *size -= padding;
    data[*size] = 0;
    return 0;
}

static int load(const struct block_options *options, uint8_t **data, size_t *size, char *error,
                size_t error_size)
{
    const char *text = NULL, *file = NULL, *format = "raw", *keyid = NULL, *iv = NULL;
    int err = 0;

    block_options_get(options, "data", &text);
    block_options_get(options, "file", &file);
    block_options_get(options, "format", &format);
    block_options_get(options, "keyid", &keyid);
    block_options_get(options, "iv", &iv);
    if (!text == !file) {
        snprintf(error, error_size, "secret: expected one of data= and file=");
        return -EINVAL;
    }
    if (strcmp(format, "raw") != 0 && strcmp(format, "base64") != 0) {
        snprintf(error, error_size, "secret: format=%s: expected one of raw, base64", format);
        return -EINVAL;
    }
    if (file) {
        err = read_file(file, data, size, error, error_size);
    } else {
        *data = (uint8_t *)strdup(text);
        *size = strlen(text);
        err = *data ? 0 : -ENOMEM;
    }
    if (err) {
        return err;
    }
    if (keyid) {
        err = decrypt(*data, size, keyid, iv, error, error_size);
    }
    if (!err && strcmp(format, "base64") == 0 && decode(*data, size)) {
        snprintf(error, error_size, "secret: format=base64: the data is not base64");
        err = -EINVAL;
    }
    if (err) {
        free_bytes(*data, *size);
    }
    return err;
}

static int check_names(const struct block_options *options, char *error, size_t error_size)
{
    static const char *const names[] = {"id", "data", "file", "format", "keyid", "iv", NULL};

    for (unsigned i = 0; i < options->count; i++) {
        unsigned n = 0;

        while (names[n] && strcmp(names[n], options->list[i].name) != 0) {
            n++;
        }
        if (!names[n] || !options->list[i].value) {
            snprintf(error, error_size,
                     "secret: no property '%s'; there are id, data, file, format, keyid, iv",
                     options->list[i].name);
            return -EINVAL;
        }
    }
    return 0;
}

int secret_add(const char *text, char *error, size_t error_size)
{
    struct block_options options = {0};
    struct secret *s = calloc(1, sizeof(*s));
    const char *id = NULL;
    int err = s ? block_options_from_text(&options, text, error, error_size) : -ENOMEM;

    error[0] = 0;
    if (!err) {
        err = check_names(&options, error, error_size);
    }
    if (!err && (!block_options_get(&options, "id", &id) || !*id || find(id))) {
        snprintf(error, error_size, "secret: id=%s: expected a name that is not used yet",
                 id ? id : "");
        err = -EINVAL;
    }
    if (!err) {
        err = load(&options, &s->data, &s->size, error, error_size);
    }
    if (!err) {
        s->id = strdup(id);
        if (!s->id) {
            free_bytes(s->data, s->size);
            err = -ENOMEM;
        }
    }
    for (unsigned i = 0; i < options.count; i++) {
        crypto_wipe(options.list[i].value,
                    options.list[i].value ? strlen(options.list[i].value) : 0);
    }
    block_options_clear(&options);
    if (err) {
        if (!error[0]) {
            snprintf(error, error_size, "secret: %s", strerror(-err));
        }
        free(s);
        return err;
    }
    s->next = secrets;
    secrets = s;
    return 0;
}

int secret_remove(const char *id)
{
    struct secret **at = &secrets;

    while (*at && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    struct secret *s = *at;

    if (!s) {
        return -ENOENT;
    }
    *at = s->next;
    free_bytes(s->data, s->size);
    free(s->id);
    free(s);
    return 0;
}

int secret_get(const char *id, const char *who, uint8_t **data, size_t *size, char *error,
               size_t error_size)
{
    const struct secret *s = find(id);

    if (!s) {
        snprintf(error, error_size, "%s: key-secret=%s: there is no secret of that id", who, id);
        return -ENOENT;
    }
    *data = malloc(s->size + 1);
    if (!*data) {
        snprintf(error, error_size, "%s: out of memory", who);
        return -ENOMEM;
    }
    memcpy(*data, s->data, s->size);
    (*data)[s->size] = 0;
    *size = s->size;
    return 0;
}
