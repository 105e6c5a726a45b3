/*
 * Passwords of an image that exists: key slots are filled and erased, the master key stays.
 *
 * A new slot's key material is on the medium before the header says that it is there. A slot that
 * goes is first out of the header, and then overwritten: any stripe that is gone makes it useless.
 */
#include "io/block/luks-internal.h"
#include "io/block/secret.h"
#include "util/property.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OVERWRITES        4 /* with random bytes, each flushed */
#define DEFAULT_ITER_TIME 2000

static const char *const states[] = {"active", "inactive", NULL};

const struct property luks_amend_properties[] = {
    PROPERTY(ENUM, "state", struct luks_amend, state, .names = states, .number = -1,
             .help = "active: a password is added; inactive: some are erased"),
    PROPERTY(STRING, "new-secret", struct luks_amend, new_secret,
             .help = "id of the secret that has the password to add"),
    PROPERTY(STRING, "old-secret", struct luks_amend, old_secret,
             .help = "id of the secret that has the password to erase"),
    PROPERTY(I64, "keyslot", struct luks_amend, keyslot, .number = -1, .low = 0,
             .high = LUKS_SLOTS - 1, .help = "which slot; if not given, a free one is taken"),
    PROPERTY(U64, "iter-time", struct luks_amend, iter_time, .min = 1, .max = 600000,
             .help = "milliseconds that one attempt at the password takes; 2000"),
    PROPERTY_END,
};

struct amendment {
    const struct luks_io *io;
    const char *who;
    struct luks_header h;
    bool force;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct amendment *a, const char *format,
                                                        ...)
{
    char text[300];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    snprintf(a->error, a->error_size, "%s: %s", a->who, text);
    return -EINVAL;
}

static int result(struct amendment *a, int err)
{
    if (err && !a->error[0]) {
        refuse(a, "can't change the LUKS header: %s", strerror(-err));
    }
    return err;
}

static unsigned active_slots(const struct amendment *a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        n += a->h.info.slot[i].active;
    }
    return n;
}

/* ---- a new password ---- */

/* The header comes from outside: is there room for the slot, on nothing else? */
static bool has_room(const struct luks_header *h, unsigned number)
{
    size_t key_size = crypto_key_size(&h->info.spec);
    uint64_t start = h->info.slot[number].key_offset;
    uint64_t end = start + luks_material_size(key_size, LUKS_STRIPES);
    bool good =
        start >= LUKS_HEADER_SIZE && (!h->info.payload_offset || end <= h->info.payload_offset);

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *s = &h->info.slot[i];

        if (i != number && s->active && s->key_offset < end &&
            start < s->key_offset + luks_material_size(key_size, s->stripes)) {
            good = false;
        }
    }
    return good;
}

static int choose_slot(struct amendment *a, int64_t wanted, unsigned *number)
{
    if (wanted >= 0) {
        *number = (unsigned)wanted;
        if (a->h.info.slot[*number].active && !a->force) {
            return refuse(a, "keyslot=%u: it has a password; --force replaces it", *number);
        }
    } else {
        *number = 0;
        while (*number < LUKS_SLOTS && a->h.info.slot[*number].active) {
            ++*number;
        }
        if (*number == LUKS_SLOTS) {
            return refuse(a, "all %u key slots have passwords", LUKS_SLOTS);
        }
    }
    return has_room(&a->h, *number) ? 0
                                    : refuse(a, "keyslot %u has no place in the header", *number);
}

static int fill_slot(struct amendment *a, unsigned number, const uint8_t *key,
                     const uint8_t *password, size_t size, uint64_t iter_time)
{
    struct luks_slot *slot = &a->h.info.slot[number];
    int err = crypto_random(a->h.slot_salt[number], LUKS_SALT_SIZE);

    slot->active = true;
    slot->stripes = LUKS_STRIPES;
    slot->iterations =
        crypto_pbkdf2_iterations((enum crypto_hash)a->h.info.hash, crypto_key_size(&a->h.info.spec),
                                 (unsigned)(iter_time ? iter_time : DEFAULT_ITER_TIME));
    if (!err) {
        err = luks_write_slot(a->io, &a->h, number, key, password, size, a->error, a->error_size);
    }
    if (!err) {
        err = a->io->flush(a->io->opaque);
    }
    if (!err) {
        err = luks_write_header(a->io, &a->h);
    }
    return err ? err : a->io->flush(a->io->opaque);
}

static int add_password(struct amendment *a, const char *key_secret, const struct luks_amend *amend)
{
    uint8_t *old = NULL, *new = NULL, key[CRYPTO_MAX_KEY];
    size_t old_size = 0, new_size = 0;
    unsigned number;
    int err;

    if (!amend->new_secret || !*amend->new_secret) {
        return refuse(a, "state=active: expected new-secret");
    }
    if (amend->old_secret && *amend->old_secret) {
        return refuse(a, "old-secret is for state=inactive only");
    }
    if (!key_secret || !*key_secret) {
        return refuse(a, "expected key-secret among the options of the image, to open it with");
    }
    err = choose_slot(a, amend->keyslot, &number);
    if (!err) {
        err = secret_get(amend->new_secret, "new-secret", &new, &new_size, a->error, a->error_size);
    }
    if (!err) {
        err = secret_get(key_secret, "key-secret", &old, &old_size, a->error, a->error_size);
    }
    if (!err) {
        err = luks_unlock(a->io, a->who, &a->h, old, old_size, key, a->error, a->error_size);
    }
    if (!err) {
        err = fill_slot(a, number, key, new, new_size, amend->iter_time);
    }
    crypto_wipe(key, sizeof(key));
    crypto_wipe(old, old_size);
    crypto_wipe(new, new_size);
    free(old);
    free(new);
    return result(a, err);
}

