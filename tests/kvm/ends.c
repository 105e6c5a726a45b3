/* The ways to end, or not to: each part is a run of its own, chosen by only=PART. */
#include "tests/kvm/irq.h"

#define GED 0xfea00000ul /* ACPI's power registers: sleep control at 0x200, reset at 0x202 */

/* The monitor's status is 2 * value + 1, of a byte, word or long. It may take a while to end. */
static void wait(void)
{
    (void)WAIT_FOR(false);
}

static void status(void)
{
    say("status\n");
    outb(0xf4, (uint8_t)argument("value", 0));
    wait();
}

static void status_word(void)
{
    say("status, word\n");
    outw(0xf4, (uint16_t)argument("value", 0));
    wait();
}

static void status_long(void)
{
    say("status, long\n");
    outl(0xf4, (uint32_t)argument("value", 0));
    wait();
}

/* Reading does not end. */
static void status_read(void)
{
    say("read: %x %x %x\n", inb(0xf4), inw(0xf4), inl(0xf4));
}

static void load_idt(uint64_t base, uint16_t limit)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {limit, base};

    __asm__ volatile("lidt %0" ::"m"(table));
}

static void triple(void)
{
    say("triple fault\n");
    load_idt(0, 0);
    __asm__ volatile("ud2");
}

static void triple_user(void)
{
    say("triple fault from ring 3\n");
    load_idt(0x100000, 0);
    RUN(leave, 0, RING3);
}

/* Tables that are not in memory at all. */
static void wild_idt(void)
{
    say("IDT nowhere\n");
    load_idt(0x7000000000, 0xfff);
    __asm__ volatile("ud2");
}

static void wild_gdt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {0xffff, 0x7000000000};

    say("GDT nowhere\n");
    __asm__ volatile("lgdt %0" ::"m"(table));
    __asm__ volatile("mov %0, %%fs" ::"r"(SEL_DATA));
}

static void wild_cr3(void)
{
    say("page tables of ones\n");
    fill((void *)0x2000000, 0xff, 4096);
    flush();
    write_cr3(0x2000000);
}

static void power_off(void)
{
    say("power off\n");
    write8(GED + 0x200, 5 << 2 | 1 << 5);
    wait();
}

static void reset(void)
{
    say("reset\n");
    write8(GED + 0x202, 0x42);
    wait();
}

/* RAM keeps what it has over a reset: the second time this is seen. For a run with reboots. */
static void reboot(void)
{
    volatile uint64_t *word = (volatile uint64_t *)0x2000000;

    if (*word != 0x1122334455667788) {
        say("first time\n");
        *word = 0x1122334455667788;
        load_idt(0, 0);
        __asm__ volatile("ud2");
    }
    say("second time\n");
    *word = 0;
}

/* What goes on forever; the run ends it by SIGTERM, and looks how long that takes. */
static void halt(void)
{
    say("halted\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static void spin(void)
{
    say("spinning\n");
    for (;;) {
        __asm__ volatile("pause");
    }
}

PIECE(spin_piece, "1: jmp 1b");

static void spin_user(void)
{
    say("spinning in ring 3\n");
    RUN(spin_piece, 0, RING3);
}

static void exits(void)
{
    say("exits without end\n");
    for (;;) {
        outb(0x80, inb(0x80));
    }
}

/* The handler returns to the instruction that faults. */
static void on_same(struct frame *frame)
{
    (void)frame;
}

static void exceptions(void)
{
    say("exceptions without end\n");
    handlers[6] = on_same;
    RUN(leave, 0, RING3);
}

static void page_faults(void)
{
    say("page faults without end\n");
    handlers[14] = on_same;
    (void)read64(0x7000000000);
}

/* Instructions out of a device, which nobody can fetch. */
static void fetch(void)
{
    say("code in a device\n");
    ((void (*)(void))0xfeb00000)();
}

static void fetch_hole(void)
{
    say("code in a hole\n");
    ((void (*)(void))0xd0000000)();
}

/* Output faster than a terminal takes it. */
static void flood(void)
{
    for (unsigned i = 0; i < 300; i++) {
        say("%d: 0123456789abcdefghijklmnopqrstuvwxyz\n", i);
    }
}

const struct part parts[] = {
    {"status", status},
    {"status-word", status_word},
    {"status-long", status_long},
    {"status-read", status_read},
    {"triple", triple},
    {"triple-user", triple_user},
    {"wild-idt", wild_idt},
    {"wild-gdt", wild_gdt},
    {"wild-cr3", wild_cr3},
    {"power-off", power_off},
    {"reset", reset},
    {"reboot", reboot},
    {"halt", halt},
    {"spin", spin},
    {"spin-user", spin_user},
    {"exits", exits},
    {"exceptions", exceptions},
    {"page-faults", page_faults},
    {"fetch", fetch},
    {"fetch-hole", fetch_hole},
    {"flood", flood},
    {NULL, NULL},
};
