unit-tests += user_regions user_mm
unit-libs-user_regions := linux-user util
unit-libs-user_mm := linux-user mem util
