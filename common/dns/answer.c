/* Turns a query into an answer, by copying rendered records. Thread: any. */
#include "common/dns/answer.h"

#include <stdio.h>
#include <string.h>

enum { OPT_HEAD = 11, COOKIE_RENEW_S = 1800 };
enum { OPT_BYTES_MAX = OPT_HEAD + 8 + 16 + 4 + DNS_COOKIE_WHOLE };
/* Types that ask for something else than records: TKEY, TSIG, IXFR, AXFR, MAILB, MAILA. */
enum { META_FIRST = 249, META_LAST = 254 };

/* --- the choice by client --- */

void dns_choose(const struct dns_view *v, const struct dns_client *client, const uint32_t *site,
                struct dns_chosen *out) {
    static const struct dns_choice nowhere = {.from = DNS_FROM_CENTRAL, .slot = DNS_SLOT_ELSEWHERE};
    uint8_t whole = ip_is_v4(&client->ip) ? 32 : 128;
    if (site) {
        out->match = (struct dns_match){0};
        out->choice = v->choices[*site];
    } else {
        out->match = dns_prefixes_find(v->zone->prefixes, &client->ip, client->bits);
        out->choice = out->match.prefix ? v->choices[out->match.site] : nowhere;
    }
    out->scope = out->match.scope;
    uint8_t bits = client->bits;
    if (out->choice.n > 1) {
        uint8_t most = whole == 32 ? DNS_SUBNET4 : DNS_SUBNET6;
        if (client->from_subnet && bits > most) bits = most;
        if (bits > out->scope) out->scope = bits;
    }
    uint64_t key = out->choice.n > 1 ? dns_subnet_key(&client->ip, bits) : 0;
    out->n = dns_view_pick(v, &out->choice, key, v->zone->answers, out->targets);
}

/* --- writing --- */

struct writer {
    uint8_t *out;
    size_t at, cap;
    bool full;
    unsigned answers, authority, additional;
};

static void put(struct writer *w, const void *data, size_t len) {
    if (w->full || len > w->cap - w->at) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->at, data, len);
    w->at += len;
}

/* The SOA record, whose names end where the zone's name stands in the question. */
static void put_soa(struct writer *w, const struct dns_view *v, size_t below) {
    const struct dns_soa *soa = &v->soa;
    size_t start = w->at;
    put(w, soa->wire, soa->len);
    if (w->full) return;
    for (size_t i = 0; i < soa->n_at; i++)
        dns_put16(w->out + start + soa->at[i], 0xc000u | (unsigned)(DNS_HEADER + below));
}

/* Edges behind one address are one record (RFC 2181 section 5). */
static bool put_chosen(struct writer *w, const struct dns_chosen *c, unsigned family) {
    for (size_t i = 0; i < c->n; i++) {
        const struct dns_address *a = &c->targets[i]->record[family], *first = &c->targets[0]->record[family];
        if (i > 0 && a->len == first->len && memcmp(a->wire, first->wire, a->len) == 0) continue;
        put(w, a->wire, a->len);
        w->answers++;
    }
    return c->n > 0;
}

/* RFC 8482 section 4.2: one record that says so in place of all. */
static void put_any(struct writer *w, const struct dns_view *v) {
    static const uint8_t hinfo[] = {0xc0, 0x0c, 0,   DNS_HINFO, 0,   1,   0,   0,   0,   0, 0,
                                    9,    7,    'R', 'F',       'C', '8', '4', '8', '2', 0};
    size_t start = w->at;
    put(w, hinfo, sizeof(hinfo));
    if (!w->full) dns_put32(w->out + start + 6, v->zone->ttl);
    w->answers++;
}

/* --- what is asked --- */

struct reply {
    enum dns_rcode rcode;
    enum dns_count count;
    bool authoritative;
    uint8_t scope;
};

static void count_choice(struct dns_context *c, const struct dns_client *client, const uint32_t *site,
                         const struct dns_chosen *chosen) {
    struct dns_tally *t = c->tally;
    dns_tally_add(&t->sites[chosen->choice.slot][chosen->choice.from]);
    if (site) return;
    if (client->from_subnet)
        dns_tally_add(&t->counts[DNS_COUNT_SUBNETS]);
    else
        dns_tally_without_subnet(t, &client->ip);
}

