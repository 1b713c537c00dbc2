/* The life of an answer that carries a blob, or parts of it, from a committed file or from behind a fill as it grows;
 * blob_send.c sends its bytes. Thread: serving loop.
 *
 *   waiting for a source's word ─▶ head sent ─▶ pumping ⇄ waiting for bytes ─▶ ended
 *          │ failed, or no word for too long: an error     │ failed: the connection is cut
 *
 *   pumping ── others of the fill wait for it ─▶ aside ── the fill is over ─▶ resuming (from another fill) ─▶ pumping
 *
 *   sending what is held ── the disk does not give it back ─▶ resuming (dropped, fetched again) ─▶ pumping */
#include "common/serve/blob_send.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void body_free(struct body *b) {
    body_leave_fill(b);
    /* Bytes that were counted as sent but did not leave. */
    if (b->file) body_count(&b->x->registry->hit_bytes, -http_body_pending(b->x->req));
    open_file_unref(b->file);
    if (b->has_patience) timer_fini(&b->patience);
    free(b);
}

static struct origin origin_of(const struct fill_reader *reader) {
    if (!reader || strcmp(fill_reader_source(reader), "disk") == 0) return (struct origin){0};
    return (struct origin){fill_reader_source(reader), fill_reader_joined(reader)};
}

/* Tells the fill which bytes are needed. False: it has dropped some of them. */
static bool tell_fill(struct body *b) {
    /* Adjoining parts count as one range here. */
    struct http_range first = b->ranges[0], last = b->ranges[b->n_ranges - 1];
    struct fill_want want = {.start = first.start,
                             .end = last.end,
                             .size = b->lengthless ? -1 : b->size,
                             .whole = b->n_ranges == 1 && first.start == 0 && last.end >= b->size};
    return fill_reader_settle(b->reader, &want);
}

/* Answers conditions, or sends the head. False: the answer is complete already. */
static bool begin(struct body *b, const struct etag *etag) {
    struct origin from = origin_of(b->reader);
    b->begun = true;
    return !content_settled_by_conditions(b->x, &from, etag) && body_send_head(b, &from, etag);
}

/* Not the size that the head has told. */
static bool size_has_changed(const struct body *b) {
    return !b->lengthless && fill_reader_size(b->reader) != b->size;
}

/* --- following a fill --- */

static bool is_by_tag(const struct exchange *x) {
    return x->age_s >= 0;
}

/* The source has named a digest for the tag that it cannot give: its word is not kept, and the tag is not "unknown".
 * What is hosted has no source that could be wrong. */
static void doubt_tag(struct exchange *x, struct fetch_end *end) {
    char digest[DIGEST_STR_MAX];
    if (serve_is_hosted(x)) return;
    store_tag_forget(x->registry->cfg.store, x->repo_str, x->asked.ref.tag);
    fetch_end_set(end, ERR_UPSTREAM, "the source says %s points to %s, but cannot give that", x->asked.ref.tag,
                  digest_str(&x->ref.digest, digest));
}

/* Before the head: answers with an error, or for a tag with the held manifest. Frees b. */
static void refuse(struct body *b, struct fetch_end *end) {
    struct exchange *x = b->x;
    x->body = NULL;
    body_free(b);
    if (x->is_manifest && end->code != ERR_CANCELLED) moves_failed(x->registry->moves, &x->ref.digest, end->msg);
    if (serve_last_held(x, end)) return;
    if (is_by_tag(x) && (end->code == ERR_NOT_FOUND || end->code == ERR_MISMATCH)) doubt_tag(x, end);
    serve_fetch_end(x->req, end, x->is_manifest ? REGERR_MANIFEST_UNKNOWN : REGERR_BLOB_UNKNOWN);
}

/* Frees b, or cuts the connection. */
static void fail(struct body *b) {
    struct fetch_end end = *fill_reader_error(b->reader);
    if (!b->begun) {
        refuse(b, &end);
        return;
    }
    b->ended = true;
    body_leave_fill(b);
    http_reply_abort(b->x->req);
}

/* How long the head may wait: until the request's own deadline, or only briefly if a held manifest can be sent instead.
 * had_word: a source had agreed already and only the fill is another; it gets at least the brief time. A body that is
 * being resumed has begun long ago, so its source gets the whole time again. */
