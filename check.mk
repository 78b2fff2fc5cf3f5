# Tests and inspections.  `make check` is all of them that need no second
# build; each variant builds below build/.  Portable make only.

PYTHON=		/usr/bin/python3
SUBMAKE=	$(MAKE) -f $(SRCDIR)/$(WRAPPER)
TEST_OBJS=	$(DMA_OBJS) $(SMTP_OBJS) $(LOCAL_OBJS)
TEST_CFLAGS=	$(HARDEN) $(CFLAGS) -std=c11 -Wall -Wextra
TEST_LIBS=	-lcmocka $(SSLLIBS) $(IDNLIBS) $(LIBS)
SANITIZE=	-fsanitize=address,undefined -fno-sanitize-recover=all

# What people wrote; generated code may stand beside it.
OWN_SOURCES=	ls $(SRCDIR)/*.c | grep -v /aliases_

.PHONY: check unit unit-build e2e floors style man san analyze analyze-gcc \
	analyze-cppcheck analyze-tidy analyze-scan-build coverage compilers \
	musl fuzz fuzz-replay fuzz-build fuzz-afl \
	valgrind dist distcheck

check: unit floors style man e2e

# One program a module, linked with every object that has no main(); a test of
# a main takes its module in whole.
unit: unit-build
	@sh $(SRCDIR)/test/unit/run build/unit

unit-build: build/unit/libdma.a
	@for source in $(SRCDIR)/test/unit/*.c; do \
		name=$${source##*/}; program=build/unit/$${name%.c}; \
		module=$(SRCDIR)/$$name; [ -e $$module ] || module=$$source; \
		[ $$program -nt $$source ] && [ $$program -nt $$module ] && \
		    [ $$program -nt build/unit/libdma.a ] && continue; \
		echo "unit test $${name%.c}"; \
		$(CC) -iquote $(SRCDIR) $(ALL_CPPFLAGS) $(TEST_CFLAGS) \
		    $(ALL_LDFLAGS) -o $$program $$source \
		    build/unit/libdma.a $(TEST_LIBS) || exit 1; \
	done

build/unit/libdma.a: $(TEST_OBJS)
	@mkdir -p build/unit
	@rm -f $@
	ar rcs $@ $$(printf '%s\n' $(TEST_OBJS) | sort -u)

# Side by side, where pytest can: the tests wait more than they compute.
e2e: all
	DMA_BUILD="$$(pwd)" $(PYTHON) -m pytest -q \
	    $$($(PYTHON) -c 'import xdist; print("-n 4 --dist loadgroup")' \
	    2>/dev/null) $(SRCDIR)/test/e2e

floors:
	@sh $(SRCDIR)/test/floors $(SRCDIR)

