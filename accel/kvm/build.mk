# KVM as an accelerator: guests of the host's architecture.
