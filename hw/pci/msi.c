/*
 * Message-signalled interrupts (PCI 3.0, clause 6.8): stores of a word to an address that software
 * has chosen, with the function's requester id. Where they end is the machine's business; what
 * cannot be delivered is lost, as on the bus.
 */
#include "hw/pci/internal.h"
#include "util/bits.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_MASKED 1 /* in its control word */

struct pci_msix {
    struct mem_region table_region, pba_region;
    _Atomic unsigned regions; /* that are not retired; the last one frees */
    unsigned vectors;
    uint32_t table[PCI_MSIX_MAX][4];     /* address, its upper half, data, control */
    uint64_t pending[PCI_MSIX_MAX / 64]; /* the PBA */
};

static void send(struct pci_function *function, uint64_t address, uint32_t data)
{
    struct mem_attrs attrs = {.requester = pci_requester(function)};

    if (!pci_may_master(function)) {
        return;
    }
    if (mem_access_store(function->bus->space, mem_gpa(address), 4, data, attrs)) {
        log_limited(LOG_GUEST_ERRORS, "%s: an MSI to %#llx goes nowhere\n",
                    function->device.type->name, (unsigned long long)address);
    }
}

/* ---- MSI ------------------------------------------------------------------------------------- */

void pci_add_msi(struct pci_function *function, unsigned vectors)
{
    unsigned at = pci_add_capability(function, PCI_CAP_MSI, PCI_MSI_SIZE);

    assert(bits_is_pow2(vectors) && vectors <= 32);
    function->msi = (uint16_t)at;
    /* Vectors as a power of two, 64-bit address, masks. */
    pci_set(function, at + PCI_MSI_CONTROL, 2, bits_ctz32(vectors) << 1 | 1u << 7 | 1u << 8);
    pci_set_writable(function, at + PCI_MSI_CONTROL, 2, PCI_MSI_ENABLE | PCI_MSI_MULTIPLE);
    pci_set_writable(function, at + PCI_MSI_ADDRESS, 4, ~3u);
    pci_set_writable(function, at + PCI_MSI_ADDRESS_HIGH, 4, ~0u);
    pci_set_writable(function, at + PCI_MSI_DATA, 2, 0xffff);
    pci_set_writable(function, at + PCI_MSI_MASK, 4, (uint32_t)bits_mask(vectors));
}

bool pci_msi_is_enabled(const struct pci_function *function)
{
    return function->msi && pci_get(function, function->msi + PCI_MSI_CONTROL, 2) & PCI_MSI_ENABLE;
}

/* Vectors that software has allowed; more than there are is a mistake of its own. */
static unsigned msi_vectors(const struct pci_function *function)
{
    uint32_t control = pci_get(function, function->msi + PCI_MSI_CONTROL, 2);
    unsigned allowed = bits_extract(control, 4, 3) & 7;
    unsigned capable = bits_extract(control, 1, 3) & 7;

    return 1u << (allowed < capable ? allowed : capable);
}

static void set_msi_pending(struct pci_function *function, uint32_t pending)
{
    function->msi_pending = pending;
    pci_set(function, function->msi + PCI_MSI_PENDING, 4, pending);
}

void pci_msi_send(struct pci_function *function, unsigned vector)
{
    unsigned at = function->msi;
    unsigned vectors = at ? msi_vectors(function) : 0;

    if (!pci_msi_is_enabled(function)) {
        return;
    }
    vector &= vectors - 1; /* fewer than asked for: the function shares them */
    if (pci_get(function, at + PCI_MSI_MASK, 4) >> vector & 1) {
        set_msi_pending(function, function->msi_pending | 1u << vector);
        return;
    }
    uint32_t data = pci_get(function, at + PCI_MSI_DATA, 2);

    send(function,
         pci_get(function, at + PCI_MSI_ADDRESS, 4) |
             (uint64_t)pci_get(function, at + PCI_MSI_ADDRESS_HIGH, 4) << 32,
         (data & ~(vectors - 1)) | vector);
}

