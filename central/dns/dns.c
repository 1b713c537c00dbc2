/* One loop, "dns-health", hears of the edges, decides which may be named, and publishes a new view when that changes.
 * Thread: as dns.h says; what is marked so, the loop's. */
#include "central/dns/dns.h"

#include "common/dns/cookie.h"
#include "central/dns/direct.h"
#include "common/dns/dns_probe.h"
#include "central/dns/saved.h"
#include "central/dns/told.h"
#include "common/dns/dns_server.h"
#include "common/dns/views.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Edges that come within REBUILD_MS of each other get their places in the zone together. It is made anew at most every
 * REBUILD_EVERY_MS, whatever edges say. */
enum { DECIDE_EVERY_MS = 200, REBUILD_MS = 50, REBUILD_EVERY_MS = 1000 };

struct dns {
    struct dns_cookies cookies;
    struct dns_views *views;
    struct dns_server *server;
    char *listen, *saved_path;
    unsigned registry_port;
    struct ip central[DNS_FAMILIES];
    struct dns_health_config health_config;
    struct workpool *pool;
    struct loop *loop;
    bool started;
    /* The loop's. */
    struct central_config *config; /* what the zone is made from */
    struct dns_fleet fleet;
    struct dns_told *told;
    void (*published)(void *arg);
    void *arg;
    uint64_t fleet_version; /* up to which it is known who is barred */
    struct dns_joined_list joined;
    struct map *places; /* "SITE EDGE" to the edge's index in the zone + 1 */
    struct dns_health *health;
    struct dns_probes *probes;
    struct timer decide, rebuild;
    bool to_rebuild;
    int64_t rebuilt_ms;
    uint32_t serial;
    struct map *slots; /* lower-case name of a site to its slot + 1 */
    uint32_t n_slots;
    /* One writer at a time; the loop gives it a text, and gives the next when it is back. */
    struct work write;
    struct loop_task written;
    char *text;
    size_t text_len;
    bool writing, write_again;
    /* Readers outside the server share a seat. */
    unsigned seat;
    pthread_mutex_t reading;
    pthread_mutex_t directing; /* serving loops, for a moment each, with a seat of their own */
};

/* --- saving (the loop, and the work pool) --- */

static void write_text(const struct dns *d) {
    struct error err = {0};
    if (file_write_atomic(d->saved_path, 0600, d->text ? d->text : "", d->text_len, &err) < 0)
        log_warn("dns_state_not_written", KV_S("why", err.msg));
}

static void make_text(struct dns *d) {
    struct buf b;
    buf_init(&b, 0);
    dns_saved_write(dns_views_zone(d->views), d->health, &b);
    free(d->text);
    d->text = buf_steal(&b, &d->text_len);
}

static void write_run(struct work *w) {
    struct dns *d = container_of(w, struct dns, write);
    write_text(d);
    loop_post(d->loop, &d->written);
}

static void save(struct dns *d) {
    if (d->writing) {
        d->write_again = true;
        return;
    }
    make_text(d);
    d->writing = true;
    d->write_again = false;
    d->write.fn = write_run;
    workpool_submit(d->pool, &d->write);
}

static void on_written(struct loop_task *t) {
    struct dns *d = container_of(t, struct dns, written);
    d->writing = false;
    if (d->write_again && d->started) save(d);
}

/* --- deciding (the loop) --- */

static void log_changes(const struct dns_view *v, const struct dns_health *h) {
    for (size_t i = 0; i < v->zone->n_edges; i++) {
        enum dns_state before = v->states[i], now = dns_health_state(h, i);
        if (before == now) continue;
        const struct dns_target *e = &v->zone->edges[i];
        log_info("dns_edge", KV_S("site", e->site), KV_S("edge", e->name), KV_S("state", dns_state_word(now)),
                 KV_S("before", dns_state_word(before)));
    }
    if (!v->kept_since_ms && dns_health_kept_since(h))
        log_warn("dns_answers_kept",
                 KV_S("why", "more than half of the sites fell silent at once, so central's own link "
                             "is probably down; the last answers stay for 5 minutes at most"));
}

