# Unit tests of util/.

unit-tests += util-bits util-arena util-lock util-log util-disas
unit-libs-util-bits := util
unit-libs-util-arena := util
unit-libs-util-lock := util
unit-libs-util-log := util
unit-libs-util-disas := util
