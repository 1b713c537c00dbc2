/* Opens the DNS's ports, and starts their threads. Thread: as dns_server.h says. */
#include "common/dns/dns_server.h"

#include "common/dns/socket.h"
#include "common/dns/tcp.h"
#include "common/dns/udp.h"
#include "common/core/alloc.h"

#include <sys/socket.h>

struct dns_server {
    struct dns_udp *udp[DNS_THREADS_MAX];
    unsigned n_udp, port;
    struct loop *loop;
    struct dns_tcp *tcp;
    bool started;
};

/* A TCP port that is free may be taken for UDP, so a port of 0 is chosen by TCP and then tried for UDP. */
static int open_all(struct dns_server *s, const struct dns_server_setup *setup, struct error *err) {
    struct dns_listen l;
    int r = dns_listen_parse(&l, setup->listen, err);
    if (r < 0) return r;
    int stream = dns_socket_open(&l, SOCK_STREAM, err);
    if (stream < 0) return stream;
    s->tcp = dns_tcp_new(s->loop, stream, setup->connections, setup->threads, setup->views);
    s->port = ntohs(l.address.four.sin_port);
    unsigned rate = setup->rate_per_s / setup->threads;
    if (setup->rate_per_s && rate == 0) rate = 1;
    for (; s->n_udp < setup->threads; s->n_udp++) {
        int fd = dns_socket_open(&l, SOCK_DGRAM, err);
        if (fd < 0) return fd;
        s->udp[s->n_udp] = dns_udp_new(fd, l.wildcard, s->n_udp, rate, setup->views);
    }
    return 0;
}

int dns_server_new(struct dns_server **out, const struct dns_server_setup *setup, struct error *err) {
    struct dns_server *s = xcalloc(1, sizeof(*s));
    s->loop = loop_new("dns-tcp");
    int r = open_all(s, setup, err);
    if (r < 0) {
        dns_server_free(s);
        return r;
    }
    *out = s;
    return 0;
}

static void start_tcp(void *arg) {
    dns_tcp_start(arg);
}

void dns_server_start(struct dns_server *s) {
    s->started = true;
    loop_start(s->loop);
    loop_call(s->loop, start_tcp, s->tcp);
    for (unsigned i = 0; i < s->n_udp; i++)
        dns_udp_start(s->udp[i]);
}

void dns_server_free(struct dns_server *s) {
    if (!s) return;
    for (unsigned i = 0; i < s->n_udp; i++)
        dns_udp_stop(s->udp[i]);
    if (s->started) {
        loop_stop(s->loop);
        loop_join(s->loop);
    }
    for (unsigned i = 0; i < s->n_udp; i++)
        dns_udp_free(s->udp[i]);
    dns_tcp_free(s->tcp);
    loop_free(s->loop);
    free(s);
}

size_t dns_server_tallies(const struct dns_server *s, const struct dns_tally *out[DNS_THREADS_MAX + 1]) {
    for (unsigned i = 0; i < s->n_udp; i++)
        out[i] = dns_udp_tally(s->udp[i]);
    out[s->n_udp] = dns_tcp_tally(s->tcp);
    return s->n_udp + 1;
}

unsigned dns_server_connections(const struct dns_server *s) {
    return dns_tcp_connections(s->tcp);
}

unsigned dns_server_port(const struct dns_server *s) {
    return s->port;
}
