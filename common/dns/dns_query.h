/* What a DNS message asks, read strictly: one question without compression, and at most one OPT record (RFC 1035, 6891,
 * 7871, 7873). Pure, allocates nothing. Thread: any. */
#ifndef ENTREPOT_DNS_DNS_QUERY_H
#define ENTREPOT_DNS_DNS_QUERY_H

#include "common/dns/dns_name.h"
#include "common/core/network.h"

enum { DNS_HEADER = 12, DNS_UDP_PLAIN = 512 };
enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_HINFO = 13,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255,
};
enum { DNS_CLASS_IN = 1 };
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};
enum { DNS_OPTION_ECS = 8, DNS_OPTION_COOKIE = 10 };
/* Bits of the header's third and fourth byte, as one number. */
enum { DNS_QR = 0x8000, DNS_AA = 0x0400, DNS_TC = 0x0200, DNS_RD = 0x0100, DNS_OPCODE = 0x7800 };

/* An EDNS client subnet (RFC 7871). */
struct dns_ecs {
    bool given;
    uint8_t family; /* 1: IPv4, 2: IPv6, 0: none told */
    uint8_t source; /* prefix length */
    struct ip ip;   /* with zeros behind the prefix */
};

struct dns_query {
    uint16_t id, flags;
    struct dns_name name; /* lower case; len 0: no question */
    size_t question_len;  /* name, type and class, at DNS_HEADER of the message */
    uint16_t type, class;
    bool edns, dnssec_ok;
    uint8_t version;
    uint16_t udp_size; /* what the client takes, at least 512; 512 without EDNS */
    struct dns_ecs ecs;
    const uint8_t *cookie; /* in the message; NULL: none */
    size_t cookie_len;     /* 8, or 16 to 40 */
};

/* Reads a message. 0: it is a query (other opcodes included), *q is filled. DNS_FORMERR: answer with that; of *q the
 * id, flags and, if question_len is not 0, the question are valid, and edns. -1: too short or itself an answer; do not
 * answer, so that no two servers answer each other. */
int dns_query_parse(struct dns_query *q, const uint8_t *data, size_t len);

static inline uint16_t dns_get16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline void dns_put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void dns_put32(uint8_t *p, uint32_t v) {
    dns_put16(p, v >> 16);
    dns_put16(p + 2, v & 0xffff);
}

#endif
