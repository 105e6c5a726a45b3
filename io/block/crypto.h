/*
 * Encryption of disk sectors: a cipher with its key, a mode, and a generator of initial vectors
 * from sector numbers; and the hashing that formats with key slots need.
 *
 * Names in the tables are those of options (cipher-alg, cipher-mode, ivgen-alg, hash-alg).
 */
#ifndef TINAMOU_IO_BLOCK_CRYPTO_H
#define TINAMOU_IO_BLOCK_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define CRYPTO_SECTOR     512 /* bytes that share an initial vector */
#define CRYPTO_MAX_KEY    64
#define CRYPTO_MAX_DIGEST 64

enum crypto_cipher {
    CRYPTO_AES_128,
    CRYPTO_AES_192,
    CRYPTO_AES_256,
    CRYPTO_CAST5_128,
    CRYPTO_SERPENT_128,
    CRYPTO_SERPENT_192,
    CRYPTO_SERPENT_256,
    CRYPTO_TWOFISH_128,
    CRYPTO_TWOFISH_192,
    CRYPTO_TWOFISH_256,
    CRYPTO_CIPHERS,
};
enum crypto_mode { CRYPTO_ECB, CRYPTO_CBC, CRYPTO_XTS };
enum crypto_ivgen { CRYPTO_PLAIN, CRYPTO_PLAIN64, CRYPTO_ESSIV };
enum crypto_hash {
    CRYPTO_MD5,
    CRYPTO_SHA1,
    CRYPTO_SHA224,
    CRYPTO_SHA256,
    CRYPTO_SHA384,
    CRYPTO_SHA512,
    CRYPTO_RIPEMD160,
    CRYPTO_HASHES,
};

/* For PROPERTY_ENUM; end with NULL. */
extern const char *const crypto_cipher_names[];
extern const char *const crypto_mode_names[];
extern const char *const crypto_ivgen_names[];
extern const char *const crypto_hash_names[];

struct crypto_spec {
    int cipher, mode, ivgen; /* of the enumerations */
    int ivgen_hash;          /* of ESSIV */
};

/* Bytes: of the key (XTS needs two), of a digest. */
size_t crypto_key_size(const struct crypto_spec *spec);
size_t crypto_digest_size(enum crypto_hash hash);

struct crypto;

/* The cipher with a key of crypto_key_size() bytes. NULL with a line in error[]: a combination
 * that does not exist, or no memory. Copies the key. Any thread. */
struct crypto *crypto_create(const struct crypto_spec *spec, const uint8_t *key, char *error,
                             size_t error_size);
/* Wipes the key. NULL is fine. */
void crypto_destroy(struct crypto *crypto);

/*
 * In place, sector by sector; `sector` is the number of the first, `size` a multiple of
 * CRYPTO_SECTOR. Any thread, several at once.
 */
void crypto_encrypt(struct crypto *crypto, uint64_t sector, void *data, size_t size);
void crypto_decrypt(struct crypto *crypto, uint64_t sector, void *data, size_t size);

/* digest gets crypto_digest_size() bytes. */
void crypto_digest(enum crypto_hash hash, const void *data, size_t size, uint8_t *digest);
/* PBKDF2 (RFC 8018, 5.2) with HMAC of the hash. -ENOTSUP for a hash without one. */
int crypto_pbkdf2(enum crypto_hash hash, const uint8_t *password, size_t password_size,
                  const uint8_t *salt, size_t salt_size, uint32_t iterations, uint8_t *key,
                  size_t key_size);
/* How many iterations take this processor `milliseconds` for such a key; at least 1000. */
uint32_t crypto_pbkdf2_iterations(enum crypto_hash hash, size_t key_size, unsigned milliseconds);

/* Bytes that nobody can guess; 0 or -EIO. */
int crypto_random(void *data, size_t size);
/* Zeros that the compiler doesn't leave out. */
void crypto_wipe(void *data, size_t size);
/* Equal, in a time that does not depend on the contents? */
int crypto_differ(const void *a, const void *b, size_t size);

#endif
