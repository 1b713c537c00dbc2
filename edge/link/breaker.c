/* The circuit breaker for central, and its probe. Thread: the fetch loop, but for breaker_state. */
#include "edge/link/breaker.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/printable.h"
#include "common/wire/node_headers.h"
#include "common/wire/upstreams.h"
#include "common/wire/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 2000
/* Central restarts within a tenth of a second, so the first probes follow each other quickly. */
#define PROBE_FIRST_MS 100
#define PROBE_MAX_MS 5000
/* If a request needs central, the next probe starts this long after the last one. */
#define PROBE_WANTED_MS 250
/* Central answers a probe from memory, so this is enough. */
#define PROBE_HEAD_MS 3000
/* If requests wait and central has sent nothing for this long, a probe finds out whether central is gone or only its
 * upstream slow. If the probe gets no answer either within the same time, central counts as silent, before the 3 s are
 * over that a known tag may wait. */
#define SUSPECT_MS 2000
#define SILENT_MS 800

enum away { AWAY_MAY_RETURN, AWAY_SILENT, AWAY_REFUSES };

struct breaker {
    struct breaker_config cfg;
    struct timer probe, suspect, silence, changed, patience;
    bool silent;
    bool may_return;          /* written under lock, and on the loop alone */
    bool refused;             /* by central's last answer; guarded by lock */
    void (*found)(void *arg); /* may be NULL */
    void *found_arg;
    unsigned awaiting; /* requests whose answer has not begun */
    struct http_call *call;
    bool refuses;         /* the probe's answer is a refusal of this edge */
    const char *stranger; /* how the probe's answer shows that this is not central (text in why); NULL: it does not */
    char why[CENTRAL_WHY_MAX];
    int64_t probe_ms, probed_ms,
        probe_due_ms;     /* interval to the next probe, when the last was sent, when the next is due */
    pthread_mutex_t lock; /* guards state; held for a few instructions */
    struct central_state state;
};

/* --- open or closed --- */

bool breaker_is_open(struct breaker *b) {
    pthread_mutex_lock(&b->lock);
    bool open = !b->state.reachable;
    pthread_mutex_unlock(&b->lock);
    return open;
}

bool breaker_may_return(const struct breaker *b) {
    return b->may_return;
}

bool breaker_is_silent(const struct breaker *b) {
    return b->silent;
}

void breaker_state(struct breaker *b, struct central_state *out) {
    pthread_mutex_lock(&b->lock);
    *out = b->state;
    out->gone = !b->state.reachable && !b->may_return && !b->refused;
    pthread_mutex_unlock(&b->lock);
}

void breaker_heard(struct breaker *b) {
    timer_clear(&b->silence);
    b->silent = false;
}

static void probe_in(struct breaker *b, int64_t ms) {
    b->probe_due_ms = clock_mono_ms() + ms;
    timer_set(&b->probe, ms);
}

void breaker_wanted(struct breaker *b) {
    int64_t now = clock_mono_ms(), wait = b->probed_ms + PROBE_WANTED_MS - now;
    if (wait < 0) wait = 0;
    if (!b->call && now + wait < b->probe_due_ms) probe_in(b, wait);
}

/* how: if it is not reachable. */
static void set(struct breaker *b, bool reachable, const char *why, enum away how) {
    if (reachable) breaker_heard(b);
    pthread_mutex_lock(&b->lock);
    bool changed = b->state.reachable != reachable;
    if (changed) b->may_return = !reachable && how == AWAY_MAY_RETURN;
    b->refused = !reachable && (b->refused || how == AWAY_REFUSES); /* a central that is away takes nothing back */
    b->state.reachable = reachable;
    if (changed) b->state.since_s = clock_wall_s();
    if (!reachable) {
        b->state.failures++;
        snprintf(b->state.last_error, sizeof(b->state.last_error), "%s", why);
    }
    pthread_mutex_unlock(&b->lock);
    if (!changed) return;
    timer_clear(&b->patience);
    timer_set(&b->changed, 0);
    if (reachable) {
        log_info("central_reachable", KV_S("url", uplink_url(b->cfg.uplink)));
        if (b->found) b->found(b->found_arg);
    } else {
        log_warn("central_unreachable", KV_S("url", uplink_url(b->cfg.uplink)), KV_S("why", why));
        b->probe_ms = PROBE_FIRST_MS;
        probe_in(b, b->probe_ms);
        if (b->may_return) timer_set(&b->patience, b->cfg.return_ms);
    }
}

void breaker_set(struct breaker *b, bool reachable, const char *why) {
    set(b, reachable, why, AWAY_MAY_RETURN);
}

void breaker_refused(struct breaker *b, const char *why) {
    set(b, false, why, AWAY_REFUSES);
}

static void on_changed(void *arg) {
    struct breaker *b = arg;
    if (breaker_is_open(b))
        b->cfg.opened(b->cfg.arg);
    else
        b->cfg.closed(b->cfg.arg);
}

static void on_patience(void *arg) {
    struct breaker *b = arg;
    pthread_mutex_lock(&b->lock);
    b->may_return = false;
    pthread_mutex_unlock(&b->lock);
    b->cfg.gave_up(b->cfg.arg);
}

void breaker_on_found(struct breaker *b, void (*found)(void *arg), void *arg) {
    b->found = found;
    b->found_arg = arg;
}

/* --- is it central that answers? --- */

static bool is_type(const char *content_type, const char *wanted) {
    size_t n = content_type ? strcspn(content_type, "; ") : 0;
    return n == strlen(wanted) && strncasecmp(content_type, wanted, n) == 0;
}

