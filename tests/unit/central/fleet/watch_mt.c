/* The watch against a scripted server: changes reach who reads, from the place asked for; who does not read is told
 * `gone`, and delays nobody. */
#include "central/fleet/watch.h"

#include "central/catalog/replica_reads.h"
#include "common/http/server.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"

#define QUEUE 4096
#define CHANGES 200

/* The server's side of one watch. All but `loop` is the loop's. */
struct http_req {
    struct loop *loop;
    char target[200];
    struct http_peer peer; /* name NULL: it has shown no certificate */
    int refused;
    bool reads; /* what is sent is gone at once */
    void *user;
    void (*closed)(struct http_req *r, bool cut);
    struct buf body;
    int64_t pending;
    bool ended;
};

#include "tests/unit/support/request_stand_in.h"

struct loop *http_req_loop(const struct http_req *r) {
    return r->loop;
}
const char *http_req_target(const struct http_req *r) {
    return r->target;
}
const char *http_req_header(const struct http_req *r, const char *name) {
    (void)r, (void)name;
    return NULL;
}
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t len) {
    (void)content_type, (void)body, (void)len;
    r->refused = status;
}
void http_req_on_stop(struct http_req *r, void (*fn)(struct http_req *r)) {
    (void)r, (void)fn;
}
void http_reply_header(struct http_req *r, const char *name, const char *value) {
    (void)r, (void)name, (void)value;
}
void http_reply_begin(struct http_req *r, int status, const char *content_type, int64_t content_length) {
    (void)r, (void)content_type;
    assert_int_equal(status, 200);
    assert_int_equal(content_length, -1);
}
void http_body_mem(struct http_req *r, const void *data, size_t len) {
    assert_false(r->ended);
    assert_int_equal(buf_add(&r->body, data, len), 0);
    if (!r->reads) r->pending += (int64_t)len;
}
void http_body_ref(struct http_req *r, const void *data, size_t len, void (*release)(void *arg), void *arg) {
    http_body_mem(r, data, len);
    release(arg);
}
int64_t http_body_pending(const struct http_req *r) {
    return r->pending;
}
void http_body_on_drain(struct http_req *r, int64_t low_water, void (*fn)(struct http_req *r)) {
    (void)r, (void)low_water, (void)fn;
}
void http_body_limit_unsent(struct http_req *r, int bytes) {
    (void)r;
    (void)bytes;
}
void http_reply_end(struct http_req *r) {
    r->ended = true;
}

static char dir[64], path[96];
static struct catalog *catalog;
static struct workpool *pool;
static struct loop *loop;
static struct watches *watches;

static int begin(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/watch-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    assert_int_equal(catalog_open(&catalog, path, 2, NULL), 0);
    pool = workpool_new("work", 2);
    loop = loop_new("serve");
    loop_start(loop);
    watches = watches_new(&(struct watches_config){
        .catalog = catalog, .pool = pool, .loops = &loop, .n_loops = 1, .settings = 7, .queue = QUEUE});
    return 0;
}

static int end(void **state) {
    (void)state;
    watches_stop(watches);
    workpool_wait_idle(pool);
    loop_stop(loop);
    loop_join(loop);
    loop_run_pending(loop);
    workpool_free(pool);
    watches_free(watches);
    loop_free(loop);
    catalog_close(catalog);
    return folder_remove(dir);
}

struct call {
    void (*fn)(void *arg);
    void *arg;
    atomic_bool done;
};

static void run_call(void *arg) {
    struct call *c = arg;
    c->fn(c->arg);
    atomic_store(&c->done, true);
}

/* Runs it on the loop, and waits until it has. */
static void on_loop(void (*fn)(void *arg), void *arg) {
    struct call c = {.fn = fn, .arg = arg};
    loop_call(loop, run_call, &c);
    while (!atomic_load(&c.done))
        usleep(200);
}

static void handle(void *arg) {
    watch_handle(watches, arg);
}

static struct http_req *watch_as(const char *name, const char *from, bool reads) {
    struct http_req *r = calloc(1, sizeof(*r));
    r->loop = loop;
    r->peer.name = name;
    r->reads = reads;
    snprintf(r->target, sizeof(r->target), "/fleet/v1/watch?from=%s", from);
    buf_init(&r->body, 0);
    on_loop(handle, r);
    return r;
}

static struct http_req *watch(const char *from, bool reads) {
    return watch_as(NULL, from, reads);
}

static void close_it(void *arg) {
    struct http_req *r = arg;
    if (r->closed) r->closed(r, true);
}

static void leave(struct http_req *r) {
    on_loop(close_it, r);
    buf_fini(&r->body);
    free(r);
}

/* What one was told so far. */
struct told {
    struct http_req *r;
    bool greeted, gone_at_first, gone_at_last, ended;
    struct place first, last;
    size_t changes;
    uint32_t serial; /* of the DNS */
};

