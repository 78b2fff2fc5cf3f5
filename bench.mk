# How fast is it here?  Portable make only.

BENCH_TOOLS=	sink submit store send

.PHONY: bench

bench: all
	@mkdir -p build/bench
	@for tool in $(BENCH_TOOLS); do \
		source=$(SRCDIR)/test/bench/$$tool.c; \
		program=build/bench/$$tool; \
		[ $$program -nt $$source ] && continue; \
		$(CC) -D_GNU_SOURCE $(TEST_CFLAGS) $(ALL_LDFLAGS) \
		    -o $$program $$source $(SSLLIBS) || exit 1; \
	done
	@$(PYTHON) -B $(SRCDIR)/test/bench/run "$$(pwd)" "$$(pwd)/build/bench" | \
	    tee build/bench/RESULTS
