# ACPI.

src-hw += hw/acpi/aml.c
src-hw += hw/acpi/ged.c
src-hw += hw/acpi/tables.c
