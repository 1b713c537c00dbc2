/* Docker Hub's limit on pulls as its answers tell it ("ratelimit-remaining: 76;w=21600"), and whether a manifest GET is
 * worth sending now. Thread: the fetch loop; times are given. */
#ifndef ENTREPOT_CENTRAL_UPSTREAM_RATELIMIT_H
#define ENTREPOT_CENTRAL_UPSTREAM_RATELIMIT_H

#include "common/core/base.h"

struct ratelimit {
    bool known;
    int64_t limit, remaining; /* pulls a window; what is left of them */
    int64_t window_s;
    int64_t began_ms;     /* when this window was first seen */
    int64_t not_until_ms; /* a 429's Retry-After; 0: none, or it has been got over */
};

/* "100;w=21600". False if it is not of that form; *window_s 0 if not given. */
bool ratelimit_parse(const char *value, int64_t *count, int64_t *window_s);
/* An answer's two headers; either may be NULL. */
void ratelimit_seen(struct ratelimit *r, const char *limit, const char *remaining, int64_t now_ms);
/* A 429 said to wait; 0: it did not say how long. */
void ratelimit_refused(struct ratelimit *r, int64_t retry_after_s, int64_t now_ms);
/* A GET that counts is sent now: after a 429's wait it is the only one until it is answered, or for a few seconds. */
void ratelimit_asks(struct ratelimit *r, int64_t now_ms);
/* Such a GET was answered, and not by a 429. */
void ratelimit_granted(struct ratelimit *r);
/* Seconds until a GET that counts may be sent; 0: now. */
int64_t ratelimit_wait_s(const struct ratelimit *r, int64_t now_ms);

#endif
