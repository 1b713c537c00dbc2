/* What an edge tells of its blobs, and what central makes of it: both sides by their own code, the messages encoded, and
 * answers lost at random. */
#include "edge/reports/held_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/reports/book.h"
#include "common/core/log.h"
#include "tests/unit/support/book_read.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/nth_digest.h"

#define BLOBS 6000u

static struct held_set *set;
static struct holdings *central;
static struct report_book *book;
static struct loop *loop;
static bool held[BLOBS]; /* by the edge's store */
static unsigned messages, tiles_told;
static uint32_t seed;
static char dir[64];

static uint32_t next_random(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static bool holds(const struct digest *d, void *arg) {
    (void)arg;
    for (uint32_t n = 0; n < BLOBS; n++) {
        struct digest is = nth_digest(n);
        if (digest_eq(&is, d)) return held[n];
    }
    return false;
}

/* Digests are found by their first bytes, for there are few. */
static uint32_t number_of[65536];

static bool holds_quickly(const struct digest *d, void *arg) {
    uint32_t n = number_of[d->bytes[30] << 8 | d->bytes[31]];
    struct digest is = nth_digest(n);
    return digest_eq(&is, d) ? held[n] : holds(d, arg);
}

static void each_held(struct held_set *s, void *arg) {
    (void)arg;
    for (uint32_t n = 0; n < BLOBS; n++) {
        struct digest d = nth_digest(n);
        if (held[n]) held_set_see(s, &d);
    }
}

static void change(uint32_t n, bool now) {
    struct digest d = nth_digest(n);
    held[n] = now;
    held_set_touch(set, &d);
}

static bool is_gone(const char *edge, void *arg) {
    (void)edge, (void)arg;
    return false;
}

static void central_starts(void) {
    struct error err = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s/reports.db", dir);
    central = holdings_new(100000);
    assert_int_equal(report_book_open(&book, path, central, 1000, is_gone, NULL, &err), 0);
    book_until_read(book, loop);
}

static void central_stops(void) {
    report_book_close(book);
    holdings_free(central);
}

static void edge_starts(void) {
    set = held_set_new(holds_quickly, NULL);
    held_set_look(set, each_held, NULL);
}

static int set_up(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/held-XXXXXX");
    assert_non_null(mkdtemp(dir));
    loop = loop_new("test");
    seed = 1;
    messages = tiles_told = 0;
    memset(held, 0, sizeof(held));
    for (uint32_t n = 0; n < BLOBS; n++) {
        struct digest d = nth_digest(n);
        number_of[d.bytes[30] << 8 | d.bytes[31]] = n;
    }
    central_starts();
    edge_starts();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    held_set_free(set);
    central_stops();
    loop_free(loop);
    return folder_remove(dir);
}

static void on_done(struct book_entry *e) {
    *(bool *)e->arg = true;
    loop_stop(loop);
}

/* One report; lost: central takes it, and its answer does not arrive. True: there is more. */
static bool report(bool lost) {
    struct wire_holdings told;
    struct wire_report m = {.has_heartbeat = true};
    bool done = false;
    uint8_t *bytes;
    size_t len;
    if (held_set_tell(set, &told)) m.holdings = &told;
    assert_int_equal(wire_report_encode(&m, &bytes, &len), 0);
    struct book_entry e = {.edge = "sh-1", .site = "shanghai", .loop = loop, .done = on_done, .arg = &done};
    assert_int_equal(wire_report_decode(&e.report, bytes, len), 0);
    messages++;
    tiles_told += (unsigned)told.n_whole;
    free(bytes);
    if (!report_book_take(book, &e)) loop_run(loop);
    assert_int_equal(e.code, 0);
    return held_set_answered(set, lost ? NULL : &e.answer);
}

static void until_equal(void) {
    struct held_set_stats s = {0};
    for (unsigned i = 0; i < 200 && !s.known; i++) {
        report(false);
        held_set_stats(set, &s);
    }
    assert_true(s.known);
    const struct holder *e = holdings_find(central, "sh-1");
    unsigned n = 0;
    for (uint32_t i = 0; i < BLOBS; i++) {
        const struct holder *who[2];
        const char *site = "shanghai";
        struct digest d = nth_digest(i);
        assert_int_equal(holdings_at_sites(central, &d, &site, 1, who, 2), held[i]);
        n += held[i];
    }
    assert_int_equal(e ? holdings_count(central, e) : 0, n);
}

static void changes_are_told_and_nothing_else(void **state) {
    (void)state;
    until_equal();
    for (uint32_t n = 0; n < 100; n++)
        change(n, true);
    messages = 0;
    until_equal();
    assert_int_equal(messages, 1);
    change(7, false);
    change(8, false);
    change(8, true); /* of no account */
    change(200, true);
    until_equal();
    assert_true(messages == 2 && tiles_told == 0);
}

static void an_edge_with_much_is_told_whole_and_in_several_reports(void **state) {
    (void)state;
    for (uint32_t n = 0; n < BLOBS; n++)
        held[n] = true;
    held_set_free(set);
    edge_starts();
    until_equal();
    assert_true(tiles_told >= 1000 && messages >= 4 && messages < 12);
}

static void a_restart_of_either_side_costs_a_digest(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 500; n++)
        change(n * 3, true);
    until_equal();
    central_stops();
    central_starts();
    messages = tiles_told = 0;
    until_equal();
    assert_true(messages == 1 && tiles_told == 0);
    held_set_free(set);
    edge_starts();
    until_equal();
    assert_true(messages == 2 && tiles_told == 0);
    held_set_free(set);
    held[0] = false; /* while it was away */
    held[1] = true;
    edge_starts();
    until_equal();
    assert_int_equal(tiles_told, 2);
}

static void too_many_changes_to_remember_are_found_by_looking(void **state) {
    (void)state;
    until_equal();
    for (uint32_t n = 0; n < HELD_TOUCHED_MAX + 10; n++)
        change(n % 2, true);
    held[5000] = true; /* its event came when nothing more was kept */
    for (unsigned i = 0; i < 200 && report(false); i++)
        ;
    assert_true(held_set_wants_look(set));
    assert_false(held_set_wants_look(set));
    held_set_look(set, each_held, NULL);
    until_equal();
}

/* Random changes, lost answers, and kills of either side: in the end central knows what is held. */
static void whatever_is_lost_central_is_right_in_the_end(void **state) {
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = next_random() % 300; i > 0; i--)
            change(next_random() % BLOBS, next_random() % 3 > 0);
        for (unsigned i = next_random() % 4; i > 0; i--)
            report(next_random() % 2);
        unsigned event = next_random() % 6;
        if (event == 0) {
            central_stops();
            central_starts();
        } else if (event == 1) {
            held_set_free(set);
            edge_starts();
        } else if (event == 2) {
            until_equal();
        }
    }
    until_equal();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_are_told_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_edge_with_much_is_told_whole_and_in_several_reports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_restart_of_either_side_costs_a_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_changes_to_remember_are_found_by_looking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whatever_is_lost_central_is_right_in_the_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
