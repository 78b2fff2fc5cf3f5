/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * select.c - which messages a selection means.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../select.h"
#include "../../util.h"

#define ID      "00000V80123456789ABC"
#define NOW     1700000000
#define ARRIVAL (NOW - 3600)

static struct recipient recipients[3];
static struct envelope message = {.id = ID,
    .arrival = ARRIVAL,
    .recipients = recipients,
    .nrecipients = ARRAY_LEN(recipients)};

static void
set(struct addr *a, const char *text)
{
	const char *why;

	assert_int_equal(addr_parse(a, text, true, &why), 0);
}

static int
setup(void **state)
{
	(void)state;
	set(&message.sender, "Ann@S.example");
	set(&recipients[0].addr, "bob@x.example");
	set(&recipients[1].addr, "root");
	set(&recipients[2].addr, "done@gone.example");
	recipients[0].status = STATUS_TODO;
	recipients[1].status = STATUS_UNCERTAIN;
	recipients[2].status = STATUS_SENT;
	return 0;
}

/* "Rpart", "r=whole", "!Spart" ...: the letter is the kind. */
static void
add(struct selection *s, const char *text)
{
	static const char kinds[] = "IRS";
	bool negated = *text == '!';
	const char *kind = strchr(kinds, *(text += negated)), *why;
	bool whole = text[1] == '=';

	assert_non_null(kind);
	assert_int_equal(select_add(s, (enum select_what)(kind - kinds),
			     whole ? SELECT_WHOLE : SELECT_PART, negated,
			     text + (whole ? 2 : 1), &why),
	    0);
}

static void
matches(void **state)
{
	static const struct {
		const char *conditions[3];
		bool meant;
	} cases[] = {
	    {{NULL}, true},
	    {{"I9ABC"}, true},
	    {{"I9abc"}, true},
	    {{"IZ"}, false},
	    {{"!I9ABC"}, false},
	    {{"!IZ"}, true},
	    {{"I=" ID}, true},
	    {{"I=00000V8"}, false},
	    {{"RX.EXAMPLE"}, true},
	    {{"Rroo"}, true},
	    {{"Rgone"}, false},
	    {{"!Rgone"}, true},
	    {{"!Rroot"}, false},
	    {{"R=bob@X.example"}, true},
	    {{"R=BOB@x.example"}, false},
	    {{"R=root"}, true},
	    {{"R=roo"}, false},
	    {{"R=@X.Example"}, true},
	    {{"R=@example"}, false},
	    {{"R=@gone.example"}, false},
	    {{"Sann@"}, true},
	    {{"S=Ann@s.example"}, true},
	    {{"S=@s.example"}, true},
	    {{"S=<>"}, false},
	    {{"S="}, false},
	    /* One of a kind is enough; kinds combine with and. */
	    {{"Rnobody", "Rbob"}, true},
	    {{"Rbob", "Sann"}, true},
	    {{"Rbob", "Snobody"}, false},
	    {{"Rbob", "!Rroot"}, false},
	    {{"IZ", "Rbob"}, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct selection s = {0};

		for (size_t n = 0; n < 3 && cases[i].conditions[n]; n++)
			add(&s, cases[i].conditions[n]);
		if (select_matches(&s, &message, NOW) != cases[i].meant)
			fail_msg("%s", cases[i].conditions[0]);
		select_free(&s);
	}
}

static void
null_sender(void **state)
{
	struct selection s = {0};

	(void)state;
	set(&message.sender, "<>");
	add(&s, "S=<>");
	assert_true(select_matches(&s, &message, NOW));
	select_free(&s);
	add(&s, "S=@s.example");
	assert_false(select_matches(&s, &message, NOW));
	select_free(&s);
}

static void
age(void **state)
{
	struct selection s = {.older = 3600};

	(void)state;
	assert_true(select_matches(&s, &message, NOW));
	assert_false(select_matches(&s, &message, NOW - 1));
	/* A clock that was set back. */
	s.older = 0;
	assert_true(select_matches(&s, &message, ARRIVAL - 5));
}

static void
refused(void **state)
{
	static const struct {
		enum select_what what;
		enum select_how how;
		const char *text;
	} cases[] = {
	    {SELECT_ID, SELECT_PART, ""},
	    {SELECT_RECIPIENT, SELECT_PART, ""},
	    {SELECT_SENDER, SELECT_PART, ""},
	    {SELECT_RECIPIENT, SELECT_WHOLE, ""},
	    {SELECT_RECIPIENT, SELECT_WHOLE, "<>"},
	    {SELECT_RECIPIENT, SELECT_WHOLE, "@"},
	    {SELECT_RECIPIENT, SELECT_WHOLE, "@x@y"},
	    {SELECT_SENDER, SELECT_WHOLE, "a@b@c"},
	    {SELECT_SENDER, SELECT_WHOLE, "a\nb@c"},
	};
	struct selection s = {0};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		why = NULL;
		assert_int_equal(select_add(&s, cases[i].what, cases[i].how,
				     false, cases[i].text, &why),
		    -1);
		assert_non_null(why);
	}
	assert_int_equal(s.count, 0);
}

/* What is asked before a file is opened. */
static void
ids_alone(void **state)
{
	struct selection s = {0};

	(void)state;
	assert_true(select_id(&s, ID));
	add(&s, "Rnobody");
	assert_true(select_id(&s, ID));
	add(&s, "I=" ID);
	assert_true(select_id(&s, ID));
	assert_false(select_id(&s, ID "x0"));
	select_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(matches, setup),
	    cmocka_unit_test_setup(null_sender, setup),
	    cmocka_unit_test_setup(age, setup),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(ids_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
