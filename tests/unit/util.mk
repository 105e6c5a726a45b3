# Unit tests of util/.

unit-tests += util-bits util-arena util-lock util-log util-disas util-ending util-epoch util-idlist
unit-libs-util-bits := util
unit-libs-util-arena := util
unit-libs-util-lock := util
unit-libs-util-log := util
unit-libs-util-disas := util
unit-libs-util-ending := util
unit-libs-util-epoch := util
unit-libs-util-idlist := util
