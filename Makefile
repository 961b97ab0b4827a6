# Short names for common commands. `make check` is the quick part of .ci/run.

.PHONY: run test race lint cover fuzz bench check

run:
	go run ./example

test:
	go test work

# SQLite and its C library run without the race detector, see .ci/run.
race:
	go test -race $(foreach p,sqlite/lib libc memory,-gcflags=modernc.org/$p=-race=false) work

lint:
	for module in $$(go list -f '{{.Dir}}' -m); do (cd $$module && golangci-lint run ./...) || exit 1; done

# Statement coverage of the packages that keep the events.
cover:
	go test -coverpkg=.,./memstore,./sqlitestore,./storetest -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -n 1

# One target for a while: make fuzz PACKAGE=./sqlitestore TARGET=FuzzOperations TIME=10m
PACKAGE ?= .
TARGET ?= FuzzBody
TIME ?= 1m
fuzz:
	go test -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(TIME) -fuzzminimizetime 10x $(PACKAGE)

# The measurements behind the figures in the documents; writes bench/chart.svg.
bench:
	go run ./bench -chart bench/chart.svg

check: lint test race
