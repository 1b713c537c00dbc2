/* Encodes a question about a tag as a lookup, and reads the answer as the result of a fetch. Pure. Thread: any. */
#ifndef ENTREPOT_CENTRAL_TAG_H
#define ENTREPOT_CENTRAL_TAG_H

#include "common/source/source.h"

/* The encoded lookup for rq (a FETCH_MANIFEST_HEAD by tag); *out is the caller's to free. It names
 * the version of the settings by which rq was decided. */
int tag_question(const struct fetch_request *rq, uint8_t **out, size_t *len, struct error *err) must_check;

struct tag_reply {
    struct fetch_end end;
    struct fetch_head head; /* when end.code is 0; its tag points into this */
    struct tag_facts facts;
};
/* Reads central's answer into *r. An unreadable answer becomes a failure in r->end. */
void tag_reply_read(struct tag_reply *r, const char *body, size_t len);

#endif
