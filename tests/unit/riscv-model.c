/* CPU models: profiles, switches, dependencies, and the one line that a mistake gets. */
#include <errno.h>
#include <stdlib.h>
#include "target/riscv/model.h"
#include "tests/unit/tap.h"

static char error[2048];

static struct rv_ext_set parse(const char *spec)
{
    struct rv_ext_set set = {{0}};
    int r = rv_model_parse(&set, spec, error, sizeof(error));

    if (r) {
        tap_ok(false, "'%s' is accepted: %s", spec, error);
    }
    return set;
}

static void has(const char *spec, enum rv_ext ext, bool expected)
{
    struct rv_ext_set set = parse(spec);

    tap_ok(rv_has(&set, ext) == expected, "%s %s %s", spec, expected ? "has" : "lacks",
           rv_ext_name(ext));
}

static void refused(const char *spec, const char *part)
{
    struct rv_ext_set set = {{1, 2}};
    int r = rv_model_parse(&set, spec, error, sizeof(error));

    tap_ok(r == -EINVAL && strstr(error, part) && !strchr(error, '\n'), "'%s' is refused: %s", spec,
           error);
    tap_ok(set.bits[0] == 1 && set.bits[1] == 2, "and leaves the set alone");
}

static struct rv_ext_set parse_system(const char *spec)
{
    struct rv_ext_set set = {{0}};
    int r = rv_model_parse_system(&set, spec, error, sizeof(error));

    if (r) {
        tap_ok(false, "'%s' is accepted: %s", spec, error);
    }
    return set;
}

static void isa(const char *spec, const char *expected, const char *mmu)
{
    struct rv_ext_set set = parse_system(spec);
    char text[1024], list[1024], cut[7];
    size_t length = rv_model_isa(&set, text, sizeof(text));
    size_t list_length = rv_model_isa_list(&set, list, sizeof(list)), at = 0;
    char joined[1024] = "rv64";

    tap_ok(!strcmp(text, expected) && length == strlen(text) + 1, "%s is %s", spec, text);
    while (at < list_length) {
        if (list[at + 1]) {
            strcat(joined, "_");
        }
        strcat(joined, list + at);
        at += strlen(list + at) + 1;
    }
    tap_ok(!strcmp(joined, text), "%s: the list has the same names", spec);
    tap_ok(rv_model_isa(&set, cut, sizeof(cut)) == length && strlen(cut) == sizeof(cut) - 1,
           "%s: text that does not fit is cut", spec);
    tap_ok(rv_model_isa_list(&set, cut, 0) == list_length, "%s: as is the list", spec);
    tap_ok(!strcmp(rv_model_mmu_type(&set), mmu), "%s: %s", spec, mmu);
}

/* What only full-system emulation adds. */
static void system_models(void)
{
    struct rv_ext_set set = parse("max"), wide;

    tap_ok(!rv_has(&set, RV_EXT_s) && !rv_has(&set, RV_EXT_sv39) && !rv_has(&set, RV_EXT_sm1p12),
           "user mode has no privileged extensions");
    isa("rv64gc", "rv64imafdc_zicntr_zicsr_zifencei_zihpm_sstc_svadu", "riscv,sv57");
    isa("rv64gc,sv48=on,svinval=on,zba=on,sstc=off",
        "rv64imafdc_zicntr_zicsr_zifencei_zihpm_zba_svadu_svinval", "riscv,sv48");
    isa("rv64gc,sv39=on,zkn=on",
        "rv64imafdc_zicntr_zicsr_zifencei_zihpm_zbkb_zbkc_zbkx_zkn_zknd_zkne_zknh_sstc_svadu",
        "riscv,sv39");
    isa("rv64gc,s=off,smepmp=on", "rv64imafdc_zicntr_zicsr_zifencei_zihpm_smepmp", "riscv,none");
    isa("rv64i,m=on", "rv64im", "riscv,none");
    set = parse_system("rv64,sv57=off");
    tap_ok(rv_has(&set, RV_EXT_sv48) && !rv_has(&set, RV_EXT_sv57), "sv57=off leaves sv48");
    set = parse_system("rv64,sv39=on,sv57=on");
    wide = parse_system("rv64");
    tap_ok(!memcmp(&set, &wide, sizeof(set)), "of two formats asked for the larger counts");
    set = parse_system("rv64,sm1p12=off");
    tap_ok(rv_has(&set, RV_EXT_sm1p12), "machine mode stays");
    set = parse_system("rv64,h=off,v=false,mmu=true,cbom_blocksize=64,pmu-mask=0x7fff8");
    tap_ok(!memcmp(&set, &wide, sizeof(set)), "properties that say what is so change nothing");
    refused("rv64,v=on", "v=off");
    refused("rv64,cboz_blocksize=128", "64");
    refused("rv64,pmu-num", "16");
    set = parse_system("rva22s64");
    tap_ok(rv_has(&set, RV_EXT_svade) && !rv_has(&set, RV_EXT_svadu) && !rv_has(&set, RV_EXT_sstc),
           "rva22s64 has what the profile mandates");
}

