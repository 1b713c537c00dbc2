/* An edge that answers DNS, and a client of it, for tests. Thread: the test's; asking any. */
#ifndef ENTREPOT_TESTS_ANSWERING_FIXTURE_H
#define ENTREPOT_TESTS_ANSWERING_FIXTURE_H

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/workpool.h"
#include "common/dns/dns_query.h"
#include "edge/dns/answering.h"
#include "tests/unit/support/dns_fixture.h"
#include "tests/unit/support/folder.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the zones of the tests share. */
#define ANSWERING_ZONE "dns.zone=img.acme.example", "dns.central=[10.0.0.1]"
/* Of the edges all are well. */
static const uint8_t answering_good[] = {DNS_EDGE_GOOD, DNS_EDGE_GOOD, DNS_EDGE_GOOD, DNS_EDGE_GOOD};

/* A zone as central tells it. */
struct answering_zone {
    uint8_t *message;
    size_t len;
};

static inline void answering_zone_init(struct answering_zone *z, unsigned registry_port, const char *const *sets) {
    z->message = dns_fixture_message(sets, registry_port, &z->len);
    if (!z->message) abort();
}

static inline uint64_t answering_zone_version(const struct answering_zone *z) {
    return dns_zone_message_version(z->message, z->len);
}

/* Tells a zone with the states of its edges; whole false: the states alone. */
static inline void answering_tell(struct answering *a, const struct answering_zone *z, bool whole,
                                  const uint8_t *states, size_t n) {
    struct answering_news news = {
        .dns = {.zone = answering_zone_version(z), .serial = 7, .states = states, .n_states = n}, .site = "here"};
    if (whole) {
        news.zone = z->message;
        news.zone_len = z->len;
    }
    answering_told(a, &news);
}

/* When central was last heard; negative: at this moment. */
static _Atomic int64_t answering_heard = -1;
/* How often that was asked, which is done whenever the answers are decided. */
static _Atomic unsigned answering_asked;
static inline int64_t answering_heard_ms(void *arg) {
    int64_t heard = atomic_load(&answering_heard);
    atomic_fetch_add(&answering_asked, 1);
    (void)arg;
    return heard < 0 ? clock_mono_ms() : heard;
}

/* It answers at a free port of 127.0.0.1, as an edge of the site "here". */
static inline struct answering *answering_start_at(const char *path, int64_t stale_for_ms, struct workpool *pool) {
    static char listen[] = "127.0.0.1:0";
    const struct dns_config config = {.listen = listen, .threads = 2, .connections = 8};
    const struct answering_setup setup = {.config = &config,
                                          .path = path,
                                          .site = "here",
                                          .stale_for_ms = stale_for_ms,
                                          .pool = pool,
                                          .heard_ms = answering_heard_ms};
    struct answering *a = NULL;
    struct error err = {0};
    if (answering_new(&a, &setup, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    answering_start(a);
    return a;
}

/* The address that NAME.img.acme.example has, as text, or the answer's code. NULL: no answer came. */
static inline const char *answering_ask(const struct answering *a, const char *name, char out[IP_TEXT_MAX]) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)answering_port(a))};
    const struct timeval within = {.tv_sec = 20};
    struct dns_name zone, whole;
    uint8_t message[600] = {0, 1, 0, 0, 0, 1};
    if (!dns_name_parse(&zone, "img.acme.example") || !dns_name_parse_in(&whole, name, &zone)) abort();
    memcpy(message + DNS_HEADER, whole.wire, whole.len);
    dns_put16(message + DNS_HEADER + whole.len, DNS_A);
    dns_put16(message + DNS_HEADER + whole.len + 2, DNS_CLASS_IN);
    size_t asked = DNS_HEADER + whole.len + 4u;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within)) < 0 || send(fd, message, asked, 0) < 0)
        abort();
    ssize_t n = recv(fd, message, sizeof(message), 0);
    close(fd);
    if (n < DNS_HEADER) return NULL;
    if ((message[3] & 15) != DNS_NOERROR || dns_get16(message + 6) != 1 || n < (ssize_t)asked + 16)
        return snprintf(out, IP_TEXT_MAX, "code %d", message[3] & 15), out;
    return inet_ntop(AF_INET, message + asked + 12, out, IP_TEXT_MAX);
}

#endif
