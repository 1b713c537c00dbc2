/* Sends a report, and decides when the next is due. Thread: as sender.h says. */
#include "edge/reports/sender.h"

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/wire/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Until central says something else. */
#define HEARTBEAT_MS 1000
#define HEARTBEAT_MIN_MS 100
#define HEARTBEAT_MAX_MS 60000
#define AGAIN_MAX_MS 5000
#define OLD_CENTRAL_MS 60000
#define CONNECT_MS 2000
#define ANSWER_MS 6000
/* Until the next report where there is more to say than fits into one: central takes ten a second. */
#define SOON_MS 150
/* The least rest is this part of the heartbeat. */
#define REST_PART 4

struct report_sender {
    struct report_sender_config cfg;
    struct timer due;
    struct http_call *call; /* NULL: resting */
    struct buf answer;
    int64_t heartbeat_ms, again_ms, began_ms;
    int status;
    int64_t took_ms;
    char local[IP_TEXT_MAX];
    pthread_mutex_t lock; /* guards stats */
    struct report_sender_stats stats;
};

/* --- resting --- */

/* So many milliseconds, up to a tenth more or less. */
static int64_t about(int64_t ms) {
    return ms - ms / 5 + clock_jitter_ms(ms / 5);
}

static void rest(struct report_sender *s, int64_t ms) {
    s->call = NULL;
    timer_set(&s->due, about(ms));
}

static int64_t at_least(int64_t ms, int64_t least) {
    return ms > least ? ms : least;
}

static void taken(struct report_sender *s, const struct wire_report_response *m) {
    pthread_mutex_lock(&s->lock);
    bool was_wrong = s->stats.problem[0] != '\0', is_first = s->stats.sent++ == 0;
    s->stats.taken_ms = clock_mono_ms();
    s->stats.problem[0] = '\0';
    pthread_mutex_unlock(&s->lock);
    if (was_wrong) log_info("reports_taken", KV_S("url", uplink_url(s->cfg.uplink)));
    if (m->heartbeat_ms >= HEARTBEAT_MIN_MS && m->heartbeat_ms <= HEARTBEAT_MAX_MS) s->heartbeat_ms = m->heartbeat_ms;
    s->again_ms = s->heartbeat_ms;
    bool more = s->cfg.answered && s->cfg.answered(m, s->cfg.arg);
    /* The first could not say which address leads to central. On a long road the answer's time is part of the rest. */
    if (is_first)
        rest(s, 0);
    else if (more && s->heartbeat_ms > SOON_MS)
        rest(s, SOON_MS);
    else
        rest(s, at_least(s->heartbeat_ms - s->took_ms, s->heartbeat_ms / REST_PART));
}

/* The first of several is logged. */
static void failed(struct report_sender *s, const char *why, int64_t again_ms) {
    pthread_mutex_lock(&s->lock);
    bool is_first = s->stats.problem[0] == '\0';
    s->stats.failed++;
    snprintf(s->stats.problem, sizeof(s->stats.problem), "%.255s", why);
    pthread_mutex_unlock(&s->lock);
    if (is_first) log_warn("report_not_taken", KV_S("url", uplink_url(s->cfg.uplink)), KV_S("why", why));
    if (s->cfg.answered) s->cfg.answered(NULL, s->cfg.arg);
    rest(s, again_ms);
}

static void failed_again(struct report_sender *s, const char *why) {
    int64_t ms = s->again_ms;
    int64_t most = s->heartbeat_ms > AGAIN_MAX_MS ? s->heartbeat_ms : AGAIN_MAX_MS;
    s->again_ms = 2 * ms < most ? 2 * ms : most;
    failed(s, why, ms);
}

/* --- asking --- */

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct report_sender *s = arg;
    s->status = a->status;
    snprintf(s->local, sizeof(s->local), "%.45s", a->local);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct report_sender *s = arg;
    if (buf_add(&s->answer, data, len) == 0) return true;
    failed_again(s, "central's answer to a report is too large");
    return false;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct report_sender *s = arg;
    struct wire_report_response m;
    char why[64];
    s->took_ms = clock_mono_ms() - s->began_ms;
    if (r->code == 0) uplink_took(s->cfg.uplink, s->took_ms);
    if (r->code != 0) {
        failed_again(s, r->msg);
    } else if (r->status == 404 || r->status == 405) {
        failed(s, "central is of a version that takes no reports", OLD_CENTRAL_MS);
    } else if (r->status != 200) {
        snprintf(why, sizeof(why), "central answers %d", r->status);
        failed_again(s, why);
    } else if (wire_report_response_decode(&m, s->answer.data, s->answer.len) < 0) {
        failed_again(s, "central's answer to a report cannot be read");
    } else {
        taken(s, &m);
    }
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void post(struct report_sender *s, const void *body, size_t len) {
    const struct uplink_message m = {.path = WIRE_REPORT_PATH,
                                     .body = body,
                                     .len = len,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = ANSWER_MS,
                                     .max_answer = WIRE_MAX_REPORT};
    buf_clear(&s->answer);
    s->began_ms = clock_mono_ms();
    s->call = uplink_send(s->cfg.uplink, s->cfg.client, &m, &events, s);
}

static void on_due(void *arg) {
    struct report_sender *s = arg;
    struct wire_report m = {0};
    uint8_t *data;
    size_t len;
    if (!s->cfg.fill(&m, s->local, s->took_ms, s->cfg.arg)) {
        rest(s, HEARTBEAT_MS);
        return;
    }
    if (wire_report_encode(&m, &data, &len) < 0) {
        failed_again(s, "the report is too large");
        return;
    }
    post(s, data, len);
    free(data);
}

/* --- life --- */

struct report_sender *report_sender_new(const struct report_sender_config *cfg) {
    struct report_sender *s = xcalloc(1, sizeof(*s));
    s->cfg = *cfg;
    s->heartbeat_ms = s->again_ms = HEARTBEAT_MS;
    pthread_mutex_init(&s->lock, NULL);
    buf_init(&s->answer, WIRE_MAX_REPORT + 1);
    timer_init(&s->due, cfg->loop, on_due, s);
    return s;
}

void report_sender_begin(struct report_sender *s) {
    timer_set(&s->due, 0);
}

void report_sender_free(struct report_sender *s) {
    if (!s) return;
    if (s->call) http_call_cancel(s->call);
    timer_fini(&s->due);
    buf_fini(&s->answer);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void report_sender_stats(struct report_sender *s, struct report_sender_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}
