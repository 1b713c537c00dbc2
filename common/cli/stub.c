/* One question at a time, on a socket of its own, whose port is random as the number is. Thread: any that may wait. */
#include "common/cli/stub.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/dns/dns_name.h"
#include "common/dns/dns_query.h"

enum { WITHIN_S = 3, TRIES = 2, MESSAGE_MAX = 4096 };

struct question {
    uint8_t bytes[2 + DNS_HEADER + DNS_NAME_MAX + 4 + 11]; /* behind its length, as TCP wants it */
    size_t len;
    unsigned id, type;
};

/* False: the name cannot be asked for. */
static bool make(struct question *q, const char *name, unsigned type) {
    struct dns_name n;
    uint16_t id;
    if (!dns_name_parse(&n, name) || getrandom(&id, sizeof(id), 0) != sizeof(id)) return false;
    *q = (struct question){.id = id, .type = type};
    uint8_t *m = q->bytes + 2;
    size_t at = DNS_HEADER;
    dns_put16(m, id);
    dns_put16(m + 2, DNS_RD);
    dns_put16(m + 4, 1);
    dns_put16(m + 10, 1);
    memcpy(m + at, n.wire, n.len);
    at += n.len;
    dns_put16(m + at, type);
    dns_put16(m + at + 2, DNS_CLASS_IN);
    at += 5; /* and the OPT record's name, the root */
    dns_put16(m + at, DNS_OPT);
    dns_put16(m + at + 2, 1232);
    q->len = at + 10;
    dns_put16(q->bytes, (unsigned)q->len);
    return true;
}

static int connect_to(const struct ip *ip, unsigned port, int type) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    const struct timeval within = {.tv_sec = WITHIN_S};
    memcpy(&to.sin6_addr, ip->bytes, sizeof(to.sin6_addr));
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &within, sizeof(within)) == 0 &&
        connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static ssize_t exchange_udp(int fd, const struct question *q, uint8_t *in) {
    if (send(fd, q->bytes + 2, q->len, MSG_NOSIGNAL) != (ssize_t)q->len) return -1;
    return recv(fd, in, MESSAGE_MAX, 0);
}

static bool receive_all(int fd, uint8_t *in, size_t len) {
    return recv(fd, in, len, MSG_WAITALL) == (ssize_t)len;
}

static ssize_t exchange_tcp(int fd, const struct question *q, uint8_t *in) {
    uint8_t size[2];
    if (send(fd, q->bytes, q->len + 2, MSG_NOSIGNAL) != (ssize_t)q->len + 2) return -1;
    if (!receive_all(fd, size, 2) || dns_get16(size) > MESSAGE_MAX) return -1;
    return receive_all(fd, in, dns_get16(size)) ? dns_get16(size) : -1;
}

static void take_text(struct stub_answer *a, const ns_rr *rr) {
    const uint8_t *at = ns_rr_rdata(*rr), *end = at + ns_rr_rdlen(*rr);
    size_t used = strlen(a->text);
    while (at < end && *at < end - at && used + *at + 2 < sizeof(a->text)) {
        a->text[used++] = ' ';
        memcpy(a->text + used, at + 1, *at);
        used += *at;
        a->text[used] = '\0';
        at += 1 + *at;
    }
}

static void take_address(struct stub_answer *a, const ns_rr *rr) {
    struct ip ip = {.bytes = {[10] = 0xff, [11] = 0xff}};
    size_t len = ns_rr_type(*rr) == ns_t_a ? 4 : sizeof(ip.bytes);
    if (ns_rr_rdlen(*rr) != len || a->n_addresses == STUB_RECORDS_MAX) return;
    memcpy(ip.bytes + sizeof(ip.bytes) - len, ns_rr_rdata(*rr), len);
    a->addresses[a->n_addresses++] = ip;
}

static void take(struct stub_answer *a, const ns_rr *rr, unsigned type) {
    if (ns_rr_class(*rr) != ns_c_in || ns_rr_type(*rr) != type) return;
    if (type == DNS_TXT)
        take_text(a, rr);
    else
        take_address(a, rr);
}

bool stub_read(struct stub_answer *a, const void *message, size_t len, unsigned id, unsigned type) {
    ns_msg m;
    ns_rr rr;
    *a = (struct stub_answer){.rcode = -1};
    if (len > MESSAGE_MAX || ns_initparse(message, (int)len, &m) < 0 || ns_msg_id(m) != id ||
        !ns_msg_getflag(m, ns_f_qr) || ns_msg_count(m, ns_s_qd) != 1 || ns_parserr(&m, ns_s_qd, 0, &rr) < 0 ||
        ns_rr_type(rr) != type)
        return false;
    for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
        if (ns_parserr(&m, ns_s_an, i, &rr) < 0) return false;
        take(a, &rr, type);
    }
    a->rcode = (int)ns_msg_getflag(m, ns_f_rcode);
    return true;
}

static bool try_once(struct stub_answer *a, const struct ip *resolver, unsigned port, const struct question *q,
                     int socket_type, bool *truncated) {
    uint8_t in[MESSAGE_MAX];
    int fd = connect_to(resolver, port, socket_type);
    if (fd < 0) return false;
    ssize_t len = socket_type == SOCK_DGRAM ? exchange_udp(fd, q, in) : exchange_tcp(fd, q, in);
    close(fd);
    if (len < DNS_HEADER || !stub_read(a, in, (size_t)len, q->id, q->type)) return false;
    *truncated = dns_get16(in + 2) & DNS_TC;
    return true;
}

void stub_ask(struct stub_answer *a, const struct ip *resolver, unsigned port, const char *name, unsigned type) {
    struct question q;
    bool truncated = false, good = false;
    *a = (struct stub_answer){.rcode = -1};
    if (!make(&q, name, type)) return;
    for (int i = 0; i < TRIES && !good; i++)
        good = try_once(a, resolver, port, &q, SOCK_DGRAM, &truncated);
    if (good && truncated) good = try_once(a, resolver, port, &q, SOCK_STREAM, &truncated);
    if (!good) a->rcode = -1;
}
