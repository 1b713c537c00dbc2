/* When an edge asks for central's zone, and what of central's answers it hands on. */
#include "edge/dns/zone_sync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>

#include "common/core/log.h"
#include "common/dns/zone_message.h"
#include "tests/unit/support/scripted_server.h"

enum { PARTS_MAX = 8 };
static const char first_zone[] = "the first zone", second_zone[] = "the second zone";
#define LEN (sizeof(first_zone) - 1)

/* --- what stands round it --- */

static struct identity identity = {.who = {.site = "here"}};
static char url[64];
static bool has_joined;

const struct identity *uplink_identity(const struct uplink *u) {
    (void)u;
    return has_joined ? &identity : NULL;
}
struct http_call *uplink_send(const struct uplink *u, struct http_client *by, const struct uplink_message *m,
                              const struct http_call_events *ev, void *arg) {
    (void)u;
    char to[128];
    assert_null(m->body);
    snprintf(to, sizeof(to), "%s%s", url, m->path);
    return http_call_start(by,
                           &(struct http_call_spec){.method = "GET",
                                                    .url = to,
                                                    .in_turn = m->in_turn,
                                                    .connect_ms = m->connect_ms,
                                                    .head_ms = m->total_ms,
                                                    .total_ms = m->total_ms,
                                                    .max_body = (int64_t)m->max_answer},
                           ev, arg);
}

/* What was handed on last. */
static struct {
    unsigned n, ends, zones;
    uint64_t version;
    char zone[64], states[8], site[64];
} handed;
static uint64_t kept;

uint64_t answering_kept_version(const struct answering *a) {
    (void)a;
    return kept;
}

void answering_told(struct answering *a, const struct answering_news *news) {
    (void)a;
    handed.n++;
    if (!news) {
        handed.ends++;
        return;
    }
    handed.version = news->dns.zone;
    snprintf(handed.site, sizeof(handed.site), "%s", news->site);
    snprintf(handed.states, sizeof(handed.states), "%.*s", (int)news->dns.n_states, (const char *)news->dns.states);
    if (!news->zone) return;
    handed.zones++;
    snprintf(handed.zone, sizeof(handed.zone), "%.*s", (int)news->zone_len, (const char *)news->zone);
}

/* --- central --- */

static struct script_server central;
static struct loop *loop;
static struct http_client *client;
static struct zone_sync *zones;
static _Atomic unsigned requests;
static char asked[100];

/* How central answers one request after the other; the last way is that of all that follow. */
enum way { WHOLE, SECOND, TORN, OTHER, NOT_THERE, EMPTY, TOO_LONG, ENDLESS };
static enum way ways[PARTS_MAX];
static unsigned n_ways;

static void say_zone(int fd, const char *zone, size_t len) {
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", LEN, (int)len, zone);
}

/* More than a zone may have, without saying so before. */
static void say_endless(int fd) {
    static char part[65536];
    script_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    for (size_t sent = 0; sent < 2 * DNS_ZONE_MESSAGE_MAX; sent += sizeof(part))
        script_send(fd, part, sizeof(part));
}

static bool answer(struct script_server *s, int fd, const char *head) {
    (void)s;
    unsigned i = atomic_fetch_add(&requests, 1);
    snprintf(asked, sizeof(asked), "%.*s", (int)strcspn(head, "\r"), head);
    switch (ways[i < n_ways ? i : n_ways - 1]) {
    case WHOLE:
        say_zone(fd, first_zone, LEN);
        return true;
    case SECOND:
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", LEN + 1, second_zone);
        return true;
    case TORN:
        say_zone(fd, first_zone, LEN - 3);
        return false;
    case OTHER:
        say_zone(fd, "THE FIRST ZONE", LEN);
        return true;
    case NOT_THERE:
        script_say(fd, "HTTP/1.1 404 No\r\nContent-Length: %zu\r\n\r\n%s", LEN, first_zone);
        return true;
    case EMPTY:
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return true;
    case TOO_LONG:
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n%s", first_zone);
        return false;
    case ENDLESS:
        say_endless(fd);
        return false;
    }
    return false;
}

static void answers(unsigned n, const enum way *list) {
    memcpy(ways, list, n * sizeof(*list));
    n_ways = n;
}
#define ANSWERS(...) answers(ARRAY_LEN(((const enum way[]){__VA_ARGS__})), (const enum way[]){__VA_ARGS__})

/* --- the test's side --- */

