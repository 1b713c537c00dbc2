/* (canonical repository, tag) to digest, in memory. Thread: any (16 locks by repository, held for a look-up or a copy).
 */
#ifndef ENTREPOT_STORE_TAGS_H
#define ENTREPOT_STORE_TAGS_H

#include "common/store/tag.h"

struct tags;

struct tags *tags_new(void);
void tags_free(struct tags *t);
bool tags_get(struct tags *t, const char *repo, const char *tag, struct tag_facts *out);
void tags_set(struct tags *t, const char *repo, const char *tag, const struct tag_facts *rec);
bool tags_forget(struct tags *t, const char *repo, const char *tag);
size_t tags_list(struct tags *t, const char *repo, const char *last, size_t max, char ***out);
int64_t tags_count(const struct tags *t);

struct tag_name {
    char *repo, *tag;
    int64_t checked_at;
};
/* Finds n of the tags that may be forgotten, those checked longest ago, in no order. The caller frees names and array.
 * Returns how many there are. Looks at every tag; may_go is called under a lock. */
size_t tags_oldest(struct tags *t, size_t n, bool (*may_go)(const struct digest *d, void *arg), void *arg,
                   struct tag_name **out);

#endif
