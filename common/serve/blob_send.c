/* Sends the head and the bytes of a blob, or of parts of it: from a committed file, or from behind a fill as far as it
 * has come. Thread: serving loop. */
#include "common/serve/blob_send.h"

#include <stdio.h>
#include <stdlib.h>

/* Bytes handed to the connection at a time: enough for sendfile to work well, and few enough that a slow client keeps
 * little in memory. */
#define AHEAD (4 * MiB)
#define LOW_WATER (1 * MiB)

void body_leave_fill(struct body *b) {
    if (b->reader) fill_detach(b->reader);
    b->reader = NULL;
}

/* Writes the head of the range r, and returns its length as snprintf does. */
static int part_head(const struct body *b, const struct http_range *r, bool first, char *out, size_t cap) {
    struct content_part part = {.range = *r, .size = b->size, .media_type = b->media_type, .first = first};
    return content_part_head(b->x, &part, out, cap);
}

static int64_t multipart_length(const struct body *b) {
    char head[MEDIA_TYPE_MAX + 200]; /* written for its length alone */
    int64_t len = content_parts_end(b->x, head, sizeof(head));
    for (unsigned i = 0; i < b->n_ranges; i++) {
        len += part_head(b, &b->ranges[i], i == 0, head, sizeof(head)) + b->ranges[i].end - b->ranges[i].start;
    }
    return len;
}

static int by_start(const void *a, const void *b) {
    const struct http_range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

void body_choose(struct body *b, const struct etag *etag) {
    const char *range = b->as_whole ? NULL : content_range_asked(b->x, etag);
    b->kind = http_range_parse(range, b->size, b->ranges, &b->n_ranges);
    if (b->kind == HTTP_RANGE_NONE) {
        b->ranges[0] = (struct http_range){0, b->lengthless ? INT64_MAX : b->size};
        b->n_ranges = 1;
    }
    if (b->reader) qsort(b->ranges, b->n_ranges, sizeof(b->ranges[0]), by_start);
}

bool body_send_head(struct body *b, const struct origin *from, const struct etag *etag) {
    struct exchange *x = b->x;
    struct http_req *req = x->req;
    if (b->kind == HTTP_RANGE_UNSATISFIABLE) {
        http_reply_headerf(req, "Content-Range", "bytes */%lld", (long long)b->size);
        serve_error_status(req, 416, REGERR_RANGE_INVALID, "the range begins after the content's end");
        return false;
    }
    content_fields(x, from, etag);
    if (b->kind == HTTP_RANGE_NONE) {
        http_reply_begin(req, 200, b->media_type, b->lengthless ? -1 : b->size);
        if (b->size == 0 || x->is_head) {
            http_reply_end(req);
            return false;
        }
    } else if (b->n_ranges == 1) {
        http_reply_headerf(req, "Content-Range", "bytes %lld-%lld/%lld", (long long)b->ranges[0].start,
                           (long long)b->ranges[0].end - 1, (long long)b->size);
        http_reply_begin(req, 206, b->media_type, b->ranges[0].end - b->ranges[0].start);
    } else {
        char type[64];
        snprintf(type, sizeof(type), "multipart/byteranges; boundary=%s", x->registry->boundary);
        b->multipart = true;
        http_reply_begin(req, 206, type, multipart_length(b));
    }
    b->pos = b->ranges[0].start;
    return true;
}

static void on_drain(struct http_req *req) {
    struct exchange *x = http_req_user(req);
    if (x->body && !x->body->ended) body_pump(x->body);
}

/* Bytes that can be handed over now from pos on, at *at in *file, which gets a reference. 0: none yet; FILL_CUT. */
static int64_t next_bytes(struct body *b, int64_t want, struct open_file **file, int64_t *at) {
    if (!b->file) return fill_reader_bytes(b->reader, b->pos, want, file, at);
    *file = open_file_ref(b->file);
    *at = b->pos;
    return want;
}

void body_cut(struct body *b) {
    b->ended = true;
    body_leave_fill(b);
    http_reply_abort(b->x->req);
}

static void finish(struct body *b) {
    struct http_req *req = b->x->req;
    if (b->multipart) {
        char tail[64];
        http_body_mem(req, tail, (size_t)content_parts_end(b->x, tail, sizeof(tail)));
    }
    b->ended = true;
    /* The file is referenced by the connection; in a window the bytes must stay until they have left: the reader stays
     * too. */
    http_reply_end(req);
}

/* Hands over bytes of the current range. Returns their number; 0: wait for more; FILL_CUT. */
static int64_t hand_over(struct body *b) {
    struct http_req *req = b->x->req;
    const struct http_range *r = &b->ranges[b->range];
    if (b->multipart && !b->part_open) {
        char head[MEDIA_TYPE_MAX + 200];
        int n = part_head(b, r, b->range == 0, head, sizeof(head));
        http_body_mem(req, head, (size_t)n);
        b->part_open = true;
    }
    /* A committed file costs no memory while it waits, so all of it is handed over at once. */
    int64_t want = b->file || r->end - b->pos < AHEAD ? r->end - b->pos : AHEAD;
    struct open_file *file = NULL;
    int64_t at, n = next_bytes(b, want, &file, &at);
    if (n <= 0) return n;
    if (b->reader)
        http_body_file_fresh(req, file, at, n);
    else
        http_body_file(req, file, at, n);
    open_file_unref(file);
    body_count(b->reader ? &b->x->registry->fill_bytes : &b->x->registry->hit_bytes, n);
    b->pos += n;
    if (b->pos == r->end && ++b->range < b->n_ranges) {
        b->pos = b->ranges[b->range].start;
        b->part_open = false;
    }
    return n;
}

/* The lowest byte that has not left, or has not been handed over. Heads between ranges count as bytes of the ranges, so
 * the result may be too low, which is safe. */
static int64_t lowest_needed(const struct body *b) {
    int64_t pending = http_body_pending(b->x->req), pos = b->pos;
    unsigned i = b->range < b->n_ranges ? b->range : b->n_ranges - 1;
    while (i > 0 && pending > pos - b->ranges[i].start) {
        pending -= pos - b->ranges[i].start;
        pos = b->ranges[--i].end;
    }
    return pos - pending > b->ranges[i].start ? pos - pending : b->ranges[i].start;
}

void body_pump(struct body *b) {
    struct http_req *req = b->x->req;
    while (b->range < b->n_ranges && http_body_pending(req) < AHEAD) {
        int64_t n = hand_over(b);
        if (n == 0) break;
        if (n > 0) continue;
        body_cut(b);
        return;
    }
    if (b->reader) fill_reader_consumed(b->reader, lowest_needed(b));
    bool at_end = b->lengthless && fill_reader_state(b->reader) == FILL_PROVED && b->pos == fill_reader_size(b->reader);
    if (b->range == b->n_ranges || at_end) {
        finish(b);
        return;
    }
    /* Called again by the fill when more is there, and by the connection when it has sent most of what it has. */
    if (http_body_pending(req) >= LOW_WATER) http_body_on_drain(req, LOW_WATER, on_drain);
}
