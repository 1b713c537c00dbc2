/* Keeps a copy of what the configuration says of names, and decides by it. Thread: any; the copy is replaced under a
 * lock. */
#include "central/fleet/cert_names.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/admin/engine_files.h"
#include "common/config/nearest.h"
#include "common/core/alloc.h"
#include "common/core/host_port.h"

struct site_edge {
    char *name;
    struct ip ips[2];
    size_t n_ips;
};

struct site {
    char *name;
    char **neighbours;
    size_t n_neighbours;
    struct network *networks;
    size_t n_networks;
    struct site_edge *edges;
    size_t n_edges;
};

/* Of central's configuration. */
struct facts {
    char **given; /* registry.names, without ports */
    size_t n_given;
    char *zone; /* NULL: none */
    struct site *sites;
    size_t n_sites;
    struct ip *central; /* addresses of its own */
    size_t n_central;
    char *own[OWN_ADDRESSES_MAX]; /* HOST:PORT by which clients reach it */
    size_t n_own;
};

struct cert_names {
    pthread_mutex_t lock;
    struct facts *facts;
};

/* --- a copy of the configuration --- */

/* The host of HOST:PORT. False: there is none. */
static bool host_of(const char *text, char out[WIRE_NAME_MAX]) {
    struct host_port hp;
    if (!host_port_parse(&hp, text) || !hp.host[0]) return false;
    snprintf(out, WIRE_NAME_MAX, "%s", hp.host);
    return true;
}

static void add_central(struct facts *f, const char *text) {
    char host[WIRE_NAME_MAX];
    struct ip ip;
    if (!host_of(text, host) || !ip_parse(&ip, host, strlen(host))) return;
    f->central = xrealloc(f->central, f->n_central + 1, sizeof(*f->central));
    f->central[f->n_central++] = ip;
}

static void add_ip(struct site_edge *e, const char *text) {
    if (text && ip_parse(&e->ips[e->n_ips], text, strlen(text))) e->n_ips++;
}

static void copy_site(struct site *s, const struct site_config *from) {
    s->name = xstrdup(from->name);
    s->neighbours = xcalloc(from->n_neighbours + 1, sizeof(*s->neighbours));
    for (; s->n_neighbours < from->n_neighbours; s->n_neighbours++)
        s->neighbours[s->n_neighbours] = xstrdup(from->neighbours[s->n_neighbours]);
    s->networks = xcalloc(from->n_networks + 1, sizeof(*s->networks));
    for (size_t i = 0; i < from->n_networks; i++)
        if (network_parse(&s->networks[s->n_networks], from->networks[i])) s->n_networks++;
    s->edges = xcalloc(from->n_edges + 1, sizeof(*s->edges));
    for (; s->n_edges < from->n_edges; s->n_edges++) {
        const struct site_edge_config *e = &from->edges[s->n_edges];
        s->edges[s->n_edges].name = xstrdup(e->name);
        add_ip(&s->edges[s->n_edges], e->address);
        add_ip(&s->edges[s->n_edges], e->address6);
    }
}

static struct facts *facts_new(const struct central_config *cfg) {
    struct facts *f = xcalloc(1, sizeof(*f));
    f->given = xcalloc(cfg->node.n_registry_names + 1, sizeof(*f->given));
    for (size_t i = 0; i < cfg->node.n_registry_names; i++) {
        char host[WIRE_NAME_MAX];
        if (host_of(cfg->node.registry_names[i], host)) f->given[f->n_given++] = xstrdup(host);
    }
    f->zone = cfg->dns.zone ? xstrdup(cfg->dns.zone) : NULL;
    f->sites = xcalloc(cfg->n_sites + 1, sizeof(*f->sites));
    for (; f->n_sites < cfg->n_sites; f->n_sites++)
        copy_site(&f->sites[f->n_sites], &cfg->sites[f->n_sites]);
    f->n_own = client_own_addresses(&cfg->node, f->own);
    for (size_t i = 0; i < f->n_own; i++)
        add_central(f, f->own[i]);
    for (size_t i = 0; i < cfg->n_fleet_addresses; i++)
        add_central(f, cfg->fleet_addresses[i]);
    for (size_t i = 0; i < cfg->dns.n_central; i++)
        add_central(f, cfg->dns.central[i]);
    return f;
}