static int set_up(void **state) {
    (void)state;
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    memset(&handed, 0, sizeof(handed));
    has_joined = true;
    kept = 0;
    requests = 0;
    loop = loop_new("test");
    client = http_client_new(loop);
    script_start(&central, answer, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", central.port);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    zone_sync_free(zones);
    zones = NULL;
    http_client_free(client);
    script_stop(&central);
    loop_free(loop);
    return 0;
}

static void begin(void) {
    zones = zone_sync_new(NULL, loop, client, NULL);
}

static uint64_t version_of(const char *zone) {
    return dns_zone_message_version(zone, strlen(zone));
}

static void tell(const char *zone, const char *states) {
    char copy[8];
    snprintf(copy, sizeof(copy), "%s", states);
    const struct watch_dns told = {
        .zone = version_of(zone), .serial = 1, .states = (const uint8_t *)copy, .n_states = strlen(copy)};
    zone_sync_told(zones, &told);
    memset(copy, 0, sizeof(copy));
}

/* Runs the loop until something has come. */
static struct timer look;
static bool (*has_come)(void);
static bool tells_again;

static void on_look(void *arg) {
    (void)arg;
    if (has_come()) {
        loop_stop(loop);
        return;
    }
    if (tells_again) tell(first_zone, "abc");
    timer_set(&look, 2);
}

static void run_until(bool (*fn)(void)) {
    has_come = fn;
    timer_init(&look, loop, on_look, NULL);
    timer_set(&look, 0);
    loop_run(loop);
    timer_fini(&look);
}

static bool zone_is_handed(void) {
    return handed.zones > 0;
}
static bool second_is_asked(void) {
    return atomic_load(&requests) >= 2;
}

static void a_zone_that_is_told_is_asked_for_and_handed_on_with_its_states(void **state) {
    (void)state;
    begin();
    ANSWERS(WHOLE);
    tell(first_zone, "abc");
    tell(first_zone, "abd"); /* while it is asked for: the newest counts */
    assert_int_equal(handed.n, 0);
    run_until(zone_is_handed);
    assert_string_equal(asked, "GET /fleet/v1/dns HTTP/1.1");
    assert_string_equal(handed.zone, first_zone);
    assert_string_equal(handed.states, "abd");
    assert_string_equal(handed.site, "here");
    assert_true(handed.version == version_of(first_zone) && handed.n == 1);
    tell(first_zone, "xyz"); /* it is here: the states alone */
    assert_true(handed.n == 2 && handed.zones == 1);
    assert_string_equal(handed.states, "xyz");
    assert_int_equal(atomic_load(&requests), 1);
}

static void the_zone_that_is_on_the_disk_is_not_asked_for(void **state) {
    (void)state;
    kept = version_of(first_zone);
    begin();
    tell(first_zone, "abc");
    assert_true(handed.n == 1 && handed.zones == 0 && handed.version == kept);
    assert_int_equal(atomic_load(&requests), 0);
}

static void what_is_not_the_zone_that_was_told_is_not_handed_on(void **state) {
    (void)state;
    begin();
    ANSWERS(TORN, OTHER, NOT_THERE, EMPTY, TOO_LONG, ENDLESS, WHOLE);
    tells_again = true; /* central goes on telling, and each time it is asked for at once */
    run_until(zone_is_handed);
    tells_again = false;
    assert_int_equal(atomic_load(&requests), 7);
    assert_true(handed.n == 1 && handed.zones == 1);
    assert_string_equal(handed.zone, first_zone);
}

static void a_torn_answer_is_asked_for_again_though_nothing_more_is_told(void **state) {
    (void)state;
    begin();
    ANSWERS(TORN, WHOLE);
    tell(first_zone, "abc");
    run_until(zone_is_handed);
    assert_int_equal(atomic_load(&requests), 2);
    assert_string_equal(handed.zone, first_zone);
    assert_string_equal(handed.states, "abc");
}

static void a_zone_that_is_replaced_while_it_comes_is_not_handed_on(void **state) {
    (void)state;
    begin();
    ANSWERS(WHOLE, SECOND);
    tell(first_zone, "abc");
    tell(second_zone, "de");
    run_until(zone_is_handed);
    assert_true(handed.n == 1 && handed.version == version_of(second_zone));
    assert_string_equal(handed.zone, second_zone);
    assert_string_equal(handed.states, "de");
}

static void nothing_is_handed_on_after_the_stream_has_ended(void **state) {
    (void)state;
    begin();
    ANSWERS(WHOLE);
    tell(first_zone, "abc");
    zone_sync_told(zones, NULL);
    assert_true(handed.n == 1 && handed.ends == 1);
    tells_again = false;
    tell(second_zone, "de"); /* by the next stream: the first one's answer is not this */
    run_until(second_is_asked);
    assert_true(handed.n == 1 && handed.zones == 0);
}

static void an_edge_that_has_not_joined_asks_for_nothing(void **state) {
    (void)state;
    has_joined = false;
    begin();
    ANSWERS(WHOLE);
    tell(first_zone, "abc");
    has_joined = true;
    tell(first_zone, "abc");
    run_until(zone_is_handed);
    assert_int_equal(atomic_load(&requests), 1);
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(a_zone_that_is_told_is_asked_for_and_handed_on_with_its_states),
        EACH_ANEW(the_zone_that_is_on_the_disk_is_not_asked_for),
        EACH_ANEW(what_is_not_the_zone_that_was_told_is_not_handed_on),
        EACH_ANEW(a_torn_answer_is_asked_for_again_though_nothing_more_is_told),
        EACH_ANEW(a_zone_that_is_replaced_while_it_comes_is_not_handed_on),
        EACH_ANEW(nothing_is_handed_on_after_the_stream_has_ended),
        EACH_ANEW(an_edge_that_has_not_joined_asks_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
