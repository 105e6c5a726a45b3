/* Between the files of the PCI core. */
#ifndef TINAMOU_HW_PCI_INTERNAL_H
#define TINAMOU_HW_PCI_INTERNAL_H

#include "hw/pci/pci.h"

/* The capability's registers were written. */
void pci_msi_written(struct pci_function *function);
void pci_msix_written(struct pci_function *function);
/* All vectors masked and empty, none pending; or gone. There may be no MSI-X. */
void pci_msix_reset(struct pci_function *function);
void pci_msix_free(struct pci_function *function);

/* Of a function that is off its bus; there may be no ROM. */
void pci_rom_free(struct pci_function *function);

extern const struct state_table pci_msix_state; /* part of a function's */

#endif
