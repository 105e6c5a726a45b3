# User-mode emulation; the library of everything but main().
