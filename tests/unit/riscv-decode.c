/*
 * The decoder: each row finds itself, the tree agrees with a plain search, reserved encodings are
 * refused, compressed instructions expand to what the manual says, features gate, text is right.
 */
#include <stdlib.h>
#include "target/riscv/decode.h"
#include "target/riscv/model.h"
#include "target/riscv/random.h"
#include "target/riscv/trans.h"
#include "tests/unit/tap.h"

static struct rv_ext_set all;

static const struct rv_row *search(uint32_t bits)
{
    const struct rv_row *best = NULL;

    for (unsigned n = 0; n < rv_row_count; n++) {
        const struct rv_row *row = &rv_rows[n];
        if (rv_row_length(row) == rv_length(bits) &&
            (bits & rv_row_mask(row)) == rv_row_match(row) &&
            (!best ||
             __builtin_popcount(rv_row_mask(row)) > __builtin_popcount(rv_row_mask(best)))) {
            best = row;
        }
    }
    return best;
}

static void tree_is_search(void)
{
    struct rv_random random = {42};
    unsigned wrong = 0, found = 0;

    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        if ((bits & 3) != 3) {
            wrong += rv_find(bits) != search(bits);
        }
    }
    tap_eq(wrong, 0, "all compressed encodings");
    for (unsigned n = 0; n < 200000; n++) {
        const struct rv_row *row = &rv_rows[n % rv_row_count];
        uint32_t bits = (uint32_t)rv_random_next(&random);
        bits = (bits & ~rv_row_mask(row)) | rv_row_match(row);
        if (n & 1) {
            bits ^= 1u << (2 + rv_random_next(&random) % 30);
        }
        if (rv_length(bits) == 4) {
            wrong += rv_find(bits) != search(bits);
            found += rv_find(bits) != NULL;
        }
    }
    tap_eq(wrong, 0, "encodings in and near every row");
    tap_ok(found > 100000, "most of which exist (%u)", found);
}

static void overlaps(void)
{
    unsigned ambiguous = 0;

    for (unsigned n = 0; n < rv_row_count; n++) {
        for (unsigned m = 0; m < n; m++) {
            uint32_t a = rv_row_mask(&rv_rows[n]), b = rv_row_mask(&rv_rows[m]);
            if (rv_row_length(&rv_rows[n]) == rv_row_length(&rv_rows[m]) && a == b &&
                rv_row_match(&rv_rows[n]) == rv_row_match(&rv_rows[m])) {
                tap_note("%s and %s", rv_rows[n].name, rv_rows[m].name);
                ambiguous++;
            }
        }
    }
    tap_eq(ambiguous, 0, "no two rows have one pattern");
}

static void illegal(uint32_t bits, const char *why)
{
    struct rv_insn insn;
    bool refused = !rv_decode(&insn, bits, &all) || rv_row_reserved(insn.row);

    tap_ok(refused, "%08x is reserved: %s", bits, why);
}

static void reserved(void)
{
    illegal(0x0000, "all zeros");
    illegal(0xffffffff, "all ones");
    illegal(0x0004, "c.addi4spn, immediate 0");
    illegal(0x2005 & ~0xf80u, "c.addiw x0");
    illegal(0x6101, "c.addi16sp 0");
    illegal(0x6001, "c.lui x0, 0");
    illegal(0x6601, "c.lui x12, 0");
    illegal(0x4002, "c.lwsp x0");
    illegal(0x6002, "c.ldsp x0");
    illegal(0x8002, "c.jr x0");
    illegal(0x9c00, "quadrant 0, funct3 100, unused");
    illegal(0x9c79, "unused in the unary group of Zcb");
    illegal(0x0000001f, "longer than 32 bits");
    illegal(0x02051513 | 1u << 26, "slli, funct6 1");
    illegal(0x0205151b, "slliw, shift count 32");
    illegal(0x00002063, "branch, funct3 010");
    illegal(0x00007003, "load, funct3 111");
    illegal(0x00004023, "store, funct3 100");
    illegal(0x1015252f, "lr.w with rs2");
    illegal(0x04b57553 | 3u << 25, "fadd.q");
}

struct expansion {
    uint16_t bits;
    const char *as; /* the row whose function it has */
    uint8_t rd, rs1, rs2;
    int64_t imm;
};