static void free_list(char **list, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static void site_fini(struct site *s) {
    free(s->name);
    free_list(s->neighbours, s->n_neighbours);
    free(s->networks);
    for (size_t i = 0; i < s->n_edges; i++)
        free(s->edges[i].name);
    free(s->edges);
}

static void facts_free(struct facts *f) {
    if (!f) return;
    free_list(f->given, f->n_given);
    free(f->zone);
    for (size_t i = 0; i < f->n_sites; i++)
        site_fini(&f->sites[i]);
    free(f->sites);
    free(f->central);
    for (size_t i = 0; i < f->n_own; i++)
        free(f->own[i]);
    free(f);
}

struct cert_names *cert_names_new(const struct central_config *cfg) {
    struct cert_names *c = xcalloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    c->facts = facts_new(cfg);
    return c;
}

void cert_names_replace(struct cert_names *c, const struct central_config *cfg) {
    struct facts *fresh = facts_new(cfg);
    pthread_mutex_lock(&c->lock);
    struct facts *old = c->facts;
    c->facts = fresh;
    pthread_mutex_unlock(&c->lock);
    facts_free(old);
}

void cert_names_free(struct cert_names *c) {
    if (!c) return;
    facts_free(c->facts);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* --- what is granted --- */

static void grant(struct cert_names_grant *g, const char *name) {
    if (g->n == CERT_NAMES_MAX || strlen(name) >= WIRE_NAME_MAX) return;
    char *to = g->names[g->n];
    for (size_t i = 0; (to[i] = (char)tolower((unsigned char)name[i])); i++) {}
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->names[i], to) == 0) return;
    g->n++;
}

/* LABEL[.SITE].ZONE. */
static void grant_in_zone(const struct facts *f, struct cert_names_grant *g, const char *label, const char *site) {
    char name[WIRE_NAME_MAX];
    int n = f->zone ? snprintf(name, sizeof(name), "%s%s%s.%s", label, site ? "." : "", site ? site : "", f->zone) : -1;
    if (n > 0 && (size_t)n < sizeof(name)) grant(g, name);
}

static const struct site *site_named(const struct facts *f, const char *name) {
    for (size_t i = 0; i < f->n_sites; i++)
        if (strcmp(f->sites[i].name, name) == 0) return &f->sites[i];
    return NULL;
}

static bool has_ip(const struct site_edge *e, const struct ip *ip) {
    for (size_t i = 0; i < e->n_ips; i++)
        if (memcmp(&e->ips[i], ip, sizeof(*ip)) == 0) return true;
    return false;
}

/* The site whose edge has this address, or with the longest network around it. NULL: none. */
static const struct site *site_of(const struct facts *f, const struct ip *ip) {
    const struct site *found = NULL;
    unsigned bits = 0;
    for (size_t i = 0; i < f->n_sites; i++) {
        const struct site *s = &f->sites[i];
        for (size_t k = 0; k < s->n_edges; k++)
            if (has_ip(&s->edges[k], ip)) return s;
        for (size_t k = 0; k < s->n_networks; k++) {
            if (!network_has(&s->networks[k], ip) || (found && s->networks[k].bits <= bits)) continue;
            found = s;
            bits = s->networks[k].bits;
        }
    }
    return found;
}

