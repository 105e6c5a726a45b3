/*
 * Ciphers by nettle's tables; modes and vectors around them.
 *
 * A context is read-only after it is made, so any number of threads use it. AES in XTS mode, which
 * is what nearly every encrypted disk has, goes by GnuTLS where that has it: its code does several
 * blocks at once. Its handles hold a vector, so each use takes one from a list and puts it back.
 */
#include "io/block/crypto.h"
#include "build/config.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <nettle/cbc.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>
#include <nettle/cast128.h>
#include <nettle/serpent.h>
#include <nettle/twofish.h>
#include <nettle/xts.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MAX_BLOCK 16

const char *const crypto_cipher_names[] = {
    "aes-128",     "aes-192",     "aes-256",     "cast5-128",   "serpent-128", "serpent-192",
    "serpent-256", "twofish-128", "twofish-192", "twofish-256", NULL};
const char *const crypto_mode_names[] = {"ecb", "cbc", "xts", NULL};
const char *const crypto_ivgen_names[] = {"plain", "plain64", "essiv", NULL};
const char *const crypto_hash_names[] = {"md5",    "sha1",   "sha224",    "sha256",
                                         "sha384", "sha512", "ripemd160", NULL};

static const struct nettle_cipher *const ciphers[CRYPTO_CIPHERS] = {
    [CRYPTO_AES_128] = &nettle_aes128,         [CRYPTO_AES_192] = &nettle_aes192,
    [CRYPTO_AES_256] = &nettle_aes256,         [CRYPTO_CAST5_128] = &nettle_cast128,
    [CRYPTO_SERPENT_128] = &nettle_serpent128, [CRYPTO_SERPENT_192] = &nettle_serpent192,
    [CRYPTO_SERPENT_256] = &nettle_serpent256, [CRYPTO_TWOFISH_128] = &nettle_twofish128,
    [CRYPTO_TWOFISH_192] = &nettle_twofish192, [CRYPTO_TWOFISH_256] = &nettle_twofish256,
};
static const struct nettle_hash *const hashes[CRYPTO_HASHES] = {
    [CRYPTO_MD5] = &nettle_md5,
    [CRYPTO_SHA1] = &nettle_sha1,
    [CRYPTO_SHA224] = &nettle_sha224,
    [CRYPTO_SHA256] = &nettle_sha256,
    [CRYPTO_SHA384] = &nettle_sha384,
    [CRYPTO_SHA512] = &nettle_sha512,
    [CRYPTO_RIPEMD160] = &nettle_ripemd160,
};

struct fast_handle {
    gnutls_cipher_hd_t cipher;
    struct fast_handle *next;
};

struct crypto {
    struct crypto_spec spec;
    const struct nettle_cipher *cipher, *iv_cipher;
    void *encrypt, *decrypt, *tweak, *essiv; /* contexts; the last two or NULL */
    /* AES-XTS by GnuTLS */
    bool fast;
    gnutls_cipher_algorithm_t fast_algorithm;
    uint8_t key[CRYPTO_MAX_KEY];
    pthread_mutex_t lock; /* of `handles` */
    struct fast_handle *handles;
};

size_t crypto_key_size(const struct crypto_spec *spec)
{
    return ciphers[spec->cipher]->key_size * (spec->mode == CRYPTO_XTS ? 2 : 1);
}

size_t crypto_digest_size(enum crypto_hash hash)
{
    return hashes[hash]->digest_size;
}

void crypto_wipe(void *data, size_t size)
{
    explicit_bzero(data, size);
}

int crypto_differ(const void *a, const void *b, size_t size)
{
    return !memeql_sec(a, b, size);
}

