/* One loop, "dns-health", takes what central says, hears the probes, and publishes a new view when the answers change.
 * Thread: as answering.h says; what is marked so, the loop's. */
#include "edge/dns/answering.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/map.h"
#include "common/core/offload.h"
#include "common/dns/dns_probe.h"
#include "common/dns/explain.h"
#include "common/dns/joined.h"
#include "common/dns/views.h"
#include "common/dns/zone_message.h"
#include "edge/dns/kept.h"
#include "edge/dns/zone_facts.h"

enum {
    DECIDE_EVERY_MS = 200,
    /* Central sends something every 4 s. */
    HEARD_WITHIN_MS = 6000,
    /* A stream that ends is mostly begun again at once. */
    GRACE_MS = 1500,
    /* When central was last heard is written so often, if nothing else has changed. */
    WRITE_EVERY_MS = 60000,
};
#define NEVER (INT64_MIN / 2)

struct answering {
    char *listen, *path;
    int64_t stale_for_ms;
    struct workpool *pool;
    int64_t (*heard_ms)(void *arg);
    void *arg;
    struct dns_views *views;
    struct dns_server *server;
    struct loop *loop;
    bool started;
    uint64_t first_version; /* of the zone that was on the disk */
    unsigned seat;
    pthread_mutex_t reading; /* readers outside the server share a seat */
    /* For people. */
    _Atomic int64_t heard_at; /* when central was last heard, wall clock, seconds; 0: never */
    atomic_bool live;
    _Atomic(const char *) problem; /* static */
    /* The loop's. */
    char site[64];
    struct dns_kept kept;        /* the zone in use, and the answers' states: what is written. zone NULL: none */
    const struct dns_zone *zone; /* of the view that is published; NULL: none */
    uint8_t *base;               /* central's last word, or what was on the disk */
    bool kept_answers;           /* as central says: most sites are silent */
    uint32_t told_serial;
    bool told, streams; /* central has said states of this zone; on this stream */
    int64_t ended_ms;   /* when the stream ended */
    unsigned port;      /* of registries */
    int64_t silent_ms;
    struct dns_health *local; /* what probes from here have found */
    struct dns_probes *probes;
    struct timer decide;
    bool changed; /* what is to be written */
    bool writing;
    int64_t written_ms;
    struct offload write;
    struct dns_kept written; /* the job's */
};

static bool is_sibling(const struct answering *a, const struct dns_zone *z, size_t edge) {
    return a->site[0] && strcasecmp(z->edges[edge].site, a->site) == 0;
}

/* --- writing (the loop, and the work pool) --- */

static void write_run(struct offload *o) {
    struct answering *a = container_of(o, struct answering, write);
    dns_kept_write(&a->written, a->path);
    dns_kept_fini(&a->written);
}

static void on_written(struct offload *o) {
    container_of(o, struct answering, write)->writing = false;
}

static void write_if_due(struct answering *a, int64_t now_ms) {
    bool due = a->changed || (atomic_load(&a->live) && now_ms - a->written_ms >= WRITE_EVERY_MS);
    if (!due || a->writing || !a->kept.zone) return;
    a->kept.heard_at = atomic_load(&a->heard_at);
    dns_kept_copy(&a->written, &a->kept);
    a->changed = false;
    a->writing = true;
    a->written_ms = now_ms;
    offload_start(&a->write, a->pool, a->loop);
}

/* --- deciding (the loop) --- */

static bool is_live(const struct answering *a, int64_t now_ms) {
    if (!a->told) return false;
    if (!a->streams) return now_ms - a->ended_ms < GRACE_MS;
    return now_ms - a->heard_ms(a->arg) < HEARD_WITHIN_MS;
}

/* By the wall clock, because it counts across restarts. A clock that was put back makes nothing older. */
static bool is_expired(const struct answering *a) {
    int64_t age_s = clock_wall_s() - atomic_load(&a->heard_at);
    return age_s > 0 && age_s > a->stale_for_ms / 1000;
}

static enum dns_state state_of(const struct answering *a, const struct dns_zone *z, size_t edge, bool live) {
    enum dns_state said = (enum dns_state)a->base[edge], found = dns_health_state(a->local, edge);
    if (live || said == DNS_EDGE_BARRED || !is_sibling(a, z, edge) || found == DNS_EDGE_UNKNOWN) return said;
    return found;
}

static void log_changes(const struct answering *a, const struct dns_zone *z, const uint8_t *states, bool live) {
    for (size_t i = 0; i < z->n_edges; i++) {
        if (states[i] == a->kept.states[i]) continue;
        log_info("dns_edge", KV_S("site", z->edges[i].site), KV_S("edge", z->edges[i].name),
                 KV_S("state", dns_state_word((enum dns_state)states[i])),
                 KV_S("before", dns_state_word((enum dns_state)a->kept.states[i])),
                 KV_S("by", live ? "central" : "a probe from here"));
    }
}