static void publish(struct dns *d, const struct dns_zone *zone) {
    uint32_t now_s = (uint32_t)clock_wall_s();
    d->serial = (int32_t)(now_s - d->serial) > 0 ? now_s : d->serial + 1;
    _cleanup_(freep) uint8_t *states = dns_health_states(d->health);
    struct dns_view *v = dns_view_new(zone, states, dns_health_kept_since(d->health), d->serial);
    dns_told_view(d->told, v);
    dns_views_publish(d->views, v);
    d->published(d->arg);
}

static void decide(struct dns *d) {
    if (!dns_health_decide(d->health, clock_mono_ms())) return;
    const struct dns_view *v = dns_views_enter(d->views, d->seat + 1);
    log_changes(v, d->health);
    const struct dns_zone *zone = v->zone;
    dns_views_leave(d->views, d->seat + 1);
    publish(d, zone);
    save(d);
}

static enum dns_member member_of(const struct dns *d, const char *site, const char *name) {
    return d->fleet.member ? d->fleet.member(site, name, d->fleet.arg) : DNS_MEMBER_NONE;
}

static bool is_in_fleet(const struct dns_joined *j, void *arg) {
    enum dns_member m = member_of(arg, j->site, j->name);
    return m == DNS_MEMBER_GOOD || m == DNS_MEMBER_BARRED;
}

static void rebuild_soon(struct dns *d) {
    int64_t wait = d->rebuilt_ms + REBUILD_EVERY_MS - clock_mono_ms();
    if (d->to_rebuild) return;
    d->to_rebuild = true;
    timer_set(&d->rebuild, wait > REBUILD_MS ? wait : REBUILD_MS);
}

/* Who was removed or is in quarantine is not named. */
static void bar(struct dns *d, const struct dns_zone *z) {
    d->fleet_version = d->fleet.version ? d->fleet.version(d->fleet.arg) : 0;
    for (size_t i = 0; i < z->n_edges; i++) {
        enum dns_member m = member_of(d, z->edges[i].site, z->edges[i].name);
        dns_health_bar(d->health, i, m == DNS_MEMBER_BARRED || m == DNS_MEMBER_REMOVED);
    }
}

static void look_at_fleet(struct dns *d) {
    if (!d->fleet.version || d->fleet.version(d->fleet.arg) == d->fleet_version) return;
    bar(d, dns_views_zone(d->views));
    if (dns_joined_keep(&d->joined, is_in_fleet, d)) rebuild_soon(d);
}

static void on_decide(void *arg) {
    struct dns *d = arg;
    look_at_fleet(d);
    decide(d);
    dns_views_tidy(d->views);
    timer_set(&d->decide, DECIDE_EVERY_MS);
}

static void on_probe(size_t edge, const struct dns_report *r, void *arg) {
    struct dns *d = arg;
    dns_health_report(d->health, edge, r);
    decide(d);
}

/* --- what edges say of themselves (the loop) --- */

/* The edge's index in the zone; -1: it has no place there. */
static long place_of(const struct dns *d, const char *site, const char *name) {
    char key[DNS_EDGE_KEY_MAX];
    return (long)(uintptr_t)map_get(d->places, key, dns_edge_key(key, site, name)) - 1;
}

/* Such a report changes nothing but when the edge was heard: the next look in DECIDE_EVERY_MS is soon enough. */
static bool is_usual(const struct dns *d, size_t edge, const struct dns_report *r) {
    return dns_health_state(d->health, edge) == DNS_EDGE_GOOD && r->port_open && r->load <= d->health_config.load_max;
}

/* A word on its way to the loop. */
struct told {
    struct dns *dns;
    char site[64], name[64];
    struct dns_word word;
};

