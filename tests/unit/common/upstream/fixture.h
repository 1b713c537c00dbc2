/* What the upstream's tests share: registries scripted by each test, an upstream that asks them, and one fetch with
 * what came of it. Each test file is a program of its own; names here are theirs. */
#ifndef ENTREPOT_TESTS_UPSTREAM_FIXTURE_H
#define ENTREPOT_TESTS_UPSTREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/upstream/upstream.h"
#include "common/core/clock.h"
#include "tests/unit/support/scripted_server.h"

#define BLOB "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct loop *loop;
static struct http_client *client;
static struct upstream *up;
static struct script_server registry, other;
static char *endpoints[2];
static char endpoint_text[2][64];
static struct upstream_config cfg;
static struct upstream_limits limits;
static atomic_int tokens, count, now_in, most_in;
static char seen[4096]; /* the last request's head */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- one fetch and what came of it --- */

struct probe {
    struct fetch *fetch;
    int heads, dones, parts;
    struct fetch_head head;
    struct fetch_end end;
    char body[256];
    int64_t bytes;
    bool cancel_in_head, cancel_in_data, pause_in_data;
    struct probe *cancel_other;
};
static int running;

static inline void over(struct probe *p) {
    p->fetch = NULL;
    if (--running == 0) loop_stop(loop);
}

static inline void on_head(struct fetch *f, const struct fetch_head *h, void *arg) {
    struct probe *p = arg;
    assert_ptr_equal(f, p->fetch);
    p->heads++;
    p->head = *h;
    if (!p->cancel_in_head) return;
    fetch_cancel(f);
    over(p);
}

static inline void on_data(struct fetch *f, const void *data, size_t len, void *arg) {
    struct probe *p = arg;
    p->parts++;
    for (size_t i = 0; i < len && p->bytes + (int64_t)i < (int64_t)sizeof(p->body) - 1; i++)
        p->body[p->bytes + (int64_t)i] = ((const char *)data)[i];
    p->bytes += (int64_t)len;
    if (p->pause_in_data) {
        fetch_pause(f);
        loop_stop(loop);
    }
    if (p->cancel_other && p->cancel_other->fetch) {
        fetch_cancel(p->cancel_other->fetch);
        over(p->cancel_other);
    }
    if (!p->cancel_in_data) return;
    fetch_cancel(f);
    over(p);
}

static inline void on_done(struct fetch *f, const struct fetch_end *e, void *arg) {
    struct probe *p = arg;
    p->dones++;
    p->end = *e;
    fetch_cancel(f); /* allowed, and nothing */
    over(p);
}

static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};

static inline void begin(struct probe *p, struct fetch_request rq, const char *repo) {
    snprintf(rq.repo.upstream, sizeof(rq.repo.upstream), "test.example");
    snprintf(rq.repo.path, sizeof(rq.repo.path), "%s", repo);
    if (rq.kind == FETCH_BLOB || rq.kind == FETCH_BLOB_HEAD || rq.kind == FETCH_REFERRERS)
        assert_int_equal(reference_parse(&rq.ref, BLOB, strlen(BLOB)), 0);
    else
        assert_int_equal(reference_parse(&rq.ref, "v1", 2), 0);
    snprintf(rq.request_id, sizeof(rq.request_id), "id-7");
    running++;
    p->fetch = fetch_start(upstream_source(up), &rq, &events, p);
    assert_int_equal(p->heads + p->dones, 0);
}

static inline struct probe fetch_of(struct fetch_request rq) {
    struct probe p = {0};
    begin(&p, rq, "library/app");
    loop_run(loop);
    assert_int_equal(p.dones, 1);
    return p;
}

static inline struct probe get(enum fetch_kind kind) {
    return fetch_of((struct fetch_request){.kind = kind});
}

/* --- the stage --- */

static inline void keep(const char *head) {
    pthread_mutex_lock(&seen_lock);
    snprintf(seen, sizeof(seen), "%s", head);
    pthread_mutex_unlock(&seen_lock);
}

static inline void open_up(void) {
    if (!cfg.n_endpoints) {
        snprintf(endpoint_text[0], sizeof(endpoint_text[0]), "http://127.0.0.1:%u", registry.port);
        cfg.n_endpoints = 1;
    }
    for (size_t i = 0; i < cfg.n_endpoints; i++)
        endpoints[i] = endpoint_text[i];
    cfg.endpoints = endpoints;
    up = upstream_new(&cfg, &limits, loop, client);
}

static inline void stage(bool (*handle)(struct script_server *s, int fd, const char *head)) {
    script_start(&registry, handle, NULL);
    open_up();
}

static inline int set_up(void **state) {
    (void)state;
    loop = loop_new("fetch");
    client = http_client_new(loop);
    cfg = (struct upstream_config){.name = (char *)(uintptr_t) "test.example", .max_parallel = 16};
    limits = upstream_limits_default;
    limits.back_off_ms = 10;
    limits.down_after_ms = 0;
    limits.probe_ms = 10;
    atomic_store(&tokens, 0);
    atomic_store(&count, 0);
    atomic_store(&now_in, 0);
    atomic_store(&most_in, 0);
    running = 0;
    seen[0] = '\0';
    memset(&registry, 0, sizeof(registry));
    memset(&other, 0, sizeof(other));
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    upstream_free(up);
    http_client_free(client);
    if (registry.handle) script_stop(&registry);
    if (other.handle) script_stop(&other);
    loop_free(loop);
    return 0;
}

static inline void ok(int fd, const char *headers, const char *body) {
    script_say(fd, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n%s", headers, strlen(body), body);
}

static inline void say_status(int fd, int status, const char *headers) {
    script_say(fd, "HTTP/1.1 %d Status\r\n%sContent-Length: 0\r\n\r\n", status, headers);
}

static inline void ask_to_sign_in(int fd, const char *head) {
    char scope[128];
    const char *repo = strstr(head, "/v2/") + 4;
    snprintf(scope, sizeof(scope), "repository:%.*s:pull", (int)(strstr(repo, "/manifests") - repo), repo);
    char line[512];
    snprintf(line, sizeof(line),
             "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s v\",scope=\"%s\"\r\n",
             registry.port, scope);
    say_status(fd, 401, line);
}

/* registry runs already; other is started. */
static inline void two_endpoints(bool (*handle)(struct script_server *s, int fd, const char *head)) {
    script_start(&other, handle, NULL);
    snprintf(endpoint_text[0], sizeof(endpoint_text[0]), "http://127.0.0.1:%u", registry.port);
    snprintf(endpoint_text[1], sizeof(endpoint_text[1]), "http://127.0.0.1:%u", other.port);
    cfg.n_endpoints = 2;
    open_up();
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