static uint32_t next_serial(const struct answering *a, bool live, bool differs) {
    uint32_t now_s = (uint32_t)clock_wall_s();
    if (live) return a->told_serial;
    if (!differs) return a->kept.serial;
    return (int32_t)(now_s - a->kept.serial) > 0 ? now_s : a->kept.serial + 1;
}

static void unpublish(struct answering *a, const char *why) {
    if (a->zone) log_warn("dns_silent", KV_S("why", why));
    atomic_store(&a->problem, why);
    if (a->zone) dns_views_publish(a->views, NULL);
    a->zone = NULL;
}

/* z is that of the present view, or takes its place. */
static void publish_if_new(struct answering *a, const struct dns_zone *z, bool live) {
    _cleanup_(freep) uint8_t *states = xcalloc(z->n_edges + 1, 1);
    bool kept_before = false;
    for (size_t i = 0; i < z->n_edges; i++)
        states[i] = (uint8_t)state_of(a, z, i, live);
    bool differs = z->n_edges > 0 && memcmp(states, a->kept.states, z->n_edges) != 0;
    uint32_t serial = next_serial(a, live, differs);
    const struct dns_view *v = dns_views_enter(a->views, a->seat + 1);
    if (v) kept_before = v->kept_since_ms != 0;
    dns_views_leave(a->views, a->seat + 1);
    if (a->zone == z && !differs && serial == a->kept.serial && kept_before == a->kept_answers) return;
    if (differs) log_changes(a, z, states, live);
    if (z->n_edges) memcpy(a->kept.states, states, z->n_edges);
    a->kept.serial = serial;
    a->changed = true;
    a->zone = z;
    atomic_store(&a->problem, NULL);
    dns_views_publish(a->views, dns_view_new(z, states, a->kept_answers, serial));
}

static void zone_use(struct answering *a, struct dns_zone *z);

/* The zone of what is kept; NULL: central's message cannot be used. */
static struct dns_zone *zone_build(struct answering *a, const void *message, size_t len) {
    struct dns_zone_message m;
    struct dns_zone *z = NULL;
    struct error err = {0};
    int r = dns_zone_message_decode(&m, message, len);
    if (r < 0) error_set(&err, r, "the message cannot be read (%s)", error_name(r));
    if (r == 0) r = dns_zone_message_build(&m, &z, &err);
    if (r < 0) log_error("dns_zone_not_made", KV_S("why", err.msg));
    a->port = r < 0 ? a->port : m.registry_port;
    a->silent_ms = r < 0 ? a->silent_ms : m.silent_ms;
    dns_zone_message_fini(&m);
    return r < 0 ? NULL : z;
}

/* Decides by the zone in use; if its answers had expired, it is made anew. */
static void decide(struct answering *a) {
    int64_t now = clock_mono_ms();
    if (!a->kept.zone) return;
    bool live = is_live(a, now);
    atomic_store(&a->live, live);
    if (live) atomic_store(&a->heard_at, clock_wall_s());
    if (!live && is_expired(a)) {
        unpublish(a, "central was not heard for longer than stale_for");
    } else if (a->zone) {
        (void)dns_health_decide(a->local, now);
        publish_if_new(a, a->zone, live);
    } else {
        struct dns_zone *z = zone_build(a, a->kept.zone, a->kept.zone_len);
        if (z) zone_use(a, z);
    }
    write_if_due(a, now);
}

static void on_decide(void *arg) {
    struct answering *a = arg;
    decide(a);
    dns_views_tidy(a->views);
    timer_set(&a->decide, DECIDE_EVERY_MS);
}

static void on_probe(size_t edge, const struct dns_report *r, void *arg) {
    struct answering *a = arg;
    if (!a->kept.reached[edge]) a->changed = true;
    a->kept.reached[edge] = 1;
    dns_health_report(a->local, edge, r);
    if (!atomic_load(&a->live)) decide(a);
}

/* --- zones (the loop) --- */

static void probes_renew(struct answering *a, const struct dns_zone *z) {
    dns_probes_free(a->probes);
    a->probes = dns_probes_new(a->loop, z, a->site, a->port, on_probe, a);
    if (a->started) dns_probes_start(a->probes);
}

/* What probes found of edges that both zones have is kept. */
static void health_renew(struct answering *a, const struct dns_zone *z) {
    const struct dns_health_config c = {.silent_ms = a->silent_ms, .load_max = 100};
    struct dns_health *before = a->local;
    a->local = dns_health_new(z, &c);
    if (before) dns_health_take(a->local, before);
    dns_health_free(before);
}

