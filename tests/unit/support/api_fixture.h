/* The admin port and the control socket over the real HTTP server, asked through the commands' own client. A test adds
 * its routes and hooks before api_fixture_start. Thread: the test's. */
#ifndef ENTREPOT_TESTS_SUPPORT_API_FIXTURE_H
#define ENTREPOT_TESTS_SUPPORT_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/admin/api.h"
#include "common/admin/control_client.h"
#include "common/core/workpool.h"
#include "tests/unit/support/folder.h"

struct api_fixture {
    char dir[64], socket[128];
    struct node_config node;
    struct loop *loop;
    struct workpool *pool;
    struct health *health;
    struct route_table routes;
    struct api_hooks hooks;
    struct api *api;
    struct http_server *tcp, *unix_server;
};
static struct api_fixture fx;

static inline struct http_server *api_fixture_serve(const char *address, void (*handler)(struct http_req *, void *)) {
    struct http_server *s;
    struct error err = {0};
    struct http_server_config cfg = {
        .address = address, .loops = &fx.loop, .n_loops = 1, .handler = handler, .arg = fx.api};
    http_limits_default(&cfg.limits);
    if (http_server_new(&s, &cfg, &err) < 0) fail_msg("%s", err.msg);
    return s;
}

/* Makes what a test's hooks and routes point to. */
static inline void api_fixture_init(void) {
    static char listen[] = ":5050", program[] = "entrepot-edge";
    memset(&fx, 0, sizeof(fx));
    snprintf(fx.dir, sizeof(fx.dir), "/tmp/entrepot-api-XXXXXX");
    assert_non_null(mkdtemp(fx.dir));
    fx.node = (struct node_config){.kind = NODE_EDGE, .program = program, .data = fx.dir, .registry_listen = listen};
    fx.loop = loop_new("serve");
    fx.pool = workpool_new("work", 2);
    fx.health = health_new();
    fx.hooks =
        (struct api_hooks){.facts = {.node = &fx.node, .health = fx.health}, .pool = fx.pool, .routes = &fx.routes};
}

static inline void api_fixture_start(void) {
    fx.api = api_new(&fx.hooks);
    snprintf(fx.socket, sizeof(fx.socket), "unix:%s/control.sock", fx.dir);
    fx.unix_server = api_fixture_serve(fx.socket, api_handle_control);
    fx.tcp = api_fixture_serve("127.0.0.1:0", api_handle_admin);
    loop_start(fx.loop);
}

static inline void api_fixture_drained(void *arg) {
    int *left = arg;
    if (--*left == 0) loop_stop(fx.loop);
}

/* Nothing is served any more; the work pool has run its last job. */
static inline void api_fixture_stop(void) {
    int left = 2;
    api_stop(fx.api);
    http_server_drain(fx.tcp, 1000, api_fixture_drained, &left);
    http_server_drain(fx.unix_server, 1000, api_fixture_drained, &left);
    loop_join(fx.loop);
    http_server_free(fx.tcp);
    http_server_free(fx.unix_server);
    workpool_free(fx.pool);
}

static inline int api_fixture_fini(void) {
    loop_free(fx.loop);
    api_free(fx.api);
    health_free(fx.health);
    return folder_remove(fx.dir);
}

/* Asks; returns the code, *status, and the body if wanted. */
static inline bool keep(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

static inline int ask(bool tcp, const char *method, const char *path, int *status, struct buf *body,
                      struct error *err) {
    struct control *c;
    struct control_answer a = {0};
    char base[64];
    snprintf(base, sizeof(base), "http://127.0.0.1:%u", http_server_port(fx.tcp));
    struct control_request rq = {.method = method, .path = path, .data = body ? keep : NULL, .arg = body};
    int r = tcp ? control_open_url(&c, &fx.node, base, false, err) : control_open(&c, &fx.node, err);
    assert_int_equal(r, 0);
    r = control_ask(c, &rq, &a, err);
    control_close(c);
    *status = a.status;
    return r;
}

static inline json_t *ask_json(const char *method, const char *path) {
    struct control *c;
    struct error err = {0};
    json_t *doc = NULL;
    assert_int_equal(control_open(&c, &fx.node, &err), 0);
    if (control_json(c, method, path, &doc, &err) < 0) fail_msg("%s: %s", path, err.msg);
    control_close(c);
    return doc;
}

#endif
