/* Opens a watch and pauses it. Thread: the simulator's loop. */
#include "tests/sim/deaf.h"

#include "common/core/alloc.h"
#include "common/records/messages.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 60000

struct deaf {
    struct http_client *client;
    struct http_call *call;
    struct buf in;
    struct deaf_facts facts;
};

/* Of each message that is whole: whether it says `gone`. */
static void take(struct deaf *d) {
    size_t used = 0, skip, len;
    while (message_next(d->in.data + used, d->in.len - used, WATCH_MESSAGE_MAX, &skip, &len) == 0) {
        struct watch_message m = {0};
        if (watch_message_decode(&m, d->in.data + used + skip, len) == 0) d->facts.told_gone = m.gone && !m.version;
        watch_message_fini(&m);
        used += skip + len;
    }
    memmove(d->in.data, d->in.data + used, d->in.len - used);
    d->in.len -= used;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    struct deaf *d = arg;
    if (buf_add(&d->in, data, len) == 0) take(d);
    if (!d->facts.watches) http_call_pause(call);
    if (d->facts.watches) d->facts.bytes += (int64_t)len;
    d->facts.watches = true;
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call, (void)r;
    struct deaf *d = arg;
    d->call = NULL;
    d->facts.ended = true;
}

static const struct http_call_events events = {.data = on_data, .done = on_done};

struct deaf *deaf_new(struct loop *loop, const struct uplink *uplink) {
    struct deaf *d = xcalloc(1, sizeof(*d));
    char url[1024];
    d->client = http_client_new(loop);
    buf_init(&d->in, 2 * WATCH_MESSAGE_MAX);
    snprintf(url, sizeof(url), "%s" WIRE_WATCH_PATH "?from=none", uplink_url(uplink));
    struct http_call_spec spec = {
        .method = "GET", .url = url, .connect_ms = CONNECT_MS, .head_ms = CONNECT_MS, .stall_ms = CONNECT_MS};
    uplink_secure(uplink, &spec);
    d->call = http_call_start(d->client, &spec, &events, d);
    return d;
}

void deaf_resume(struct deaf *d) {
    if (d->call) http_call_resume(d->call);
}

void deaf_get(const struct deaf *d, struct deaf_facts *out) {
    *out = d->facts;
}

void deaf_free(struct deaf *d) {
    if (!d) return;
    if (d->call) http_call_cancel(d->call);
    http_client_free(d->client);
    buf_fini(&d->in);
    free(d);
}