/* The answers are by z from now on; kept and base have a state for each of its edges. */
static void zone_use(struct answering *a, struct dns_zone *z) {
    health_renew(a, z);
    probes_renew(a, z);
    (void)dns_health_decide(a->local, clock_mono_ms());
    publish_if_new(a, z, is_live(a, clock_mono_ms()));
}

/* What is new, on its way to the loop. */
struct news {
    struct answering *all;
    bool ended;
    char site[64];
    struct watch_dns told;
    uint8_t *states; /* what told points to */
    uint8_t *zone;   /* NULL: the one that was told before */
    size_t zone_len;
};

static void news_free(struct news *n) {
    free(n->states);
    free(n->zone);
    free(n);
}

/* Of edges that both zones have, what was answered and reached is taken over, by name. */
static void carry(const struct answering *a, const struct dns_zone *z, struct dns_kept *fresh) {
    struct map *places = map_new(NULL);
    char key[DNS_EDGE_KEY_MAX];
    for (size_t i = 0; a->zone && i < a->zone->n_edges; i++) {
        size_t n = dns_edge_key(key, a->zone->edges[i].site, a->zone->edges[i].name);
        map_set(places, key, n, (void *)(i + 1));
    }
    for (size_t i = 0; i < z->n_edges; i++) {
        size_t n = dns_edge_key(key, z->edges[i].site, z->edges[i].name), at = (size_t)map_get(places, key, n);
        if (!at) continue;
        fresh->states[i] = a->kept.states[at - 1];
        fresh->reached[i] = a->kept.reached[at - 1];
    }
    map_free(places);
}

static bool are_known(const uint8_t *states, size_t n) {
    size_t known = 0;
    while (known < n && dns_state_is_known(states[known]))
        known++;
    return known == n;
}

/* NULL: the zone cannot be used, or its states cannot, and the present one stays. */
static struct dns_zone *take_zone(struct answering *a, struct news *n) {
    struct dns_zone *z = zone_build(a, n->zone, n->zone_len);
    if (!z) return NULL;
    if (z->n_edges != n->told.n_states || !are_known(n->states, n->told.n_states)) {
        log_error("dns_zone_not_made", KV_S("why", "the states that central tells are not of the zone's edges"));
        dns_zone_free(z);
        return NULL;
    }
    struct dns_kept fresh = {.zone = n->zone,
                             .zone_len = n->zone_len,
                             .zone_version = n->told.zone,
                             .serial = a->kept.serial,
                             .states = xcalloc(z->n_edges + 1, 1),
                             .reached = xcalloc(z->n_edges + 1, 1),
                             .n = z->n_edges};
    n->zone = NULL;
    carry(a, z, &fresh);
    dns_kept_fini(&a->kept);
    a->kept = fresh;
    a->changed = true;
    snprintf(a->site, sizeof(a->site), "%s", n->site);
    log_info("dns_zone", KV_S("state", "told by central"), KV_I("sites", z->n_sites), KV_I("edges", z->n_edges));
    return z;
}

/* False: they are not of the zone in use, or no states. */
static bool take_states(struct answering *a, struct news *n) {
    a->told = a->kept.zone && n->told.zone == a->kept.zone_version && n->told.n_states == a->kept.n &&
              are_known(n->states, n->told.n_states);
    if (!a->told) return false;
    free(a->base);
    a->base = n->states;
    n->states = NULL;
    a->told_serial = n->told.serial;
    a->kept_answers = n->told.kept;
    return true;
}

static void on_news(void *arg) {
    struct news *n = arg;
    struct answering *a = n->all;
    if (n->ended) {
        if (a->streams) a->ended_ms = clock_mono_ms();
        a->streams = false;
    } else {
        struct dns_zone *z = n->zone ? take_zone(a, n) : NULL;
        a->streams = true;
        if (take_states(a, n) && z)
            zone_use(a, z);
        else
            dns_zone_free(z);
        decide(a);
    }
    news_free(n);
}

void answering_told(struct answering *a, const struct answering_news *told) {
    struct news *n = xcalloc(1, sizeof(*n));
    n->all = a;
    n->ended = !told;
    if (told) {
        n->told = told->dns;
        n->states = xmalloc(told->dns.n_states + 1);
        if (told->dns.n_states) memcpy(n->states, told->dns.states, told->dns.n_states);
        n->told.states = n->states;
        snprintf(n->site, sizeof(n->site), "%s", told->site);
        if (told->zone) {
            n->zone = xmalloc(told->zone_len + 1);
            memcpy(n->zone, told->zone, told->zone_len);
            n->zone_len = told->zone_len;
        }
    }
    loop_call(a->loop, on_news, n);
}

/* --- life --- */

