/*
 * System calls the host's call of the same name does: addresses are translated, paths are looked up
 * under -L, and that is all. Where guest addresses are host addresses, nothing is translated, and
 * the signature's words are looked at only for a path.
 */
#include "linux-user/syscall-pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "linux-user/path.h"
#include "linux-user/syscall.h"
#include "util/log.h"

#define MAX_VECTORS 1024 /* UIO_MAXIOV */

/* What a word of the signature makes of its argument. */
enum kind { KIND_VALUE, KIND_ADDRESS, KIND_PATH, KIND_LINK, KIND_VECTORS };

static enum kind kind_of(const char *word, size_t length)
{
    static const struct {
        char word[5];
        uint8_t kind;
    } kinds[] = {{"p", KIND_ADDRESS}, {"s", KIND_ADDRESS},  {"b", KIND_ADDRESS},
                 {"B", KIND_ADDRESS}, {"ts", KIND_ADDRESS}, {"set", KIND_ADDRESS},
                 {"path", KIND_PATH}, {"link", KIND_LINK},  {"iov", KIND_VECTORS}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strlen(kinds[i].word) == length && memcmp(kinds[i].word, word, length) == 0) {
            return kinds[i].kind;
        }
    }
    return KIND_VALUE;
}

/* A copy of the guest's array with host addresses; to be freed. NULL with *error set, or for an
 * empty array. The kernel reports a bad count itself, so that one is left alone. */
static struct iovec *copy_vectors(uint64_t guest, uint64_t count, int64_t *error)
{
    struct iovec *copy;

    if (count == 0 || count > MAX_VECTORS) {
        return NULL;
    }
    copy = malloc(count * sizeof(*copy));
    if (!copy) {
        *error = -ENOMEM;
        return NULL;
    }
    if (mem_guest_read(copy, guest, count * sizeof(*copy)) < 0) {
        free(copy);
        *error = -EFAULT;
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++) {
        copy[i].iov_base = (void *)pass_address((uint64_t)copy[i].iov_base);
    }
    return copy;
}

/* Does a word of flags say that a symbolic link in the last place is not followed? */
static bool says_nofollow(const char *signature, const uint64_t args[6])
{
    for (unsigned i = 0; i < 6 && *signature && *signature != '='; i++) {
        size_t length = strcspn(signature, " ");

        if (length == 2 && memcmp(signature, "at", 2) == 0 && args[i] & AT_SYMLINK_NOFOLLOW) {
            return true;
        }
        signature += length;
        signature += strspn(signature, " ");
    }
    return false;
}

int64_t pass_translated(struct user_thread *t, long nr, const char *signature,
                        const uint64_t args[6])
{
    struct user_path_buffer *buffer = NULL;
    struct iovec *vectors[2] = {NULL, NULL};
    unsigned vector_count = 0;
    const char *path = NULL;
    uint64_t host[6];
    const bool nofollow = says_nofollow(signature, args);
    int64_t result = 0;

    memcpy(host, args, sizeof(host));
    for (unsigned i = 0; i < 6 && *signature && *signature != '='; i++) {
        size_t length = strcspn(signature, " ");
        enum kind kind = kind_of(signature, length);

        switch (kind) {
        case KIND_VALUE:
            break;
        case KIND_ADDRESS:
            host[i] = pass_address(args[i]);
            break;
        case KIND_PATH:
        case KIND_LINK:
            /* A missing path means the descriptor itself to some calls. */
            if (args[i] == 0) {
                break;
            }
            buffer = malloc(sizeof(*buffer));
            result = !buffer                         ? -ENOMEM
                     : nofollow || kind == KIND_LINK ? user_path_get_link(args[i], buffer, &path)
                                                     : user_path_get(args[i], buffer, &path);
            host[i] = (uint64_t)path;
            break;
        case KIND_VECTORS:
            if (mem_guest_base != 0 && i < 5) {
                struct iovec *copy = copy_vectors(args[i], args[i + 1], &result);

                vectors[vector_count++] = copy;
                host[i] = (uint64_t)copy;
            }
            break;
        }
        if (result < 0) {
            break;
        }
        signature += length;
        signature += strspn(signature, " ");
    }
    if (result == 0) {
        result = user_safe_syscall(t, nr, host[0], host[1], host[2], host[3], host[4], host[5]);
    }
    free(vectors[0]);
    free(vectors[1]);
    free(buffer);
    return result;
}

static int64_t pass(struct user_thread *t, long nr, const char *signature, bool has_path,
                    const uint64_t args[6])
{
    if (has_path || mem_guest_base != 0) {
        return pass_translated(t, nr, signature, args);
    }
    return user_safe_syscall(t, nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

static int64_t pass_identity(struct user_thread *t, long nr, const char *name,
                             const uint64_t args[6])
{
    if (mem_guest_base != 0) {
        log_limited(LOG_UNIMP, "%s needs guest addresses that are host addresses\n", name);
        return -ENOSYS;
    }
    return user_safe_syscall(t, nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

/* Folded by the compiler: both are constants. */
#define HAS_PATH(signature) (strstr(signature, "path") != NULL || strstr(signature, "link") != NULL)

#define PASS(name, signature)                                                 \
    int64_t pass_##name(struct user_thread *t, const uint64_t args[6])        \
    {                                                                         \
        return pass(t, PASS_NR_##name, signature, HAS_PATH(signature), args); \
    }
#define PASS_IDENTITY(name, signature)                                 \
    int64_t pass_##name(struct user_thread *t, const uint64_t args[6]) \
    {                                                                  \
        return pass_identity(t, PASS_NR_##name, #name, args);          \
    }
#include "linux-user/syscall-pass.def"
#undef PASS
#undef PASS_IDENTITY
