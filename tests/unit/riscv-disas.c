/*
 * The disassembler against binutils: random encodings of every row, assembled as raw words, and
 * printed by riscv64-linux-gnu-objdump -M no-aliases. Mnemonics on which the two differ are listed
 * with the reason; one that is listed and agrees fails, so the list does not go stale.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "target/riscv/decode.h"
#include "target/riscv/model.h"
#include "target/riscv/random.h"
#include "target/riscv/trans.h"
#include "tests/unit/tap.h"

enum { COUNT = 12000 };

#define ARCH                                                                                      \
    "rv64gc_zicsr_zifencei_zihintpause_zba_zbb_zbs_zbc_zbkb_zbkc_zbkx_zknd_zkne_zknh_zfh_zfhmin_" \
    "zicbom_zicbop_zicboz_zawrs_svinval"

enum when { ALWAYS, WITH_RM, WITHOUT_IMM };

struct exception {
    const char *name; /* of the row, or NULL */
    int ext;          /* of every row that needs the extension */
    enum when when;   /* WITH_RM: with a rounding mode that is not 0. WITHOUT_IMM: immediate 0 */
    const char *why;
};

static const struct exception exceptions[] = {
    {"host.call", 0, ALWAYS, "ours alone"},
    {"c.nop", 0, ALWAYS, "binutils print the c.addi that it is"},
    {"c.slli", 0, WITHOUT_IMM, "binutils print c.slli64, a name of RV128's"},
    {"c.srli", 0, WITHOUT_IMM, "binutils print c.srli64, a name of RV128's"},
    {"c.srai", 0, WITHOUT_IMM, "binutils print c.srai64, a name of RV128's"},
    {"fcvt.d.s", 0, WITH_RM, "exact, binutils know it with rm = 0 only"},
    {"fcvt.d.w", 0, WITH_RM, "exact, binutils know it with rm = 0 only"},
    {"fcvt.d.wu", 0, WITH_RM, "exact, binutils know it with rm = 0 only"},
    {"fcvt.s.h", 0, WITH_RM, "exact, binutils know it with rm = 0 only"},
    {"fcvt.d.h", 0, WITH_RM, "exact, binutils know it with rm = 0 only"},
    {NULL, RV_EXT_zicond, ALWAYS, "Zicond is not known to binutils 2.40"},
    {NULL, RV_EXT_zacas, ALWAYS, "Zacas is not known to binutils 2.40"},
    {NULL, RV_EXT_zabha, ALWAYS, "Zabha is not known to binutils 2.40"},
    {NULL, RV_EXT_zimop, ALWAYS, "Zimop is not known to binutils 2.40"},
    {NULL, RV_EXT_zcmop, ALWAYS, "Zcmop is not known to binutils 2.40"},
    {NULL, RV_EXT_zcb, ALWAYS, "Zcb is not known to binutils 2.40"},
    {NULL, RV_EXT_zfa, ALWAYS, "Zfa is not known to binutils 2.40"},
    {NULL, RV_EXT_zfbfmin, ALWAYS, "Zfbfmin is not known to binutils 2.40"},
};
#define EXCEPTIONS (sizeof(exceptions) / sizeof(exceptions[0]))
static bool differs[EXCEPTIONS], agrees[EXCEPTIONS];

static uint32_t stream[COUNT];
static char ours[COUNT][80], theirs[COUNT][80];

static int exception(const struct rv_insn *insn)
{
    const struct rv_row *row = insn->row;

    for (unsigned n = 0; n < EXCEPTIONS; n++) {
        const struct exception *e = &exceptions[n];
        bool hit = e->name ? !strcmp(row->name, e->name)
                           : !row->any_ext && (row->ext[0] == e->ext || row->ext[1] == e->ext);
        if (hit && (e->when == ALWAYS || (e->when == WITH_RM && insn->rm != 0) ||
                    (e->when == WITHOUT_IMM && insn->imm == 0))) {
            return (int)n;
        }
    }
    return -1;
}

/* "  1a:\t00a58533  \tadd\ta0,a1,a0 # comment" to its number and "add a0,a1,a0". */
static bool parse_line(char *line, unsigned long *pc, char *text, size_t size)
{
    char *end, *p;

    *pc = strtoul(line, &end, 16);
    if (end == line || *end != ':') {
        return false;
    }
    p = strchr(end + 2, '\t');
    if (!p) {
        return false;
    }
    p++;
    p[strcspn(p, "\n#<")] = 0;
    for (char *q = p; *q; q++) {
        *q = *q == '\t' ? ' ' : *q;
    }
    for (size_t n = strlen(p); n && p[n - 1] == ' ';) {
        p[--n] = 0;
    }
    snprintf(text, size, "%s", p);
    return true;
}