/* What is on the disk, before the loop runs. */
static void begin_kept(struct answering *a) {
    dns_kept_read(&a->kept, a->path);
    struct dns_zone *z = a->kept.zone ? zone_build(a, a->kept.zone, a->kept.zone_len) : NULL;
    if (!z || z->n_edges != a->kept.n) {
        dns_zone_free(z);
        dns_kept_fini(&a->kept);
        return;
    }
    a->first_version = a->kept.zone_version;
    atomic_store(&a->heard_at, a->kept.heard_at);
    a->base = xmalloc(a->kept.n + 1);
    if (a->kept.n) memcpy(a->base, a->kept.states, a->kept.n);
    if (is_expired(a)) {
        unpublish(a, "central was not heard for longer than stale_for");
        dns_zone_free(z);
        return;
    }
    health_renew(a, z);
    for (size_t i = 0; i < z->n_edges; i++)
        if (is_sibling(a, z, i) && a->kept.reached[i] && dns_state_named((enum dns_state)a->kept.states[i]))
            dns_health_restore(a->local, i, clock_mono_ms(), DNS_RESTORED_ASKED_MS);
    probes_renew(a, z);
    publish_if_new(a, z, false);
}

int answering_new(struct answering **out, const struct answering_setup *setup, struct error *err) {
    const struct dns_config *c = setup->config;
    struct answering *a = xcalloc(1, sizeof(*a));
    a->listen = xstrdup(c->listen);
    a->path = xstrdup(setup->path);
    snprintf(a->site, sizeof(a->site), "%s", setup->site);
    a->stale_for_ms = setup->stale_for_ms;
    a->pool = setup->pool;
    a->heard_ms = setup->heard_ms;
    a->arg = setup->arg;
    a->ended_ms = NEVER;
    a->write = (struct offload){.run = write_run, .back = on_written};
    a->seat = c->threads + 1;
    a->views = dns_views_new(c->threads + 3); /* the server's, other readers', the loop's own */
    a->loop = loop_new("dns-health");
    atomic_store(&a->problem, "central has not told its zone yet");
    timer_init(&a->decide, a->loop, on_decide, a);
    if (pthread_mutex_init(&a->reading, NULL) != 0) abort();
    begin_kept(a);
    const struct dns_server_setup server = {.listen = c->listen,
                                            .threads = c->threads,
                                            .rate_per_s = c->rate_per_s,
                                            .connections = c->connections,
                                            .views = a->views};
    int r = dns_server_new(&a->server, &server, err);
    if (r < 0) {
        answering_free(a);
        return r;
    }
    *out = a;
    return 0;
}

static void begin(void *arg) {
    struct answering *a = arg;
    if (a->probes) dns_probes_start(a->probes);
    timer_set(&a->decide, DECIDE_EVERY_MS);
}

void answering_start(struct answering *a) {
    a->started = true;
    loop_start(a->loop);
    loop_call(a->loop, begin, a);
    dns_server_start(a->server);
}

void answering_free(struct answering *a) {
    dns_server_free(a->server);
    if (a->started) {
        loop_stop(a->loop);
        loop_join(a->loop);
        workpool_wait_idle(a->pool);
        while (loop_run_pending(a->loop))
            continue;
        a->kept.heard_at = atomic_load(&a->heard_at);
        if (a->kept.zone) dns_kept_write(&a->kept, a->path);
    }
    dns_probes_free(a->probes);
    timer_fini(&a->decide);
    dns_health_free(a->local);
    loop_free(a->loop);
    dns_views_free(a->views);
    dns_kept_fini(&a->kept);
    pthread_mutex_destroy(&a->reading);
    free(a->base);
    free(a->listen);
    free(a->path);
    free(a);
}

uint64_t answering_kept_version(const struct answering *a) {
    return a->first_version;
}

static json_t *source_json(const struct answering *a) {
    int64_t heard = atomic_load(&a->heard_at), age = clock_wall_s() - heard;
    const char *problem = atomic_load(&a->problem);
    return json_pack("{s:b, s:o, s:s}", "live", atomic_load(&a->live), "heard_s_ago",
                     heard ? json_integer(age > 0 ? age : 0) : json_null(), "problem", problem ? problem : "");
}

json_t *answering_json(struct answering *a) {
    pthread_mutex_lock(&a->reading);
    const struct dns_view *v = dns_views_enter(a->views, a->seat);
    json_t *doc = dns_status(v, a->server, a->listen);
    dns_views_leave(a->views, a->seat);
    pthread_mutex_unlock(&a->reading);
    json_object_set_new(doc, "source", source_json(a));
    return doc;
}

json_t *answering_facts(struct answering *a, const char *site, const char *edge) {
    pthread_mutex_lock(&a->reading);
    const struct dns_view *v = dns_views_enter(a->views, a->seat);
    json_t *facts = v ? zone_facts(v->zone, site, edge) : NULL;
    dns_views_leave(a->views, a->seat);
    pthread_mutex_unlock(&a->reading);
    return facts;
}

unsigned answering_port(const struct answering *a) {
    return dns_server_port(a->server);
}
