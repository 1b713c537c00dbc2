/* What doctor makes of what central and an edge know of the fleet. */
#include "common/cli/doctor_fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/core/clock.h"

#define NOW 1800000000LL

static struct doctor_check check;

static void expect(enum doctor_verdict verdict, const char *says) {
    assert_int_equal(check.verdict, verdict);
    if (!strstr(check.message, says)) fail_msg("\"%s\" is not in: %s", says, check.message);
}

static json_t *edge(const char *name, const char *state, int64_t seen_at) {
    return json_pack("{s:s, s:s, s:I}", "name", name, "state", state, "seen_at", (json_int_t)seen_at);
}

static void look_at_fleet(json_t *edges) {
    json_t *facts = json_pack("{s:o, s:{s:[{s:s, s:s}]}}", "edges", edges, "fleet", "addresses", "address",
                              "10.0.0.1:5001", "problem", "");
    check = (struct doctor_check){0};
    doctor_fleet(facts, &check);
    json_decref(facts);
}

static void edges_that_were_not_heard_for_a_minute_are_named(void **state) {
    (void)state;
    clock_set_fake(1000, NOW);
    look_at_fleet(json_pack("[o, o]", edge("a", "active", NOW - 1), edge("b", "active", 0)));
    expect(DOCTOR_OK, "2 edges"); /* one has only been invited in */
    look_at_fleet(json_pack("[o, o, o, o]", edge("a", "active", NOW - 60), edge("b", "active", NOW - 61),
                            edge("c", "active", NOW - 9000), edge("d", "removed", NOW - 9000)));
    expect(DOCTOR_WARN, "not heard for more than a minute: b, c");
    assert_null(strstr(check.message, ", d"));
    clock_set_fake(-1, 0);
}

static void look_at_identity(bool reachable, const char *problem) {
    json_t *status = json_pack("{s:{s:s, s:s, s:I, s:I}, s:{s:b}, s:{s:s}}", "identity", "name", "a", "site", "s",
                               "certificate_not_after", (json_int_t)(NOW + 86400), "generation", (json_int_t)1,
                               "central", "reachable", reachable, "reports", "problem", problem);
    check = (struct doctor_check){0};
    doctor_identity(status, &check);
    json_decref(status);
}

static void an_edge_tells_that_central_does_not_take_its_reports(void **state) {
    (void)state;
    clock_set_fake(1000, NOW);
    look_at_identity(true, "");
    expect(DOCTOR_OK, "a of s");
    look_at_identity(true, "central answers 503");
    expect(DOCTOR_WARN, "does not take this edge's reports: central answers 503");
    look_at_identity(false, "connection refused"); /* another check says that central is away */
    expect(DOCTOR_OK, "a of s");
    clock_set_fake(-1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_that_were_not_heard_for_a_minute_are_named),
        cmocka_unit_test(an_edge_tells_that_central_does_not_take_its_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
