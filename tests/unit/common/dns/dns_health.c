/* Which edges are named, as time goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/dns/dns_health.h"

enum { SITES = 5, EACH = 2, EDGES = SITES * EACH };

static struct dns_site sites[SITES];
static struct dns_target edges[EDGES];
static struct dns_zone zone;
static struct dns_health *h;
static int64_t now;

static int set_up(void **state) {
    (void)state;
    static char names[EDGES][8], of[SITES][8];
    for (size_t i = 0; i < SITES; i++) {
        snprintf(of[i], sizeof(of[i]), "s%zu", i);
        sites[i] = (struct dns_site){.name = of[i], .first = (uint32_t)(i * EACH), .n_edges = EACH};
    }
    for (size_t i = 0; i < EDGES; i++) {
        snprintf(names[i], sizeof(names[i]), "e%zu", i);
        edges[i] = (struct dns_target){.name = names[i], .site = of[i / EACH]};
    }
    zone = (struct dns_zone){.sites = sites, .n_sites = SITES, .edges = edges, .n_edges = EDGES};
    const struct dns_health_config c = {.silent_ms = 3000, .load_max = 80};
    h = dns_health_new(&zone, &c);
    now = 1000000;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    dns_health_free(h);
    return 0;
}

static void hear(size_t edge, unsigned load, bool open) {
    const struct dns_report r = {.heard_ms = now, .load = load, .port_open = open};
    dns_health_report(h, edge, &r);
}

/* Time goes on, in steps of a tenth of a second; the edges from first to before end are heard each second. */
static void pass(int64_t ms, size_t first, size_t end) {
    for (int64_t until = now + ms; now < until;) {
        now += 100;
        for (size_t i = first; i < end && now % 1000 == 0; i++)
            hear(i, 10, true);
        (void)dns_health_decide(h, now);
    }
}

static void expect(size_t edge, enum dns_state wanted) {
    enum dns_state s = dns_health_state(h, edge);
    if (s != wanted) fail_msg("edge %zu is %s, not %s", edge, dns_state_word(s), dns_state_word(wanted));
}

static void an_edge_is_named_at_once_when_it_is_heard_and_not_after_three_seconds(void **state) {
    (void)state;
    assert_false(dns_health_decide(h, now));
    expect(0, DNS_EDGE_UNKNOWN);
    hear(0, 10, true);
    assert_true(dns_health_decide(h, now));
    expect(0, DNS_EDGE_GOOD);
    assert_false(dns_health_decide(h, now + 2999));
    assert_true(dns_health_decide(h, now + 3000));
    expect(0, DNS_EDGE_SILENT);
    expect(1, DNS_EDGE_UNKNOWN);
}

static void an_edge_whose_uplink_is_full_may_be_silent_for_fifteen_seconds(void **state) {
    (void)state;
    const struct dns_report r = {.heard_ms = now, .port_open = true, .uplink_full = true};
    dns_health_report(h, 0, &r);
    (void)dns_health_decide(h, now + 14999);
    expect(0, DNS_EDGE_GOOD);
    (void)dns_health_decide(h, now + 15000);
    expect(0, DNS_EDGE_SILENT);
}

static void an_edge_that_comes_back_is_watched_and_longer_each_time(void **state) {
    (void)state;
    int64_t waited[3];
    pass(1000, 0, 1);
    for (int i = 0; i < 3; i++) {
        pass(5000, 1, 1);
        expect(0, DNS_EDGE_SILENT);
        int64_t since = now;
        while (dns_health_state(h, 0) != DNS_EDGE_GOOD) {
            pass(100, 0, 1);
            assert_true(now - since < 60000);
        }
        waited[i] = now - since;
    }
    assert_in_range(waited[0], 3000, 4100);
    assert_in_range(waited[1], 6000, 7100);
    assert_in_range(waited[2], 12000, 13100);
}

static void an_edge_whose_port_is_closed_is_not_named_from_then_on(void **state) {
    (void)state;
    pass(1000, 0, 2);
    hear(0, 10, false);
    assert_true(dns_health_decide(h, now));
    expect(0, DNS_EDGE_CLOSED);
    expect(1, DNS_EDGE_GOOD);
}

static void load_takes_an_edge_out_and_brings_it_back_only_when_it_is_well_below(void **state) {
    (void)state;
    static const struct {
        unsigned load;
        enum dns_state state;
    } steps[] = {{80, DNS_EDGE_GOOD}, {81, DNS_EDGE_BUSY}, {79, DNS_EDGE_BUSY},
                 {65, DNS_EDGE_BUSY}, {64, DNS_EDGE_GOOD}, {79, DNS_EDGE_GOOD}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        hear(0, steps[i].load, true);
        (void)dns_health_decide(h, now);
        expect(0, steps[i].state);
    }
}

