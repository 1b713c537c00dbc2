/* The sites and the DNS as configured, as plain values. An edge configures the port alone, and is told the rest by
 * central. Thread: any (immutable once loaded). */
#ifndef ENTREPOT_DNS_DNS_CONFIG_H
#define ENTREPOT_DNS_DNS_CONFIG_H

#include "common/core/base.h"

#define SITES_MAX 4096
#define SITE_EDGES_MAX 64
#define DNS_THREADS_MAX 16

struct site_edge_config {
    char *name;
    char *address;  /* an IPv4 or IPv6 address */
    char *address6; /* an IPv6 address beside an IPv4 one, or NULL */
    unsigned weight;
};

struct site_config {
    char *name; /* one label of a domain name */
    char **networks;
    size_t n_networks;
    char **neighbours; /* names of other sites */
    size_t n_neighbours;
    struct site_edge_config *edges;
    size_t n_edges;
};

struct dns_server_config {
    char *name; /* absolute, or relative to the zone */
    char **addresses;
    size_t n_addresses;
};

enum dns_record_type { DNS_RECORD_A, DNS_RECORD_AAAA, DNS_RECORD_CNAME, DNS_RECORD_TXT };

struct dns_record_config {
    char *name; /* relative to the zone, "@": the zone itself */
    enum dns_record_type type;
    char *value;
};

struct dns_config {
    char *zone; /* NULL: no DNS */
    char *listen;
    int64_t ttl_ms;
    unsigned answers; /* addresses in an answer: 1 or 2 */
    char **central;   /* central's addresses in answers */
    size_t n_central;
    struct dns_server_config *servers;
    size_t n_servers;
    struct dns_record_config *records;
    size_t n_records;
    unsigned threads;
    unsigned rate_per_s; /* answers a second for one network of clients without cookies; 0: no limit */
    unsigned connections;
    char *cookie_file;
    int64_t silent_ms;
    unsigned load_max; /* percent */
};

/* The keys of the port, which both tiers have. place: where a field of struct dns_config is. */
#define DNS_KEYS_OF_PORT(place)                                                                                       \
    {.name = "threads",                                                                                               \
     .type = CONFIG_INT,                                                                                              \
     .at = place(threads),                                                                                            \
     .fallback = "2",                                                                                                 \
     .min = 1,                                                                                                        \
     .max = DNS_THREADS_MAX,                                                                                          \
     .doc = "Threads that answer by UDP. They do nothing else, so pulls and queries do not wait for each other."},    \
        {.name = "rate",                                                                                              \
         .type = CONFIG_INT,                                                                                          \
         .at = place(rate_per_s),                                                                                     \
         .fallback = "1000",                                                                                          \
         .max = 1000000,                                                                                              \
         .doc = "UDP answers in a second to one network of clients (IPv4 /24, IPv6 /56) that have not shown a "       \
                "cookie. Over it, every second query is answered \"truncated\", which a real client repeats by TCP, " \
                "and the others are dropped. 0: no limit."},                                                          \
    {                                                                                                                 \
        .name = "connections", .type = CONFIG_INT, .at = place(connections), .fallback = "256", .min = 8,             \
        .max = 10000,                                                                                                 \
        .doc = "TCP connections that may be open at a time. Over it, the one that was idle longest is closed. One "   \
               "address (IPv6: one /64) has at most half."                                                            \
    }

#endif
