/*   resting ── due ──▶ noting (work pool) ──▶ asking ── answered ──▶ saving (work pool) ──▶ resting
 *                        └── failed ──▶ resting, to try again later ◀── failed ──┘
 *
 * Thread: the fetch loop, but for what is marked. */
#include "edge/link/renewal.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/wire/wire.h"
#include "edge/link/breaker.h"

/* After a failure it is tried again after AGAIN_FIRST_MS, then after twice as long each time, at most AGAIN_MAX_MS. The
 * clock is looked at every LOOK_MAX_MS, because it may be set. */
#define AGAIN_FIRST_MS 1000
#define AGAIN_MAX_MS 300000
#define LOOK_MAX_MS 3600000
/* Between two renewals lies a quarter of a certificate's life, at most APART_MAX_MS, also where this machine's clock is
 * so far ahead that each new certificate looks due. It is not longer, because a machine that slept has to renew soon. */
#define APART_MAX_MS 3600000
/* When the signer has changed, all edges of a fleet renew within this time, each at a moment of its own. */
#define HASTE_MS 5000
#define CONNECT_MS 5000
#define TOTAL_MS 30000

struct renewal {
    struct renewal_config cfg;
    struct timer due;
    struct offload work;
    bool busy;
    bool hasty;         /* renew before half of its life is over */
    int64_t renewed_ms; /* the last renewal, by the monotonic clock; 0: none since the start */
    int64_t again_ms;
    uint8_t id[WIRE_RENEWAL_BYTES];
    struct http_call *call;
    struct buf answer;
    char why[CENTRAL_WHY_MAX]; /* central's refusal; "": none */
    struct identity fresh;     /* work pool: to be saved */
    EVP_PKEY *key;             /* of the certificate that is renewed */
    struct error err;
};

/* A certificate's life begins CERT_EARLY_S after not_before. */
static int64_t half_life_s(const struct member *who) {
    return (who->not_after - who->not_before - CERT_EARLY_S) / 2;
}

/* Until half of the certificate's life is over; 0 or less: it is due. */
static int64_t left_ms(const struct renewal *r, const struct member *who) {
    int64_t half_ms = half_life_s(who) * 1000, by_clock = (who->not_after - clock_wall_s()) * 1000 - half_ms;
    int64_t apart = r->renewed_ms + (half_ms / 2 < APART_MAX_MS ? half_ms / 2 : APART_MAX_MS) - clock_mono_ms();
    return r->renewed_ms > 0 && apart > by_clock ? apart : by_clock;
}

static void rest(struct renewal *r, int64_t ms) {
    r->busy = false;
    EVP_PKEY_free(r->key);
    r->key = NULL;
    timer_set(&r->due, ms);
}

static void failed(struct renewal *r) {
    log_warn("certificate_not_renewed", KV_S("why", r->err.msg), KV_S("hint", r->err.hint));
    r->again_ms = r->again_ms * 2 < AGAIN_MAX_MS ? r->again_ms * 2 : AGAIN_MAX_MS;
    rest(r, r->again_ms);
}

/* Calls run in the work pool, then back on the loop. */
static void in_pool(struct renewal *r, void (*run)(struct offload *o), void (*back)(struct offload *o)) {
    r->err = (struct error){0};
    r->work.run = run;
    r->work.back = back;
    offload_start(&r->work, r->cfg.pool, r->cfg.loop);
}

/* --- saving --- */

static void save(struct offload *o) {
    struct renewal *r = container_of(o, struct renewal, work);
    /* The edge may have joined anew while the answer was on its way. */
    if (identity_save_renewed(&r->fresh, r->cfg.data, &r->err) == 0) identity_renewed(r->cfg.data);
}

static void on_saved(struct offload *o) {
    struct renewal *r = container_of(o, struct renewal, work);
    if (r->err.code < 0) {
        identity_fini(&r->fresh);
        failed(r);
        return;
    }
    char until[CLOCK_DATE_MAX];
    log_info("certificate_renewed", KV_I("generation", (long long)r->fresh.who.generation),
             KV_S("good_until", clock_date(r->fresh.who.not_after, until)));
    r->again_ms = AGAIN_FIRST_MS / 2;
    r->hasty = false;
    r->renewed_ms = clock_mono_ms();
    rest(r, 0);
    uplink_use(r->cfg.uplink, &r->fresh, NULL);
}