static struct deadline patience_of(const struct body *b, bool had_word) {
    const struct exchange *x = b->x;
    int64_t now = clock_mono_ms();
    struct deadline own = exchange_deadline(x), brief = deadline_after(now, SERVE_PATIENCE_MS);
    if (b->resuming) return deadline_after(now, x->registry->cfg.policy->answer_within_ms);
    if (had_word) return own.at_ms < brief.at_ms ? brief : own;
    return x->has_last && brief.at_ms < own.at_ms ? brief : own;
}

static void on_event(struct fill_reader *r, void *arg);

/* lowest, end: bounds of the bytes that it may need, as far as is known; 0, 0: all. had_word: see patience_of. */
static void follow(struct body *b, int64_t lowest, int64_t end, bool had_word) {
    struct exchange *x = b->x;
    b->deadline = patience_of(b, had_word);
    struct fill_spec spec = {.digest = x->ref.digest,
                             .repo = x->repo,
                             .caller = x->caller,
                             .settings = x->settings,
                             .manifest = x->is_manifest,
                             .deadline = b->deadline,
                             .start = lowest,
                             .end = end};
    snprintf(spec.request_id, sizeof(spec.request_id), "%s", http_req_id(x->req));
    b->size = -1;
    b->impatient = false;
    timer_set(&b->patience, deadline_left_ms(&b->deadline));
    b->reader = fill_attach(x->registry->cfg.fills, &spec, on_event, b);
}

/* Before the head: what this fill has it cannot use. */
static void follow_anew(struct body *b) {
    b->wants_all = b->wants_all || b->as_whole;
    body_leave_fill(b);
    follow(b, 0, 0, true);
}

/* Chooses the answer by the size as now known, and tells the fill which bytes to keep. False: the fill has already
 * dropped some of them, and another one is followed from its start. */
static bool settle(struct body *b) {
    struct etag etag;
    content_etag(b->x, &etag);
    body_choose(b, &etag);
    if (b->x->is_head || b->n_ranges == 0 || tell_fill(b)) return true;
    follow_anew(b);
    return false;
}

static bool may_begin(struct body *b, enum fill_state state) {
    struct exchange *x = b->x;
    b->size = fill_reader_size(b->reader);
    if (state == FILL_PROVED) {
        b->as_whole = b->lengthless = false;
        if (x->is_manifest) snprintf(b->media_type, sizeof(b->media_type), "%s", fill_reader_media_type(b->reader));
        return settle(b);
    }
    /* Engines try their next host after an error status, but never after a body that was cut. So 200 and 206 wait
     * until a source agrees to send, and for its first bytes while there is time. Answers that are only a head, and
     * manifests, whose type is in the head, wait until the digest is proved. */
    if (state != FILL_FLOWING || x->is_manifest || x->is_head || b->size == 0) return false;
    /* A length that only manifests claim is not sent in a head and decides no range. The whole is sent as it comes. A
     * client that wants a part waits for the length first; a node gets the whole at once and skips what it has. */
    b->as_whole = b->lengthless = fill_reader_settled_size(b->reader) < 0 || b->size < 0;
    bool waits = b->lengthless && !b->wants_all && x->caller.kind != CALLER_NODE && !b->impatient;
    if (waits || !settle(b)) return false;
    /* Only a proved size can show that a range begins after the end. */
    return b->impatient || (b->kind != HTTP_RANGE_UNSATISFIABLE && fill_reader_sees(b->reader, b->ranges[0].start));
}

/* Answers with an error, because no source has agreed to send in time and the client would soon give up. The fill goes
 * on, for clients that ask again. */
static void give_up(struct body *b) {
    struct fetch_end end;
    const struct fetch_end *trouble = fill_reader_trouble(b->reader);
    bool no = trouble && (trouble->code == ERR_NOT_FOUND || trouble->code == ERR_DENIED);
    fetch_end_no_answer(&end, b->x->repo_str, b->deadline.within_ms);
    /* "Not found" and "denied" count only when all sources have been asked. */
    if (trouble && !no) end = *trouble;
    fill_reader_will_return(b->reader);
    refuse(b, &end);
}

