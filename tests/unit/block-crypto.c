/* Sector encryption, key derivation, LUKS headers and secrets: known answers and hostile input. */
#include "io/block/crypto.h"
#include "io/block/luks-header.h"
#include "io/block/secret.h"
#include "tests/unit/block.h"

static char error[300];

static void from_hex(const char *hex, uint8_t *bytes)
{
    for (; *hex; hex += 2) {
        unsigned byte;

        sscanf(hex, "%2x", &byte);
        *bytes++ = (uint8_t)byte;
    }
}

/* Does encrypting give these 16 bytes at `at`, and decrypting undo it? */
static void check_cipher(struct crypto_spec spec, const char *key_hex, uint64_t sector, bool count,
                         size_t at, const char *hex, const char *what)
{
    uint8_t key[CRYPTO_MAX_KEY], data[1024], plain[1024], want[16];
    struct crypto *c;
    bool good;

    from_hex(key_hex, key);
    from_hex(hex, want);
    for (unsigned i = 0; i < sizeof(data); i++) {
        plain[i] = data[i] = count ? (uint8_t)i : 0;
    }
    c = crypto_create(&spec, key, error, sizeof(error));
    if (!tap_ok(c, "%s: a cipher", what)) {
        return;
    }
    crypto_encrypt(c, sector, data, sizeof(data));
    good = memcmp(data + at, want, 16) == 0;
    tap_ok(memcmp(data, data + 512, 512) != 0 || spec.mode == CRYPTO_ECB,
           "%s: sectors of the same contents differ", what);
    crypto_decrypt(c, sector, data, sizeof(data));
    tap_ok(good, "%s: the known answer", what);
    tap_ok(memcmp(data, plain, sizeof(data)) == 0, "%s: decrypting undoes it", what);
    crypto_destroy(c);
}

static void ciphers(void)
{
    /* IEEE 1619-2007, annex B, vectors 4 and 10 */
    check_cipher((struct crypto_spec){CRYPTO_AES_128, CRYPTO_XTS, CRYPTO_PLAIN64, 0},
                 "27182818284590452353602874713526"
                 "31415926535897932384626433832795",
                 0, true, 0, "27a7479befa1d476489f308cd4cfa6e2", "aes-128-xts-plain64");
    check_cipher((struct crypto_spec){CRYPTO_AES_256, CRYPTO_XTS, CRYPTO_PLAIN64, 0},
                 "2718281828459045235360287471352662497757247093699959574966967627"
                 "3141592653589793238462643383279502884197169399375105820974944592",
                 0xff, true, 16, "ea00803f5e482357a4ae12d414a3e63b", "aes-256-xts-plain64");
    check_cipher((struct crypto_spec){CRYPTO_AES_128, CRYPTO_CBC, CRYPTO_PLAIN64, 0},
                 "000102030405060708090a0b0c0d0e0f", 0x100000005, false, 496,
                 "a7712a602cf9c20c226cf8e8efc91ef2", "aes-128-cbc-plain64");
    check_cipher((struct crypto_spec){CRYPTO_AES_128, CRYPTO_CBC, CRYPTO_ESSIV, CRYPTO_SHA256},
                 "000102030405060708090a0b0c0d0e0f", 0x100000005, false, 496,
                 "57ed064d6d4d68a99533ed2bc3ea8982", "aes-128-cbc-essiv:sha256");

    struct crypto_spec wrong = {CRYPTO_CAST5_128, CRYPTO_XTS, CRYPTO_PLAIN64, 0};
    uint8_t key[CRYPTO_MAX_KEY] = {0};

    tap_ok(!crypto_create(&wrong, key, error, sizeof(error)) && strstr(error, "16 bytes"),
           "XTS needs blocks of 16 bytes");
    wrong = (struct crypto_spec){CRYPTO_AES_128, CRYPTO_CBC, CRYPTO_ESSIV, CRYPTO_SHA1};
    tap_ok(!crypto_create(&wrong, key, error, sizeof(error)) && strstr(error, "ivgen-hash-alg"),
           "ESSIV needs a hash as long as a key");
}

static void derivation(void)
{
    static const struct {
        enum crypto_hash hash;
        const char *password, *salt;
        unsigned iterations, size;
        const char *key;
    } cases[] = {
        {CRYPTO_SHA1, "password", "salt", 4096, 25,
         "4b007901b765489abead49d926f721d065a429c12e463f6c4c"},
        {CRYPTO_SHA256, "password", "salt", 2, 40,
         "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43830651afcb5c862f"},
    };
    uint8_t key[80], want[80];

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        from_hex(cases[i].key, want);
        crypto_pbkdf2(cases[i].hash, (const uint8_t *)cases[i].password, strlen(cases[i].password),
                      (const uint8_t *)cases[i].salt, strlen(cases[i].salt), cases[i].iterations,
                      key, cases[i].size);
        tap_ok(memcmp(key, want, cases[i].size) == 0, "PBKDF2 with %s",
               crypto_hash_names[cases[i].hash]);
    }
    tap_ok(crypto_pbkdf2_iterations(CRYPTO_SHA256, 64, 1) >= 1000, "never less than 1000");
}