static void when_most_sites_fall_silent_at_once_the_last_answers_stay_for_five_minutes(void **state) {
    (void)state;
    pass(2000, 0, EDGES);
    hear(9, 10, false);
    (void)dns_health_decide(h, now);
    pass(4000, EDGES, EDGES);
    for (size_t i = 0; i < EDGES - 1; i++)
        expect(i, DNS_EDGE_KEPT);
    expect(9, DNS_EDGE_SILENT); /* was not named before */
    assert_true(dns_health_kept_since(h) > 0);
    pass(290000, EDGES, EDGES);
    expect(0, DNS_EDGE_KEPT);
    pass(15000, EDGES, EDGES);
    expect(0, DNS_EDGE_SILENT);
    assert_int_equal(dns_health_kept_since(h), 0);
    pass(600000, EDGES, EDGES);
    expect(0, DNS_EDGE_SILENT); /* and not again before most are heard */
}

static void sites_that_fall_silent_one_after_the_other_within_seconds_count_as_at_once(void **state) {
    (void)state;
    pass(2000, 0, EDGES);
    pass(3000, 2, EDGES);
    pass(2000, 4, EDGES);
    expect(0, DNS_EDGE_SILENT);
    pass(4000, 6, EDGES);
    expect(0, DNS_EDGE_KEPT); /* three of five sites: the first of them counts again */
    expect(6, DNS_EDGE_GOOD);
    pass(3000, 0, EDGES);
    for (size_t i = 0; i < EDGES; i++)
        expect(i, DNS_EDGE_GOOD); /* at once: it was not their fault */
    assert_int_equal(dns_health_kept_since(h), 0);
}

static void half_of_the_sites_or_sites_lost_over_minutes_are_their_own_fault(void **state) {
    (void)state;
    pass(2000, 0, 8); /* four sites are known */
    pass(5000, 4, 8);
    expect(0, DNS_EDGE_SILENT);
    pass(60000, 4, 8);
    pass(5000, 6, 8);
    expect(4, DNS_EDGE_SILENT); /* three of four, but not at once */
    assert_int_equal(dns_health_kept_since(h), 0);
}

static void a_closed_connection_is_no_silence(void **state) {
    (void)state;
    pass(2000, 0, EDGES);
    for (int i = 0; i < 50; i++) {
        for (size_t e = 0; e < EDGES; e++)
            hear(e, 10, false);
        pass(100, EDGES, EDGES);
    }
    expect(0, DNS_EDGE_CLOSED);
    assert_int_equal(dns_health_kept_since(h), 0);
}

static void what_was_saved_counts_for_a_while(void **state) {
    (void)state;
    dns_health_restore(h, 0, now, 2000);
    dns_health_restore(h, 1, now, 2000);
    dns_health_restore(h, 2, now, 7000); /* longer than an edge may be silent */
    expect(0, DNS_EDGE_GOOD);
    pass(1900, 1, 2);
    expect(0, DNS_EDGE_GOOD);
    pass(200, 1, 2);
    expect(0, DNS_EDGE_SILENT);
    expect(1, DNS_EDGE_GOOD);
    pass(4800, 1, 2);
    expect(2, DNS_EDGE_GOOD);
    pass(200, 1, 2);
    expect(2, DNS_EDGE_SILENT);
}

static void what_is_heard_takes_the_place_of_what_was_saved(void **state) {
    (void)state;
    dns_health_restore(h, 0, now, 7000);
    hear(0, 10, true);
    pass(2900, 1, 2);
    expect(0, DNS_EDGE_GOOD);
    pass(200, 1, 2);
    expect(0, DNS_EDGE_SILENT);
}

static void a_new_zone_takes_over_what_is_known_of_edges_by_their_names(void **state) {
    (void)state;
    pass(1000, 0, 1);
    const struct dns_health_config c = {.silent_ms = 3000, .load_max = 80};
    struct dns_health *next;
    char *name = edges[0].name;
    edges[0].name = edges[1].name; /* they changed places */
    edges[1].name = name;
    next = dns_health_new(&zone, &c);
    dns_health_take(next, h);
    dns_health_free(h);
    h = next;
    expect(0, DNS_EDGE_UNKNOWN);
    expect(1, DNS_EDGE_GOOD);
}

