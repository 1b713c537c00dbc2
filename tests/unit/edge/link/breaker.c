/* When an edge takes central for away, for silent and for back. */
#include "edge/link/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/core/log.h"
#include "common/wire/node_headers.h"
#include "common/wire/upstreams.h"
#include "common/wire/wire.h"
#include "tests/unit/support/scripted_server.h"

static struct script_server server;
static struct loop *loop;
static struct http_client *client;
static struct breaker *breaker;
static struct uplink *uplink;
static char url[64];
static int opened, silent, found, closed, gave_up;
static int64_t return_ms;
static atomic_int strangers; /* so many probes are answered by something that is not central */

static void on_opened(void *arg) {
    (void)arg;
    opened++;
    loop_stop(loop);
}

static void on_closed(void *arg) {
    (void)arg;
    closed++;
}

static void on_gave_up(void *arg) {
    (void)arg;
    gave_up++;
    loop_stop(loop);
}

static void on_silent(void *arg) {
    (void)arg;
    silent++;
    loop_stop(loop);
}

static void on_found(void *arg) {
    (void)arg;
    found++;
    loop_stop(loop);
}

static void stage(bool (*handle)(struct script_server *s, int fd, const char *head)) {
    script_start(&server, handle, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    loop = loop_new("test");
    client = http_client_new(loop);
    uplink = uplink_new(url, NULL);
    breaker = breaker_new(&(struct breaker_config){.uplink = uplink,
                                                   .loop = loop,
                                                   .client = client,
                                                   .return_ms = return_ms,
                                                   .opened = on_opened,
                                                   .closed = on_closed,
                                                   .gave_up = on_gave_up,
                                                   .silent = on_silent});
    breaker_on_found(breaker, on_found, NULL);
}

static int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    opened = silent = found = closed = gave_up = 0;
    return_ms = 60000;
    atomic_store(&strangers, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    breaker_free(breaker);
    http_client_free(client);
    uplink_free(uplink);
    loop_free(loop);
    script_stop(&server);
    return 0;
}

static struct central_state now(void) {
    struct central_state s;
    breaker_state(breaker, &s);
    return s;
}

static bool central(struct script_server *s, int fd, const char *head) {
    (void)s;
    static const char wanted[] = "GET " WIRE_UPSTREAMS_PATH " ";
    bool good = strncmp(head, wanted, sizeof(wanted) - 1) == 0 && atomic_fetch_sub(&strangers, 1) <= 0;
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 0\r\n\r\n",
               good ? WIRE_CONTENT_TYPE : "text/html");
    return true;
}

static void a_failure_opens_it_and_a_probe_that_central_answers_closes_it(void **state) {
    (void)state;
    stage(central);
    assert_false(breaker_is_open(breaker));
    assert_int_equal(now().since_s, 0);
    breaker_set(breaker, false, "connection refused");
    assert_true(breaker_is_open(breaker));
    assert_int_equal(opened, 0); /* who set it is not called back from within */
    loop_run(loop);
    assert_int_equal(opened, 1);
    assert_int_equal(now().failures, 1);
    assert_string_equal(now().last_error, "connection refused");
    assert_true(now().since_s > 0);
    loop_run(loop);
    assert_int_equal(found, 1);
    assert_false(breaker_is_open(breaker));
    assert_int_equal(atomic_load(&server.requests), 1);
}

static void known_facts_are_not_reported_again(void **state) {
    (void)state;
    stage(central);
    breaker_set(breaker, true, NULL);
    breaker_set(breaker, false, "first");
    breaker_set(breaker, false, "second");
    loop_run(loop);
    loop_run(loop);
    assert_int_equal(opened, 1);
    assert_int_equal(found, 1);
    assert_int_equal(now().failures, 2);
    assert_string_equal(now().last_error, "second");
}

static void another_program_on_its_port_is_not_central(void **state) {
    (void)state;
    stage(central);
    atomic_store(&strangers, 2);
    breaker_set(breaker, false, "connection refused");
    loop_run(loop);
    loop_run(loop);
    assert_int_equal(found, 1);
    assert_int_equal(atomic_load(&server.requests), 3);
    assert_int_equal(now().failures, 3);
    assert_non_null(strstr(now().last_error, "this is not central's fleet port"));
}

