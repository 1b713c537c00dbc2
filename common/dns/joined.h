/* Edges that have joined and say themselves where clients reach them, beside those of the configuration. A plain list
 * that grows; whether one of them gets a place in the zone is decided when the zone is made (zone.h). Thread: its
 * owner's. */
#ifndef ENTREPOT_DNS_JOINED_H
#define ENTREPOT_DNS_JOINED_H

#include "common/dns/dns_health.h"
#include "common/core/map.h"

enum { DNS_EDGE_KEY_MAX = 160 };
/* "SITE NAME", by which maps and the saved state know an edge. Returns its length. */
size_t dns_edge_key(char out[DNS_EDGE_KEY_MAX], const char *site, const char *name);

/* What an edge says of itself. */
struct dns_word {
    const char *site, *name;    /* of its certificate; borrowed for the call */
    struct ip ip[DNS_FAMILIES]; /* all zero: it has none of that family */
    unsigned port;              /* of its registry */
    unsigned load;              /* percent */
    bool uplink_full;
    int64_t heard_ms; /* monotonic */
};

/* Each move is a new zone, which all edges that answer DNS fetch. So an edge may move so often at once, and once more
 * after each DNS_MOVE_MS. */
enum { DNS_MOVES = 4, DNS_MOVE_MS = 60000 };

struct dns_joined {
    char site[64], name[64];
    struct ip ip[DNS_FAMILIES];
    unsigned moves;         /* that it may make now */
    int64_t move_earned_ms; /* monotonic: when the last of them was earned */
    struct dns_report last; /* heard_ms 0: restored, nothing was heard yet */
    const char *why;        /* why it has no place in the zone, static; NULL: it has one, or is configured there */
};

struct dns_joined_list {
    struct map *map; /* "SITE NAME" -> struct dns_joined, which it owns */
};
void dns_joined_init(struct dns_joined_list *l);
void dns_joined_fini(struct dns_joined_list *l);
/* NULL: there is none. */
struct dns_joined *dns_joined_find(const struct dns_joined_list *l, const char *site, const char *name);
/* Adds it with these addresses, or changes them. *out is it; it keeps its old ones if it has moved too often. True: what
 * is known of it has changed. */
bool dns_joined_put(struct dns_joined_list *l, const char *site, const char *name, const struct ip ip[DNS_FAMILIES],
                    int64_t now_ms, struct dns_joined **out);
/* Whether it is known by these addresses. */
bool dns_joined_is_at(const struct dns_joined *j, const struct ip ip[DNS_FAMILIES]);
/* Drops those that keep says false of. True: there were any. */
bool dns_joined_keep(struct dns_joined_list *l, bool (*keep)(const struct dns_joined *j, void *arg), void *arg);
/* All of them, by site and name. The caller frees the array; its entries are the list's. */
struct dns_joined **dns_joined_sorted(const struct dns_joined_list *l, size_t *n);

#endif