int crypto_random(void *data, size_t size)
{
    uint8_t *at = data;

    while (size) {
        ssize_t n = getrandom(at, size, 0);

        if (n < 0 && errno != EINTR) {
            return -EIO;
        }
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* ---- ciphers ---- */

static void wipe_free(void *context, size_t size)
{
    if (context) {
        crypto_wipe(context, size);
        free(context);
    }
}

/* The cipher that encrypts sector numbers: keyed with the key's digest, so its size is that. */
static const struct nettle_cipher *find_iv_cipher(const struct crypto_spec *spec)
{
    size_t size = hashes[spec->ivgen_hash]->digest_size;
    enum crypto_cipher first;

    switch (spec->cipher) {
    case CRYPTO_AES_128:
    case CRYPTO_AES_192:
    case CRYPTO_AES_256:
        first = CRYPTO_AES_128;
        break;
    case CRYPTO_CAST5_128:
        return size == 16 ? ciphers[CRYPTO_CAST5_128] : NULL;
    case CRYPTO_SERPENT_128:
    case CRYPTO_SERPENT_192:
    case CRYPTO_SERPENT_256:
        first = CRYPTO_SERPENT_128;
        break;
    default:
        first = CRYPTO_TWOFISH_128;
        break;
    }
    return size == 16   ? ciphers[first]
           : size == 24 ? ciphers[first + 1]
           : size == 32 ? ciphers[first + 2]
                        : NULL;
}

static int make_essiv(struct crypto *c, const uint8_t *key, char *error, size_t error_size)
{
    uint8_t salt[CRYPTO_MAX_DIGEST];

    c->iv_cipher = find_iv_cipher(&c->spec);
    if (!c->iv_cipher) {
        snprintf(error, error_size, "ivgen-hash-alg=%s: expected a hash whose size is a key's",
                 crypto_hash_names[c->spec.ivgen_hash]);
        return -EINVAL;
    }
    c->essiv = malloc(c->iv_cipher->context_size);
    if (!c->essiv) {
        return -ENOMEM;
    }
    crypto_digest((enum crypto_hash)c->spec.ivgen_hash, key, crypto_key_size(&c->spec), salt);
    c->iv_cipher->set_encrypt_key(c->essiv, salt);
    crypto_wipe(salt, sizeof(salt));
    return 0;
}

static struct fast_handle *make_handle(const struct crypto *c)
{
    struct fast_handle *h = calloc(1, sizeof(*h));
    gnutls_datum_t key = {.data = (uint8_t *)c->key, .size = (unsigned)crypto_key_size(&c->spec)};

    if (h && gnutls_cipher_init(&h->cipher, c->fast_algorithm, &key, NULL) < 0) {
        free(h);
        h = NULL;
    }
    return h;
}

/* Is there a faster way for this cipher? Finding it costs one handle, which is kept. */
static void make_fast(struct crypto *c, const uint8_t *key)
{
    if (c->spec.mode != CRYPTO_XTS ||
        (c->spec.cipher != CRYPTO_AES_128 && c->spec.cipher != CRYPTO_AES_256)) {
        return;
    }
    c->fast_algorithm =
        c->spec.cipher == CRYPTO_AES_128 ? GNUTLS_CIPHER_AES_128_XTS : GNUTLS_CIPHER_AES_256_XTS;
    memcpy(c->key, key, crypto_key_size(&c->spec));
    c->handles = make_handle(c);
    c->fast = c->handles;
}

static int make(struct crypto *c, const uint8_t *key, char *error, size_t error_size)
{
    const struct crypto_spec *spec = &c->spec;
    size_t one = ciphers[spec->cipher]->key_size;

    if (spec->mode == CRYPTO_XTS && ciphers[spec->cipher]->block_size != MAX_BLOCK) {
        snprintf(error, error_size, "cipher-mode=xts: expected a cipher with blocks of 16 bytes");
        return -EINVAL;
    }
    c->cipher = ciphers[spec->cipher];
    c->encrypt = malloc(c->cipher->context_size);
    c->decrypt = malloc(c->cipher->context_size);
    if (!c->encrypt || !c->decrypt) {
        return -ENOMEM;
    }
    c->cipher->set_encrypt_key(c->encrypt, key);
    c->cipher->set_decrypt_key(c->decrypt, key);
    if (spec->mode == CRYPTO_XTS) {
        c->tweak = malloc(c->cipher->context_size);
        if (!c->tweak) {
            return -ENOMEM;
        }
        c->cipher->set_encrypt_key(c->tweak, key + one);
    }
    make_fast(c, key);
    return spec->mode != CRYPTO_ECB && spec->ivgen == CRYPTO_ESSIV
               ? make_essiv(c, key, error, error_size)
               : 0;
}

struct crypto *crypto_create(const struct crypto_spec *spec, const uint8_t *key, char *error,
                             size_t error_size)
{
    struct crypto *c = calloc(1, sizeof(*c));

    snprintf(error, error_size, "encryption: out of memory");
    if (!c) {
        return NULL;
    }
    c->spec = *spec;
    pthread_mutex_init(&c->lock, NULL);
    if (make(c, key, error, error_size)) {
        crypto_destroy(c);
        return NULL;
    }
    error[0] = 0;
    return c;
}

void crypto_destroy(struct crypto *c)
{
    if (!c) {
        return;
    }
    while (c->handles) {
        struct fast_handle *h = c->handles;

        c->handles = h->next;
        gnutls_cipher_deinit(h->cipher);
        free(h);
    }
    if (c->cipher) {
        wipe_free(c->encrypt, c->cipher->context_size);
        wipe_free(c->decrypt, c->cipher->context_size);
        wipe_free(c->tweak, c->cipher->context_size);
    }
    if (c->iv_cipher) {
        wipe_free(c->essiv, c->iv_cipher->context_size);
    }
    pthread_mutex_destroy(&c->lock);
    crypto_wipe(c, sizeof(*c));
    free(c);
}

static void make_iv(const struct crypto *c, uint64_t sector, uint8_t *iv)
{
    unsigned bytes = c->spec.ivgen == CRYPTO_PLAIN ? 4 : 8;

    memset(iv, 0, MAX_BLOCK);
    for (unsigned i = 0; i < bytes; i++) {
        iv[i] = (uint8_t)(sector >> (8 * i));
    }
    if (c->essiv) {
        c->iv_cipher->encrypt(c->essiv, c->iv_cipher->block_size, iv, iv);
    }
}

static struct fast_handle *take_handle(struct crypto *c)
{
    pthread_mutex_lock(&c->lock);
    struct fast_handle *h = c->handles;

    if (h) {
        c->handles = h->next;
    }
    pthread_mutex_unlock(&c->lock);
    return h ? h : make_handle(c);
}

static void put_handle(struct crypto *c, struct fast_handle *h)
{
    pthread_mutex_lock(&c->lock);
    h->next = c->handles;
    c->handles = h;
    pthread_mutex_unlock(&c->lock);
}

/* False: not done, since there is no memory for a handle. */
static bool crypt_fast(struct crypto *c, uint64_t sector, uint8_t *at, size_t size, bool encrypt)
{
    struct fast_handle *h = take_handle(c);
    uint8_t iv[MAX_BLOCK];

    if (!h) {
        return false;
    }
    for (; size; size -= CRYPTO_SECTOR, at += CRYPTO_SECTOR) {
        make_iv(c, sector++, iv);
        gnutls_cipher_set_iv(h->cipher, iv, sizeof(iv));
        if (encrypt) {
            gnutls_cipher_encrypt(h->cipher, at, CRYPTO_SECTOR);
        } else {
            gnutls_cipher_decrypt(h->cipher, at, CRYPTO_SECTOR);
        }
    }
    put_handle(c, h);
    return true;
}

void crypto_encrypt(struct crypto *c, uint64_t sector, void *data, size_t size)
{
    uint8_t *at = data;
    uint8_t iv[MAX_BLOCK];

    if (c->fast && crypt_fast(c, sector, at, size, true)) {
        return;
    }
    for (; size; size -= CRYPTO_SECTOR, at += CRYPTO_SECTOR) {
        make_iv(c, sector++, iv);
        switch (c->spec.mode) {
        case CRYPTO_ECB:
            c->cipher->encrypt(c->encrypt, CRYPTO_SECTOR, at, at);
            break;
        case CRYPTO_CBC:
            cbc_encrypt(c->encrypt, c->cipher->encrypt, c->cipher->block_size, iv, CRYPTO_SECTOR,
                        at, at);
            break;
        case CRYPTO_XTS:
            xts_encrypt_message(c->encrypt, c->tweak, c->cipher->encrypt, iv, CRYPTO_SECTOR, at,
                                at);
            break;
        }
    }
}

void crypto_decrypt(struct crypto *c, uint64_t sector, void *data, size_t size)
{
    uint8_t *at = data;
    uint8_t iv[MAX_BLOCK];

    if (c->fast && crypt_fast(c, sector, at, size, false)) {
        return;
    }
    for (; size; size -= CRYPTO_SECTOR, at += CRYPTO_SECTOR) {
        make_iv(c, sector++, iv);
        switch (c->spec.mode) {
        case CRYPTO_ECB:
            c->cipher->decrypt(c->decrypt, CRYPTO_SECTOR, at, at);
            break;
        case CRYPTO_CBC:
            cbc_decrypt(c->decrypt, c->cipher->decrypt, c->cipher->block_size, iv, CRYPTO_SECTOR,
                        at, at);
            break;
        case CRYPTO_XTS:
            xts_decrypt_message(c->decrypt, c->tweak, c->cipher->decrypt, c->cipher->encrypt, iv,
                                CRYPTO_SECTOR, at, at);
            break;
        }
    }
}

/* ---- hashing ---- */

void crypto_digest(enum crypto_hash hash, const void *data, size_t size, uint8_t *digest)
{
    _Alignas(16) uint8_t context[512];
    const struct nettle_hash *h = hashes[hash];

    h->init(context);
    h->update(context, size, data);
    h->digest(context, h->digest_size, digest);
    crypto_wipe(context, sizeof(context));
}

struct mac {
    _Alignas(16) uint8_t outer[512], inner[512], state[512];
};

int crypto_pbkdf2(enum crypto_hash hash, const uint8_t *password, size_t password_size,
                  const uint8_t *salt, size_t salt_size, uint32_t iterations, uint8_t *key,
                  size_t key_size)
{
    const struct nettle_hash *h = hashes[hash];
    struct mac mac;

    if (h->context_size > sizeof(mac.state)) {
        return -ENOTSUP;
    }
    hmac_set_key(mac.outer, mac.inner, mac.state, h, password_size, password);
    for (uint32_t block = 1; key_size; block++) {
        uint8_t sum[CRYPTO_MAX_DIGEST], u[CRYPTO_MAX_DIGEST];
        const uint8_t number[4] = {(uint8_t)(block >> 24), (uint8_t)(block >> 16),
                                   (uint8_t)(block >> 8), (uint8_t)block};
        size_t n = key_size < h->digest_size ? key_size : h->digest_size;

        hmac_update(mac.state, h, salt_size, salt);
        hmac_update(mac.state, h, sizeof(number), number);
        hmac_digest(mac.outer, mac.inner, mac.state, h, h->digest_size, u);
        memcpy(sum, u, h->digest_size);
        for (uint32_t i = 1; i < iterations; i++) {
            hmac_update(mac.state, h, h->digest_size, u);
            hmac_digest(mac.outer, mac.inner, mac.state, h, h->digest_size, u);
            for (size_t b = 0; b < h->digest_size; b++) {
                sum[b] ^= u[b];
            }
        }
        memcpy(key, sum, n);
        key += n;
        key_size -= n;
    }
    crypto_wipe(&mac, sizeof(mac));
    return 0;
}

static int64_t thread_time(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

uint32_t crypto_pbkdf2_iterations(enum crypto_hash hash, size_t key_size, unsigned milliseconds)
{
    uint8_t key[CRYPTO_MAX_KEY];
    uint64_t iterations = 1000;
    int64_t spent = 0;

    /* Long enough for the clock, short enough for the user. */
    while (iterations < 1u << 26) {
        int64_t start = thread_time();

        crypto_pbkdf2(hash, (const uint8_t *)"password", 8, (const uint8_t *)"salt", 4,
                      (uint32_t)iterations, key, key_size < sizeof(key) ? key_size : sizeof(key));
        spent = thread_time() - start;
        if (spent >= 25 * 1000000) {
            break;
        }
        iterations *= 2;
    }
    iterations = (uint64_t)((double)iterations * milliseconds * 1e6 / (double)(spent + 1));
    return iterations < 1000 ? 1000 : iterations > 100000000 ? 100000000 : (uint32_t)iterations;
}
