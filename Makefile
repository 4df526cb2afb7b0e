# What there is to do: make build, run, test, bench, drill, calibrate, fuzz, soak, bench-trace, bench-index, bench-import. Needs Go; a C compiler adds SQL.

TAGS := $(shell command -v cc >/dev/null && echo -tags duckdb)
FUZZTIME ?= 20s
ROUNDS ?= 20
SEEDS ?= 1-12

.PHONY: build run test bench drill calibrate fuzz soak bench-trace bench-index bench-import

# The program, as bin/moat.
build:
	go build $(TAGS) -o bin/moat ./cmd/moat

# The demo: thieves in a small ecosystem, and what becomes of them.
run:
	go run ./cmd/moat demo

# Everything that must hold.
test:
	go vet ./...
	go test ./...
	$(if $(TAGS),go test $(TAGS) ./store/query ./store/lake)

# How fast it is on this machine.
bench:
	go run ./cmd/moat bench

# What detection finds in simulated ecosystems, and whom it suspects wrongly; drill.html shows it.
drill:
	go run ./cmd/moat drill --seeds $(SEEDS) --report drill.html

# What findings are worth, measured again; written if it is better on seeds that it has not seen.
calibrate:
	go run ./cmd/moat drill calibrate --seeds $(SEEDS) --folds 4 --out discover/detectors/calibration.json

# A trace of 1,000 orders among ROWS touches, all in memory and with nothing of them in memory; they are kept in bin/trace-rows: an
# index of 100 M takes 4 GB and minutes.
ROWS ?= 100000000
bench-trace:
	TRACE_ROWS=$(ROWS) TRACE_DIR=$(CURDIR)/bin/trace-rows go test ./locate/trace -run '^$$' -bench Trace -benchtime 10x -timeout 2h

# What writing the index costs, decoding and merges included: CPU and bytes an event.
bench-index:
	go test ./locate/index -run '^$$' -bench Append -benchtime 15000x

# Complaints of a table of LINES lines, duplicates and other partners' among them: how many were counted as what, time and memory.
LINES ?= 1000000
bench-import:
	MOAT_IMPORT_LINES=$(LINES) go test ./cmd/moat -run TestImport -v -timeout 1h

# Every fuzz test for FUZZTIME each.
fuzz:
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

# Kills, crashes and full disks, ROUNDS times over.
soak:
	go test -count=$(ROUNDS) -timeout 4h -run 'Kill|Crash|Torn|Full|Restart|Damage' ./river ./store/... ./serve/...
