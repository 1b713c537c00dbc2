/* Thread: any. */
#include "central/dns/query.h"

#include <string.h>

/* The question's name at *at, copied in lower case. A pointer is refused: nothing stands before it to point at. */
static bool name_read(struct dns_name *out, const uint8_t *data, size_t len, size_t *at) {
    size_t n = 0, i = *at;
    for (;;) {
        if (i >= len || data[i] > DNS_LABEL_MAX) return false;
        size_t label = data[i];
        if (i + 1 + label > len || n + 1 + label > DNS_NAME_MAX) return false;
        out->wire[n++] = data[i++];
        if (label == 0) break;
        for (size_t end = i + label; i < end; i++) {
            uint8_t c = data[i];
            out->wire[n++] = (uint8_t)(c + ((unsigned)(c - 'A') < 26u ? 32 : 0));
        }
    }
    out->len = (uint8_t)n;
    *at = i;
    return true;
}

/* RFC 7871 section 6: the address has as many bytes as its prefix needs, and zeros behind it; a query's scope is 0. */
static bool ecs_read(struct dns_ecs *e, const uint8_t *p, size_t len) {
    if (e->given || len < 4 || p[0] != 0 || p[1] > 2 || p[3] != 0) return false;
    unsigned source = p[2], most = p[1] == 1 ? 32 : p[1] == 2 ? 128 : 0;
    size_t bytes = (source + 7u) / 8;
    if (source > most || len - 4 != bytes) return false;
    if (source % 8 && p[4 + bytes - 1] & (0xff >> source % 8)) return false;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    e->given = true;
    e->family = p[1];
    e->source = (uint8_t)source;
    memset(e->ip.bytes, 0, sizeof(e->ip.bytes));
    if (p[1] == 1) memcpy(e->ip.bytes, mapped, sizeof(mapped));
    memcpy(e->ip.bytes + (p[1] == 1 ? sizeof(mapped) : 0), p + 4, bytes);
    return true;
}

/* RFC 7873 section 5.2.2: 8 bytes of the client, then none or 8 to 32 of a server. */
static bool cookie_read(struct dns_query *q, const uint8_t *p, size_t len) {
    if (q->cookie || (len != 8 && (len < 16 || len > 40))) return false;
    q->cookie = p;
    q->cookie_len = len;
    return true;
}

static bool options_read(struct dns_query *q, const uint8_t *p, size_t len) {
    while (len > 0) {
        if (len < 4) return false;
        unsigned code = dns_get16(p);
        size_t size = dns_get16(p + 2);
        if (size > len - 4) return false;
        if (code == DNS_OPTION_ECS && !ecs_read(&q->ecs, p + 4, size)) return false;
        if (code == DNS_OPTION_COOKIE && !cookie_read(q, p + 4, size)) return false;
        p += 4 + size;
        len -= 4 + size;
    }
    return true;
}

/* RFC 6891 section 6.1. Options of a version that is not 0 are not looked at. */
static bool opt_read(struct dns_query *q, const uint8_t *p, size_t len) {
    if (len < 11 || p[0] != 0 || dns_get16(p + 1) != DNS_OPT) return false;
    uint16_t size = dns_get16(p + 3);
    q->edns = true;
    q->udp_size = size > DNS_UDP_PLAIN ? size : DNS_UDP_PLAIN;
    q->version = p[6];
    q->dnssec_ok = p[7] & 0x80;
    if (dns_get16(p + 9) != len - 11) return false;
    return q->version != 0 || options_read(q, p + 11, len - 11);
}

/* Fields that a message may lack. name.wire is left as it is: it is long, and len says how much counts. */
static void clear(struct dns_query *q) {
    q->name.len = 0;
    q->question_len = 0;
    q->type = q->class = 0;
    q->edns = q->dnssec_ok = false;
    q->version = 0;
    q->udp_size = DNS_UDP_PLAIN;
    q->ecs.given = false;
    q->cookie = NULL;
    q->cookie_len = 0;
}

int dns_query_parse(struct dns_query *q, const uint8_t *data, size_t len) {
    if (len < DNS_HEADER || data[2] & 0x80) return -1;
    clear(q);
    q->id = dns_get16(data);
    q->flags = dns_get16(data + 2);
    if (q->flags & DNS_OPCODE) return 0; /* of other operations only the header is known */
    unsigned questions = dns_get16(data + 4), more = dns_get16(data + 10);
    if (questions > 1 || dns_get16(data + 6) || dns_get16(data + 8) || more > 1) return DNS_FORMERR;
    size_t at = DNS_HEADER;
    if (questions) {
        if (!name_read(&q->name, data, len, &at) || len - at < 4) {
            q->name.len = 0;
            return DNS_FORMERR;
        }
        q->type = dns_get16(data + at);
        q->class = dns_get16(data + at + 2);
        at += 4;
        q->question_len = at - DNS_HEADER;
    }
    if (more ? !opt_read(q, data + at, len - at) : at != len) return DNS_FORMERR;
    /* A message without question may only ask for a cookie (RFC 7873 section 5.4). */
    return questions || (q->cookie && q->version == 0) ? 0 : DNS_FORMERR;
}
