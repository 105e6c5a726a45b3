/*
 * Writes guest programs for tests/insn/run, which explains what they are for.
 *
 *   gen --seed S [--first B] [--count N] [--runs R] -o FILE     blocks B .. B + N - 1, R runs each
 *   gen --encodings --seed S ... -o FILE                        single random 32-bit encodings
 *   gen --encodings16 ... -o FILE                               the 16-bit encodings B .. B + N - 1
 *
 *   --cpu MODEL       what may occur, as tinamou-riscv64 -cpu has it
 *   --without A,B     mnemonics that may not occur; with @x0 behind one: not with rd = x0
 *   --only A,B        mnemonics (apart from jumps and branches) that alone may occur
 *   --drop I,J        items of the blocks to leave out
 *   --system          for tests/insn/system
 *   --machine         for its M mode too: addresses in RAM of the virt machine
 *   --describe        print the first block's items, with their addresses and disassembly
 *   --rows            print how often each mnemonic was generated
 *
 * Always printed: `insns N`, how many instructions the blocks have. In the lists of encodings,
 * record number i belongs to line i of `--list`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/riscv/model.h"
#include "target/riscv/trans.h"
#include "tests/insn/block.h"

enum { IMAGES = 256 };

static struct {
    uint64_t seed, first, count, runs;
    const char *output, *without, *only, *drop, *cpu;
    bool encodings, encodings16, system, machine, describe, rows, list;
} args = {.count = 100, .runs = 1, .cpu = ""};

static unsigned long insns;
static unsigned long *row_counts;

/* Whether a comma-separated list has the word. */
static bool listed(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (list != NULL && *list != 0) {
        size_t n = strcspn(list, ",");
        if (n == length && memcmp(list, word, n) == 0) {
            return true;
        }
        list += n + (list[n] == ',');
    }
    return false;
}

static bool admits(const struct rv_insn *insn)
{
    const struct rv_row *row = insn->row;
    char at_x0[32];

    if (args.only != NULL && rv_row_class(row) == RV_CLASS_COMPUTE &&
        !listed(args.only, row->name)) {
        return false;
    }
    if (args.only != NULL && rv_row_class(row) == RV_CLASS_MEMORY &&
        !listed(args.only, row->name)) {
        return false;
    }
    snprintf(at_x0, sizeof(at_x0), "%s@x0", row->name);
    return !listed(args.without, row->name) && !(insn->rd == 0 && listed(args.without, at_x0));
}

static void count_item(const struct block_item *item)
{
    for (unsigned n = 0; n < item->count; n++) {
        const struct rv_row *row = rv_find(item->bits[n]);
        insns++;
        if (row != NULL) {
            row_counts[row - rv_rows]++;
        }
    }
}

static void describe(const struct block *b, const uint64_t *at)
{
    printf("keeper x%u, counter x%u, bases", b->keeper, b->counter);
    for (unsigned n = 1; n < 32; n++) {
        if (b->bases >> n & 1) {
            printf(" x%u=%+d", n, b->offset[n]);
        }
    }
    putchar('\n');
    for (unsigned n = 0; n < b->item_count; n++) {
        for (unsigned i = 0; i < b->items[n].count; i++) {
            char text[80];
            rv_disassemble(b->items[n].bits[i], at[n], text, sizeof(text));
            if (i == 0) {
                printf("%3u %6" PRIx64 ": ", n, at[n]);
            } else {
                printf("            ");
            }
            printf("%08x %s", b->items[n].bits[i], text);
            if (b->items[n].patch != BLOCK_PLAIN && i == b->items[n].count - 1u) {
                printf("   -> %s%u", b->items[n].call ? "call " : "", b->items[n].target);
            }
            putchar('\n');
        }
        if (n + 1 == b->function) {
            puts("    end");
        }
    }
}

static void drop_items(struct block *b)
{
    const char *p = args.drop;
    char *end;

    while (p != NULL && *p != 0) {
        unsigned long n = strtoul(p, &end, 10);
        if (end != p && n < b->item_count) {
            b->items[n].count = 0;
        }
        p = *end == ',' ? end + 1 : end + strlen(end);
    }
}

/* The state of everything random about a block or its runs: from its number alone. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    struct rv_random r = {args.seed ^ a << 40};
    uint64_t first = rv_random_next(&r);

    r.state = first ^ b;
    return rv_random_next(&r);
}

/* An encoding near those that exist. */
static uint32_t random_encoding(uint64_t index)
{
    struct rv_random r = {mix(3, index)};
    const struct rv_row *row;
    uint32_t bits = (uint32_t)rv_random_next(&r);

    do {
        row = &rv_rows[rv_random_next(&r) % rv_row_count];
    } while (rv_row_length(row) != 4);
    switch (rv_random_next(&r) & 7) {
    case 0:
        break;
    case 1: /* the major opcode only */
        bits = (bits & ~127u) | (rv_row_match(row) & 127);
        break;
    case 2:
    case 3: /* and funct3 */
        bits = (bits & ~0x707fu) | (rv_row_match(row) & 0x707f);
        break;
    case 4:
    case 5: /* one wrong bit */
        bits = (bits & ~rv_row_mask(row)) | rv_row_match(row);
        bits ^= 1u << (7 + rv_random_next(&r) % 25);
        break;
    default:
        bits = (bits & ~rv_row_mask(row)) | rv_row_match(row);
        break;
    }
    return bits | 3;
}

