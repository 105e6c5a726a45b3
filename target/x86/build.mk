# x86 vCPUs: registers, models, page walk.
