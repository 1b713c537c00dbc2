/* The endpoints of one upstream: which is asked first, and when one is left alone. Thread: the fetch loop, but for the
 * mirrors that upstream_stats reads.
 *
 *   up ── could not be reached ──▶ failing (others first) ── for down_after_ms ──▶ down (never asked)
 *    ▲                                │                                              │
 *    └── it, or a probe, is answered ─┴──────────────────────────────────────────────┘ */
#include <stdio.h>
#include <string.h>

#include "common/upstream/upstream_private.h"
#include "common/oci/request.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/source/registry_http.h"

#define UNHEALTHY_MS 10000
/* Long enough that a slow body which goes on elsewhere does not come back before its slowness has become what is usual
 * there (SPEED_SAMPLES): two slow endpoints do not pass it to and fro. */
#define AVOID_MS 60000
#define DOWN_FAILURES 2

/* --- its URLs --- */

/* Behind the first "/v2" that is a whole part of the path, as a registry's project is written: .../v2/PROJECT. */
static int find_below_v2(const char *url) {
    const char *path = strstr(url, "://");
    path = path ? strchr(path + 3, '/') : NULL;
    for (; path; path = strchr(path + 1, '/')) {
        if (oci_is_api(path)) return (int)(path + 3 - url);
    }
    return -1;
}

int endpoint_target(const struct endpoint *e, const struct fetch_request *rq, struct buf *out) {
    struct buf path;
    buf_init(&path, 16384);
    int r = fetch_target(&path, rq, false);
    if (r == 0) r = buf_add_str(out, e->url);
    if (r == 0) r = buf_add_str(out, e->below_v2 >= 0 ? path.data + strlen("/v2") : path.data);
    buf_fini(&path);
    return r;
}

void endpoint_repository(const struct endpoint *e, const char *path, char *out, size_t cap) {
    const char *project = e->below_v2 >= 0 ? e->url + e->below_v2 : "";
    if (*project == '/') project++;
    snprintf(out, cap, "%s%s%s", project, *project ? "/" : "", path);
}

/* --- which is asked --- */

/* a is a better choice than b; ties go to the order of the configuration, and so do differences of a quarter, lest two
 * equal ones take turns. */
static bool better(const struct endpoint *a, const struct endpoint *b, int64_t now) {
    bool a_bad = a->failures > 0, b_bad = b->failures > 0;
    if (a_bad != b_bad) return b_bad;
    bool a_unhealthy = now < a->unhealthy_until_ms, b_unhealthy = now < b->unhealthy_until_ms;
    if (a_unhealthy != b_unhealthy) return b_unhealthy;
    bool a_avoided = now < a->avoid_until_ms, b_avoided = now < b->avoid_until_ms;
    if (a_avoided != b_avoided) return b_avoided;
    return a->latency_us * 4 < b->latency_us * 3;
}

struct endpoint *endpoint_choose(struct upstream *u, unsigned without, bool counts) {
    int64_t now = clock_mono_ms();
    struct endpoint *best = NULL;
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = &u->endpoints[i];
        if ((without & e->bit) || e->down || !e->usable) continue;
        if (counts && ratelimit_wait_s(&e->limit, now) > 0) continue;
        if (!best || better(e, best, now)) best = e;
    }
    if (best) {
        best->used_ms = now;
        u->used = true;
    }
    return best;
}

static void set_down(struct endpoint *e, bool down) {
    if (e->down == down) return;
    e->down = down;
    atomic_store_explicit(&e->shown_down, down, memory_order_relaxed);
    const char *name = e->u->cfg->name;
    if (down)
        log_warn("upstream_endpoint_down", KV_S("upstream", name), KV_S("endpoint", e->url),
                 KV_S("why", e->last_error));
    else
        log_info("upstream_endpoint_up", KV_S("upstream", name), KV_S("endpoint", e->url));
}

/* While it fails it is probed, even if no request needs it. */
static void set_failing(struct endpoint *e, bool failing) {
    if ((e->failures > 0) == failing) return;
    e->failures = failing;
    atomic_store_explicit(&e->shown_failing, failing, memory_order_relaxed);
    if (!failing) {
        timer_clear(&e->probe);
        return;
    }
    e->failing_since_ms = clock_mono_ms();
    e->back_off_ms = e->u->limits->probe_ms;
    timer_set(&e->probe, e->back_off_ms);
}

void endpoint_answered(struct endpoint *e, int status, int64_t latency_us) {
    set_failing(e, false);
    /* Moving average: an eighth of what is new. */
    e->latency_us = e->latency_us ? e->latency_us + (latency_us - e->latency_us) / 8 : latency_us;
    if (e->latency_us < 1) e->latency_us = 1;
    atomic_store_explicit(&e->shown_latency_us, e->latency_us, memory_order_relaxed);
    e->unhealthy_until_ms = status >= 500 && status != 501 ? clock_mono_ms() + UNHEALTHY_MS : 0;
    set_down(e, false);
}

