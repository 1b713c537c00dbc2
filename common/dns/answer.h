/* From a message to its answer. Allocates nothing and takes no lock. Thread: any, each with a context of its own. */
#ifndef ENTREPOT_DNS_ANSWER_H
#define ENTREPOT_DNS_ANSWER_H

#include "common/dns/cookie.h"
#include "common/dns/dns_query.h"
#include "common/dns/rate.h"
#include "common/dns/tally.h"
#include "common/dns/view.h"

/* Answers by UDP are no longer than this: it passes every link unfragmented (RFC 9715). */
enum { DNS_UDP_MAX = 1232, DNS_TCP_MAX = 8192 };
/* How many times longer than its query an answer by UDP may be for a client that has not shown that its address is its
 * own. A longer answer is sent as "truncated". */
enum { DNS_AMPLIFY_MAX = 3 };

/* TXT of any name below _whoami.ZONE says who asks: "resolver=ADDRESS", and "subnet=ADDRESS/BITS" if it told one. A is
 * an address of 198.18.0.0/15, another one in each new answer. For doctor, which so sees who stands between. */
#define DNS_WHOAMI "_whoami"
enum { DNS_WHOAMI_TTL_S = 1 };

struct dns_context {
    struct dns_rate *rate;
    struct dns_tally *tally;
    int64_t now_ms; /* monotonic */
    uint32_t now_s; /* wall clock, for cookies */
};

/* Who is asked for: the network that holds the client, and what follows from it. */
struct dns_client {
    struct ip ip;
    uint8_t bits;     /* how much of ip is known */
    bool from_subnet; /* ip is from EDNS client subnet, else the resolver's own address */
};
struct dns_chosen {
    struct dns_match match;
    struct dns_choice choice;
    uint8_t scope; /* for EDNS client subnet */
    size_t n;
    const struct dns_target *targets[2];
};
/* Chooses for registry.ZONE (site NULL), or for one site. */
void dns_choose(const struct dns_view *v, const struct dns_client *client, const uint32_t *site,
                struct dns_chosen *out);

/* Answers in (len bytes) to out, which has room for cap (at least DNS_UDP_MAX). v NULL: nothing is known of the zone, so
 * queries are answered SERVFAIL. from: the resolver's address. Returns the answer's length; 0: no answer. */
size_t dns_answer(struct dns_context *c, const struct dns_view *v, const struct ip *from, bool tcp, const uint8_t *in,
                  size_t len, uint8_t *out, size_t cap);

#endif
