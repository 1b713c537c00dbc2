/* A bounded set of strings numbered from 1: media types, so that a table entry holds a number. Strings live
 * as long as the set. Thread: any (intern_name without locks). */
#ifndef ENTREPOT_STORE_INTERN_H
#define ENTREPOT_STORE_INTERN_H

#include "common/core/error.h"

struct intern;

/* A thousand, which nobody needs, and always room for those in general use. */
struct intern *intern_new_media(void);
#define INTERN_MEDIA_ANY "application/octet-stream" /* one of them */
void intern_free(struct intern *in);
/* The number of s. *is_new (may be NULL): it was made by this call. 0: the set is full. */
uint32_t intern_get(struct intern *in, const char *s, bool *is_new);
/* At load: s has this number. ERR_INVALID when out of range or taken. */
int intern_put(struct intern *in, uint32_t id, const char *s) must_check;
/* At load: id is used somewhere though its string was lost; it is not given to another. */
void intern_reserve(struct intern *in, uint32_t id);
/* NULL for 0 and numbers not given. */
const char *intern_name(const struct intern *in, uint32_t id);

#endif
