/* Whom a request is passed on to: central, or the upstream itself, and what is made of their failures. */
#include "edge/pull/fallback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/core/log.h"
#include "tests/unit/support/scripted_server.h"

#define VERSION 5
#define UPSTREAM "registry.example"

static struct script_server server;
static struct loop *loop;
static struct http_client *client;
static struct settings *settings;
static struct fallback *fallback;
static char dir[256], path[300];
static bool gone, knows, hosted, refuses, cancels;
static struct fetch_end ended, says; /* how the request ended; how central ends it */
static bool is_over;
static char got[64], name[HOST_MAX + 1];
static size_t got_len;
static bool stood_in;

/* --- central --- */

struct central_fetch {
    struct fetch fetch;
    const struct fetch_events *ev;
    void *arg;
    struct timer end;
};
static unsigned central_asked;

static void central_ends(void *arg) {
    struct central_fetch *f = arg;
    if (says.code == 0) {
        f->ev->head(&f->fetch, &(struct fetch_head){.total = 4}, f->arg);
        f->ev->data(&f->fetch, "held", 4, f->arg);
    }
    f->ev->done(&f->fetch, &says, f->arg);
    timer_fini(&f->end);
    free(f);
}

static struct fetch *central_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                                   void *arg) {
    (void)rq;
    struct central_fetch *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    *f = (struct central_fetch){.fetch = {.source = s}, .ev = ev, .arg = arg};
    central_asked++;
    timer_init(&f->end, loop, central_ends, f);
    timer_set(&f->end, 0);
    return &f->fetch;
}

static void central_cancel(struct fetch *fetch) {
    struct central_fetch *f = container_of(fetch, struct central_fetch, fetch);
    timer_fini(&f->end);
    free(f);
}

static void nothing(struct fetch *fetch) {
    (void)fetch;
}

static const struct source_ops ops = {central_start, central_cancel, nothing, nothing, NULL};
static struct source central = {.ops = &ops, .name = "central"};

/* --- the upstream --- */

static bool upstream(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (refuses)
        script_say(fd, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    else
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\n%s",
                   strncmp(head, "HEAD ", 5) == 0 ? "" : "hello");
    return true;
}

/* --- who asks --- */

static void on_head(struct fetch *f, const struct fetch_head *h, void *arg) {
    (void)h, (void)arg;
    snprintf(name, sizeof(name), "%s", f->source->name);
    stood_in = f->source->stands_in;
    if (!cancels) return;
    fetch_cancel(f);
    loop_stop(loop);
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
    is_over = true;
    loop_stop(loop);
}

static struct fetch_request question(enum fetch_kind kind) {
    struct fetch_request rq = {.kind = kind, .repo = {UPSTREAM, "team/app"}, .settings = VERSION};
    rq.ref.is_digest = kind == FETCH_BLOB;
    if (rq.ref.is_digest)
        digest_of(&rq.ref.digest, DIGEST_SHA256, "hello", 5);
    else
        snprintf(rq.ref.tag, sizeof(rq.ref.tag), "v1");
    return rq;
}

static void ask(const struct fetch_request *rq) {
    static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};
    got_len = 0;
    is_over = false;
    ended = (struct fetch_end){0};
    name[0] = '\0';
    fetch_start(fallback_source(fallback), rq, &events, NULL);
    loop_run(loop);
}

static bool is_gone(void *arg) {
    (void)arg;
    return gone;
}

static bool tag_is(const struct repo_name *repo, const char *tag, void *arg) {
    assert_string_equal(repo->path, "team/app");
    assert_string_equal(tag, "v1");
    return *(bool *)arg;
}

static bool tag_is_known(const struct repo_name *repo, const char *tag, void *arg) {
    (void)arg;
    return tag_is(repo, tag, &knows);
}

static bool tag_is_hosted(const struct repo_name *repo, const char *tag, void *arg) {
    (void)arg;
    return tag_is(repo, tag, &hosted);
}

static void learn_settings(void) {
    struct wire_settings ws = {.version = VERSION, .n_upstreams = 1};
    char url[64];
    ws.upstreams = calloc(1, sizeof(*ws.upstreams));
    assert_non_null(ws.upstreams);
    snprintf(ws.upstreams[0].name, sizeof(ws.upstreams[0].name), UPSTREAM);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    ws.upstreams[0].n_endpoints = 1;
    ws.upstreams[0].endpoints = calloc(1, sizeof(char *));
    assert_non_null(ws.upstreams[0].endpoints);
    ws.upstreams[0].endpoints[0] = strdup(url);
    settings_apply(settings, &ws);
}

