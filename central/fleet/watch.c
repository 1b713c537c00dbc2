/* Sends a body of messages, each preceded by its length; so far all are empty. Thread: the request's loop. */
#include "central/fleet/watch.h"

#include "common/core/alloc.h"
#include "common/wire/node_headers.h"
#include "common/wire/wire.h"

#include <stdlib.h>

/* An edge that hears nothing for 12 s assumes that the connection is dead. */
#define ALIVE_MS 4000

struct watch {
    struct http_req *req;
    struct timer alive;
};

static void on_alive(void *arg) {
    struct watch *w = arg;
    static const char empty_message[1] = {0};
    /* The server cuts a client that reads nothing; until then nothing more is queued. */
    if (http_body_pending(w->req) == 0) http_body_mem(w->req, empty_message, sizeof(empty_message));
    timer_set(&w->alive, ALIVE_MS);
}

static void on_close(struct http_req *r, bool cut) {
    (void)cut;
    struct watch *w = http_req_user(r);
    timer_fini(&w->alive);
    free(w);
}

static void on_stop(struct http_req *r) {
    struct watch *w = http_req_user(r);
    timer_clear(&w->alive);
    http_reply_end(r);
}

void watch_handle(struct http_req *r, uint64_t version) {
    char ours[17];
    struct watch *w = xcalloc(1, sizeof(*w));
    w->req = r;
    timer_init(&w->alive, http_req_loop(r), on_alive, w);
    http_req_set_user(r, w);
    http_req_on_close(r, on_close);
    http_reply_header(r, SETTINGS_HEADER, settings_header_format(version, ours));
    http_reply_begin(r, 200, WIRE_CONTENT_TYPE, -1);
    on_alive(w);
    http_req_on_stop(r, on_stop);
}