/* --- asking --- */

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct renewal *r = arg;
    r->why[0] = '\0';
    const char *wrong = breaker_judge(a, r->why);
    if (!wrong) r->why[0] = '\0';
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct renewal *r = arg;
    if (buf_add(&r->answer, data, len) < 0) buf_clear(&r->answer); /* longer than max_body: done says so */
    return true;
}

static int read_answer(struct renewal *r, const struct http_result *result) {
    struct wire_join_response rs;
    if (result->code < 0) return error_set(&r->err, result->code, "%s", result->msg);
    if (r->why[0]) return error_set(&r->err, ERR_DENIED, "%s", r->why);
    if (result->status != 200)
        return error_set(&r->err, ERR_UPSTREAM, "central answers %d: %.*s", result->status,
                         (int)strcspn(r->answer.data ? r->answer.data : "", "\n"),
                         r->answer.data ? r->answer.data : "");
    int code = wire_join_response_decode(&rs, r->answer.data, r->answer.len);
    if (code < 0)
        error_set(&r->err, code, "central's answer is not a certificate");
    else
        code = identity_of_answer(&r->fresh, r->key, &rs, &r->err);
    wire_join_response_fini(&rs);
    return code;
}

static void on_done(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    struct renewal *r = arg;
    r->call = NULL;
    if (read_answer(r, result) < 0)
        failed(r);
    else
        in_pool(r, save, on_saved);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void ask(struct renewal *r) {
    struct wire_renew_request rq;
    uint8_t *body;
    size_t len;
    memcpy(rq.id, r->id, sizeof(rq.id));
    if (wire_renew_request_encode(&rq, &body, &len) < 0) abort();
    const struct uplink_message m = {.path = WIRE_RENEW_PATH,
                                     .body = body,
                                     .len = len,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = TOTAL_MS,
                                     .max_answer = WIRE_MAX_JOIN};
    buf_clear(&r->answer);
    r->why[0] = '\0';
    r->call = uplink_send(r->cfg.uplink, r->cfg.client, &m, &events, r);
    free(body);
}

/* --- noting --- */

static void note(struct offload *o) {
    struct renewal *r = container_of(o, struct renewal, work);
    int code = identity_renewal(r->id, r->cfg.data, &r->err);
    (void)code; /* err has it */
}

static void on_noted(struct offload *o) {
    struct renewal *r = container_of(o, struct renewal, work);
    if (r->err.code < 0)
        failed(r);
    else
        ask(r);
}

static void on_due(void *arg) {
    struct renewal *r = arg;
    const struct identity *id = uplink_identity(r->cfg.uplink);
    if (r->busy || !id) return;
    int64_t left = left_ms(r, &id->who);
    if (left > 0 && !r->hasty) {
        timer_set(&r->due, left < LOOK_MAX_MS ? left : LOOK_MAX_MS);
        return;
    }
    r->busy = true;
    r->key = id->key;
    EVP_PKEY_up_ref(r->key);
    in_pool(r, note, on_noted);
}

void renewal_look(struct renewal *r) {
    if (!r->busy) timer_set(&r->due, 0);
}

void renewal_hasten(struct renewal *r) {
    uint32_t at = 0;
    if (r->hasty) return;
    r->hasty = true;
    if (RAND_bytes((unsigned char *)&at, sizeof(at)) != 1) at = 0;
    if (!r->busy) timer_set(&r->due, at % HASTE_MS);
}

struct renewal *renewal_new(const struct renewal_config *cfg) {
    struct renewal *r = xcalloc(1, sizeof(*r));
    r->cfg = *cfg;
    r->again_ms = AGAIN_FIRST_MS / 2;
    buf_init(&r->answer, WIRE_MAX_JOIN);
    timer_init(&r->due, cfg->loop, on_due, r);
    return r;
}

void renewal_free(struct renewal *r) {
    if (!r) return;
    if (r->call) http_call_cancel(r->call);
    timer_fini(&r->due);
    EVP_PKEY_free(r->key);
    identity_fini(&r->fresh);
    buf_fini(&r->answer);
    free(r);
}
