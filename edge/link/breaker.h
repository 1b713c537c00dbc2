/* Can central be reached? Requests say how they fare; a probe in the background decides, and finds out when central is
 * back.
 *
 *   closed (requests go out) ── a refusal, or a probe that fails ──▶ open (requests fail at once) ── a probe succeeds
 * ──▶ closed
 *
 * A request that merely waits says nothing about central, for its upstream may be the slow one: a probe decides. Until
 * it has decided, central is silent if it leaves the probe, too, without an answer for a moment: questions that can be
 * answered here need not wait, all else still does, for the line may just be slow. Whatever central says ends the
 * silence.
 *
 * Reachable is what answers as the fleet port does. Another port of central's, or another program, answers as well:
 * only the fleet's own calls tell, so they and probes decide, not what comes under /v2.
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_LINK_BREAKER_H
#define ENTREPOT_EDGE_LINK_BREAKER_H

#include "common/core/loop.h"
#include "common/http/client.h"

struct breaker;

struct breaker_config {
    const char *url; /* central's, borrowed */
    bool insecure;   /* the certificate is not checked */
    struct loop *loop;
    struct http_client *client;
    /* From the loop: it has opened / central has become silent. */
    void (*opened)(void *arg);
    void (*silent)(void *arg);
    void *arg;
};

struct breaker *breaker_new(const struct breaker_config *cfg);
void breaker_free(struct breaker *b);
/* found is called whenever it closes again. */
void breaker_on_found(struct breaker *b, void (*found)(void *arg), void *arg);

bool breaker_is_open(struct breaker *b);
bool breaker_is_silent(const struct breaker *b);
/* A call of the fleet's, or a refused connection, has shown it. why: if not reachable. */
void breaker_set(struct breaker *b, bool reachable, const char *why);
/* Central has said something that is no call of the fleet's. */
void breaker_heard(struct breaker *b);
/* A request has been refused because it is open: the next probe comes soon. */
void breaker_wanted(struct breaker *b);
/* A request waits for its answer; later, once: the answer has begun (alive), or it has ended without. */
void breaker_await(struct breaker *b);
void breaker_await_over(struct breaker *b, bool alive);
/* What is known of central. */
struct central_state {
    bool reachable;
    int64_t since_s; /* wall clock of the last change, 0 if none */
    int64_t failures;
    char last_error[256];
};
/* Any thread. */
void breaker_state(struct breaker *b, struct central_state *out);

/* NULL: so may central answer a call of the fleet's, if only to say that it cannot now. Else why, which says what is
 * wrong with it. Pure. */
const char *breaker_not_central(int status, const char *content_type, char why[160]);

#endif