void endpoint_unreachable(struct endpoint *e, const char *why) {
    if (e->failures > 0) e->failures++;
    set_failing(e, true);
    atomic_fetch_add_explicit(&e->shown_failures, 1, memory_order_relaxed);
    pthread_mutex_lock(&e->u->lock);
    snprintf(e->last_error, sizeof(e->last_error), "%s", why);
    pthread_mutex_unlock(&e->u->lock);
    if (e->failures >= DOWN_FAILURES && clock_mono_ms() - e->failing_since_ms >= e->u->limits->down_after_ms)
        set_down(e, true);
}

void endpoint_avoid(struct endpoint *e, const char *why) {
    int64_t now = clock_mono_ms();
    if (now >= e->avoid_until_ms) {
        log_info("upstream_endpoint_avoided", KV_S("upstream", e->u->cfg->name), KV_S("endpoint", e->url),
                 KV_S("why", why));
    }
    e->avoid_until_ms = now + AVOID_MS;
}

bool endpoint_another(const struct endpoint *e, unsigned without) {
    const struct upstream *u = e->u;
    int64_t now = clock_mono_ms();
    for (unsigned i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *o = &u->endpoints[i];
        bool well =
            o->usable && !o->down && o->failures == 0 && now >= o->unhealthy_until_ms && now >= o->avoid_until_ms;
        if (o != e && well && !(without & o->bit)) return true;
    }
    return false;
}

void endpoint_show_limit(struct endpoint *e) {
    atomic_store_explicit(&e->shown_until_ms, ratelimit_until_ms(&e->limit), memory_order_relaxed);
    if (!e->limit.known) return;
    atomic_store_explicit(&e->shown_limit, e->limit.limit, memory_order_relaxed);
    atomic_store_explicit(&e->shown_remaining, e->limit.remaining, memory_order_relaxed);
    atomic_store_explicit(&e->shown_window_s, e->limit.window_s, memory_order_relaxed);
}

/* --- probes --- */

static bool probe_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct endpoint *e = arg;
    endpoint_answered(e, a->status, clock_mono_us() - e->probe_sent_us);
    return true;
}

static void probe_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct endpoint *e = arg;
    const struct upstream_limits *limits = e->u->limits;
    e->probe_call = NULL;
    if (r->status > 0) return;
    endpoint_unreachable(e, r->msg);
    e->back_off_ms = e->back_off_ms * 2 < limits->probe_max_ms ? e->back_off_ms * 2 : limits->probe_max_ms;
    timer_set(&e->probe, e->back_off_ms);
}

static const struct http_call_events probe_events = {.head = probe_head, .done = probe_done};

static void on_probe(void *arg) {
    struct endpoint *e = arg;
    struct upstream *u = e->u;
    if (e->probe_call) return;
    char url[1024];
    int end = e->below_v2 >= 0 ? e->below_v2 - (int)strlen("/v2") : (int)strlen(e->url);
    snprintf(url, sizeof(url), "%.*s/v2/", end, e->url);
    struct http_call_spec spec = {.method = "GET",
                                  .url = url,
                                  .ca_file = u->cfg->ca_file,
                                  .use_proxy_env = true,
                                  .connect_ms = u->limits->connect_ms,
                                  .head_ms = u->limits->head_ms,
                                  .total_ms = u->limits->head_ms + 1000,
                                  .max_body = 65536};
    e->probe_sent_us = clock_mono_us();
    e->probe_call = http_call_start(u->client, &spec, &probe_events, e);
}

/* Endpoints that are not preferred would keep their old speed for ever, so they are measured again while there is
 * traffic. */
void endpoints_measure(void *upstream) {
    struct upstream *u = upstream;
    int64_t since = clock_mono_ms() - u->limits->measure_ms;
    for (unsigned i = 0; u->used && i < u->n_endpoints; i++) {
        struct endpoint *e = &u->endpoints[i];
        if (e->usable && !e->down && e->used_ms < since) on_probe(e);
    }
    u->used = false;
    timer_set(&u->measure, u->limits->measure_ms);
}

void endpoint_init(struct endpoint *e, struct upstream *u, const char *url, unsigned i) {
    *e = (struct endpoint){.u = u, .url = url, .bit = 1U << i};
    e->usable = http_url_parse(url, &e->parts);
    e->below_v2 = find_below_v2(url);
    e->reach = HTTP_REACH_PUBLIC;
    atomic_init(&e->shown_limit, -1);
    atomic_init(&e->shown_remaining, -1);
    atomic_init(&e->shown_window_s, -1);
    timer_init(&e->probe, u->loop, on_probe, e);
}

void endpoint_fini(struct endpoint *e) {
    pull_share_fini(&e->pulls);
    if (e->probe_call) http_call_cancel(e->probe_call);
    timer_fini(&e->probe);
}
