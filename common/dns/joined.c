/* Keeps the list in a map by site and name. Thread: the owner's. */
#include "common/dns/joined.h"

#include "common/core/alloc.h"
#include "common/core/log.h"

#include <stdio.h>
#include <string.h>

size_t dns_edge_key(char out[DNS_EDGE_KEY_MAX], const char *site, const char *name) {
    return (size_t)snprintf(out, DNS_EDGE_KEY_MAX, "%.63s %.63s", site, name);
}

void dns_joined_init(struct dns_joined_list *l) {
    l->map = map_new(free);
}

void dns_joined_fini(struct dns_joined_list *l) {
    map_free(l->map);
}

struct dns_joined *dns_joined_find(const struct dns_joined_list *l, const char *site, const char *name) {
    char key[DNS_EDGE_KEY_MAX];
    return map_get(l->map, key, dns_edge_key(key, site, name));
}

bool dns_joined_is_at(const struct dns_joined *j, const struct ip ip[DNS_FAMILIES]) {
    return memcmp(j->ip, ip, DNS_FAMILIES * sizeof(*ip)) == 0;
}

/* Tells it once: the next such line is possible only after another move was earned. */
static void say_often(const struct dns_joined *j) {
    log_warn("dns_edge_moves_often", KV_S("site", j->site), KV_S("edge", j->name),
             KV_S("then", "it is not named at further addresses for a minute; if it has several, set its key address"));
}

static bool may_move(struct dns_joined *j, int64_t now_ms) {
    int64_t earned = (now_ms - j->move_earned_ms) / DNS_MOVE_MS;
    if (earned > 0) {
        j->moves = earned < DNS_MOVES - (int64_t)j->moves ? j->moves + (unsigned)earned : DNS_MOVES;
        j->move_earned_ms += earned * DNS_MOVE_MS;
    }
    if (j->moves == 0) return false;
    if (--j->moves == 0) say_often(j);
    return true;
}

bool dns_joined_put(struct dns_joined_list *l, const char *site, const char *name, const struct ip ip[DNS_FAMILIES],
                    int64_t now_ms, struct dns_joined **out) {
    char key[DNS_EDGE_KEY_MAX];
    size_t len = dns_edge_key(key, site, name);
    struct dns_joined *j = map_get(l->map, key, len);
    *out = j;
    if (j && (dns_joined_is_at(j, ip) || !may_move(j, now_ms))) return false;
    if (!j) {
        *out = j = xcalloc(1, sizeof(*j));
        snprintf(j->site, sizeof(j->site), "%.63s", site);
        snprintf(j->name, sizeof(j->name), "%.63s", name);
        j->moves = DNS_MOVES;
        j->move_earned_ms = now_ms;
        map_set(l->map, key, len, j);
    }
    memcpy(j->ip, ip, DNS_FAMILIES * sizeof(*ip));
    return true;
}

struct gathering {
    struct dns_joined **list;
    size_t n;
};

static bool gather(const void *key, size_t key_len, void *value, void *arg) {
    (void)key;
    (void)key_len;
    struct gathering *g = arg;
    g->list[g->n++] = value;
    return true;
}

static int by_name(const void *a, const void *b) {
    const struct dns_joined *x = *(struct dns_joined *const *)a, *y = *(struct dns_joined *const *)b;
    int r = strcmp(x->site, y->site);
    return r ? r : strcmp(x->name, y->name);
}

struct dns_joined **dns_joined_sorted(const struct dns_joined_list *l, size_t *n) {
    struct gathering g = {.list = xcalloc(map_len(l->map) + 1, sizeof(struct dns_joined *))};
    map_each(l->map, gather, &g);
    qsort(g.list, g.n, sizeof(struct dns_joined *), by_name);
    *n = g.n;
    return g.list;
}

bool dns_joined_keep(struct dns_joined_list *l, bool (*keep)(const struct dns_joined *j, void *arg), void *arg) {
    size_t n, before = map_len(l->map);
    struct dns_joined **all = dns_joined_sorted(l, &n);
    for (size_t i = 0; i < n; i++) {
        char key[DNS_EDGE_KEY_MAX];
        if (!keep(all[i], arg)) map_del(l->map, key, dns_edge_key(key, all[i]->site, all[i]->name));
    }
    free(all);
    return map_len(l->map) != before;
}
