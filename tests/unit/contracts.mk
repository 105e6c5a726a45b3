# Unit tests of the contracts of cpu/.

unit-tests += cpu-contracts
unit-libs-cpu-contracts := cpu util
