/* Sends a request, and collects its answer. Thread: the simulator's loop. */
#include "tests/sim/post.h"

#include "common/core/clock.h"
#include "common/wire/wire.h"

#include <stdio.h>

#define TOTAL_MS 60000

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    ((struct post *)arg)->status = a->status;
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct post *p = arg;
    if (buf_add(&p->answer, data, len) < 0) p->status = 0;
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct post *p = arg;
    p->call = NULL;
    if (p->done) p->done(p, r->code == 0 && p->status == 200);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

void post_init(struct post *p, void (*done)(struct post *p, bool good), void *arg) {
    *p = (struct post){.done = done, .arg = arg};
    buf_init(&p->answer, WIRE_MAX_RESPONSE);
}

void post_send(struct post *p, struct http_client *client, const struct post_order *o) {
    static const char *const headers[] = {"Content-Type: " WIRE_CONTENT_TYPE, NULL};
    char url[8192];
    snprintf(url, sizeof(url), "%s%s", o->uplink ? uplink_url(o->uplink) : "http://central", o->path);
    struct http_call_spec spec = {.method = o->method,
                                  .url = url,
                                  .headers = headers,
                                  .body = o->body,
                                  .body_len = o->len,
                                  .unix_socket = o->unix_socket,
                                  .in_turn = o->in_turn,
                                  .connect_ms = TOTAL_MS,
                                  .head_ms = TOTAL_MS,
                                  .stall_ms = TOTAL_MS};
    if (o->uplink) uplink_secure(o->uplink, &spec);
    buf_clear(&p->answer);
    p->status = 0;
    p->began_us = clock_mono_us();
    p->call = http_call_start(client, &spec, &events, p);
}

void post_fini(struct post *p) {
    if (p->call) http_call_cancel(p->call);
    p->call = NULL;
    buf_fini(&p->answer);
}
