/* Measures the road between an edge and central, for doctor: round trip, rates, and whether large packets arrive. Where
 * they vanish without a word (an MTU hole: a link with a smaller MTU, whose ICMP does not come back), connections whose
 * segments are kept small find the size that passes. Thread: work pool. */
#ifndef ENTREPOT_EDGE_PULL_MEASURE_H
#define ENTREPOT_EDGE_PULL_MEASURE_H

#include <jansson.h>

#include "common/node/probe.h"

struct road_facts {
    bool answers, is_older; /* central answers the call; it does not know it */
    int64_t round_trip_us;  /* 0: not measured, as in the next two */
    int64_t down_us, up_us; /* what the largest answer and request took beyond a round trip */
    bool large_answers_stall, large_requests_stall;
    unsigned passes,
        vanishes;            /* bytes of the largest IP packet that arrives, and of the smallest that does not; 0: size
                                  does not decide */
    struct ip seen;          /* by central; all zero: not known */
    char local[IP_TEXT_MAX]; /* this end's own address; "": not known */
};

/* how: central's URL and how it is reached. Takes some seconds, and 30 at most where large packets vanish; allowance_ms is
 * added to each of its limits (edge/link/uplink.h). */
void road_measure(struct probes *probes, const struct probe *how, int64_t allowance_ms, struct road_facts *out);
json_t *road_facts_json(const struct road_facts *f);

/* What tries by falling size have shown. True: all from
 * some size on have passed, and all above have not; *at is the first that has. Pure. */
bool road_size_decides(const bool *passed, size_t n, size_t *at);

#endif
