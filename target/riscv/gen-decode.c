/*
 * Reads insns.def and formats.def at compile time, checks them, and prints the decoder's tables as
 * C: rv_bits[], {mask, match} of each row in order; rv_tree[], the decision tree; rv_list[], lists
 * of rows to try one after the other, the last marked with 0x8000; RV_TREE_32 and RV_TREE_16, the
 * roots.
 *
 * A node of the tree is a header (shift | width << 8) and 2^width cells, indexed by that field of
 * the encoding. A cell is 0 (no instruction), the index of another node, 0x8000 | row, or 0x4000 |
 * index of a list; masks are then compared.
 *
 * The tree tests bits that are fixed in every remaining row first. A few rows that have none left,
 * because one contains the others, become a list. Otherwise rows that leave a tested bit open are
 * copied to both sides. Of two rows that both match, the one with more fixed bits wins.
 *
 * What is checked: pattern length and letters against the format; registers of 32-bit formats at
 * their places; overlaps listed, real and nested; and at last that the tree and a linear search
 * agree on all 2^16 compressed encodings and on many 32-bit ones near the rows.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *name, *pattern, *format;
    uint32_t mask, match;
    unsigned length; /* in bits */
};

#define INSN(name, pattern, format, ext, fn, arg) {name, pattern, #format, 0, 0, 0},
static struct row rows[] = {
#include "target/riscv/insns.def"
};
#undef INSN
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const struct {
    const char *name, *letters;
} formats[] = {
#define FORMAT(id, letters, text) {#id, letters},
#include "target/riscv/formats.def"
#undef FORMAT
};

static const struct {
    const char *special, *general;
} overlaps[] = {
#define INSN(name, pattern, format, ext, fn, arg)
#define OVERLAP(special, general) {special, general},
#include "target/riscv/insns.def"
#undef INSN
};
#define OVERLAPS (sizeof(overlaps) / sizeof(overlaps[0]))
static bool overlap_used[OVERLAPS];

static uint16_t tree[0x4000], lists[0x1000];
static unsigned lists_size;
static unsigned tree_size = 1; /* cell 0 stays "none" */

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "insns.def: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

static void check_letters(const struct row *r, const uint8_t *letter_bits)
{
    static const struct {
        char letter;
        uint8_t high, low;
    } place[] = {{'d', 11, 7},  {'s', 19, 15}, {'t', 24, 20},
                 {'u', 31, 27}, {'r', 14, 12}, {'q', 26, 25}};
    char have[27], *p = have;
    const char *want = NULL;

    for (int c = 'a'; c <= 'z'; c++) {
        if (memchr(letter_bits, c, r->length)) {
            *p++ = c;
        }
    }
    *p = 0;
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (!strcmp(formats[i].name, r->format)) {
            want = formats[i].letters;
        }
    }
    if (!want) {
        fail("%s: unknown format %s", r->name, r->format);
    }
    if (strcmp(have, want)) {
        fail("%s: the pattern has operands '%s', format %s has '%s'", r->name, have, r->format,
             want);
    }
    for (unsigned i = 0; r->length == 32 && i < sizeof(place) / sizeof(place[0]); i++) {
        if (!strchr(want, place[i].letter)) {
            continue;
        }
        for (unsigned bit = 0; bit < 32; bit++) {
            bool inside = bit >= place[i].low && bit <= place[i].high;
            if ((letter_bits[bit] == place[i].letter) != inside) {
                fail("%s: operand %c is not in bits %d:%d", r->name, place[i].letter, place[i].high,
                     place[i].low);
            }
        }
    }
}

static void parse(struct row *r)
{
    uint8_t letters[32] = {0};
    unsigned n = 0, bit;

    for (const char *p = r->pattern; *p; p++) {
        n += *p != ' ';
    }
    if (n != 16 && n != 32) {
        fail("%s: the pattern has %u bits", r->name, n);
    }
    r->length = bit = n;
    for (const char *p = r->pattern; *p; p++) {
        if (*p == ' ') {
            continue;
        }
        letters[--bit] = (uint8_t)*p;
        if (*p == '0' || *p == '1') {
            r->mask |= 1u << bit;
            r->match |= (uint32_t)(*p - '0') << bit;
        } else if (!strchr("dstuirq-", *p)) {
            fail("%s: '%c' in the pattern", r->name, *p);
        }
    }
    if (((r->match & r->mask & 3) == 3) != (n == 32) || (r->mask & 3) != 3) {
        fail("%s: the lowest two bits contradict the length", r->name);
    }
    check_letters(r, letters);
}

static bool contains(const struct row *general, const struct row *special)
{
    return (general->mask & ~special->mask) == 0 &&
           (special->match & general->mask) == general->match;
}

