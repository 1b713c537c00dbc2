/* The wanted answer: passes on its head, then its body, as long as the body is fast enough. Thread: the fetch loop. */
#include "common/upstream/upstream_request.h"

#include "common/core/clock.h"
#include "common/core/log.h"

/* A body is too slow below this part of its endpoint's usual speed, if another endpoint can be asked
 * (docs/architecture.md "A fill"). */
#define SLOW_PART 10
/* Below this, bytes a second, another endpoint is asked, whatever is usual. */
#define CRAWL_BYTES_PER_S (16 * KiB)
/* Fewer bytes show the delay to the first byte rather than the speed. */
#define SAMPLE_BYTES_MIN (1 * MiB)

/* --- its speed --- */

static void begin_sample(struct up_request *r) {
    speed_sample_begin(&r->sample, &r->e->speed, r->paused, clock_mono_us());
    timer_set(&r->timer, r->f.u->limits->pace_ms);
}

static void body_begins(struct up_request *r) {
    if (!r->f.blob || r->flows) return;
    r->flows = true;
    share_flows(r->f.u->places, &r->f.place);
    speed_bodies(&r->e->speed, 1, clock_mono_us());
    begin_sample(r);
}

void up_body_over(struct up_request *r) {
    if (!r->flows) return;
    struct speed *s = &r->e->speed;
    int64_t now = clock_mono_us();
    if (!r->sample.held && r->sample.bytes >= SAMPLE_BYTES_MIN) speed_add(s, speed_sample_rate(&r->sample, s, now));
    r->flows = false;
    speed_bodies(s, -1, now);
}

/* True if at this rate it ends before another request could begin. */
static bool is_nearly_over(const struct up_request *r) {
    int64_t left = registry_body_left(&r->body);
    return left >= 0 && left <= r->sample.bytes - r->body.skip;
}

int64_t up_body_speed(const struct up_request *r) {
    int64_t ms = clock_mono_ms() - r->f.place.since_ms;
    return is_nearly_over(r) ? -1 : r->body.given * 1000 / (ms + 1);
}

/* Ends the body. The caller keeps what came and continues elsewhere. */
static void give_up(struct up_request *r, const char *why, int64_t speed, int64_t usual) {
    struct fetch_end end;
    fetch_end_set(&end, ERR_TIMEOUT, "%.80s: %s (%lld KiB/s, usual are %lld)", r->f.u->cfg->name, why,
                  (long long)(speed / KiB), (long long)(usual / KiB));
    end.status = r->status;
    endpoint_avoid(r->e, end.msg);
    r->sample.bytes = 0; /* counted already */
    if (r->body.given > 0)
        up_finish(r, &end);
    else
        up_failed(r, &end);
}

void up_body_sample(struct up_request *r) {
    struct endpoint *e = r->e;
    int64_t speed = speed_sample_rate(&r->sample, &e->speed, clock_mono_us()), usual = speed_usual(&e->speed);
    bool counts = !r->sample.held && !is_nearly_over(r);
    if (!r->sample.held) speed_add(&e->speed, speed);
    bool slow = counts && speed < usual / SLOW_PART, crawls = counts && speed < CRAWL_BYTES_PER_S;
    bool another = (slow || crawls) && endpoint_another(e, r->tried | r->refused);
    if (slow && another)
        give_up(r, "slower than a tenth of what is usual there, and there is another endpoint", speed, usual);
    else if (crawls && another)
        give_up(r, "almost nothing arrives, and there is another endpoint", speed, usual);
    else
        begin_sample(r);
}

/* --- telling --- */

bool up_asks_for_whole(struct up_request *r) {
    if (r->whole || r->rq.length > 0 || r->rq.offset == 0) return false;
    r->whole = true;
    atomic_fetch_add_explicit(&r->f.u->retries, 1, memory_order_relaxed);
    up_sign(r);
    return true;
}

static void note_tag(const struct up_request *r, const struct fetch_head *h) {
    bool manifest = r->rq.kind == FETCH_MANIFEST || r->rq.kind == FETCH_MANIFEST_HEAD;
    if (manifest && !r->rq.ref.is_digest && h->has_digest)
        named_note(r->f.u->named, r->rq.repo.path, r->rq.ref.tag, &h->digest);
}

bool up_tell_head(struct up_request *r, const struct http_answer *a) {
    struct fetch_head h;
    struct fetch_end end;
    int64_t skip;
    if (up_answer_check(r, a, &h, &skip, &end) < 0) {
        r->call = NULL;
        if (end.code == ERR_MISMATCH)
            up_finish(r, &end);
        else if (a->status != 206 || !up_asks_for_whole(r))
            up_refused(r, &end);
        return false;
    }
    r->step = UP_TELLING;
    r->status = a->status;
    registry_body_begin(&r->body, &r->rq, r->told ? r->head.total : h.total, skip);
    body_begins(r);
    if (!r->told) {
        note_tag(r, &h);
        r->told = true;
        r->head = h;
        r->head.link = r->head.warning = r->head.origin = NULL;
        if (!up_survives(r, listener_head(&r->listener, &h))) return false;
    }
    if (!r->head_by_get) return true;
    up_head_came_by_get(r);
    r->call = NULL;
    up_finish(r, &(struct fetch_end){.status = a->status});
    return false;
}

bool up_tell_data(struct up_request *r, const char *data, size_t len) {
    r->sample.bytes += (int64_t)len;
    registry_body_take(&r->body, &data, &len);
    if (len == 0) return true;
    atomic_fetch_add_explicit(&r->f.u->bytes, (int64_t)len, memory_order_relaxed);
    if (!up_survives(r, listener_data(&r->listener, data, len))) return false;
    if (!registry_body_is_enough(&r->body)) return true;
    if (r->status == 206) return true; /* it ends by itself, and leaves its connection to the next */
    r->call = NULL;
    up_finish(r, &(struct fetch_end){.status = r->status});
    return false;
}