style:
	clang-format --dry-run -Werror $$($(OWN_SOURCES)) \
	    $$(ls $(SRCDIR)/*.h | grep -v /aliases_parse) \
	    $(SRCDIR)/test/unit/*.c $(SRCDIR)/test/fuzz/*.[ch] \
	    $(SRCDIR)/test/replay.c $(SRCDIR)/test/valgrind.c

man:
	mandoc -Tlint $(SRCDIR)/dma.8

# ---- Other builds ----

san:
	@mkdir -p build/san
	cd build/san && $(SUBMAKE) HARDEN= HARDEN_LD= \
	    CFLAGS="-O1 -g -fno-omit-frame-pointer $(SANITIZE)" all unit

# Lines run by the unit tests and the end-to-end ones together, by file and by
# floor, and those of spool*.c that no unit test runs.  Whoever runs a program has
# to be able to write its counters, which are made before.  A program that dies
# while it writes them spoils them: of the unit tests alone and of both, the
# better figure of a file counts.
coverage:
	@mkdir -p build/coverage
	cd build/coverage && find . -name '*.gcda' -exec rm -f {} + && \
	    $(SUBMAKE) HARDEN= HARDEN_LD= CC=gcc CPPFLAGS=-DCOVERAGE \
	    CFLAGS="-O0 -g --coverage -fprofile-update=atomic" all unit-build
	@cd build/coverage && for notes in *.gcno build/unit/*.gcno; do \
		>"$${notes%.gcno}.gcda" && chmod a+rw "$${notes%.gcno}.gcda"; \
	done
	-cd build/coverage && sh $(SRCDIR)/test/unit/run build/unit >unit.log; \
	    tail -n 1 unit.log
	@cd build/coverage && { gcov build/unit/*.gcda; gcov *.gcda; } \
	    >unit.gcov 2>/dev/null; rm -f spool_errors.c.gcov; \
	    grep -H '^ *#####:' spool*.c.gcov | \
	    sed 's/\.gcov: *#####: */:/' >spool.lines; [ -s spool.lines ] || \
	    echo "spool*.c: the unit tests run every line" >spool.lines
	-DMA_BUILD="$$(pwd)/build/coverage" $(PYTHON) -m pytest -q --tb=line \
	    -p no:cacheprovider $$($(PYTHON) -c \
	    'import xdist; print("-n 4 --dist loadgroup")' 2>/dev/null) \
	    $(COVERAGE_E2E) >build/coverage/e2e.log 2>&1; \
	    tail -n 1 build/coverage/e2e.log
	@cd build/coverage && { cat unit.gcov; gcov build/unit/*.gcda; \
	    gcov *.gcda; } 2>/dev/null | \
	    awk -f $(SRCDIR)/test/coverage.awk $(SRCDIR)/test/floors -
	@cat build/coverage/spool.lines
COVERAGE_E2E=	$(SRCDIR)/test/e2e --ignore=$(SRCDIR)/test/e2e/test_installed.py \
		--ignore=$(SRCDIR)/test/e2e/test_real_servers.py \
		--ignore=$(SRCDIR)/test/e2e/test_callers.py \
		--ignore=$(SRCDIR)/test/e2e/test_documents.py \
		-k "not costs_three_calls"

# One end-to-end pass in valgrind: submission, delivery over TLS with a password,
# notices, -bs, mailboxes; and as root a ~/.forward, with MAILBOX a Maildir.
# Whatever is said in a log is an error.
VALGRIND_TESTS=	test_sample_end_to_end or test_it_is_delivered or \
		test_credentials_with_a_trusted_certificate or \
		test_starttls_is or test_success_notice or \
		test_words_of_a_failure or test_kinds_of_a_private_mailbox or \
		test_all_that_a_forward_names or test_maildir_for_all
valgrind:
	@rm -rf build/valgrind && mkdir -p build/valgrind/programs build/valgrind/bin
	cd build/valgrind && $(SUBMAKE) HARDEN= HARDEN_LD= \
	    CPPFLAGS=-DDMA_NO_SANDBOX CFLAGS="-O1 -g" all
	@cd build/valgrind && chmod 1777 . && for name in dma sendmail mailq \
	    newaliases dmactl; do ln -s ../dma programs/$$name; done
	@cd build/valgrind && cp dma-smtp dma-local dma-become bin && \
	    $(CC) -DPROGRAMS="\"$$(pwd)/programs\"" -o bin/dma \
	    $(SRCDIR)/test/valgrind.c
	DMA_PATIENCE=6 DMA_LOCAL="$$(pwd)/build/valgrind/bin/dma" \
	DMA_BUILD="$$(pwd)/build/valgrind/bin" $(PYTHON) -m pytest -q \
	    -p no:cacheprovider -k "$(VALGRIND_TESTS)" $(SRCDIR)/test/e2e
	@find build/valgrind -name 'vg.*' -size +0 -exec cat {} + >build/valgrind/said
	@echo "valgrind: $$(find build/valgrind -name 'vg.*' | wc -l) processes"; \
	    cat build/valgrind/said; [ ! -s build/valgrind/said ]

# Every program without a warning, by each compiler and make that is here.
compilers:
	@for tool in "make CC=gcc" "make CC=clang" "bmake CC=cc"; do \
		command -v $${tool%% *} >/dev/null || continue; \
		command -v $${tool##*=} >/dev/null || continue; \
		echo "== $$tool"; dir=build/compiler-$${tool##*=}; \
		rm -rf $$dir; mkdir -p $$dir; wrapper=Makefile; \
		[ $${tool%% *} = make ] || wrapper=BSDmakefile; \
		(cd $$dir && unset MAKEFLAGS MAKELEVEL MFLAGS; \
		    $$tool -f $(SRCDIR)/$$wrapper WERROR=1 all) || exit 1; \
	done

# The parts that a container on musl needs; OpenSSL is seldom there.
musl:
	@mkdir -p build/musl
	cd build/musl && $(SUBMAKE) CC=musl-gcc dma dma-become dma-local

# Each target of test/fuzz from its corpus, for so many seconds; what is found
# on the way stays in build/fuzz.  Where clang has no libFuzzer the corpus is
# replayed.  TARGETS="addr dns": these alone.
SECONDS=	60
TARGETS=
fuzz:
	@mkdir -p build/fuzz
	@echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void)' \
	    '{ return 0; }' >build/fuzz/probe.c
	@if clang -fsanitize=fuzzer -o build/fuzz/probe build/fuzz/probe.c \
	    2>/dev/null; then \
		cd build/fuzz && $(SUBMAKE) CC=clang HARDEN= HARDEN_LD= \
		    CFLAGS="-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link" \
		    FUZZER=-fsanitize=fuzzer fuzz-build && \
		sh $(SRCDIR)/test/fuzz/run . $(SRCDIR)/test/corpus \
		    $(SECONDS) $(TARGETS); \
	else \
		echo "clang has no libFuzzer here: the corpus alone"; \
		$(SUBMAKE) fuzz-replay; \
	fi

# Any compiler: each target takes each file of its corpus.
fuzz-replay:
	@mkdir -p build/fuzz-replay
	cd build/fuzz-replay && $(SUBMAKE) HARDEN= HARDEN_LD= \
	    CFLAGS="-O1 -g $(SANITIZE)" FUZZER=$(SRCDIR)/test/replay.c \
	    fuzz-build
	@sh $(SRCDIR)/test/fuzz/run build/fuzz-replay $(SRCDIR)/test/corpus \
	    0 $(TARGETS)

# AFL++ for SECONDS on each of the two whole SMTP sessions.
fuzz-afl:
	@mkdir -p build/fuzz-afl
	cd build/fuzz-afl && $(SUBMAKE) CC=afl-clang-fast HARDEN= HARDEN_LD= \
	    CFLAGS="-O2 -g" FUZZER=-fsanitize=fuzzer AFL=yes \
	    TARGETS="smtp smtpd" fuzz-build
	@for name in smtp smtpd; do \
		AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_NO_AFFINITY=1 \
		AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 \
		afl-fuzz -V $(SECONDS) -t 5000+ -i $(SRCDIR)/test/corpus/$$name \
		    -o build/fuzz-afl/afl.$$name build/fuzz-afl/fuzz.$$name \
		    >build/fuzz-afl/$$name.log 2>&1 || exit 1; \
		echo "fuzz-afl $$name: $$(sed -n 's/^execs_done *: //p' \
		    build/fuzz-afl/afl.$$name/default/fuzzer_stats) runs," \
		    "$$(find build/fuzz-afl/afl.$$name/default/crashes \
		    build/fuzz-afl/afl.$$name/default/hangs -name 'id*' | \
		    wc -l) found"; \
	done

FUZZER=		$(SRCDIR)/test/replay.c
fuzz-build: build/unit/libdma.a
	@names='$(TARGETS)'; \
	for name in $${names:-$$(cd $(SRCDIR)/test/fuzz && ls *.c)}; do \
		name=$${name%.c}; source=$(SRCDIR)/test/fuzz/$$name.c; \
		[ fuzz.$$name -nt $$source ] && \
		    [ fuzz.$$name -nt $(SRCDIR)/test/fuzz/fuzz.h ] && \
		    [ fuzz.$$name -nt build/unit/libdma.a ] && continue; \
		echo "fuzz target $$name"; \
		$(CC) -iquote $(SRCDIR) $(ALL_CPPFLAGS) $(TEST_CFLAGS) \
		    -o fuzz.$$name $$source $(FUZZER) \
		    build/unit/libdma.a $(SSLLIBS) $(IDNLIBS) $(LIBS) || exit 1; \
	done

# ---- Inspections ----

analyze: analyze-gcc analyze-cppcheck analyze-tidy analyze-scan-build

analyze-gcc:
	@for source in $$($(OWN_SOURCES)); do \
		gcc $(ALL_CPPFLAGS) $(WARNFLAGS) -O2 -fanalyzer -Werror -c \
		    -o /dev/null $$source || failed=yes; \
	done; [ -z "$$failed" ]

# __GNUC__ shows it who does not return; ctuuninitvar takes a parameter for
# output, not yet set, for a mistake.
analyze-cppcheck:
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
	    --enable=warning,performance,portability \
	    --suppress=ctuuninitvar -D__GNUC__=12 $(ALL_CPPFLAGS) \
	    $$($(OWN_SOURCES))

analyze-tidy:
	clang-tidy --quiet --warnings-as-errors='*' $$($(OWN_SOURCES)) -- \
	    $(ALL_CPPFLAGS) -std=c11

analyze-scan-build:
	@if command -v scan-build >/dev/null; then \
		rm -rf build/scan && mkdir -p build/scan && cd build/scan && \
		scan-build -o report --status-bugs $(SUBMAKE) CC=clang all; \
	else \
		echo "scan-build is not installed: skipped"; \
	fi

# ---- Releases ----

DIST=		dma-$(VERSION)

dist:
	@mkdir -p build
	git -C $(SRCDIR) archive --prefix=$(DIST)/ HEAD | gzip -9n \
	    >build/$(DIST).tar.gz

# What the tarball holds builds with each compiler and make there is, passes,
# and is clean afterwards.
distcheck: dist
	rm -rf build/distcheck && mkdir -p build/distcheck
	cd build/distcheck && gzip -dc ../$(DIST).tar.gz | tar xf -
	cd build/distcheck/$(DIST) && find . | sort >../before
	cd build/distcheck/$(DIST) && sh test/distcheck
	cd build/distcheck/$(DIST) && find . | sort | diff ../before -