/* Whether it says to be elsewhere than the zone has it, because it has moved too often. What is configured counts. */
static bool is_elsewhere(const struct dns *d, long at, const struct dns_joined *j, const struct dns_word *w) {
    return at >= 0 && dns_views_zone(d->views)->edges[at].joined && !dns_joined_is_at(j, w->ip);
}

static void hear(struct dns *d, const struct dns_word *w) {
    struct dns_joined *j;
    struct dns_report r = {.voice = DNS_VOICE_EDGE,
                           .heard_ms = w->heard_ms,
                           .load = w->load,
                           .port_open = w->port == d->registry_port,
                           .uplink_full = w->uplink_full};
    long at = place_of(d, w->site, w->name);
    if (dns_joined_put(&d->joined, w->site, w->name, w->ip, clock_mono_ms(), &j)) rebuild_soon(d);
    if (is_elsewhere(d, at, j, w)) r.port_open = false;
    j->last = r;
    if (at < 0) return;
    bool usual = is_usual(d, (size_t)at, &r);
    dns_probes_leave(d->probes, (size_t)at);
    dns_health_report(d->health, (size_t)at, &r);
    if (!usual) decide(d);
}

static void on_told(void *arg) {
    struct told *t = arg;
    t->word.site = t->site;
    t->word.name = t->name;
    if (member_of(t->dns, t->site, t->name) == DNS_MEMBER_GOOD) hear(t->dns, &t->word);
    free(t);
}

void dns_word(struct dns *d, const struct dns_word *w) {
    struct told *t = xcalloc(1, sizeof(*t));
    t->dns = d;
    t->word = *w;
    snprintf(t->site, sizeof(t->site), "%.63s", w->site);
    snprintf(t->name, sizeof(t->name), "%.63s", w->name);
    loop_call(d->loop, on_told, t);
}

/* --- zones --- */

/* A site keeps its slot for as long as the process lives. */
static void slots_give(struct dns *d, struct dns_zone *z) {
    for (size_t i = 0; i < z->n_sites; i++) {
        uintptr_t slot = (uintptr_t)map_get_s(d->slots, z->sites[i].name);
        if (!slot && d->n_slots < SITES_MAX) {
            slot = ++d->n_slots;
            map_set_s(d->slots, z->sites[i].name, (void *)slot);
        }
        z->sites[i].slot = slot ? (uint32_t)slot - 1 : DNS_SLOT_ELSEWHERE;
    }
}

/* Without edges that have joined. */
static struct dns_zone_parts parts_of(const struct dns *d, const struct central_config *c) {
    struct dns_zone_parts parts = {.dns = &c->dns, .sites = c->sites, .n_sites = c->n_sites, .cookies = &d->cookies};
    memcpy(parts.central, d->central, sizeof(parts.central));
    return parts;
}

/* From the configuration and the edges that have joined. */
static int zone_make(struct dns *d, const struct central_config *c, struct dns_zone **out, struct error *err) {
    struct dns_zone_parts parts = parts_of(d, c);
    struct dns_joined **joined = dns_joined_sorted(&d->joined, &parts.n_joined);
    parts.joined = joined;
    int r = dns_zone_new(out, &parts, err);
    if (r == 0 && dns_told_zone(d->told, *out, &parts, d->registry_port, d->health_config.silent_ms) < 0)
        log_error("dns_zone_not_told", KV_S("why", "it has no room in a message to the edges that answer DNS"));
    free(joined);
    return r;
}

static void places_make(struct dns *d, const struct dns_zone *z) {
    map_free(d->places);
    d->places = map_new(NULL);
    for (size_t i = 0; i < z->n_edges; i++) {
        char key[DNS_EDGE_KEY_MAX];
        size_t len = dns_edge_key(key, z->edges[i].site, z->edges[i].name);
        map_set(d->places, key, len, (void *)(uintptr_t)(i + 1));
    }
}