/* RFC 1918, RFC 6598, RFC 3927, RFC 4193, and link-local IPv6. */
static bool is_private(const struct ip *ip) {
    static const char *const networks[] = {"10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                                           "169.254.0.0/16", "fc00::/7",      "fe80::/10"};
    struct network n;
    for (size_t i = 0; i < ARRAY_LEN(networks); i++)
        if (network_parse(&n, networks[i]) && network_has(&n, ip)) return true;
    return false;
}

static bool is_central(const struct facts *f, const struct ip *ip) {
    for (size_t i = 0; i < f->n_central; i++)
        if (memcmp(&f->central[i], ip, sizeof(*ip)) == 0) return true;
    return false;
}

static bool may_have_ip(const struct facts *f, const struct cert_names_ask *ask, const struct site *site,
                        const struct ip *ip) {
    static const struct ip v6_any, v4_any = {{[10] = 0xff, [11] = 0xff}};
    if (memcmp(ip, &v6_any, sizeof(*ip)) == 0 || memcmp(ip, &v4_any, sizeof(*ip)) == 0) return false;
    if (ip_is_loopback(ip) || (ask->from && memcmp(ask->from, ip, sizeof(*ip)) == 0)) return true;
    const struct site *owner = site_of(f, ip);
    if (owner || (site && site->n_networks > 0)) return owner && owner == site;
    return is_private(ip) && !is_central(f, ip);
}

static bool was_granted(const struct cert_names_grant *g, const char *name) {
    for (size_t i = 0; i < g->n; i++)
        if (strcasecmp(g->names[i], name) == 0) return true;
    return false;
}

/* The names that the edge gets without having asked for them. */
static void grant_given(const struct facts *f, const struct cert_names_ask *ask, const struct site *site,
                        struct cert_names_grant *g) {
    grant(g, ask->edge);
    for (size_t i = 0; i < f->n_given; i++)
        grant(g, f->given[i]);
    if (!site) return;
    grant_in_zone(f, g, "registry", NULL);
    grant_in_zone(f, g, site->name, NULL);
    for (size_t i = 0; i < site->n_edges; i++)
        for (size_t k = 0; k < ask->names->n; k++) {
            struct ip ip;
            const char *name = ask->names->list[k];
            if (ip_parse(&ip, name, strlen(name)) && has_ip(&site->edges[i], &ip))
                grant_in_zone(f, g, site->edges[i].name, site->name);
        }
    for (size_t i = 0; i < f->n_sites && g->n < CERT_NAMES_MAX / 2; i++)
        for (size_t k = 0; k < f->sites[i].n_neighbours; k++)
            if (strcmp(f->sites[i].neighbours[k], site->name) == 0) grant_in_zone(f, g, f->sites[i].name, NULL);
}

/* One name that was asked for. */
static bool decide(const struct facts *f, const struct cert_names_ask *ask, const struct site *site, const char *name,
                   struct cert_names_grant *g) {
    struct ip ip;
    char text[IP_TEXT_MAX];
    if (ip_parse(&ip, name, strlen(name))) {
        if (!may_have_ip(f, ask, site, &ip)) return false;
        grant(g, ip_text(&ip, text));
        return true;
    }
    if (strcasecmp(name, "localhost") == 0) grant(g, name);
    return was_granted(g, name);
}

void cert_names_decide(struct cert_names *c, const struct cert_names_ask *ask, struct cert_names_grant *out) {
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&c->lock);
    const struct facts *f = c->facts;
    const struct site *site = site_named(f, ask->site);
    grant_given(f, ask, site, out);
    for (size_t i = 0; i < ask->names->n; i++) {
        const char *name = ask->names->list[i];
        if (!decide(f, ask, site, name, out)) memcpy(out->refused.list[out->refused.n++], name, WIRE_NAME_MAX);
    }
    pthread_mutex_unlock(&c->lock);
}

bool cert_names_knows_site(struct cert_names *c, const char *site, char *near, size_t cap) {
    near[0] = '\0';
    pthread_mutex_lock(&c->lock);
    const struct facts *f = c->facts;
    bool known = f->n_sites == 0 || site_named(f, site);
    if (!known) {
        _cleanup_(freep) void *list = xcalloc(f->n_sites, sizeof(char *));
        const char **names = list;
        for (size_t i = 0; i < f->n_sites; i++)
            names[i] = f->sites[i].name;
        int i = nearest_word(site, names, f->n_sites);
        if (i >= 0) snprintf(near, cap, "%s", names[i]);
    }
    pthread_mutex_unlock(&c->lock);
    return known;
}

void cert_names_of_central(struct cert_names *c, struct cert_names_grant *out) {
    char host[WIRE_NAME_MAX];
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&c->lock);
    const struct facts *f = c->facts;
    for (size_t i = 0; i < f->n_given; i++)
        grant(out, f->given[i]);
    for (size_t i = 0; i < f->n_own; i++)
        if (host_of(f->own[i], host)) grant(out, host);
    grant_in_zone(f, out, "*", NULL); /* registry, central and each site */
    pthread_mutex_unlock(&c->lock);
}
