/* The lookup's HTTP side against a scripted server: what is answered, and that a cut connection leaves nothing behind.
 */
#include "central/fleet/lookup.h"

#include "common/http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/one_catalog.h"

/* The server's side of one request. */
struct http_req {
    enum http_method method;
    const char *type;
    struct http_peer peer;
    void *user;
    void (*closed)(struct http_req *r, bool cut);
    void (*body)(struct http_req *r, const char *body, size_t len);
    size_t limit;
    int status;
    char answer[600];
    char headers[200];
};

#include "tests/unit/support/request_stand_in.h"

enum http_method http_req_method(const struct http_req *r) {
    return r->method;
}
const char *http_req_header(const struct http_req *r, const char *name) {
    return strcmp(name, "Content-Type") == 0 ? r->type : NULL;
}
const char *http_req_id(const struct http_req *r) {
    (void)r;
    return "id";
}
void http_req_collect_body(struct http_req *r, size_t limit,
                           void (*fn)(struct http_req *r, const char *body, size_t len)) {
    r->body = fn;
    r->limit = limit;
}
void http_reply_header(struct http_req *r, const char *name, const char *value) {
    snprintf(r->headers, sizeof(r->headers), "%s: %s", name, value);
}
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len) {
    assert_int_equal(r->status, 0);
    assert_non_null(content_type);
    r->status = status;
    memcpy(r->answer, body, len < sizeof(r->answer) ? len : sizeof(r->answer) - 1);
}

static struct lookup *lookup;

static int set_up(void **state) {
    (void)state;
    if (one_catalog_open() < 0) return -1;
    lookup = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    one_catalog_stop();
    lookup_free(lookup);
    return one_catalog_remove();
}

/* What happens to a request, on the loop: body NULL means it never comes. */
struct script {
    struct http_req r;
    const char *body;
    size_t len;
    bool cut_while_running;
};

static void play(void *arg) {
    struct script *s = arg;
    lookup_handle(lookup, &s->r);
    if (s->r.body && s->body) s->r.body(&s->r, s->body, s->len);
    if (s->cut_while_running) s->r.closed(&s->r, true);
    loop_stop(loop);
}

static void finish_jobs(void) {
    workpool_free(pool); /* finishes what was submitted; its answer is in the loop's mailbox */
    pool = NULL;
    loop_free(loop); /* runs what is in the mailbox */
    loop = loop_new("serving");
}

static void run(struct script *s) {
    loop_call(loop, play, s);
    loop_run(loop);
    finish_jobs();
    if (s->r.closed && !s->cut_while_running) s->r.closed(&s->r, false);
}

static void a_lookup_is_answered(void **state) {
    (void)state;
    struct script s = {.r = {.method = HTTP_POST, .type = WIRE_CONTENT_TYPE}, .body = "\x08\x01", .len = 2};
    run(&s);
    assert_int_equal(s.r.status, 200);
    assert_int_equal(s.r.limit, WIRE_MAX_REQUEST);
}

static void a_bad_body_is_a_400_that_says_why(void **state) {
    (void)state;
    struct script s = {.r = {.method = HTTP_POST, .type = "Application/X-Protobuf; v=1"}, .body = "junk", .len = 4};
    run(&s);
    assert_int_equal(s.r.status, 400);
    assert_non_null(strstr(s.r.answer, "lookup request"));
}

static void another_type_is_refused(void **state) {
    (void)state;
    struct script json = {.r = {.method = HTTP_POST, .type = "application/json"}};
    run(&json);
    assert_int_equal(json.r.status, 415);
    struct script none = {.r = {.method = HTTP_POST}};
    play(&none);
    assert_int_equal(none.r.status, 415);
}

static void a_connection_cut_while_it_runs_leaves_nothing_behind(void **state) {
    (void)state;
    struct script s = {
        .r = {.method = HTTP_POST, .type = WIRE_CONTENT_TYPE}, .body = "\x08\x01", .len = 2, .cut_while_running = true};
    run(&s);
    assert_int_equal(s.r.status, 0);
}

static void a_connection_cut_before_the_body_leaves_nothing_behind(void **state) {
    (void)state;
    struct script s = {.r = {.method = HTTP_POST, .type = WIRE_CONTENT_TYPE}, .cut_while_running = true};
    run(&s);
    assert_int_equal(s.r.status, 0);
}

static void play_two(void *arg) {
    struct script *s = arg;
    play(&s[0]);
    play(&s[1]);
}

/* Both stay with the server until they are read. */
static void who_does_not_read_gets_no_more_answers(void **state) {
    (void)state;
    struct unread *unread = unread_new(1);
    struct caller edge;
    lookup_free(lookup);
    lookup = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool, .unread = unread});
    struct script s[2];
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        s[i] = (struct script){.r = {.method = HTTP_POST, .type = WIRE_CONTENT_TYPE}, .body = "\x08\x01", .len = 2};
    loop_call(loop, play_two, s);
    loop_run(loop);
    finish_jobs();
    assert_int_equal(s[0].r.status + s[1].r.status, 200 + 503);
    const struct script *refused = &s[s[0].r.status == 200];
    assert_non_null(strstr(refused->r.answer, "too many answers to read"));
    assert_string_equal(refused->r.headers, "Retry-After: 1");
    caller_of_node(&edge, &s[0].r);
    assert_false(unread_take(unread, &edge, 1));
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        s[i].r.closed(&s[i].r, false);
    assert_true(unread_take(unread, &edge, 1000)); /* it has read all */
    assert_false(unread_take(unread, &edge, 1));
    unread_free(unread);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_lookup_is_answered),
        TEST(a_bad_body_is_a_400_that_says_why),
        TEST(another_type_is_refused),
        TEST(a_connection_cut_while_it_runs_leaves_nothing_behind),
        TEST(a_connection_cut_before_the_body_leaves_nothing_behind),
        TEST(who_does_not_read_gets_no_more_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
