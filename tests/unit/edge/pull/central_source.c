/* What counts as central, by an answer's status and type; and what becomes of requests that central leaves without an
 * answer. */
#include "edge/pull/central_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/core/log.h"
#include "common/wire/upstreams.h"
#include "common/wire/wire.h"
#include "tests/unit/support/scripted_server.h"

static void only_an_answer_of_the_fleet_port_counts_as_central(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *type;
        bool good;
        const char *says;
    } cases[] = {
        {200, "application/x-protobuf", true, NULL},
        {200, "Application/X-Protobuf; v=1", true, NULL},
        {200, "application/json", false, "answers 200, but no protobuf"},
        {200, "application/x-protobuf-but-not", false, "no protobuf"},
        {200, NULL, false, "no protobuf"},
        {404, "text/plain; charset=utf-8", false, "not central's fleet port"},
        {404, "application/x-protobuf", false, "not central's fleet port"},
        {404, "text/plain", false, "it does not know what edges ask"},
        {405, "text/plain", false, "it does not know what edges ask"},
        {401, "application/json", false, "it answers 401"},
        {301, "text/html", false, "not central's fleet port"},
        {400, "text/html", false, "not central's fleet port"},
        {502, "text/html", false, "not central's fleet port"},
        /* Central, but not well. */
        {400, "text/plain; charset=utf-8", false, "it answers 400"},
        {503, "text/plain", false, "it answers 503"},
        {500, NULL, false, "it answers 500"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[CENTRAL_WHY_MAX] = "";
        bool good = central_is_fleet_port(cases[i].status, cases[i].type, why);
        if (good != cases[i].good || (!good && !strstr(why, cases[i].says))) fail_msg("row %zu: %d %s", i, good, why);
    }
}

/* --- a central that goes away --- */

static struct script_server server;
static struct loop *loop;
static struct http_client *client;
static struct settings *settings;
static struct central_source *central;
static struct uplink *uplink;
static char dir[256], url[64];
static atomic_int cuts; /* so many requests find it gone before they are answered */
static atomic_int asked;
static struct fetch_end ended;
static char got[64];
static size_t got_len;

/* It closes each connection, so that the client has none to try again on by itself. */
static bool restarts(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strncmp(head, "GET " WIRE_UPSTREAMS_PATH " ", strlen("GET " WIRE_UPSTREAMS_PATH " ")) == 0) {
        script_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " WIRE_CONTENT_TYPE
                       "\r\nContent-Length: 0\r\n\r\n");
        return false;
    }
    char byte;
    bool posts = strncmp(head, "POST ", 5) == 0;
    if (posts && recv(fd, &byte, 1, 0) != 1) return false;
    atomic_fetch_add(&asked, 1);
    if (atomic_fetch_sub(&cuts, 1) > 0) return false;
    script_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: 5\r\n\r\nhello",
               posts ? WIRE_CONTENT_TYPE : "application/octet-stream");
    return false;
}

static int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/entrepot-central-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    script_start(&server, restarts, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    loop = loop_new("test");
    client = http_client_new(loop);
    settings = settings_new(dir, &(struct settings_own){0});
    uplink = uplink_new(url, NULL);
    central = central_source_new(&(struct central_source_config){.uplink = uplink,
                                                                 .settings = settings,
                                                                 .loop = loop,
                                                                 .client = client,
                                                                 .requests = 8,
                                                                 .queue_of_one = 8,
                                                                 .queue = 16});
    memset(&ended, 0, sizeof(ended));
    got_len = 0;
    atomic_store(&asked, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    central_source_free(central);
    settings_free(settings);
    http_client_free(client);
    uplink_free(uplink);
    loop_free(loop);
    script_stop(&server);
    rmdir(dir);
    return 0;
}

static void on_head(struct fetch *f, const struct fetch_head *h, void *arg) {
    (void)f, (void)arg;
    assert_int_equal(h->total, 5);
}

static void on_data(struct fetch *f, const void *data, size_t len, void *arg) {
    (void)f, (void)arg;
    assert_true(got_len + len <= sizeof(got));
    memcpy(got + got_len, data, len);
    got_len += len;
}

static void on_done(struct fetch *f, const struct fetch_end *e, void *arg) {
    (void)f, (void)arg;
    ended = *e;
    loop_stop(loop);
}

static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};

static struct fetch_request blob(void) {
    struct fetch_request rq = {.kind = FETCH_BLOB, .ref = {.is_digest = true}};
    snprintf(rq.repo.path, sizeof(rq.repo.path), "library/app");
    digest_of(&rq.ref.digest, DIGEST_SHA256, "hello", 5);
    return rq;
}

static void a_request_that_central_left_is_sent_again_when_it_is_back(void **state) {
    (void)state;
    struct fetch_request rq = blob();
    atomic_store(&cuts, 2);
    fetch_start(central_source(central), &rq, &events, NULL);
    loop_run(loop);
    assert_int_equal(ended.code, 0);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(atomic_load(&asked), 3);
}

static void a_request_that_central_always_leaves_is_given_up(void **state) {
    (void)state;
    struct fetch_request rq = blob();
    atomic_store(&cuts, 1000);
    fetch_start(central_source(central), &rq, &events, NULL);
    loop_run(loop);
    assert_true(ended.code != 0);
    assert_int_equal(atomic_load(&asked), 3);
}

static void on_answer(const struct fetch_end *e, const char *body, size_t len, void *arg) {
    (void)body, (void)len, (void)arg;
    ended = *e;
    loop_stop(loop);
}

static void a_message_waits_for_central_if_it_is_patient(void **state) {
    (void)state;
    struct central_message m = {.path = WIRE_LOOKUP_PATH, .body = "x", .len = 1, .patient = true};
    atomic_store(&cuts, 1);
    central_post(central_source_posts(central), &m, on_answer, NULL);
    loop_run(loop);
    assert_int_equal(atomic_load(&asked), 2);
    m.patient = false;
    atomic_store(&cuts, 1);
    central_post(central_source_posts(central), &m, on_answer, NULL);
    loop_run(loop);
    assert_true(ended.code != 0);
    assert_int_equal(atomic_load(&asked), 3);
}

static void what_is_kept_for_central_can_be_cancelled(void **state) {
    (void)state;
    struct fetch_request rq = blob();
    atomic_store(&cuts, 2);
    struct fetch *first = fetch_start(central_source(central), &rq, &events, NULL);
    fetch_start(central_source(central), &rq, &events, NULL);
    fetch_cancel(first);
    loop_run(loop);
    assert_int_equal(ended.code, 0);
    assert_int_equal(got_len, 5);
    struct central_message m = {.path = WIRE_LOOKUP_PATH, .body = "x", .len = 1, .patient = true};
    atomic_store(&cuts, 1000);
    central_post(central_source_posts(central), &m, on_answer, NULL); /* freed with the source */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_an_answer_of_the_fleet_port_counts_as_central),
        cmocka_unit_test_setup_teardown(a_request_that_central_left_is_sent_again_when_it_is_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_that_central_always_leaves_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_waits_for_central_if_it_is_patient, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_for_central_can_be_cancelled, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