/* ---- erasing ---- */

static int overwrite(struct amendment *a, uint64_t offset, size_t size)
{
    uint8_t *noise = malloc(size);
    int err = noise ? 0 : -ENOMEM;

    for (unsigned i = 0; i < OVERWRITES && !err; i++) {
        err = crypto_random(noise, size);
        if (!err) {
            err = a->io->write(a->io->opaque, offset, noise, size);
        }
        if (!err) {
            err = a->io->flush(a->io->opaque);
        }
    }
    free(noise);
    return err;
}

static int erase_slots(struct amendment *a, unsigned which)
{
    uint32_t stripes[LUKS_SLOTS];
    int err;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        struct luks_slot *slot = &a->h.info.slot[i];

        stripes[i] = slot->stripes;
        if (which >> i & 1) {
            slot->active = false;
            slot->iterations = 0;
            memset(a->h.slot_salt[i], 0, LUKS_SALT_SIZE);
        }
    }
    err = luks_write_header(a->io, &a->h);
    if (!err) {
        err = a->io->flush(a->io->opaque);
    }
    for (unsigned i = 0; i < LUKS_SLOTS && !err; i++) {
        if (which >> i & 1) {
            err = overwrite(a, a->h.info.slot[i].key_offset,
                            luks_material_size(crypto_key_size(&a->h.info.spec), stripes[i]));
        }
    }
    return result(a, err);
}

/* Adds to *which the slots in `among` that the password opens. */
static int find_password(struct amendment *a, const char *secret, unsigned among, unsigned *which)
{
    uint8_t *password, key[CRYPTO_MAX_KEY];
    size_t size;
    int err = secret_get(secret, "old-secret", &password, &size, a->error, a->error_size);

    if (err) {
        return err;
    }
    for (unsigned i = 0; i < LUKS_SLOTS && !err; i++) {
        if ((among >> i & 1) && a->h.info.slot[i].active) {
            err = luks_try_slot(a->io, &a->h, i, password, size, key, a->error, a->error_size);
            *which |= err ? 0 : 1u << i;
            err = err == -EPERM ? 0 : err;
        }
    }
    crypto_wipe(key, sizeof(key));
    crypto_wipe(password, size);
    free(password);
    return result(a, err);
}

static int refuse_last(struct amendment *a)
{
    return refuse(a, "the image would have no password any more, and its data would be lost; "
                     "--force does it all the same");
}

static int erase_passwords(struct amendment *a, const struct luks_amend *amend)
{
    bool has_old = amend->old_secret && *amend->old_secret;
    unsigned which = 0;
    int err = 0;

    if (amend->new_secret && *amend->new_secret) {
        return refuse(a, "new-secret is for state=active only");
    }
    if (amend->iter_time) {
        return refuse(a, "iter-time is for state=active only");
    }
    if (!has_old && amend->keyslot < 0) {
        return refuse(a, "state=inactive: expected keyslot or old-secret");
    }
    if (amend->keyslot >= 0 && !a->h.info.slot[amend->keyslot].active) {
        /* With force as well: there may be something to overwrite, but not where it is said. */
        return refuse(a, "keyslot=%d: it has no password", (int)amend->keyslot);
    }
    if (has_old) {
        err = find_password(a, amend->old_secret, amend->keyslot >= 0 ? 1u << amend->keyslot : ~0u,
                            &which);
        if (!err && !which) {
            return amend->keyslot >= 0
                       ? refuse(a, "keyslot=%d: it has another password than old-secret",
                                (int)amend->keyslot)
                       : refuse(a, "old-secret is the password of no key slot");
        }
    } else {
        which = 1u << amend->keyslot;
    }
    if (!err && !a->force && (unsigned)__builtin_popcount(which) == active_slots(a)) {
        return refuse_last(a);
    }
    return err ? err : erase_slots(a, which);
}

int luks_amend(const struct luks_io *io, const char *who, const char *key_secret,
               const struct luks_amend *amend, bool force, struct luks_info *info, char *error,
               size_t error_size)
{
    struct amendment a = {
        .io = io, .who = who, .force = force, .error = error, .error_size = error_size};
    int err = luks_read_header(io, who, &a.h, error, error_size);

    if (err) {
        return err;
    }
    error[0] = 0;
    if (amend->state < 0) {
        return refuse(&a, "expected state, active or inactive");
    }
    err = amend->state == LUKS_ACTIVE ? add_password(&a, key_secret, amend)
                                      : erase_passwords(&a, amend);
    if (!err) {
        *info = a.h.info;
    }
    return err;
}
