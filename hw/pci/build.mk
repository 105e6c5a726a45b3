# PCI.

src-hw += hw/pci/bus.c
src-hw += hw/pci/gpex.c
src-hw += hw/pci/msi.c
src-hw += hw/pci/pci.c
src-hw += hw/pci/root-port.c
src-hw += hw/pci/rom.c
