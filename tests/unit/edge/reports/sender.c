/* When an edge reports, and what it does when central does not take it. */
#include "edge/reports/sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/core/log.h"
#include "common/wire/wire.h"
#include "tests/unit/support/scripted_server.h"

static struct script_server server;
static struct loop *loop;
static struct http_client *client;
static struct uplink *uplink;
static struct report_sender *sender;
static char url[64], local[IP_TEXT_MAX];
static atomic_int refusals; /* so many reports are answered with this status */
static atomic_int status, taken;
static int filled, wanted, silences;

static bool central(struct script_server *s, int fd, const char *head) {
    (void)s;
    char text[32], body[512];
    script_header(head, "Content-Length", text, sizeof(text));
    ssize_t len = atoi(text);
    struct wire_report m;
    if (recv(fd, body, (size_t)len, MSG_WAITALL) != len || wire_report_decode(&m, body, (size_t)len) < 0) abort();
    if (strncmp(head, "POST " WIRE_REPORT_PATH " ", strlen("POST " WIRE_REPORT_PATH " ")) != 0) abort();
    if (atomic_fetch_sub(&refusals, 1) > 0) {
        script_say(fd, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", atomic_load(&status));
        return true;
    }
    atomic_fetch_add(&taken, 1);
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: " WIRE_CONTENT_TYPE
                   "\r\nContent-Length: 4\r\n\r\n\x08\x01\x10\x64"); /* every 100 ms */
    return true;
}

static bool fill(struct wire_report *m, const char *own, int64_t took_ms, void *arg) {
    (void)took_ms, (void)arg;
    snprintf(local, sizeof(local), "%s", own);
    if (silences-- > 0) {
        loop_stop(loop);
        return false;
    }
    m->has_heartbeat = true;
    if (++filled >= wanted) loop_stop(loop);
    return true;
}

static int set_up(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    script_start(&server, central, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    loop = loop_new("test");
    client = http_client_new(loop);
    uplink = uplink_new(url, NULL);
    sender = report_sender_new(
        &(struct report_sender_config){.uplink = uplink, .loop = loop, .client = client, .fill = fill});
    filled = wanted = silences = 0;
    atomic_store(&refusals, 0);
    atomic_store(&taken, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    report_sender_free(sender);
    http_client_free(client);
    uplink_free(uplink);
    loop_free(loop);
    script_stop(&server);
    return 0;
}

static void begin(void *arg) {
    (void)arg;
    report_sender_begin(sender);
}

/* Until so many reports were made. */
static struct report_sender_stats run(int reports) {
    struct report_sender_stats s;
    wanted = reports;
    loop_call(loop, begin, NULL);
    loop_run(loop);
    report_sender_stats(sender, &s);
    return s;
}

static void reports_follow_each_other_and_say_which_address_leads_to_central(void **state) {
    (void)state;
    struct report_sender_stats s = run(4);
    assert_int_equal(s.sent, 3); /* the fourth is under way */
    assert_int_equal(s.failed, 0);
    assert_string_equal(s.problem, "");
    assert_string_equal(local, "127.0.0.1");
    assert_int_equal(atomic_load(&server.connections), 1);
}

static void a_report_that_is_not_taken_is_told_and_made_anew(void **state) {
    (void)state;
    atomic_store(&status, 503);
    atomic_store(&refusals, 1);
    struct report_sender_stats s = run(2);
    assert_int_equal(s.failed, 1);
    assert_string_equal(s.problem, "central answers 503");
    assert_int_equal(s.taken_ms, 0);
    s = run(4);
    assert_true(s.sent >= 1);
    assert_string_equal(s.problem, "");
    assert_true(s.taken_ms > 0);
}

/* Stops the loop once the report under way has ended. */
static void look(void *arg) {
    struct timer *t = arg;
    struct report_sender_stats s;
    report_sender_stats(sender, &s);
    if (s.failed > 0) loop_stop(loop);
    timer_set(t, 1);
}

static void an_older_central_is_left_alone_for_a_while(void **state) {
    (void)state;
    struct timer t;
    struct report_sender_stats s;
    atomic_store(&status, 404);
    atomic_store(&refusals, 100);
    wanted = 100;
    timer_init(&t, loop, look, &t);
    timer_set(&t, 1);
    report_sender_begin(sender);
    loop_run(loop);
    report_sender_stats(sender, &s);
    assert_string_equal(s.problem, "central is of a version that takes no reports");
    assert_int_equal(filled, 1);
    timer_fini(&t);
}

static void an_edge_with_nothing_to_say_is_silent_and_asked_again(void **state) {
    (void)state;
    silences = 1;
    struct report_sender_stats s = run(1);
    assert_int_equal(s.sent + s.failed, 0);
    assert_int_equal(atomic_load(&server.requests), 0);
    s = run(1);
    assert_int_equal(filled, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reports_follow_each_other_and_say_which_address_leads_to_central, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_report_that_is_not_taken_is_told_and_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_central_is_left_alone_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_edge_with_nothing_to_say_is_silent_and_asked_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