static void what_has_just_gone_may_return_for_a_moment(void **state) {
    (void)state;
    return_ms = 300;
    stage(central);
    atomic_store(&strangers, 1000);
    breaker_set(breaker, false, "connection refused");
    assert_true(breaker_may_return(breaker) && !now().gone);
    loop_run(loop);
    assert_true(breaker_may_return(breaker) && !now().gone);
    loop_run(loop);
    assert_int_equal(gave_up, 1);
    assert_true(breaker_is_open(breaker) && !breaker_may_return(breaker) && now().gone);
    breaker_set(breaker, false, "connection refused"); /* it is the same absence */
    assert_false(breaker_may_return(breaker));
    atomic_store(&strangers, 0);
    loop_run(loop);
    assert_int_equal(found, 1);
    assert_false(breaker_is_open(breaker) || breaker_may_return(breaker) || now().gone);
    breaker_set(breaker, false, "connection refused");
    assert_true(breaker_may_return(breaker));
}

static void a_central_that_refuses_this_edge_is_not_gone(void **state) {
    (void)state;
    return_ms = 300;
    stage(central);
    atomic_store(&strangers, 1000);
    breaker_refused(breaker, "it was removed");
    assert_true(breaker_is_open(breaker) && !breaker_may_return(breaker) && !now().gone);
    breaker_set(breaker, false, "connection refused"); /* then it goes away, and takes nothing back */
    assert_false(now().gone);
    breaker_set(breaker, true, NULL);
    breaker_set(breaker, false, "connection refused");
    while (gave_up == 0)
        loop_run(loop);
    assert_true(now().gone);
}

static bool refuses(struct script_server *s, int fd, const char *head) {
    (void)s, (void)head;
    script_say(fd, "HTTP/1.1 403 Forbidden\r\n" REFUSED_HEADER ": it was removed\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static void a_central_that_is_back_and_refuses_is_not_gone_when_patience_ends(void **state) {
    (void)state;
    return_ms = 1000; /* the first probe is over long before */
    stage(refuses);
    breaker_set(breaker, false, "connection refused");
    loop_run(loop);
    loop_run(loop);
    assert_int_equal(gave_up, 1);
    assert_non_null(strstr(now().last_error, "central refuses this edge: it was removed"));
    assert_true(breaker_is_open(breaker) && !now().gone);
}

static const char *removed(const struct http_answer *a, const char *name) {
    (void)a;
    return strcasecmp(name, REFUSED_HEADER) == 0 ? "it was removed" : NULL;
}

static void any_answer_that_refuses_counts_as_a_refusal(void **state) {
    (void)state;
    char why[CENTRAL_WHY_MAX];
    struct http_answer a = {.status = 403, .header = removed};
    stage(central);
    assert_string_equal(breaker_take(breaker, &a, why), "central refuses this edge: it was removed");
    assert_true(breaker_is_open(breaker) && !breaker_may_return(breaker) && !now().gone);
}

static bool says_nothing(struct script_server *s, int fd, const char *head) {
    (void)s, (void)head;
    script_wait_closed(fd);
    return false;
}

static void silence_begins_when_a_probe_is_not_answered_either(void **state) {
    (void)state;
    stage(says_nothing);
    breaker_await(breaker);
    loop_run(loop);
    assert_int_equal(silent, 1);
    assert_true(breaker_is_silent(breaker) && !breaker_is_open(breaker));
    assert_int_equal(atomic_load(&server.requests), 1);
    breaker_heard(breaker);
    assert_false(breaker_is_silent(breaker));
    loop_run(loop); /* the probe itself is given up */
    assert_int_equal(opened, 1);
    assert_true(breaker_is_open(breaker));
    assert_false(breaker_may_return(breaker)); /* it has been away for longer already */
    breaker_await_over(breaker, false);
}

static void a_call_to_the_fleet_port_shows_whether_it_is_central(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *type;
        bool central;
    } cases[] = {{200, WIRE_CONTENT_TYPE, true},   {200, "application/json", false}, {200, NULL, false},
                 {503, "text/plain", true},        {409, "text/plain", true},        {400, "text/plain; a=b", true},
                 {400, "application/json", false}, {404, "text/plain", false},       {401, "text/plain", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[CENTRAL_WHY_MAX] = "";
        const char *said = breaker_not_central(cases[i].status, cases[i].type, why);
        if ((said == NULL) != cases[i].central) fail_msg("%d %s: %s", cases[i].status, cases[i].type, why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failure_opens_it_and_a_probe_that_central_answers_closes_it, setup, teardown),
        cmocka_unit_test_setup_teardown(known_facts_are_not_reported_again, setup, teardown),
        cmocka_unit_test_setup_teardown(another_program_on_its_port_is_not_central, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_just_gone_may_return_for_a_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(a_central_that_refuses_this_edge_is_not_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_central_that_is_back_and_refuses_is_not_gone_when_patience_ends, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(any_answer_that_refuses_counts_as_a_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_begins_when_a_probe_is_not_answered_either, setup, teardown),
        cmocka_unit_test(a_call_to_the_fleet_port_shows_whether_it_is_central),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