/* Fills theirs[]. Returns 0 or -ENOENT where there are no such tools. */
static int run_binutils(void)
{
    const char *folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char base[256], command[1200], line[512];
    unsigned long pc, at = 0;
    unsigned n = 0;
    FILE *f;

    if (system("command -v riscv64-linux-gnu-as riscv64-linux-gnu-objdump >/dev/null 2>&1")) {
        return -ENOENT;
    }
    snprintf(base, sizeof(base), "%s/riscv-disas-%d", folder, (int)getpid());
    snprintf(command, sizeof(command), "%s.s", base);
    f = fopen(command, "w");
    if (!f) {
        return -errno;
    }
    for (unsigned k = 0; k < COUNT; k++) {
        fprintf(f, ".insn %u, 0x%x\n", rv_length(stream[k]), stream[k]);
    }
    fclose(f);
    snprintf(command, sizeof(command),
             "riscv64-linux-gnu-as -march=%s %s.s -o %s.o && riscv64-linux-gnu-objdump -d -M "
             "no-aliases %s.o",
             ARCH, base, base, base);
    f = popen(command, "r");
    while (f && n < COUNT && fgets(line, sizeof(line), f)) {
        char text[80];
        if (parse_line(line, &pc, text, sizeof(text)) && pc == at) {
            memcpy(theirs[n], text, sizeof(text));
            at += rv_length(stream[n++]);
        }
    }
    if (f) {
        pclose(f);
    }
    snprintf(command, sizeof(command), "rm -f %s.s %s.o", base, base);
    tap_ok(system(command) == 0 && n == COUNT, "objdump prints %u of %u instructions", n, COUNT);
    return 0;
}

/* Whether the texts agree; objdump prints addresses without 0x in front. */
static bool same(const struct rv_insn *insn, const char a[80], const char b[80])
{
    char text[80];
    char *hex;

    memcpy(text, a, sizeof(text));
    hex = strstr(text, "0x");
    if (hex && (insn->row->format == RV_FORMAT_B || insn->row->format == RV_FORMAT_J ||
                insn->row->format == RV_FORMAT_CB || insn->row->format == RV_FORMAT_CJ)) {
        memmove(hex, hex + 2, strlen(hex + 2) + 1);
    }
    return !strcmp(text, b);
}

int main(void)
{
    struct rv_ext_set all = {{UINT64_MAX, UINT64_MAX}};
    struct rv_random random = {2024};
    struct rv_random_options options = {.ext = &all, .classes = 31};
    unsigned char *seen = calloc(rv_row_count, 1);
    unsigned wrong = 0, missing = 0, shown = 0;
    uint64_t pc = 0;

    for (unsigned n = 0; n < COUNT; n++) {
        struct rv_insn insn;
        do {
            stream[n] = rv_random_insn(&random, &options);
            rv_decode(&insn, stream[n], &all);
        } while (rv_row_reserved(insn.row) && strcmp(insn.row->name, "cbo.inval") != 0);
        seen[insn.row - rv_rows] = 1;
        rv_print(&insn, pc, ours[n], sizeof(ours[n]));
        pc += insn.length;
    }
    for (unsigned n = 0; n < rv_row_count; n++) {
        if (!seen[n] && !rv_row_reserved(&rv_rows[n])) {
            tap_note("never drawn: %s", rv_rows[n].name);
            missing++;
        }
    }
    tap_eq(missing, 0, "every row is compared");
    if (run_binutils() == -ENOENT) {
        tap_skip("comparison with binutils", "riscv64-linux-gnu-objdump is not installed");
        return tap_done();
    }
    for (unsigned n = 0; n < COUNT; n++) {
        struct rv_insn insn;
        bool ok;
        int e;
        rv_decode(&insn, stream[n], &all);
        e = exception(&insn);
        ok = same(&insn, ours[n], theirs[n]);
        if (e >= 0) {
            differs[e] |= !ok;
            agrees[e] |= ok;
        } else if (!ok) {
            wrong++;
            if (shown++ < 40) {
                tap_note("%08x: %s, binutils: %s", stream[n], ours[n], theirs[n]);
            }
        }
    }
    tap_eq(wrong, 0, "text as binutils print it");
    for (unsigned e = 0; e < EXCEPTIONS; e++) {
        const char *name =
            exceptions[e].name ? exceptions[e].name : rv_ext_name((enum rv_ext)exceptions[e].ext);
        tap_ok(differs[e] && !agrees[e], "%s still differs: %s", name, exceptions[e].why);
    }
    free(seen);
    return tap_done();
}
