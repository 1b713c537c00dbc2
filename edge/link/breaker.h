/* A circuit breaker: knows whether central can be reached. Requests report how they fare. A probe in the background
 * decides in doubt, and finds out when central is back.
 *
 *   closed (requests go out) ── a refusal ──▶ away (requests wait) ── return_ms ──▶ open (requests fail at once)
 *   closed ── a probe that is not answered in time ──▶ open
 *   away, open ── a probe that succeeds ──▶ closed
 *
 * A restart of central takes a few seconds in which connections are refused: requests for what only central has wait that long.
 * If central does not answer a probe in time, that time has passed already, and requests fail at once.
 *
 * A request that only waits does not show that central is gone, because central's upstream may be slow; so a probe is
 * sent. If the probe gets no answer either for a moment, central counts as silent: requests that can be answered from
 * what is held do not wait for it. All others still wait, because the link may just be slow. Any answer of central's
 * ends the silence.
 *
 * Central is reachable if the fleet port answers. Another port of central's, or another program, may answer requests
 * under /v2 as well, so only calls under /fleet and probes decide.
 *
 * Thread: the fetch loop, unless a function says otherwise. */
#ifndef ENTREPOT_EDGE_LINK_BREAKER_H
#define ENTREPOT_EDGE_LINK_BREAKER_H

#include "common/core/loop.h"
#include "common/http/client.h"
#include "edge/link/uplink.h"

#define CENTRAL_WHY_MAX 256

struct breaker;

struct breaker_config {
    const struct uplink *uplink; /* borrowed */
    struct loop *loop;
    struct http_client *client;
    int64_t return_ms; /* how long it is away before it is open */
    /* Called on the loop: it is away or open; it is closed again; central has not returned in time; central has become
     * silent. */
    void (*opened)(void *arg);
    void (*closed)(void *arg);
    void (*gave_up)(void *arg);
    void (*silent)(void *arg);
    void *arg;
};

struct breaker *breaker_new(const struct breaker_config *cfg);
void breaker_free(struct breaker *b);
/* found is called each time the breaker closes again. */
void breaker_on_found(struct breaker *b, void (*found)(void *arg), void *arg);

/* Away, or open. */
bool breaker_is_open(struct breaker *b);
/* Away: central has gone so shortly that it may only restart. */
bool breaker_may_return(const struct breaker *b);
bool breaker_is_silent(const struct breaker *b);
/* A call under /fleet, or a refused connection, has shown whether central is reachable. why: the cause if it is not. */
void breaker_set(struct breaker *b, bool reachable, const char *why);
/* Central has refused this edge: it is as good as away, and nobody waits for its return. */
void breaker_refused(struct breaker *b, const char *why);
/* Central has answered a call that is not under /fleet. */
void breaker_heard(struct breaker *b);
/* A request waits or was refused because central is gone: the next probe is sent soon. */
void breaker_wanted(struct breaker *b);
/* Call breaker_await when a request begins to wait for its answer, and the other once when the answer has begun (alive)
 * or the request has ended without one. */
void breaker_await(struct breaker *b);
void breaker_await_over(struct breaker *b, bool alive);
/* What this edge knows about central's reachability. */
struct central_state {
    bool reachable;
    bool gone; /* it cannot be reached, for longer than a restart takes; false also since it has refused this edge */
    int64_t since_s; /* wall clock of the last change in seconds; 0: none */
    int64_t failures;
    char last_error[256];
};
/* Any thread. Copies the state. */
void breaker_state(struct breaker *b, struct central_state *out);

/* NULL if central's fleet port may give such an answer to a call under /fleet, even if only to say that it cannot
 * answer now. Else why, filled with what is wrong. Pure. */
const char *breaker_not_central(int status, const char *content_type, char why[CENTRAL_WHY_MAX]);
/* The same for the head of an answer. If central refuses this edge, its own words say why. */
const char *breaker_judge(const struct http_answer *a, char why[CENTRAL_WHY_MAX]);
/* Judges it and takes it for what central says: call it for each answer to a call under /fleet. */
const char *breaker_take(struct breaker *b, const struct http_answer *a, char why[CENTRAL_WHY_MAX]);
/* How central's refusal is told: a format for its words. */
#define CENTRAL_REFUSES "central refuses this edge: %.220s"
/* Whether central refuses this edge by it. */
bool breaker_is_refusal(const struct http_answer *a);

#endif
