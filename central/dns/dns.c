/* One loop, "dns-health", hears of the edges, decides which may be named, and publishes a new view when that changes.
 * Thread: as dns.h says; what is marked so, the loop's. */
#include "central/dns/dns.h"

#include "central/dns/cookie.h"
#include "central/dns/direct.h"
#include "central/dns/dns_probe.h"
#include "central/dns/saved.h"
#include "central/dns/dns_server.h"
#include "central/dns/views.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/map.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DECIDE_EVERY_MS = 200 };

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
    struct dns_health *health;
    struct dns_probes *probes;
    struct timer decide;
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
    dns_views_publish(d->views, dns_view_new(zone, d->health, d->serial));
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

static void on_decide(void *arg) {
    struct dns *d = arg;
    decide(d);
    dns_views_tidy(d->views);
    timer_set(&d->decide, DECIDE_EVERY_MS);
}

static void on_probe(size_t edge, const struct dns_report *r, void *arg) {
    struct dns *d = arg;
    dns_health_report(d->health, edge, r);
    decide(d);
}

/* A report on its way to the loop. */
struct told {
    struct dns *dns;
    char site[64], edge[64];
    struct dns_report report;
};

static void on_told(void *arg) {
    struct told *t = arg;
    const struct dns_zone *z = dns_views_zone(t->dns->views);
    for (size_t i = 0; i < z->n_edges; i++) {
        if (strcmp(z->edges[i].name, t->edge) != 0 || strcmp(z->edges[i].site, t->site) != 0) continue;
        on_probe(i, &t->report, t->dns);
        break;
    }
    free(t);
}

void dns_report(struct dns *d, const char *site, const char *edge, const struct dns_report *r) {
    struct told *t = xcalloc(1, sizeof(*t));
    t->dns = d;
    t->report = *r;
    snprintf(t->site, sizeof(t->site), "%s", site);
    snprintf(t->edge, sizeof(t->edge), "%s", edge);
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

/* A zone on its way to the loop. */
struct fresh {
    struct dns *dns;
    struct dns_zone *zone;
};

static void on_zone(void *arg) {
    struct fresh *f = arg;
    struct dns *d = f->dns;
    struct dns_health *before = d->health;
    slots_give(d, f->zone);
    d->health = dns_health_new(f->zone, &d->health_config);
    dns_health_take(d->health, before);
    dns_health_free(before);
    dns_probes_free(d->probes);
    d->probes = dns_probes_new(d->loop, f->zone, d->registry_port, on_probe, d);
    dns_probes_start(d->probes);
    publish(d, f->zone);
    save(d);
    log_info("dns_zone", KV_S("state", "read anew"), KV_I("sites", f->zone->n_sites), KV_I("edges", f->zone->n_edges));
    free(f);
}

int dns_reload(struct dns *d, const struct central_config *config, struct error *err) {
    struct dns_zone *z;
    if (!config->dns.zone) return error_set(err, ERR_INVALID, "dns.zone is gone; the DNS ends with a restart only");
    int r = dns_zone_new(&z, config, d->central, err);
    if (r < 0) return r;
    struct fresh *f = xcalloc(1, sizeof(*f));
    *f = (struct fresh){d, z};
    loop_call(d->loop, on_zone, f);
    return 0;
}

/* --- life --- */

static int server_make(struct dns *d, const struct dns_config *c, struct error *err) {
    const struct dns_server_setup setup = {.listen = c->listen,
                                           .threads = c->threads,
                                           .rate_per_s = c->rate_per_s,
                                           .connections = c->connections,
                                           .cookies = &d->cookies,
                                           .views = d->views};
    return dns_server_new(&d->server, &setup, err);
}

/* The first view: what was saved counts until the edges are heard. */
static int zone_make(struct dns *d, const struct central_config *c, struct error *err) {
    struct dns_zone *z;
    int r = dns_zone_new(&z, c, d->central, err);
    if (r < 0) return r;
    slots_give(d, z);
    d->health = dns_health_new(z, &d->health_config);
    dns_saved_read(d->saved_path, z, d->health, clock_mono_ms());
    publish(d, z);
    d->probes = dns_probes_new(d->loop, z, d->registry_port, on_probe, d);
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
    d->slots = map_new(NULL);
    d->seat = c->threads + 1;
    d->views = dns_views_new(c->threads + 4); /* the server's, other readers', the loop's own, serving loops' */
    d->written.fn = on_written;
    timer_init(&d->decide, d->loop, on_decide, d);
    if (pthread_mutex_init(&d->reading, NULL) != 0 || pthread_mutex_init(&d->directing, NULL) != 0) abort();
    int r = dns_cookies_load(&d->cookies, c->cookie_file, err);
    if (r == 0) r = zone_make(d, setup->config, err);
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
    dns_health_free(d->health);
    loop_free(d->loop);
    dns_views_free(d->views);
    map_free(d->slots);
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
