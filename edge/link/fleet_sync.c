/* Asks for the state of the fleet, checks it, and keeps it. Thread: the fetch loop, but for what is marked. */
#include "edge/link/fleet_sync.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/digest.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/identity/attest.h"
#include "common/wire/wire.h"

#define CONNECT_MS 5000
#define TOTAL_MS 60000

struct fleet_sync {
    struct fleet_sync_config cfg;
    uint64_t version; /* of what was taken over; 0: in doubt */
    bool busy;
    bool doubted; /* while it was busy */
    struct http_call *call;
    struct buf answer;
    struct offload work;
    pthread_mutex_t lock; /* guards state */
    struct wire_fleet_state state;
    /* The job's. */
    struct error err;
    struct identity fresh;
    struct wire_fleet_state merged;
    bool other_signer;
    uint8_t *lost; /* removals that central lacks, encoded; NULL: none */
    size_t lost_len;
};

static void rest(struct fleet_sync *s) {
    s->busy = false;
    if (s->doubted) s->version = 0;
    s->doubted = false;
}

/* --- removals --- */

static const struct wire_bytes *signer_of(const struct wire_fleet_state *m, const struct wire_removal *r) {
    for (size_t i = 0; i < m->n_signers; i++) {
        struct digest d;
        digest_of(&d, DIGEST_SHA256, m->signers[i].data, m->signers[i].len);
        if (memcmp(d.bytes, r->signer, sizeof(r->signer)) == 0) return &m->signers[i];
    }
    return NULL;
}

/* It is of this fleet, still matters, and its signature is good. */
static bool is_good(const struct wire_fleet_state *m, const struct wire_removal *r, const struct identity *id) {
    struct wire_removal_body b;
    struct error ignored = {0};
    X509 *signer;
    const struct wire_bytes *der = signer_of(m, r);
    if (!der || wire_removal_body_decode(&b, r->body.data, r->body.len) < 0 || b.until <= clock_wall_s() ||
        cert_from_der(&signer, der->data, der->len, &ignored) < 0)
        return false;
    bool good = attest_check(id->roots, id->who.fleet, signer, r->body.data, r->body.len, r->signature.data,
                             r->signature.len, &ignored) == 0;
    X509_free(signer);
    return good;
}

static bool has(const struct wire_fleet_state *m, const struct wire_removal *r) {
    struct wire_removal_body a, b;
    if (wire_removal_body_decode(&a, r->body.data, r->body.len) < 0) return true;
    for (size_t i = 0; i < m->n_removals; i++) {
        const struct wire_bytes *body = &m->removals[i].body;
        if (wire_removal_body_decode(&b, body->data, body->len) == 0 && strcmp(a.name, b.name) == 0 &&
            memcmp(a.key, b.key, sizeof(a.key)) == 0)
            return true;
    }
    return false;
}

static void add_removal(struct wire_fleet_state *to, const struct wire_fleet_state *from,
                        const struct wire_removal *r) {
    const struct wire_bytes *signer = signer_of(from, r);
    wire_fleet_state_add_signer(to, signer->data, signer->len);
    wire_fleet_state_add(to, r);
}

/* Merges central's removals with those that are held here, and notes which of them central lacks. */
static void merge_removals(struct fleet_sync *s, const struct wire_fleet_state *theirs) {
    struct wire_fleet_state lost = {0};
    for (size_t i = 0; i < theirs->n_removals; i++)
        if (is_good(theirs, &theirs->removals[i], &s->fresh)) add_removal(&s->merged, theirs, &theirs->removals[i]);
    for (size_t i = 0; i < s->state.n_removals; i++) {
        const struct wire_removal *r = &s->state.removals[i];
        if (has(theirs, r) || !is_good(&s->state, r, &s->fresh)) continue;
        add_removal(&s->merged, &s->state, r);
        add_removal(&lost, &s->state, r);
    }
    if (lost.n_removals > 0 && wire_fleet_state_encode(&lost, &s->lost, &s->lost_len) < 0) s->lost = NULL;
    wire_fleet_state_fini(&lost);
}

/* --- taking over, in the work pool --- */

/* The roots themselves are in the identity. */
static int save_state(struct fleet_sync *s) {
    uint8_t *bytes;
    size_t len;
    int r = wire_fleet_state_encode(&s->merged, &bytes, &len);
    if (r < 0) return error_set(&s->err, r, "the state of the fleet is too large");
    r = identity_write(s->cfg.data, "fleet.pb", bytes, len, &s->err);
    free(bytes);
    return r;
}

static void take_over(struct offload *o) {
    struct fleet_sync *s = container_of(o, struct fleet_sync, work);
    struct wire_fleet_state theirs;
    int r = wire_fleet_state_decode(&theirs, s->answer.data, s->answer.len);
    if (r < 0) error_set(&s->err, r, "central's answer is not the state of a fleet");
    if (r == 0) r = identity_save_roots(&s->fresh, s->cfg.data, theirs.roots, theirs.n_roots, &s->err);
    if (r == 0) {
        uint8_t hash[32] = {0};
        if (sk_X509_num(s->fresh.chain) > 1) cert_hash(sk_X509_value(s->fresh.chain, 1), hash);
        s->other_signer = memcmp(hash, theirs.signer, sizeof(hash)) != 0;
        s->merged.n_addresses = theirs.n_addresses;
        memcpy(s->merged.addresses, theirs.addresses, sizeof(theirs.addresses));
        merge_removals(s, &theirs);
        r = save_state(s);
        if (r < 0) identity_fini(&s->fresh);
    }
    wire_fleet_state_fini(&theirs);
}

/* --- showing what central lacks --- */

