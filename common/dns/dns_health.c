/* Decides which edges may be named. Thread: the owner's. */
#include "common/dns/dns_health.h"

#include "common/dns/joined.h"
#include "common/core/alloc.h"
#include "common/core/map.h"

#include <string.h>

enum {
    FULL_UPLINK_SILENT_MS = 15000,
    /* How long an edge that comes back is watched; doubled for each time it has left lately. */
    SETTLE_MS = 3000,
    SETTLE_MAX_MS = 60000,
    DEPARTURES_MS = 600000,
    /* Most of at least SITES_MIN sites silent within AT_ONCE_MS: central's own link is down. */
    SITES_MIN = 4,
    AT_ONCE_MS = 10000,
    KEEP_MS = 300000,
};
#define NEVER (INT64_MIN / 2)

struct edge {
    char *site, *name; /* site is the zone's text, copied */
    struct dns_report last;
    int64_t well_since_ms; /* without a break in what was heard; NEVER: is not well */
    int64_t left_ms;       /* when it last ceased to be named for silence or a closed port */
    unsigned departures;
    bool known;    /* was heard, or restored */
    bool restored; /* last is made up: nothing was heard since the start */
    bool speaks, barred;
    bool named_when_silent;
    enum dns_state state;
};

struct dns_health {
    struct dns_health_config config;
    struct edge *edges;
    size_t n_edges;
    uint32_t *first; /* of each site, and one more */
    size_t n_sites;
    int64_t kept_since_ms; /* 0: answers are not kept */
    bool keeping_over;     /* they were kept for the whole time; not again before most sites are heard */
};

const char *dns_state_word(enum dns_state s) {
    static const char *const words[] = {"unknown", "good", "kept", "silent", "closed", "busy", "settling", "barred"};
    return words[s];
}

struct dns_health *dns_health_new(const struct dns_zone *zone, const struct dns_health_config *c) {
    struct dns_health *h = xcalloc(1, sizeof(*h));
    h->config = *c;
    h->n_edges = zone->n_edges;
    h->n_sites = zone->n_sites;
    h->edges = xcalloc(h->n_edges + 1, sizeof(*h->edges));
    h->first = xcalloc(h->n_sites + 1, sizeof(*h->first));
    for (size_t i = 0; i < h->n_sites; i++)
        h->first[i] = zone->sites[i].first;
    h->first[h->n_sites] = (uint32_t)h->n_edges;
    for (size_t i = 0; i < h->n_edges; i++) {
        h->edges[i].site = xstrdup(zone->edges[i].site);
        h->edges[i].name = xstrdup(zone->edges[i].name);
        h->edges[i].well_since_ms = h->edges[i].left_ms = NEVER;
    }
    return h;
}

void dns_health_free(struct dns_health *h) {
    if (!h) return;
    for (size_t i = 0; i < h->n_edges; i++) {
        free(h->edges[i].site);
        free(h->edges[i].name);
    }
    free(h->edges);
    free(h->first);
    free(h);
}

/* Edges are found by a map. With 2,000 edges, comparing each with each took 30 ms, in which no change got into answers;
 * this takes 0.5 ms. */
void dns_health_take(struct dns_health *h, const struct dns_health *old) {
    struct map *known = map_new(NULL);
    char key[DNS_EDGE_KEY_MAX];
    for (size_t i = 0; i < old->n_edges; i++) {
        struct edge *o = &old->edges[i];
        map_set(known, key, dns_edge_key(key, o->site, o->name), o);
    }
    for (size_t i = 0; i < h->n_edges; i++) {
        struct edge *e = &h->edges[i];
        const struct edge *o = map_get(known, key, dns_edge_key(key, e->site, e->name));
        if (!o) continue;
        char *site = e->site, *name = e->name;
        *e = *o;
        e->site = site;
        e->name = name;
    }
    map_free(known);
    h->kept_since_ms = old->kept_since_ms;
    h->keeping_over = old->keeping_over;
}

void dns_health_restore(struct dns_health *h, size_t edge, int64_t now_ms, int64_t for_ms) {
    struct edge *e = &h->edges[edge];
    e->known = e->restored = true;
    e->last = (struct dns_report){.heard_ms = now_ms + for_ms - h->config.silent_ms, .port_open = true};
    e->well_since_ms = now_ms;
    e->state = DNS_EDGE_GOOD;
}

void dns_health_report(struct dns_health *h, size_t edge, const struct dns_report *r) {
    struct edge *e = &h->edges[edge];
    int64_t before = e->last.heard_ms;
    if (e->speaks && r->voice != DNS_VOICE_EDGE) return;
    e->speaks = r->voice == DNS_VOICE_EDGE;
    e->last = *r;
    if (e->known && !e->restored && r->heard_ms < before) e->last.heard_ms = before;
    e->known = true;
    e->restored = false;
}

bool dns_health_speaks(const struct dns_health *h, size_t edge) {
    return h->edges[edge].speaks;
}

void dns_health_bar(struct dns_health *h, size_t edge, bool barred) {
    h->edges[edge].barred = barred;
}

/* --- deciding --- */

static bool is_silent(const struct dns_health *h, const struct edge *e, int64_t now_ms) {
    int64_t limit = e->last.uplink_full ? FULL_UPLINK_SILENT_MS : h->config.silent_ms;
    if (limit < h->config.silent_ms) limit = h->config.silent_ms;
    return now_ms - e->last.heard_ms >= limit;
}

