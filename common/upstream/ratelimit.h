/* A registry's pull limit as its answers state it, and whether a manifest GET may be sent now. Thread: the fetch loop;
 * times are parameters. */
#ifndef ENTREPOT_UPSTREAM_RATELIMIT_H
#define ENTREPOT_UPSTREAM_RATELIMIT_H

#include "common/core/base.h"

/* The headers of one answer, each NULL if it is not there. Docker Hub: `ratelimit-remaining: 76;w=21600`. IETF drafts
 * up to 06, GitLab: RateLimit-Limit, -Remaining, -Reset. Draft 07: `RateLimit: limit=100, remaining=0, reset=30`. Later
 * drafts: `RateLimit: "default";r=0;t=30` with `RateLimit-Policy: "default";q=100;w=60`. */
struct ratelimit_headers {
    const char *limit, *remaining, *reset, *together, *policy;
    int64_t date_s; /* the answer's own time; a Reset may be a Unix time */
};

/* What the headers say; -1: nothing. Of several limits, the one with the least left. */
struct ratelimit_told {
    int64_t limit, remaining;
    int64_t window_s;
    int64_t reset_s; /* from now until there are more */
};
/* Values of any other form, negative ones and those of more than a day count as absent. */
void ratelimit_read(const struct ratelimit_headers *h, struct ratelimit_told *out);

struct ratelimit {
    bool known;
    int64_t limit, remaining; /* pulls a window; what is left of them */
    int64_t window_s;         /* 0: unknown */
    int64_t began_ms;         /* when this window was first seen */
    int64_t reset_ms;         /* when there are more; 0: unknown */
    int64_t not_until_ms;     /* a 429's Retry-After; 0: none, or it has been got over */
    bool any;                 /* that 429 was for a request that is no pull: any other answer ends the wait */
};

void ratelimit_seen(struct ratelimit *r, const struct ratelimit_told *told, int64_t now_ms);
/* Notes a 429 and how long it said to wait; 0: it did not say. counts: it was for a pull. */
void ratelimit_refused(struct ratelimit *r, int64_t retry_after_s, bool counts, int64_t now_ms);
/* Notes that a GET that counts is sent. After a 429's wait it is the only one until it is answered, or for a few
 * seconds. */
void ratelimit_asks(struct ratelimit *r, int64_t now_ms);
/* Notes an answer other than 429. */
void ratelimit_granted(struct ratelimit *r, bool counts);
/* When a GET that counts may be sent, in monotonic ms; a time that is not in the future: at once. */
int64_t ratelimit_until_ms(const struct ratelimit *r);
/* Seconds until then; 0: now. */
int64_t ratelimit_wait_s(const struct ratelimit *r, int64_t now_ms);

#endif
