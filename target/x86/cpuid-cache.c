/*
 * CPUID's leaves about caches (SDM volume 2, CPUID leaves 2 and 4; AMD APM volume 3, E.4.4, E.4.5
 * and E.4.15). A model has four caches; the first two levels belong to a core, the third to a die.
 * With host-cache-info=on sizes are the host's, and who shares them is the guest's topology.
 */
#include "target/x86/cpuid.h"

#include <string.h>

enum { SELF = 1, INCLUSIVE = 2, COMPLEX = 4, LOCAL = 8, LINE = 64 };

struct cache {
    uint32_t kib;
    uint16_t ways, flags;
};

/* In the order of leaf 4. */
enum { L1D, L1I, L2, L3, CACHES };

static const struct cache caches[X86_CACHE_COUNT][CACHES] = {
#define CACHE(kib, ways, flags) \
    {                           \
        kib, ways, flags        \
    }
#define X86_CACHES(id, l1d, l1i, l2, l3) [X86_CACHE_##id] = {l1d, l1i, l2, l3},
#include "target/x86/caches.def"
#undef CACHE
};

static const uint8_t level_of[CACHES] = {1, 1, 2, 3};
static const uint8_t type_of[CACHES] = {1, 2, 3, 3}; /* data, instructions, unified */

static uint32_t sharers(const struct x86_topology *t, unsigned level)
{
    return 1u << (level < 3 ? t->core_shift : t->die_shift);
}

/* Leaves 4 and 0x8000001d have the same shape; only the first counts cores. */
static void describe(const struct cache *c, unsigned which, const struct x86_topology *t,
                     struct x86_leaf *leaf)
{
    uint32_t sets = c->kib * 1024 / LINE / c->ways;

    leaf->eax = type_of[which] | (uint32_t)level_of[which] << 5 | (c->flags & SELF ? 1u << 8 : 0) |
                (sharers(t, level_of[which]) - 1) << 14;
    leaf->ebx = (LINE - 1) | (uint32_t)(c->ways - 1) << 22;
    leaf->ecx = sets - 1;
    leaf->edx = (c->flags & LOCAL ? 1u : 0) | (c->flags & INCLUSIVE ? 2u : 0) |
                (c->flags & COMPLEX ? 4u : 0);
}

static void count_cores(const struct x86_topology *t, struct x86_leaf *leaf)
{
    uint32_t ids = 1u << (t->package_shift - t->core_shift);

    leaf->eax |= ((ids < 64 ? ids : 64) - 1) << 26;
}

/* The field of associativity in leaf 0x80000006. */
static uint32_t ways_code(unsigned ways)
{
    static const struct {
        uint8_t ways, code;
    } codes[] = {{1, 1},  {2, 2},   {3, 3},   {4, 4},   {6, 5},   {8, 6},
                 {16, 8}, {32, 10}, {48, 11}, {64, 12}, {96, 13}, {128, 14}};

    for (unsigned n = 0; n < sizeof(codes) / sizeof(codes[0]); n++) {
        if (codes[n].ways == ways) {
            return codes[n].code;
        }
    }
    return 9; /* "see leaf 0x8000001d" */
}

/* Leaf 0x80000005 and 6 tell of TLBs too; these are the sizes of old AMD processors. */
static void describe_amd(const struct cache *c, struct x86_leaf *leaf)
{
    if (leaf->leaf == 0x80000005) {
        leaf->eax = leaf->ebx = 0x01ff01ff; /* 255 entries of 2 MiB and of 4 KiB */
        leaf->ecx = c[L1D].kib << 24 | (uint32_t)c[L1D].ways << 16 | 1 << 8 | LINE;
        leaf->edx = c[L1I].kib << 24 | (uint32_t)c[L1I].ways << 16 | 1 << 8 | LINE;
    } else {
        leaf->ebx = 4u << 28 | 512u << 16 | 4u << 12 | 512; /* of 4 KiB, 4 ways */
        leaf->ecx = c[L2].kib << 16 | ways_code(c[L2].ways) << 12 | 1 << 8 | LINE;
        leaf->edx = c[L3].kib / 512 << 18 | ways_code(c[L3].ways) << 12 | 1 << 8 | LINE;
    }
}

/* The host's answer, if the model passes it on. */
static bool take_host(const struct x86_model *model, const struct x86_topology *t,
                      struct x86_leaf *leaf)
{
    const struct x86_supported *s = x86_model_supported();

    for (unsigned n = 0; s && model->host_cache && n < s->count; n++) {
        const struct x86_leaf *l = &s->leaf[n];
        if (l->leaf != leaf->leaf || (l->has_subleaf && l->subleaf != leaf->subleaf)) {
            continue;
        }
        leaf->eax = l->eax;
        leaf->ebx = l->ebx;
        leaf->ecx = l->ecx;
        leaf->edx = l->edx;
        if (l->eax & 31 && (leaf->leaf == 4 || leaf->leaf == 0x8000001d)) {
            leaf->eax = (l->eax & 0x3fff) | (sharers(t, l->eax >> 5 & 7) - 1) << 14;
            if (leaf->leaf == 4) {
                count_cores(t, leaf);
            }
        }
        return true;
    }
    return false;
}

bool x86_cache_leaf(const struct x86_model *model, const struct x86_topology *topology,
                    struct x86_leaf *leaf)
{
    const struct cache *c = caches[model->cache];
    bool amd =
        !memcmp(model->vendor, "AuthenticAMD", 12) || !memcmp(model->vendor, "HygonGenuine", 12);

    leaf->eax = leaf->ebx = leaf->ecx = leaf->edx = 0;
    switch (leaf->leaf) {
    case 2:
        if (!amd && !take_host(model, topology, leaf)) {
            leaf->eax = 1;    /* ask once */
            leaf->edx = 0xff; /* "use leaf 4" */
        }
        return true;
    case 4:
    case 0x8000001d:
        leaf->has_subleaf = true;
        if ((leaf->leaf == 4) == amd) {
            return leaf->subleaf == 0;
        }
        if (take_host(model, topology, leaf)) {
            return leaf->eax & 31 || leaf->subleaf == 0;
        }
        if (leaf->subleaf < CACHES) {
            describe(&c[leaf->subleaf], leaf->subleaf, topology, leaf);
            if (leaf->leaf == 4) {
                count_cores(topology, leaf);
            }
            return true;
        }
        return leaf->subleaf == CACHES; /* no more */
    default:
        if (!take_host(model, topology, leaf)) {
            if (amd) {
                describe_amd(c, leaf);
            } else if (leaf->leaf == 0x80000006) {
                leaf->ecx = c[L2].kib << 16 | ways_code(c[L2].ways) << 12 | LINE;
            }
        }
        return true;
    }
}