/* What edges that had no place until now have said. */
static void hear_waiting(struct dns *d, const struct dns_zone *z) {
    for (size_t i = 0; i < z->n_edges; i++) {
        const struct dns_joined *j = dns_joined_find(&d->joined, z->edges[i].site, z->edges[i].name);
        if (j && j->last.heard_ms) dns_health_report(d->health, i, &j->last);
        if (dns_health_speaks(d->health, i)) dns_probes_leave(d->probes, i);
    }
}

/* The zone is used from now on. */
static void zone_use(struct dns *d, struct dns_zone *z) {
    struct dns_health *before = d->health;
    slots_give(d, z);
    places_make(d, z);
    d->health = dns_health_new(z, &d->health_config);
    if (before) dns_health_take(d->health, before);
    dns_health_free(before);
    dns_probes_free(d->probes);
    d->probes = dns_probes_new(d->loop, z, NULL, d->registry_port, on_probe, d);
}

/* A new zone in place of the one that is used; the loop. */
static void zone_renew(struct dns *d, const char *why) {
    struct dns_zone *z;
    struct error err = {0};
    if (zone_make(d, d->config, &z, &err) < 0) { /* what is configured was tried before */
        log_error("dns_zone_not_made", KV_S("why", err.msg));
        return;
    }
    zone_use(d, z);
    hear_waiting(d, z);
    bar(d, z);
    dns_probes_start(d->probes);
    publish(d, z);
    decide(d);
    save(d);
    log_info("dns_zone", KV_S("state", why), KV_I("sites", z->n_sites), KV_I("edges", z->n_edges),
             KV_I("left_out", z->n_left_out));
}

static void on_rebuild(void *arg) {
    struct dns *d = arg;
    d->to_rebuild = false;
    d->rebuilt_ms = clock_mono_ms();
    zone_renew(d, "edges have joined, moved or left");
}

/* A configuration on its way to the loop. */
struct fresh {
    struct dns *dns;
    struct central_config *config;
};

static void on_config(void *arg) {
    struct fresh *f = arg;
    central_config_free(&f->dns->config->node);
    f->dns->config = f->config;
    zone_renew(f->dns, "read anew");
    free(f);
}

int dns_reload(struct dns *d, const struct central_config *config, struct error *err) {
    struct dns_zone *z;
    if (!config->dns.zone) return error_set(err, ERR_INVALID, "dns.zone is gone; the DNS ends with a restart only");
    const struct dns_zone_parts parts = parts_of(d, config);
    int r = dns_zone_new(&z, &parts, err);
    if (r < 0) return r;
    dns_zone_free(z);
    struct fresh *f = xcalloc(1, sizeof(*f));
    *f = (struct fresh){d, central_config_copy(config)};
    loop_call(d->loop, on_config, f);
    return 0;
}

/* --- life --- */

static int server_make(struct dns *d, const struct dns_config *c, struct error *err) {
    const struct dns_server_setup setup = {.listen = c->listen,
                                           .threads = c->threads,
                                           .rate_per_s = c->rate_per_s,
                                           .connections = c->connections,
                                           .views = d->views};
    return dns_server_new(&d->server, &setup, err);
}

static bool may_be_restored(const char *site, const char *edge, void *arg) {
    return member_of(arg, site, edge) == DNS_MEMBER_GOOD;
}

/* The first view: what was saved counts until the edges are heard. */
static int zone_begin(struct dns *d, struct error *err) {
    struct dns_zone *z;
    dns_saved_joined(d->saved_path, &d->joined, may_be_restored, d);
    int r = zone_make(d, d->config, &z, err);
    if (r < 0) return r;
    zone_use(d, z);
    dns_saved_read(d->saved_path, z, d->health, clock_mono_ms());
    bar(d, z);
    (void)dns_health_decide(d->health, clock_mono_ms());
    publish(d, z);
    return 0;
}