void pci_msi_written(struct pci_function *function)
{
    uint32_t ready = function->msi_pending & ~pci_get(function, function->msi + PCI_MSI_MASK, 4);

    if (!pci_msi_is_enabled(function)) {
        return;
    }
    set_msi_pending(function, function->msi_pending & ~ready);
    for (; ready; ready &= ready - 1) {
        pci_msi_send(function, bits_ctz32(ready));
    }
}

/* ---- MSI-X ----------------------------------------------------------------------------------- */

bool pci_msix_is_enabled(const struct pci_function *function)
{
    return function->msix &&
           pci_get(function, function->msix_cap + PCI_MSIX_CONTROL, 2) & PCI_MSIX_ENABLE;
}

static bool is_masked(const struct pci_function *function, unsigned vector)
{
    return pci_get(function, function->msix_cap + PCI_MSIX_CONTROL, 2) & PCI_MSIX_MASK ||
           function->msix->table[vector][3] & ENTRY_MASKED;
}

void pci_msix_send(struct pci_function *function, unsigned vector)
{
    struct pci_msix *msix = function->msix;

    if (!pci_msix_is_enabled(function) || vector >= msix->vectors) {
        return;
    }
    const uint32_t *entry = msix->table[vector];

    if (is_masked(function, vector)) {
        msix->pending[vector / 64] |= UINT64_C(1) << vector % 64;
    } else {
        send(function, entry[0] | (uint64_t)entry[1] << 32, entry[2]);
    }
}

static void send_pending(struct pci_function *function, unsigned vector)
{
    struct pci_msix *msix = function->msix;
    uint64_t bit = UINT64_C(1) << vector % 64;

    if (msix->pending[vector / 64] & bit && pci_msix_is_enabled(function) &&
        !is_masked(function, vector)) {
        msix->pending[vector / 64] &= ~bit;
        pci_msix_send(function, vector);
    }
}

void pci_msix_written(struct pci_function *function)
{
    for (unsigned i = 0; i < function->msix->vectors; i++) {
        send_pending(function, i);
    }
}

/* Accesses are of 4 bytes: the regions split wider ones. */
static int table_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    struct pci_function *function = opaque;

    *value = function->msix->table[offset / PCI_MSIX_ENTRY][offset / 4 % 4];
    return 0;
}

static int table_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                       struct mem_attrs attrs)
{
    struct pci_function *function = opaque;
    unsigned vector = (unsigned)(offset / PCI_MSIX_ENTRY), word = offset / 4 % 4;
    static const uint32_t writable[4] = {~3u, ~0u, ~0u, ENTRY_MASKED};

    function->msix->table[vector][word] = (uint32_t)value & writable[word];
    if (word == 3) {
        send_pending(function, vector);
    }
    return 0;
}

static int pba_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct pci_function *function = opaque;

    *value = function->msix->pending[offset / 8] >> 8 * (offset & 4);
    return 0;
}

/* Clause 6.8.2.10: read-only. */
static int pba_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    return 0;
}

static const struct mem_ops table_ops = {
    .read = table_read, .write = table_write, .min_size = 4, .max_size = 4, .split = true};
static const struct mem_ops pba_ops = {
    .read = pba_read, .write = pba_write, .min_size = 4, .max_size = 4, .split = true};