/* What cannot stand alone, or reads a clock. */
static bool excluded(uint32_t bits, const struct rv_ext_set *ext)
{
    struct rv_insn insn;

    if (!rv_decode(&insn, bits, ext)) {
        return false;
    }
    return rv_row_class(insn.row) == RV_CLASS_CONTROL || insn.row->translate == rv_trans_ecall ||
           (rv_row_class(insn.row) == RV_CLASS_FCSR && insn.imm >> 8 == 0xc) ||
           listed(args.without, insn.row->name);
}

static void add_encodings(struct guest *g, const struct rv_ext_set *ext)
{
    for (uint64_t n = args.first; n < args.first + args.count; n++) {
        uint32_t bits = args.encodings16 ? (uint32_t)n & 0xffff : random_encoding(n);
        struct block b;
        if (((bits & 3) == 3) == args.encodings16 || excluded(bits, ext)) {
            continue;
        }
        if (args.list) {
            char text[80];
            rv_disassemble(bits, 0, text, sizeof(text));
            printf("%08x %s\n", bits, text);
        }
        block_make_encoding(&b, bits);
        count_item(&b.items[0]);
        guest_add_run(g, (struct guest_run){block_emit(&b, g, NULL), b.keeper, 0});
    }
}

static void add_blocks(struct guest *g, const struct rv_ext_set *ext)
{
    const struct block_options options = {*ext, admits, args.system, args.machine};
    struct guest_run *entered = calloc(args.count, sizeof(*entered));

    if (entered == NULL) {
        fputs("gen: out of memory\n", stderr);
        exit(1);
    }
    for (uint64_t n = 0; n < args.count; n++) {
        uint64_t at[BLOCK_MAX_ITEMS + 1];
        struct block b;
        block_make(&b, mix(1, args.first + n), &options);
        drop_items(&b);
        entered[n] = (struct guest_run){block_emit(&b, g, at), b.keeper, 0};
        for (unsigned i = 0; i < b.item_count; i++) {
            count_item(&b.items[i]);
        }
        if (n == 0 && args.describe) {
            describe(&b, at);
        }
    }
    /* All blocks, and then all again: the later runs find the code translated. */
    for (uint64_t run = 0; run < args.runs; run++) {
        for (uint64_t n = 0; n < args.count; n++) {
            entered[n].image = (unsigned)(mix(2, (args.first + n) << 8 | run) % IMAGES);
            guest_add_run(g, entered[n]);
        }
    }
    free(entered);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (end == text || *end != 0) {
        fprintf(stderr, "gen: '%s' is not a number\n", text);
        exit(2);
    }
    return value;
}

static void parse(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *number;
        const char **text;
        bool *flag;
    } options[] = {
        {"--seed", &args.seed, NULL, NULL},
        {"--first", &args.first, NULL, NULL},
        {"--count", &args.count, NULL, NULL},
        {"--runs", &args.runs, NULL, NULL},
        {"--cpu", NULL, &args.cpu, NULL},
        {"--without", NULL, &args.without, NULL},
        {"--only", NULL, &args.only, NULL},
        {"--drop", NULL, &args.drop, NULL},
        {"-o", NULL, &args.output, NULL},
        {"--encodings", NULL, NULL, &args.encodings},
        {"--encodings16", NULL, NULL, &args.encodings16},
        {"--system", NULL, NULL, &args.system},
        {"--machine", NULL, NULL, &args.machine},
        {"--describe", NULL, NULL, &args.describe},
        {"--rows", NULL, NULL, &args.rows},
        {"--list", NULL, NULL, &args.list},
    };

    for (int n = 1; n < argc; n++) {
        unsigned o = 0;
        while (o < sizeof(options) / sizeof(options[0]) && strcmp(options[o].name, argv[n]) != 0) {
            o++;
        }
        if (o == sizeof(options) / sizeof(options[0]) ||
            (options[o].flag == NULL && n + 1 == argc)) {
            fprintf(stderr, "gen: unknown option or missing value: '%s'\n", argv[n]);
            exit(2);
        }
        if (options[o].flag != NULL) {
            *options[o].flag = true;
        } else if (options[o].text != NULL) {
            *options[o].text = argv[++n];
        } else {
            *options[o].number = number(argv[++n]);
        }
    }
}

int main(int argc, char **argv)
{
    static struct guest_image images[IMAGES];
    struct rv_random random = {0};
    struct guest *guest;
    struct rv_ext_set ext;
    char error[256];
    int result = 0;

    parse(argc, argv);
    guest = guest_new(args.machine);
    if (rv_model_parse(&ext, args.cpu, error, sizeof(error)) < 0) {
        fprintf(stderr, "gen: --cpu %s: %s\n", args.cpu, error);
        return 2;
    }
    row_counts = calloc(rv_row_count, sizeof(*row_counts));
    if (guest == NULL || row_counts == NULL) {
        fputs("gen: out of memory\n", stderr);
        return 1;
    }
    random.state = mix(4, 0);
    for (unsigned n = 0; n < IMAGES; n++) {
        block_make_image(&images[n], &random);
    }
    if (args.encodings || args.encodings16) {
        block_make_flat_image(&images[0]);
        add_encodings(guest, &ext);
    } else {
        add_blocks(guest, &ext);
    }
    if (args.output != NULL) {
        result = guest_write(guest, args.output, images, IMAGES);
    }
    if (result < 0) {
        fprintf(stderr, "gen: cannot write %s: %s\n", args.output, strerror(-result));
    }
    for (unsigned n = 0; n < rv_row_count && args.rows; n++) {
        if (rv_row_enabled(&rv_rows[n], &ext) && !rv_row_reserved(&rv_rows[n])) {
            printf("row %s %lu\n", rv_rows[n].name, row_counts[n]);
        }
    }
    printf("insns %lu\n", insns);
    free(row_counts);
    guest_free(guest);
    return result < 0;
}