static void check_overlap(const struct row *a, const struct row *b)
{
    bool listed = false, nested = contains(a, b) || contains(b, a);

    if (a->length != b->length || ((a->match ^ b->match) & a->mask & b->mask)) {
        return;
    }
    for (unsigned i = 0; i < ROWS && !nested; i++) {
        nested = rows[i].mask == (a->mask | b->mask) && rows[i].match == (a->match | b->match) &&
                 rows[i].length == a->length;
    }
    for (unsigned i = 0; i < OVERLAPS; i++) {
        if ((!strcmp(a->name, overlaps[i].special) && !strcmp(b->name, overlaps[i].general)) ||
            (!strcmp(b->name, overlaps[i].special) && !strcmp(a->name, overlaps[i].general))) {
            listed = overlap_used[i] = true;
        }
    }
    if (!listed) {
        fail("%s and %s overlap and are not listed", a->name, b->name);
    }
    if (!nested || (a->mask == b->mask && a->match == b->match)) {
        fail("%s and %s overlap, and it is open which one wins", a->name, b->name);
    }
}

static int by_specificity(const void *a, const void *b)
{
    const struct row *x = &rows[*(const uint16_t *)a], *y = &rows[*(const uint16_t *)b];
    int d = __builtin_popcount(y->mask) - __builtin_popcount(x->mask);

    return d ? d : *(const uint16_t *)a - *(const uint16_t *)b;
}

/* Of the fields that are fixed in every row, the one that tells most of them apart. */
static void choose_common_field(const uint16_t *list, unsigned n, uint32_t tested, unsigned *shift,
                                unsigned *width)
{
    uint32_t common = ~tested;
    unsigned best = 1;

    for (unsigned i = 0; i < n; i++) {
        common &= rows[list[i]].mask;
    }
    for (unsigned w = 1; w <= 7; w++) {
        for (unsigned s = 0; s + w <= 32; s++) {
            uint32_t field = ((1u << w) - 1) << s;
            bool seen[128] = {false};
            unsigned groups = 0;
            if ((common & field) != field) {
                continue;
            }
            for (unsigned i = 0; i < n; i++) {
                unsigned v = (rows[list[i]].match & field) >> s;
                groups += !seen[v];
                seen[v] = true;
            }
            if (groups > best) {
                best = groups;
                *shift = s;
                *width = w;
            }
        }
    }
}

/* Otherwise the field that leaves the shortest longest list, where rows may be in several cells. */
static void choose_any_field(const uint16_t *list, unsigned n, uint32_t tested, unsigned *shift,
                             unsigned *width)
{
    unsigned best = ~0u;

    for (unsigned w = 1; w <= 7; w++) {
        for (unsigned s = 0; s + w <= rows[list[0]].length; s++) {
            uint32_t field = ((1u << w) - 1) << s;
            unsigned worst = 0, total = 0, cost;
            if (tested & field) {
                continue;
            }
            for (uint32_t v = 0; v < 1u << w; v++) {
                unsigned here = 0;
                for (unsigned i = 0; i < n; i++) {
                    const struct row *r = &rows[list[i]];
                    if (((v << s) ^ r->match) & r->mask & field) {
                        continue;
                    }
                    here++;
                    if ((r->mask & ~(tested | field)) == 0) {
                        break;
                    }
                }
                worst = here > worst ? here : worst;
                total += here;
            }
            /* A wider field must earn its cells. */
            cost = worst * 64 + (1u << w) + total;
            if (cost < best && total < n << w) {
                best = cost;
                *shift = s;
                *width = w;
            }
        }
    }
}

/* How many rows may end up in a list. */
enum { MAX_LIST = 4 };

static uint16_t build_list(const uint16_t *list, unsigned n)
{
    unsigned first = lists_size;

    if (first + n > 0x1000) {
        fail("the lists grow too large");
    }
    for (unsigned i = 0; i < n; i++) {
        lists[lists_size++] = (uint16_t)(list[i] | (i == n - 1 ? 0x8000 : 0));
    }
    return (uint16_t)(0x4000 | first);
}