/* From the tables of the manual's "C" chapter; 255 for a field that does not matter. */
static const struct expansion expansions[] = {
    {0x0808, "addi", 10, 2, 255, 16},       {0x1fe0, "addi", 8, 2, 255, 1020},
    {0x4108, "lw", 10, 10, 255, 0},         {0x5dfc, "lw", 15, 11, 255, 124},
    {0x7dfc, "ld", 15, 11, 255, 248},       {0xddfc, "sw", 255, 11, 15, 124},
    {0xfdfc, "sd", 255, 11, 15, 248},       {0x3dfc, "fld", 15, 11, 255, 248},
    {0xbdfc, "fsd", 255, 11, 15, 248},      {0x0505, "addi", 10, 10, 255, 1},
    {0x157d, "addi", 10, 10, 255, -1},      {0x357d, "addiw", 10, 10, 255, -1},
    {0x557d, "addi", 10, 0, 255, -1},       {0x757d, "lui", 10, 255, 255, -4096},
    {0x6505, "lui", 10, 255, 255, 4096},    {0x7139, "addi", 2, 2, 255, -64},
    {0x617d, "addi", 2, 2, 255, 496},       {0x9105, "srli", 10, 10, 255, 33},
    {0x8505, "srai", 10, 10, 255, 1},       {0x997d, "andi", 10, 10, 255, -1},
    {0x8d0d, "sub", 10, 10, 11, 255},       {0x8d2d, "xor", 10, 10, 11, 255},
    {0x8d4d, "or", 10, 10, 11, 255},        {0x8d6d, "and", 10, 10, 11, 255},
    {0x9d0d, "subw", 10, 10, 11, 255},      {0x9d2d, "addw", 10, 10, 11, 255},
    {0x9d4d, "mul", 10, 10, 11, 255},       {0x9d61, "andi", 10, 10, 255, 255},
    {0x9d65, "sext.b", 10, 10, 255, 255},   {0x9d69, "zext.h", 10, 10, 255, 255},
    {0x9d6d, "sext.h", 10, 10, 255, 255},   {0x9d71, "add.uw", 10, 10, 0, 255},
    {0x9d75, "xori", 10, 10, 255, -1},      {0xb001, "jal", 0, 255, 255, -2048},
    {0xaffd, "jal", 0, 255, 255, 2046},     {0xd101, "beq", 255, 10, 0, -256},
    {0xed7d, "bne", 255, 10, 0, 254},       {0x157e, "slli", 10, 10, 255, 63},
    {0x557e, "lw", 10, 2, 255, 252},        {0x757e, "ld", 10, 2, 255, 504},
    {0x357e, "fld", 10, 2, 255, 504},       {0xdfaa, "sw", 255, 2, 10, 252},
    {0xffaa, "sd", 255, 2, 10, 504},        {0xbfaa, "fsd", 255, 2, 10, 504},
    {0x8082, "jalr", 0, 1, 255, 0},         {0x9502, "jalr", 1, 10, 255, 0},
    {0x852e, "add", 10, 0, 11, 255},        {0x952e, "add", 10, 10, 11, 255},
    {0x9002, "ebreak", 255, 255, 255, 255}, {0x8128, "lbu", 10, 10, 255, 2},
    {0x8548, "lh", 10, 10, 255, 0},         {0x8528, "lhu", 10, 10, 255, 2},
    {0x8928, "sb", 255, 10, 10, 2},         {0x8d28, "sh", 255, 10, 10, 2},
};

static const struct rv_row *row_of(const char *name)
{
    for (unsigned n = 0; n < rv_row_count; n++) {
        if (!strcmp(rv_rows[n].name, name)) {
            return &rv_rows[n];
        }
    }
    return NULL;
}

static void compressed(void)
{
    for (unsigned n = 0; n < sizeof(expansions) / sizeof(expansions[0]); n++) {
        const struct expansion *e = &expansions[n];
        const struct rv_row *row = row_of(e->as);
        struct rv_insn i;
        bool ok = rv_decode(&i, e->bits, &all) && i.row->translate == row->translate &&
                  i.row->arg == row->arg && (e->rd == 255 || e->rd == i.rd) &&
                  (e->rs1 == 255 || e->rs1 == i.rs1) && (e->rs2 == 255 || e->rs2 == i.rs2) &&
                  (e->imm == 255 || e->imm == i.imm);
        tap_ok(ok, "%04x is %s", e->bits, e->as);
        if (!ok) {
            char text[80];
            rv_disassemble(e->bits, 0, text, sizeof(text));
            tap_note("%s: rd %d rs1 %d rs2 %d imm %ld", text, i.rd, i.rs1, i.rs2, (long)i.imm);
        }
    }
}

static void gate(const char *model, uint32_t bits, bool expected)
{
    struct rv_ext_set set;
    struct rv_insn insn;
    char error[256], text[80];

    tap_ok(rv_model_parse(&set, model, error, sizeof(error)) == 0, "model %s", model);
    rv_disassemble(bits, 0, text, sizeof(text));
    tap_ok(rv_decode(&insn, bits, &set) == expected, "%s: %s %s", model, text,
           expected ? "exists" : "does not");
}

