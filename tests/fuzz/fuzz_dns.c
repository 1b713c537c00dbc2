/* DNS messages and their answers, with libldns as the other opinion. The first byte says how the message comes (by TCP,
 * from which address), the rest is the message. What we take for a query libldns reads as the same query; what it cannot
 * read we answer with FORMERR at most; and every answer is one that it can read, fits its query, and is no longer than a
 * stranger's due. */
#include "common/dns/answer.h"

#include <assert.h>
#include <ctype.h>
#include <ldns/ldns.h>
#include <string.h>

#include "tests/unit/support/dns_fixture.h"

static struct dns_zone *zone;
static struct dns_view *view;
static struct dns_tally tally;
static struct dns_context context;

static void prepare(void) {
    struct error err = {0};
    if (view) return;
    zone = dns_fixture_usual();
    assert(zone && dns_cookies_load(&zone->cookies, NULL, &err) == 0);
    view = dns_fixture_view(zone, 0);
    context = (struct dns_context){.rate = dns_rate_new(0), .tally = &tally, .now_ms = 1000, .now_s = 1000000};
}

/* Whether two names in wire form are the same but for the letters' case. */
static bool same_name(const ldns_rdf *theirs, const struct dns_name *ours) {
    if (ldns_rdf_size(theirs) != ours->len) return false;
    const uint8_t *data = ldns_rdf_data(theirs);
    for (size_t i = 0; i < ours->len; i++)
        if (tolower(data[i]) != ours->wire[i]) return false;
    return true;
}

static void same_question(const ldns_pkt *pkt, const struct dns_query *q) {
    assert(ldns_pkt_id(pkt) == q->id);
    assert(ldns_pkt_qdcount(pkt) == (q->question_len ? 1 : 0));
    if (q->question_len == 0) return;
    const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    assert(ldns_rr_get_type(rr) == q->type && ldns_rr_get_class(rr) == q->class);
    assert(same_name(ldns_rr_owner(rr), &q->name));
}

static void check_query(const uint8_t *in, size_t len, const struct dns_query *q) {
    ldns_pkt *pkt = NULL;
    assert(ldns_wire2pkt(&pkt, in, len) == LDNS_STATUS_OK);
    same_question(pkt, q);
    assert(ldns_pkt_edns(pkt) == q->edns);
    ldns_pkt_free(pkt);
}

static void check_answer(const uint8_t *out, size_t len, const struct dns_query *q, int parsed, bool tcp) {
    ldns_pkt *pkt = NULL;
    assert(ldns_wire2pkt(&pkt, out, len) == LDNS_STATUS_OK);
    same_question(pkt, q);
    unsigned rcode = ldns_pkt_get_rcode(pkt), answers = ldns_pkt_ancount(pkt), authority = ldns_pkt_nscount(pkt);
    assert(ldns_pkt_qr(pkt) && ldns_pkt_get_opcode(pkt) == (ldns_pkt_opcode)(q->flags >> 11 & 15));
    assert(!(tcp && ldns_pkt_tc(pkt)));
    assert(!ldns_pkt_tc(pkt) || (answers == 0 && authority == 0));
    assert(rcode == LDNS_RCODE_NOERROR || answers == 0);
    assert(ldns_pkt_edns(pkt) ? q->edns : true);
    if (q->flags & DNS_OPCODE)
        assert(rcode == LDNS_RCODE_NOTIMPL);
    else
        assert((parsed == DNS_FORMERR) <= (rcode == LDNS_RCODE_FORMERR));
    /* A name that has no such record is told so with the zone's SOA. */
    if (ldns_pkt_aa(pkt) && answers == 0 && !ldns_pkt_tc(pkt)) {
        assert(authority == 1);
        assert(ldns_rr_get_type(ldns_rr_list_rr(ldns_pkt_authority(pkt), 0)) == LDNS_RR_TYPE_SOA);
    }
    ldns_pkt_free(pkt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t out[DNS_TCP_MAX];
    if (size < 1) return 0;
    prepare();
    bool tcp = data[0] & 1;
    size_t len = size - 1;
    uint8_t *in = malloc(len + 1); /* so that a byte too far is noticed */
    memcpy(in, data + 1, len);
    in = realloc(in, len ? len : 1);
    struct ip from;
    const char *text = data[0] & 2 ? "2001:db8:1::53" : "10.1.3.53";
    assert(ip_parse(&from, text, strlen(text)));
    struct dns_query q;
    int parsed = dns_query_parse(&q, in, len);
    size_t n = dns_answer(&context, view, &from, tcp, in, len, out, tcp ? DNS_TCP_MAX : DNS_UDP_MAX);
    assert((parsed < 0) == (n == 0));
    assert(tcp || n <= DNS_AMPLIFY_MAX * len);
    if (parsed == 0 && !(q.flags & DNS_OPCODE)) check_query(in, len, &q);
    if (n) check_answer(out, n, &q, parsed, tcp);
    free(in);
    return 0;
}
