/* The ports of the DNS: threads that answer by UDP and do nothing else, and one loop for TCP (RFC 7766). Thread:
 * control, unless a function says otherwise. */
#ifndef ENTREPOT_DNS_DNS_SERVER_H
#define ENTREPOT_DNS_DNS_SERVER_H

#include "common/dns/tally.h"
#include "common/dns/views.h"
#include "common/core/loop.h"

struct dns_server_setup {
    const char *listen;
    unsigned threads;        /* for UDP */
    unsigned rate_per_s;     /* of all threads together */
    unsigned connections;    /* by TCP */
    struct dns_views *views; /* seat i is thread i's, seat `threads` the TCP loop's */
};

struct dns_server;
/* Binds; nothing is answered yet. What setup points to must outlive the server; its strings are copied. */
int dns_server_new(struct dns_server **out, const struct dns_server_setup *setup, struct error *err) must_check;
/* Without a view queries are answered SERVFAIL. */
void dns_server_start(struct dns_server *s);
/* Stops, if it was started, and frees. */
void dns_server_free(struct dns_server *s);
/* Any thread: the tallies of all threads. */
size_t dns_server_tallies(const struct dns_server *s, const struct dns_tally *out[DNS_THREADS_MAX + 1]);
/* Any thread: open TCP connections; the port. */
unsigned dns_server_connections(const struct dns_server *s);
unsigned dns_server_port(const struct dns_server *s);

#endif