/* Addresses for registry.ZONE or a site. False: none of that type. */
static bool answer_chosen(struct dns_context *c, const struct dns_view *v, const struct dns_query *q,
                          const struct ip *from, const struct dns_node *node, struct writer *w, struct reply *r) {
    unsigned family = q->type == DNS_AAAA;
    if ((q->type != DNS_A && q->type != DNS_AAAA) || !v->zone->has[family]) return false;
    struct dns_client client = {.ip = *from, .bits = ip_is_v4(from) ? 32 : 128};
    if (q->ecs.given && q->ecs.source > 0) client = (struct dns_client){q->ecs.ip, q->ecs.source, true};
    const uint32_t *site = node->kind == DNS_NODE_SITE ? &node->site : NULL;
    struct dns_chosen chosen;
    dns_choose(v, &client, site, &chosen);
    count_choice(c, &client, site, &chosen);
    if (client.from_subnet) r->scope = chosen.scope;
    r->count = DNS_COUNT_CHOSEN;
    return put_chosen(w, &chosen, family);
}

static bool answer_records(const struct dns_view *v, const struct dns_query *q, const struct dns_node *node,
                           struct writer *w) {
    if (q->type == DNS_ANY) {
        put_any(w, v);
        return true;
    }
    if (q->type == DNS_SOA && node->len == 0) {
        put_soa(w, v, 0);
        w->answers++;
        return true;
    }
    const struct dns_rrset *set = dns_node_set(node, q->type);
    if (!set) set = dns_node_set(node, DNS_CNAME);
    if (!set) return false;
    put(w, set->wire, set->len);
    w->answers += set->count;
    /* Additional records are left out where there is no room for them. */
    if (!w->full && w->at + set->more_len + (q->edns ? OPT_BYTES_MAX : 0) <= w->cap) {
        put(w, set->wire + set->len, set->more_len);
        w->additional += set->n_more;
    }
    return true;
}

/* Whether the name is below _whoami.ZONE. below: the length of its part before the zone. */
static bool is_whoami(const struct dns_name *name, size_t below, bool *itself) {
    static const uint8_t label[] = {7, '_', 'w', 'h', 'o', 'a', 'm', 'i'};
    for (size_t at = 0; at + sizeof(label) <= below; at += 1u + name->wire[at]) {
        if (below - at != sizeof(label)) continue;
        *itself = at == 0;
        return memcmp(name->wire + at, label, sizeof(label)) == 0;
    }
    return false;
}

/* One string of a TXT record. */
static size_t text_write(uint8_t *out, const char *text) {
    size_t len = strlen(text);
    out[0] = (uint8_t)len;
    memcpy(out + 1, text, len);
    return len + 1;
}

/* Who asks, as it is seen from here. */
static void put_whoami(struct writer *w, const struct dns_query *q, const struct ip *from) {
    uint8_t record[12 + 2 * 80] = {0xc0, 0x0c, 0, DNS_TXT, 0, DNS_CLASS_IN, 0, 0, 0, DNS_WHOAMI_TTL_S};
    char text[80], ip[IP_TEXT_MAX];
    size_t at = 12;
    snprintf(text, sizeof(text), "resolver=%s", ip_text(from, ip));
    at += text_write(record + at, text);
    if (q->ecs.given && q->ecs.source > 0) {
        snprintf(text, sizeof(text), "subnet=%s/%u", ip_text(&q->ecs.ip, ip), q->ecs.source);
        at += text_write(record + at, text);
    }
    dns_put16(record + 10, (unsigned)(at - 12));
    put(w, record, at);
    w->answers++;
}

/* An address of 198.18.0.0/15, which is nobody's (RFC 2544), by the time: resolvers that keep no TXT keep addresses. */
static void put_whoami_address(struct writer *w, const struct dns_context *c) {
    uint8_t record[] = {0xc0, 0x0c, 0, DNS_A, 0, DNS_CLASS_IN, 0, 0, 0, DNS_WHOAMI_TTL_S, 0, 4, 198, 18, 0, 0};
    record[13] |= (c->now_ms >> 16) & 1;
    dns_put16(record + 14, c->now_ms & 0xffff);
    put(w, record, sizeof(record));
    w->answers++;
}

static struct reply refuse(enum dns_rcode rcode, enum dns_count count) {
    return (struct reply){.rcode = rcode, .count = count};
}