int pci_add_msix(struct pci_function *function, unsigned vectors, unsigned n, uint32_t table_offset,
                 uint32_t pba_offset)
{
    struct pci_msix *msix = calloc(1, sizeof(*msix));
    unsigned at;

    assert(vectors >= 1 && vectors <= PCI_MSIX_MAX && function->bars[n].region);
    if (!msix) {
        return -ENOMEM;
    }
    msix->vectors = vectors;
    msix->regions = 2;
    function->msix = msix;
    at = pci_add_capability(function, PCI_CAP_MSIX, PCI_MSIX_SIZE);
    function->msix_cap = (uint16_t)at;
    pci_set(function, at + PCI_MSIX_CONTROL, 2, vectors - 1);
    pci_set_writable(function, at + PCI_MSIX_CONTROL, 2, PCI_MSIX_ENABLE | PCI_MSIX_MASK);
    pci_set(function, at + PCI_MSIX_TABLE, 4, table_offset | n);
    pci_set(function, at + PCI_MSIX_PBA, 4, pba_offset | n);
    mem_region_init_mmio(&msix->table_region, "msix-table", (uint64_t)PCI_MSIX_ENTRY * vectors,
                         &table_ops, function, &function->device.owner);
    mem_region_init_mmio(&msix->pba_region, "msix-pba", (uint64_t)(vectors + 63) / 64 * 8, &pba_ops,
                         function, &function->device.owner);
    mem_region_add(function->bars[n].region, table_offset, &msix->table_region, 1);
    mem_region_add(function->bars[n].region, pba_offset, &msix->pba_region, 1);
    pci_msix_reset(function);
    return 0;
}

void pci_msix_reset(struct pci_function *function)
{
    struct pci_msix *msix = function->msix;

    if (msix) {
        memset(msix->table, 0, sizeof(msix->table));
        memset(msix->pending, 0, sizeof(msix->pending));
        for (unsigned i = 0; i < msix->vectors; i++) {
            msix->table[i][3] = ENTRY_MASKED;
        }
    }
}

static void region_gone(void *opaque)
{
    struct pci_msix *msix = opaque;

    if (atomic_fetch_sub(&msix->regions, 1) == 1) {
        free(msix);
    }
}

void pci_msix_free(struct pci_function *function)
{
    struct pci_msix *msix = function->msix;

    if (msix) {
        free(function->msix_saved);
        function->msix_saved = NULL;
        mem_region_retire(&msix->pba_region, region_gone, msix);
        mem_region_retire(&msix->table_region, region_gone, msix);
    }
}

/* ---- saved state: a blob of the table and then the pending bits ------------------------------ */

static bool msix_needed(const void *object)
{
    return ((const struct pci_function *)object)->msix != NULL;
}

static uint32_t table_bytes(const struct pci_msix *msix)
{
    return PCI_MSIX_ENTRY * msix->vectors;
}

static int msix_pre_save(void *object)
{
    struct pci_function *function = object;
    const struct pci_msix *msix = function->msix;
    uint32_t bytes = table_bytes(msix);
    uint8_t *saved = malloc(bytes + sizeof(msix->pending));

    if (!saved) {
        return -ENOMEM;
    }
    memcpy(saved, msix->table, bytes);
    memcpy(saved + bytes, msix->pending, sizeof(msix->pending));
    free(function->msix_saved);
    function->msix_saved = saved;
    function->msix_saved_size = (uint32_t)(bytes + sizeof(msix->pending));
    return 0;
}

static int msix_post_load(void *object, uint32_t version)
{
    struct pci_function *function = object;
    struct pci_msix *msix = function->msix;

    if (!msix || function->msix_saved_size != table_bytes(msix) + sizeof(msix->pending)) {
        return -EINVAL;
    }
    memcpy(msix->table, function->msix_saved, table_bytes(msix));
    memcpy(msix->pending, function->msix_saved + table_bytes(msix), sizeof(msix->pending));
    for (unsigned i = msix->vectors; i < PCI_MSIX_MAX; i++) {
        msix->pending[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
    return 0;
}

static const struct state_field fields[] = {
    STATE_BYTES("table", struct pci_function, msix_saved, msix_saved_size,
                sizeof(((struct pci_msix *)0)->table) + sizeof(((struct pci_msix *)0)->pending)),
    STATE_END,
};

const struct state_table pci_msix_state = {.name = "msix",
                                           .version = 1,
                                           .min_version = 1,
                                           .fields = fields,
                                           .needed = msix_needed,
                                           .pre_save = msix_pre_save,
                                           .post_load = msix_post_load};
