# Unit tests of util/.

unit-tests += util_bits util_arena util_lock util_log util_disas
unit-libs-util_bits := util
unit-libs-util_arena := util
unit-libs-util_lock := util
unit-libs-util_log := util
unit-libs-util_disas := util