static void read_told(void *arg) {
    struct told *t = arg;
    size_t at, len;
    *t = (struct told){.r = t->r, .ended = t->r->ended};
    for (size_t used = 0; used < t->r->body.len; used += at + len) {
        struct watch_message m;
        assert_int_equal(message_next(t->r->body.data + used, t->r->body.len - used, WATCH_MESSAGE_MAX, &at, &len), 0);
        assert_int_equal(watch_message_decode(&m, t->r->body.data + used + at, len), 0);
        if (m.version) {
            t->greeted = true;
            t->gone_at_first = m.gone;
            t->first = m.place;
        }
        t->gone_at_last = m.gone;
        if (m.has_place) t->last = m.place;
        t->changes += m.n_changes;
        if (m.has_dns) t->serial = m.dns.serial;
        watch_message_fini(&m);
    }
}

static struct told told_by(struct http_req *r) {
    struct told t = {.r = r};
    on_loop(read_told, &t);
    return t;
}

static void await_greeting(struct http_req *r) {
    while (!told_by(r).greeted)
        usleep(1000);
}

static void await_place(struct http_req *r, uint64_t number) {
    while (told_by(r).last.number < number)
        usleep(1000);
}

static uint64_t learn(int first, int n) {
    struct place p;
    for (int i = first; i < first + n; i++) {
        struct digest d;
        digest_of(&d, DIGEST_SHA256, &i, sizeof(i));
        catalog_learn_blob(catalog, &d, i, true, NULL, 0);
    }
    catalog_flush(catalog);
    assert_int_equal(catalog_place(catalog, &p), 0);
    return p.number;
}

static void who_does_not_read_is_told_gone_and_delays_nobody(void **state) {
    (void)state;
    struct http_req *reader = watch("none", true), *stuck = watch("none", false);
    struct watches_stats s;
    await_greeting(reader);
    await_greeting(stuck);
    assert_true(told_by(reader).gone_at_first);
    for (int i = 0; i < CHANGES; i += 10)
        await_place(reader, learn(i, 10));
    struct told r = told_by(reader), t = told_by(stuck);
    assert_int_equal(r.changes, CHANGES);
    assert_false(r.ended);
    assert_true(t.ended && t.gone_at_last && t.changes < CHANGES);
    assert_true(stuck->body.len < QUEUE + 16384); /* a block beyond the bound, and the last message */
    watches_stats(watches, &s);
    assert_int_equal(s.cut, 1);
    assert_int_equal(s.watching, 2);
    leave(stuck);
    await_place(reader, learn(CHANGES, 10));
    leave(reader);
}

static void a_known_place_is_followed_from_there_and_another_is_not(void **state) {
    (void)state;
    struct place p;
    char from[PLACE_TEXT_MAX];
    learn(0, 50);
    assert_int_equal(catalog_place(catalog, &p), 0);
    uint64_t now = learn(50, 70);
    struct http_req *r = watch(place_text(&p, from), true);
    await_place(r, now);
    struct told t = told_by(r);
    assert_false(t.gone_at_first);
    assert_true(t.changes >= 70); /* what is published at that moment can come twice; an edge skips what it has */
    assert_int_equal(t.first.number, p.number);
    leave(r);
    p.digest.low ^= 1; /* the same number in another life of the catalogue */
    r = watch(place_text(&p, from), true);
    await_greeting(r);
    t = told_by(r);
    assert_true(t.gone_at_first);
    assert_int_equal(t.first.number, now);
    leave(r);
}

/* Each may cost half a MiB while it catches up. */
static void one_edge_watches_by_so_many_connections_only(void **state) {
    (void)state;
    enum { TRIED = 200 };
    struct http_req *all[TRIED], *other, *again;
    size_t refused = 0, first = TRIED;
    for (size_t i = 0; i < TRIED; i++) {
        all[i] = watch_as("shanghai-1", "none", true);
        refused += all[i]->refused == 503;
        if (all[i]->refused && first == TRIED) first = i;
    }
    assert_in_range(first, 60, TRIED - 1); /* those that a flapping line leaves behind fit */
    assert_int_equal(refused, TRIED - first);
    other = watch_as("suzhou-1", "none", true);
    await_greeting(other);
    leave(all[0]);
    again = watch_as("shanghai-1", "none", true);
    await_greeting(again);
    for (size_t i = 1; i < TRIED; i++)
        leave(all[i]);
    leave(other);
    leave(again);
}

static void await_end(struct http_req *r) {
    while (!told_by(r).ended)
        usleep(1000);
}

/* From where the catalogue is now. */
static struct http_req *poll_now(const char *how) {
    struct place p;
    char from[PLACE_TEXT_MAX + 20];
    assert_int_equal(catalog_place(catalog, &p), 0);
    size_t len = strlen(place_text(&p, from));
    snprintf(from + len, sizeof(from) - len, "&%s", how);
    return watch(from, true);
}

