/* The tags of one list while its pages come: each once, within the budget LISTS. Thread: one at a time. */
#ifndef ENTREPOT_SERVE_TAG_SET_H
#define ENTREPOT_SERVE_TAG_SET_H

#include "common/core/base.h"
#include "common/core/error.h"

struct map;

/* Of one list, for its tags and what is kept to know each again. */
#define TAG_SET_BYTES_MAX (64 * MiB)

/* Zero-initialised is empty. */
struct tag_set {
    struct map *seen;
    char **tags; /* those not taken yet */
    size_t n, cap;
    size_t bytes;
    int64_t charged; /* to the budget LISTS, in larger steps */
};

/* Also makes it empty. */
void tag_set_fini(struct tag_set *s);
/* Adds a copy. False: it is there already, or is no tag. ERR_TOO_BIG: there are more than
 * one list may have; ERR_BUSY: the budget LISTS is used up. */
int tag_set_add(struct tag_set *s, const char *tag, bool *added) must_check;
/* Adds a page, `{"tags": […]}`; what is no tag in it is passed over. *added: how many were new. ERR_INVALID: it is not
 * such a document; ERR_TOO_BIG, ERR_BUSY: of json_open, too. */
int tag_set_read(struct tag_set *s, const char *page, size_t len, size_t *added) must_check;
/* Those not taken yet, in order. */
void tag_set_sort(struct tag_set *s);
/* Takes them: `"a","b"`, behind a comma unless first. Freed by the caller; NULL: none. */
char *tag_set_take(struct tag_set *s, bool first);

#endif