static unsigned lines, with_rva23;

static void count_line(void *opaque, const char *text)
{
    lines++;
    with_rva23 += strstr(text, "rva23u64") != NULL;
}

/* A profile holds nothing that its extensions need and it lacks. */
static void closed(const char *model)
{
    struct rv_ext_set all = parse(model);

    for (unsigned ext = 0; ext < RV_EXT_COUNT; ext++) {
        char spec[128];
        struct rv_ext_set again;
        if (!rv_has(&all, (enum rv_ext)ext)) {
            continue;
        }
        snprintf(spec, sizeof(spec), "%s,%s=on", model, rv_ext_name((enum rv_ext)ext));
        again = parse(spec);
        if (memcmp(&again, &all, sizeof(all)) != 0) {
            tap_ok(false, "%s brings nothing new", spec);
        }
    }
    tap_ok(true, "%s has what its extensions need", model);
}

int main(void)
{
    struct rv_ext_set a, b;

    a = parse("");
    b = parse("max");
    tap_ok(!memcmp(&a, &b, sizeof(a)), "the default is everything");
    a = parse("rv64");
    tap_ok(!memcmp(&a, &b, sizeof(a)), "rv64 is everything");
    has("rv64gc", RV_EXT_d, true);
    has("rv64gc", RV_EXT_zba, false);
    has("rva22u64", RV_EXT_zba, true);
    has("rva22u64", RV_EXT_zicond, false);
    has("rva22u64", RV_EXT_zfhmin, true);
    has("rva22u64", RV_EXT_zfh, false);
    has("rva23u64", RV_EXT_zicond, true);
    has("rva23u64", RV_EXT_zcb, true);
    has("rva23u64", RV_EXT_zfa, true);
    has("rva23u64", RV_EXT_zacas, false);
    closed("rv64gc");
    closed("rva22u64");
    closed("rva23u64");
    closed("max");

    has("rv64gc,zba=on", RV_EXT_zba, true);
    has("rv64gc,zba=true", RV_EXT_zba, true);
    has("rv64,zba=false", RV_EXT_zba, false);
    has("rv64gc,zkn=on", RV_EXT_zknh, true);
    has("rv64gc,zfh=on", RV_EXT_zfhmin, true);
    has("rv64,f=off", RV_EXT_d, false);
    has("rv64,f=off", RV_EXT_zfa, false);
    has("rv64,f=off", RV_EXT_m, true);
    has("rv64,zknh=off", RV_EXT_zkn, false);
    has("rv64,zknh=off", RV_EXT_zbkb, true);
    has("rv64gc,zba=on,zba=off", RV_EXT_zba, false);
    has("rv64,zicsr=off", RV_EXT_d, false);
    has(",m=off", RV_EXT_m, false);

    refused("rv65", "unknown CPU model 'rv65': known are rv64, rv64gc, rva22u64");
    refused("rv64gc,zbz=on", "unknown extension 'zbz': known are i, m, a");
    refused("rv64gc,zba=maybe", "expected zba=on or zba=off");
    refused("rv64gc,zba", "expected zba=on or zba=off");
    refused("rv64gc,", "unknown extension ''");
    refused("rv64,i=off", "i=off");
    refused("rv64,f=off,zfh=on", "zfh=on needs f");
    refused("rv64,zbkb=off,zkn=on", "zkn=on needs zbkb");

    rv_model_list(count_line, NULL);
    tap_ok(lines > RV_EXT_COUNT + 5 && with_rva23 == 1, "the list names models and extensions");

    error[0] = 0;
    char tiny[8];
    rv_model_parse(&a, "nonsense", tiny, sizeof(tiny));
    tap_ok(strlen(tiny) < sizeof(tiny), "a short buffer is not overrun");
    system_models();
    return tap_done();
}
