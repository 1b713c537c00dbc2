/* The watch and the names that wait for it. Thread: the fetch loop. */
#include "edge/pull/confirm.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/wire/node_headers.h"
#include "edge/link/central.h"

#define CONNECT_MS 2000
#define HEAD_MS 5000
/* Central sends something every 4 s. */
#define SILENT_MS 12000
/* After so much silence on a stream, what central answers elsewhere shows that it is not central that is silent. */
#define OVERDUE_MS 5000
/* How long a poll may wait for changes; it is late after so much more. */
#define POLL_S 10
#define POLL_LATE_MS 5000
/* The least time between the starts of two polls, so that many changes do not make many polls. */
#define POLL_GAP_MS 100
/* An answer whose body begins so long before its end is not held back. */
#define FLOWS_MS 1000
/* Names wait for a try if the last one was refused, or failed within this time. */
#define SOON_MS 250
/* Time between the starts of two tries while names wait. */
#define GAP_MS 5
#define AGAIN_FIRST_MS 100
#define AGAIN_MAX_MS 2000
/* Streams that end soon after they began are begun again after a pause: the first at once, then as above, but longer. */
#define CALM_MS 10000
#define PAUSE_MAX_MS 10000
/* While there are no settings at all, so that no name can be decided. */
#define AGAIN_NONE_MS 250
/* Names wait at most this long: as long as for a known tag. */
#define PATIENCE_MS 2800

struct confirm {
    struct confirm_config cfg;
    atomic_bool settled, hopeless;
    bool begun, stopped, finding;
    struct http_call *call;
    uint64_t tries;        /* begun so far */
    uint64_t version;      /* central's, by the watch; 0: it has not said */
    bool told;             /* its settings were received since the start; stored ones may be damaged */
    bool old;              /* central has no such route */
    bool away, fails_soon; /* the last try failed, and so will the next, at once */
    int64_t try_ms, again_ms;
    int64_t pause_ms; /* before the next stream, if this one ends soon */
    struct timer again, patience, restart;
    bool restarts; /* the timer is set */
    bool streams;  /* stream_began was called */
    struct names_wait *waiting;
    /* Polls. */
    atomic_bool polls;
    bool answered;            /* the head of the present call has come, and it is central's */
    int64_t data_ms, last_ms; /* when the first and the last of its body came; 0: none has */
    int64_t heard_ms;         /* when central has answered another call */
};

/* --- who waits --- */

static void on_released(struct loop_task *task) {
    struct names_wait *w = container_of(task, struct names_wait, task);
    w->done(w);
}

static bool is_outdated(const struct confirm *c) {
    return c->version != 0 && c->version != settings_version(c->cfg.settings);
}

/* Releases the names that began to wait before the try of that number. */
static void release(struct confirm *c, uint64_t before) {
    struct names_wait **link = &c->waiting;
    while (*link) {
        struct names_wait *w = *link;
        if (w->since >= before) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        w->outdated = is_outdated(c);
        w->task.fn = on_released;
        loop_post(w->loop, &w->task);
    }
    if (!c->waiting) timer_clear(&c->patience);
}

static void on_patience(void *arg) {
    release(arg, UINT64_MAX);
}

static void consider(struct confirm *c) {
    bool settled = c->told && (c->old || (c->version != 0 && !is_outdated(c)));
    atomic_store_explicit(&c->settled, settled, memory_order_release);
    atomic_store_explicit(&c->hopeless, c->away && !c->fails_soon, memory_order_release);
    if (settled) release(c, UINT64_MAX);
}

/* --- the watch --- */

static void watch(struct confirm *c);

/* For the names that wait. */
static void try_soon(struct confirm *c) {
    int64_t gap = clock_mono_ms() - c->try_ms;
    if (c->call) return;
    if (gap >= GAP_MS)
        watch(c);
    else
        timer_set(&c->again, GAP_MS - gap);
}

/* A refusal is soon by itself, however late a busy machine sees it. */
static void failed(struct confirm *c, bool refused) {
    c->version = 0;
    c->away = true;
    c->fails_soon = refused || clock_mono_ms() - c->try_ms < SOON_MS;
    consider(c);
    if (c->stopped) return;
    if (c->cfg.failed) c->cfg.failed(c->cfg.arg);
    release(c, c->tries);
    if (c->waiting && c->fails_soon) {
        try_soon(c);
        return;
    }
    release(c, UINT64_MAX);
    int64_t most = settings_known(c->cfg.settings) ? AGAIN_MAX_MS : AGAIN_NONE_MS;
    c->again_ms = c->again_ms * 2 < most ? c->again_ms * 2 : most;
    timer_set(&c->again, clock_jitter_ms(c->again_ms));
}