static void a_poll_ends_with_what_is_there_or_comes_next(void **state) {
    (void)state;
    learn(0, 10);
    struct http_req *r = poll_now("wait=0");
    await_end(r);
    assert_true(told_by(r).greeted && !told_by(r).gone_at_first && told_by(r).changes == 0);
    leave(r);
    r = poll_now("wait=60");
    await_greeting(r);
    uint64_t now = learn(10, 1);
    await_end(r);
    assert_int_equal(told_by(r).last.number, now);
    leave(r);
    r = poll_now("wait=1"); /* nothing comes: it ends by its time */
    await_end(r);
    assert_int_equal(told_by(r).last.number, now);
    leave(r);
    r = watch("none&wait=60", true); /* that is to be known at once */
    await_end(r);
    assert_true(told_by(r).gone_at_first);
    leave(r);
}

/* --- the DNS beside it --- */

static _Atomic uint64_t dns_now;

static uint64_t dns_version(void *arg) {
    (void)arg;
    return atomic_load(&dns_now);
}

static uint64_t dns_add(struct buf *out, void *arg) {
    uint64_t version = dns_version(arg);
    const struct watch_message m = {.has_dns = true, .dns = {.zone = 9, .serial = (uint32_t)version}};
    assert_int_equal(watch_message_add(out, &m), 0);
    return version;
}

static void tell_dns(uint64_t version) {
    atomic_store(&dns_now, version);
    watches_tell_dns(watches);
}

static void a_poll_ends_when_the_dns_has_something_new(void **state) {
    (void)state;
    watches_set_dns(watches, &(struct watch_aside){.version = dns_version, .add = dns_add});
    tell_dns(5);
    learn(0, 10);
    struct http_req *other = poll_now("wait=60"), *r = poll_now("wait=60&dns=1");
    await_greeting(other);
    await_greeting(r);
    assert_int_equal(told_by(r).serial, 5);
    tell_dns(5); /* nothing new: the greeting had it */
    assert_false(told_by(r).ended);
    tell_dns(6);
    await_end(r);
    assert_int_equal(told_by(r).serial, 6);
    leave(r);
    assert_false(told_by(other).ended); /* it has not asked for the DNS */
    leave(other);
}

static void sql(const char *text) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#define MAKE_UNREADABLE                                                                                             \
    "CREATE TRIGGER damage AFTER INSERT ON log BEGIN UPDATE log SET payload = CAST(x'ff' || payload AS BLOB) WHERE" \
    " seq = NEW.seq; END"

/* Nobody changes anything more, and yet all is told in the end. Until then the edge hears nothing, so that it does not
 * take what it has for all there is. */
static void what_could_not_be_read_is_told_when_it_can_be(void **state) {
    (void)state;
    struct http_req *r = watch("none", true);
    await_greeting(r);
    uint64_t before = told_by(r).last.number;
    char mend[100];
    sql(MAKE_UNREADABLE);
    uint64_t now = learn(0, 10);
    assert_true(now > before);
    workpool_wait_idle(pool);
    assert_int_equal(told_by(r).last.number, before);
    snprintf(mend, sizeof(mend), "DROP TRIGGER damage; UPDATE log SET payload = substr(payload, 2) WHERE seq > %llu",
             (unsigned long long)before);
    sql(mend);
    await_place(r, now);
    assert_int_equal(told_by(r).changes, 10);
    leave(r);
}

/* The log is cut before any edge was told of it: an edge is never given what comes after a gap. */
static void an_edge_that_the_log_does_not_go_back_to_is_told_gone(void **state) {
    (void)state;
    struct http_req *r = watch("none", true);
    await_greeting(r);
    sql(MAKE_UNREADABLE);
    learn(0, 10);
    sql("DROP TRIGGER damage; DELETE FROM log");
    uint64_t now = learn(10, 1);
    await_end(r);
    struct told t = told_by(r);
    assert_true(t.gone_at_last);
    assert_int_equal(t.changes, 0);
    leave(r);
    r = poll_now("wait=60"); /* those that come after go on from there */
    await_greeting(r);
    assert_int_equal(told_by(r).first.number, now);
    now = learn(11, 1);
    await_end(r);
    assert_int_equal(told_by(r).last.number, now);
    assert_int_equal(told_by(r).changes, 1);
    leave(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_does_not_read_is_told_gone_and_delays_nobody, begin, end),
        cmocka_unit_test_setup_teardown(what_could_not_be_read_is_told_when_it_can_be, begin, end),
        cmocka_unit_test_setup_teardown(an_edge_that_the_log_does_not_go_back_to_is_told_gone, begin, end),
        cmocka_unit_test_setup_teardown(a_poll_ends_with_what_is_there_or_comes_next, begin, end),
        cmocka_unit_test_setup_teardown(a_poll_ends_when_the_dns_has_something_new, begin, end),
        cmocka_unit_test_setup_teardown(a_known_place_is_followed_from_there_and_another_is_not, begin, end),
        cmocka_unit_test_setup_teardown(one_edge_watches_by_so_many_connections_only, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
