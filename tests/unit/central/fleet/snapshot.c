/* The snapshot's HTTP side against a scripted server: answers that an edge does not read are bounded. */
#include "central/fleet/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/one_catalog.h"

/* The server's side of one request. */
struct http_req {
    struct http_peer peer;
    void *user;
    void (*closed)(struct http_req *r, bool cut);
    int status;
    size_t len;
    void (*release)(void *arg);
    void *release_arg;
};

#include "tests/unit/support/request_stand_in.h"

const char *http_req_target(const struct http_req *r) {
    (void)r;
    return "/fleet/v1/snapshot";
}
const char *http_req_header(const struct http_req *r, const char *name) {
    (void)r, (void)name;
    return NULL;
}
struct loop *http_req_loop(const struct http_req *r) {
    (void)r;
    return loop;
}
void http_reply_header(struct http_req *r, const char *name, const char *value) {
    (void)r;
    assert_string_equal(name, "Retry-After");
    assert_string_equal(value, "1");
}
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len) {
    (void)content_type, (void)body, (void)len;
    r->status = status;
}
void http_reply_ref(struct http_req *r, int status, const char *content_type, const void *body, size_t len,
                    void (*release)(void *arg), void *arg) {
    (void)content_type, (void)body;
    r->status = status;
    r->len = len;
    r->release = release;
    r->release_arg = arg;
}

static struct snapshots *snapshots;

static void ask(void *arg) {
    struct http_req *r = arg;
    for (size_t i = 0; i < 2; i++)
        snapshot_handle(snapshots, &r[i]);
    loop_stop(loop);
}

static void finish_jobs(void) {
    workpool_free(pool);
    pool = NULL;
    loop_free(loop); /* runs what is in the mailbox */
    loop = loop_new("serving");
}

static void close_request(struct http_req *r) {
    r->closed(r, false);
    if (r->release) r->release(r->release_arg);
}

static void who_does_not_read_gets_no_more_answers(void **state) {
    (void)state;
    struct unread *unread = unread_new(1);
    struct http_req r[2] = {0};
    struct caller edge;
    assert_int_equal(one_catalog_open(), 0);
    snapshots = snapshots_new(catalog, pool, unread);
    loop_call(loop, ask, r);
    loop_run(loop);
    finish_jobs();
    assert_int_equal(r[0].status + r[1].status, 200 + 503);
    assert_true(r[0].len + r[1].len > 0);
    caller_of_peer(&edge, CALLER_NODE, &r[0]);
    assert_false(unread_take(unread, &edge, 1));
    close_request(&r[0]);
    close_request(&r[1]);
    assert_true(unread_take(unread, &edge, 1000)); /* it has read all */
    one_catalog_stop();
    snapshots_free(snapshots);
    unread_free(unread);
    assert_int_equal(one_catalog_remove(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_does_not_read_gets_no_more_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
