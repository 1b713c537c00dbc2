/* The body of one answer that carries a blob: which bytes are answered, and how they go to the connection. Shared by
 * blob_send.c, which sends them, and blob_body.c, which says when and from what. Thread: serving loop. */
#ifndef ENTREPOT_SERVE_BLOB_SEND_H
#define ENTREPOT_SERVE_BLOB_SEND_H

#include "common/serve/content_head.h"

#include "common/core/clock.h"

struct body {
    struct exchange *x;
    struct open_file *file; /* committed; NULL: behind a fill */
    int64_t size;           /* -1: not known yet */
    char media_type[MEDIA_TYPE_MAX + 1];
    struct fill_reader *reader;
    bool begun, ended;
    bool impatient;           /* the time for an answer is over: the head is sent as soon as that is possible */
    struct deadline deadline; /* until then the head may wait */
    struct timer patience;
    bool has_patience;
    /* The ranges of the answer, set by choose_answer; behind a fill they are in rising order. */
    enum http_range_result kind;
    struct http_range ranges[HTTP_RANGES_MAX];
    unsigned n_ranges, range;
    int64_t pos; /* next byte to hand over */
    bool multipart, part_open;
    bool wants_all;  /* no range is asked for, or the whole is a valid answer to it */
    bool as_whole;   /* sent whole, even if a range was asked for */
    bool resuming;   /* the disk failed to read the file in mid-body: the rest comes from a fill */
    bool lengthless; /* sent without Content-Length: the length is unknown or only claimed */
    bool aside;      /* its fill goes on without it; once that is over, the rest comes from another */
    bool was_aside;
};

/* Chooses which bytes are answered, once the size is known. Behind a fill they are answered in the order they come in:
 * it may drop what is sent, and a client has to look at each part's Content-Range (RFC 9110 section 15.3.7.2). */
void body_choose(struct body *b, const struct etag *etag);
/* Sends the head for what body_choose has chosen. False: the answer is complete already. */
bool body_send_head(struct body *b, const struct origin *from, const struct etag *etag);
/* Hands over what is there until the connection has enough, and ends the answer with its last byte. It is called again
 * by the connection; behind a fill also by whoever hears that more is there. */
void body_pump(struct body *b);
/* Detaches the reader, if there is one: nothing more comes from the fill. */
void body_leave_fill(struct body *b);
/* Cuts the connection, so that the client sees a short body. */
void body_cut(struct body *b);

static inline void body_count(_Atomic int64_t *counter, int64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
