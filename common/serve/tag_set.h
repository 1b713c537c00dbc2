/* The tags of one list while its pages arrive: each once, within the budget LISTS. Thread: one at a time. */
#ifndef ENTREPOT_SERVE_TAG_SET_H
#define ENTREPOT_SERVE_TAG_SET_H

#include "common/core/base.h"
#include "common/core/error.h"

struct buf;
struct map;

/* Bytes of one list, for its tags and for recognising duplicates. */
#define TAG_SET_BYTES_MAX (64 * MiB)

/* Zero-initialised is empty. */
struct tag_set {
    struct map *seen; /* NULL while all have come in order */
    char **tags;      /* tags that have not been taken yet */
    size_t n, cap;
    size_t bytes;
    int64_t charged; /* to the budget LISTS, in larger steps */
};

/* Also makes it empty. */
void tag_set_fini(struct tag_set *s);
/* Adds a copy of a tag. *added false: it is there already, or is not a tag. ERR_TOO_BIG: one list may not have more.
 * ERR_BUSY: the budget LISTS is used up. */
int tag_set_add(struct tag_set *s, const char *tag, bool *added) must_check;
/* Adds a page, `{"tags": […]}`, and skips entries that are not tags. *added: how many were new. ERR_INVALID: the page
 * is malformed. ERR_TOO_BIG, ERR_BUSY: also from json_open. */
int tag_set_read(struct tag_set *s, const char *page, size_t len, size_t *added) must_check;
/* Sorts the tags that have not been taken yet. */
void tag_set_sort(struct tag_set *s);
/* How many bytes the text of the next n of them from `first` on takes, with quotes and commas. */
int64_t tag_set_text_len(const struct tag_set *s, size_t first, size_t n);
/* Appends n of them from `from` on as `"a","b"`, with a comma in front unless first. b must have room for them. */
void tag_set_write(const struct tag_set *s, size_t from, size_t n, bool first, struct buf *b);
/* Takes them out as `"a","b"`, with a comma in front unless first. The caller frees the text; NULL: there are none. */
char *tag_set_take(struct tag_set *s, bool first);

#endif