/* When a site was last heard, if it has fallen silent; NEVER if it has not, or no edge of it was ever heard. A port
 * that is closed is an answer. */
static int64_t silent_since(const struct dns_health *h, size_t site, int64_t now_ms, bool *known) {
    int64_t last = NEVER;
    for (uint32_t i = h->first[site]; i < h->first[site + 1]; i++) {
        const struct edge *e = &h->edges[i];
        if (!e->known || e->barred) continue;
        *known = true;
        if (!is_silent(h, e, now_ms)) return NEVER;
        if (e->last.heard_ms > last) last = e->last.heard_ms;
    }
    return last;
}

/* Whether more than half of the sites have fallen silent; at once: within a short time of each other. */
static bool most_silent(const struct dns_health *h, int64_t now_ms, bool at_once) {
    size_t known = 0, silent = 0;
    int64_t latest = NEVER;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < h->n_sites; i++) {
            bool heard = false;
            int64_t since = silent_since(h, i, now_ms, &heard);
            if (pass == 0) known += heard;
            if (pass == 0 && since > latest) latest = since;
            if (pass == 1 && since != NEVER && (!at_once || since >= latest - AT_ONCE_MS)) silent++;
        }
    }
    return known >= SITES_MIN && 2 * silent > known;
}

static void decide_keeping(struct dns_health *h, int64_t now_ms) {
    if (h->kept_since_ms) {
        bool most = most_silent(h, now_ms, false), over = now_ms - h->kept_since_ms >= KEEP_MS;
        if (most && !over) return;
        h->kept_since_ms = 0;
        h->keeping_over = most;
    } else if (h->keeping_over) {
        h->keeping_over = most_silent(h, now_ms, false);
    } else if (most_silent(h, now_ms, true)) {
        h->kept_since_ms = now_ms;
    }
}

static int64_t settle_ms(const struct edge *e) {
    int64_t ms = SETTLE_MS;
    for (unsigned i = 1; i < e->departures && ms < SETTLE_MAX_MS; i++)
        ms *= 2;
    return ms < SETTLE_MAX_MS ? ms : SETTLE_MAX_MS;
}

static void left(struct edge *e, int64_t now_ms) {
    if (!dns_state_named(e->state) && e->state != DNS_EDGE_BUSY) return;
    if (now_ms - e->left_ms > DEPARTURES_MS) e->departures = 0;
    e->departures++;
    e->left_ms = now_ms;
}

static enum dns_state decide_silent(const struct dns_health *h, struct edge *e, int64_t now_ms) {
    if (e->state != DNS_EDGE_SILENT && e->state != DNS_EDGE_KEPT) e->named_when_silent = dns_state_named(e->state);
    e->well_since_ms = NEVER;
    bool lately = h->kept_since_ms && e->last.heard_ms + AT_ONCE_MS + h->config.silent_ms >= h->kept_since_ms;
    if (e->named_when_silent && lately) return DNS_EDGE_KEPT;
    left(e, now_ms);
    return DNS_EDGE_SILENT;
}

static enum dns_state decide_edge(const struct dns_health *h, struct edge *e, int64_t now_ms) {
    if (e->barred) {
        left(e, now_ms);
        e->well_since_ms = NEVER;
        return DNS_EDGE_BARRED;
    }
    if (!e->known) return DNS_EDGE_UNKNOWN;
    if (is_silent(h, e, now_ms)) return decide_silent(h, e, now_ms);
    if (!e->last.port_open) {
        left(e, now_ms);
        e->well_since_ms = NEVER;
        return DNS_EDGE_CLOSED;
    }
    bool came_now = e->well_since_ms == NEVER;
    if (came_now) e->well_since_ms = now_ms;
    /* The first time, and after silence that was central's own, there is nothing to wait for. */
    bool watched = e->left_ms != NEVER && e->state != DNS_EDGE_KEPT && !dns_state_named(e->state);
    if (watched && now_ms - e->well_since_ms < settle_ms(e) && now_ms - e->left_ms < DEPARTURES_MS)
        return DNS_EDGE_SETTLING;
    unsigned limit = e->state == DNS_EDGE_BUSY ? h->config.load_max * 4 / 5 : h->config.load_max;
    return e->last.load > limit ? DNS_EDGE_BUSY : DNS_EDGE_GOOD;
}

bool dns_health_decide(struct dns_health *h, int64_t now_ms) {
    int64_t kept = h->kept_since_ms;
    decide_keeping(h, now_ms);
    bool changed = !kept != !h->kept_since_ms;
    for (size_t i = 0; i < h->n_edges; i++) {
        enum dns_state s = decide_edge(h, &h->edges[i], now_ms);
        changed = changed || s != h->edges[i].state;
        h->edges[i].state = s;
    }
    return changed;
}

enum dns_state dns_health_state(const struct dns_health *h, size_t edge) {
    return h->edges[edge].state;
}

uint8_t *dns_health_states(const struct dns_health *h) {
    uint8_t *states = xcalloc(h->n_edges + 1, sizeof(*states));
    for (size_t i = 0; i < h->n_edges; i++)
        states[i] = (uint8_t)h->edges[i].state;
    return states;
}

int64_t dns_health_kept_since(const struct dns_health *h) {
    return h->kept_since_ms;
}