static struct reply answer_in_zone(struct dns_context *c, const struct dns_view *v, const struct dns_query *q,
                                   const struct ip *from, struct writer *w) {
    int below = dns_name_below(&q->name, &v->zone->name);
    if (below < 0) return refuse(DNS_REFUSED, DNS_COUNT_REFUSED);
    struct reply r = {.rcode = DNS_NOERROR, .count = DNS_COUNT_RECORDS, .authoritative = true};
    const struct dns_node *node = dns_zone_find(v->zone, q->name.wire, (size_t)below);
    if (node && node->kind != DNS_NODE_PLAIN && answer_chosen(c, v, q, from, node, w, &r)) return r;
    if (node && answer_records(v, q, node, w)) return r;
    bool itself = false, whoami = !node && is_whoami(&q->name, (size_t)below, &itself);
    if (whoami && !itself && (q->type == DNS_TXT || q->type == DNS_A)) {
        if (q->type == DNS_TXT)
            put_whoami(w, q, from);
        else
            put_whoami_address(w, c);
        r.scope = q->ecs.source;
        return r;
    }
    bool exists = node || whoami;
    r.count = exists ? DNS_COUNT_NO_DATA : DNS_COUNT_NO_NAME;
    r.rcode = exists ? DNS_NOERROR : DNS_NXDOMAIN;
    put_soa(w, v, (size_t)below);
    w->authority++;
    return r;
}

static struct reply decide(struct dns_context *c, const struct dns_view *v, const struct dns_query *q, int parsed,
                           const struct ip *from, struct writer *w) {
    if (q->flags & DNS_OPCODE) return refuse(DNS_NOTIMP, DNS_COUNT_REFUSED);
    if (parsed == DNS_FORMERR) return refuse(DNS_FORMERR, DNS_COUNT_MALFORMED);
    if (!v) return refuse(DNS_SERVFAIL, DNS_COUNT_NO_ZONE);
    if (q->version != 0) return refuse(DNS_BADVERS, DNS_COUNT_REFUSED);
    if (q->question_len == 0) return refuse(DNS_NOERROR, DNS_COUNT_RECORDS);
    if (q->type == DNS_OPT) return refuse(DNS_FORMERR, DNS_COUNT_MALFORMED);
    if (q->class != DNS_CLASS_IN || (q->type >= META_FIRST && q->type <= META_LAST))
        return refuse(DNS_REFUSED, DNS_COUNT_REFUSED);
    return answer_in_zone(c, v, q, from, w);
}

/* --- EDNS --- */

/* The client subnet as it was asked (RFC 7871 section 7.2.1), with the scope of the answer. */
static size_t ecs_write(uint8_t *out, const struct dns_ecs *e, uint8_t scope) {
    size_t bytes = (e->source + 7u) / 8;
    dns_put16(out, DNS_OPTION_ECS);
    dns_put16(out + 2, (unsigned)(4 + bytes));
    dns_put16(out + 4, e->family);
    out[6] = e->source;
    out[7] = e->source ? scope : 0;
    memcpy(out + 8, e->ip.bytes + (e->family == 1 ? 12 : 0), bytes);
    return 8 + bytes;
}

/* A cookie that is good and young is given back as it is. */
static size_t cookie_write(uint8_t *out, const struct dns_cookies *cookies, uint32_t now_s, const struct dns_query *q,
                           const struct ip *from, bool good) {
    dns_put16(out, DNS_OPTION_COOKIE);
    dns_put16(out + 2, DNS_COOKIE_WHOLE);
    uint32_t made = good ? (uint32_t)dns_get16(q->cookie + 12) << 16 | dns_get16(q->cookie + 14) : 0;
    if (good && (int32_t)(now_s - made) < COOKIE_RENEW_S)
        memcpy(out + 4, q->cookie, DNS_COOKIE_WHOLE);
    else
        dns_cookie_make(cookies, q->cookie, from, now_s, out + 4);
    return 4 + DNS_COOKIE_WHOLE;
}

static bool has_options(const struct reply *r) {
    return r->rcode != DNS_FORMERR && r->rcode != DNS_BADVERS && r->rcode != DNS_SERVFAIL;
}

/* How long the OPT record will be; 0 if the query had none. */
static size_t opt_size(const struct dns_query *q, const struct reply *r) {
    if (!q->edns) return 0;
    if (!has_options(r)) return OPT_HEAD;
    return OPT_HEAD + (q->ecs.given ? 8u + (q->ecs.source + 7u) / 8 : 0) + (q->cookie ? 4 + DNS_COOKIE_WHOLE : 0);
}

