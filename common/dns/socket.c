/* Opens sockets for UDP and TCP. Thread: control. */
#include "common/dns/socket.h"

#include "common/core/host_port.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { BACKLOG = 128, RECEIVE_BYTES = 4 << 20 };

static bool has_ipv6(void) {
    _cleanup_(closep) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0;
}

static void any_address(struct dns_listen *out, int port) {
    out->wildcard = true;
    if (has_ipv6()) {
        out->address.six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        out->len = sizeof(out->address.six);
    } else {
        out->address.four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        out->len = sizeof(out->address.four);
    }
}

int dns_listen_parse(struct dns_listen *out, const char *listen, struct error *err) {
    struct host_port hp;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE}, *found = NULL;
    char port[8];
    memset(out, 0, sizeof(*out));
    if (!host_port_parse(&hp, listen) || hp.port < 0)
        return error_set(err, ERR_INVALID, "dns.listen: \"%.100s\" is not an address to listen on", listen);
    if (!*hp.host) {
        any_address(out, hp.port);
        return 0;
    }
    snprintf(port, sizeof(port), "%u", (unsigned)hp.port & 0xffffu);
    int r = getaddrinfo(hp.host, port, &hints, &found);
    if (r != 0)
        return error_set(err, ERR_UNREACHABLE, "dns.listen: %s is not an address of this machine: %s", hp.host,
                         gai_strerror(r));
    memcpy(&out->address, found->ai_addr, found->ai_addrlen);
    out->len = found->ai_addrlen;
    freeaddrinfo(found);
    const struct sockaddr_in6 *six = &out->address.six;
    out->wildcard = out->address.any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)
                                                           : out->address.four.sin_addr.s_addr == INADDR_ANY;
    return 0;
}

static int options_set(int fd, const struct dns_listen *l, int type) {
    static const int on = 1, off = 0, bytes = RECEIVE_BYTES, never_cut = IP_PMTUDISC_PROBE;
    bool six = l->address.any.sa_family == AF_INET6;
    int r = setsockopt(fd, SOL_SOCKET, type == SOCK_STREAM ? SO_REUSEADDR : SO_REUSEPORT, &on, sizeof(on));
    if (r == 0 && six) r = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, l->wildcard ? &off : &on, sizeof(on));
    if (r < 0 || type == SOCK_STREAM) return r;
    if (l->wildcard && six) r = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
    if (l->wildcard && !six) r = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
    /* The kernel gives as much as it allows. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0) errno = 0;
    /* No answer needs more than one packet of 1280 bytes, so none is ever cut to a path's MTU that a stranger tells us
     * (RFC 9715 section 3.1). It also saves the kernel the choice of a number for fragments: 5 % of a query's time. */
    if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &never_cut, sizeof(never_cut)) < 0) errno = 0;
    return r;
}

int dns_socket_open(struct dns_listen *l, int type, struct error *err) {
    bool stream = type == SOCK_STREAM;
    union dns_address_any bound = {.six = {0}};
    socklen_t len = sizeof(bound);
    int fd = socket(l->address.any.sa_family, type | SOCK_CLOEXEC | (stream ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0 || options_set(fd, l, type) < 0 || bind(fd, &l->address.any, l->len) < 0 ||
        (stream && listen(fd, BACKLOG) < 0) || getsockname(fd, &bound.any, &len) < 0) {
        int port = ntohs(l->address.four.sin_port); /* at the same place in both families */
        int r = error_errno(err, "cannot listen for DNS on port %d (%s)", port, stream ? "TCP" : "UDP");
        if (r == -EACCES)
            error_hint(err, PORT_BELOW_1024_HINT "; or set dns.listen to another");
        else
            error_hint(err, "set dns.listen to a free address and port");
        closep(&fd);
        return r;
    }
    l->address.four.sin_port = bound.four.sin_port;
    return fd;
}

void dns_address_ip(const union dns_address_any *a, struct ip *out) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->any.sa_family == AF_INET6) {
        memcpy(out->bytes, &a->six.sin6_addr, 16);
        return;
    }
    memcpy(out->bytes, mapped, sizeof(mapped));
    memcpy(out->bytes + 12, &a->four.sin_addr, 4);
}