/* --- polls --- */

static void end_stream(struct confirm *c) {
    if (!c->streams) return;
    c->streams = false;
    c->cfg.stream_ended(c->cfg.arg);
}

/* Nothing has come for so long that the call was ended, and yet central answers. */
static bool is_held_back(const struct confirm *c, const struct http_result *r) {
    int64_t due = c->last_ms ? c->last_ms + OVERDUE_MS : c->try_ms;
    return r->code == ERR_TIMEOUT && !atomic_load(&c->polls) && c->heard_ms > due;
}

static void become_polls(struct confirm *c) {
    atomic_store(&c->polls, true);
    c->version = 0; /* the first poll does not wait */
    log_warn("watch_held_back", KV_S("url", uplink_url(c->cfg.uplink)),
             KV_S("why", "central answers, but nothing comes of the stream of changes: something on the way holds "
                         "answers back until they are complete"),
             KV_S("then", "changes are asked for by polls"));
    consider(c);
    watch(c);
}

/* A poll has ended as it should. */
static void next_poll(struct confirm *c) {
    int64_t now = clock_mono_ms(), left = c->try_ms + POLL_GAP_MS - now;
    if (c->streams && c->cfg.stream_paused)
        c->cfg.stream_paused(c->cfg.arg);
    else
        end_stream(c);
    if (c->data_ms && now - c->data_ms >= FLOWS_MS) {
        atomic_store(&c->polls, false);
        log_info("watch_flows", KV_S("then", "changes come as a stream again"));
    }
    if (left <= 0 || c->waiting)
        watch(c);
    else
        timer_set(&c->again, left);
}

/* How long to wait before the next stream. */
static int64_t next_pause_ms(struct confirm *c) {
    int64_t pause = clock_mono_ms() - c->try_ms >= CALM_MS ? 0 : c->pause_ms;
    c->pause_ms = pause == 0 ? AGAIN_FIRST_MS : 2 * pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS;
    return clock_jitter_ms(pause);
}

