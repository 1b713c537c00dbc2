/* What central hears of an edge is what the edge said; what breaks the rules is refused. */
#include "common/wire/edge_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct wire_report full(void) {
    struct wire_report m = {.has_heartbeat = true,
                            .heartbeat = {.load = 37,
                                          .uplink_full = true,
                                          .disk_held = 12LL * GiB,
                                          .disk_limit = 50LL * GiB,
                                          .disk_free = 1,
                                          .blobs = 4000,
                                          .replica_equal = true,
                                          .replica_number = 77,
                                          .replica_heard_ms = 0,
                                          .registry_port = 5000,
                                          .hits = 9,
                                          .misses = 1,
                                          .sent_bytes = 1000,
                                          .fetched_bytes = 100}};
    struct wire_heartbeat *h = &m.heartbeat;
    assert_true(ip_parse(&h->addresses[h->n_addresses++], "10.1.0.5", 8));
    assert_true(ip_parse(&h->addresses[h->n_addresses++], "2001:db8::5", 11));
    return m;
}

static void a_heartbeat_comes_back_as_it_was(void **state) {
    (void)state;
    struct wire_report sent = full(), got;
    uint8_t *bytes, *again;
    size_t len, again_len;
    assert_int_equal(wire_report_encode(&sent, &bytes, &len), 0);
    assert_int_equal(wire_report_decode(&got, bytes, len), 0);
    const struct wire_heartbeat *a = &sent.heartbeat, *b = &got.heartbeat;
    assert_true(got.has_heartbeat && b->uplink_full && b->replica_equal);
    assert_true(b->load == 37 && b->disk_held == a->disk_held && b->disk_limit == a->disk_limit && b->disk_free == 1);
    assert_true(b->blobs == 4000 && b->replica_number == 77 && b->replica_heard_ms == 0 && b->registry_port == 5000);
    assert_true(b->hits == 9 && b->misses == 1 && b->sent_bytes == 1000 && b->fetched_bytes == 100);
    assert_int_equal(b->n_addresses, 2);
    assert_memory_equal(b->addresses, a->addresses, 2 * sizeof(struct ip));
    assert_int_equal(wire_report_encode(&got, &again, &again_len), 0);
    assert_int_equal(again_len, len);
    assert_memory_equal(again, bytes, len);
    free(again);
    for (size_t cut = 0; cut < len; cut++) { /* a shorter one is another message or none, never a crash */
        int r = wire_report_decode(&got, bytes, cut);
        assert_true(r == 0 || r == ERR_INVALID || r == ERR_UNSUPPORTED);
    }
    free(bytes);
}

static void a_replica_that_never_heard_is_told_from_one_that_hears(void **state) {
    (void)state;
    struct wire_report sent = full(), got;
    uint8_t *bytes;
    size_t len;
    sent.heartbeat.replica_heard_ms = -1;
    assert_int_equal(wire_report_encode(&sent, &bytes, &len), 0);
    assert_int_equal(wire_report_decode(&got, bytes, len), 0);
    assert_int_equal(got.heartbeat.replica_heard_ms, -1);
    free(bytes);
}

static void what_breaks_the_rules_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } cases[] = {
        {"", 0, ERR_UNSUPPORTED},
        {"\x08\x09", 2, ERR_UNSUPPORTED},
        {"<html>", 6, ERR_INVALID},
        {"\x08\x01\x12\x02\x08\x65", 6, ERR_INVALID},                  /* 101 % */
        {"\x08\x01\x12\x04\x58\x80\x80\x04", 8, ERR_INVALID},          /* a port of 65536 */
        {"\x08\x01\x12\x06\x52\x04\x0a\x01\x00\x05", 10, ERR_INVALID}, /* an address of four bytes */
        {"\x08\x01\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15, ERR_INVALID}, /* 2^64 - 1 bytes held */
        {"\x08\x01", 2, 0},                                                                /* no heartbeat */
        {"\x08\x01\xfa\x7f\x01x", 6, 0},                                                   /* a newer edge's field */
    };
    struct wire_report got;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int r = wire_report_decode(&got, cases[i].bytes, cases[i].len);
        if (r != cases[i].code) fail_msg("row %zu: %d", i, r);
    }
    char *large = calloc(1, WIRE_MAX_REPORT + 1);
    assert_int_equal(wire_report_decode(&got, large, WIRE_MAX_REPORT + 1), ERR_TOO_BIG);
    free(large);
}

static void further_addresses_are_left_out(void **state) {
    (void)state;
    uint8_t bytes[4 + 18 * 6] = {0x08, 0x01, 0x12, 18 * 6};
    struct wire_report got;
    for (size_t i = 0; i < 6; i++) {
        bytes[4 + 18 * i] = 0x52;
        bytes[5 + 18 * i] = 16;
    }
    assert_int_equal(wire_report_decode(&got, bytes, sizeof(bytes)), 0);
    assert_int_equal(got.heartbeat.n_addresses, WIRE_EDGE_ADDRESSES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heartbeat_comes_back_as_it_was),
        cmocka_unit_test(a_replica_that_never_heard_is_told_from_one_that_hears),
        cmocka_unit_test(what_breaks_the_rules_is_refused),
        cmocka_unit_test(further_addresses_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
