/* `client-config dns KIND`: the lines by which a branch's resolver finds the zone. Thread: main. */
#ifndef ENTREPOT_CLI_CLIENT_DNS_H
#define ENTREPOT_CLI_CLIENT_DNS_H

#include "common/core/buf.h"
#include "common/core/error.h"

#define CLIENT_DNS_KINDS "unbound, dnsmasq, bind, coredns, windows, systemd-resolved, hosts"

/* The zone and its servers. Strings are borrowed. */
struct client_dns {
    const char *zone;       /* NULL: not known */
    const char *servers[8]; /* addresses */
    size_t n_servers;
    int port;
    const char *node; /* this node's address, for hosts */
    int64_t ttl_s;
};
/* Appends the lines for a kind of resolver. ERR_NOT_FOUND: such a kind is not known. ERR_UNSUPPORTED: it cannot ask
 * another port than 53. */
int client_dns_lines(const char *kind, const struct client_dns *dns, struct buf *out, struct error *err) must_check;

#endif