/* ---- headers in memory ---- */

struct memory {
    uint8_t *bytes;
    size_t size;
};

static int memory_read(void *opaque, uint64_t offset, void *data, size_t size)
{
    const struct memory *m = opaque;

    if (offset > m->size || size > m->size - offset) {
        return -EIO;
    }
    memcpy(data, m->bytes + offset, size);
    return 0;
}

static int memory_write(void *opaque, uint64_t offset, const void *data, size_t size)
{
    const struct memory *m = opaque;

    if (offset > m->size || size > m->size - offset) {
        return -EIO;
    }
    memcpy(m->bytes + offset, data, size);
    return 0;
}

static void headers(void)
{
    const struct luks_create_options options = {
        .spec = {CRYPTO_AES_128, CRYPTO_XTS, CRYPTO_PLAIN64, 0},
        .hash = CRYPTO_SHA256,
        .iter_time = 1};
    struct memory m = {.size = luks_header_size(&options)};
    struct luks_io io = {.read = memory_read, .write = memory_write, .opaque = &m};
    struct crypto *made = NULL, *opened = NULL;
    struct luks_info info;
    uint8_t sector[512] = {1, 2, 3}, plain[512];

    m.bytes = calloc(1, m.size);
    memcpy(plain, sector, sizeof(plain));
    tap_eq(m.size % 4096, 0, "headers are whole pages");
    tap_eq((unsigned)-luks_create(&io, "x", &options, (const uint8_t *)"secret", 6, &made, error,
                                  sizeof(error)),
           0, "a header is made");
    tap_ok(luks_probe(m.bytes, 8) && !luks_probe(m.bytes, 7), "and recognised");
    tap_eq((unsigned)-luks_open(&io, "x", (const uint8_t *)"secret", 6, &info, &opened, error,
                                sizeof(error)),
           0, "and opened");
    crypto_encrypt(made, 3, sector, sizeof(sector));
    crypto_decrypt(opened, 3, sector, sizeof(sector));
    tap_ok(memcmp(sector, plain, sizeof(plain)) == 0, "with the same key");
    tap_eq(info.payload_offset, m.size, "the data is behind it");
    tap_ok(info.slot[0].active && !info.slot[1].active, "one slot is used");
    crypto_destroy(made);
    crypto_destroy(opened);
    tap_eq((unsigned)-luks_open(&io, "x", (const uint8_t *)"wrong!", 6, &info, &opened, error,
                                sizeof(error)),
           EPERM, "a wrong password is refused");
    tap_ok(!opened && strstr(error, "opens no key slot"), "and said to be: %s", error);
    tap_eq((unsigned)-luks_open(&io, "x", NULL, 0, &info, &opened, error, sizeof(error)), 0,
           "without a password it can be looked at");
    tap_ok(!opened && info.uuid[8] == '-' && strlen(info.uuid) == 36, "uuid %s", info.uuid);

    /* Every byte of it, damaged: never more than an error, and never minutes. */
    unsigned refused = 0;

    for (unsigned i = 0; i < 592; i++) {
        uint8_t before = m.bytes[i];

        m.bytes[i] ^= 0xff;
        /* Iterations that are plausible, but slow, are not what this is about. */
        bool slow = (i >= 164 && i < 168) || (i >= 212 && i < 216);

        if (!slow) {
            int err = luks_open(&io, "x", (const uint8_t *)"secret", 6, &info, &opened, error,
                                sizeof(error));

            refused += err != 0;
            crypto_destroy(err ? NULL : opened);
        }
        m.bytes[i] = before;
    }
    /* Magic, names, sizes, digest, salts, and all of the first slot: about 159. The rest is the
     * UUID, what follows the ends of names, and unused slots. */
    tap_ok(refused > 150, "a damaged header is refused (%u of 584)", refused);
    memset(m.bytes + 164, 0xff, 4);
    tap_eq((unsigned)-luks_open(&io, "x", (const uint8_t *)"secret", 6, &info, &opened, error,
                                sizeof(error)),
           EINVAL, "wild iterations are refused");
    m.size = 100;
    tap_eq((unsigned)-luks_open(&io, "x", (const uint8_t *)"secret", 6, &info, &opened, error,
                                sizeof(error)),
           EIO, "so is a short file");
    free(m.bytes);
}

/* ---- secrets ---- */

static void secret_is(const char *options, const char *want)
{
    uint8_t *data = NULL;
    size_t size = 0;
    char all[400];

    snprintf(all, sizeof(all), "id=t,%s", options);
    if (!tap_ok(secret_add(all, error, sizeof(error)) == 0, "secret %s", options)) {
        tap_note("%s", error);
        return;
    }
    tap_ok(secret_get("t", "test", &data, &size, error, sizeof(error)) == 0 &&
               size == strlen(want) && memcmp(data, want, size + 1) == 0,
           "is '%s'", want);
    free(data);
    secret_remove("t");
}