static void on_shown(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    struct fleet_sync *s = arg;
    s->call = NULL;
    if (result->code == 0 && result->status == 200)
        log_info("removals_sent", KV_S("why", "central had forgotten them: its records were restored from a backup"));
    else
        log_warn("removals_not_sent", KV_I("status", result->status), KV_S("why", result->msg));
    if (result->status != 200) s->version = 0; /* asked for again, and then shown again */
    rest(s);
}

static const struct http_call_events shown_events = {.done = on_shown};

static void show_lost(struct fleet_sync *s) {
    const struct uplink_message m = {.path = WIRE_REMOVALS_PATH,
                                     .body = s->lost,
                                     .len = s->lost_len,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = TOTAL_MS,
                                     .max_answer = WIRE_MAX_JOIN};
    s->call = uplink_send(s->cfg.uplink, s->cfg.client, &m, &shown_events, s);
    free(s->lost);
    s->lost = NULL;
}

/* --- taken over, on the loop --- */

static void use_roots(struct fleet_sync *s) {
    const struct identity *now = uplink_identity(s->cfg.uplink);
    bool newer = now && memcmp(now->who.key, s->fresh.who.key, sizeof(now->who.key)) == 0 &&
                 now->who.generation <= s->fresh.who.generation;
    bool same = now && roots_mark(now->roots) == roots_mark(s->fresh.roots);
    if (newer && !same) {
        log_info("roots_taken", KV_I("roots", sk_X509_num(s->fresh.roots)));
        uplink_use(s->cfg.uplink, &s->fresh, NULL);
        s->doubted = false; /* that doubt came from this very change */
    } else if (!newer) {
        s->doubted = true; /* a renewal or a join came in between */
    }
    identity_fini(&s->fresh);
}

static void on_taken(struct offload *o) {
    struct fleet_sync *s = container_of(o, struct fleet_sync, work);
    if (s->err.code < 0) {
        log_warn("fleet_state_not_taken", KV_S("why", s->err.msg));
        wire_fleet_state_fini(&s->merged);
        if (s->err.code == ERR_DENIED) renewal_hasten(s->cfg.renewal);
        rest(s);
        return;
    }
    struct digest d;
    digest_of(&d, DIGEST_SHA256, s->answer.data, s->answer.len);
    memcpy(&s->version, d.bytes, sizeof(s->version));
    if (s->version == 0) s->version = 1;
    pthread_mutex_lock(&s->lock);
    wire_fleet_state_fini(&s->state);
    s->state = s->merged;
    pthread_mutex_unlock(&s->lock);
    s->merged = (struct wire_fleet_state){0};
    use_roots(s);
    if (s->other_signer) renewal_hasten(s->cfg.renewal);
    if (s->lost)
        show_lost(s);
    else
        rest(s);
}

/* --- asking --- */

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct fleet_sync *s = arg;
    if (buf_add(&s->answer, data, len) < 0) buf_clear(&s->answer); /* longer than max_body: done says so */
    return true;
}

static void on_done(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    struct fleet_sync *s = arg;
    s->call = NULL;
    if (result->code < 0 || result->status != 200) { /* the watch tells the version again soon */
        rest(s);
        return;
    }
    s->err = (struct error){0};
    s->work.run = take_over;
    s->work.back = on_taken;
    offload_start(&s->work, s->cfg.pool, s->cfg.loop);
}

static const struct http_call_events events = {.data = on_data, .done = on_done};

void fleet_sync_told(struct fleet_sync *s, uint64_t version) {
    if (s->busy || version == s->version || !uplink_identity(s->cfg.uplink)) return;
    s->busy = true;
    buf_clear(&s->answer);
    const struct uplink_message m = {.path = WIRE_STATE_PATH,
                                     .in_turn = true,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = TOTAL_MS,
                                     .max_answer = WIRE_MAX_STATE};
    s->call = uplink_send(s->cfg.uplink, s->cfg.client, &m, &events, s);
}

void fleet_sync_doubt(struct fleet_sync *s) {
    if (s->busy)
        s->doubted = true;
    else
        s->version = 0;
}

/* --- what it knows --- */

size_t fleet_sync_addresses(struct fleet_sync *s, char out[WIRE_ADDRESSES_MAX][WIRE_ADDRESS_MAX]) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->state.n_addresses;
    memcpy(out, s->state.addresses, sizeof(s->state.addresses));
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t fleet_sync_removed(struct fleet_sync *s) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->state.n_removals;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* --- life --- */

/* A file that cannot be read is no error: central is asked again. */
static void read_state(struct fleet_sync *s) {
    char path[4300], *bytes;
    size_t len;
    struct error ignored = {0};
    snprintf(path, sizeof(path), "%.4000s/identity/fleet.pb", s->cfg.data);
    if (file_read_all(path, WIRE_MAX_STATE, &bytes, &len, &ignored) < 0) return;
    if (wire_fleet_state_decode(&s->state, bytes, len) < 0) wire_fleet_state_fini(&s->state);
    free(bytes);
}

struct fleet_sync *fleet_sync_new(const struct fleet_sync_config *cfg) {
    struct fleet_sync *s = xcalloc(1, sizeof(*s));
    s->cfg = *cfg;
    buf_init(&s->answer, WIRE_MAX_STATE);
    pthread_mutex_init(&s->lock, NULL);
    read_state(s);
    return s;
}

void fleet_sync_free(struct fleet_sync *s) {
    if (!s) return;
    if (s->call) http_call_cancel(s->call);
    buf_fini(&s->answer);
    wire_fleet_state_fini(&s->state);
    wire_fleet_state_fini(&s->merged);
    identity_fini(&s->fresh);
    free(s->lost);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