/* Refuses content that is not a manifest, because a tag points to manifests only. */
static void refuse_what_is_none(struct body *b) {
    struct fetch_end end;
    fetch_end_set(&end, ERR_MISMATCH, "%.100s has what is no manifest for the tag %s", fill_reader_source(b->reader),
                  b->x->asked.ref.tag);
    refuse(b, &end);
}

/* False: the answer is complete already. */
static bool answer(struct body *b) {
    struct exchange *x = b->x;
    struct etag etag;
    content_etag(x, &etag);
    bool joined = fill_reader_joined(b->reader);
    http_req_note(x->req, joined ? "join" : fill_reader_source_stands_in(b->reader) ? "direct" : "miss");
    if (joined) body_count(&x->registry->joined, 1);
    if (begin(b, &etag)) return true;
    b->ended = true;
    body_leave_fill(b);
    return false;
}

/* --- left behind by a fill --- */

/* The fill goes on without this one, whose client takes its bytes too slowly for the others. What was handed over and
 * has not left is taken back, because the fill will drop it. Only once: a client cannot have the blob fetched over and
 * over. */
static void stand_aside(struct body *b) {
    bool all_gone = b->ended && http_body_pending(b->x->req) == 0;
    bool may_wait = !b->was_aside && !b->resuming && !b->multipart;
    int64_t left = all_gone ? 0 : may_wait ? http_body_withdraw(b->x->req) : -1;
    if (left < 0) {
        body_cut(b);
        return;
    }
    b->was_aside = true;
    fill_reader_stand_aside(b->reader);
    if (all_gone) return;
    body_count(&b->x->registry->fill_bytes, -left);
    b->pos -= left;
    b->range = 0;
    b->ended = false;
    b->aside = true;
}

/* All bytes that the client has got are proved: the rest may come from another fill. */
static void go_on(struct body *b) {
    int64_t size = b->size;
    if (fill_reader_size(b->reader) != size) {
        body_cut(b);
        return;
    }
    body_leave_fill(b);
    b->aside = false;
    b->resuming = true;
    follow(b, b->pos, b->ranges[0].end, false);
    b->size = size;
}

/* True if its fill goes on, or has gone on, without it, and that was seen to. */
static bool is_aside(struct body *b, enum fill_state state) {
    if (!b->aside && fill_reader_left_behind(b->reader) && state != FILL_PROVED && state != FILL_FAILED) {
        if (b->begun)
            stand_aside(b);
        else
            follow_anew(b);
        return true;
    }
    if (!b->aside) return false;
    if (state == FILL_PROVED) go_on(b);
    if (state == FILL_FAILED) fail(b);
    return true;
}

/* Checks the size after a head was sent. False: the fill does not know its size yet, or the answer was cut. */
static bool resume(struct body *b, enum fill_state state) {
    int64_t size = fill_reader_size(b->reader);
    if (state != FILL_PROVED && (state != FILL_FLOWING || size < 0)) return false;
    const struct http_range *r = &b->ranges[0];
    struct fill_want want = {
        .start = b->pos, .end = r->end, .size = b->size, .whole = r->start == 0 && r->end >= b->size};
    b->resuming = false;
    if (size == b->size && fill_reader_settle(b->reader, &want)) return true;
    body_cut(b);
    return false;
}

static void advance(struct body *b) {
    if (!b->reader) return;
    enum fill_state state = fill_reader_state(b->reader);
    if (is_aside(b, state) || b->ended) return;
    if (state == FILL_FAILED) {
        fail(b);
        return;
    }
    if (b->resuming && !resume(b, state)) return;
    if (b->begun && size_has_changed(b)) {
        body_cut(b);
        return;
    }
    if (!b->begun && b->impatient && state == FILL_STARTING) {
        give_up(b);
        return;
    }
    if (!b->begun && !may_begin(b, state)) return;
    if (!b->begun && is_by_tag(b->x) && !fill_reader_is_manifest(b->reader)) {
        refuse_what_is_none(b);
        return;
    }
    if (b->begun || answer(b)) body_pump(b);
}

static void on_event(struct fill_reader *r, void *arg) {
    (void)r;
    advance(arg);
}

static void on_patience(void *arg) {
    struct body *b = arg;
    b->impatient = true;
    if (!b->begun && b->reader) advance(b);
}

static struct body *body_new(struct exchange *x) {
    struct body *b = xcalloc(1, sizeof(*b));
    b->x = x;
    x->body = b;
    return b;
}