static void secret_refused(const char *options, const char *message)
{
    error[0] = 0;
    tap_ok(secret_add(options, error, sizeof(error)) < 0 && strstr(error, message),
           "secret %s is refused: %s", options, error);
}

static void secrets(void)
{
    const char *path = block_test_path("secret");
    char options[300];
    uint8_t *data;
    size_t size;
    FILE *f = fopen(path, "w");

    fputs("from a file", f);
    fclose(f);
    secret_is("data=abc", "abc");
    secret_is("data=a,,b", "a,b");
    secret_is("data=aGVsbG8=,format=base64", "hello");
    snprintf(options, sizeof(options), "file=%s,format=raw", path);
    secret_is(options, "from a file");
    tap_eq((unsigned)-secret_add("id=key,format=base64,"
                                 "data=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=",
                                 error, sizeof(error)),
           0, "a key");
    secret_is("data=KO40VyXG0+9A1DBMBidMwg==,keyid=key,iv=AAAAAAAAAAAAAAAAAAAAAQ==", "hello");
    secret_refused("id=u,data=KO40VyXG0+9A1DBMBidMwg==,keyid=key", "iv=");
    secret_refused("id=u,data=KO40VyXG0+9A1DBMBidM,keyid=key,iv=AAAAAAAAAAAAAAAAAAAAAQ==",
                   "blocks");
    secret_refused("id=u,data=x,keyid=none,iv=x", "keyid=none");
    secret_refused("id=key,data=x", "not used yet");
    secret_refused("data=x", "id=");
    secret_refused("id=u", "one of data= and file=");
    secret_refused("id=u,data=x,file=y", "one of data= and file=");
    secret_refused("id=u,data=x,format=hex", "format=hex");
    secret_refused("id=u,data=?,format=base64", "not base64");
    secret_refused("id=u,data=x,color=red", "no property 'color'");
    secret_refused("id=u,file=/nonexistent/file", "No such file");
    tap_eq((unsigned)-secret_get("none", "test", &data, &size, error, sizeof(error)), ENOENT,
           "one that is not there");
    tap_eq((unsigned)-secret_remove("key"), 0, "removed");
    tap_eq((unsigned)-secret_remove("key"), ENOENT, "and gone");
}

/* ---- the format ---- */

static void format(void)
{
    const char *path = block_test_file("luks", 0);
    struct block_node *file = block_test_open(path, "file", NULL), *node;
    const struct block_driver *luks = block_driver_find("luks");
    const struct block_create create = {.file = file, .size = 1 << 20};
    uint8_t *data = malloc(100000), *back = malloc(100000);
    void *options = calloc(1, luks->create_options_size);

    secret_add("id=s,data=secret", error, sizeof(error));
    property_set_defaults(luks->create_options, options);
    tap_ok(luks->create(&create, options, error, sizeof(error)) == -EINVAL &&
               strstr(error, "key-secret"),
           "a password is needed");
    property_set_list(luks->create_options, options, "luks", "key-secret=s,iter-time=1", NULL, NULL,
                      error, sizeof(error));
    tap_eq((unsigned)-luks->create(&create, options, error, sizeof(error)), 0, "created");
    property_clear(luks->create_options, options);
    free(options);
    block_unref(file);

    tap_ok(block_open_file(&node, path, NULL, NULL, false, error, sizeof(error)) < 0 &&
               strstr(error, "key-secret"),
           "opening needs one too: %s", error);
    node = block_test_open(path, NULL, "key-secret=s");
    tap_eq(block_size(node), 1 << 20, "size");
    block_test_pattern(data, 100000, 1);
    tap_eq((unsigned)-block_pwrite(node, 1234, data, 100000, 0), 0, "written at any offset");
    tap_ok(block_pread(node, 1234, back, 100000) == 0 && memcmp(data, back, 100000) == 0,
           "and read");

    /* Buffers that cut sectors in two. */
    struct iovec iov[] = {{back, 700}, {back + 700, 100}, {back + 800, 224}};

    memset(back, 0, 1024);
    tap_eq((unsigned)-block_test_run(
               node,
               (struct block_request){
                   .kind = BLOCK_READ, .offset = 2048, .size = 1024, .iov = iov, .iov_count = 3}),
           0, "read into pieces");
    tap_ok(memcmp(back, data + 2048 - 1234, 1024) == 0, "which hold what they should");
    tap_eq((unsigned)-block_truncate(node, 2 << 20, true, BLOCK_PREALLOC_OFF, error, sizeof(error)),
           0, "it grows");
    tap_eq(block_size(node), 2 << 20, "to the size");
    block_unref(node);

    file = block_test_open(path, "file", NULL);
    tap_ok(block_pread(file, block_size(file) - (2 << 20) + 1234, back, 1000) == 0 &&
               memcmp(data, back, 1000) != 0,
           "the file does not hold the plain text");
    block_unref(file);
    secret_remove("s");
    free(data);
    free(back);
}

int main(void)
{
    block_test_begin();
    ciphers();
    derivation();
    headers();
    secrets();
    format();
    return block_test_end();
}
