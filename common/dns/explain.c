/* Writes explanations and status as JSON. Thread: as explain.h says. */
#include "common/dns/explain.h"

#include "common/core/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ASKERS_SHOWN = 10, NOT_NAMED_SHOWN = 100 };

/* --- why --- */

static void step(json_t *steps, const char *fmt, ...) printf_like(2, 3);
static void step(json_t *steps, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(steps, json_string(text));
}

static const char *network_text(const struct ip *ip, unsigned bits, char out[IP_TEXT_MAX + 4]) {
    char text[IP_TEXT_MAX];
    snprintf(out, IP_TEXT_MAX + 4, "%s/%u", ip_text(ip, text), bits);
    return out;
}

static const char *target_text(const struct dns_target *t, const struct dns_zone *z, char out[IP_TEXT_MAX]) {
    return ip_text(&t->ip[z->has[0] ? 0 : 1], out);
}

static void explain_network(json_t *steps, const struct dns_view *v, const struct dns_client *client,
                            const struct dns_chosen *c) {
    char text[IP_TEXT_MAX + 4];
    if (client->from_subnet)
        step(steps, "the resolver tells the client's subnet, %s (EDNS client subnet)",
             network_text(&client->ip, client->bits, text));
    else
        step(steps, "the resolver tells no client subnet, so its own address counts: %s",
             network_text(&client->ip, client->bits, text));
    const struct dns_prefix *p = c->match.prefix;
    if (!p) {
        step(steps, "no site has a network that holds it");
        return;
    }
    unsigned bits = p->net.bits - (ip_is_v4(&p->net.ip) && p->net.bits >= 96 ? 96 : 0);
    step(steps, "the longest network that holds it is %s, of site %s", network_text(&p->net.ip, bits, text),
         v->zone->sites[p->site].name);
}

/* Writes ", so it is not named", with what can be done about it. */
static const char *why_not(enum dns_state s) {
    switch (s) {
    case DNS_EDGE_GOOD:
    case DNS_EDGE_KEPT:
        return "";
    case DNS_EDGE_CLOSED:
        return ": its registry does not listen on registry.port, so it is not named";
    case DNS_EDGE_BARRED:
        return ": it is in quarantine or was removed (`edge show`), so it is not named";
    default:
        return ", so it is not named";
    }
}

static void explain_left_out(json_t *steps, const struct dns_zone *z, const char *site) {
    for (size_t i = 0; i < z->n_left_out; i++) {
        const struct dns_left_out *l = &z->left_out[i];
        if (strcasecmp(l->site, site) == 0)
            step(steps, "edge %s of site %s has joined, but cannot be named: %s", l->name, l->site, l->why);
    }
}

static void explain_site(json_t *steps, const struct dns_view *v, uint32_t site) {
    const struct dns_site *s = &v->zone->sites[site];
    if (s->n_edges == 0) step(steps, "site %s has no edges", s->name);
    for (uint32_t e = s->first; e < s->first + s->n_edges; e++) {
        char text[IP_TEXT_MAX];
        const struct dns_target *t = &v->zone->edges[e];
        enum dns_state state = v->states[e];
        step(steps, "edge %s of site %s, %s: %s%s", t->name, s->name, target_text(t, v->zone, text),
             dns_state_word(state), why_not(state));
    }
    explain_left_out(steps, v->zone, s->name);
}

static void explain_choice(json_t *steps, const struct dns_view *v, const struct dns_chosen *c) {
    const struct dns_prefix *p = c->match.prefix;
    if (p) {
        const struct dns_site *s = &v->zone->sites[p->site];
        explain_site(steps, v, p->site);
        for (uint32_t i = 0; i < s->n_neighbours && c->choice.from != DNS_FROM_SITE; i++) {
            step(steps, "its neighbour %u is site %s", i + 1, v->zone->sites[s->neighbours[i]].name);
            explain_site(steps, v, s->neighbours[i]);
            if (c->choice.from == DNS_FROM_NEIGHBOUR && c->choice.site == s->neighbours[i]) break;
        }
    }
    if (c->choice.from == DNS_FROM_CENTRAL)
        step(steps, "so central itself is named");
    else if (c->choice.n > 1)
        step(steps, "of %u edges of site %s the client's subnet always gets %s, as long as that may be named",
             c->choice.n, v->zone->sites[c->choice.site].name, c->targets[0]->name);
    else
        step(steps, "so edge %s of site %s is named", c->targets[0]->name, c->targets[0]->site);
    if (v->kept_since_ms)
        step(steps,
             "more than half of the sites fell silent at once: the last answers are kept, for 5 minutes at most");
}

json_t *dns_explain(const struct dns_view *v, const struct dns_client *client) {
    char name[DNS_NAME_TEXT_MAX], text[DNS_NAME_TEXT_MAX + 16];
    json_t *o = json_object(), *answers = json_array(), *steps = json_array();
    struct dns_chosen c;
    dns_choose(v, client, NULL, &c);
    explain_network(steps, v, client, &c);
    explain_choice(steps, v, &c);
    snprintf(text, sizeof(text), "registry.%s", dns_name_text(&v->zone->name, name));
    for (size_t i = 0; i < c.n; i++) {
        for (size_t f = 0; f < DNS_FAMILIES; f++) {
            char address[IP_TEXT_MAX];
            if (v->zone->has[f]) json_array_append_new(answers, json_string(ip_text(&c.targets[i]->ip[f], address)));
        }
    }
    json_object_set_new(o, "name", json_string(text));
    json_object_set_new(o, "answers", answers);
    json_object_set_new(o, "ttl_s", json_integer(v->zone->ttl));
    if (client->from_subnet) json_object_set_new(o, "scope", json_integer(c.scope));
    json_object_set_new(o, "steps", steps);
    return o;
}

