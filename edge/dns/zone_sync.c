/* Keeps the newest word until its zone is here. Thread: as the header says. */
#include "edge/dns/zone_sync.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/dns/zone_message.h"

enum { CONNECT_MS = 5000, TOTAL_MS = 60000, AGAIN_MS = 1000 };

struct zone_sync {
    const struct uplink *uplink;
    struct loop *loop;
    struct http_client *client;
    struct answering *answering;
    uint64_t have;         /* the version that was handed on; 0: none */
    struct watch_dns told; /* zone 0: nothing is told */
    struct buf states;
    struct http_call *call;
    struct buf answer;
    struct timer again;
};

/* zone NULL: it is the one that was handed on before. */
static void hand_on(struct zone_sync *s, const struct buf *zone) {
    const struct identity *id = uplink_identity(s->uplink);
    struct answering_news n = {.dns = s->told, .site = id ? id->who.site : ""};
    n.dns.states = (const uint8_t *)s->states.data;
    if (zone) {
        n.zone = zone->data;
        n.zone_len = zone->len;
    }
    s->have = s->told.zone;
    answering_told(s->answering, &n);
}

static void ask(struct zone_sync *s);

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    return buf_add(&((struct zone_sync *)arg)->answer, data, len) == 0;
}

/* What has come may be a newer zone than the one that was told: its states come at once, too. */
static void on_done(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    struct zone_sync *s = arg;
    s->call = NULL;
    bool good = result->code == 0 && result->status == 200 && s->answer.len > 0;
    if (!good) log_warn("dns_zone_not_had", KV_I("status", result->status), KV_S("why", result->msg));
    if (good && dns_zone_message_version(s->answer.data, s->answer.len) == s->told.zone)
        hand_on(s, &s->answer);
    else if (s->told.zone && s->told.zone != s->have)
        timer_set(&s->again, clock_jitter_ms(AGAIN_MS));
    buf_clear(&s->answer);
}

static const struct http_call_events events = {.data = on_data, .done = on_done};

static void ask(struct zone_sync *s) {
    if (s->call || s->told.zone == 0 || s->told.zone == s->have || !uplink_identity(s->uplink)) return;
    buf_clear(&s->answer);
    const struct uplink_message m = {.path = DNS_ZONE_PATH,
                                     .in_turn = true,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = TOTAL_MS,
                                     .max_answer = DNS_ZONE_MESSAGE_MAX};
    s->call = uplink_send(s->uplink, s->client, &m, &events, s);
}

static void on_again(void *arg) {
    ask(arg);
}

void zone_sync_told(struct zone_sync *s, const struct watch_dns *told) {
    if (!told) {
        s->told.zone = 0;
        answering_told(s->answering, NULL);
        return;
    }
    buf_clear(&s->states);
    if (buf_add(&s->states, told->states, told->n_states) < 0) return; /* a message of the watch is smaller */
    s->told = *told;
    if (told->zone == s->have)
        hand_on(s, NULL);
    else
        ask(s);
}

struct zone_sync *zone_sync_new(const struct uplink *uplink, struct loop *loop, struct http_client *client,
                                struct answering *answering) {
    struct zone_sync *s = xcalloc(1, sizeof(*s));
    s->uplink = uplink;
    s->loop = loop;
    s->client = client;
    s->answering = answering;
    s->have = answering_kept_version(answering);
    buf_init(&s->states, WATCH_MESSAGE_MAX);
    buf_init(&s->answer, DNS_ZONE_MESSAGE_MAX);
    timer_init(&s->again, loop, on_again, s);
    return s;
}

void zone_sync_free(struct zone_sync *s) {
    if (!s) return;
    if (s->call) http_call_cancel(s->call);
    timer_fini(&s->again);
    buf_fini(&s->states);
    buf_fini(&s->answer);
    free(s);
}