/* list[0..n): rows still possible, the most specific first. tested: bits known on this path. */
static uint16_t build(const uint16_t *list, unsigned n, uint32_t tested)
{
    unsigned shift = 0, width = 0, node, cells;

    if (n == 0) {
        return 0;
    }
    if (n == 1 || (rows[list[0]].mask & ~tested) == 0) {
        return (uint16_t)(0x8000 | list[0]);
    }
    choose_common_field(list, n, tested, &shift, &width);
    if (width == 0 && n <= MAX_LIST) {
        return build_list(list, n);
    }
    if (width == 0) {
        choose_any_field(list, n, tested, &shift, &width);
    }
    if (width == 0) {
        fail("%s: no bit tells it from its %u neighbours", rows[list[0]].name, n - 1);
    }
    node = tree_size;
    cells = 1u << width;
    tree_size += 1 + cells;
    if (tree_size > 0x3fff) {
        fail("the tree grows too large");
    }
    tree[node] = (uint16_t)(shift | width << 8);
    for (uint32_t v = 0; v < cells; v++) {
        uint32_t field = (cells - 1) << shift;
        uint16_t sub[ROWS];
        unsigned m = 0;
        for (unsigned i = 0; i < n; i++) {
            const struct row *r = &rows[list[i]];
            if ((((v << shift) ^ r->match) & r->mask & field) == 0) {
                sub[m++] = list[i];
                if ((r->mask & ~(tested | field)) == 0) {
                    break;
                }
            }
        }
        tree[node + 1 + v] = build(sub, m, tested | field);
    }
    return (uint16_t)node;
}

static unsigned roots[2];

/* The row number + 1, 0 for none. */
static unsigned by_tree(uint32_t bits)
{
    unsigned node = roots[(bits & 3) == 3], row;

    do {
        node = tree[node + 1 + (bits >> (tree[node] & 255) & ((1u << (tree[node] >> 8)) - 1))];
    } while (node && node < 0x4000);
    if (!node) {
        return 0;
    }
    if (node & 0x8000) {
        row = node & 0x7fff;
        return (bits & rows[row].mask) == rows[row].match ? row + 1 : 0;
    }
    for (const uint16_t *p = &lists[node & 0x3fff];; p++) {
        row = *p & 0x7fff;
        if ((bits & rows[row].mask) == rows[row].match) {
            return row + 1;
        }
        if (*p & 0x8000) {
            return 0;
        }
    }
}

static unsigned by_search(uint32_t bits)
{
    unsigned best = 0;

    for (unsigned i = 0; i < ROWS; i++) {
        if ((rows[i].length == 32) == ((bits & 3) == 3) && (bits & rows[i].mask) == rows[i].match &&
            (!best || __builtin_popcount(rows[i].mask) > __builtin_popcount(rows[best - 1].mask))) {
            best = i + 1;
        }
    }
    return best;
}

static void verify(uint32_t bits)
{
    unsigned a = by_tree(bits), b = by_search(bits);

    if (a != b) {
        fail("%08x: the tree finds %s, a search %s", bits, a ? rows[a - 1].name : "nothing",
             b ? rows[b - 1].name : "nothing");
    }
}

int main(void)
{
    uint16_t list[ROWS];
    uint32_t seed = 1;

    for (unsigned i = 0; i < ROWS; i++) {
        parse(&rows[i]);
    }
    for (unsigned i = 0; i < ROWS; i++) {
        for (unsigned j = 0; j < i; j++) {
            check_overlap(&rows[i], &rows[j]);
        }
    }
    for (unsigned i = 0; i < OVERLAPS; i++) {
        if (!overlap_used[i]) {
            fail("%s and %s are listed as overlapping and do not", overlaps[i].special,
                 overlaps[i].general);
        }
    }
    for (unsigned wide = 0; wide < 2; wide++) {
        unsigned n = 0;
        for (unsigned i = 0; i < ROWS; i++) {
            if ((rows[i].length == 32) == wide) {
                list[n++] = (uint16_t)i;
            }
        }
        qsort(list, n, sizeof(list[0]), by_specificity);
        roots[wide] = build(list, n, wide ? 3 : 0);
    }

    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        if ((bits & 3) != 3) {
            verify(bits);
        }
    }
    for (unsigned i = 0; i < ROWS; i++) {
        for (unsigned k = 0; k < 400 && rows[i].length == 32; k++) {
            uint32_t bits;
            seed = seed * 1664525 + 1013904223;
            bits = (((seed >> 16) * 0x9e3779b1u) & ~rows[i].mask) | rows[i].match;
            verify(bits);
            verify(bits ^ (1u << (2 + (seed >> 8) % 30)));
        }
    }

    printf("static const uint32_t rv_bits[][2] = {\n");
    for (unsigned i = 0; i < ROWS; i++) {
        printf("    {0x%08x, 0x%08x}, /* %s */\n", rows[i].mask, rows[i].match, rows[i].name);
    }
    printf(
        "};\n\nenum { RV_TREE_16 = %u, RV_TREE_32 = %u };\n\nstatic const uint16_t rv_tree[] = {",
        roots[0], roots[1]);
    for (unsigned i = 0; i < tree_size; i++) {
        printf("%s%u,", i % 16 ? " " : "\n    ", tree[i]);
    }
    printf("\n};\n\nstatic const uint16_t rv_list[] = {");
    for (unsigned i = 0; i < lists_size; i++) {
        printf("%s%u,", i % 16 ? " " : "\n    ", lists[i]);
    }
    printf("\n};\n");
    return 0;
}