/* The edges of a zone of so many sites, all with one name, in one order or the other. */
enum { LARGE = 100000 };
static struct dns_health *health_of_large(bool reversed) {
    static struct dns_site large_sites[LARGE];
    static struct dns_target large_edges[LARGE];
    static char names[LARGE][12];
    for (size_t i = 0; i < LARGE; i++) {
        size_t number = reversed ? LARGE - 1 - i : i;
        snprintf(names[i], sizeof(names[i]), "s%zu", number);
        large_sites[i] = (struct dns_site){.name = names[i], .first = (uint32_t)i, .n_edges = 1};
        large_edges[i] = (struct dns_target){.name = edges[0].name, .site = names[i]};
    }
    const struct dns_zone z = {.sites = large_sites, .n_sites = LARGE, .edges = large_edges, .n_edges = LARGE};
    const struct dns_health_config c = {.silent_ms = 3000, .load_max = 80};
    return dns_health_new(&z, &c);
}

/* 10,000,000,000 comparisons would not end while anyone waits for the test. */
static void a_large_zone_in_another_order_is_taken_over_by_one_look_at_each_edge(void **state) {
    (void)state;
    dns_health_free(h);
    h = health_of_large(false);
    for (size_t i = 0; i < LARGE; i += 2)
        hear(i, 10, true);
    (void)dns_health_decide(h, now);
    struct dns_health *next = health_of_large(true);
    dns_health_take(next, h);
    dns_health_free(h);
    h = next;
    for (size_t i = 0; i < LARGE; i++)
        expect(i, (LARGE - 1 - i) % 2 == 0 ? DNS_EDGE_GOOD : DNS_EDGE_UNKNOWN);
}

static void speak(size_t edge, unsigned load, bool open) {
    const struct dns_report r = {.voice = DNS_VOICE_EDGE, .heard_ms = now, .load = load, .port_open = open};
    dns_health_report(h, edge, &r);
    (void)dns_health_decide(h, now);
}

static void what_an_edge_says_itself_counts_more_than_probes(void **state) {
    (void)state;
    pass(1000, 0, 1);
    speak(0, 95, true);
    expect(0, DNS_EDGE_BUSY);
    hear(0, 0, false); /* a probe that a firewall refuses */
    (void)dns_health_decide(h, now);
    expect(0, DNS_EDGE_BUSY);
    assert_true(dns_health_speaks(h, 0) && !dns_health_speaks(h, 1));
    pass(3000, 0, 1); /* probes alone do not keep it */
    expect(0, DNS_EDGE_SILENT);
}

static void an_edge_that_is_barred_is_not_named_until_it_is_allowed(void **state) {
    (void)state;
    pass(1000, 0, 2);
    dns_health_bar(h, 0, true);
    assert_true(dns_health_decide(h, now));
    expect(0, DNS_EDGE_BARRED);
    pass(5000, 0, 2);
    expect(0, DNS_EDGE_BARRED);
    expect(1, DNS_EDGE_GOOD);
    dns_health_bar(h, 0, false);
    pass(2000, 0, 2);
    expect(0, DNS_EDGE_SETTLING);
    pass(2000, 0, 2);
    expect(0, DNS_EDGE_GOOD);
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(an_edge_is_named_at_once_when_it_is_heard_and_not_after_three_seconds),
        EACH_ANEW(an_edge_whose_uplink_is_full_may_be_silent_for_fifteen_seconds),
        EACH_ANEW(an_edge_that_comes_back_is_watched_and_longer_each_time),
        EACH_ANEW(an_edge_whose_port_is_closed_is_not_named_from_then_on),
        EACH_ANEW(load_takes_an_edge_out_and_brings_it_back_only_when_it_is_well_below),
        EACH_ANEW(when_most_sites_fall_silent_at_once_the_last_answers_stay_for_five_minutes),
        EACH_ANEW(sites_that_fall_silent_one_after_the_other_within_seconds_count_as_at_once),
        EACH_ANEW(half_of_the_sites_or_sites_lost_over_minutes_are_their_own_fault),
        EACH_ANEW(a_closed_connection_is_no_silence),
        EACH_ANEW(what_was_saved_counts_for_a_while),
        EACH_ANEW(what_is_heard_takes_the_place_of_what_was_saved),
        EACH_ANEW(what_an_edge_says_itself_counts_more_than_probes),
        EACH_ANEW(an_edge_that_is_barred_is_not_named_until_it_is_allowed),
        EACH_ANEW(a_new_zone_takes_over_what_is_known_of_edges_by_their_names),
        EACH_ANEW(a_large_zone_in_another_order_is_taken_over_by_one_look_at_each_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