/* --- status --- */

static uint64_t get(const _Atomic uint64_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

struct tallies {
    const struct dns_tally *list[DNS_THREADS_MAX + 1];
    size_t n;
};

static json_int_t site_sum(const struct tallies *t, uint32_t slot, enum dns_from from) {
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n; i++)
        sum += get(&t->list[i]->sites[slot][from]);
    return (json_int_t)sum;
}

static json_t *counts_json(const struct tallies *t) {
    json_t *o = json_object();
    for (enum dns_count c = 0; c < DNS_COUNT_ALL; c++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < t->n; i++)
            sum += get(&t->list[i]->counts[c]);
        json_object_set_new(o, dns_count_word(c), json_integer((json_int_t)sum));
    }
    return o;
}

static json_t *site_json(const struct dns_view *v, const struct dns_site *s, const struct tallies *t) {
    json_int_t named = 0, own = site_sum(t, s->slot, DNS_FROM_SITE), near = site_sum(t, s->slot, DNS_FROM_NEIGHBOUR),
               central = site_sum(t, s->slot, DNS_FROM_CENTRAL);
    for (uint32_t e = s->first; e < s->first + s->n_edges; e++)
        named += dns_state_named(v->states[e]);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(s->name));
    json_object_set_new(o, "edges", json_integer(s->n_edges));
    json_object_set_new(o, "named", json_integer(named));
    json_object_set_new(o, "queries", json_integer(own + near + central));
    json_object_set_new(o, "neighbour", json_integer(near));
    json_object_set_new(o, "central", json_integer(central));
    return o;
}

static void left_out_json(const struct dns_zone *z, json_t *list) {
    for (size_t i = 0; i < z->n_left_out && json_array_size(list) < NOT_NAMED_SHOWN; i++) {
        const struct dns_left_out *l = &z->left_out[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", l->name, "site", l->site, "state",
                                              "left out", "why", l->why));
    }
}

static json_t *not_named_json(const struct dns_view *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->zone->n_edges && json_array_size(list) < NOT_NAMED_SHOWN; i++) {
        const struct dns_target *t = &v->zone->edges[i];
        if (dns_state_named(v->states[i])) continue;
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(t->name));
        json_object_set_new(o, "site", json_string(t->site));
        json_object_set_new(o, "state", json_string(dns_state_word(v->states[i])));
        json_array_append_new(list, o);
    }
    left_out_json(v->zone, list);
    return list;
}

struct asker {
    struct ip ip;
    uint32_t n;
};

static int most_first(const void *a, const void *b) {
    const struct asker *x = a, *y = b;
    return x->n < y->n ? 1 : x->n > y->n ? -1 : 0;
}

static void asker_add(struct asker *list, size_t *n, size_t cap, const struct asker *one) {
    for (size_t i = 0; i < *n; i++) {
        if (memcmp(&list[i].ip, &one->ip, sizeof(one->ip)) != 0) continue;
        list[i].n += one->n;
        return;
    }
    if (*n < cap) list[(*n)++] = *one;
}

static json_t *askers_json(const struct tallies *t) {
    size_t n = 0, cap = t->n * DNS_ASKERS;
    struct asker *list = xcalloc(cap + 1, sizeof(*list));
    for (size_t i = 0; i < t->n; i++) {
        for (size_t j = 0; j < DNS_ASKERS; j++) {
            const struct dns_asker_count *a = &t->list[i]->without_subnet[j];
            struct asker one = {.n = atomic_load_explicit(&a->n, memory_order_relaxed)};
            uint64_t words[2] = {get(&a->high), get(&a->low)};
            memcpy(&one.ip, words, sizeof(words));
            if (one.n) asker_add(list, &n, cap, &one);
        }
    }
    qsort(list, n, sizeof(*list), most_first);
    json_t *all = json_array();
    for (size_t i = 0; i < n && i < ASKERS_SHOWN; i++) {
        char text[IP_TEXT_MAX];
        json_t *o = json_object();
        json_object_set_new(o, "address", json_string(ip_text(&list[i].ip, text)));
        json_object_set_new(o, "queries", json_integer(list[i].n));
        json_array_append_new(all, o);
    }
    free(list);
    return all;
}

static void zone_json(json_t *o, const struct dns_view *v, const struct tallies *t) {
    char name[DNS_NAME_TEXT_MAX], text[DNS_NAME_TEXT_MAX + 16];
    json_t *sites = json_array();
    const struct dns_zone *z = v->zone;
    for (size_t i = 0; i < z->n_sites; i++)
        json_array_append_new(sites, site_json(v, &z->sites[i], t));
    dns_name_text(&z->name, name);
    snprintf(text, sizeof(text), "registry.%s", name);
    json_object_set_new(o, "zone", json_string(name));
    json_object_set_new(o, "name", json_string(text));
    json_object_set_new(o, "kept", json_boolean(v->kept_since_ms != 0));
    json_object_set_new(o, "sites", sites);
    json_object_set_new(o, "edges_not_named", not_named_json(v));
}

json_t *dns_status(const struct dns_view *v, const struct dns_server *s, const char *listen) {
    struct tallies t;
    t.n = dns_server_tallies(s, t.list);
    json_t *o = json_object();
    if (v) zone_json(o, v, &t);
    json_object_set_new(o, "listen", json_string(listen));
    json_object_set_new(o, "port", json_integer(dns_server_port(s)));
    json_object_set_new(o, "connections", json_integer(dns_server_connections(s)));
    json_object_set_new(o, "counts", counts_json(&t));
    json_object_set_new(o, "elsewhere", json_integer(site_sum(&t, DNS_SLOT_ELSEWHERE, DNS_FROM_CENTRAL)));
    json_object_set_new(o, "without_subnet", askers_json(&t));
    return o;
}