int dns_new(struct dns **out, const struct dns_setup *setup, struct error *err) {
    const struct dns_config *c = &setup->config->dns;
    struct dns *d = xcalloc(1, sizeof(*d));
    d->listen = xstrdup(c->listen);
    d->saved_path = xstrdup(setup->saved_path);
    d->registry_port = setup->config->registry_port;
    memcpy(d->central, setup->central, sizeof(d->central));
    d->health_config = (struct dns_health_config){c->silent_ms, c->load_max};
    d->pool = setup->pool;
    d->loop = loop_new("dns-health");
    d->rebuilt_ms = -REBUILD_EVERY_MS;
    d->config = central_config_copy(setup->config);
    d->fleet = setup->fleet;
    d->told = setup->told;
    d->published = setup->published;
    d->arg = setup->arg;
    dns_joined_init(&d->joined);
    d->slots = map_new(NULL);
    d->seat = c->threads + 1;
    d->views = dns_views_new(c->threads + 4); /* the server's, other readers', the loop's own, serving loops' */
    d->written.fn = on_written;
    timer_init(&d->decide, d->loop, on_decide, d);
    timer_init(&d->rebuild, d->loop, on_rebuild, d);
    if (pthread_mutex_init(&d->reading, NULL) != 0 || pthread_mutex_init(&d->directing, NULL) != 0) abort();
    int r = dns_cookies_load(&d->cookies, c->cookie_file, err);
    if (r == 0) r = zone_begin(d, err);
    if (r == 0) r = server_make(d, c, err);
    if (r < 0) {
        dns_free(d);
        return r;
    }
    *out = d;
    return 0;
}

static void begin(void *arg) {
    struct dns *d = arg;
    dns_probes_start(d->probes);
    timer_set(&d->decide, DECIDE_EVERY_MS);
}

void dns_start(struct dns *d) {
    d->started = true;
    loop_start(d->loop);
    loop_call(d->loop, begin, d);
    dns_server_start(d->server);
}

void dns_free(struct dns *d) {
    dns_server_free(d->server);
    if (d->started) {
        loop_stop(d->loop);
        loop_join(d->loop);
        d->started = false;
        workpool_wait_idle(d->pool);
        while (loop_run_pending(d->loop))
            continue;
        make_text(d);
        write_text(d);
    }
    dns_probes_free(d->probes);
    timer_fini(&d->decide);
    timer_fini(&d->rebuild);
    dns_health_free(d->health);
    loop_free(d->loop);
    dns_views_free(d->views);
    map_free(d->slots);
    map_free(d->places);
    dns_joined_fini(&d->joined);
    central_config_free(&d->config->node);
    pthread_mutex_destroy(&d->reading);
    pthread_mutex_destroy(&d->directing);
    free(d->text);
    free(d->listen);
    free(d->saved_path);
    free(d);
}

const struct dns_view *dns_view_now(struct dns *d) {
    pthread_mutex_lock(&d->reading);
    return dns_views_enter(d->views, d->seat);
}

void dns_view_done(struct dns *d) {
    dns_views_leave(d->views, d->seat);
    pthread_mutex_unlock(&d->reading);
}

bool dns_elsewhere(struct dns *d, const struct ip *client, const char *host, char *out, size_t cap) {
    if (strncasecmp(host, "registry.", 9) != 0) return false;
    char name[DNS_NAME_TEXT_MAX];
    pthread_mutex_lock(&d->directing);
    const struct dns_view *v = dns_views_enter(d->views, d->seat + 2);
    bool found = dns_direct_is_asked(v->zone, host) && dns_direct(v, client, name, sizeof(name));
    dns_views_leave(d->views, d->seat + 2);
    pthread_mutex_unlock(&d->directing);
    if (!found) return false;
    int n = snprintf(out, cap, "%s:%u", name, d->registry_port);
    return n > 0 && (size_t)n < cap;
}

const struct dns_server *dns_server_of(const struct dns *d) {
    return d->server;
}

const char *dns_listen_text(const struct dns *d) {
    return d->listen;
}