static void cancel(struct confirm *c) {
    if (c->call) http_call_cancel(c->call);
    c->call = NULL;
    end_stream(c);
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct confirm *c = arg;
    c->last_ms = clock_mono_ms();
    if (!c->data_ms) c->data_ms = c->last_ms;
    if (c->streams) c->cfg.stream_data(data, len, c->cfg.arg);
    return true;
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct confirm *c = arg;
    char why[CENTRAL_WHY_MAX];
    const char *type = a->header(a, "content-type");
    uint64_t version = settings_header_parse(a->header(a, SETTINGS_HEADER));
    bool is_central = a->status == 200 && !breaker_not_central(a->status, type, why);
    if (breaker_is_refusal(a)) c->cfg.refused(breaker_judge(a, why), c->cfg.arg);
    /* A 404 may come from central or from another program; the other calls decide which. */
    if (a->status == 404 && !c->old)
        log_warn("central_is_older", KV_S("url", uplink_url(c->cfg.uplink)),
                 KV_S("why", "it cannot report changes of its settings: upgrade entrepot-central (or the key central "
                             "leads to another port)"));
    c->old = a->status == 404;
    c->version = is_central ? version : 0;
    c->answered = c->version != 0;
    if (is_central && version) {
        c->streams = c->cfg.stream_began != NULL;
        if (c->streams) c->cfg.stream_began(version, c->cfg.arg);
        c->away = false;
        c->again_ms = AGAIN_FIRST_MS / 2;
        c->finding = true;
        c->cfg.found(c->cfg.arg);
        c->finding = false;
        if (!c->told || version != settings_version(c->cfg.settings)) c->cfg.ask(c->cfg.arg);
    }
    consider(c);
    return true;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct confirm *c = arg;
    bool was = c->answered;
    c->call = NULL;
    if (was && r->code == 0 && atomic_load(&c->polls)) {
        next_poll(c);
        return;
    }
    end_stream(c);
    if (is_held_back(c, r)) {
        become_polls(c);
        return;
    }
    if (!was) {
        failed(c, r->refused);
        return;
    }
    /* Central has stopped, or the connection was cut: try again at once, unless that happens again and again. */
    c->version = 0;
    consider(c);
    int64_t pause = next_pause_ms(c);
    if (pause == 0 || c->waiting)
        watch(c);
    else
        timer_set(&c->again, pause);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void watch(struct confirm *c) {
    if (c->call || c->stopped) return;
    char url[1024], header[64], ours[17], from[PLACE_TEXT_MAX];
    int len = snprintf(url, sizeof(url), "%s" WIRE_WATCH_PATH, uplink_url(c->cfg.uplink));
    if (c->cfg.from && len > 0 && (size_t)len < sizeof(url)) {
        c->cfg.from(from, c->cfg.arg);
        snprintf(url + len, sizeof(url) - (size_t)len, "?from=%s%s", from, c->cfg.with_dns ? "&dns=1" : "");
    }
    snprintf(header, sizeof(header), SETTINGS_HEADER ": %s",
             settings_header_format(settings_version(c->cfg.settings), ours));
    const char *headers[] = {header, NULL};
    struct http_call_spec spec = {.method = "GET",
                                  .url = url,
                                  .headers = headers,
                                  .connect_ms = CONNECT_MS,
                                  .head_ms = HEAD_MS,
                                  .stall_ms = SILENT_MS};
    if (atomic_load(&c->polls)) {
        int wait_s = c->version ? POLL_S : 0;
        size_t used = strlen(url);
        snprintf(url + used, sizeof(url) - used, "%swait=%d", strchr(url, '?') ? "&" : "?", wait_s);
        spec.head_ms = spec.stall_ms = wait_s * 1000 + POLL_LATE_MS;
    }
    spec.head_ms += uplink_allowance_ms(c->cfg.uplink);
    c->answered = false;
    c->data_ms = c->last_ms = 0;
    uplink_secure(c->cfg.uplink, &spec);
    timer_clear(&c->again);
    c->tries++;
    c->try_ms = clock_mono_ms();
    c->call = http_call_start(c->cfg.client, &spec, &events, c);
}

static void on_again(void *arg) {
    watch(arg);
}

/* --- what others say --- */

void confirm_begin(struct confirm *c) {
    c->begun = true;
    watch(c);
}

void confirm_doubt(struct confirm *c) {
    if (!c->begun || c->finding) return;
    cancel(c);
    c->version = 0;
    c->away = false; /* the next try decides */
    consider(c);
    watch(c);
}

void confirm_restart(struct confirm *c) {
    if (c->restarts) return; /* a timer that is set must not be put off by further calls */
    c->restarts = true;
    timer_set(&c->restart, next_pause_ms(c));
}

void confirm_told(struct confirm *c, bool good) {
    c->told = c->told || good;
    if (good) c->heard_ms = clock_mono_ms();
    consider(c);
    if (!is_outdated(c)) return;
    if (good)
        confirm_doubt(c); /* they are another central's, or have changed in between */
    else
        release(c, UINT64_MAX);
}

bool confirm_is_settled(const struct confirm *c) {
    return atomic_load_explicit(&c->settled, memory_order_acquire) ||
           atomic_load_explicit(&c->hopeless, memory_order_acquire);
}

bool confirm_polls(const struct confirm *c) {
    return atomic_load(&((struct confirm *)(uintptr_t)c)->polls);
}

/* Fetch loop. */
static void on_arrival(struct loop_task *task) {
    struct names_wait *w = container_of(task, struct names_wait, task);
    struct confirm *c = w->callee;
    w->since = c->tries;
    w->next = c->waiting;
    c->waiting = w;
    if (confirm_is_settled(c) || !c->begun || c->stopped) {
        release(c, UINT64_MAX);
        return;
    }
    if (!w->next) timer_set(&c->patience, PATIENCE_MS);
    if (is_outdated(c)) c->cfg.ask(c->cfg.arg);
    try_soon(c);
}

void confirm_await(struct confirm *c, struct names_wait *w) {
    w->callee = c;
    w->loop = loop_current();
    w->task.fn = on_arrival;
    loop_post(c->cfg.loop, &w->task);
}

/* --- its life --- */

static void on_restart(void *arg) {
    struct confirm *c = arg;
    c->restarts = false;
    confirm_doubt(c);
}

struct confirm *confirm_new(const struct confirm_config *cfg) {
    struct confirm *c = xcalloc(1, sizeof(*c));
    c->cfg = *cfg;
    c->again_ms = AGAIN_FIRST_MS / 2;
    timer_init(&c->again, cfg->loop, on_again, c);
    timer_init(&c->patience, cfg->loop, on_patience, c);
    timer_init(&c->restart, cfg->loop, on_restart, c);
    return c;
}

void confirm_free(struct confirm *c) {
    if (!c) return;
    c->stopped = true;
    cancel(c);
    timer_fini(&c->restart);
    timer_fini(&c->again);
    timer_fini(&c->patience);
    free(c);
}