static int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/entrepot-fallback-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/settings.pb", dir);
    script_start(&server, upstream, NULL);
    loop = loop_new("test");
    client = http_client_new(loop);
    settings = settings_new(dir, &(struct settings_own){0});
    learn_settings();
    fallback = fallback_new(&(struct fallback_config){.central = &central,
                                                      .settings = settings,
                                                      .loop = loop,
                                                      .client = client,
                                                      .queue_of_one = 8,
                                                      .queue = 16,
                                                      .gone = is_gone,
                                                      .knows = tag_is_known,
                                                      .hosted = tag_is_hosted});
    knows = hosted = refuses = cancels = false;
    gone = true;
    central_asked = 0;
    says = (struct fetch_end){.code = ERR_UNREACHABLE, .not_sent = true, .msg = "central cannot be reached"};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fallback_free(fallback);
    http_client_free(client);
    loop_free(loop);
    settings_free(settings);
    script_stop(&server);
    unlink(path);
    rmdir(dir);
    return 0;
}

static void assert_central_decided(void) {
    assert_true(is_over && ended.code == says.code);
    assert_string_equal(ended.msg, says.msg);
    assert_int_equal(atomic_load(&server.requests), 0);
}

static void what_central_answers_is_passed_on(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    says = (struct fetch_end){0};
    ask(&rq);
    assert_central_decided();
    assert_string_equal(name, "central");
    assert_true(got_len == 4 && !stood_in);
}

static void where_central_is_gone_its_upstream_is_asked(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    struct fallback_state s;
    ask(&rq);
    assert_int_equal(ended.code, 0);
    assert_int_equal(got_len, 5);
    assert_memory_equal(got, "hello", 5);
    assert_string_equal(name, UPSTREAM);
    assert_true(stood_in);
    assert_int_equal(central_asked, 1);
    fallback_state(fallback, &s);
    assert_true(s.active && s.requests == 1 && s.failures == 0);
}

static void failures_of_a_central_that_is_there_are_final(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    gone = false; /* it may only be restarting */
    ask(&rq);
    assert_central_decided();
    gone = true;
    says = (struct fetch_end){.code = ERR_UNREACHABLE, .status = 502, .msg = "its upstream is not there"};
    ask(&rq);
    assert_central_decided();
    says = (struct fetch_end){.code = ERR_NOT_FOUND, .msg = "there is none"};
    ask(&rq);
    assert_central_decided();
}

static void what_may_be_hosted_is_never_asked_of_an_upstream(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    rq.repo.upstream[0] = '\0';
    ask(&rq);
    assert_central_decided();
    rq = question(FETCH_BLOB);
    rq.settings = VERSION - 1; /* the name meant this before */
    ask(&rq);
    assert_central_decided();
    rq = question(FETCH_MANIFEST_HEAD);
    hosted = true;
    ask(&rq);
    assert_central_decided();
}

static void an_upstream_that_is_not_known_is_not_asked(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    snprintf(rq.repo.upstream, sizeof(rq.repo.upstream), "other.example");
    ask(&rq);
    assert_central_decided();
}

static void that_a_known_tag_is_gone_only_central_can_say(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_MANIFEST_HEAD);
    refuses = true;
    ask(&rq);
    assert_int_equal(ended.code, ERR_NOT_FOUND);
    assert_non_null(strstr(ended.msg, "asked directly"));
    knows = true;
    ask(&rq);
    assert_int_equal(ended.code, ERR_UNREACHABLE);
    assert_string_equal(ended.msg, says.msg);
    assert_true(ended.not_sent);
}

static void a_request_can_be_cancelled_at_any_time(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};
    fetch_cancel(fetch_start(fallback_source(fallback), &rq, &events, NULL)); /* at central */
    cancels = true;
    ask(&rq); /* at the upstream, within a callback */
    assert_true(!is_over && got_len == 0);
    fetch_start(fallback_source(fallback), &rq, &events, NULL); /* freed with the whole */
}

static void tags_are_fresh_for_no_longer_than_central_is_back(void **state) {
    (void)state;
    struct fetch_request rq = question(FETCH_BLOB);
    fallback_over(fallback);
    assert_int_equal(fallback_fresh_ms(fallback, 3600000), 3600000); /* no upstream was asked */
    ask(&rq);
    assert_int_equal(fallback_fresh_ms(fallback, 3600000), 3600000);
    fallback_over(fallback);
    assert_true(fallback_fresh_ms(fallback, 3600000) < 60000);
    assert_int_equal(fallback_fresh_ms(fallback, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_central_answers_is_passed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(where_central_is_gone_its_upstream_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_of_a_central_that_is_there_are_final, setup, teardown),
        cmocka_unit_test_setup_teardown(what_may_be_hosted_is_never_asked_of_an_upstream, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upstream_that_is_not_known_is_not_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(that_a_known_tag_is_gone_only_central_can_say, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_can_be_cancelled_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(tags_are_fresh_for_no_longer_than_central_is_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
