# The interpreter and the verifier, where the text form cannot reach.

unit-tests += interp ir-verify
unit-libs-interp := jit util
unit-libs-ir-verify := jit util