static void gates(void)
{
    gate("rv64gc", 0x20b52533, false); /* sh1add */
    gate("rv64gc,zba=on", 0x20b52533, true);
    gate("rv64gc,zbkb=on", 0x40b57533, true); /* andn: zbb or zbkb */
    gate("rv64gc", 0x40b57533, false);
    gate("rv64,d=off", 0x2108, false); /* c.fld: c and d */
    gate("rv64,c=off", 0x0505, false);
    gate("rv64gc,zbkb=on", 0x0805453b, true); /* packw with x0, also zext.h */
    gate("rv64gc,zcb=on", 0x9d4d, true);      /* c.mul: zcb and m */
    gate("rv64,m=off", 0x9d4d, false);
    gate("rv64,zcmop=off", 0x6081, false); /* c.mop.1 */
    gate("rv64", 0x30200073, false);       /* mret: full-system emulation only, as the next three */
    gate("rv64", 0x10500073, false);       /* wfi */
    gate("max", 0x12000073, false);        /* sfence.vma */
    gate("max", 0x0005a00f, false);        /* cbo.inval */
    gate("rv64", 0x6081, true);
}

static void text(uint32_t bits, const char *expected)
{
    char have[80];

    rv_disassemble(bits, 0x1000, have, sizeof(have));
    if (!tap_ok(!strcmp(have, expected), "%08x prints %s", bits, expected)) {
        tap_note("printed %s", have);
    }
}

static void texts(void)
{
    char tiny[6];

    text(0x00a58533, "add a0,a1,a0");
    text(0xfff50513, "addi a0,a0,-1");
    text(0x12345537, "lui a0,0x12345");
    text(0xfe0508e3, "beq a0,zero,0xff0");
    text(0x008000ef, "jal ra,0x1008");
    text(0x06b5252f, "amoadd.w.aqrl a0,a1,(a0)");
    text(0x00b57553, "fadd.s fa0,fa0,fa1");
    text(0x00b51553, "fadd.s fa0,fa0,fa1,rtz");
    text(0xc2051553, "fcvt.w.d a0,fa0,rtz");
    text(0x00309073, "csrrw zero,fcsr,ra");
    text(0x0ff0000f, "fence iorw,iorw");
    text(0x7139, "c.addi16sp sp,-64");
    text(0x6081, "c.mop.1");
    text(0x81c54573, "mop.r.0 a0,a0");
    text(0x0000, "c.unimp");
    text(0xffffffff, ".4byte 0xffffffff");
    rv_disassemble(0x00a58533, 0, tiny, sizeof(tiny));
    tap_ok(!strcmp(tiny, "add a"), "text is cut to the buffer");
}

/* Random streams contain every row they may, and nothing else. */
static void streams(void)
{
    struct rv_random random = {7}, same = {7};
    struct rv_random_options options = {.ext = &all, .classes = RV_CLASS_COMPUTE | RV_CLASS_MEMORY};
    unsigned char *seen = calloc(rv_row_count, 1);
    unsigned wrong = 0, missing = 0, different = 0;

    for (unsigned n = 0; n < 60000; n++) {
        options.bases = n < 50000 ? 1u << 8 | 1u << 2 : 0; /* x2 is also written by c.addi16sp */
        uint32_t bits = rv_random_insn(&random, &options);
        struct rv_insn insn;
        different += bits != rv_random_insn(&same, &options);
        if (!rv_decode(&insn, bits, &all)) {
            wrong++;
            continue;
        }
        seen[insn.row - rv_rows] = 1;
        wrong += !(rv_row_class(insn.row) & options.classes);
        if (options.bases && rv_row_class(insn.row) == RV_CLASS_MEMORY) {
            wrong += insn.rs1 != 8 && insn.rs1 != 2;
        }
    }
    for (unsigned n = 0; n < rv_row_count; n++) {
        if ((rv_row_class(&rv_rows[n]) & options.classes) && !seen[n]) {
            tap_note("never drawn: %s", rv_rows[n].name);
            missing++;
        }
    }
    tap_eq(wrong, 0, "streams keep to their options");
    tap_eq(missing, 0, "streams draw every row");
    tap_eq(different, 0, "equal seeds give equal streams");
    options.classes = 0;
    tap_eq(rv_random_insn(&random, &options), 0, "no class, no instruction");
    free(seen);
}

int main(void)
{
    memset(&all, 0xff, sizeof(all));
    tree_is_search();
    overlaps();
    reserved();
    compressed();
    gates();
    texts();
    streams();
    return tap_done();
}