/* Which bytes are asked for, as far as is known without the size. Bytes counted from the end are taken to be very far
 * away. */
static struct http_range bytes_asked(const struct exchange *x) {
    struct etag etag;
    struct http_range ranges[HTTP_RANGES_MAX], all = {0, INT64_MAX};
    unsigned n = 0;
    content_etag(x, &etag);
    if (http_range_parse(content_range_asked(x, &etag), INT64_MAX, ranges, &n) != HTTP_RANGE_PARTIAL) return all;
    struct http_range r = ranges[0];
    for (unsigned i = 1; i < n; i++) {
        if (ranges[i].start < r.start) r.start = ranges[i].start;
        if (ranges[i].end > r.end) r.end = ranges[i].end;
    }
    return r;
}

void body_follow(struct exchange *x) {
    struct body *b = body_new(x);
    struct http_range asked = bytes_asked(x);
    b->wants_all = asked.start == 0 && asked.end == INT64_MAX;
    snprintf(b->media_type, sizeof(b->media_type), "application/octet-stream");
    timer_init(&b->patience, http_req_loop(x->req), on_patience, b);
    b->has_patience = true;
    body_count(&x->registry->misses, 1);
    if (x->is_head)
        follow(b, INT64_MAX, INT64_MAX, false); /* a head waits for the proof only: it needs no bytes */
    else
        follow(b, asked.start, b->wants_all ? 0 : asked.end, false);
}

void body_head_unheld(struct exchange *x, const char *source, int64_t size, const char *media_type) {
    struct origin from = {.source = source};
    struct etag etag;
    http_req_note(x->req, "miss");
    content_etag(x, &etag);
    if (content_settled_by_conditions(x, &from, &etag)) return;
    content_fields(x, &from, &etag);
    http_reply_begin(x->req, 200, media_type, size);
    http_reply_end(x->req);
}

/* --- what is held --- */

bool body_begins_later(const struct exchange *x) {
    return http_req_header(x->req, "range") && bytes_asked(x).start > 0;
}

void body_resume(struct exchange *x, bool dropped) {
    struct body *b = x->body;
    if (!dropped || b->n_ranges != 1 || b->multipart) {
        body_cut(b);
        return;
    }
    open_file_unref(b->file);
    b->file = NULL;
    b->resuming = true;
    timer_init(&b->patience, http_req_loop(x->req), on_patience, b);
    b->has_patience = true;
    int64_t size = b->size;
    follow(b, b->pos, b->ranges[0].end, false);
    b->size = size;
}

/* In mid-body: continue from a fill, unseen by the client. */
static void on_unreadable(struct http_req *req, int64_t left) {
    struct exchange *x = http_req_user(req);
    struct body *b = x->body;
    if (!b->file || x->waiting) {
        body_cut(b); /* the second file that fails for this request */
        return;
    }
    body_count(&x->registry->hit_bytes, -left);
    b->ended = false;
    b->range = 0;
    b->pos = b->ranges[0].end - left;
    serve_unreadable(x, b->file);
}

static void release_file(void *file) {
    open_file_unref(file);
}

void body_send_held(struct exchange *x, struct open_file *file, int64_t size, const char *media_type) {
    static const struct origin held = {0};
    struct etag etag;
    size_t len = 0;
    const char *content = file ? open_file_content(file, &len) : NULL;
    body_count(&x->registry->hits, 1);
    http_req_note(x->req, "hit");
    content_etag(x, &etag);
    if (content_settled_by_conditions(x, &held, &etag)) {
        open_file_unref(file);
        return;
    }
    if (x->is_head || (content && !content_range_asked(x, &etag))) {
        content_fields(x, &held, &etag);
        body_count(&x->registry->hit_bytes, (int64_t)len);
        http_reply_ref(x->req, 200, media_type, content, (size_t)size, release_file, file);
        return;
    }
    struct body *b = body_new(x);
    b->file = file;
    b->size = size;
    b->begun = true;
    snprintf(b->media_type, sizeof(b->media_type), "%s", media_type);
    body_choose(b, &etag);
    http_body_on_unreadable(x->req, on_unreadable);
    if (body_send_head(b, &held, &etag))
        body_pump(b);
    else
        b->ended = true;
}
