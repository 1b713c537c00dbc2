/* Sends the requests for tiles, and hands on the answers. Thread: the fetch loop. */
#include "edge/replica/fetch.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_MS 2000
#define HEAD_MS 60000
#define STALL_MS 30000
#define BODY_MAX (256 * MiB)
#define LIST_MAX WATCH_MESSAGE_MAX
/* Bytes that have come and are not a whole tile yet. */
#define BUFFERED_MAX (2 * TILE_MESSAGE_MAX)
#define AGAIN_MS 2000
#define MANY_FIRST 4 /* tiles */
/* An answer should take between a half and the double of this, so that a pull that begins does not wait long for it. */
#define ANSWER_MS 300
/* While clients pull, and so long after, tiles wait. But some are fetched all the same, so that a branch that always
 * pulls gets them, too: for a sixteenth of the time. */
#define AFTER_PULL_MS 150
#define PULL_LOOK_MS 25
#define WAITS 15

struct tile_fetch {
    struct tile_fetch_config cfg;
    struct follow *follow;
    struct http_call *call;
    bool list;  /* not tiles */
    bool wrong; /* the answer does not come from central */
    struct buf in;
    struct timer again;
    /* Tiles that wait for pulls to end. */
    struct timer look;
    unsigned wanted[FOLLOW_TILES_MAX];
    size_t n_wanted; /* 0: none wait */
    bool full;
    size_t many; /* tiles to ask for at once */
    int64_t head_ms, done_ms, pulled_ms;
    int64_t took_ms; /* from the head of the last answer to its end */
};

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct tile_fetch *t = arg;
    t->wrong = a->status != 200;
    t->head_ms = clock_mono_ms();
    return true;
}

/* Hands on the tiles that are whole. False: this is no list of tiles. */
static bool take_tiles(struct tile_fetch *t) {
    size_t used = 0, skip, len;
    int r = 0;
    while (t->in.len > used) {
        r = message_next(t->in.data + used, t->in.len - used, TILE_MESSAGE_MAX, &skip, &len);
        if (r < 0) break;
        follow_tile(t->follow, t->in.data + used + skip, len);
        used += skip + len;
    }
    if (used) memmove(t->in.data, t->in.data + used, t->in.len - used);
    t->in.len -= used;
    return r == 0 || r == ERR_BUSY;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct tile_fetch *t = arg;
    if (t->wrong) return true;
    if (buf_add(&t->in, data, len) < 0 || (!t->list && !take_tiles(t))) t->wrong = true;
    return true;
}

/* The next request asks for more tiles or fewer, by how long this one took. */
static void adapt(struct tile_fetch *t) {
    int64_t took = t->done_ms - t->head_ms;
    t->took_ms = took > PULL_LOOK_MS ? took : PULL_LOOK_MS;
    if (took < ANSWER_MS / 2 && t->many < FOLLOW_TILES_MAX)
        t->many *= 2;
    else if (took > 2 * ANSWER_MS && t->many > 1)
        t->many /= 2;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct tile_fetch *t = arg;
    bool good = r->code == 0 && !t->wrong && (t->list || t->in.len == 0);
    t->call = NULL;
    t->done_ms = clock_mono_ms();
    if (!t->list && good) adapt(t);
    if (!good)
        log_info("tiles_not_fetched", KV_S("why", r->code ? r->msg : "central's answer is not one"),
                 KV_I("status", r->status));
    timer_set(&t->again, AGAIN_MS);
    if (t->list)
        follow_list(t->follow, good ? t->in.data : NULL, t->in.len);
    else
        follow_fetched(t->follow, good);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void ask(struct tile_fetch *t, const char *query) {
    const struct uplink_message m = {.path = WIRE_SNAPSHOT_PATH,
                                     .query = query,
                                     .in_turn = true,
                                     .connect_ms = CONNECT_MS,
                                     .head_ms = HEAD_MS,
                                     .stall_ms = STALL_MS,
                                     .max_answer = t->list ? LIST_MAX : BODY_MAX};
    t->wrong = false;
    buf_clear(&t->in);
    t->call = uplink_send(t->cfg.uplink, t->cfg.client, &m, &events, t);
}

void tile_fetch_list(void *arg) {
    struct tile_fetch *t = arg;
    t->list = true;
    ask(t, "");
}

/* Asks for the first so many of those that are wanted; the others will be wanted again. */
static void ask_tiles(struct tile_fetch *t, size_t n) {
    char query[32 + 6 * FOLLOW_TILES_MAX];
    size_t len = (size_t)snprintf(query, sizeof(query), "?tiles=%u", t->wanted[0]);
    for (size_t i = 1; i < n && i < t->n_wanted; i++)
        len += (size_t)snprintf(query + len, sizeof(query) - len, ",%u", t->wanted[i]);
    if (t->full) snprintf(query + len, sizeof(query) - len, "&full=1");
    t->list = false;
    t->n_wanted = 0;
    ask(t, query);
}

static void on_look(void *arg) {
    struct tile_fetch *t = arg;
    int64_t now = clock_mono_ms();
    if (t->cfg.pulls && *t->cfg.pulls > 0) t->pulled_ms = now;
    if (now - t->pulled_ms >= AFTER_PULL_MS || now - t->done_ms >= WAITS * t->took_ms)
        ask_tiles(t, t->many);
    else
        timer_set(&t->look, PULL_LOOK_MS);
}

void tile_fetch_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    struct tile_fetch *t = arg;
    t->n_wanted = n < FOLLOW_TILES_MAX ? n : FOLLOW_TILES_MAX;
    memcpy(t->wanted, tiles, t->n_wanted * sizeof(*tiles));
    t->full = full;
    on_look(t);
}

static void on_again(void *arg) {
    struct tile_fetch *t = arg;
    if (!t->call && t->n_wanted == 0) follow_again(t->follow);
}

struct tile_fetch *tile_fetch_new(const struct tile_fetch_config *cfg) {
    struct tile_fetch *t = xcalloc(1, sizeof(*t));
    t->cfg = *cfg;
    buf_init(&t->in, BUFFERED_MAX);
    timer_init(&t->again, cfg->loop, on_again, t);
    timer_init(&t->look, cfg->loop, on_look, t);
    t->many = MANY_FIRST;
    t->took_ms = ANSWER_MS;
    t->done_ms = clock_mono_ms();
    t->pulled_ms = t->done_ms - AFTER_PULL_MS;
    return t;
}

void tile_fetch_for(struct tile_fetch *t, struct follow *f) {
    t->follow = f;
}

void tile_fetch_free(struct tile_fetch *t) {
    if (!t) return;
    if (t->call) http_call_cancel(t->call);
    timer_fini(&t->again);
    timer_fini(&t->look);
    buf_fini(&t->in);
    free(t);
}
