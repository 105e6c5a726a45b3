/*
 * The tables of the MultiProcessor Specification 1.4: processors and interrupts, for kernels that
 * are started without firmware and do not use ACPI. Those that do look for them too, in all of
 * low memory's last kilobyte and of firmware's 64, 16 bytes after 16 bytes; so they are there in
 * any case.
 */
#ifndef TINAMOU_HW_MACHINE_X86_MP_H
#define TINAMOU_HW_MACHINE_X86_MP_H

#include "hw/machine/x86-boot.h"

struct x86_mp {
    const char *oem_id; /* up to 8 characters */
    bool pic;           /* there are 8259s */
    bool timer;         /* interrupt 0 is on pin 2 */
    unsigned ioapics;   /* the second one at X86_IOAPIC2_BASE */
};

/* Puts them into memory. 0, or -errno with a line in error[]. */
int x86_mp_add(struct x86_boot *boot, const struct x86_mp *what, char *error, size_t error_size);

#endif