static void opt_write(uint8_t *out, const struct dns_cookies *cookies, uint32_t now_s, const struct dns_query *q,
                      const struct ip *from, const struct reply *r, bool good) {
    size_t at = OPT_HEAD;
    if (has_options(r) && q->ecs.given) at += ecs_write(out + at, &q->ecs, r->scope);
    if (has_options(r) && q->cookie) at += cookie_write(out + at, cookies, now_s, q, from, good);
    out[0] = 0;
    dns_put16(out + 1, DNS_OPT);
    dns_put16(out + 3, DNS_UDP_MAX);
    out[5] = (uint8_t)(r->rcode >> 4);
    out[6] = 0;
    dns_put16(out + 7, q->dnssec_ok ? 0x8000 : 0); /* RFC 3225 section 3: the bit is copied */
    dns_put16(out + 9, (unsigned)(at - OPT_HEAD));
}

/* --- the whole --- */

static void head_write(const struct writer *w, const struct dns_query *q, const struct reply *r, bool truncated,
                       unsigned opt) {
    unsigned flags = DNS_QR | (q->flags & (DNS_OPCODE | DNS_RD)) | ((unsigned)r->rcode & 15);
    if (r->authoritative) flags |= DNS_AA;
    if (truncated) flags |= DNS_TC;
    dns_put16(w->out, q->id);
    dns_put16(w->out + 2, flags);
    dns_put16(w->out + 4, q->question_len ? 1 : 0);
    dns_put16(w->out + 6, w->answers);
    dns_put16(w->out + 8, w->authority);
    dns_put16(w->out + 10, w->additional + opt);
}

/* How many bytes the answer may have. */
static size_t limit_of(const struct dns_query *q, bool tcp, bool good, size_t len, size_t cap) {
    if (tcp) return cap;
    size_t limit = q->udp_size < DNS_UDP_MAX ? q->udp_size : DNS_UDP_MAX;
    if (!good && limit > DNS_AMPLIFY_MAX * len) limit = DNS_AMPLIFY_MAX * len;
    return limit < cap ? limit : cap;
}

/* Applies dns.rate, but not to a client with a good cookie or by TCP, whose address is proved. */
static enum dns_rate_verdict rate_of(struct dns_context *c, const struct ip *from, bool known) {
    return known ? DNS_RATE_ANSWER : dns_rate_take(c->rate, from, c->now_ms);
}

size_t dns_answer(struct dns_context *c, const struct dns_view *v, const struct ip *from, bool tcp, const uint8_t *in,
                  size_t len, uint8_t *out, size_t cap) {
    _Atomic uint64_t *counts = c->tally->counts;
    struct dns_query q;
    int parsed = dns_query_parse(&q, in, len);
    if (parsed < 0) {
        dns_tally_add(&counts[DNS_COUNT_IGNORED]);
        return 0;
    }
    dns_tally_add(&counts[tcp ? DNS_COUNT_TCP : DNS_COUNT_UDP]);
    const struct dns_cookies *cookies = v ? &v->zone->cookies : NULL;
    bool good = parsed == 0 && q.cookie && cookies && dns_cookie_good(cookies, q.cookie, q.cookie_len, from, c->now_s);
    if (good) dns_tally_add(&counts[DNS_COUNT_COOKIES]);
    enum dns_rate_verdict verdict = rate_of(c, from, tcp || good);
    bool plain = parsed == 0 && q.question_len > 0;
    if (verdict == DNS_RATE_DROP || (verdict == DNS_RATE_SLIP && !plain)) {
        dns_tally_add(&counts[DNS_COUNT_LIMITED]);
        return 0;
    }
    size_t body = DNS_HEADER + q.question_len, limit = limit_of(&q, tcp, good, len, cap);
    struct writer w = {.out = out, .at = body, .cap = limit > body ? limit : body};
    memcpy(out + DNS_HEADER, in + DNS_HEADER, q.question_len); /* as it was asked, its letters' case included */
    struct reply r = {.rcode = DNS_NOERROR, .authoritative = true};
    if (verdict == DNS_RATE_ANSWER || !v) r = decide(c, v, &q, parsed, from, &w);
    size_t opt_len = opt_size(&q, &r);
    bool truncated = verdict == DNS_RATE_SLIP || w.full || w.at + opt_len > w.cap;
    if (truncated && r.rcode != DNS_FORMERR) {
        w.at = body;
        w.answers = w.authority = w.additional = 0;
    }
    truncated = truncated && r.rcode != DNS_FORMERR;
    dns_tally_add(&counts[truncated ? DNS_COUNT_TRUNCATED : r.count]);
    if (opt_len)
        opt_write(out + w.at, cookies, c->now_s, &q, from, &r, good); /* without records there is always room */
    head_write(&w, &q, &r, truncated, opt_len > 0);
    return w.at + opt_len;
}
