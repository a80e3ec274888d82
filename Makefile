# The two commands of the README are `make demo` and `make test`; both do their whole set-up themselves.

CARGO ?= cargo
TARGET := x86_64-unknown-linux-gnu
DEBUG := target/$(TARGET)/debug
RELEASE := target/$(TARGET)/release
export PATH := $(HOME)/.cargo/bin:$(PATH)

# Installing packages is nothing for two at a time.
.NOTPARALLEL:
.PHONY: setup setup-build build release demo demo-down test check unit lab-test drills bench

# What the build needs, and no more.
setup-build:
	@scripts/setup build

# That, the laboratory and the tests.
setup:
	@scripts/setup

build: setup-build
	$(CARGO) build --workspace

release: setup-build
	$(CARGO) build --release --workspace

# Boots the laboratory, applies, verifies, and leaves it running to play with.
demo: setup build
	@scripts/demo $(DEBUG)

demo-down:
	@$(DEBUG)/enxame-lab down

# Format, lints, documentation, unit tests, and those on three real machines. What these boot from is built beside the
# rest: it waits for packages and the disk more than for the processor.
test: setup build
	@scripts/beside "$(DEBUG)/enxame-lab image" $(MAKE) check unit
	@$(MAKE) lab-test

check: setup-build
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

unit: setup
	@scripts/need-nextest
	$(CARGO) nextest run --workspace --profile default

lab-test: setup build
	@scripts/need-nextest
	@scripts/lab-test $(DEBUG)

# Long campaigns, about six hours without KVM: 20,000 simulated applies, other releases, engines and address families, injected faults under
# applies, firewalls and shared files, then a minute of fuzzing for each parser. Prints its counts.
drills: setup build
	@scripts/need-nextest
	ENXAME_SEEDS=20000 $(CARGO) test -p enxame --bin enxame simulation::tests::whatever_a_seed -- --nocapture
	$(CARGO) nextest run --workspace --profile editions
	@scripts/drills $(DEBUG)
	@scripts/firewall-drills $(DEBUG)
	@scripts/storage-drills $(DEBUG)
	@scripts/fuzz

# Ratios measured side by side, and sizes; never a test.
bench: setup release
	@scripts/bench $(RELEASE)
