/*
 * Images and locks together with qemu-img and qemu-io, which are an independent implementation of
 * everything here.
 */
#include "io/block/secret.h"
#include "tests/unit/block.h"

#include <signal.h>
#include <sys/wait.h>

/* Runs a command; its exit status, with what it printed in output[]. */
static char output[4096];

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[2000];
    va_list ap;
    size_t n;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command) - 10, fmt, ap);
    va_end(ap);
    strcat(command, " 2>&1");
    f = popen(command, "r");
    n = fread(output, 1, sizeof(output) - 1, f);
    output[n] = 0;
    return WEXITSTATUS(pclose(f));
}

static void our_locks(void)
{
    const char *path = block_test_path("ours");
    struct block_node *node;

    /* A format that does not share its metadata; to us it is a raw file. */
    run("qemu-img create -f qcow2 '%s' 1M", path);
    node = block_test_open(path, "raw", NULL);
    tap_ok(run("qemu-io -f raw -c 'write 512 512' '%s'", path) != 0 && strstr(output, "lock"),
           "qemu-io can't write what we write");
    tap_ok(run("qemu-img info '%s'", path) != 0 && strstr(output, "lock"),
           "qemu-img can't read it");
    tap_ok(run("qemu-img info -U '%s'", path) == 0, "unless told to");
    tap_ok(run("qemu-img create -f raw '%s' 2M", path) != 0, "nor create it anew");
    block_unref(node);
    tap_ok(block_open_file(&node, path, "raw", NULL, true, block_test_error,
                           sizeof(block_test_error)) == 0,
           "when we read");
    tap_ok(run("qemu-img info '%s'", path) == 0, "qemu-img may read too");
    tap_ok(run("qemu-io -c 'write 0 512' '%s'", path) != 0, "but nobody may write");
    block_unref(node);
    tap_ok(run("qemu-io -c 'write 0 512' '%s'", path) == 0, "until we have closed it");
}

/* Starts qemu-io on an image, where it waits for commands; returns when it has its locks. */
static FILE *start_qemu(const char *options, const char *path)
{
    char command[500];
    int fd = open(path, O_RDWR);
    struct flock lock;
    FILE *f;

    snprintf(command, sizeof(command), "qemu-io %s -f qcow2 '%s' >/dev/null 2>&1", options, path);
    f = popen(command, "w");
    for (unsigned i = 0; i < 2000; i++) {
        lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
        if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
            break;
        }
        usleep(10000);
    }
    close(fd);
    return f;
}

static void their_locks(void)
{
    const char *path = block_test_path("theirs");
    struct block_node *node;
    FILE *qemu;

    run("qemu-img create -f qcow2 '%s' 1M", path);
    qemu = start_qemu("", path);

    tap_ok(block_open_file(&node, path, "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "we can't write what qemu-io writes: %s", block_test_error);
    tap_ok(block_open_file(&node, path, "raw", NULL, true, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "nor read it");
    pclose(qemu);
    qemu = start_qemu("-r", path);
    tap_ok(block_open_file(&node, path, "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "we can't write what it reads");
    tap_ok(block_open_file(&node, path, "raw", NULL, true, block_test_error,
                           sizeof(block_test_error)) == 0,
           "but read it");
    block_unref(node);
    pclose(qemu);
}

#define SECRET "--object secret,id=s,data=abc"
#define LUKS   "--image-opts driver=luks,key-secret=s,file.filename='%s'"

static void luks(const char *options)
{
    const char *path = block_test_path("luks");
    struct block_node *node;
    uint8_t data[1024];

    unlink(path);
    int status = 1;

    /* It gives up when its clock is too coarse for what it measures, as on a busy machine. */
    for (unsigned i = 0; i < 20 && status; i++) {
        status = run("qemu-img create -f luks " SECRET " -o key-secret=s,iter-time=100%s '%s' 1M",
                     options, path);
        if (!strstr(output, "accurate CPU usage")) {
            break;
        }
    }
    if (status) {
        tap_ok(false, "qemu-img creates luks%s: %s", options, output);
        return;
    }
    run("qemu-io " SECRET " -c 'write -P 0x41 0 4096' " LUKS, path);
    node = block_test_open(path, NULL, "key-secret=s");
    memset(data, 0, sizeof(data));
    tap_ok(block_pread(node, 3072, data, 1024) == 0 && data[0] == 0x41 && data[1023] == 0x41,
           "luks%s: we read what it wrote", options);
    memset(data, 0x77, sizeof(data));
    tap_eq((unsigned)-block_pwrite(node, 700, data, 1024, 0), 0, "we write");
    block_unref(node);
    tap_ok(run("qemu-io " SECRET " -c 'read -P 0x77 700 1024' -c 'read -P 0x41 0 700' " LUKS,
               path) == 0 &&
               !strstr(output, "failed"),
           "luks%s: it reads what we wrote", options);
}

static void our_luks(const char *options)
{
    const char *path = block_test_file("our-luks", 0);
    const struct block_driver *driver = block_driver_find("luks");
    struct block_node *file = block_test_open(path, "file", NULL);
    const struct block_create create = {.file = file, .size = 1 << 20};
    void *table = calloc(1, driver->create_options_size);
    char all[200];

    snprintf(all, sizeof(all), "key-secret=s,iter-time=10%s", options);
    property_set_defaults(driver->create_options, table);
    tap_ok(property_set_list(driver->create_options, table, "luks", all, NULL, NULL,
                             block_test_error, sizeof(block_test_error)) == 0 &&
               driver->create(&create, table, block_test_error, sizeof(block_test_error)) == 0,
           "we create luks%s", options);
    property_clear(driver->create_options, table);
    free(table);
    block_unref(file);
    tap_ok(run("qemu-io " SECRET " -c 'write -P 5 4k 4k' -c 'read -P 5 4k 4k' " LUKS, path) == 0 &&
               !strstr(output, "failed") && strstr(output, "read 4096/4096"),
           "qemu-io opens it");
    tap_ok(run("qemu-img info '%s'", path) == 0 && strstr(output, "1 MiB"),
           "with the size that it should have");
}

int main(void)
{
    block_test_begin();
    if (run("qemu-img --version && qemu-io --version") != 0) {
        tap_skip("images and locks together with QEMU's tools", "no qemu-img");
        return block_test_end();
    }
    our_locks();
    their_locks();
    secret_add("id=s,data=abc", block_test_error, sizeof(block_test_error));
    luks(",cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256");
    luks(",cipher-alg=twofish-256,cipher-mode=cbc,ivgen-alg=plain,hash-alg=ripemd160");
    our_luks("");
    our_luks(",cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1");
    our_luks(",cipher-alg=serpent-128,cipher-mode=xts,ivgen-alg=plain,hash-alg=sha512");
    return block_test_end();
}
