/* Options that say what the machine starts from. */
#include "system/options.h"

#include "util/error.h"

#include <ctype.h>
#include <string.h>

static void set_bios(struct system_options *o, const char *name, const char *value)
{
    o->bios = value;
}

static void set_folder(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->firmware_folders, value);
}

static void set_kernel(struct system_options *o, const char *name, const char *value)
{
    o->kernel = value;
}

static void set_initrd(struct system_options *o, const char *name, const char *value)
{
    o->initrd = value;
}

static void set_append(struct system_options *o, const char *name, const char *value)
{
    o->append = value;
}

static void set_dtb(struct system_options *o, const char *name, const char *value)
{
    o->dtb = value;
}

static void set_fw_cfg(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->fw_cfg, value);
}

/* Boot order is the business of firmware that we do not have; what is said is checked all the same.
 */
static void set_boot(struct system_options *o, const char *name, const char *value)
{
    static const char *const texts[] = {"order", "once", "splash", "splash-time", "reboot-timeout"};
    struct keyval list;
    char error[256];
    bool flag;

    options_keyval(&list, name, value, "order");
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        (void)keyval_take(&list, texts[i]);
    }
    if (keyval_take_bool(&list, "menu", &flag, error, sizeof(error)) < 0 ||
        keyval_take_bool(&list, "strict", &flag, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    keyval_free(&list);
}

/* The guest's name, and the process's as others see it. */
static void set_name(struct system_options *o, const char *name, const char *value)
{
    struct keyval list;
    char error[256];
    bool threads;

    options_keyval(&list, name, value, "guest");
    (void)keyval_take(&list, "guest");
    if (keyval_get(&list, "process")) {
        o->process_name = strdup(keyval_take(&list, "process"));
    }
    if (keyval_take_bool(&list, "debug-threads", &threads, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    keyval_free(&list);
}

static void set_uuid(struct system_options *o, const char *name, const char *value)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    bool good = strlen(value) == sizeof(form) - 1;

    for (unsigned i = 0; good && form[i]; i++) {
        good = form[i] == '-' ? value[i] == '-' : isxdigit((unsigned char)value[i]) != 0;
    }
    if (!good) {
        error_fatal("%s %s: expected a UUID as %s", name, value, form);
    }
    o->uuid = value;
}

static void set_rtc(struct system_options *o, const char *name, const char *value)
{
    o->rtc = value;
}

const struct option_row options_boot_rows[] = {
    {"bios", "FILE", "firmware, or none; on riscv64 also default (OpenSBI)", set_bios},
    {"L", "FOLDER", "where firmware is looked for first; may be repeated", set_folder},
    {"kernel", "FILE", "kernel: Linux image, ELF, raw (riscv64), multiboot (x86)", set_kernel},
    {"initrd", "FILE", "initial RAM disk for the kernel", set_initrd},
    {"append", "TEXT", "the kernel's command line", set_append},
    {"dtb", "FILE", "device tree, in place of the machine's own", set_dtb},
    {"fw_cfg", "[name=]NAME,file=PATH", "a file for the firmware; or string=TEXT", set_fw_cfg},
    {"boot", "[order=]DRIVES", "taken and ignored: firmware chooses by itself", set_boot},
    {"name", "TEXT[,process=NAME]", "the machine's name, and the process's", set_name},
    {"uuid", "UUID", "the machine's UUID", set_uuid},
    {"rtc", "base=utc|localtime|DATE", "what the real-time clock shows at start", set_rtc},
    {NULL, NULL, NULL, NULL},
};
