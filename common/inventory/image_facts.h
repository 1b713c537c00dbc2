/* What a person wants to know of an image that a store holds: how large it is, for which platforms, and when it was last
 * used. Read from its manifests, which counts as no use of them. Thread: work pool, or a command. */
#ifndef ENTREPOT_INVENTORY_IMAGE_FACTS_H
#define ENTREPOT_INVENTORY_IMAGE_FACTS_H

#include <jansson.h>

#include "common/store/store.h"

struct image_facts {
    int64_t held;      /* bytes of it that are here, each blob once */
    int64_t whole;     /* bytes that the manifests held name, themselves included; of unknown sizes nothing */
    int64_t used_at;   /* wall seconds, of its part that was used last; 0: nothing is held */
    json_t *platforms; /* array of "linux/amd64" whose manifests are held; the caller drops it */
};
void image_facts_find(struct store *s, const struct digest *top, struct image_facts *out);

#endif
