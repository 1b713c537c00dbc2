/* Sockets that listen for DNS. Thread: control. */
#ifndef ENTREPOT_DNS_SOCKET_H
#define ENTREPOT_DNS_SOCKET_H

#include <netinet/in.h>

#include "common/core/error.h"
#include "common/core/network.h"

union dns_address_any {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct dns_listen {
    union dns_address_any address;
    socklen_t len;
    bool wildcard; /* every address: answers must leave from the one that was asked */
};
/* HOST:PORT as config_check_listen allows it; ":PORT" is every address of both families, or of IPv4 where there is no
 * IPv6. */
int dns_listen_parse(struct dns_listen *out, const char *listen, struct error *err) must_check;
/* A bound socket that shares its port with others of this kind. type: SOCK_DGRAM, or SOCK_STREAM, which then listens.
 * The port of *l is set if it was 0. Returns the descriptor. */
int dns_socket_open(struct dns_listen *l, int type, struct error *err) must_check;
void dns_address_ip(const union dns_address_any *a, struct ip *out);

#endif