const char *breaker_not_central(int status, const char *content_type, char why[CENTRAL_WHY_MAX]) {
    bool good = status == 200 && is_type(content_type, WIRE_CONTENT_TYPE);
    bool cannot = status == SETTINGS_REFUSED || status == 413 || status == 500 || status == 503 ||
                  (status == 400 && is_type(content_type, "text/plain"));
    if (good || cannot) return NULL;
    /* The probe's GET and a POST give the same message. */
    if (status == 404 || status == 405)
        snprintf(why, CENTRAL_WHY_MAX,
                 "this is not central's fleet port (5001 by default): it does not know what edges ask");
    else
        snprintf(why, CENTRAL_WHY_MAX,
                 "this is not central's fleet port (5001 by default): it answers %d%s to what edges ask", status,
                 status == 200 ? ", but no protobuf," : "");
    return why;
}

static const char *refusal(const struct http_answer *a) {
    return a->status == 403 ? a->header(a, REFUSED_HEADER) : NULL;
}

bool breaker_is_refusal(const struct http_answer *a) {
    return refusal(a) != NULL;
}

const char *breaker_judge(const struct http_answer *a, char why[CENTRAL_WHY_MAX]) {
    const char *refused = refusal(a);
    const char *location = a->status / 100 == 3 ? a->header(a, "location") : NULL;
    if (location) {
        snprintf(
            why, CENTRAL_WHY_MAX,
            "something answers in central's place: it redirects (%d) to %.120s; a captive portal, or another program",
            a->status, location);
        return text_make_printable(why);
    }
    if (!refused) return breaker_not_central(a->status, a->header(a, "content-type"), why);
    snprintf(why, CENTRAL_WHY_MAX, CENTRAL_REFUSES, refused);
    return why;
}

const char *breaker_take(struct breaker *b, const struct http_answer *a, char why[CENTRAL_WHY_MAX]) {
    const char *wrong = breaker_judge(a, why);
    set(b, !wrong, wrong, breaker_is_refusal(a) ? AWAY_REFUSES : AWAY_MAY_RETURN);
    return wrong;
}

/* --- silence --- */

void breaker_await(struct breaker *b) {
    if (b->awaiting++ == 0) timer_set(&b->suspect, SUSPECT_MS);
}

void breaker_await_over(struct breaker *b, bool alive) {
    b->awaiting--;
    if (b->awaiting == 0)
        timer_clear(&b->suspect);
    else if (alive)
        timer_set(&b->suspect, SUSPECT_MS);
}

static void on_silence(void *arg) {
    struct breaker *b = arg;
    b->silent = true;
    log_warn("central_silent", KV_S("url", uplink_url(b->cfg.uplink)));
    b->cfg.silent(b->cfg.arg);
}

/* --- the probe --- */

static bool probe_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct breaker *b = arg;
    b->stranger = breaker_judge(a, b->why);
    b->refuses = breaker_is_refusal(a);
    return true;
}

static void probe_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct breaker *b = arg;
    b->call = NULL;
    if (r->status > 0 && !b->stranger) {
        breaker_set(b, true, NULL);
        if (b->awaiting > 0) timer_set(&b->suspect, SUSPECT_MS);
        return;
    }
    set(b, false, r->status > 0 ? b->stranger : r->msg,
        b->refuses               ? AWAY_REFUSES
        : r->code == ERR_TIMEOUT ? AWAY_SILENT
                                 : AWAY_MAY_RETURN);
    int64_t most = b->may_return ? PROBE_WANTED_MS : PROBE_MAX_MS;
    b->probe_ms = b->probe_ms * 2 < most ? b->probe_ms * 2 : most;
    probe_in(b, b->probe_ms);
}

static const struct http_call_events probe_events = {.head = probe_head, .done = probe_done};

static void send_probe(struct breaker *b) {
    if (b->call) return;
    b->probed_ms = clock_mono_ms();
    b->refuses = false;
    const struct uplink_message m = {.path = WIRE_UPSTREAMS_PATH,
                                     .connect_ms = CONNECT_MS,
                                     .head_ms = PROBE_HEAD_MS,
                                     .total_ms = CONNECT_MS + PROBE_HEAD_MS,
                                     .max_answer = WIRE_MAX_UPSTREAMS};
    b->call = uplink_send(b->cfg.uplink, b->cfg.client, &m, &probe_events, b);
}

static void on_probe(void *arg) {
    send_probe(arg);
}

static void on_suspect(void *arg) {
    struct breaker *b = arg;
    send_probe(b);
    timer_set(&b->silence, SILENT_MS);
}

/* --- its life --- */

struct breaker *breaker_new(const struct breaker_config *cfg) {
    struct breaker *b = xcalloc(1, sizeof(*b));
    b->cfg = *cfg;
    b->state.reachable = true; /* assumed until a request or probe shows otherwise */
    pthread_mutex_init(&b->lock, NULL);
    timer_init(&b->probe, cfg->loop, on_probe, b);
    timer_init(&b->suspect, cfg->loop, on_suspect, b);
    timer_init(&b->silence, cfg->loop, on_silence, b);
    timer_init(&b->changed, cfg->loop, on_changed, b);
    timer_init(&b->patience, cfg->loop, on_patience, b);
    return b;
}

void breaker_free(struct breaker *b) {
    if (!b) return;
    if (b->call) http_call_cancel(b->call);
    timer_fini(&b->probe);
    timer_fini(&b->suspect);
    timer_fini(&b->silence);
    timer_fini(&b->changed);
    timer_fini(&b->patience);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
