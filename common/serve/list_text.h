/* The text of a list, counted in the budget LISTS until the client has received it. Thread: one at a time. */
#ifndef ENTREPOT_SERVE_LIST_TEXT_H
#define ENTREPOT_SERVE_LIST_TEXT_H

#include "common/core/base.h"

struct list_text;

/* Takes over text, which is malloc'ed and NUL-terminated, and `taken` bytes that the caller has taken from the budget
 * for it: fewer or more than its length are settled. NULL: the budget does not allow it, and the text is freed. */
struct list_text *list_text_new(char *text, int64_t taken) must_check;
/* The text, borrowed; *len: its length in bytes. */
const char *list_text_get(const struct list_text *t, size_t *len);
/* Frees a struct list_text; a release function of http_reply_ref. NULL is fine. */
void list_text_free(void *t);

#endif
